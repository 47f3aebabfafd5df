import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openS3Store } from '../../../src/store/s3/store.ts';
import type { Store } from '../../../src/store/types.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { createAuthority, writeCertificates, type IssueOptions, type TestCertificates } from '../../support/certificates.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { seeded } from '../../support/random.ts';
import { wholeSpool } from './growing.ts';

const { signal } = new AbortController();
const NAMES = ['127.0.0.1', 'localhost'];
let folder: string;
let certificates: TestCertificates;
let gateway: Gateway;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tls-'));
  certificates = writeCertificates(folder);
  gateway = await startGateway({ tls: certificates.tls });
  await gateway.createBucket('secure');
});
afterAll(async () => {
  await gateway?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function open(caFile: string | undefined, endpoint = gateway.endpoint): Store {
  const store = openS3Store(gateway.storeConfig('secure', 'backups', { caFile, endpoint, retries: 1 }), { logger: silentLogger });
  onTestFinished(() => store.close());
  return store;
}

/** A server that would say yes, were it trusted; answers the number of requests it got. */
async function impostor(issue: IssueOptions, authority = certificates.authority): Promise<{ endpoint: string; requests: () => number }> {
  let requests = 0;
  const { certificate, key } = authority.issue(issue);
  const server: Server = createServer({ cert: certificate, key }, (_, response) => {
    requests++;
    response.end('<ListBucketResult/>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: () => requests };
}

describe('fault 40: TLS to S3', () => {
  test('with the right authority everything works, and payloads are not hashed twice', async () => {
    const store = open(certificates.tls.caFile);
    const content = seeded(3).fill(Buffer.alloc(9 * 1024 * 1024));
    expect(await store.upload('up', wholeSpool(join(folder, 'spool'), content), { signal })).toMatchObject({ confirmed: 'checksum' });
    expect((await store.get('up', { signal })).equals(content)).toBe(true);
    expect(await store.put('small', Buffer.from('x'), { signal })).toMatchObject({ confirmed: 'checksum' });
  });

  const DAY = 86_400_000;
  test.each<[string, IssueOptions, boolean, RegExp]>([
    [
      'an expired certificate',
      { commonName: 's3', names: NAMES, notBefore: new Date(Date.now() - 3 * DAY), notAfter: new Date(Date.now() - DAY) },
      true,
      /expired/i,
    ],
    ['a certificate for another name', { commonName: 's3', names: ['s3.example.test'] }, true, /altname|does not match/i],
    ['an authority that nobody trusts', { commonName: 's3', names: NAMES }, false, /unable to|self.signed/i],
  ])('%s is named, is not tried again, and no request is sent', async (_, issue, ours, message) => {
    const server = await impostor(issue, ours ? certificates.authority : createAuthority('a stranger'));
    await expect(open(certificates.tls.caFile, server.endpoint).check(0, { signal })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringMatching(message),
      hint: expect.stringContaining('caFile'),
    });
    expect(server.requests()).toBe(0);
  });

  test('without a CA file the system decides, and our authority is not in it', async () => {
    await expect(open(undefined).check(0, { signal })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('no trusted connection'),
    });
  });

  test('a proxy carries the connection and sees nothing of it', async () => {
    const asked: string[] = [];
    const proxy = createHttpServer().on('connect', (request, socket, head) => {
      asked.push(request.url ?? '');
      const [host, port] = (request.url ?? '').split(':');
      const onward = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        onward.write(head);
        socket.pipe(onward).pipe(socket);
      });
      for (const end of [socket, onward]) end.on('error', () => socket.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void proxy.close());
    const { caFile } = certificates.tls;
    const port = (proxy.address() as AddressInfo).port;
    const store = openS3Store(gateway.storeConfig('secure', 'backups', { caFile, proxy: `http://127.0.0.1:${port}` }), {
      logger: silentLogger,
    });
    expect(await store.put('through', Buffer.from('x'), { signal })).toMatchObject({ confirmed: 'checksum' });
    await store.close();
    expect(new Set(asked)).toEqual(new Set([new URL(gateway.endpoint).host]));
  });

  test('an authority that is replaced on disk counts from the next call on', async () => {
    const caFile = join(folder, 'rotated.crt');
    copyFileSync(certificates.strangeCaFile, caFile);
    const store = open(caFile);
    await expect(store.check(0, { signal })).rejects.toMatchObject({ code: 'store-unavailable' });
    copyFileSync(certificates.tls.caFile, caFile);
    await store.check(0, { signal });
    writeFileSync(caFile, createAuthority('yet another').certificate);
    await expect(store.check(0, { signal })).rejects.toMatchObject({ code: 'store-unavailable' });
  });
});
