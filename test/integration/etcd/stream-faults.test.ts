import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chooseMembers } from '../../../src/etcd/choose.ts';
import { observeCluster } from '../../../src/etcd/cluster.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { startFakeMember } from '../../support/fake-member.ts';
import { until } from '../../support/processes.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { encode } from '../../support/wire.ts';
import { drain } from './drain.ts';

const MIB = 1024 * 1024;

describe('a snapshot stream of a real cluster', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
    await cluster.fill({ keys: 4_000, valueBytes: 10_000 });
  });
  afterAll(() => cluster?.stop());

  test('fault 1: a member killed in the middle is an error that names the bytes, and the next candidate delivers', async () => {
    const access = cluster.access();
    const [first, second] = chooseMembers(await observeCluster(access), 'follower');
    const victim = cluster.members.find((member) => member.endpoint === first!.status.endpoint)!;
    const client = new MemberClient(access, victim.endpoint);
    let killed: Promise<void> | undefined;
    await expect(
      drain(client.snapshot({ maxRate: 10 * MIB }), () => {
        killed ??= victim.kill('SIGKILL');
      }),
    ).rejects.toMatchObject({ code: 'snapshot-cut', message: expect.stringMatching(/broke off after \d+ of \d+ bytes/) as string });
    client.close();
    await killed;
    const next = new MemberClient(access, second!.status.endpoint);
    expect(await drain(next.snapshot())).toMatchObject({ whole: true });
    next.close();
    await victim.restart();
  });

  test('fault 2: the leader changes in the middle and the snapshot completes, no newer than the status after it', async () => {
    const leader = await cluster.leader();
    const [target] = await cluster.followers();
    const client = new MemberClient(cluster.access(), leader.endpoint);
    const before = await client.status();
    const { memberId } = await target!.status();
    let moved: Promise<unknown> | undefined;
    const drained = await drain(client.snapshot({ maxRate: 30 * MIB }), () => {
      moved ??= leader.rpc.call('etcdserverpb.Maintenance/MoveLeader', encode([1, memberId]));
    });
    await moved;
    expect(drained.whole).toBe(true);
    const after = await client.status();
    expect(after.leader).toBe(memberId);
    expect(after.revision).toBeGreaterThanOrEqual(before.revision);
    client.close();
  });

  test('fault 6: a stopped member is given up after the idle timeout, not sooner', async () => {
    const victim = (await cluster.followers())[0]!;
    const client = new MemberClient(cluster.access({ streamIdleTimeoutMs: 1_500 }), victim.endpoint);
    let stoppedAt = 0;
    try {
      await expect(
        drain(client.snapshot({ maxRate: 20 * MIB }), () => {
          if (stoppedAt === 0) {
            victim.pause();
            stoppedAt = performance.now();
          }
        }),
      ).rejects.toMatchObject({ code: 'snapshot-stalled', message: expect.stringContaining('no byte for 1500 ms') as string });
      expect(performance.now() - stoppedAt).toBeGreaterThan(1_450);
    } finally {
      victim.resume();
      client.close();
    }
  });

  test('our own slowness is no stall', async () => {
    const client = new MemberClient(cluster.access({ streamIdleTimeoutMs: 1_000 }), cluster.endpoints[0]!);
    let pauses = 0;
    const slow = (async function* () {
      for await (const batch of client.snapshot()) {
        if (pauses++ < 2) await new Promise((resolve) => setTimeout(resolve, 1_500));
        yield batch;
      }
    })();
    expect(await drain(slow)).toMatchObject({ whole: true });
    client.close();
  });

  test('a limit on the rate holds', async () => {
    const client = new MemberClient(cluster.access(), cluster.endpoints[0]!);
    const started = performance.now();
    const { bytes } = await drain(client.snapshot({ maxRate: 20 * MIB }));
    const seconds = (performance.now() - started) / 1000;
    expect(bytes / seconds).toBeLessThan(20 * MIB * 1.1);
    client.close();
  });

  test('whoever stops reading ends the read transaction on the member', async () => {
    const member = cluster.members[0]!;
    const client = new MemberClient(cluster.access(), member.endpoint);
    // The figure is renewed at commits only, and the backend itself always keeps one open.
    const writer = cluster.writer({ perSecond: 50 });
    await until(() => writer.counters().written > 20, 'nothing is written');
    for await (const batch of client.snapshot()) {
      expect(batch.length).toBeGreaterThan(0);
      await until(async () => (await openReadTransactions(member.metrics)) >= 2, 'no read transaction is open');
      break;
    }
    await until(async () => (await openReadTransactions(member.metrics)) < 2, 'the read transaction stays open');
    await writer.stop();
    client.close();
  });

  test('a signal ends it as interrupted', async () => {
    const stop = new AbortController();
    const client = new MemberClient(cluster.access(), cluster.endpoints[0]!);
    await expect(drain(client.snapshot({ signal: stop.signal, maxRate: 10 * MIB }), () => stop.abort())).rejects.toMatchObject({
      code: 'interrupted',
    });
    await expect(drain(client.snapshot({ signal: stop.signal }))).rejects.toMatchObject({ code: 'interrupted' });
    client.close();
  });

  test('a connection reset on the way is a cut', async () => {
    const proxy = await startTcpProxy(cluster.endpoints[0]!);
    const client = new MemberClient(cluster.access(), proxy.endpoint);
    const cut = proxy.cutAfter(5 * MIB);
    await expect(drain(client.snapshot())).rejects.toMatchObject({ code: 'snapshot-cut' });
    await cut;
    expect(await drain(client.snapshot())).toMatchObject({ whole: true });
    client.close();
    await proxy.close();
  });

  test('an address that swallows packets is unreachable after the dial timeout', async () => {
    const proxy = await startTcpProxy(cluster.endpoints[0]!);
    proxy.blackhole();
    const client = new MemberClient(cluster.access({ dialTimeoutMs: 500, requestTimeoutMs: 30_000 }), proxy.endpoint);
    const started = performance.now();
    await expect(client.status()).rejects.toMatchObject({ code: 'unreachable' });
    await expect(drain(client.snapshot())).rejects.toMatchObject({ code: 'unreachable' });
    expect(performance.now() - started).toBeLessThan(15_000);
    client.close();
    await proxy.close();
  });
});

describe('a member that plays a fault', () => {
  const database = Buffer.alloc(8 * MIB, 7);

  test('empty messages for ever are a stall, not progress', async () => {
    await using member = await startFakeMember({ snapshot: { database, emptyBlobs: Infinity, emptyAt: 2 * MIB } });
    const client = new MemberClient(accessTo(member.endpoint), member.endpoint);
    await expect(drain(client.snapshot())).rejects.toMatchObject({ code: 'snapshot-stalled' });
    client.close();
  });

  test('silence after some bytes is a stall', async () => {
    await using member = await startFakeMember({ snapshot: { database, stallAt: MIB } });
    const client = new MemberClient(accessTo(member.endpoint), member.endpoint);
    await expect(drain(client.snapshot())).rejects.toMatchObject({ code: 'snapshot-stalled' });
    client.close();
  });

  test('a status in the middle is a cut that says what the member said', async () => {
    await using member = await startFakeMember({ snapshot: { database, failAt: { bytes: MIB, details: 'disk on fire' } } });
    const client = new MemberClient(accessTo(member.endpoint), member.endpoint);
    await expect(drain(client.snapshot())).rejects.toMatchObject({
      code: 'snapshot-cut',
      message: expect.stringContaining('disk on fire') as string,
    });
    client.close();
  });

  test('an end in good order before the trailer is handed on as it is: the trailer is judged elsewhere', async () => {
    await using member = await startFakeMember({ snapshot: { database, omitTrailer: true } });
    const client = new MemberClient(accessTo(member.endpoint), member.endpoint);
    expect(await drain(client.snapshot())).toMatchObject({ whole: false, bytes: database.length, announced: database.length });
    client.close();
  });
});

test('without quorum a member still tells its status and gives its snapshot', async () => {
  await using cluster = await startCluster({ minor: '3.5', members: 3 });
  await cluster.fill({ keys: 100, valueBytes: 1_000 });
  await cluster.members[1]!.kill();
  await cluster.members[2]!.kill();
  const access = cluster.access();
  await until(async () => !(await observeCluster(access)).quorum, 'the survivor still knows a leader');
  const view = await observeCluster(access);
  expect(view.notes.filter((note) => note.includes('does not answer'))).toHaveLength(2);
  const [candidate, ...others] = chooseMembers(view, 'leader');
  expect(others).toEqual([]);
  expect(candidate!.secondRate).toContain('the cluster has no quorum: writes that only lost members had are missing');
  const client = new MemberClient(access, candidate!.status.endpoint);
  expect(await drain(client.snapshot())).toMatchObject({ whole: true });
  await expect(client.linearizableRead()).rejects.toMatchObject({ code: expect.stringMatching(/timeout|no-quorum/) as string });
  client.close();
});

function accessTo(endpoint: string) {
  return { name: 'fake', endpoints: [endpoint], requestTimeoutMs: 2_000, dialTimeoutMs: 2_000, streamIdleTimeoutMs: 600, discover: false };
}

async function openReadTransactions(metrics: string): Promise<number> {
  const text = await (await fetch(`${metrics}/metrics`)).text();
  return Number(/^etcd_mvcc_db_open_read_transactions (\d+)/m.exec(text)?.[1] ?? 0);
}
