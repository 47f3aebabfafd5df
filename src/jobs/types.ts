import type { Config } from '../config/types.ts';
import type { ErrorDetails } from '../errors.ts';
import type { Manifest } from '../format/types.ts';
import type { Logger } from '../telemetry/logger.ts';

/** What every job gets. A job is one verb's work: it can run in this process or in a child of the daemon. */
export interface JobContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Steps and bytes, at most a few a second; for terminals, log lines, the watchdog. */
  readonly progress: (event: ProgressEvent) => void;
  /** The clock; tests set it. */
  readonly now: () => Date;
}

export interface ProgressEvent {
  /** Stable: `choose`, `stream`, `upload`, `check`, `prove`, `publish`, `index`, `list`, `read`, `prune`, `copy`; of restores `build`, `drill`; of maintenance `look`, `compact`, `settle`, `move-leader`, `defrag`, `disarm`; of membership `add`, `join`, `promote`, `remove`, `hash`, `wait`. */
  readonly step: string;
  /** One sentence for people. */
  readonly message?: string;
  /** Bytes done and, when known, in all. */
  readonly bytes?: number;
  readonly totalBytes?: number;
  /** Which store or member this is about. */
  readonly subject?: string;
  /** It takes far longer than it should: nothing else is begun before it ends. */
  readonly overdue?: boolean;
  /** The step is done, and the message tells what came of it: worth a line that stays. */
  readonly finished?: boolean;
}

export interface BackupRequest {
  readonly cluster: string;
  readonly label?: string | undefined;
  readonly prune: boolean;
  /** One-shot runs: accept another cluster id or a history that moved back as the next generation. */
  readonly acceptCluster: boolean;
  /** The daemon opens a new generation by itself and alarms; the one-shot command refuses. */
  readonly onNewGeneration: 'refuse' | 'open';
  /** The slot this run is for (RFC 3339), when a schedule started it: a slot that another daemon has served is skipped. */
  readonly slot?: string | undefined;
  /**
   * When the key index is built: before the job ends unless told, or by an `index` job afterwards; `apart`: afterwards only where a large backup lies on this
   * machine, because both in one process take their memory together. What that could not do for want of an identity is done at once all the same.
   */
  readonly index?: 'now' | 'later' | 'apart' | undefined;
}

export interface StoreResult {
  readonly store: string;
  readonly outcome: 'stored' | 'failed';
  readonly error?: ErrorDetails;
}

export interface BackupResult {
  readonly outcome: 'complete' | 'partial' | 'skipped';
  readonly id: string;
  readonly cluster: string;
  readonly revision: string;
  readonly compactRevision: string;
  readonly plainBytes: number;
  readonly storedBytes: number;
  readonly durationMs: number;
  readonly member: string;
  readonly role: string;
  readonly stores: readonly StoreResult[];
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  readonly suspect?: string;
  readonly keyCount?: number;
  /** As in the manifest: what a member confirmed, or why none did; and who has other data than those. */
  readonly proof?: NonNullable<Manifest['proof']>;
  readonly unproved?: NonNullable<Manifest['unproved']>;
  readonly disagreement?: NonNullable<Manifest['disagreement']>;
  /** How long members applied no writes for the proof: foretold, and the longest answer that came. */
  readonly stall?: { readonly predictedMs: number; readonly longestMs?: number };
  /** `accepted`: by the record of a restore, or by the caller. */
  readonly newGeneration?: { readonly lineage: string; readonly reason: string; readonly accepted: boolean };
}

/** What a daemon learns about a cluster's backups from a child, so that it opens no store itself. Times are ms since 1970. */
export interface SurveyResult {
  readonly backups: { readonly complete: number; readonly partial: number; readonly damaged: number };
  /** The newest that any store lists whole, complete or partial: it serves the slots before it. */
  readonly newest: SurveyedBackup | undefined;
  /** The newest that all intended stores hold whole and verified. */
  readonly newestComplete: SurveyedBackup | undefined;
  readonly stores: readonly {
    readonly store: string;
    readonly newestVerifiedMs: number | undefined;
    /** Backups meant for this store that it does not hold whole. */
    readonly missing: number;
    /** Set when the store could not be listed. */
    readonly error?: { readonly code: string; readonly message: string } | undefined;
  }[];
  readonly verification: VerificationSurvey;
  /** One for each store. */
  readonly drills: readonly DrillSurvey[];
  /** The newest generation, when nobody has accepted it. */
  readonly unaccepted: { readonly lineage: string; readonly clusterId: string } | undefined;
  readonly proof: {
    /** Of the newest backup that members confirmed. */
    readonly newestProvedMs: number | undefined;
    /** Backups of this cluster without proof that members may still be asked for, newest first, and why they have none. */
    readonly wanting: readonly { readonly id: string; readonly code: string }[];
    /** While members disagree. */
    readonly disagreement: { readonly members: readonly string[]; readonly reason: string } | undefined;
  };
}

/** One copy that is to be read again. */
export interface DueVerification {
  readonly id: string;
  readonly store: string;
}

/** How the stored backups were looked at lately. */
export interface VerificationSurvey {
  /** The newest of each store, then those that were not looked at for longest. */
  readonly due: readonly DueVerification[];
  /** When a backup on each store was last found sound, by level (a deeper look counts for the others). */
  readonly sound: readonly { readonly store: string; readonly level: 'stored' | 'content' | 'proved'; readonly atMs: number }[];
  /** When the least lately looked at of the stores was looked at; undefined when one never was. */
  readonly lastMs: number | undefined;
  /** Newest backups of a store whose check failed. */
  readonly failed: readonly { readonly id: string; readonly store: string; readonly reason: string }[];
}

/** How restores of one store's backups were rehearsed. */
export interface DrillSurvey {
  readonly store: string;
  /** The oldest backup of this cluster there: from then on there was something to rehearse. */
  readonly firstMs: number | undefined;
  /** The newest whose backup is still there, whatever came of it. */
  readonly last: SurveyedDrill | undefined;
  /** The newest of those that went well. */
  readonly sound: SurveyedDrill | undefined;
  /** The newest of those that failed: it stands while none went well after it. */
  readonly failed: SurveyedDrill | undefined;
}

export interface SurveyedDrill {
  readonly atMs: number;
  readonly id?: string | undefined;
  readonly outcome: DrillLine['outcome'];
  readonly level?: DrillLine['level'];
  readonly reason?: string | undefined;
  readonly recoveryMs?: number | undefined;
  readonly keyCount?: number | undefined;
  readonly sampled?: number | undefined;
  readonly etcd?: string | undefined;
}

/** What came of asking for proofs that were not to be had before. */
export interface ProveResult {
  readonly cluster: string;
  readonly lines: readonly {
    readonly id: string;
    readonly outcome: 'proved' | 'suspect' | 'waiting';
    /** Why there is no proof yet; `revision-compacted` = and never will be. */
    readonly code?: string;
    readonly reason?: string;
    readonly proof?: NonNullable<Manifest['proof']>;
    readonly disagreement?: NonNullable<Manifest['disagreement']>;
  }[];
}

export interface SurveyedBackup {
  readonly id: string;
  readonly timeMs: number;
  readonly revision: string;
  readonly plainBytes: number;
  readonly storedBytes: number;
  readonly suspect: string | undefined;
}

/**
 * One round of maintenance: look, plan, act, and look again, until nothing is left or a rule says no. Members are names or ids, checked against the
 * cluster when the round begins.
 */
export interface MaintainRequest {
  readonly cluster: string;
  readonly wish:
    | { readonly kind: 'routine' }
    | {
        readonly kind: 'defrag';
        readonly members: 'all' | readonly string[];
        /** Only what a threshold names. */
        readonly worthwhile: boolean;
        readonly degraded: boolean;
        readonly yes: boolean;
      }
    /** Without `keep`: as the configuration says. */
    | { readonly kind: 'compact'; readonly keep?: { readonly revisions: number } | { readonly ms: number }; readonly yes: boolean }
    | { readonly kind: 'disarm'; readonly yes: boolean };
  /** Asked by the daemon that is elected for this cluster and keeps its lease alive: it may act while NOSPACE lets nobody take the lock. */
  readonly elected: boolean;
}

/** What the rehearsal of one store came to. */
export interface DrillLine {
  readonly store: string;
  /** The backup; absent when the store holds none that can be restored. */
  readonly id?: string;
  /** `failed`: the restore did not hold what the backup promises; `inconclusive`: it could not be rehearsed, which says nothing about the backup and counts as not done. */
  readonly outcome: 'ok' | 'failed' | 'inconclusive';
  /** `started`: an etcd served it; `offline`: only the data directory was checked, for want of an etcd. Absent when it did not come so far. */
  readonly level?: 'started' | 'offline';
  readonly reason?: string;
  /** Of the error that ended it (docs/errors.md). */
  readonly code?: ErrorDetails['code'];
  /** From the first byte read until clients could have been let in, ms. */
  readonly recoveryMs?: number;
  readonly revision?: string;
  readonly keyCount?: number;
  /** Keys whose values were compared. */
  readonly sampled?: number;
  /** Release that was started. */
  readonly etcd?: string;
}

export interface DrillRequest {
  readonly cluster: string;
  /** Names; all of the cluster when absent. */
  readonly stores?: readonly string[];
  /** Instead of the newest backup of each store. */
  readonly id?: string;
}

/** Requests that a child process of the daemon can carry out: the verb's name and its request. */
export type JobRequest =
  | { readonly verb: 'backup'; readonly request: BackupRequest }
  | { readonly verb: 'prune'; readonly request: { readonly cluster: string; readonly dryRun: boolean } }
  | { readonly verb: 'copy'; readonly request: { readonly cluster: string; readonly missing: true } }
  | { readonly verb: 'survey'; readonly request: { readonly cluster: string } }
  | { readonly verb: 'prove'; readonly request: { readonly cluster: string } }
  | { readonly verb: 'index'; readonly request: { readonly cluster: string } }
  | { readonly verb: 'sweep'; readonly request: { readonly cluster: string } }
  | { readonly verb: 'maintain'; readonly request: MaintainRequest }
  | { readonly verb: 'drill'; readonly request: DrillRequest }
  | {
      readonly verb: 'verify';
      readonly request: {
        readonly cluster: string;
        readonly which: 'latest' | 'all' | readonly string[];
        readonly level: 'stored' | 'content' | 'proved';
        /** On this store only. */
        readonly store?: string;
      };
    };

/** Sent by a child over IPC. */
export type ChildMessage =
  | { readonly type: 'progress'; readonly event: ProgressEvent }
  | {
      readonly type: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    }
  | { readonly type: 'result'; readonly result: unknown }
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly hint?: string | undefined };

/** Sent by the daemon to the child: first the job, later perhaps `stop`. The configuration is what `packConfig` makes: secrets included, so it travels over IPC only. */
export type ParentMessage =
  | {
      readonly type: 'start';
      readonly job: JobRequest;
      readonly configuration: string;
      readonly environment: Readonly<Record<string, string>>;
    }
  | { readonly type: 'stop' };
