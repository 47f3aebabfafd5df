import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openCoordination } from '../../../src/etcd/coordination.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { createAuthority, type TestCertificates, writeCertificates } from '../../support/certificates.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { type FakeMember, startFakeMember } from '../../support/fake-member.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { drain } from './drain.ts';

describe('a real etcd that wants client certificates', () => {
  let folder: string;
  let certificates: TestCertificates;
  let cluster: Cluster;

  beforeAll(async () => {
    folder = temporaryFolder('tls');
    certificates = writeCertificates(folder, { clientCertRequired: true });
    cluster = await startCluster({ minor: '3.6', tls: certificates.tls });
    await cluster.fill({ keys: 100, valueBytes: 10_000 });
  });
  afterAll(async () => {
    await cluster?.stop();
    removeFolder(folder);
  });

  test('a certificate of the trusted CA takes a snapshot', async () => {
    await withClient(cluster.access(), async (client) => {
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    });
  });

  test('the lock is taken with the same certificate', async () => {
    const coordination = openCoordination(cluster.access(), { keyPrefix: '/etcd-warden' });
    const result = await coordination.lock('a test');
    expect(result.outcome).toBe('held');
    await coordination.close();
  });

  test('an endpoint without scheme is https as soon as a CA is configured', async () => {
    const access = cluster.access({ endpoints: [cluster.endpoints[0]!.replace('https://', '')] });
    await withClient(access, async (client) => {
      expect(client.endpoint).toBe(cluster.endpoints[0]);
      expect((await client.status()).role).toBe('leader');
    });
  });

  test('fault 40: no client certificate, and one that nobody trusts, are told apart from other failures', async () => {
    await withClient(cluster.access({ tls: { caFile: certificates.tls.caFile } }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({
        code: 'tls-failed',
        hint: expect.stringContaining('client certificate') as string,
      });
    });
    const strange = certificates.write('strange', createAuthority('nobody').issue({ commonName: 'root' }));
    await withClient(cluster.access({ tls: { caFile: certificates.tls.caFile, ...strange } }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'tls-failed' });
    });
  });

  test('fault 40: https to a member that speaks no TLS, and http to one that does, come with the hint to change the scheme', async () => {
    await using plain = await startCluster({ minor: '3.6' });
    await withClient(cluster.access({ endpoints: [plain.endpoints[0]!.replace('http:', 'https:')] }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'unreachable', hint: expect.stringContaining('http://') as string });
    });
    await withClient(cluster.access({ endpoints: [cluster.endpoints[0]!.replace('https:', 'http:')], tls: undefined }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'unreachable', hint: expect.stringContaining('https://') as string });
    });
  });
});

describe('server certificates', () => {
  let folder: string;
  let certificates: TestCertificates;
  let member: FakeMember | undefined;

  beforeEach(() => {
    folder = temporaryFolder('tls');
    certificates = writeCertificates(folder);
  });
  afterEach(async () => {
    await member?.close();
    removeFolder(folder);
  });

  /** A member that shows the given server certificate. */
  async function serve(server: { certFile: string; keyFile: string }): Promise<string> {
    member = await startFakeMember({
      tls: { caFile: certificates.tls.caFile, serverCertFile: server.certFile, serverKeyFile: server.keyFile },
      snapshot: { database: Buffer.alloc(1024 * 1024) },
    });
    return member.endpoint;
  }

  test('fault 40: an expired one', async () => {
    const expired = certificates.authority.issue({
      commonName: 'etcd',
      names: ['127.0.0.1'],
      notBefore: new Date('2020-01-01'),
      notAfter: new Date('2021-01-01'),
    });
    await withClient(access(await serve(certificates.write('expired', expired)), { caFile: certificates.tls.caFile }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({
        code: 'tls-failed',
        message: expect.stringContaining('has expired') as string,
      });
      await expect(drain(client.snapshot())).rejects.toMatchObject({
        code: 'tls-failed',
        message: expect.stringContaining('has expired') as string,
      });
    });
  });

  test('fault 40: one for another name, unless the server name says which', async () => {
    const elsewhere = certificates.authority.issue({ commonName: 'etcd', names: ['etcd.example'] });
    const endpoint = await serve(certificates.write('elsewhere', elsewhere));
    await withClient(access(endpoint, { caFile: certificates.tls.caFile }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({
        code: 'tls-failed',
        message: expect.stringContaining('another name') as string,
      });
    });
    await withClient(access(endpoint, { caFile: certificates.tls.caFile, serverName: 'etcd.example' }), async (client) => {
      expect((await client.status()).version).not.toBe('');
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    });
  });

  test('fault 40: one of an unknown CA, unless verification is off', async () => {
    const endpoint = await serve({ certFile: certificates.tls.serverCertFile, keyFile: certificates.tls.serverKeyFile });
    for (const tls of [{ caFile: certificates.strangeCaFile }, undefined]) {
      await withClient(access(endpoint, tls), async (client) => {
        await expect(client.status()).rejects.toMatchObject({ code: 'tls-failed', hint: expect.stringContaining('CA file') as string });
      });
    }
    await withClient(access(endpoint, { insecureSkipVerify: true }), async (client) => {
      expect((await client.status()).version).not.toBe('');
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    });
  });

  test('fault 40: files that are replaced while it runs count from the next call on, the CA too', async () => {
    const endpoint = await serve({ certFile: certificates.tls.serverCertFile, keyFile: certificates.tls.serverKeyFile });
    const caFile = join(folder, 'rotating-ca.crt');
    copyFileSync(certificates.strangeCaFile, caFile);
    await withClient(access(endpoint, { caFile }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'tls-failed' });
      copyFileSync(certificates.tls.caFile, caFile);
      expect((await client.status()).version).not.toBe('');
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
      copyFileSync(certificates.strangeCaFile, caFile);
      await expect(client.status()).rejects.toMatchObject({ code: 'tls-failed' });
    });
  });

  test('fault 40: a pair caught half-way through its rotation keeps the last good one in use', async () => {
    const endpoint = await serve({ certFile: certificates.tls.serverCertFile, keyFile: certificates.tls.serverKeyFile });
    const pair = certificates.write('rotating', certificates.authority.issue({ commonName: 'root' }));
    await withClient(access(endpoint, { caFile: certificates.tls.caFile, ...pair }), async (client) => {
      await client.status();
      const next = certificates.authority.issue({ commonName: 'root' });
      writeFileSync(pair.certFile, next.certificate);
      expect((await client.status()).version).not.toBe('');
      writeFileSync(pair.keyFile, next.key);
      expect((await client.status()).version).not.toBe('');
    });
  });

  test('files that are missing, or no PEM, are named', async () => {
    const endpoint = await serve({ certFile: certificates.tls.serverCertFile, keyFile: certificates.tls.serverKeyFile });
    const missing = join(folder, 'missing.crt');
    await withClient(access(endpoint, { caFile: missing }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'tls-failed', message: expect.stringContaining(missing) as string });
    });
    const { keyFile } = certificates.write('other', certificates.authority.issue({ commonName: 'x' }));
    const certFile = join(folder, 'client.crt');
    expect(readFileSync(certFile, 'utf8')).toContain('BEGIN CERTIFICATE');
    await withClient(access(endpoint, { caFile: certificates.tls.caFile, certFile, keyFile }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'tls-failed', message: expect.stringContaining(keyFile) as string });
    });
    await withClient(access(endpoint, { certFile }), async (client) => {
      await expect(client.status()).rejects.toMatchObject({ code: 'config-invalid' });
    });
  });
});

function access(endpoint: string, tls: ClusterAccess['tls']): ClusterAccess {
  return {
    name: 'tls',
    endpoints: [endpoint],
    tls,
    requestTimeoutMs: 5_000,
    dialTimeoutMs: 2_000,
    streamIdleTimeoutMs: 2_000,
    discover: false,
  };
}

async function withClient(given: ClusterAccess, use: (client: MemberClient) => Promise<void>): Promise<void> {
  const client = new MemberClient(given, given.endpoints[0]!);
  try {
    await use(client);
  } finally {
    client.close();
  }
}
