/**
 * Which copies the daemon reads again in one run: the newest of every store, and of the others as many as it takes for each to have its turn in time,
 * those first that were not looked at for longest. Pure.
 */
import { isImported, type Backup, type Catalog, type Copy } from '../catalog/types.ts';
import type { DueVerification, VerificationSurvey } from './types.ts';

export interface VerificationPolicy {
  /** Every copy at least once in so many ms. */
  readonly everyMs: number;
  /** Time between two runs, ms: the longest that the schedule leaves. */
  readonly intervalMs: number;
}

/** What a survey tells of it. @param policy undefined without a schedule: then nothing is due */
export function surveyVerification(
  catalog: Catalog,
  stores: readonly string[],
  policy: VerificationPolicy | undefined,
  nowMs: number,
): VerificationSurvey {
  const held = stores.map((store) => ({ store, copies: copiesOn(catalog, store) })).filter(({ copies }) => copies.length > 0);
  const looks = held.map(({ copies }) => copies.map(({ copy }) => lookedAtMs(copy)).reduce(later, undefined));
  return {
    due: policy === undefined ? [] : held.flatMap(({ store, copies }) => dueOn(store, copies, policy, nowMs)),
    sound: held.flatMap(({ store, copies }) =>
      LEVELS.flatMap((level) => {
        const atMs = copies.map(({ copy }) => copy.soundMs[level]).reduce(later, undefined);
        return atMs === undefined ? [] : [{ store, level, atMs }];
      }),
    ),
    lastMs: looks.includes(undefined) || looks.length === 0 ? undefined : Math.min(...(looks as number[])),
    failed: held.flatMap(({ store, copies }) => {
      const newest = newestOf(copies);
      if (newest?.copy.check?.outcome !== 'failed') return [];
      return [{ id: newest.backup.id, store, reason: newest.copy.check.reason ?? 'the check gives no reason' }];
    }),
  };
}

const LEVELS = ['stored', 'content', 'proved'] as const;

interface Held {
  readonly backup: Backup;
  readonly copy: Copy;
}

/** Oldest first. */
function copiesOn({ backups }: Catalog, store: string): Held[] {
  return backups.flatMap((backup) => {
    const copy = backup.copies.find((each) => each.store === store);
    return copy?.manifest === 'present' && copy.data === 'present' ? [{ backup, copy }] : [];
  });
}

function newestOf(copies: readonly Held[]): Held | undefined {
  return copies.findLast(({ backup }) => !isImported(backup)) ?? copies.at(-1);
}

/**
 * A copy is due after half the time, and each run takes so many that all which became due within the other half have their turn by its end: with N copies,
 * N x interval / (every / 2) of them, which is what a queue needs that nobody waits in for longer than every / 2.
 */
function dueOn(store: string, copies: readonly Held[], { everyMs, intervalMs }: VerificationPolicy, nowMs: number): DueVerification[] {
  const newest = newestOf(copies);
  const quota = Math.ceil((copies.length * intervalMs) / (everyMs / 2));
  const others = copies
    // What is known to be bad stays so; whoever mended it says `verify`.
    .filter((held) => held !== newest && held.copy.check?.outcome !== 'failed')
    .map((held) => ({ held, sinceMs: lookedAtMs(held.copy) ?? held.backup.timeMs }))
    .filter(({ sinceMs }) => nowMs - sinceMs >= everyMs / 2)
    .sort((a, b) => a.sinceMs - b.sinceMs)
    .slice(0, quota);
  return [newest, ...others.map(({ held }) => held)].filter((held) => held !== undefined).map(({ backup }) => ({ id: backup.id, store }));
}

/** The newest look of any depth and result. Without an identity no deeper one can be had, and one that came to nothing is not repeated before its turn. */
function lookedAtMs({ check, soundMs }: Copy): number | undefined {
  return later(check === undefined ? undefined : Date.parse(check.time), soundMs.stored);
}

function later(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.max(a, b);
}
