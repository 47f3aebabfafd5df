/** What the gates of membership share: who votes, how many must agree, and how a verdict is written. Pure. */
import { hex } from '../etcd/ids.ts';
import type { ListedMember } from '../etcd/types.ts';
import type { MemberGate, MemberRule, MembershipSight, SeenMember } from './types.ts';

/** A change of the member list that somebody wants. */
export type Change =
  | {
      readonly kind: 'add';
      readonly name: string;
      readonly peerUrls: readonly string[];
      readonly learner: boolean;
      /** A voter was asked for in so many words. */
      readonly forced: boolean;
      /** Peer URLs at which somebody answers, and as which cluster if it says so. */
      readonly busy: readonly { readonly url: string; readonly clusterId: bigint | undefined }[];
    }
  | { readonly kind: 'remove'; readonly member: SeenMember }
  | { readonly kind: 'promote'; readonly member: SeenMember };

/** Raft entries that a learner may be behind when it is promoted; etcd itself asks for 90 % of the leader's log, which is little on a new log and much on a long one. */
export const PROMOTABLE_LAG = 1_000n;

/** So many of these voters must agree. */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** `2 of 3 voters answer, 2 are needed`. */
export function countText(healthy: number, voters: number): string {
  const needed = majority(voters);
  return `${healthy} of ${voters} ${voters === 1 ? 'voter answers' : 'voters answer'}, ${needed} ${needed === 1 ? 'is' : 'are'} needed`;
}

export function votersOf({ members }: Pick<MembershipSight, 'members'>): SeenMember[] {
  return members.filter(({ learner }) => !learner);
}

/** Voters through which a read was just agreed upon. */
export function healthyOf(sight: Pick<MembershipSight, 'members'>): SeenMember[] {
  return votersOf(sight).filter(({ readMs }) => readMs !== undefined);
}

/** The voter that goes, if one does. */
export function leaves(change: Change): SeenMember | undefined {
  return change.kind === 'remove' && !change.member.learner ? change.member : undefined;
}

/** Its name, or its id while it has none. */
export function labelOf(member: ListedMember): string {
  return member.name || hex(member.id);
}

export function gate(
  rule: MemberRule,
  verdict: MemberGate['verdict'],
  message: string,
  { member, hint }: { readonly member?: string; readonly hint?: string } = {},
): MemberGate {
  return { rule, member, verdict, message, ...(hint === undefined || verdict === 'passed' ? {} : { hint }) };
}
