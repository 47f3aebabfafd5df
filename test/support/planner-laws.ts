/**
 * What no plan may do, said again and in other words than the planner's own: each law takes what was seen and what is to be done, and gives a sentence when
 * it is broken.
 */
import type { Action, ClusterState, MemberState, Policy, Wish } from '../../src/maintenance/planner/types.ts';

export interface Case {
  readonly state: ClusterState;
  readonly policy: Policy;
  readonly wish: Wish;
  readonly action: Action;
}

type Law = (scene: Case) => boolean;

/** Every law that this action breaks, by name. */
export function brokenLaws(scene: Case): string[] {
  const { kind } = scene.action;
  const laws: Record<string, Law> = { ...ALWAYS, ...(kind === 'defrag' || kind === 'move-leader' ? FREEZING : {}), ...BY_KIND[kind] };
  return Object.entries(laws).flatMap(([name, holds]) => (holds(scene) ? [] : [name]));
}

function votersOf({ members }: ClusterState): MemberState[] {
  return members.filter(({ voter }) => voter);
}

/** An alarm that counts as out of space, with a member behind it. */
function isArmed({ alarms, members }: ClusterState): boolean {
  return alarms.some(({ type, memberId }) => type === 'NOSPACE' && (memberId === '0' || members.some(({ id }) => id === memberId)));
}

function isCure({ state, wish }: Case): boolean {
  return isArmed(state) && (wish.kind === 'routine' || (wish.kind === 'defrag' && wish.members === 'all' && !wish.worthwhile));
}

function isDegraded(scene: Case): boolean {
  const { wish } = scene;
  return isCure(scene) && wish.kind === 'defrag' && wish.degraded && wish.yes;
}

function isConfirmed({ wish }: Case): boolean {
  return wish.kind === 'defrag' && wish.yes;
}

function isWell({ members }: ClusterState, { maxLag }: Policy, member: MemberState): boolean {
  const newest = members.filter(({ reachable }) => reachable).map(({ raftIndex }) => raftIndex);
  return member.reachable && member.readMs !== undefined && newest.every((index) => index - member.raftAppliedIndex <= maxLag);
}

function targetOf({ state, action }: Case): MemberState {
  const id = action.kind === 'defrag' ? action.member : action.kind === 'move-leader' ? action.from : '';
  return state.members.find((member) => member.id === id)!;
}

/** `major * 1e6 + minor * 1e3 + patch`. */
function number(version: string): number {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  return major * 1e6 + minor * 1e3 + patch;
}

function lacksFixOf20271(version: string): boolean {
  const release = number(version);
  return release < 3_004_038 || (release >= 3_005_000 && release < 3_005_023) || (release >= 3_006_000 && release < 3_006_005);
}

const ALWAYS: Record<string, Law> = {
  'H12: nothing with CORRUPT armed': ({ state }) => !state.alarms.some(({ type }) => type === 'CORRUPT'),
  'H12: nothing with members that disagree': ({ state }) => state.disagreement === undefined,
  'H25: nothing while the lock is elsewhere': ({ state }) => state.lock.state !== 'elsewhere',
  'H24: nothing during a snapshot or a HashKV of ours': ({ state }) => state.ownReads.length === 0,
  'H4: nothing while a member is being defragmented': ({ state }) => !state.members.some(({ gauges }) => gauges?.defragInflight === true),
  'H4: nobody frozen, and nothing disarmed, beside a member that may be frozen': ({ state, action }) =>
    action.kind === 'compact' ||
    action.kind === 'await-compaction' ||
    (action.kind === 'disarm' && action.orphans) ||
    !votersOf(state).some(({ reachable, silent, gauges }) => !reachable && silent && gauges?.defragInflight !== false),
  'H4: nothing without a leader that all voters name': ({ state }) => {
    const up = votersOf(state).filter(({ reachable }) => reachable);
    const named = new Set(up.map(({ leader, raftTerm }) => `${leader} ${raftTerm}`));
    return named.size === 1 && votersOf(state).some(({ id }) => id === up[0]!.leader);
  },
};

const FREEZING: Record<string, Law> = {
  'H13: never a learner': (scene) => targetOf(scene).voter,
  'H5: never during a foreign snapshot stream': ({ state }) => !state.members.some(({ gauges }) => (gauges?.snapshotStreams ?? 0) > 0),
  'H24: never beside a HashKV of somebody else': ({ state }) => !state.members.some(({ gauges }) => (gauges?.hashCalls ?? 0) > 0),
  'H25: without lock and election only where the metrics tell of no stream': (scene) => {
    const { state } = scene;
    if (!isArmed(state) || state.lock.state !== 'without' || state.lock.elected || isConfirmed(scene)) return true;
    return state.members.every(({ reachable, gauges }) => !reachable || gauges?.snapshotStreams === 0);
  },
  'H9: never while a database is sent': ({ state }) => !state.members.some(({ gauges }) => gauges?.raftSnapshotInflight === true),
  'H9: never while a learner catches up': ({ state, policy }) =>
    state.members.every((member) => member.voter || isWell(state, policy, { ...member, readMs: 0 })),
  'H11: never while anybody is compacting': ({ state }) => !state.members.some(({ compacting }) => compacting),
  'H4: every voter is well, but for those that are down when that is confirmed': (scene) =>
    votersOf(scene.state).every((member) => isWell(scene.state, scene.policy, member) || (!member.reachable && isDegraded(scene))),
  'H26: a majority is left, but for one or two voters and degraded mode': (scene) => {
    const voters = votersOf(scene.state);
    if (voters.length <= 2) return scene.policy.allowSingleMember || isConfirmed(scene);
    const left = voters.filter((member) => member.id !== targetOf(scene).id && isWell(scene.state, scene.policy, member)).length;
    return left > voters.length / 2 || isDegraded(scene);
  },
  'H9: never a release on which that damages data': (scene) => {
    const release = number(targetOf(scene).version);
    return scene.policy.allowHazardousVersions || (release >= 3_004_004 && !(release >= 3_005_000 && release < 3_005_006));
  },
  'H9: with #20271 only what is known to be safe': ({ state, policy }) =>
    votersOf(state)
      .filter(({ version, reachable }) => reachable && lacksFixOf20271(version))
      .every(({ gauges }) => {
        const isKnown = gauges?.raftSnapshotInflight === false && gauges.startedMs !== undefined;
        if (gauges?.startedMs !== undefined && state.nowMs - gauges.startedMs < policy.restartQuietMs) return false;
        return isKnown || policy.allowHazardousVersions;
      }),
  'H27: never longer than maxFreeze outside of a window': (scene) => {
    const { state, policy } = scene;
    const { dbSizeInUse, rate } = targetOf(scene);
    const isShort = Math.ceil((dbSizeInUse / rate.bytesPerSecond) * 1000) <= policy.maxFreezeMs;
    return isShort || (state.window.configured && state.window.open) || isConfirmed(scene) || isCure(scene);
  },
  'never twice in a round': (scene) =>
    (scene.state.past.defrags[targetOf(scene).id]?.atMs ?? 0) < Math.min(scene.wish.since, scene.state.nowMs),
  'never by itself after a surprise, for a while': ({ state, wish }) => {
    const failure = state.past.failure;
    return wish.kind !== 'routine' || failure === undefined || Math.abs(state.nowMs - failure.atMs) >= 5 * 60_000;
  },
};

const BY_KIND: Record<Action['kind'], Record<string, Law>> = {
  defrag: {
    'H1: never a leader, unless it is the only voter': (scene) => {
      const leads = scene.state.members.some(({ reachable, leader }) => reachable && leader === targetOf(scene).id);
      return leads === (scene.action.kind === 'defrag' && scene.action.leads) && (!leads || votersOf(scene.state).length === 1);
    },
  },
  'move-leader': {
    'H1: from the leader to another voter that is well': ({ state, policy, action }) => {
      if (action.kind !== 'move-leader') return false;
      const to = votersOf(state).find(({ id }) => id === action.to);
      return to !== undefined && isWell(state, policy, to) && action.to !== action.from && to.leader === action.from;
    },
  },
  compact: {
    'H10: never to the head, nor back': ({ state, action }) => {
      const revision = BigInt(action.kind === 'compact' ? action.revision : 0);
      return revision < state.revision && revision > (state.compactRevision ?? 0n);
    },
    'H10: history is kept': (scene) => {
      const { state, policy, wish, action } = scene;
      if (action.kind !== 'compact') return false;
      const keeps =
        wish.kind === 'compact'
          ? [wish.keep]
          : isCure(scene)
            ? [{ revisions: policy.emergencyKeep.revisions }, { ms: policy.emergencyKeep.ms }]
            : [policy.keep];
      const revision = BigInt(action.revision);
      return keeps.some((keep) =>
        'revisions' in keep
          ? state.revision - revision >= BigInt(keep.revisions)
          : state.marks.some((mark) => mark.timeMs <= state.nowMs - keep.ms && mark.revision >= revision) &&
            !state.marks.some((mark) => mark.timeMs > state.nowMs - keep.ms && mark.revision < revision),
      );
    },
    'H10: on Kubernetes only to cure, or when that is wanted': (scene) =>
      !scene.state.kubernetes || isCure(scene) || scene.policy.compaction === 'on' || (scene.wish.kind === 'compact' && scene.wish.yes),
  },
  'await-compaction': {
    'somebody is compacting': ({ state, action }) =>
      action.kind === 'await-compaction' &&
      action.members.length > 0 &&
      action.members.every((id) => state.members.some((member) => member.id === id && member.compacting)),
  },
  disarm: {
    'H12: NOSPACE of somebody, and never of id 0': ({ state, action }) =>
      action.kind === 'disarm' &&
      action.members.length > 0 &&
      action.members.every((id) => id !== '0' && state.alarms.some(({ type, memberId }) => type === 'NOSPACE' && memberId === id)),
    'H12: orphans are no members, and others are': ({ state, action }) =>
      action.kind === 'disarm' && action.members.every((id) => state.members.some((member) => member.id === id) !== action.orphans),
    'H12: every member is below its own threshold, or known to be down and that confirmed': (scene) => {
      const { state, policy, action } = scene;
      if (action.kind !== 'disarm' || action.orphans) return true;
      return state.members.every(({ reachable, voter, dbSize, quota }) =>
        reachable ? quota.bytes === undefined || dbSize < policy.quotaShare * quota.bytes : !voter || isDegraded(scene),
      );
    },
    'H12: at most once an hour': ({ state, policy, action }) =>
      action.kind === 'disarm' &&
      (action.orphans || state.past.disarmedMs === undefined || Math.abs(state.nowMs - state.past.disarmedMs) >= policy.disarmEveryMs),
  },
};
