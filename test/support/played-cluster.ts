/** A cluster of plain objects that steps of maintenance can be carried out on: everything goes well unless a test says otherwise. */
import type { Ownership } from '../../src/maintenance/ownership.ts';
import type { ClusterState, MemberState } from '../../src/maintenance/planner/types.ts';
import { NO_ENTRIES, pastOf, withChange, type Change } from '../../src/maintenance/record/entries.ts';
import type { RoundOptions } from '../../src/maintenance/round.ts';
import type { Pace, StepClient } from '../../src/maintenance/steps/setting.ts';
import type { Upkeep } from '../../src/etcd/upkeep.ts';
import type { MemberStatus } from '../../src/etcd/types.ts';
import { silentLogger } from '../../src/telemetry/logger.ts';
import { clusterOf, MIB, POLICY, ROUTINE } from './planner.ts';

/** Looks follow each other at once, and what is waited for has all the time that a busy machine may need: a test that waits for an end brings its own. */
const SWIFT: Pace = {
  pollMs: 1,
  tellMs: 2,
  alarmMs: 20_000,
  recoverMs: 20_000,
  deadMs: 20_000,
  leaderMs: 20_000,
  compactMs: 20_000,
  patienceMs: 20_000,
};

export interface Played {
  state: ClusterState;
  /** What was asked of members, in order: `defrag 2a`, `move 1a>2a`, `compact 7`, `disarm 1a`, `put`. */
  readonly calls: string[];
  readonly notes: Change[];
  /** Errors of the log, and what progress told. */
  readonly errors: string[];
  readonly progress: { readonly step: string; readonly message: string; readonly overdue?: boolean }[];
  /** Changes of this member. */
  change(id: string, changes: Partial<MemberState>): void;
  lead(id: string): void;
  /** Before each look. */
  onLook: (() => void) | undefined;
  onStatus: ((id: string) => void) | undefined;
  /** Instead of what goes well, which `well` does. */
  onDefrag: ((id: string, well: () => void, signal: AbortSignal | undefined) => Promise<void>) | undefined;
  onMove: ((to: string, well: () => void) => Promise<void>) | undefined;
  onCompact: ((revision: bigint, well: () => void) => Promise<'compacted' | 'already'>) | undefined;
  onMemberCompact: ((id: string) => Promise<'compacted' | 'already'>) | undefined;
  onDisarm: ((id: string, well: () => void) => Promise<void>) | undefined;
  onPut: (() => Promise<void>) | undefined;
  confirm: Ownership['confirm'];
  round(changes?: Partial<RoundOptions> & { readonly pace?: Partial<Pace> }, signal?: AbortSignal): RoundOptions;
}

/** Voters whose every page but a few is free; `m1` leads. */
export function playedCluster(members = 3, changes: Parameters<typeof clusterOf>[1] = {}): Played {
  const each = (): Partial<MemberState> => ({ dbSize: 20 * MIB, dbSizeInUse: 100_000 });
  let entries = NO_ENTRIES;
  const played: Played = {
    state: clusterOf(members, { each, ...changes }),
    calls: [],
    notes: [],
    errors: [],
    progress: [],
    change: (id, some) => {
      const list = played.state.members.map((member) => (member.id === id ? { ...member, ...some } : member));
      played.state = { ...played.state, members: list };
    },
    lead: (id) => {
      const list = played.state.members.map((member) => ({ ...member, leader: id, raftTerm: member.raftTerm + 1n }));
      played.state = { ...played.state, members: list };
    },
    onLook: undefined,
    onStatus: undefined,
    onDefrag: undefined,
    onMove: undefined,
    onCompact: undefined,
    onMemberCompact: undefined,
    onDisarm: undefined,
    onPut: undefined,
    confirm: async () => {},
    round: ({ pace, ...some } = {}, signal = new AbortController().signal) => ({
      cluster: 'main',
      wish: { ...ROUTINE, since: played.state.nowMs },
      policy: { ...POLICY, minFree: MIB, minGain: MIB },
      settleMs: 0,
      ownership: { confirm: (inner) => played.confirm(inner) },
      record: {
        note: async (change) => {
          played.notes.push(change);
          entries = withChange(entries, change);
          played.state = { ...played.state, past: pastOf(entries) };
        },
        current: () => pastOf(entries),
      },
      ...some,
      setting: {
        look: async (inner) => {
          inner.throwIfAborted();
          played.onLook?.();
          played.state = { ...played.state, nowMs: played.state.nowMs + 1 };
          return { state: played.state, notes: [] };
        },
        open: (endpoint) => clientOf(played, endpoint),
        upkeep: upkeepOf(played),
        keyPrefix: '/etcd-warden',
        maxLag: 1000n,
        events: {
          logger: { ...silentLogger, error: (_, message) => played.errors.push(message) },
          progress: (event) => played.progress.push(event),
        },
        signal,
        now: () => new Date(played.state.nowMs),
        pace: { ...SWIFT, ...pace },
      },
    }),
  };
  return played;
}

function clientOf(played: Played, endpoint: string): StepClient {
  const found = played.state.members.find((member) => member.endpoint === endpoint);
  if (found === undefined) throw new Error(`nobody at ${endpoint}`);
  const { id } = found;
  const now = (): MemberState => played.state.members.find((member) => member.id === id)!;
  return {
    status: async () => {
      played.onStatus?.(id);
      const { leader } = now();
      const ids = { clusterId: BigInt(`0x${played.state.clusterId}`), memberId: BigInt(`0x${id}`), leader: BigInt(`0x${leader || '0'}`) };
      return ids as MemberStatus;
    },
    compact: async () => (await played.onMemberCompact?.(id)) ?? 'already',
    defragment: async (options) => {
      played.calls.push(`defrag ${id}`);
      const well = (): void => played.change(id, { dbSize: now().dbSizeInUse });
      if (played.onDefrag === undefined) well();
      else await played.onDefrag(id, well, options?.signal);
    },
    moveLeader: async (to) => {
      played.calls.push(`move ${id}>${to.toString(16)}`);
      const well = (): void => played.lead(to.toString(16));
      if (played.onMove === undefined) well();
      else await played.onMove(to.toString(16), well);
    },
    disarmNoSpace: async (memberId) => {
      const armed = memberId.toString(16);
      played.calls.push(`disarm ${armed}`);
      const well = (): void => {
        played.state = { ...played.state, alarms: played.state.alarms.filter((alarm) => alarm.memberId !== armed) };
      };
      if (played.onDisarm === undefined) well();
      else await played.onDisarm(armed, well);
    },
    close: () => {},
  };
}

function upkeepOf(played: Played): Pick<Upkeep, 'compact' | 'provePut'> {
  return {
    compact: async (revision) => {
      played.calls.push(`compact ${revision}`);
      const well = (): void => {
        played.state = { ...played.state, compactRevision: revision };
      };
      if (played.onCompact !== undefined) return played.onCompact(revision, well);
      well();
      return 'compacted';
    },
    provePut: async () => {
      played.calls.push('put');
      await played.onPut?.();
    },
  };
}
