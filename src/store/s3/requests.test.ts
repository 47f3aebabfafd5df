/** What goes over the wire, seen by a server that says yes to everything. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { wholeSpool } from '../../../test/integration/store/growing.ts';
import type { S3StoreConfig } from '../../config/types.ts';
import { WardenError } from '../../errors.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import type { Store } from '../types.ts';
import { openS3Store } from './store.ts';

const { signal } = new AbortController();
const PART = 1 << 20;
const body = Buffer.alloc(2 * PART + 1, 7);

interface Seen {
  readonly call: string;
  readonly headers: IncomingMessage['headers'];
  readonly url: string;
}

let seen: Seen[] = [];
/** Answers instead of the usual ones, while set. */
let special: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
let url: string;
let scratch: string;
let done = false;
const server = createServer((request, response) => {
  request.resume().on('end', () => reply(request, response));
});

function reply(request: IncomingMessage, response: ServerResponse): void {
  const call = callOf(request);
  seen.push({ call, headers: request.headers, url: request.url ?? '' });
  if (special?.(request, response) === true) return;
  if (call === 'Create') response.end('<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>');
  else if (call === 'Complete') {
    done = true;
    response.end('<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>');
  } else if (call === 'Head' && !done) response.writeHead(404).end();
  else if (call === 'Head' || call === 'Get') {
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32(body));
    response.writeHead(200, {
      'content-length': body.length,
      etag: '"e"',
      'x-amz-checksum-crc32': crc.toString('base64'),
      'x-amz-checksum-type': 'FULL_OBJECT',
    });
    response.end(call === 'Get' ? body : undefined);
  } else if (call === 'List') response.end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>');
  else response.writeHead(200, { etag: '"e"' }).end();
}

function callOf({ method, url = '' }: IncomingMessage): string {
  if (method === 'POST') return url.includes('uploads') ? 'Create' : 'Complete';
  if (method === 'PUT') return url.includes('partNumber') ? 'UploadPart' : 'PutObject';
  if (method === 'GET') return url.includes('list-type') ? 'List' : 'Get';
  return method === 'HEAD' ? 'Head' : 'Delete';
}

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  scratch = mkdtempSync(join(tmpdir(), 'requests-'));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(scratch, { recursive: true, force: true });
});
beforeEach(() => {
  seen = [];
  special = undefined;
  done = false;
});

const secret = (value: string): NonNullable<S3StoreConfig['accessKeyId']> => ({ origin: 'test', read: () => value });

function open(changes: Partial<S3StoreConfig> = {}): Store {
  const config: S3StoreConfig = {
    type: 's3',
    name: 's3',
    bucket: 'bucket',
    prefix: 'pre',
    region: 'us-east-1',
    endpoint: url,
    pathStyle: true,
    caFile: undefined,
    proxy: undefined,
    storageClass: undefined,
    encryption: 'none',
    kmsKeyId: undefined,
    customerKey: undefined,
    checksum: 'crc32',
    accessKeyId: secret('key'),
    secretAccessKey: secret('secret'),
    sessionToken: undefined,
    profile: undefined,
    connectTimeoutMs: 2_000,
    requestTimeoutMs: 5_000,
    retries: 0,
    maxRate: 0,
    ...changes,
  };
  return openS3Store(config, { logger: silentLogger, tuning: { partBytes: PART } });
}

async function everything(store: Store): Promise<void> {
  await store.upload('k', wholeSpool(join(scratch, randomBytes(8).toString('hex')), body), { signal });
  await store.get('k', { signal });
  await store.close();
}

/** Values of a header, by call. */
function header(name: string): Record<string, string | undefined> {
  return Object.fromEntries(seen.map(({ call, headers }) => [call, headers[name] as string | undefined]));
}

describe('an upload on the wire', () => {
  test('parts and the whole carry their CRC32, and Complete only makes a new object', async () => {
    await everything(open());
    const whole = Buffer.alloc(4);
    whole.writeUInt32BE(crc32(body));
    const complete = seen.find(({ call }) => call === 'Complete')!.headers;
    expect(complete).toMatchObject({
      'if-none-match': '*',
      'x-amz-checksum-crc32': whole.toString('base64'),
      'x-amz-checksum-type': 'FULL_OBJECT',
      'x-amz-mp-object-size': String(body.length),
    });
    expect(header('x-amz-checksum-algorithm')['Create']).toBe('CRC32');
    const parts = seen.filter(({ call }) => call === 'UploadPart');
    expect(parts.map(({ headers }) => Number(headers['content-length'])).sort((a, b) => a - b)).toEqual([1, PART, PART]);
    for (const { headers } of parts) {
      expect(headers['x-amz-checksum-crc32']).toMatch(/^[\w+/]{6}==$/);
      expect(headers['content-encoding']).toBeUndefined();
      expect(headers['x-amz-content-sha256']).toMatch(/^[0-9a-f]{64}$/);
    }
  });

  test('SSE-S3, SSE-KMS and the storage class go with whatever makes an object', async () => {
    await everything(open({ encryption: 'sse-s3', storageClass: 'STANDARD_IA' }));
    expect(header('x-amz-server-side-encryption')).toEqual({ Create: 'AES256' });
    expect(header('x-amz-storage-class')['Create']).toBe('STANDARD_IA');
    seen = [];
    done = false;
    await everything(open({ encryption: 'sse-kms', kmsKeyId: 'arn:key' }));
    expect(header('x-amz-server-side-encryption')['Create']).toBe('aws:kms');
    expect(header('x-amz-server-side-encryption-aws-kms-key-id')['Create']).toBe('arn:key');
  });

  test('SSE-C goes with every call on the object', async () => {
    const key = randomBytes(32).toString('base64');
    await everything(open({ encryption: 'sse-c', customerKey: secret(key) }));
    const keys = header('x-amz-server-side-encryption-customer-key');
    expect(keys).toEqual({ Head: key, Create: key, UploadPart: key, Complete: key, Get: key });
    expect(header('x-amz-server-side-encryption-customer-key-md5')['Head']).toBeDefined();
  });

  test('a customer key of another length is a configuration error that does not show it', async () => {
    const store = open({ encryption: 'sse-c', customerKey: secret('c2hvcnQ=') });
    await expect(store.head('k', { signal })).rejects.toMatchObject({
      code: 'config-invalid',
      message: expect.not.stringContaining('c2hvcnQ'),
    });
    expect(seen).toEqual([]);
  });

  test('a store that kept other bytes than were sent is found out, and they go', async () => {
    special = (request, response) => {
      if (callOf(request) !== 'Head' || !done) return false;
      response.writeHead(200, { 'content-length': body.length - 1 }).end();
      return true;
    };
    await expect(everything(open())).rejects.toMatchObject({ code: 'verification-failed' });
    expect(seen.at(-2)?.call).toBe('Delete');
  });
});

describe('reading what may only be so long', () => {
  test('takes one call, and none more to see that it is longer', async () => {
    const store = open({ retries: 3 });
    expect(await store.get('k', { signal, maxLength: body.length })).toHaveLength(body.length);
    expect(seen.map(({ call }) => call)).toEqual(['Get']);
    await expect(store.get('k', { signal, maxLength: body.length - 1 })).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining(`holds ${body.length} bytes, more than the ${body.length - 1}`),
    });
    expect(seen.map(({ call }) => call)).toEqual(['Get', 'Get']);
    // The connection that was given up is no trouble for the next call.
    expect(await store.get('k', { signal })).toHaveLength(body.length);
    await store.close();
  });
});

describe('where the bucket is', () => {
  test('fault 39: a redirect to another region is followed, and the next call goes there at once', async () => {
    special = ({ headers }, response) => {
      if (headers.authorization?.includes('/eu-west-1/') === true) return false;
      response.writeHead(301, { 'x-amz-bucket-region': 'eu-west-1' });
      response.end('<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>');
      return true;
    };
    const store = open();
    await store.check(0, { signal });
    expect(seen).toHaveLength(2);
    await store.check(0, { signal });
    expect(seen).toHaveLength(3);
  });

  test('fault 39: a redirect that leads in circles, or nowhere, names the region', async () => {
    special = (_, response) => {
      response.writeHead(301, { 'x-amz-bucket-region': 'eu-west-1' });
      response.end('<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>');
      return true;
    };
    await expect(open().check(0, { signal })).rejects.toMatchObject({
      code: 'store-unavailable',
      hint: 'set the region of this store to eu-west-1',
    });
    expect(seen).toHaveLength(2);
  });

  test('with path style the bucket is in the path, else in the host name', async () => {
    await open().check(0, { signal });
    expect(seen[0]?.url).toMatch(/^\/bucket\/\?/);
    // A proxy sees the name of the host without resolving it.
    await open({ pathStyle: false, endpoint: 'http://s3.example.test', proxy: url }).check(0, { signal });
    expect(seen[1]?.headers.host).toBe('bucket.s3.example.test');
  });

  test('a proxy from the configuration is used', async () => {
    await open({ endpoint: 'http://s3.example.test', proxy: url }).check(0, { signal });
    expect(seen).toMatchObject([{ url: expect.stringMatching(/^http:\/\/s3\.example\.test/) }]);
  });

  test('a proxy from the environment is used, and one in the configuration goes before it', async () => {
    process.env['HTTP_PROXY'] = url;
    try {
      await open({ endpoint: 'http://s3.example.test' }).check(0, { signal });
      process.env['HTTP_PROXY'] = 'http://127.0.0.1:1';
      await open({ endpoint: 'http://s3.example.test', proxy: url }).check(0, { signal });
    } finally {
      delete process.env['HTTP_PROXY'];
    }
    expect(seen).toHaveLength(2);
  });
});

describe('a delete that the store denies', () => {
  const denying = (status: number, code: string, message: string): void => {
    done = true;
    special = (request, response) => {
      if (callOf(request) !== 'Delete') return false;
      response.writeHead(status).end(`<Error><Code>${code}</Code><Message>${message}</Message></Error>`);
      return true;
    };
  };

  test.each([
    [403, 'AccessDenied', 'Access Denied because object protected by object lock.'],
    [400, 'InvalidRequest', 'Object is WORM protected and cannot be overwritten'],
  ])('fault 38: %i %s keeps the object, once and for all', async (status, code, message) => {
    denying(status, code, message);
    expect(await open({ retries: 3 }).delete('k', { signal })).toEqual({
      outcome: 'kept',
      until: undefined,
      reason: expect.stringContaining(message),
    });
    expect(seen.filter(({ call }) => call === 'Delete')).toHaveLength(1);
  });

  test('wrong keys are an error, not a kept object', async () => {
    denying(403, 'SignatureDoesNotMatch', 'wrong');
    await expect(open().delete('k', { signal })).rejects.toMatchObject({ code: 'store-denied' });
  });
});

test('a prefix that climbs, and a CA file that is not there, are configuration errors', async () => {
  expect(() => open({ prefix: '../x' })).toThrow(expect.objectContaining({ code: 'config-invalid' }));
  await expect(open({ caFile: '/nowhere/ca.pem' }).check(0, { signal })).rejects.toMatchObject({ code: 'config-invalid' });
});

test('a secret that cannot be read any more is told as that, and is not tried again', async () => {
  const gone = new WardenError('config-invalid', 'the file of the key is gone');
  const store = open({
    retries: 3,
    secretAccessKey: {
      origin: 'test',
      read: () => {
        throw gone;
      },
    },
  });
  await expect(store.check(0, { signal })).rejects.toBe(gone);
  expect(seen).toEqual([]);
});

test('a pause between attempts ends with the signal, for its reason', async () => {
  const stop = new AbortController();
  special = (_, response) => {
    response.writeHead(503).end('<Error><Code>SlowDown</Code><Message>later</Message></Error>');
    setImmediate(() => stop.abort(new Error('stopped')));
    return true;
  };
  await expect(open({ retries: 9 }).check(0, { signal: stop.signal })).rejects.toThrow('stopped');
});

test('secrets appear in no error', async () => {
  special = (_, response) => {
    response.writeHead(403).end('<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>');
    return true;
  };
  const thrown = await open({ secretAccessKey: secret('s3cr3t-value') })
    .check(0, { signal })
    .catch((error: unknown) => error);
  expect(JSON.stringify([String(thrown), (thrown as Error).message, (thrown as { hint?: string }).hint])).not.toContain('s3cr3t-value');
});
