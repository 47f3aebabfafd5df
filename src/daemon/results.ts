/** What children answer, looked at before anything relies on it: a child may be of another version than the daemon. */
import type { BackupResult, ProveResult, SurveyResult } from '../jobs/types.ts';

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
  return isRecord(value['backups']) && Array.isArray(value['stores']) && isRecord(value['proof']) && isRecord(value['verification'])
    ? (value as unknown as SurveyResult)
    : undefined;
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
    const text = (part: unknown): string | undefined => (typeof part === 'string' ? part : undefined);
    return [{ id, store, level: String(level), outcome: String(outcome), reason: text(reason), code: text(code) }];
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
