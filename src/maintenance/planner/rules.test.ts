import { describe, expect, test } from 'vitest';
import {
  clusterOf,
  compactWish,
  defragWish,
  DISARM,
  fullCluster,
  HOUR_MS,
  MIB,
  MINUTE_MS,
  POLICY,
  ROUTINE,
  TIDY,
} from '../../../test/support/planner.ts';
import { NOW_MS } from '../../../test/support/plans.ts';
import { plan } from './plan.ts';
import { RULES, type ClusterState, type MemberState, type Past, type Policy, type Rule, type Wish } from './types.ts';

type Case = readonly [state: ClusterState, wish?: Wish, policy?: Policy];

const GAUGES = { snapshotStreams: 0, hashCalls: 0, defragInflight: false, raftSnapshotInflight: false, startedMs: NOW_MS - HOUR_MS };

function all(changes: Partial<MemberState>, more: Partial<ClusterState> = {}): ClusterState {
  return clusterOf(3, { ...more, each: () => changes });
}

function last(changes: Partial<MemberState>): ClusterState {
  return clusterOf(3, { each: (number) => (number === 3 ? changes : {}) });
}

function past(changes: Partial<Past>): Partial<ClusterState> {
  return { past: { ...clusterOf(1).past, ...changes } };
}

const DEFRAG = { atMs: NOW_MS - HOUR_MS, tookMs: 1, beforeBytes: 1, afterBytes: 1, inUseBytes: 1 };

/** For each rule a cluster that it refuses something. */
const CASES: Readonly<Record<Rule, Case>> = {
  'corrupt-alarm': [clusterOf(3, { alarms: [{ type: 'CORRUPT', memberId: '0' }] })],
  'members-disagree': [clusterOf(3, { disagreement: { members: ['m1'], reason: 'proved' } })],
  'lock-elsewhere': [clusterOf(3, { lock: { state: 'elsewhere', detail: undefined, elected: false } })],
  'own-read': [clusterOf(3, { ownReads: ['HashKV of m1'] })],
  'foreign-snapshot': [last({ gauges: { ...GAUGES, snapshotStreams: 2 } })],
  'foreign-hash': [last({ gauges: { ...GAUGES, hashCalls: 1 } })],
  'defrag-inflight': [last({ gauges: { ...GAUGES, defragInflight: true } })],
  'no-quorum': [all({ leader: '' })],
  'leader-unclear': [last({ leader: '3a' })],
  'member-down': [last({ reachable: false, readMs: undefined })],
  'member-slow': [last({ readMs: undefined })],
  'member-lagging': [last({ raftIndex: 9000n, raftAppliedIndex: 1n })],
  'learner-catching-up': [clusterOf(4, { each: (number) => ({ voter: number !== 4, reachable: number !== 4 }) })],
  'raft-snapshot': [last({ gauges: { ...GAUGES, raftSnapshotInflight: true } })],
  'restarted-lately': [all({ version: '3.6.4', gauges: { ...GAUGES, startedMs: NOW_MS } })],
  'version-hazard': [all({ version: '3.5.3' })],
  'version-unchecked': [all({ version: '3.4.23', gauges: undefined })],
  'quorum-at-risk': [last({ readMs: undefined })],
  'single-member': [clusterOf(2)],
  'leader-stays': [all({ readMs: 2000 }), defragWish({ members: ['1a'] })],
  'freeze-too-long': [all({ rate: { bytesPerSecond: 1e6, learned: true } })],
  'outside-window': [clusterOf(3, { window: { configured: true, open: false, nextMs: undefined } })],
  compacting: [all({ compacting: true })],
  cooldown: [clusterOf(3, past({ defrags: { '2a': DEFRAG } }))],
  'backing-off': [clusterOf(3, past({ failure: { atMs: NOW_MS - MINUTE_MS, count: 1, rule: 'timeout', reason: 'x' } }))],
  'nothing-to-gain': [all({ dbSize: 2000 * MIB, dbSizeInUse: 1990 * MIB })],
  'not-needed': [all(TIDY)],
  'kubernetes-compacts': [all(TIDY, { kubernetes: true })],
  'etcd-compacts': [all(TIDY)],
  'compaction-off': [all(TIDY), ROUTINE, { ...POLICY, compaction: 'off' }],
  'no-time-known': [all(TIDY), compactWish({ ms: 1 })],
  'keeps-everything': [all(TIDY), compactWish({ revisions: 5000 })],
  'compact-revision-unknown': [all(TIDY, { compactRevision: undefined })],
  'above-threshold': [fullCluster(3), DISARM],
  'disarm-too-soon': [fullCluster(3, { each: () => TIDY, ...past({ disarmedMs: NOW_MS - 1 }) }), DISARM],
  'not-armed': [clusterOf(3), DISARM],
  learner: [clusterOf(3, { each: (number) => ({ voter: number !== 3 }) }), defragWish({ members: ['3a'] })],
  'unknown-member': [clusterOf(3), defragWish({ members: ['beef'] })],
  done: [clusterOf(3, past({ defrags: { '2a': { ...DEFRAG, atMs: NOW_MS } } })), defragWish({ members: ['2a'] })],
};

describe('every rule', () => {
  test.each(Object.keys(RULES) as Rule[])('%s refuses where it should, in a sentence with values', (rule) => {
    const [state, wish = ROUTINE, policy = POLICY] = CASES[rule];
    const made = plan(state, policy, wish);
    const refusal = made.refusals.find((each) => each.rule === rule);
    expect(refusal?.message).toMatch(/^[a-zA-Z0-9#]/);
    expect(refusal?.message).not.toMatch(/undefined|NaN|Infinity|\[object/);
    expect(refusal?.message).not.toMatch(/\.$/);
  });

  test('takes part in nothing that has not to do with it: without it the same cluster is worked on', () => {
    expect(plan(clusterOf(3), POLICY, ROUTINE).action?.kind).toBe('defrag');
    expect(plan(fullCluster(3, { each: () => TIDY }), POLICY, DISARM).action?.kind).toBe('disarm');
    expect(plan(all(TIDY), POLICY, compactWish({ revisions: 10 })).action?.kind).toBe('compact');
  });
});
