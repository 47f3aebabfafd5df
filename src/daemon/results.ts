/** What children answer, looked at before anything relies on it: a child may be of another version than the daemon. */
import type { BackupResult, DrillSurvey, ProveResult, SurveyedDrill, SurveyResult } from '../jobs/types.ts';
import { RULES, type Action, type Refusal, type Rule } from '../maintenance/planner/types.ts';
import type { ActionResult, LastDone, RoundResult } from '../maintenance/types.ts';

export function asBackupResult(value: unknown): BackupResult | undefined {
  if (!isRecord(value)) return undefined;
  const { outcome, id, stores, warnings } = value;
  const known = outcome === 'complete' || outcome === 'partial' || outcome === 'skipped';
  return known && typeof id === 'string' && Array.isArray(stores) && Array.isArray(warnings)
    ? (value as unknown as BackupResult)
    : undefined;
}

export function asSurveyResult(value: unknown): SurveyResult | undefined {
  if (!isRecord(value)) return undefined;
  const whole = isRecord(value['backups']) && Array.isArray(value['stores']) && isRecord(value['proof']) && isRecord(value['verification']);
  return whole ? ({ ...value, drills: drillSurveys(value['drills']) } as unknown as SurveyResult) : undefined;
}

/** What a survey or the state file tells of drills; one of a version that knew none tells nothing. */
export function drillSurveys(value: unknown): readonly DrillSurvey[] {
  const entries: unknown[] = Array.isArray(value) ? value : [];
  return entries.filter(isRecord).flatMap(({ store, firstMs, last, sound, failed }): DrillSurvey[] => {
    if (typeof store !== 'string') return [];
    return [{ store, firstMs: number(firstMs), last: drillOf(last), sound: drillOf(sound), failed: drillOf(failed) }];
  });
}

const DRILL_LEVELS = ['started', 'offline'] as const;
const DRILL_OUTCOMES = ['ok', 'failed', 'inconclusive'] as const;

/** One drill; words that this version does not know become no labels. */
function drillOf(value: unknown): SurveyedDrill | undefined {
  if (!isRecord(value)) return undefined;
  const outcome = DRILL_OUTCOMES.find((one) => one === value['outcome']);
  const atMs = number(value['atMs']);
  if (outcome === undefined || atMs === undefined) return undefined;
  const level = DRILL_LEVELS.find((one) => one === value['level']);
  return {
    atMs,
    outcome,
    id: text(value['id']),
    ...(level === undefined ? {} : { level }),
    reason: text(value['reason']),
    recoveryMs: number(value['recoveryMs']),
    keyCount: number(value['keyCount']),
    sampled: number(value['sampled']),
    etcd: text(value['etcd']),
  };
}

/** The lines of a drill job, as if they had been surveyed at this moment. */
export function drillLines(
  value: unknown,
  atMs: number,
): readonly (SurveyedDrill & { readonly store: string; readonly code: string | undefined })[] {
  const lines: unknown[] = Array.isArray(value) ? value : [];
  return lines.filter(isRecord).flatMap((line) => {
    const drill = drillOf({ ...line, atMs });
    return drill === undefined || typeof line['store'] !== 'string' ? [] : [{ ...drill, store: line['store'], code: text(line['code']) }];
  });
}

export function asProveResult(value: unknown): ProveResult | undefined {
  return isRecord(value) && Array.isArray(value['lines']) && value['lines'].every(isRecord) ? (value as unknown as ProveResult) : undefined;
}

export interface PruneCounts {
  /** Different backups: the same one on two stores counts once. */
  readonly removed: number;
  readonly kept: number;
  readonly failed: number;
}

/** From the lines of a prune: one for each backup and store. */
export function pruneCounts(value: unknown): PruneCounts {
  const lines: unknown[] = isRecord(value) && Array.isArray(value['lines']) ? value['lines'] : [];
  const ids = (...outcomes: string[]): number =>
    new Set(
      lines
        .filter(isRecord)
        .filter((line) => outcomes.includes(String(line['outcome'])))
        .map((line) => line['id']),
    ).size;
  return { removed: ids('removed'), kept: ids('kept', 'locked'), failed: ids('failed') };
}

/** Stores that a prune could not list: because of them it removed nothing anywhere. */
export function pruneSkipped(value: unknown): readonly { readonly store: unknown; readonly reason: unknown }[] {
  const skipped: unknown[] = isRecord(value) && Array.isArray(value['skipped']) ? value['skipped'] : [];
  return skipped.filter(isRecord).map(({ store, message }) => ({ store, reason: message }));
}

/** What a copy job could not complete, one line for each backup and store. */
export function copyFailures(value: unknown): readonly { readonly id: unknown; readonly to: unknown; readonly error: unknown }[] {
  const lines: unknown[] = Array.isArray(value) ? value : [];
  return lines.filter(isRecord).flatMap(({ outcome, id, to, error }) => (outcome === 'failed' ? [{ id, to, error }] : []));
}

/** Indexes that could not be built, one line for each backup and store. */
export function indexFailures(
  value: unknown,
): readonly { readonly id: unknown; readonly store: unknown; readonly code: unknown; readonly reason: unknown }[] {
  const lines: unknown[] = Array.isArray(value) ? value : [];
  return lines.filter(isRecord).flatMap(({ outcome, id, store, error }) => {
    const { code, message } = isRecord(error) ? error : {};
    return outcome === 'failed' ? [{ id, store, code, reason: message }] : [];
  });
}

export interface VerifyResultLine {
  readonly id: string;
  readonly store: string;
  readonly level: string;
  readonly outcome: string;
  readonly reason: string | undefined;
  readonly code: string | undefined;
}

const LEVELS = ['stored', 'content', 'proved'];
const OUTCOMES = ['ok', 'failed', 'inconclusive'];

/** What a verification found, one line for each copy; words that this version does not know become no labels. */
export function verifyLines(value: unknown): readonly VerifyResultLine[] {
  const lines: unknown[] = Array.isArray(value) ? value : [];
  return lines.filter(isRecord).flatMap(({ id, store, level, outcome, reason, code }): VerifyResultLine[] => {
    if (typeof id !== 'string' || typeof store !== 'string' || !LEVELS.includes(String(level)) || !OUTCOMES.includes(String(outcome)))
      return [];
    return [{ id, store, level: String(level), outcome: String(outcome), reason: text(reason), code: text(code) }];
  });
}

/** What is kept of a round: what is shown, measured and waited for. */
export interface RoundSummary {
  readonly outcome: RoundResult['outcome'];
  readonly actions: readonly ActionResult[];
  readonly refusals: readonly Refusal[];
  readonly failure: RoundResult['failure'];
  readonly last: LastDone;
  /** The next step, had nothing stood against it; undefined = none. */
  readonly next: string | undefined;
  /** NOSPACE was armed at the end of it. */
  readonly noSpace: boolean;
  readonly againMs: number | undefined;
}

const ROUND_OUTCOMES = ['done', 'nothing', 'refused', 'failed'] as const satisfies readonly RoundResult['outcome'][];
const ACTIONS = ['compact', 'await-compaction', 'move-leader', 'defrag', 'disarm'] as const satisfies readonly Action['kind'][];
/** Of the lines of one round: more than any cluster has members times rules worth reading. */
const MOST_LINES = 100;

/** Rules and actions that this version does not know are left out: they become labels. */
export function asRoundSummary(value: unknown): RoundSummary | undefined {
  if (!isRecord(value) || !isRecord(value['plan'])) return undefined;
  const { actions, plan, failure } = value;
  const outcome = ROUND_OUTCOMES.find((one) => one === value['outcome']);
  if (outcome === undefined || !Array.isArray(actions) || !Array.isArray(plan['refusals'])) return undefined;
  const first: unknown = Array.isArray(plan['steps']) ? plan['steps'][0] : undefined;
  const next =
    isRecord(first) && isRecord(first['action']) ? ACTIONS.find((one) => one === (first['action'] as { kind?: unknown }).kind) : undefined;
  return {
    outcome,
    actions: actions.filter(isRecord).slice(0, MOST_LINES).flatMap(asAction),
    refusals: plan['refusals'].filter(isRecord).slice(0, MOST_LINES).flatMap(asRefusal),
    failure: asFailure(failure),
    last: asLast(value['last']),
    next,
    noSpace: plan['noSpace'] === true,
    againMs: number(plan['againMs']),
  };
}

function asAction(line: Readonly<Record<string, unknown>>): ActionResult[] {
  const action = ACTIONS.find((one) => one === line['action']);
  const tookMs = number(line['tookMs']);
  if (action === undefined || tookMs === undefined) return [];
  const beforeBytes = number(line['beforeBytes']);
  const afterBytes = number(line['afterBytes']);
  const predictedMs = number(line['predictedMs']);
  const revision = text(line['revision']);
  return [
    {
      action,
      member: text(line['member']),
      tookMs,
      message: text(line['message']) ?? '',
      ...(beforeBytes === undefined ? {} : { beforeBytes }),
      ...(afterBytes === undefined ? {} : { afterBytes }),
      ...(predictedMs === undefined ? {} : { predictedMs }),
      ...(revision === undefined ? {} : { revision }),
      ...(line['overdue'] === true ? { overdue: true } : {}),
    },
  ];
}

function asRefusal(line: Readonly<Record<string, unknown>>): Refusal[] {
  const { rule, member, message, hint } = line;
  if (typeof rule !== 'string' || !Object.hasOwn(RULES, rule)) return [];
  const told = text(hint);
  return [
    {
      rule: rule as Rule,
      member: text(member),
      message: text(message) ?? RULES[rule as Rule],
      ...(told === undefined ? {} : { hint: told }),
    },
  ];
}

function asLast(value: unknown): LastDone {
  if (!isRecord(value)) return {};
  const times = (['compact', 'defrag', 'disarm'] as const).flatMap((action) => {
    const atMs = number(value[action]);
    return atMs === undefined ? [] : [[action, atMs] as const];
  });
  return Object.fromEntries(times);
}

function asFailure(value: unknown): RoundResult['failure'] {
  if (!isRecord(value)) return undefined;
  return { code: text(value['code']) ?? 'failed', message: text(value['message']) ?? '', hint: text(value['hint']) };
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
