/** What maintenance asks of real clusters, on every release that counts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MemberClient } from '../../../src/etcd/member.ts';
import { openUpkeep, type Upkeep } from '../../../src/etcd/upkeep.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { ETCD_MINORS } from '../../../tools/programs.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { compactionRuns } from '../../../src/maintenance/sight/gauges.ts';
import { openMetrics } from '../../../src/maintenance/sight/metrics.ts';
import { until } from '../../support/processes.ts';

const DEFRAGMENT = 'etcdserverpb.Maintenance/Defragment';
const MIB = 1024 * 1024;

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  let cluster: Cluster;
  let upkeep: Upkeep;
  let client: MemberClient;

  beforeAll(async () => {
    cluster = await startCluster({ minor, proxies: true });
    upkeep = openUpkeep(cluster.access());
    client = new MemberClient(cluster.access(), cluster.endpoints[0]!);
  });
  afterAll(async () => {
    upkeep?.close();
    client?.close();
    await cluster?.stop();
  });

  test('H10: the compact revision is told before and after a compaction, which a second one finds done', async () => {
    await cluster.fill({ keys: 400, valueBytes: 20_000, prefix: '/a/' });
    await cluster.etcdctl(['del', '/a/', '--prefix']);
    // History is never compacted to the head: what the last revisions free is not much.
    for (const value of ['1', '2', '3']) await upkeep.writeKey('/b', value);
    expect(await upkeep.compactRevision()).toBe(0n);
    const { revision } = await client.status();
    expect(await upkeep.compact(revision, { timeoutMs: 30_000 })).toBe('compacted');
    expect(await upkeep.compactRevision()).toBe(revision);
    expect(await upkeep.compact(revision - 1n, { timeoutMs: 30_000 })).toBe('already');
    await expect(upkeep.compact(revision + 100n, { timeoutMs: 30_000 })).rejects.toMatchObject({ code: 'revision-future' });
  });

  test('H1: what is compacted counts as free although nobody writes, and defragmentation gives it back, by one request', async () => {
    const before = await client.status();
    expect(before.dbSize - before.dbSizeInUse).toBeGreaterThan(4 * MIB);
    await client.defragment();
    const after = await client.status();
    expect(after.dbSize).toBeLessThan(before.dbSize - 4 * MIB);
    expect(cluster.proxyOf(cluster.members[0]!).calls(DEFRAGMENT)).toBe(1);
  });

  test('H4: a member that is not the one that was meant is not asked', async () => {
    const { memberId } = await client.status();
    const proxy = cluster.proxyOf(cluster.members[0]!);
    const before = proxy.calls(DEFRAGMENT);
    await expect(client.defragment({ memberId: memberId + 1n })).rejects.toMatchObject({ code: 'refused' });
    expect(proxy.calls(DEFRAGMENT)).toBe(before);
    await client.defragment({ memberId });
    expect(proxy.calls(DEFRAGMENT)).toBe(before + 1);
  });

  test('H3: a Defragment whose answer is lost is not sent again', async () => {
    const proxy = cluster.proxyOf(cluster.members[0]!);
    const before = proxy.calls(DEFRAGMENT);
    proxy.intercept(DEFRAGMENT, { cut: true });
    await expect(client.defragment()).rejects.toMatchObject({ code: 'unreachable' });
    proxy.heal();
    // Longer than the pause before a connection is made anew.
    await client.linearizableRead();
    expect(proxy.calls(DEFRAGMENT)).toBe(before + 1);
  });

  test('H2: who gives up waits no longer, and the request is not sent again', async () => {
    const proxy = cluster.proxyOf(cluster.members[0]!);
    const before = proxy.calls(DEFRAGMENT);
    const held = proxy.hold(DEFRAGMENT);
    const stop = new AbortController();
    const waiting = client.defragment({ signal: stop.signal });
    await held.answered;
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'interrupted' });
    held.release();
    expect(proxy.calls(DEFRAGMENT)).toBe(before + 1);
  });

  test('H12: NOSPACE is disarmed by the id of the member, CORRUPT stays, and id 0 is refused', async () => {
    const member = cluster.members[0]!;
    const { memberId } = await member.status();
    await cluster.raiseAlarm('NOSPACE', member);
    await expect(upkeep.writeKey('/etcd-warden/test', 'x')).rejects.toMatchObject({ code: 'no-space' });
    await expect(upkeep.provePut('/etcd-warden/probe')).rejects.toMatchObject({ code: 'no-space' });
    await expect(client.disarmNoSpace(0n)).rejects.toMatchObject({ code: 'refused' });
    // Only now: since 3.6 nothing else is told while it is armed.
    await cluster.raiseAlarm('CORRUPT', member);
    await client.disarmNoSpace(memberId + 1n);
    expect(await client.alarms()).toHaveLength(2);
    await client.disarmNoSpace(memberId);
    expect(await client.alarms()).toEqual([{ type: 'CORRUPT', memberId }]);
    await cluster.disarmAlarms();
  });

  test('keys of ours are written, read, proved and found', async () => {
    await upkeep.writeKey('/etcd-warden/test', 'x');
    expect(await upkeep.readKey('/etcd-warden/test')).toBe('x');
    expect(await upkeep.exists('/etcd-warden/test')).toBe(true);
    await upkeep.provePut('/etcd-warden/probe');
    expect(await upkeep.exists('/etcd-warden/probe')).toBe(false);
    expect(await upkeep.readKey('/etcd-warden/probe')).toBeUndefined();
  });
});

describe.each(ETCD_MINORS)('authentication on etcd %s', (minor) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ minor, auth: true });
    await cluster.fill({ keys: 300, valueBytes: 10_000 });
    // A user of our own keys and nothing else.
    await cluster.etcdctl(['user', 'add', 'warden:secret']);
    await cluster.etcdctl(['role', 'add', 'warden']);
    await cluster.etcdctl(['role', 'grant-permission', 'warden', 'readwrite', '/etcd-warden/', '--prefix']);
    await cluster.etcdctl(['user', 'grant-role', 'warden', 'warden']);
  });
  afterAll(() => cluster?.stop());

  test('a user with the root role may do everything, with a token that the member has forgotten too', async () => {
    const access = cluster.access();
    await using(access, async (client, upkeep) => {
      const { revision, memberId } = await client.status();
      await cluster.members[0]!.restart();
      // Never sent again, not even with a better token: so it must come with a good one.
      await client.defragment();
      expect(await upkeep.compact(revision, { timeoutMs: 30_000 })).toBe('compacted');
      expect(await upkeep.compactRevision()).toBe(revision);
      await client.disarmNoSpace(memberId);
      await upkeep.provePut('/etcd-warden/probe');
    });
  });

  test('a user without it learns the compact revision and writes our keys', async () => {
    await using(cluster.access({ user: 'warden', password: () => 'secret' }), async (_, upkeep) => {
      expect(await upkeep.compactRevision()).toBeGreaterThan(0n);
      await upkeep.provePut('/etcd-warden/probe');
      await expect(upkeep.exists('compact_rev_key')).rejects.toMatchObject({
        code: 'permission-denied',
        message: 'user warden may not read compact_rev_key',
        hint: 'etcdctl role grant-permission ROLE read compact_rev_key',
      });
      await expect(upkeep.provePut('/other')).rejects.toMatchObject({ message: 'user warden may not write /other' });
    });
    // Keys of another prefix are none of its business, so there it is not told.
    const stranger = openUpkeep(cluster.access({ user: 'warden', password: () => 'secret' }), { keyPrefix: '/elsewhere' });
    expect(await stranger.compactRevision()).toBeUndefined();
    stranger.close();
  });

  test('H14: what needs the root role says so', async () => {
    const lacks = (method: string): object => ({
      code: 'permission-denied',
      message: `user warden lacks the root role, which ${method} needs`,
      hint: 'etcdctl user grant-role warden root',
    });
    await using(cluster.access({ user: 'warden', password: () => 'secret' }), async (client, upkeep) => {
      const { memberId, revision } = await client.status();
      await expect(client.defragment()).rejects.toMatchObject(lacks('Defragment'));
      // Of the others, 3.4 asks for it since 3.4.42 only (CVE-2026-33413).
      if (minor === '3.4') return;
      await expect(client.moveLeader(memberId)).rejects.toMatchObject(lacks('MoveLeader'));
      await expect(client.disarmNoSpace(memberId)).rejects.toMatchObject(lacks('Alarm'));
      await expect(upkeep.compact(revision, { timeoutMs: 10_000 })).rejects.toMatchObject(lacks('Compact'));
    });
  });

  async function using(access: ClusterAccess, work: (client: MemberClient, upkeep: Upkeep) => Promise<void>): Promise<void> {
    const client = new MemberClient(access, cluster.endpoints[0]!);
    const upkeep = openUpkeep(access);
    try {
      await work(client, upkeep);
    } finally {
      client.close();
      upkeep.close();
    }
  }
});

describe('three members and a learner', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3, learner: true });
  });
  afterAll(() => cluster?.stop());

  test('the leader hands over to the voter that is named, and nobody else can', async () => {
    const leader = await cluster.leader();
    const [target, bystander] = await cluster.followers();
    const { memberId } = await target!.status();
    await asking(bystander!.endpoint, (client) =>
      expect(client.moveLeader(memberId)).rejects.toMatchObject({
        code: 'refused',
        message: expect.stringContaining('does not lead') as string,
      }),
    );
    await asking(leader.endpoint, (client) => client.moveLeader(memberId));
    await until(async () => (await cluster.leader()) === target, 'the leadership did not move');
  });

  test('H13: a learner refuses to be defragmented or led to', async () => {
    const learner = cluster.members[3]!;
    await asking(learner.endpoint, (client) => expect(client.defragment()).rejects.toMatchObject({ code: 'learner' }));
    const { memberId } = await learner.status();
    await asking((await cluster.leader()).endpoint, (client) =>
      expect(client.moveLeader(memberId)).rejects.toThrow(/bad leader transferee/),
    );
  });

  test('the cluster is asked through whoever answers: neither a dead endpoint nor a learner stands in the way', async () => {
    await cluster.fill({ keys: 100, valueBytes: 10_000 });
    const [voter] = await cluster.followers();
    const endpoints = ['http://127.0.0.1:1', cluster.members[3]!.endpoint, voter!.endpoint];
    const upkeep = openUpkeep(cluster.access({ endpoints }));
    const { revision } = await voter!.status();
    expect(await upkeep.compact(revision, { timeoutMs: 30_000 })).toBe('compacted');
    expect(await upkeep.compactRevision()).toBe(revision);
    await upkeep.provePut('/etcd-warden/probe');
    upkeep.close();
  });

  test('H11: Compact asked of another member again is answered when that member has deleted everything too', async () => {
    await cluster.fill({ keys: 25_000, valueBytes: 10, prefix: '/small/' });
    // The first hundred keys again and again: many revisions, few keys.
    const metrics = openMetrics(cluster.access(), { urlTemplate: undefined, tls: undefined });
    let met = false;
    // On a busy machine the follower may be done before anybody looks.
    for (let round = 0; round < 10 && !met; round++) {
      for (let seed = 2; seed < 12; seed++) await cluster.fill({ keys: 2_500, valueBytes: 10, prefix: '/small/', seed: 10 * round + seed });
      const [leader, follower] = [await cluster.leader(), (await cluster.followers())[0]!];
      const { revision } = await leader.status();
      const runs = async (): Promise<boolean | undefined> => compactionRuns(await metrics.read(follower.endpoint));
      const compaction = { over: false };
      const first = asking(leader.endpoint, (client) => client.compact(revision, { timeoutMs: 60_000 })).finally(
        () => (compaction.over = true),
      );
      while (!compaction.over && !met) met = (await runs()) === true;
      if (met) {
        expect(await asking(follower.endpoint, (client) => client.compact(revision, { timeoutMs: 60_000 }))).toBe('already');
        expect(await runs()).toBe(false);
      }
      expect(await first).toBe('compacted');
    }
    expect(met).toBe(true);
  });

  test('without a quorum a compaction is refused in time, and the compact revision is not known', async () => {
    const [victim, survivor, other] = [await cluster.leader(), ...(await cluster.followers())];
    await Promise.all([victim.kill(), other!.kill()]);
    const upkeep = openUpkeep(cluster.access({ requestTimeoutMs: 1_000, dialTimeoutMs: 500 }));
    const started = performance.now();
    await expect(upkeep.compact(1n, { timeoutMs: 60_000 })).rejects.toMatchObject({
      code: expect.stringMatching(/^(timeout|no-quorum)$/) as string,
    });
    expect(await upkeep.compactRevision()).toBeUndefined();
    // Of the minute that a compaction is given.
    expect(performance.now() - started).toBeLessThan(20_000);
    upkeep.close();
    await asking(survivor!.endpoint, async (client) => expect((await client.status()).alarms).toEqual([]));
  });

  async function asking<T>(endpoint: string, work: (client: MemberClient) => Promise<T>): Promise<T> {
    const client = new MemberClient(cluster.access(), endpoint);
    try {
      return await work(client);
    } finally {
      client.close();
    }
  }
});
