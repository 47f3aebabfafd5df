/** What a cluster looks like after an action that went well: for dry runs and `status`, never for a decision. */
import { predictedFreezeMs } from './rate.ts';
import { isNearQuota } from './thresholds.ts';
import type { Action, ClusterState, MemberState, Past, Policy } from './types.ts';
import { sizesOf } from './view.ts';

/** Nothing takes no time, so that what was done is told from what was done before. */
const STEP_MS = 1;

export function after(action: Action, state: ClusterState, policy: Policy): ClusterState {
  const atMs = state.nowMs + STEP_MS;
  const { past } = state;
  switch (action.kind) {
    case 'compact': {
      const revision = BigInt(action.revision);
      const armed = state.alarms.some(({ type }) => type === 'NOSPACE');
      const members = armed ? state.members.map((member) => emptied(member, policy)) : state.members;
      return { ...state, members, compactRevision: revision, nowMs: atMs, past: { ...past, compaction: { atMs, revision } } };
    }
    case 'await-compaction':
      return { ...state, nowMs: atMs, members: state.members.map((member) => ({ ...member, compacting: false })) };
    case 'move-leader':
      return {
        ...state,
        nowMs: atMs,
        members: state.members.map((member) => ({ ...member, leader: action.to, raftTerm: member.raftTerm + 1n })),
      };
    case 'defrag': {
      const members = state.members.map((member) => (member.id === action.member ? { ...member, dbSize: member.dbSizeInUse } : member));
      return {
        ...state,
        members,
        nowMs: atMs + action.predictedMs,
        past: { ...past, defrags: { ...past.defrags, ...defragged(action.member, atMs, state.members) } },
      };
    }
    case 'disarm': {
      const alarms = state.alarms.filter(({ type, memberId }) => type !== 'NOSPACE' || !action.members.includes(memberId));
      return { ...state, alarms, nowMs: atMs, past: action.orphans ? past : { ...past, disarmedMs: atMs } };
    }
  }
}

/** How much a compaction frees is known only afterwards. If all goes well: enough to come below the threshold. */
function emptied(member: MemberState, policy: Policy): MemberState {
  const { quota, dbSizeInUse } = member;
  if (quota.bytes === undefined || !isNearQuota({ ...sizesOf(member), dbSize: dbSizeInUse }, policy)) return member;
  return { ...member, dbSizeInUse: Math.max(0, Math.ceil(quota.bytes * policy.quotaShare) - 1) };
}

function defragged(id: string, atMs: number, members: readonly MemberState[]): Past['defrags'] {
  const member = members.find((each) => each.id === id);
  if (member === undefined) return {};
  const { dbSize, dbSizeInUse } = member;
  return { [id]: { atMs, tookMs: predictedFreezeMs(member), beforeBytes: dbSize, afterBytes: dbSizeInUse, inUseBytes: dbSizeInUse } };
}
