/** Looks and plans of maintenance as plain objects, for what only renders them. */
import type { Action, ClusterState, MemberState, Plan } from '../../src/maintenance/planner/types.ts';
import type { RoundResult, Sight } from '../../src/maintenance/types.ts';

const MIB = 1024 * 1024;
export const NOW_MS = Date.parse('2026-11-22T12:00:00.000Z');

/** `m2` is member `2a`. The first one leads. */
export function memberState(name: string, changes: Partial<MemberState> = {}): MemberState {
  return {
    id: `${name.slice(1)}a`,
    name,
    endpoint: `http://10.0.0.${name.slice(1)}:2379`,
    voter: true,
    reachable: true,
    error: undefined,
    silent: false,
    version: '3.6.16',
    storageVersion: '3.6.0',
    dbSize: 900 * MIB,
    dbSizeInUse: 300 * MIB,
    quota: { bytes: 2048 * MIB, source: 'status' },
    leader: '1a',
    raftIndex: 1000n,
    raftAppliedIndex: 1000n,
    raftTerm: 5n,
    revision: 5000n,
    readMs: 3,
    gauges: { snapshotStreams: 0, hashCalls: 0, defragInflight: false, raftSnapshotInflight: false, startedMs: NOW_MS - 86_400_000 },
    gaugesError: undefined,
    compacting: false,
    rate: { bytesPerSecond: 200e6, learned: true },
    ...changes,
  };
}

export function clusterState(members: readonly MemberState[], changes: Partial<ClusterState> = {}): ClusterState {
  return {
    nowMs: NOW_MS,
    clusterId: 'abcd',
    members,
    alarms: [],
    revision: 5000n,
    compactRevision: 100n,
    kubernetes: false,
    marks: [],
    ownReads: [],
    disagreement: undefined,
    window: { configured: false, open: true, nextMs: undefined },
    lock: { state: 'unasked', detail: undefined, elected: false },
    past: { compaction: undefined, defrags: {}, disarmedMs: undefined, failure: undefined },
    ...changes,
  };
}

export function sightOf(names: readonly string[], changes: Partial<ClusterState> = {}): Sight {
  return {
    state: clusterState(
      names.map((name) => memberState(name)),
      changes,
    ),
    notes: [],
  };
}

export function defragOf(name: string, changes: Partial<Extract<Action, { kind: 'defrag' }>> = {}): Action {
  return {
    kind: 'defrag',
    member: `${name.slice(1)}a`,
    why: '67 % of it is free',
    predictedMs: 1573,
    gainBytes: 600 * MIB,
    leads: false,
    ...changes,
  };
}

/** A plan of these steps; without any, one that has nothing to do. */
export function planOf(actions: readonly Action[], changes: Partial<Plan> = {}): Plan {
  return {
    action: actions[0],
    refusals: actions.length > 0 ? [] : [{ rule: 'not-needed', member: undefined, message: 'no threshold is crossed' }],
    complete: actions.length === 0,
    noSpace: false,
    gates: [{ rule: 'corrupt-alarm', member: undefined, verdict: 'passed', message: 'CORRUPT is not armed' }],
    steps: actions.map((action) => ({ action, predictedMs: action.kind === 'defrag' ? action.predictedMs : undefined })),
    againMs: undefined,
    ...changes,
  };
}

export function roundOf(outcome: RoundResult['outcome'], changes: Partial<RoundResult> = {}): RoundResult {
  return { cluster: 'prod', outcome, actions: [], plan: planOf([]), failure: undefined, ...changes };
}
