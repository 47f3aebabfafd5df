/** The leader is frozen last, and only after another one leads (H1): while it is frozen no lease is renewed anywhere, and nobody elects another. */
import type { Action, MemberState } from './types.ts';
import type { View } from './view.ts';

/** etcd's default election timeout: who answers slower than that had better not lead. */
const SLOW_READ_MS = 1000;

/** Who shall lead, of voters that the gates found well: quick, not to be frozen itself any more if possible, then the most up to date. Undefined = nobody can. */
export function successorOf(leader: MemberState, stillDue: ReadonlySet<string>, view: View): MemberState | undefined {
  return view.voters
    .filter((member) => member.id !== leader.id && (member.readMs ?? Infinity) <= SLOW_READ_MS)
    .sort((a, b) => Number(stillDue.has(a.id)) - Number(stillDue.has(b.id)) || order(b.raftAppliedIndex, a.raftAppliedIndex))[0];
}

export function moveLeader(from: MemberState, to: MemberState): Action {
  return {
    kind: 'move-leader',
    from: from.id,
    to: to.id,
    why: `${from.name} leads and is to be defragmented; ${to.name} is healthy and up to date`,
  };
}

function order(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
