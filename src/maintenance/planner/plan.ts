/**
 * What to do next on a cluster, or why nothing: one action, chosen from what is observed and nothing else. Two planners that see the same choose the same,
 * so that two daemons without a lock cannot freeze two members.
 */
import { gateOf, isRefused, joined, refusalOf, refused, type Check, type Decision } from './check.ts';
import { askedCompaction, routineCompaction } from './compaction.ts';
import { cure } from './cure.ts';
import { defragmentation } from './defragmentation.ts';
import { disarming, orphanDisarming } from './disarming.ts';
import { after } from './foresight.ts';
import { gatesFor } from './gates.ts';
import type { Action, ClusterState, Plan, PlannedStep, Policy, Wish } from './types.ts';
import { byTheClock, isCure, viewOf, wasInRound, type View } from './view.ts';

/** Beyond this a dry run tells nothing more; a cluster of nine needs 22. */
const MOST_STEPS = 40;

/** Pure: no clock, no memory. */
export function plan(state: ClusterState, policy: Policy, asked: Wish): Plan {
  const wish = byTheClock(asked, state);
  const view = viewOf(state, policy, wish);
  const { action, checks, reasons, complete } = decide(view);
  const refusals = reasons.filter(isRefused);
  const times = refusals.flatMap(({ againMs }) => (againMs === undefined ? [] : [againMs]));
  return {
    action,
    refusals: refusals.map(refusalOf),
    complete,
    noSpace: view.noSpace.length > 0,
    gates: checks.map(gateOf),
    steps: foresee(state, policy, wish, action),
    againMs: times.length === 0 ? undefined : Math.min(...times),
  };
}

function decide(view: View): Decision {
  const { wish } = view;
  switch (wish.kind) {
    case 'compact':
      return askedCompaction(wish.keep, wish.yes, view);
    case 'disarm':
      return orphanDisarming(view) ?? (view.noSpace.length > 0 ? disarming(view) : nothingArmed(view));
    case 'routine':
      return orphanDisarming(view) ?? (view.noSpace.length > 0 ? cure(view) : routine(view));
    case 'defrag':
      return byHand(view, wish);
  }
}

function byHand(view: View, wish: Wish & { kind: 'defrag' }): Decision {
  const cures = isCure(wish);
  const orphans = cures ? orphanDisarming(view) : undefined;
  if (orphans !== undefined) return orphans;
  if (cures && view.noSpace.length > 0) return cure(view);
  if (cures && wasInRound(view.state.past.disarmedMs, view)) return finished('NOSPACE was cured in this round', []);
  const all = wish.worthwhile ? view.up : view.voters;
  const named = wish.members === 'all' ? all : view.members.filter(({ id }) => wish.members.includes(id));
  const unfit = wish.members === 'all' ? [] : unfitAmong(wish.members, view);
  if (unfit.length > 0) return { checks: unfit, reasons: unfit, complete: false };
  const found = defragmentation(named, wish.worthwhile ? 'worthwhile' : 'asked', view);
  return found.complete && found.reasons.length === 0 ? finished('every member that was asked for is defragmented', found.checks) : found;
}

/** All of them are known before anything is touched. */
function unfitAmong(ids: readonly string[], { members }: View): readonly Check[] {
  return [...new Set(ids)].sort().flatMap((id) => {
    const member = members.find((each) => each.id === id);
    if (member === undefined)
      return [
        refused('unknown-member', `there is no member ${id}`, { hint: `the members are ${members.map(({ name }) => name).join(', ')}` }),
      ];
    return member.voter
      ? []
      : [
          refused('learner', `${member.name} is a learner, and etcd defragments no learner`, {
            member: member.name,
            hint: 'promote it first',
          }),
        ];
  });
}

/** Compaction first: it may free what defragmentation then gives back. */
function routine(view: View): Decision {
  const compaction = routineCompaction(view);
  // A member that is down has no size that could cross a threshold.
  const rolling = defragmentation(view.up, 'routine', view);
  if (compaction.action !== undefined) return { ...compaction, checks: joined(compaction.checks, rolling.checks) };
  return {
    ...rolling,
    checks: joined(rolling.checks, compaction.checks),
    reasons: [...rolling.reasons, ...compaction.reasons.filter((each) => !rolling.reasons.some((other) => isSame(each, other)))],
    complete: rolling.complete && compaction.complete,
  };
}

/** Both ask some of the same gates. */
function isSame(a: Check, b: Check): boolean {
  return a.rule === b.rule && a.member === b.member;
}

function nothingArmed(view: View): Decision {
  if (wasInRound(view.state.past.disarmedMs, view)) return finished('NOSPACE was disarmed in this round', []);
  const check = refused('not-armed', 'no NOSPACE alarm is armed');
  // Who asks to disarm, and has CORRUPT in mind, is told why not.
  const corrupt = gatesFor('disarm', view).filter((each) => isRefused(each) && each.rule === 'corrupt-alarm');
  return { checks: [check, ...corrupt], reasons: [check, ...corrupt], complete: corrupt.length === 0 };
}

function finished(message: string, checks: readonly Check[]): Decision {
  return { checks, reasons: [refused('done', message)], complete: true };
}

/** The round as it goes if all goes well, one action after another. */
function foresee(state: ClusterState, policy: Policy, wish: Wish, first: Action | undefined): readonly PlannedStep[] {
  const steps: PlannedStep[] = [];
  let now = state;
  for (let action = first; action !== undefined && steps.length < MOST_STEPS; action = decide(viewOf(now, policy, wish)).action) {
    steps.push({ action, predictedMs: action.kind === 'defrag' ? action.predictedMs : undefined });
    now = after(action, now, policy);
  }
  return steps;
}
