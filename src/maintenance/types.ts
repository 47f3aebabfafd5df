/** What the parts of maintenance hand to each other, besides the planner's own types. */
import type { Logger } from '../telemetry/logger.ts';
import type { Action, ClusterState, Plan, Quota, RevisionMark } from './planner/types.ts';

/** Where a member's /metrics are, and how to get at them. */
export interface MetricsAccess {
  /** With `{host}` for the host of the member's client address; undefined = the client address itself. */
  readonly urlTemplate: string | undefined;
  /** For https; undefined = as the client address. */
  readonly tls:
    | {
        readonly caFile: string | undefined;
        readonly certFile: string | undefined;
        readonly keyFile: string | undefined;
        readonly insecureSkipVerify: boolean;
      }
    | undefined;
}

/** Everything that one look at the cluster tells, the planner's state among it. */
export interface Sight {
  readonly state: ClusterState;
  /** Things worth a warning, as in ClusterView. */
  readonly notes: readonly string[];
}

/** What a running round tells while it works. */
export interface RoundEvents {
  readonly logger: Logger;
  /** Steps: `compact`, `settle`, `move-leader`, `defrag`, `disarm`, `look`. */
  readonly progress: (event: {
    readonly step: string;
    readonly message: string;
    readonly subject?: string;
    readonly overdue?: boolean;
    readonly finished?: boolean;
  }) => void;
}

/** One action that was carried out. */
export interface ActionResult {
  readonly action: Action['kind'];
  /** Name of the member that it was about, where there is one. */
  readonly member: string | undefined;
  readonly tookMs: number;
  /** Of a defragmentation. */
  readonly beforeBytes?: number;
  readonly afterBytes?: number;
  readonly predictedMs?: number;
  /** It took longer than a minute and than three times what was predicted. */
  readonly overdue?: boolean;
  /** Of a compaction. */
  readonly revision?: string;
  readonly message: string;
}

export type LastDone = Readonly<Partial<Record<'compact' | 'defrag' | 'disarm', number>>>;

export interface RoundResult {
  readonly cluster: string;
  /** `done`: everything that was wanted. `nothing`: no action was due. `refused`: stopped by a rule. `failed`: a surprise ended the round. */
  readonly outcome: 'done' | 'nothing' | 'refused' | 'failed';
  readonly actions: readonly ActionResult[];
  /** The last plan that was made. */
  readonly plan: Plan;
  /** When each was last done to the cluster, by this process or another of ours, ms since 1970, as the record has it. */
  readonly last?: LastDone;
  /** Set when `failed`. */
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined;
}

/** What the daemon sampled lately; kept in the state folder, a cache. */
export interface Samples {
  /** Hex; empty while there are none. Of another cluster than the one that answers they say nothing. */
  readonly clusterId: string;
  /** Oldest first, one every few minutes, at most a day or two of them. */
  readonly marks: readonly RevisionMark[];
  readonly sizes: readonly {
    readonly timeMs: number;
    readonly member: string;
    readonly dbSize: number;
    readonly dbSizeInUse: number;
    readonly quota: Quota;
  }[];
}
