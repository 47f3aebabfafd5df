import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { observeCluster } from '../../../src/etcd/cluster.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { ETCD_MINORS } from '../../../tools/programs.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { drain } from './drain.ts';

/** Seconds that a token lives here without being used. */
const TOKEN_TTL = 2;

describe.each(ETCD_MINORS)('authentication on etcd %s', (minor) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ minor, auth: true, flags: [`--auth-token-ttl=${TOKEN_TTL}`] });
    await cluster.fill({ keys: 100, valueBytes: 10_000 });
    await cluster.etcdctl(['user', 'add', 'reader:secret']);
    await cluster.etcdctl(['role', 'add', 'read-all']);
    await cluster.etcdctl(['role', 'grant-permission', 'read-all', 'read', '', '--prefix']);
    await cluster.etcdctl(['user', 'grant-role', 'reader', 'read-all']);
  });
  afterAll(() => cluster?.stop());

  test('a user with the root role takes a snapshot', async () => {
    await withClient(cluster.access(), async (client) => {
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    });
  });

  test('fault 14: a user without the root role is told that it is missing', async () => {
    const access = cluster.access({ user: 'reader', password: () => 'secret' });
    await withClient(access, async (client) => {
      await expect(drain(client.snapshot())).rejects.toMatchObject({
        code: 'permission-denied',
        message: 'user reader lacks the root role, which Snapshot needs',
        hint: 'etcdctl user grant-role reader root',
      });
    });
  });

  test('a wrong password is refused once, without the password in the error', async () => {
    const access = cluster.access({ password: () => 'hunter2' });
    const error: unknown = await observeCluster(access).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    // 3.4 and early 3.5 answer Status to anybody, so there only the snapshot fails.
    const refused = error ?? (await withClient(access, (client) => drain(client.snapshot())).catch((thrown: unknown) => thrown));
    expect(refused).toMatchObject({ code: 'login-failed', message: expect.stringContaining('refuses user root') as string });
    expect(JSON.stringify(refused, Object.getOwnPropertyNames(refused))).not.toContain('hunter2');
  });

  test('no user where one is needed is an error of its own', async () => {
    const access = cluster.access({ user: undefined, password: undefined });
    await withClient(access, async (client) => {
      await expect(drain(client.snapshot())).rejects.toMatchObject({
        code: 'login-failed',
        message: expect.stringContaining('wants a user') as string,
      });
    });
  });

  test('fault 15: an expired token is replaced by one login, for calls and for streams', async () => {
    let logins = 0;
    const access = cluster.access({
      password: () => {
        logins++;
        return 'root';
      },
    });
    await withClient(access, async (client) => {
      await client.linearizableRead();
      await delay(TOKEN_TTL * 1000 + 1500);
      await client.linearizableRead();
      expect(logins).toBe(2);
      await delay(TOKEN_TTL * 1000 + 1500);
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
      expect(logins).toBe(3);
    });
  });

  test('fault 15: a token that expires during the stream does not end it', async () => {
    await withClient(cluster.access(), async (client) => {
      const size = (await client.status()).dbSize;
      const started = performance.now();
      const rate = size / (TOKEN_TTL + 2);
      const drained = await drain(client.snapshot({ maxRate: rate }));
      expect(drained.whole).toBe(true);
      expect(performance.now() - started).toBeGreaterThan(TOKEN_TTL * 1000 + 500);
    });
  });

  test('a token from before a restart of the member is replaced', async () => {
    await withClient(cluster.access(), async (client) => {
      await client.linearizableRead();
      await cluster.members[0]!.restart();
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    });
  });

  test('a change of users makes tokens old, and a new one is taken', async () => {
    await withClient(cluster.access(), async (client) => {
      await client.linearizableRead();
      await cluster.etcdctl(['user', 'add', `other-${createHash('sha1').update(minor).digest('hex').slice(0, 6)}:secret`]);
      expect(await client.linearizableRead()).toBeGreaterThan(0);
      expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    });
  });
});

test('a password login without quorum is an error of its own, and a live token still gets its snapshot', async () => {
  await using cluster = await startCluster({ minor: '3.6', members: 3, auth: true });
  const access = cluster.access({ requestTimeoutMs: 2_000 });
  const survivor = cluster.members[0]!;
  const client = new MemberClient(access, survivor.endpoint);
  try {
    await client.linearizableRead();
    await cluster.members[1]!.kill();
    await cluster.members[2]!.kill();
    expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    await withClient(cluster.access({ requestTimeoutMs: 2_000, endpoints: [survivor.endpoint] }), async (stranger) => {
      await expect(drain(stranger.snapshot())).rejects.toMatchObject({
        code: 'login-needs-quorum',
        hint: expect.stringContaining('client certificate') as string,
      });
    });
  } finally {
    client.close();
  }
});

test('a user in the configuration does no harm while authentication is off', async () => {
  await using cluster = await startCluster({ minor: '3.6' });
  await withClient(cluster.access({ user: 'root', password: () => 'root' }), async (client) => {
    expect(await drain(client.snapshot())).toMatchObject({ whole: true });
  });
});

test.each([false, true])(
  'an endpoint of another cluster takes the login from nobody, although it is named first (authentication there: %s)',
  async (auth) => {
    await using cluster = await startCluster({ minor: '3.6', auth: true });
    await using stranger = await startCluster({ minor: '3.6', auth });
    // A member makes a token wait that names a later raft index than its own; what began anew is behind.
    await cluster.fill({ keys: 100, valueBytes: 10 });
    const endpoints = [stranger.endpoints[0]!, cluster.endpoints[0]!];
    const access = cluster.access({ endpoints });
    const [theirs, ours] = endpoints.map((endpoint) => new MemberClient(access, endpoint)) as [MemberClient, MemberClient];
    try {
      for (let turn = 0; turn < 2; turn++) {
        await Promise.all([theirs.linearizableRead(), ours.linearizableRead(), ours.memberList(), theirs.status()]);
        expect(await drain(ours.snapshot())).toMatchObject({ whole: true });
      }
      // Also when nobody has been asked before.
      await withClient(cluster.access({ endpoints: endpoints.toReversed() }), async (client) => {
        expect(client.endpoint).toBe(cluster.endpoints[0]);
        expect(await drain(client.snapshot())).toMatchObject({ whole: true });
      });
      const fresh = new MemberClient(cluster.access({ endpoints }), cluster.endpoints[0]!);
      expect(await drain(fresh.snapshot())).toMatchObject({ whole: true });
      fresh.close();
    } finally {
      theirs.close();
      ours.close();
    }
  },
);

test('an endpoint of another cluster that knows no such user keeps nobody from logging in', async () => {
  await using cluster = await startCluster({ minor: '3.6', auth: true });
  await using stranger = await startCluster({ minor: '3.6', auth: true });
  await cluster.etcdctl(['user', 'add', 'operator:secret']);
  await cluster.etcdctl(['user', 'grant-role', 'operator', 'root']);
  const endpoints = [stranger.endpoints[0]!, cluster.endpoints[0]!];
  const named = { endpoints, user: 'operator', password: () => 'secret' };
  const client = new MemberClient(cluster.access(named), endpoints[1]!);
  const wrong = new MemberClient(cluster.access({ ...named, password: () => 'another' }), endpoints[1]!);
  try {
    expect(await client.linearizableRead()).toBeGreaterThan(0);
    expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    await expect(wrong.linearizableRead()).rejects.toMatchObject({ code: 'login-failed' });
  } finally {
    client.close();
    wrong.close();
  }
});

async function withClient<T>(access: ClusterAccess, use: (client: MemberClient) => Promise<T>): Promise<T> {
  const client = new MemberClient(access, access.endpoints[0]!);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
