import { describe, expect, test } from 'vitest';
import { WardenError } from '../../errors.ts';
import type { ClusterView, ListedMember, MemberStatus, MemberView } from '../../etcd/types.ts';
import { everybody } from './everybody.ts';

const CLUSTER = 0xc1n;

function answer(memberId: bigint, part: Partial<MemberStatus> = {}): MemberView {
  const status: MemberStatus = {
    endpoint: `http://10.0.0.${memberId}:2379`,
    clusterId: CLUSTER,
    memberId,
    name: `m${memberId}`,
    role: 'follower',
    leader: 1n,
    version: '3.6.16',
    storageVersion: '3.6.0',
    dbSize: 1,
    dbSizeInUse: 1,
    dbSizeQuota: 1,
    raftIndex: 1n,
    raftAppliedIndex: 1n,
    raftTerm: 1n,
    revision: 1n,
    alarms: [],
    latencyMs: 1,
    ...part,
  };
  return { reachable: true, endpoint: status.endpoint, status };
}

function silence(endpoint: string, name?: string): MemberView {
  return { reachable: false, endpoint, name, error: new WardenError('unreachable', `${endpoint} is silent`) };
}

function listed(id: bigint, part: Partial<ListedMember> = {}): ListedMember {
  return { id, name: `m${id}`, peerUrls: [], clientUrls: [`http://10.0.0.${id}:2379/`], learner: false, ...part };
}

function view(members: readonly MemberView[], list: readonly ListedMember[] | undefined): ClusterView {
  return { clusterId: CLUSTER, members, listed: list, quorum: true, notes: [] };
}

describe('who belongs to a cluster', () => {
  test('everybody in the list, whether it answers or not, with the reason of its silence', () => {
    const seen = everybody(
      view(
        [answer(1n), silence('http://10.0.0.2:2379'), silence('http://elsewhere:2379', 'm3')],
        [listed(1n), listed(2n), listed(3n), listed(4n)],
      ),
    );
    expect(seen).toMatchObject([
      { id: '1', name: 'm1', voter: true, status: { memberId: 1n }, error: undefined },
      { id: '2', name: 'm2', voter: true, status: undefined, address: 'http://10.0.0.2:2379', error: 'http://10.0.0.2:2379 is silent' },
      { id: '3', name: 'm3', error: 'http://elsewhere:2379 is silent', silent: false },
      { id: '4', name: 'm4', address: undefined, error: 'none of its addresses leads to it' },
    ]);
  });

  test('H4: who takes connections and does not answer in time may be frozen, and is told apart from who is not there', () => {
    const late = { ...silence('http://10.0.0.2:2379', 'm2'), error: new WardenError('timeout', 'Status did not answer within 2000 ms') };
    const seen = everybody(view([answer(1n), late, silence('http://10.0.0.3:2379', 'm3')], [listed(1n), listed(2n), listed(3n)]));
    expect(seen.map(({ silent }) => silent)).toEqual([false, true, false]);
  });

  test('H13: a learner is none of the voters; the list decides, because a member learns of its promotion late', () => {
    const seen = everybody(
      view([answer(1n), answer(2n, { role: 'learner' }), answer(3n)], [listed(1n), listed(2n), listed(3n, { learner: true })]),
    );
    expect(seen.map(({ voter }) => voter)).toEqual([true, true, false]);
  });

  test('H4: a member that was added and never started counts, by its id', () => {
    const seen = everybody(view([answer(1n)], [listed(1n), listed(0xffn, { name: '', clientUrls: [] })]));
    expect(seen[1]).toMatchObject({
      id: 'ff',
      name: 'ff',
      voter: true,
      status: undefined,
      error: 'it was added, but has never been started',
    });
  });

  test('whoever answers without being in the list is told, whoever is of another cluster is not', () => {
    const seen = everybody(view([answer(1n), answer(9n, { name: '' }), answer(8n, { clusterId: 0xbadn })], [listed(1n)]));
    expect(seen).toMatchObject([{ id: '1' }, { id: '9', name: '9', status: { memberId: 9n } }]);
  });

  test('without a list the silent ones are not forgotten', () => {
    const seen = everybody(
      view([answer(1n, { role: 'learner' }), silence('http://10.0.0.2:2379'), silence('http://10.0.0.3:2379', 'm3')], undefined),
    );
    expect(seen).toMatchObject([
      { id: '1', voter: false },
      { id: 'http://10.0.0.2:2379', name: 'http://10.0.0.2:2379', voter: true, error: 'http://10.0.0.2:2379 is silent' },
      { id: 'http://10.0.0.3:2379', name: 'm3', voter: true },
    ]);
  });
});
