/** What maintenance is about to do, and why it does nothing: for whoever is asked, for `--dry-run` and for `status`. */
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import { TELLING_BYTES } from '../../maintenance/planner/rate.ts';
import type { Action, ClusterState, Gate, MemberState, Plan, PlannedStep, Refusal } from '../../maintenance/planner/types.ts';
import type { Sight } from '../../maintenance/types.ts';
import { printable, renderTable, wrapText, type Column } from './table.ts';

/** Actions name members by id; people know them by name. */
export function memberName(state: ClusterState, id: string): string {
  return state.members.find((member) => member.id === id)?.name ?? id;
}

/** Whom an action is about: `m2`, `m1 -> m3`, `m1, m2`. */
function subject(action: Action, state: ClusterState): string {
  const name = (id: string): string => memberName(state, id);
  switch (action.kind) {
    case 'compact':
      return '';
    case 'move-leader':
      return `${name(action.from)} -> ${name(action.to)}`;
    case 'defrag':
      return name(action.member);
    case 'await-compaction':
    case 'disarm':
      return action.members.map(name).join(', ');
  }
}

/** `defrag m2`, for sentences. */
export function actionText(action: Action, state: ClusterState): string {
  const whom = subject(action, state);
  if (action.kind === 'compact') return `compact to revision ${action.revision}`;
  if (action.kind === 'await-compaction') return `wait for the compaction on ${whom}`;
  if (action.kind === 'move-leader') return `move the leader ${whom}`;
  return `${action.kind} ${whom}`;
}

function whyOf(action: Action): string {
  switch (action.kind) {
    case 'compact':
      return `to revision ${action.revision}: ${action.why}`;
    case 'await-compaction':
      return 'a compaction has not finished there';
    case 'disarm':
    case 'move-leader':
    case 'defrag':
      return action.why;
  }
}

interface StepRow {
  readonly number: number;
  readonly step: PlannedStep;
  readonly state: ClusterState;
}

const STEPS: readonly Column<StepRow>[] = [
  { title: 'STEP', align: 'right', value: ({ number }) => String(number) },
  { title: 'ACTION', value: ({ step }) => step.action.kind },
  { title: 'MEMBER', value: ({ step, state }) => subject(step.action, state) },
  // Only a defragmentation freezes anybody; the time of the others is told where there is one.
  { title: 'FREEZE', align: 'right', value: ({ step }) => (step.action.kind === 'defrag' ? aboutMs(step.action.predictedMs) : '') },
  { title: 'GAIN', align: 'right', value: ({ step }) => (step.action.kind === 'defrag' ? formatBytes(step.action.gainBytes) : '') },
  { title: 'WHY', wrap: true, value: ({ step }) => whyOf(step.action) },
];

const GATES: readonly Column<Gate>[] = [
  { title: 'VERDICT', value: ({ verdict }) => verdict },
  { title: 'RULE', value: ({ rule }) => rule },
  { title: 'MEMBER', value: ({ member }) => member ?? '' },
  { title: 'BECAUSE', wrap: true, value: ({ message }) => message },
];

function aboutMs(ms: number): string {
  return `~${formatDurationShort(Math.max(1, ms))}`;
}

/** The steps as a table with what to know of them; without the gates, which are for `--dry-run`. */
export function planText(sight: Sight, plan: Plan, width: number): string[] {
  const { state } = sight;
  const rows = plan.steps.map((step, index): StepRow => ({ number: index + 1, step, state }));
  return [
    ...(rows.length === 0 ? [] : [renderTable(STEPS, rows, width)]),
    ...gateWarnings(plan).map((sentence) => wrapText(`warning: ${printable(sentence)}`, width)),
    ...stopsOf(plan, state).map((sentence) => wrapText(`warning: ${printable(sentence)}`, width)),
    ...remarksOf(sight, plan).map((sentence) => wrapText(`note: ${printable(sentence)}`, width)),
    ...refusalLines(plan.refusals, plan.action === undefined ? 'not done' : 'left out', width),
  ];
}

/** What a yes goes over, and what the planner wants to be known. */
function gateWarnings({ gates }: Plan): string[] {
  return gates
    .filter(({ verdict }) => verdict === 'overridden' || verdict === 'warned')
    .map(({ rule, member, message }) => `${rule}: ${aboutMember(member, message)}`);
}

export function gatesText(plan: Plan, width: number): string[] {
  return plan.gates.length === 0 ? [] : ['', renderTable(GATES, plan.gates, width)];
}

/** One line each, members of one rule together and in the order of their names, and the hint below; the same hint once. */
export function refusalLines(refusals: readonly Refusal[], word: string, width: number): string[] {
  const hints = new Set<string>();
  const rules = [...new Set(refusals.map(({ rule }) => rule))];
  const sorted = refusals.toSorted(
    (a, b) => rules.indexOf(a.rule) - rules.indexOf(b.rule) || (a.member ?? '').localeCompare(b.member ?? '', 'en', { numeric: true }),
  );
  return sorted.flatMap(({ rule, member, message, hint }) => {
    const lines = [wrapText(printable(`${word} (${rule}): ${aboutMember(member, message)}`), width)];
    if (hint !== undefined && !hints.has(hint)) lines.push(wrapText(`hint: ${printable(hint)}`, width));
    if (hint !== undefined) hints.add(hint);
    return lines;
  });
}

/** A message that names its member already is not prefixed with it. */
export function aboutMember(member: string | undefined, message: string): string {
  return member === undefined || message.includes(member) ? message : `${member}: ${message}`;
}

/**
 * What stands still while a member is frozen, beyond that member: nothing can be agreed upon when the others are no majority, and nothing is written while
 * the leader is frozen. One sentence for each kind; empty when a majority goes on without the frozen one.
 */
export function stopsOf(plan: Plan, state: ClusterState): string[] {
  const voters = state.members.filter(({ voter }) => voter);
  const alive = voters.filter(({ reachable }) => reachable).length;
  const freezes = plan.steps.flatMap(({ action }) => (action.kind === 'defrag' ? [action] : []));
  if (freezes.length === 0) return [];
  const name = (id: string): string => memberName(state, id);
  const times = (actions: typeof freezes): string =>
    actions.map(({ member, predictedMs }) => `${aboutMs(predictedMs).replace('~', 'about ')} (${name(member)})`).join(', then ');
  const majority = Math.floor(voters.length / 2) + 1;
  if (alive - 1 < majority) {
    const others = voters.length === 1 ? 'it has one voter' : `${alive} of its ${voters.length} voters answer, and it needs ${majority}`;
    return [`the whole cluster accepts nothing, neither writes nor reads nor lease renewals, for ${times(freezes)}: ${others}`];
  }
  const leading = freezes.filter(({ leads }) => leads);
  return leading.length === 0
    ? []
    : [
        `the leader is frozen, because no other voter could lead: the whole cluster accepts no write and no lease renewal for ${times(leading)}`,
      ];
}

/** What the numbers rest on. */
function remarksOf({ state, notes }: Sight, plan: Plan): string[] {
  const frozen = plan.steps.flatMap(({ action }) => (action.kind === 'defrag' ? [action.member] : []));
  const guessed = state.members.filter(({ id, rate }) => frozen.includes(id) && !rate.learned);
  const blind = state.members.filter(
    ({ gauges, gaugesError, reachable }) => reachable && gauges === undefined && gaugesError !== undefined,
  );
  const errors = [...new Set(blind.flatMap(({ gaugesError }) => gaugesError ?? []))];
  return [
    ...(guessed.length === 0
      ? []
      : [
          `how long ${listed(guessed)} will be frozen is a guess at ${formatBytes(guessed[0]!.rate.bytesPerSecond)}/s: no defragmentation of ${formatBytes(TELLING_BYTES)} or more was seen before`,
        ]),
    ...errors.map((error) => {
      const those = blind.filter(({ gaugesError }) => gaugesError === error);
      return `what only the metrics of ${listed(those)} tell could not be checked: ${error}`;
    }),
    // Whoever looked has told that they cannot be read.
    ...notes.filter((note) => !errors.some((error) => note.includes(error))),
  ];
}

function listed(members: readonly MemberState[]): string {
  return members
    .map(({ name }) => name)
    .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .join(', ');
}

/** As in docs/json.md: absent values are null, ids hex, revisions text. */
export function planJson(plan: Plan, state: ClusterState): Record<string, unknown> {
  return {
    complete: plan.complete,
    noSpace: plan.noSpace,
    steps: plan.steps.map((step) => stepJson(step.action, state)),
    refusals: plan.refusals.map(({ rule, member, message, hint }) => ({ rule, member: member ?? null, message, hint: hint ?? null })),
    gates: plan.gates.map(({ rule, member, verdict, message }) => ({ rule, member: member ?? null, verdict, message })),
    again: plan.againMs === undefined ? null : new Date(plan.againMs).toISOString(),
  };
}

export function stepJson(action: Action, state: ClusterState): Record<string, unknown> {
  const name = (id: string): string => memberName(state, id);
  const defrag = action.kind === 'defrag' ? action : undefined;
  return {
    action: action.kind,
    members:
      action.kind === 'compact'
        ? []
        : action.kind === 'move-leader'
          ? [name(action.from), name(action.to)]
          : action.kind === 'defrag'
            ? [name(action.member)]
            : action.members.map(name),
    why: whyOf(action),
    revision: action.kind === 'compact' ? action.revision : null,
    predictedMs: defrag?.predictedMs ?? null,
    gainBytes: defrag?.gainBytes ?? null,
    leads: defrag?.leads ?? null,
  };
}
