import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Coordination, type Lock, type LockResult, openCoordination } from '../../../src/etcd/coordination.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { startProcess, until } from '../../support/processes.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';

const PREFIX = '/etcd-warden';
const TTL = 2;

function open(access: ClusterAccess): Coordination {
  return openCoordination(access, { keyPrefix: PREFIX, lockTtlSeconds: TTL, leaderTtlSeconds: TTL });
}

describe('two daemons on one cluster', () => {
  let cluster: Cluster;
  let a: Coordination;
  let b: Coordination;

  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
  });
  afterAll(() => cluster?.stop());
  beforeEach(() => {
    a = open(cluster.access());
    b = open(cluster.access());
    return async () => {
      await a.close();
      await b.close();
    };
  });

  test('fault 62: of two that take the lock at once, a hundred times, exactly one gets it and the other learns who', async () => {
    for (let round = 0; round < 100; round++) {
      const results = await Promise.all([a.lock(`a ${round}`), b.lock(`b ${round}`)]);
      const winners = results.filter((result) => result.outcome === 'held');
      const losers = results.filter((result) => result.outcome === 'held-by-other');
      expect([winners.length, losers.length]).toEqual([1, 1]);
      expect(losers[0]).toMatchObject({
        holder: expect.stringMatching(new RegExp(`pid ${process.pid} .*\\([ab] ${round}\\) since 20`)) as string,
      });
      await lockOf(winners[0]!).release();
    }
  });

  test('fault 62: of two that campaign at once one leads, the other is standby and follows within its poll', async () => {
    const campaigns = [a.campaign('daemon'), b.campaign('daemon')];
    await Promise.all(campaigns.map((campaign) => campaign.settled));
    expect(campaigns.map((campaign) => campaign.leadership.role).sort()).toEqual(['leader', 'standby']);
    const leader = campaigns.find((campaign) => campaign.leadership.role === 'leader')!;
    const standby = campaigns.find((campaign) => campaign !== leader)!;
    const roles: string[] = [];
    standby.onChange((leadership) => roles.push(leadership.role));
    await delay(TTL * 1500);
    expect(standby.leadership.role).toBe('standby');
    await leader.resign();
    await until(() => standby.leadership.role === 'leader', 'nobody took over');
    expect(roles).toEqual(['standby', 'leader']);
  });

  test('a lock outlives its lease while the holder lives', async () => {
    const lock = lockOf(await a.lock('a long backup'));
    await delay(TTL * 2500);
    expect(lock.held).toBe(true);
    expect(await lock.heldByOther()).toBeUndefined();
    expect(await b.lock('another')).toMatchObject({ outcome: 'held-by-other' });
    await lock.release();
    lockOf(await b.lock('another'));
  });

  test('a lock taken from us is told with its new holder', async () => {
    const lock = lockOf(await a.lock('ours'));
    const told: (string | undefined)[] = [];
    lock.onLost((holder) => told.push(holder));
    // What an expired lease does, at once: the key goes with it.
    const [lease] = /^[0-9a-f]{8,}$/m.exec(await cluster.etcdctl(['lease', 'list']))!;
    await cluster.etcdctl(['lease', 'revoke', lease]);
    const other = lockOf(await b.lock('theirs'));
    expect(await lock.heldByOther()).toContain('(theirs)');
    await until(() => told.some((holder) => holder?.includes('(theirs)')), 'the loss was not told');
    await other.release();
  });

  test('slots are served once, and the record goes forward only', async () => {
    const now = Date.now();
    const slot = (minutes: number): string => new Date(now + minutes * 60_000).toISOString();
    expect(await a.slotServed(slot(-60))).toBe(false);
    await a.recordSlot(slot(-60), 'first');
    expect(await b.slotServed(slot(-60))).toBe(true);
    expect(await b.slotServed(slot(-120))).toBe(true);
    expect(await b.slotServed(slot(0))).toBe(false);
    await Promise.all([a.recordSlot(slot(0), 'newer'), b.recordSlot(slot(-30), 'older')]);
    expect(await a.slotServed(slot(0))).toBe(true);
    expect(JSON.parse(await cluster.etcdctl(['get', '--print-value-only', `${PREFIX}/slots/test`]))).toMatchObject({ id: 'newer' });
  });

  test('a record from a clock far ahead stops no backups', async () => {
    await a.recordSlot(new Date(Date.now() + 365 * 86_400_000).toISOString(), 'from the future');
    expect(await b.slotServed(new Date().toISOString())).toBe(false);
    await b.recordSlot(new Date().toISOString(), 'now');
    expect(JSON.parse(await cluster.etcdctl(['get', '--print-value-only', `${PREFIX}/slots/test`]))).toMatchObject({ id: 'now' });
  });

  test('a foreign value in our keys is named, not trusted', async () => {
    await cluster.etcdctl(['put', `${PREFIX}/lock`, 'hands off']);
    await cluster.etcdctl(['put', `${PREFIX}/slots/test`, '{"slot":7}']);
    expect(await a.lock('x')).toEqual({ outcome: 'held-by-other', holder: 'hands off' });
    expect(await a.slotServed(new Date().toISOString())).toBe(false);
    await cluster.etcdctl(['del', `${PREFIX}/lock`]);
  });

  test('fault 64: the lock of a process that was killed ends with its lease', async () => {
    const holder = startProcess(process.execPath, [
      new URL('lock-holder.ts', import.meta.url).pathname,
      cluster.endpoints[0]!,
      String(TTL),
    ]);
    await until(
      () => holder.output().includes('held'),
      () => `the other process did not get it: ${holder.output()}`,
    );
    expect(await a.lock('ours')).toMatchObject({ outcome: 'held-by-other', holder: expect.stringContaining('(holding on)') as string });
    holder.kill('SIGKILL');
    await holder.exited;
    let result: LockResult | undefined;
    await until(async () => (result = await a.lock('ours')).outcome === 'held', 'the lock stays', { everyMs: 100 });
    await lockOf(result!).release();
  });

  test('a dead and a frozen endpoint cost time, not the lock', async () => {
    const frozen = (await cluster.followers())[0]!;
    const proxy = await startTcpProxy(frozen.endpoint);
    proxy.pause();
    const healthy = cluster.members.find((member) => member !== frozen)!.endpoint;
    const c = open(cluster.access({ endpoints: ['http://127.0.0.1:1', proxy.endpoint, healthy], requestTimeoutMs: 600 }));
    const lock = lockOf(await c.lock('around the dead'));
    await delay(TTL * 1500);
    expect(lock.held).toBe(true);
    await c.close();
    await proxy.close();
  });

  test('a member that freezes under those who renew through it costs them nothing, however long a request may take', async () => {
    const proxy = await startTcpProxy((await cluster.followers())[0]!.endpoint);
    const healthy = (await cluster.leader()).endpoint;
    const c = open(cluster.access({ endpoints: [proxy.endpoint, healthy], requestTimeoutMs: 10_000 }));
    const lock = lockOf(await c.lock('through a member that freezes'));
    const lost: unknown[] = [];
    lock.onLost((holder) => lost.push(holder));
    const campaign = c.campaign('the same');
    const roles: string[] = [];
    campaign.onChange(({ role }) => roles.push(role));
    await until(() => campaign.leadership.role === 'leader', 'nobody leads');
    expect(proxy.received).toBeGreaterThan(0);
    proxy.pause();
    await delay(TTL * 3_000);
    expect(lost).toEqual([]);
    expect(lock.held).toBe(true);
    expect(roles).toEqual(['leader']);
    expect(await cluster.etcdctl(['get', `${PREFIX}/lock`])).toContain('through a member that freezes');
    proxy.resume();
    await c.close();
    await proxy.close();
  });

  test('when the lease is lost and nobody else comes, the lock is taken again and nothing is cut', async () => {
    const proxy = await startTcpProxy(cluster.endpoints[0]!);
    const c = open(cluster.access({ endpoints: [proxy.endpoint], requestTimeoutMs: 500, dialTimeoutMs: 300 }));
    const lock = lockOf(await c.lock('cut off'));
    const told: (string | undefined)[] = [];
    lock.onLost((holder) => told.push(holder));
    proxy.blackhole();
    await until(() => told.length > 0, 'the loss was not told');
    expect(lock.held).toBe(false);
    proxy.heal();
    await until(() => lock.held, 'it was not taken again');
    expect(told).toEqual([undefined]);
    await c.close();
    await proxy.close();
  });
});

describe.each(['3.4', '3.5', '3.6', '3.7'] as const)('while NOSPACE is armed on etcd %s', (minor) => {
  test('no lock can be taken, which is said with who holds what; those held before stay alive', async () => {
    await using cluster = await startCluster({ minor, quotaBackendBytes: 8 * 1024 * 1024, auth: minor === '3.5' });
    const a = open(cluster.access());
    const b = open(cluster.access());
    const campaign = a.campaign('the daemon');
    await campaign.settled;
    const lock = lockOf(await a.lock('before'));
    await cluster.exhaustQuota();
    await delay(TTL * 1500);
    expect(lock.held).toBe(true);
    expect(campaign.leadership.role).toBe('leader');
    expect(await b.lock('in the way')).toMatchObject({ outcome: 'held-by-other', holder: expect.stringContaining('(before)') as string });
    await lock.release();
    expect(await b.lock('in need')).toMatchObject({
      outcome: 'unavailable',
      code: 'no-space',
      reason: expect.stringMatching(/NOSPACE is armed.*nobody holds the lock, elected is .*\(the daemon\)/) as string,
    });
    await expect(b.recordSlot(new Date().toISOString(), 'x')).rejects.toMatchObject({ code: 'no-space' });
    const standby = b.campaign('another daemon');
    await standby.settled;
    expect(standby.leadership.role).toBe('standby');
    await campaign.resign();
    await until(() => standby.leadership.role === 'unknown', 'the standby did not notice');
    await a.close();
    await b.close();
  });
});

test('without quorum the lock is unavailable within one deadline, and the leader knows that it cannot tell any more', async () => {
  await using cluster = await startCluster({ minor: '3.6', members: 3 });
  const coordination = open(cluster.access({ requestTimeoutMs: 1_000 }));
  const campaign = coordination.campaign('daemon');
  await campaign.settled;
  expect(campaign.leadership.role).toBe('leader');
  await cluster.members[1]!.kill();
  await cluster.members[2]!.kill();
  const started = performance.now();
  expect(await coordination.lock('alone')).toMatchObject({
    outcome: 'unavailable',
    code: expect.stringMatching(/timeout|no-quorum|unreachable/) as string,
  });
  // etcd itself gives up after seven seconds.
  expect(performance.now() - started).toBeLessThan(6_000);
  await until(() => campaign.leadership.role === 'unknown', 'it still believes that it leads');
  await coordination.close();
});

function lockOf(result: LockResult): Lock {
  if (result.outcome !== 'held') throw new Error(`not held: ${JSON.stringify(result)}`);
  return result.lock;
}
