/** Which members ought to be defragmented, and what holds each of them back. */
import { checkOf, isRefused, refused, type Check } from './check.ts';
import { forbiddenFor } from './gates-versions.ts';
import { isWithin } from './past.ts';
import { predictedFreezeMs } from './rate.ts';
import { fitsBelow, isNearQuota, isTooFree, quotaShareOf } from './thresholds.ts';
import type { MemberState, Rule } from './types.ts';
import { freeOf, isCompacted, isDone, sizesOf, type View } from './view.ts';
import { shareText, sizeText, timeText } from './words.ts';

/** `routine`: what thresholds name, in its time. `worthwhile`: the same, by hand. `asked`: whatever they say. `cure`: whatever lowers a size, at once. */
export type Ask = 'routine' | 'worthwhile' | 'asked' | 'cure';

export interface Candidate {
  readonly member: MemberState;
  /** Why it ought to be defragmented; undefined = it need not be. */
  readonly why: string | undefined;
  readonly checks: readonly Check[];
}

/** Rules that leave nothing undone: they say that it was not worth it. */
const SETTLED: ReadonlySet<Rule> = new Set<Rule>(['not-needed', 'nothing-to-gain', 'cooldown', 'done']);

export function candidatesAmong(members: readonly MemberState[], ask: Ask, view: View): readonly Candidate[] {
  return members.map((member) => {
    const need = needOf(member, ask, view);
    return typeof need === 'string'
      ? { member, why: need, checks: hindrances(member, ask, view) }
      : { member, why: undefined, checks: [need] };
  });
}

/** Due, and nothing holds it back. */
export function isReady({ why, checks }: Candidate): boolean {
  return why !== undefined && !checks.some(isRefused);
}

/** Neither due nor only put off. */
export function isSettled({ why, checks }: Candidate): boolean {
  return why === undefined || checks.some(({ rule, verdict }) => verdict === 'refused' && SETTLED.has(rule));
}

/** The reason to defragment it, or the rule that says there is none. */
function needOf(member: MemberState, ask: Ask, view: View): string | Check {
  if (isDone(member, view)) return checkOf('done', 'passed', `${member.name} was defragmented in this round`, { member: member.name });
  if (ask === 'asked') return 'asked for by hand';
  return ask === 'cure' ? needOfCure(member, view) : needByThresholds(member, view);
}

function needByThresholds(member: MemberState, { policy }: View): string | Check {
  const sizes = sizesOf(member);
  const free = freeOf(member);
  const near = isNearQuota(sizes, policy);
  const text = near
    ? `${member.name} is at ${shareText(quotaShareOf(sizes)!)} of its quota of ${sizeText(sizes.quotaBytes!)}`
    : `${sizeText(free)} of the ${sizeText(member.dbSize)} of ${member.name} are free`;
  if (!near && !isTooFree(sizes, policy))
    return checkOf('not-needed', 'refused', `${text}: no threshold is crossed`, { member: member.name });
  if (free >= policy.minGain) return text;
  return refused(
    'nothing-to-gain',
    `${text}, but only ${sizeText(free)} are free: defragmentation gives nothing back below ${sizeText(policy.minGain)}`,
    {
      member: member.name,
      ...(near ? { hint: 'delete what is not needed, let the history be compacted, or raise the quota' } : {}),
    },
  );
}

/** Nothing is gained for those that are below their threshold and have nothing to give; above it every byte counts that may bring it below. */
function needOfCure(member: MemberState, view: View): string | Check {
  const { policy } = view;
  const sizes = sizesOf(member);
  const free = freeOf(member);
  if (free >= policy.minGain) return `NOSPACE is armed and ${sizeText(free)} of ${member.name} are free`;
  if (!isNearQuota(sizes, policy))
    return refused('nothing-to-gain', `${member.name} is below its threshold, and only ${sizeText(free)} are free`, {
      member: member.name,
    });
  if (fitsBelow(sizes, policy))
    return `NOSPACE is armed and ${member.name} can be brought below ${shareText(policy.quotaShare)} of its quota`;
  if (mayBeStale(view))
    return `NOSPACE is armed, and what ${member.name} counts as in use may be from before a compaction of somebody else's`;
  return refused(
    'nothing-to-gain',
    `${sizeText(member.dbSizeInUse)} of ${member.name} are in use: defragmentation does not bring it below ${shareText(policy.quotaShare)} of its quota`,
    {
      member: member.name,
      hint: 'delete what is not needed, or raise the quota',
    },
  );
}

/**
 * Pages count as free only two or three commits after the one that freed them, and NOSPACE lets nobody commit: what somebody else compacted before, members
 * may count as in use for ever. Our own compaction makes them count, but there is none when nothing is left to compact. So one member is defragmented to
 * find out, and the others only when that brought it below its threshold.
 */
function mayBeStale(view: View): boolean {
  const { state, policy, up } = view;
  const byOthers = (state.compactRevision ?? 0n) > (state.past.compaction?.revision ?? 0n);
  const triedInVain = up.some((member) => {
    const atMs = state.past.defrags[member.id]?.atMs;
    return atMs !== undefined && isWithin(atMs, policy.cooldownMs, state.nowMs) && isNearQuota(sizesOf(member), policy);
  });
  return byOthers && !isCompacted(view) && !triedInVain;
}

/** What holds back a member that ought to be defragmented. With NOSPACE armed nobody can write anyway, so there is no better time to wait for. */
function hindrances(member: MemberState, ask: Ask, view: View): readonly Check[] {
  const forbidden = forbiddenFor(member, view);
  if (ask === 'cure') return forbidden;
  return [...forbidden, ...(ask === 'asked' ? [] : cooldown(member, view)), ...freeze(member, view), ...outsideWindow(member, view)];
}

function cooldown(member: MemberState, { state, policy }: View): readonly Check[] {
  const atMs = state.past.defrags[member.id]?.atMs;
  if (atMs === undefined || !isWithin(atMs, policy.cooldownMs, state.nowMs)) return [];
  const message = `${member.name} was defragmented ${timeText(Math.max(0, state.nowMs - atMs))} ago, and is left alone for ${timeText(policy.cooldownMs)}`;
  return [refused('cooldown', message, { member: member.name, againMs: atMs + policy.cooldownMs })];
}

function freeze(member: MemberState, { state, policy, wish }: View): readonly Check[] {
  const predicted = predictedFreezeMs(member);
  if (predicted <= policy.maxFreezeMs) return [];
  const guess = member.rate.learned ? 'as it was before' : 'at a usual rate';
  const message = `${member.name} would answer nothing for ${timeText(predicted)} (${sizeText(member.dbSizeInUse)} ${guess}), longer than ${timeText(policy.maxFreezeMs)}`;
  if (wish.kind === 'defrag' && wish.yes)
    return [checkOf('freeze-too-long', 'overridden', `${message}; a yes goes over it`, { member: member.name })];
  if (state.window.configured && state.window.open)
    return [checkOf('freeze-too-long', 'overridden', `${message}; the maintenance window is open`, { member: member.name })];
  const hint = state.window.configured
    ? 'it waits for the maintenance window; `etcd-warden defrag --yes` does not'
    : 'set `maintenance.window`, raise `maintenance.maxFreeze`, or `etcd-warden defrag --yes`';
  return [refused('freeze-too-long', message, { member: member.name, hint, againMs: state.window.nextMs })];
}

/** Near the quota is too late to wait. */
function outsideWindow(member: MemberState, { state, policy, wish }: View): readonly Check[] {
  const { window } = state;
  if (!window.configured || window.open || (wish.kind === 'defrag' && wish.yes) || isNearQuota(sizesOf(member), policy)) return [];
  const message = `${member.name} is not near its quota and waits for the maintenance window`;
  return [
    refused('outside-window', message, { member: member.name, hint: '`etcd-warden defrag --yes` does not wait', againMs: window.nextMs }),
  ];
}
