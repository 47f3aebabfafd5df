import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import type { GrpcProxy } from '../../support/grpc-proxy.ts';
import type { Member } from '../../support/member.ts';
import { until } from '../../support/processes.ts';
import { connect, type Rpc } from '../../support/rpc.ts';
import { encode, integer } from '../../support/wire.ts';

const DEFRAGMENT = 'etcdserverpb.Maintenance/Defragment';
const STATUS = 'etcdserverpb.Maintenance/Status';
const EMPTY = Buffer.alloc(0);

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ minor: '3.6', members: 3, proxies: true, wires: true });
});
afterAll(() => cluster?.stop());

describe('the gRPC proxy of a member', () => {
  let member: Member;
  let proxy: GrpcProxy;
  let rpc: Rpc;
  beforeAll(() => {
    member = cluster.members[0]!;
    proxy = cluster.proxyOf(member);
    rpc = connect(member.endpoint);
  });
  afterAll(() => rpc?.close());
  afterEach(() => proxy.heal());

  test('passes calls, errors, streams and metrics, and is what the member advertises', async () => {
    expect(integer(await rpc.call(STATUS, EMPTY), 4)).not.toBe(0n);
    await expect(rpc.call('etcdserverpb.KV/Compact', encode([1, 1_000_000n]))).rejects.toThrow('required revision is a future revision');
    expect(await (await fetch(`${member.endpoint}/metrics`)).text()).toContain('etcd_server_has_leader 1');
    const listed = await cluster.etcdctl(['member', 'list'], { endpoints: [member.endpoint] });
    for (const { endpoint, peer } of cluster.members) expect(listed).toMatch(new RegExp(`${peer}, ${endpoint}`));
    await cluster.etcdctl(['snapshot', 'save', `${member.dataDir}.snapshot`], { endpoints: [member.endpoint] });
  });

  test('holds an answer that the member has given long ago, and counts calls', async () => {
    const before = proxy.calls(DEFRAGMENT);
    const held = proxy.hold(DEFRAGMENT);
    let done = false;
    const call = rpc.call(DEFRAGMENT, EMPTY).then(() => (done = true));
    await held.answered;
    await rpc.call(STATUS, EMPTY);
    expect(done).toBe(false);
    held.release();
    await call;
    expect(proxy.calls(DEFRAGMENT)).toBe(before + 1);
  });

  test('answers in place of the member, resets instead of the answer, and waits before it asks', async () => {
    proxy.intercept(STATUS, { instead: { code: 7, message: 'etcdserver: permission denied' } });
    await expect(rpc.call(STATUS, EMPTY)).rejects.toThrow('7 PERMISSION_DENIED: etcdserver: permission denied');
    proxy.intercept(STATUS, { cut: true });
    await expect(rpc.call(STATUS, EMPTY)).rejects.toThrow(/UNAVAILABLE|CANCELLED|INTERNAL/);
    await rpc.ready();
    let asked = false;
    proxy.intercept(STATUS, {
      before: async () => {
        asked = true;
        await delay(10);
      },
    });
    await rpc.call(STATUS, EMPTY);
    expect(asked).toBe(true);
  });

  test('closes the metrics alone', async () => {
    proxy.closeMetrics();
    await expect(fetch(`${member.endpoint}/metrics`)).rejects.toThrow('fetch failed');
    await rpc.call(STATUS, EMPTY);
  });
});

test('an isolated leader answers clients while the others elect another, and comes back', async () => {
  const lost = await cluster.leader();
  const { memberId, raftTerm } = await lost.status();
  await cluster.isolate(lost);
  await until(async () => (await lost.status()).leader === 0n, 'it still thinks that somebody leads');
  const others = cluster.members.filter((member) => member !== lost);
  await until(async () => {
    const leaders = await Promise.all(others.map(async (member) => (await member.status()).leader));
    return leaders.every((leader) => leader !== 0n && leader !== memberId);
  }, 'the others have elected nobody');
  await others[0]!.rpc.call('etcdserverpb.KV/Put', encode([1, 'during'], [2, 'x']));
  cluster.healNetwork();
  await lost.waitHealthy();
  expect((await lost.status()).raftTerm).toBeGreaterThan(raftTerm);
  expect(await cluster.etcdctl(['get', 'during', '--print-value-only'], { endpoints: [lost.direct] })).toContain('x');
});
