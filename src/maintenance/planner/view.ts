/** What follows from a state at first sight, worked out once for all concerns. */
import { byId } from './words.ts';
import { freeBytes, type Sizes } from './thresholds.ts';
import type { AlarmState, ClusterState, MemberState, Policy, Wish } from './types.ts';

export interface View {
  readonly state: ClusterState;
  readonly policy: Policy;
  readonly wish: Wish;
  /** By id, so that two planners that see the same state choose the same member. */
  readonly members: readonly MemberState[];
  readonly voters: readonly MemberState[];
  /** Voters that answer. */
  readonly up: readonly MemberState[];
  readonly down: readonly MemberState[];
  readonly quorum: number;
  /** Newest raft index that anybody has. */
  readonly newestIndex: bigint;
  /** The one leader that every voter names; undefined = none, or not the same one, or not a voter. */
  readonly leader: MemberState | undefined;
  /** NOSPACE alarms of members, and of ids that are no member any more. */
  readonly noSpace: readonly AlarmState[];
  readonly orphans: readonly AlarmState[];
  /** A cure with a member down was asked for and confirmed. */
  readonly degraded: boolean;
}

export function viewOf(state: ClusterState, policy: Policy, wish: Wish): View {
  const members = [...state.members].sort(byId);
  const voters = members.filter(({ voter }) => voter);
  const up = voters.filter(({ reachable }) => reachable);
  const named = new Set(up.map(({ leader }) => leader));
  const leader = named.size === 1 ? voters.find(({ id }) => named.has(id)) : undefined;
  const alarms = state.alarms.filter(({ type }) => type === 'NOSPACE').sort((a, b) => byId({ id: a.memberId }, { id: b.memberId }));
  // Id 0 is nobody's, so nothing tells that it is an orphan's; to disarm it would disarm whatever etcd takes it for (H26).
  const orphans = alarms.filter(({ memberId }) => !isNobody(memberId) && !members.some(({ id }) => id === memberId));
  return {
    state,
    policy,
    wish,
    members,
    voters,
    up,
    down: voters.filter(({ reachable }) => !reachable),
    quorum: Math.floor(voters.length / 2) + 1,
    newestIndex: members.reduce((newest, { reachable, raftIndex }) => (reachable && raftIndex > newest ? raftIndex : newest), 0n),
    leader,
    noSpace: alarms.filter((alarm) => !orphans.includes(alarm)),
    orphans,
    degraded: wish.kind === 'defrag' && wish.degraded && wish.yes && isCure(wish) && alarms.length > orphans.length,
  };
}

/** With NOSPACE armed this wish means the whole cure. */
export function isCure(wish: Wish): boolean {
  return wish.kind === 'routine' || (wish.kind === 'defrag' && wish.members === 'all' && !wish.worthwhile);
}

export function isNobody(memberId: string): boolean {
  return /^0*$/.test(memberId);
}

export function sizesOf({ dbSize, dbSizeInUse, quota }: MemberState): Sizes {
  return { dbSize, dbSizeInUse, quotaBytes: quota.bytes };
}

export function freeOf(member: MemberState): number {
  return freeBytes(member);
}

/** How many entries of the newest index it has not applied. */
export function lagOf({ raftAppliedIndex }: MemberState, { newestIndex }: Pick<View, 'newestIndex'>): bigint {
  return newestIndex > raftAppliedIndex ? newestIndex - raftAppliedIndex : 0n;
}

/** Answers, agrees by a linearizable read, and is not behind. */
export function isHealthy(member: MemberState, view: View): boolean {
  return member.reachable && member.readMs !== undefined && lagOf(member, view) <= view.policy.maxLag;
}

/** Whether it was defragmented in this round. */
export function isDone(member: MemberState, view: View): boolean {
  return wasInRound(view.state.past.defrags[member.id]?.atMs, view);
}

/** Whether the history was compacted in this round. */
export function isCompacted(view: View): boolean {
  return wasInRound(view.state.past.compaction?.atMs, view);
}

/** Whether something of that time was done in this round. */
export function wasInRound(atMs: number | undefined, { wish }: Pick<View, 'wish'>): boolean {
  return atMs !== undefined && atMs >= wish.since;
}

const LATELY_MS = 3_600_000;

/** Of a round whose clock was set back while it ran: what was done lately counts as done in it, because to do it twice is worse than to leave it to the next. */
export function byTheClock(wish: Wish, { nowMs }: Pick<ClusterState, 'nowMs'>): Wish {
  return nowMs < wish.since ? { ...wish, since: nowMs - LATELY_MS } : wish;
}
