import { status as Code } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { type FakeMember, GrpcFailure, startFakeMember } from '../../support/fake-member.ts';
import { until } from '../../support/processes.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { CoordinationClient } from '../../../src/etcd/coordination-client.ts';
import { openCoordination } from '../../../src/etcd/coordination.ts';
import { openUpkeep } from '../../../src/etcd/upkeep.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';

const REAL = 0xaan;
const STRAY = 0xbbn;
const READ = 'etcdserverpb.KV/Range';
const STATUS = 'etcdserverpb.Maintenance/Status';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

async function member(clusterId: bigint, memberId: bigint): Promise<FakeMember> {
  const fake = await startFakeMember({ clusterId, memberId });
  open.push(fake);
  return fake;
}

function access(endpoints: readonly (FakeMember | string)[], changes: Partial<ClusterAccess> = {}): ClusterAccess {
  return {
    name: 'prod',
    endpoints: endpoints.map((one) => (typeof one === 'string' ? one : one.endpoint)),
    requestTimeoutMs: 2_000,
    dialTimeoutMs: 1_000,
    streamIdleTimeoutMs: 1_000,
    discover: false,
    ...changes,
  };
}

function clientOf(...of: Parameters<typeof access>): CoordinationClient {
  const client = new CoordinationClient(access(...of));
  open.push(client);
  return client;
}

function read(client: CoordinationClient): Promise<bigint> {
  return client.run('reading a key', undefined, async (attempt) => {
    await attempt.client.get('key').options(attempt.options).string();
    return attempt.clusterId;
  });
}

/** Whatever else a stray was asked, it was told and asked nothing but who it is. */
function askedOnlyForItself(stray: FakeMember): void {
  expect([...new Set(stray.calls.map(({ method }) => method))]).toEqual([STATUS]);
}

test('a stray that is named first is asked who it is, and nothing else', async () => {
  const stray = await member(STRAY, 9n);
  const [a, b] = [await member(REAL, 1n), await member(REAL, 2n)];
  const client = clientOf([stray, a, b]);
  expect(await read(client)).toBe(REAL);
  expect(await read(client)).toBe(REAL);
  expect(a.count(READ) + b.count(READ)).toBe(2);
  askedOnlyForItself(stray);
  expect([stray, a, b].map((one) => one.count(STATUS))).toEqual([1, 1, 1]);
});

test('without a majority nothing is sent to anybody, and both are named', async () => {
  const [stray, a] = [await member(STRAY, 9n), await member(REAL, 1n)];
  await expect(read(clientOf([stray, a]))).rejects.toMatchObject({
    code: 'cluster-ids-disagree',
    message: expect.stringMatching(new RegExp(`${stray.endpoint} of bb, ${a.endpoint} of aa`)) as string,
  });
  askedOnlyForItself(stray);
  askedOnlyForItself(a);
});

test('a caller that has looked says which cluster is meant, and no vote changes it', async () => {
  const [stray, other, a] = [await member(STRAY, 8n), await member(STRAY, 9n), await member(REAL, 1n)];
  const client = new CoordinationClient(access([stray, other, a]), { clusterId: REAL });
  open.push(client);
  expect(await read(client)).toBe(REAL);
  askedOnlyForItself(stray);
  await a.close();
  await expect(read(client)).rejects.toMatchObject({ code: 'unreachable' });
  askedOnlyForItself(other);
});

test('whoever is silent is not waited for when the others decide', async () => {
  const [a, b, silent] = [await member(REAL, 1n), await member(REAL, 2n), await member(REAL, 3n)];
  silent.answers.set(STATUS, () => new Promise<never>(() => {}));
  const client = clientOf([silent, a, b], { requestTimeoutMs: 60_000 });
  expect(await read(client)).toBe(REAL);
  expect(silent.count(READ)).toBe(0);
});

test('a member that comes back votes the choice down: what was held with the stray alone is lost', async () => {
  const stray = await member(STRAY, 9n);
  const [a, b] = [await startTcpProxy((await member(REAL, 1n)).endpoint), await startTcpProxy((await member(REAL, 2n)).endpoint)];
  open.push(a, b);
  a.refuse();
  b.refuse();
  const client = clientOf([stray, a.endpoint, b.endpoint]);
  expect(await read(client)).toBe(STRAY);
  a.heal();
  b.heal();
  // Asked by somebody else meanwhile, as by the next calls after some seconds.
  for (const { endpoint } of [a, b])
    await expect(client.admit(endpoint, undefined)).rejects.toMatchObject({
      code: 'cluster-ids-disagree',
      message: expect.stringMatching(/belongs? to cluster aa/) as string,
    });
  await expect(read(client)).rejects.toMatchObject({
    code: 'cluster-ids-disagree',
    message: 'most endpoints of prod belong to cluster aa now, and not to bb as before',
  });
  client.chooseAgain();
  expect(await read(client)).toBe(REAL);
});

test('a member that is away for a moment still counts: the stray beside it gets no majority by that', async () => {
  const stray = await member(STRAY, 9n);
  const [a, b] = [await member(REAL, 1n), await member(REAL, 2n)];
  const client = clientOf([stray, a, b]);
  expect(await read(client)).toBe(REAL);
  await a.close();
  await b.close();
  const silence = { code: expect.stringMatching(/unreachable|timeout/) as string };
  await expect(read(client)).rejects.toMatchObject(silence);
  client.chooseAgain();
  await expect(read(client)).rejects.toMatchObject(silence);
  askedOnlyForItself(stray);
});

test('who is behind an address is asked again when the connection broke, before anything is sent there', async () => {
  const [a, b, stray] = [await member(REAL, 1n), await member(REAL, 2n), await member(STRAY, 9n)];
  const address = await startTcpProxy(a.endpoint);
  open.push(address);
  const client = clientOf([address.endpoint, b]);
  await Promise.all([client.admit(address.endpoint, undefined), client.admit(b.endpoint, undefined)]);
  expect(await read(client)).toBe(REAL);
  address.switchTo(stray.endpoint);
  await until(async () => {
    await client.admit(address.endpoint, undefined).catch(() => undefined);
    return stray.count(STATUS) > 0;
  }, 'nobody asked');
  for (let again = 0; again < 3; again++) expect(await read(client)).toBe(REAL);
  expect(b.count(READ)).toBeGreaterThanOrEqual(3);
  askedOnlyForItself(stray);
});

test('an answer of somebody else, as through a proxy that passes single calls on, is no answer', async () => {
  const a = await member(REAL, 1n);
  const client = clientOf([a]);
  expect(await read(client)).toBe(REAL);
  // The same connection, another cluster.
  a.clusterId = STRAY;
  await expect(read(client)).rejects.toMatchObject({ code: 'cluster-ids-disagree' });
  expect(a.count(READ)).toBe(2);
  await expect(read(client)).rejects.toMatchObject({ code: 'cluster-ids-disagree' });
  expect(a.count(READ)).toBe(2);
});

test('a lock is lost when most endpoints belong to another cluster, which is said, and it is not taken there', async () => {
  const [a, b] = [await member(REAL, 1n), await member(REAL, 2n)];
  const [toA, toB] = [await startTcpProxy(a.endpoint), await startTcpProxy(b.endpoint)];
  const [one, other] = [await member(STRAY, 8n), await member(STRAY, 9n)];
  open.push(toA, toB);
  const warnings: Record<string, unknown>[] = [];
  const logger = { debug() {}, info() {}, error() {}, warn: (fields: object) => void warnings.push({ ...fields }), child: () => logger };
  const coordination = openCoordination(access([toA.endpoint, toB.endpoint]), { keyPrefix: '/w', lockTtlSeconds: 1, logger });
  open.push(coordination);
  const taken = await coordination.lock('a test');
  if (taken.outcome !== 'held') throw new Error(JSON.stringify(taken));
  expect(taken.lock.clusterId).toBe(REAL);
  const told: unknown[] = [];
  taken.lock.onLost((holder) => told.push(holder));
  toA.switchTo(one.endpoint);
  toB.switchTo(other.endpoint);
  await until(() => told.length > 0, 'the loss was not told');
  expect(told).toEqual([undefined]);
  expect(taken.lock.held).toBe(false);
  await expect(taken.lock.heldByOther()).rejects.toMatchObject({ code: 'cluster-ids-disagree' });
  await until(() => warnings.some(({ reason }) => /belong.* to/.test(String(reason))), 'nothing was said');
  askedOnlyForItself(one);
  askedOnlyForItself(other);
});

test('whoever was elected is elected anew where most endpoints are now, and says in between that nobody knows', async () => {
  const a = await member(REAL, 1n);
  const address = await startTcpProxy(a.endpoint);
  const restored = await member(0xccn, 7n);
  open.push(address);
  const coordination = openCoordination(access([address.endpoint]), { keyPrefix: '/w', leaderTtlSeconds: 1 });
  open.push(coordination);
  const campaign = coordination.campaign('a test');
  const roles: string[] = [];
  campaign.onChange(({ role }) => roles.push(role));
  await until(() => campaign.leadership.role === 'leader', 'nobody leads');
  address.switchTo(restored.endpoint);
  await until(
    () => roles.length >= 3 && campaign.leadership.role === 'leader',
    () => `roles: ${roles.join(', ')}`,
  );
  expect(roles).toEqual(['leader', 'unknown', 'leader']);
  expect(restored.count('etcdserverpb.KV/Txn')).toBe(1);
});

test('a compaction is asked of no stray, although it agrees with itself at once', async () => {
  const stray = await member(STRAY, 9n);
  const [a, b] = [await member(REAL, 1n), await member(REAL, 2n)];
  const upkeep = openUpkeep(access([stray, a, b]));
  open.push(upkeep);
  expect(await upkeep.compact(10n, { timeoutMs: 2_000 })).toBe('compacted');
  expect(a.count('etcdserverpb.KV/Compact') + b.count('etcdserverpb.KV/Compact')).toBe(3);
  // What is wrong with the members counts, not that one is none.
  for (const one of [a, b]) one.answers.set(READ, () => Promise.reject(new GrpcFailure(Code.UNAVAILABLE, 'etcdserver: request timed out')));
  await expect(upkeep.compact(11n, { timeoutMs: 2_000 })).rejects.toMatchObject({ code: 'no-quorum' });
  askedOnlyForItself(stray);
});

test('where users are asked for, each endpoint gets a login of its own when the shared token is nothing to it', async () => {
  const stray = await member(STRAY, 9n);
  const [a, b] = [await member(REAL, 1n), await member(REAL, 2n)];
  for (const one of [stray, a, b]) one.token = `token of ${one.memberId}`;
  const client = clientOf([stray, a, b], { user: 'root', password: () => 'secret' });
  expect(await read(client)).toBe(REAL);
  expect(new Set(stray.calls.map(({ method }) => method))).toEqual(new Set(['etcdserverpb.Auth/Authenticate', STATUS]));
});
