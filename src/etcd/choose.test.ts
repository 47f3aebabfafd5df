import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseMembers } from './choose.ts';
import type { ClusterView, MemberStatus } from './types.ts';

const CLUSTER = 0xaan;

function status(name: string, changes: Partial<MemberStatus> = {}): MemberStatus {
  return {
    endpoint: `http://${name}:2379`,
    clusterId: CLUSTER,
    memberId: BigInt(name.replace('m', '')),
    name,
    role: 'follower',
    leader: 1n,
    version: '3.6.16',
    storageVersion: '3.6.0',
    dbSize: 1,
    dbSizeInUse: 1,
    dbSizeQuota: undefined,
    raftIndex: 10_000n,
    raftAppliedIndex: 10_000n,
    raftTerm: 2n,
    revision: 5_000n,
    alarms: [],
    latencyMs: 1,
    ...changes,
  };
}

function view(...statuses: readonly MemberStatus[]): ClusterView {
  return {
    clusterId: CLUSTER,
    members: statuses.map((one) => ({ reachable: true, endpoint: one.endpoint, status: one })),
    quorum: statuses.some((one) => one.leader !== 0n && one.role !== 'learner'),
    notes: [],
  };
}

function order(given: ClusterView, preference: string): string[] {
  return chooseMembers(given, preference).map((candidate) => candidate.status.name);
}

const LEADER = status('m1', { role: 'leader' });

describe('choosing a member', () => {
  test('the preferred role comes first, the others say why they are second-rate', () => {
    const three = view(status('m2'), LEADER, status('m3', { role: 'learner' }));
    expect(order(three, 'leader')).toEqual(['m1', 'm2', 'm3']);
    expect(order(three, 'follower')).toEqual(['m2', 'm1', 'm3']);
    expect(order(three, 'learner')).toEqual(['m3', 'm2', 'm1']);
    expect(chooseMembers(three, 'leader').map((candidate) => candidate.secondRate)).toEqual([
      [],
      ['m2 is a follower, not the leader'],
      ['m3 is a learner, not the leader'],
    ]);
  });

  test.each(['http://m2:2379', 'm2:2379', 'm2'])('a member is asked for by %s', (preference) => {
    expect(order(view(LEADER, status('m2'), status('m3')), preference)).toEqual(['m2', 'm1', 'm3']);
    expect(chooseMembers(view(LEADER), preference)[0]!.secondRate).toEqual([`m1 is not ${preference}, which was asked for`]);
  });

  test('a member that lags comes after those that do not, preferred or not', () => {
    const given = view(LEADER, status('m2', { raftAppliedIndex: 8_000n }));
    expect(order(given, 'follower')).toEqual(['m1', 'm2']);
    expect(chooseMembers(given, 'follower')[1]!.secondRate).toEqual(['m2 lags 2000 raft entries behind']);
    expect(chooseMembers(view(LEADER, status('m2', { raftAppliedIndex: 9_500n })), 'follower')[0]!.secondRate).toEqual([]);
  });

  test('a member without leader is taken last while others have one, and named when nobody has', () => {
    const cutOff = status('m2', { leader: 0n });
    expect(chooseMembers(view(LEADER, cutOff), 'follower')[1]!.secondRate).toEqual(['m2 knows no leader, m1 does: it may be cut off']);
    const alone = chooseMembers(view(cutOff), 'follower');
    expect(alone[0]!.secondRate).toEqual(['the cluster has no quorum: writes that only lost members had are missing']);
  });

  test('a learner that still names a lost leader does not come before the voter that is left', () => {
    const left = view(status('m2', { leader: 0n }), status('m4', { role: 'learner' }));
    expect(order(left, 'leader')).toEqual(['m2', 'm4']);
    const learners = chooseMembers(view(status('m4', { role: 'learner' })), 'learner');
    expect(learners[0]!.secondRate).toEqual([expect.stringContaining('only learners answer')]);
  });

  test('fault 10: NOSPACE changes nothing', () => {
    const alarms = [{ type: 'NOSPACE' as const, memberId: 1n }];
    expect(chooseMembers(view({ ...LEADER, alarms }, status('m2', { alarms })), 'leader')[0]).toEqual({
      status: { ...LEADER, alarms },
      secondRate: [],
    });
  });

  test('fault 10: with CORRUPT armed for the leader another member is preferred, and alone it is suspect', () => {
    const alarms = [{ type: 'CORRUPT' as const, memberId: 1n }];
    const [first, second] = chooseMembers(view({ ...LEADER, alarms }, status('m2', { alarms })), 'leader');
    expect(first).toMatchObject({
      status: { name: 'm2' },
      secondRate: ['m2 is a follower, not the leader', 'the CORRUPT alarm is armed for member 1'],
    });
    expect(first!.suspect).toBeUndefined();
    expect(second).toMatchObject({ status: { name: 'm1' }, suspect: 'the CORRUPT alarm is armed for m1' });
    expect(chooseMembers(view({ ...LEADER, alarms }), 'leader')[0]!.suspect).toBe('the CORRUPT alarm is armed for m1');
  });

  test('fault 10: CORRUPT without a member makes all suspect', () => {
    const alarms = [{ type: 'CORRUPT' as const, memberId: 0n }];
    const candidates = chooseMembers(view({ ...LEADER, alarms }, status('m2', { alarms })), 'leader');
    expect(candidates.map((candidate) => candidate.suspect)).toEqual(Array(2).fill('a CORRUPT alarm is armed that names no member'));
  });

  test('a learner that serves no snapshots comes last even when learners are preferred', () => {
    const learner = status('m3', { role: 'learner', version: '3.4.23' });
    expect(order(view(learner, LEADER), 'learner')).toEqual(['m1', 'm3']);
    expect(order(view({ ...learner, version: '3.4.28' }, LEADER), 'learner')).toEqual(['m3', 'm1']);
  });

  test('a release that is known to lose data is avoided and named', () => {
    const bad = { ...LEADER, version: '3.5.1' };
    expect(order(view(bad, status('m2', { version: '3.5.35' })), 'leader')).toEqual(['m2', 'm1']);
    expect(chooseMembers(view(bad), 'leader')[0]!.secondRate).toEqual([expect.stringContaining('#13766')]);
  });

  test('fault 12: only another cluster id than that of most excludes a member', () => {
    expect(order(view(LEADER, status('m2', { clusterId: 0xbbn })), 'follower')).toEqual(['m1']);
  });

  test('whatever their state, all members of the cluster are candidates, each once', () => {
    const member = fc.record({
      role: fc.constantFrom('leader' as const, 'follower' as const, 'learner' as const),
      leader: fc.constantFrom(0n, 1n),
      version: fc.constantFrom('3.4.23', '3.5.1', '3.6.16', 'unknown', ''),
      raftAppliedIndex: fc.bigInt(0n, 20_000n),
      clusterId: fc.constantFrom(CLUSTER, 0xbbn),
      alarms: fc.array(fc.record({ type: fc.constantFrom('NOSPACE' as const, 'CORRUPT' as const), memberId: fc.bigInt(0n, 5n) })),
    });
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 7 }),
        fc.constantFrom('leader', 'follower', 'learner', 'm2', 'http://elsewhere:1'),
        (members, preference) => {
          const statuses = members.map((changes, index) => status(`m${index}`, changes));
          const expected = statuses.filter((one) => one.clusterId === CLUSTER).map((one) => one.name);
          expect(order(view(...statuses), preference).sort()).toEqual(expected.sort());
        },
      ),
    );
  });
});
