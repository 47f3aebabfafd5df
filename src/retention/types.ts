/** The retention policy's input and output: plain data, no clock. */

export interface RetentionPolicy {
  readonly keepLast: number;
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  readonly keepYearly: number;
  /** Milliseconds; everything this close to the newest verified backup is kept. 0 = rule not set. */
  readonly keepWithinMs: number;
  /** IANA time zone in which hours, days, weeks (ISO), months and years begin. */
  readonly timeZone: string;
  /** At most this many removals in one run. */
  readonly maxRemovals: number;
}

/** One backup as the policy sees it, on one store. */
export interface RetentionBackup {
  readonly id: string;
  /** Milliseconds since 1970, from the id. */
  readonly timeMs: number;
  readonly lineage: string;
  /** Counts as verified on this store (see design.md, "Verification has levels"). */
  readonly verified: boolean;
  readonly suspect: boolean;
}

export interface Pin {
  readonly id: string;
  readonly reason: string;
}

export interface RetentionInput {
  readonly backups: readonly RetentionBackup[];
  readonly pins: readonly Pin[];
  readonly policy: RetentionPolicy;
  readonly nowMs: number;
  /** Lineages in order of age; `accepted` false = nothing is pruned across it. The last one is the current. */
  readonly generations: readonly { readonly lineage: string; readonly accepted: boolean; readonly released: boolean }[];
}

export interface RetentionVerdict {
  readonly id: string;
  readonly action: 'keep' | 'remove';
  /** At least one; rules in words such as `last 3 of 7`, `daily 2026-11-22`, `held: before upgrade`, `the last verified backup`. */
  readonly reasons: readonly string[];
}
