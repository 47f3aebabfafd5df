/** The next member to be defragmented, or why none is: followers first, the one with most to give first, the leader last. */
import { candidatesAmong, isReady, isSettled, type Ask, type Candidate } from './candidates.ts';
import { isRefused, passed, refused, type Check, type Decision } from './check.ts';
import { gatesFor } from './gates.ts';
import { moveLeader, successorOf } from './handover.ts';
import { predictedFreezeMs } from './rate.ts';
import type { Action, MemberState, Rule } from './types.ts';
import { freeOf, type View } from './view.ts';
import { namesOf } from './words.ts';

const GRAVE: ReadonlySet<Rule> = new Set<Rule>(['corrupt-alarm', 'members-disagree', 'no-quorum']);

export function defragmentation(members: readonly MemberState[], ask: Ask, view: View): Decision {
  const gates = gatesFor('defrag', view);
  const candidates = candidatesAmong(members, ask, view);
  const own = candidates.flatMap(({ checks }) => checks);
  const running = compacting(view);
  const checks = [...gates, running, ...own];
  const left = own.filter(isRefused);
  // These are said though nothing is to be done: somebody must look at the cluster.
  const grave = gates.filter((check) => isRefused(check) && GRAVE.has(check.rule));
  if (candidates.every(isSettled)) return { checks, reasons: [...grave, ...left], complete: grave.length === 0 };
  // A gate stands in the way of everybody, so what holds back single members is told after it.
  const shut = gates.filter(isRefused);
  if (shut.length > 0) return { checks, reasons: [...shut, ...left], complete: false };
  // A gap that grows while it is copied is copied for nothing, and both take the same locks (H11).
  if (isRefused(running)) return { action: awaitCompaction(view), checks, reasons: [running, ...left], complete: false };
  const next = nextAmong(candidates, view);
  if (next === undefined) return { checks, reasons: left, complete: false };
  if ('rule' in next) return { checks: [...checks, next], reasons: [next, ...left], complete: false };
  return { action: next, checks, reasons: left, complete: false };
}

/** Waiting is all that can be done. */
export function awaitCompaction({ members }: View): Action {
  return { kind: 'await-compaction', members: members.filter((member) => member.compacting).map(({ id }) => id) };
}

export function compacting({ members }: View): Check {
  const busy = members.filter((member) => member.compacting);
  return busy.length === 0
    ? passed('compacting', 'no member is compacting')
    : refused('compacting', `${namesOf(busy)} are still compacting`, { hint: 'it ends by itself' });
}

function nextAmong(candidates: readonly Candidate[], view: View): Action | Check | undefined {
  const ready = candidates.filter(isReady).sort((a, b) => worthOf(b.member) - worthOf(a.member));
  const follower = ready.find(({ member }) => member.id !== view.leader?.id);
  if (follower !== undefined) return defragment(follower, false);
  const leading = ready[0];
  // Everything that is due is held back, each by its own rule.
  if (leading === undefined) return undefined;
  if (view.voters.length === 1) return defragment(leading, true);
  const stillDue = new Set(candidates.filter(({ why }) => why !== undefined).map(({ member }) => member.id));
  const successor = successorOf(leading.member, stillDue, view);
  if (successor !== undefined) return moveLeader(leading.member, successor);
  return refused('leader-stays', `${leading.member.name} leads, and no other voter is healthy and quick enough to lead instead`, {
    member: leading.member.name,
    hint: 'look at the other voters first; a leader is never frozen while another could lead',
  });
}

/**
 * The free bytes, in steps of a quarter. Members hold the same data, so they differ by little and by another little at each look: the order between them must
 * not turn with that, or two daemons would choose different ones, and the last look before a freeze would find the plan stale.
 */
function worthOf(member: MemberState): number {
  return Math.floor(Math.log(freeOf(member) + 1) / Math.log(1.25));
}

function defragment({ member, why }: Candidate, leads: boolean): Action {
  return { kind: 'defrag', member: member.id, why: why!, predictedMs: predictedFreezeMs(member), gainBytes: freeOf(member), leads };
}
