/** What is asked while a cluster elects, of members that play it: real elections are over before one can be sure to have met them. */
import { status as Code } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { openUpkeep } from '../../../src/etcd/upkeep.ts';
import { type FakeMember, GrpcFailure, startFakeMember } from '../../support/fake-member.ts';
import { encode } from '../../support/wire.ts';

const ALARM = 'etcdserverpb.Maintenance/Alarm';
const RANGE = 'etcdserverpb.KV/Range';
const MEMBER_LIST = 'etcdserverpb.Cluster/MemberList';
const AUTHENTICATE = 'etcdserverpb.Auth/Authenticate';
const COMPACT = 'etcdserverpb.KV/Compact';

let member: FakeMember;
beforeEach(async () => {
  member = await startFakeMember();
  return () => member.close();
});

function access(requestTimeoutMs: number): ClusterAccess {
  const times = { requestTimeoutMs, dialTimeoutMs: 10_000, streamIdleTimeoutMs: 10_000 };
  return { name: 'fake', endpoints: [member.endpoint], ...times, discover: false };
}

/** Refuses so many times, then answers as usual. */
function refuse(method: string, times: number, details = 'raft proposal dropped', code = Code.UNKNOWN, by = member): void {
  const usual = by.count(method) + times;
  by.answers.set(method, () => {
    if (by.count(method) === usual) by.answers.delete(method);
    throw new GrpcFailure(code, details);
  });
}

describe('while a cluster elects', () => {
  let client: MemberClient;
  beforeEach(() => {
    client = new MemberClient(access(10_000), member.endpoint);
  });
  afterEach(() => client.close());

  test('alarms, the member list and a linearizable read are asked for again until they are told', async () => {
    refuse(ALARM, 2);
    refuse(MEMBER_LIST, 1, 'etcdserver: leader changed', Code.UNAVAILABLE);
    refuse(RANGE, 1, 'etcdserver: no leader', Code.UNAVAILABLE);
    expect(await client.alarms()).toEqual([]);
    expect((await client.memberList({ linearizable: true })).members).toHaveLength(1);
    expect(await client.linearizableRead()).toBeGreaterThan(0);
    expect([ALARM, MEMBER_LIST, RANGE].map((method) => member.count(method))).toEqual([3, 2, 2]);
  });

  test('a login is tried again, since it goes through raft too', async () => {
    member.token = 'token.7';
    const known = new MemberClient({ ...access(10_000), user: 'root', password: () => 'secret' }, member.endpoint);
    refuse(AUTHENTICATE, 2);
    expect(await known.alarms()).toEqual([]);
    expect(member.count(AUTHENTICATE)).toBe(3);
    known.close();
  });

  test('what changes something is asked once', async () => {
    refuse(COMPACT, 1);
    await expect(client.compact(5n, { timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'no-quorum' });
    refuse(ALARM, 1);
    await expect(client.disarmNoSpace(7n)).rejects.toMatchObject({ code: 'no-quorum' });
    expect([COMPACT, ALARM].map((method) => member.count(method))).toEqual([1, 1]);
  });
});

test('what any member may answer is asked of all of them in turn until one does, a dead one among them or not', async () => {
  await using other = await startFakeMember({ memberId: 2n });
  const members = [member, other];
  const upkeep = openUpkeep({ ...access(10_000), endpoints: [member.endpoint, 'http://127.0.0.1:1', other.endpoint] });
  for (const one of members) refuse(RANGE, 2, 'raft proposal dropped', Code.UNKNOWN, one);
  expect(await upkeep.readKey('/key')).toBeUndefined();
  expect(members.map((one) => one.count(RANGE)).toSorted((a, b) => a - b)).toEqual([2, 3]);
  upkeep.close();
});

test('an election that does not end is told within the one deadline', async () => {
  const client = new MemberClient(access(1_000), member.endpoint);
  refuse(ALARM, 1_000);
  await expect(client.alarms()).rejects.toMatchObject({
    code: 'no-quorum',
    message: expect.stringContaining('raft proposal dropped') as string,
  });
  expect(member.count(ALARM)).toBeGreaterThan(1);
  expect(member.count(ALARM)).toBeLessThanOrEqual(10);
  client.close();
});

test('a member that has not heard of the login yet is not asked to defragment before it has', async () => {
  const client = new MemberClient({ ...access(10_000), user: 'root', password: () => 'secret' }, member.endpoint);
  // It applies a login with the linearizable read that follows.
  const lags = (): boolean => {
    const methods = member.calls.map(({ method }) => method);
    return methods.lastIndexOf(AUTHENTICATE) > methods.lastIndexOf(RANGE);
  };
  member.answers.set('etcdserverpb.Maintenance/Defragment', () => {
    if (lags()) throw new GrpcFailure(Code.UNAUTHENTICATED, 'etcdserver: invalid auth token');
    return encode([1, member.header()]);
  });
  try {
    await client.defragment();
    expect(member.count('etcdserverpb.Maintenance/Defragment')).toBe(1);
  } finally {
    client.close();
  }
});
