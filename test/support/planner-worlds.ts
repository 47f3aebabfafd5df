/** Random clusters for the planner of maintenance, and what becomes of them: actions that work, and surprises. */
import fc from 'fast-check';
import type { Action, ClusterState, MemberState, Policy, Wish } from '../../src/maintenance/planner/types.ts';
import { clusterOf, HOUR_MS, MIB, MINUTE_MS, POLICY } from './planner.ts';
import { NOW_MS } from './plans.ts';

function mostly<T>(usual: T, ...others: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(usual, ...others) });
}

/** A time near now, often within an hour, sometimes of a clock that was wrong. */
const times = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 2, arbitrary: fc.integer({ min: -10 * HOUR_MS, max: 0 }).map((ms) => NOW_MS + ms) },
  { weight: 1, arbitrary: fc.integer({ min: -48 * HOUR_MS, max: 48 * HOUR_MS }).map((ms) => NOW_MS + ms) },
);

const versions = fc.oneof(
  { weight: 6, arbitrary: fc.constant('3.6.16') },
  { weight: 2, arbitrary: fc.constantFrom('3.4.23', '3.5.22', '3.6.4', '3.5.35', '3.7.3') },
  { weight: 1, arbitrary: fc.constantFrom('3.4.3', '3.5.2', '3.5.5', '', '4.0.0') },
);

const gauges = fc.oneof(
  { weight: 1, arbitrary: fc.constant(undefined) },
  {
    weight: 9,
    arbitrary: fc.record({
      snapshotStreams: mostly<number | undefined>(0, 1, undefined),
      hashCalls: fc.oneof({ weight: 60, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, undefined) }),
      defragInflight: mostly<boolean | undefined>(false, true, undefined),
      raftSnapshotInflight: mostly<boolean | undefined>(false, true, undefined),
      startedMs: mostly<number | undefined>(NOW_MS - 24 * HOUR_MS, NOW_MS - MINUTE_MS, undefined, NOW_MS + HOUR_MS),
    }),
  },
);

const sizes = fc
  .record({
    dbSize: fc.oneof(fc.integer({ min: 0, max: 2100 }), fc.constantFrom(0, 500, 1638, 1639, 2048)),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    quota: mostly<number | undefined>(2048, 500, 8192, undefined),
    perSecond: fc.constantFrom(200e6, 200e6, 1e9, 20e6),
  })
  .map(({ dbSize, share, quota, perSecond }): Partial<MemberState> => ({
    dbSize: dbSize * MIB,
    dbSizeInUse: Math.floor(dbSize * share) * MIB,
    quota: { bytes: quota === undefined ? undefined : quota * MIB, source: 'status' },
    rate: { bytesPerSecond: perSecond, learned: false },
  }));

const members = fc
  .record({
    sizes,
    gauges,
    version: versions,
    voter: mostly(true, false),
    reachable: mostly(true, false),
    silent: fc.boolean(),
    readMs: mostly<number | undefined>(3, undefined, 1500),
    behind: mostly(0n, 900n, 5000n),
    compacting: mostly(false, true),
    leads: mostly('same', 'none', 'self'),
    raftTerm: mostly(5n, 6n),
  })
  .map(({ sizes: own, behind, leads, ...rest }): Partial<MemberState> & { leads: string } => ({
    ...rest,
    ...own,
    // Metrics are another address: they may tell of a member that answers nothing else.
    ...(rest.reachable ? { silent: false } : { readMs: undefined, version: '', dbSize: 0, dbSizeInUse: 0 }),
    raftIndex: 10_000n,
    raftAppliedIndex: 10_000n - behind,
    leads,
  }));

/** From clusters of one to seven, most of them healthy but for one thing or two. */
export const states: fc.Arbitrary<ClusterState> = fc
  .record({
    members: fc.oneof(
      { weight: 3, arbitrary: fc.array(members, { minLength: 3, maxLength: 3 }) },
      { weight: 2, arbitrary: fc.array(members, { minLength: 1, maxLength: 7 }) },
    ),
    leader: fc.nat(),
    noSpace: fc.array(fc.constantFrom('1a', '2a', '3a', 'dead', '0'), { maxLength: 3 }),
    isFull: fc.constantFrom(true, false, false),
    corrupt: mostly<string | undefined>(undefined, '0', '1a'),
    compactRevision: mostly<bigint | undefined>(100n, 49_000n, 0n, undefined),
    marks: fc.array(
      fc.record({ timeMs: fc.integer({ min: -3 * HOUR_MS, max: HOUR_MS }).map((ms) => NOW_MS + ms), revision: fc.bigInt(1n, 60_000n) }),
      { maxLength: 4 },
    ),
    kubernetes: fc.boolean(),
    ownRead: mostly<string | undefined>(undefined, 'snapshot of m1'),
    disagree: mostly(false, true),
    window: fc.constantFrom({ configured: false, open: false }, { configured: true, open: true }, { configured: true, open: false }),
    lock: fc.oneof(mostly<ClusterState['lock']['state']>('held', 'elsewhere', 'unasked'), fc.constant('without' as const)),
    elected: fc.boolean(),
    compactedMs: times,
    disarmedMs: times,
    failure: mostly<number | undefined>(undefined, 1, 9),
    failedMs: times,
    defraggedMs: fc.array(times, { maxLength: 7 }),
  })
  .map((given): ClusterState => {
    const count = given.members.length;
    const leader = `${(given.leader % count) + 1}a`;
    const state = clusterOf(count, {
      each: (number) => {
        const { leads, ...member } = given.members[number - 1]!;
        return { ...member, leader: member.reachable !== true || leads === 'none' ? '' : leads === 'self' ? `${number}a` : leader };
      },
    });
    const defrags = given.defraggedMs.flatMap((atMs, index) =>
      atMs === undefined
        ? []
        : [[`${index + 1}a`, { atMs, tookMs: 1000, beforeBytes: 100 * MIB, afterBytes: 50 * MIB, inUseBytes: 50 * MIB }] as const],
    );
    return {
      ...state,
      alarms: [
        ...(given.isFull ? given.noSpace : []).map((memberId) => ({ type: 'NOSPACE', memberId }) as const),
        ...(given.corrupt === undefined ? [] : [{ type: 'CORRUPT', memberId: given.corrupt } as const]),
      ],
      revision: 50_000n,
      compactRevision: given.compactRevision,
      kubernetes: given.kubernetes,
      marks: [...given.marks].sort((a, b) => a.timeMs - b.timeMs),
      ownReads: given.ownRead === undefined ? [] : [given.ownRead],
      disagreement: given.disagree ? { members: ['m1'], reason: 'proved' } : undefined,
      window: { ...given.window, nextMs: given.window.configured ? NOW_MS + HOUR_MS : undefined },
      lock: { state: given.lock, detail: undefined, elected: given.elected },
      past: {
        compaction: given.compactedMs === undefined ? undefined : { atMs: given.compactedMs, revision: 50n },
        defrags: Object.fromEntries(defrags),
        disarmedMs: given.disarmedMs,
        failure:
          given.failure === undefined || given.failedMs === undefined
            ? undefined
            : { atMs: given.failedMs, count: given.failure, rule: 'timeout', reason: 'no answer' },
      },
    };
  });

export const policies: fc.Arbitrary<Policy> = fc.record({
  compaction: fc.constantFrom('auto', 'on', 'off'),
  keep: fc.constantFrom({ revisions: 1000 }, { revisions: 45_000 }, { ms: HOUR_MS }),
  emergencyKeep: fc.constantFrom(POLICY.emergencyKeep, { revisions: 1, ms: 0 }, { revisions: 1e6, ms: HOUR_MS }),
  quotaShare: fc.constantFrom(0.8, 0.5),
  freeShare: fc.constantFrom(0.45, 0.1),
  minFree: fc.constantFrom(200 * MIB, 0),
  minGain: fc.constantFrom(32 * MIB, 0),
  cooldownMs: fc.constantFrom(6 * HOUR_MS, 0),
  maxFreezeMs: fc.constantFrom(20_000, 1000),
  allowSingleMember: fc.boolean(),
  allowHazardousVersions: mostly(false, true),
  restartQuietMs: fc.constant(10 * MINUTE_MS),
  maxLag: fc.constant(1000n),
  disarmEveryMs: fc.constant(HOUR_MS),
});

export const wishes: fc.Arbitrary<Wish> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Wish>({ kind: 'routine', since: NOW_MS }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('defrag' as const),
      since: fc.constant(NOW_MS),
      members: fc.oneof(
        fc.constant('all' as const),
        fc.uniqueArray(fc.constantFrom('1a', '2a', '3a', 'beef'), { minLength: 1, maxLength: 2 }),
      ),
      worthwhile: mostly(false, true),
      degraded: fc.boolean(),
      yes: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('compact' as const),
      since: fc.constant(NOW_MS),
      keep: fc.constantFrom({ revisions: 0 }, { revisions: 500 }, { ms: HOUR_MS }),
      yes: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant<Wish>({ kind: 'disarm', since: NOW_MS, yes: true }) },
);

/** What nobody planned. */
export type Surprise =
  | 'none'
  | 'leader-moves'
  | 'down'
  | 'up'
  | 'grows'
  | 'full'
  | 'corrupt'
  | 'frozen'
  | 'thawed'
  | 'behind'
  | 'compacts'
  | 'clock-back'
  | 'clock-ahead';

export const surprises: fc.Arbitrary<Surprise> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Surprise>('none') },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Surprise[]>(
      'leader-moves',
      'down',
      'up',
      'grows',
      'full',
      'corrupt',
      'frozen',
      'thawed',
      'behind',
      'compacts',
      'clock-back',
      'clock-ahead',
    ),
  },
);

function changed(state: ClusterState, id: string, change: (member: MemberState) => Partial<MemberState>): ClusterState {
  return { ...state, members: state.members.map((member) => (member.id === id ? { ...member, ...change(member) } : member)) };
}

function everybody(state: ClusterState, change: (member: MemberState) => Partial<MemberState>): ClusterState {
  return { ...state, members: state.members.map((member) => ({ ...member, ...change(member) })) };
}

/** What is seen after the action went well. */
export function carriedOut(action: Action, state: ClusterState): ClusterState {
  const atMs = state.nowMs + 10;
  const later = { ...state, nowMs: atMs + 10 };
  switch (action.kind) {
    case 'compact': {
      const revision = BigInt(action.revision);
      const compacted = { ...later, compactRevision: revision, past: { ...state.past, compaction: { atMs, revision } } };
      return everybody(compacted, ({ dbSizeInUse, id }) => ({ dbSizeInUse: Math.floor(dbSizeInUse / 2), compacting: id === '2a' }));
    }
    case 'await-compaction':
      return everybody(later, () => ({ compacting: false }));
    case 'move-leader':
      return everybody(later, ({ raftTerm, reachable }) => ({ leader: reachable ? action.to : '', raftTerm: raftTerm + 1n }));
    case 'defrag': {
      const { dbSize, dbSizeInUse } = state.members.find(({ id }) => id === action.member)!;
      const defrag = { atMs, tookMs: action.predictedMs, beforeBytes: dbSize, afterBytes: dbSizeInUse, inUseBytes: dbSizeInUse };
      const past = { ...state.past, defrags: { ...state.past.defrags, [action.member]: defrag } };
      return changed({ ...later, past }, action.member, () => ({ dbSize: dbSizeInUse }));
    }
    case 'disarm': {
      const alarms = state.alarms.filter(({ type, memberId }) => type !== 'NOSPACE' || !action.members.includes(memberId));
      return { ...later, alarms, past: action.orphans ? state.past : { ...state.past, disarmedMs: atMs } };
    }
  }
}

/** `which` chooses the member that it happens to. */
export function surprised(surprise: Surprise, which: number, state: ClusterState): ClusterState {
  const { id } = state.members[which % state.members.length]!;
  switch (surprise) {
    case 'none':
      return state;
    case 'leader-moves':
      return everybody(state, ({ reachable, raftTerm }) => ({ leader: reachable ? id : '', raftTerm: raftTerm + 1n }));
    case 'down':
      return changed(state, id, () => ({ reachable: false, readMs: undefined, gauges: undefined, leader: '' }));
    case 'up':
      return changed(state, id, () => ({
        reachable: true,
        readMs: 3,
        leader: state.members.find(({ reachable }) => reachable)?.leader ?? '',
        raftTerm: state.members.find(({ reachable }) => reachable)?.raftTerm ?? 5n,
      }));
    case 'grows':
      return everybody(state, ({ dbSize }) => ({ dbSize: dbSize + 300 * MIB }));
    case 'full':
      return { ...state, alarms: [...state.alarms, { type: 'NOSPACE', memberId: id }] };
    case 'corrupt':
      return { ...state, alarms: [...state.alarms, { type: 'CORRUPT', memberId: id }] };
    case 'frozen':
      return changed(state, id, ({ gauges: seen }) => ({
        reachable: false,
        readMs: undefined,
        leader: '',
        gauges: seen === undefined ? undefined : { ...seen, defragInflight: true },
      }));
    case 'thawed': {
      const other = state.members.find(({ reachable }) => reachable);
      return everybody(state, ({ gauges: seen, reachable, leader, raftTerm }) =>
        seen?.defragInflight === true
          ? {
              reachable: true,
              readMs: 3,
              leader: other?.leader ?? '',
              raftTerm: other?.raftTerm ?? 5n,
              gauges: { ...seen, defragInflight: false },
            }
          : { reachable, leader, raftTerm },
      );
    }
    case 'behind':
      return changed(state, id, () => ({ raftAppliedIndex: 0n }));
    case 'compacts':
      return changed(state, id, () => ({ compacting: true }));
    case 'clock-back':
      return { ...state, nowMs: state.nowMs - 3 * HOUR_MS };
    case 'clock-ahead':
      return { ...state, nowMs: state.nowMs + 26 * HOUR_MS };
  }
}
