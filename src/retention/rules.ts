/**
 * The rules of a policy as a table: how many backups each keeps, and which of them count as one. After restic's `forget`: each rule walks from the newest
 * to the oldest and keeps the newest of each period until it has kept enough.
 */
import { calendarNames, type CalendarNames } from './calendar.ts';
import type { RetentionBackup, RetentionPolicy } from './types.ts';

interface Rule {
  readonly count: (policy: RetentionPolicy) => number;
  /** Backups with the same name share one place. */
  readonly period: (backup: RetentionBackup, names: CalendarNames) => string;
  /** `kept` counts from 1. */
  readonly reason: (period: string, kept: number, count: number) => string;
}

const RULES: readonly Rule[] = [
  { count: (policy) => policy.keepLast, period: ({ id }) => id, reason: (_, kept, count) => `last ${kept} of ${count}` },
  { count: (policy) => policy.keepHourly, period: (_, { hour }) => hour, reason: (period) => `hourly ${period}` },
  { count: (policy) => policy.keepDaily, period: (_, { day }) => day, reason: (period) => `daily ${period}` },
  { count: (policy) => policy.keepWeekly, period: (_, { week }) => week, reason: (period) => `weekly ${period}` },
  { count: (policy) => policy.keepMonthly, period: (_, { month }) => month, reason: (period) => `monthly ${period}` },
  { count: (policy) => policy.keepYearly, period: (_, { year }) => year, reason: (period) => `yearly ${period}` },
];

/** A policy without any rule deletes nothing: it is one that nobody has written yet. */
export function isEmptyPolicy(policy: RetentionPolicy): boolean {
  return policy.keepWithinMs <= 0 && RULES.every(({ count }) => count(policy) <= 0);
}

/** Verified and above suspicion: only these take a place. */
export function isGood({ verified, suspect }: RetentionBackup): boolean {
  return verified && !suspect;
}

/**
 * Which rules keep which of these backups (newest first). One that is not good is kept as if it were, but leaves the place to the next older: a day's
 * good backup must not go because a damaged one came after it.
 */
export function reasonsByRule(newestFirst: readonly RetentionBackup[], policy: RetentionPolicy): Map<string, string[]> {
  const reasons = new Map(newestFirst.map(({ id }): [string, string[]] => [id, []]));
  const dated = newestFirst.map((backup) => ({ backup, names: calendarNames(backup.timeMs, policy.timeZone) }));
  for (const { count, period, reason } of RULES) {
    const limit = count(policy);
    let kept = 0;
    let taken: string | undefined;
    for (const { backup, names } of dated) {
      const here = period(backup, names);
      if (kept >= limit) break;
      if (here === taken) continue;
      if (isGood(backup)) {
        kept += 1;
        taken = here;
        reasons.get(backup.id)!.push(reason(here, kept, limit));
      } else {
        reasons.get(backup.id)!.push(`${reason(here, kept + 1, limit)} (takes no place: ${backup.suspect ? 'suspect' : 'not verified'})`);
      }
    }
  }
  // Counted back from the newest good backup, not from now: when backups fail for a week, the week before must not expire meanwhile.
  const newest = newestFirst.find(isGood) ?? newestFirst[0];
  for (const { id, timeMs } of newestFirst) {
    if (policy.keepWithinMs > 0 && newest !== undefined && newest.timeMs - timeMs < policy.keepWithinMs)
      reasons.get(id)!.push('within the time that is kept whole');
  }
  return reasons;
}
