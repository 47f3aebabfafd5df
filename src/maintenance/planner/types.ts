/**
 * What the planner is told and what it answers: plain objects. Nothing here is remembered that can be observed; after each action all of it is
 * observed again. Ids are lower-case hex, times are ms since 1970, sizes bytes, revisions and raft indexes bigint.
 */

/** How full a member may become before etcd arms NOSPACE. */
export interface Quota {
  /** Undefined = the member has none (a negative --quota-backend-bytes). */
  readonly bytes: number | undefined;
  /** Status.dbSizeQuota (3.6.6+), the member's own metrics, the configuration, or etcd's default of 2 GiB. */
  readonly source: 'status' | 'metrics' | 'configured' | 'default';
}

/** What a member's /metrics add to its Status. Each is undefined where this release does not have it. */
export interface MemberGauges {
  /** Calls of Snapshot that it is answering, whoever asked; where calls are not counted, read transactions beyond the one that every etcd keeps open. */
  readonly snapshotStreams: number | undefined;
  /** Calls of HashKV and Hash that it is answering, whoever asked: it applies nothing meanwhile. */
  readonly hashCalls: number | undefined;
  readonly defragInflight: boolean | undefined;
  /** A database is being sent to, or applied from, another member. */
  readonly raftSnapshotInflight: boolean | undefined;
  /** When the member's process was started, by its own clock. */
  readonly startedMs: number | undefined;
}

export interface MemberState {
  readonly id: string;
  /** The id where it has none. */
  readonly name: string;
  /** Where it answers; empty when it does not. */
  readonly endpoint: string;
  readonly voter: boolean;
  readonly reachable: boolean;
  /** Why it could not be asked, or why its linearizable read failed. */
  readonly error: string | undefined;
  /** Not reachable, but connections to it come about: it may be frozen, and is not known to be dead. */
  readonly silent: boolean;
  /** Empty when it is not reachable. */
  readonly version: string;
  readonly storageVersion: string | undefined;
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  readonly quota: Quota;
  /** Id of the leader that it names; empty when it knows none. */
  readonly leader: string;
  readonly raftIndex: bigint;
  readonly raftAppliedIndex: bigint;
  readonly raftTerm: bigint;
  readonly revision: bigint;
  /** Milliseconds of a linearizable read through it; undefined when it failed, and for learners. */
  readonly readMs: number | undefined;
  /** Undefined when they could not be read: then what they would tell could not be checked. */
  readonly gauges: MemberGauges | undefined;
  /** Why not. */
  readonly gaugesError: string | undefined;
  /** Bytes in use still fall from one look to the next: a compaction has not finished here. */
  readonly compacting: boolean;
  /** Bytes that it defragments in a second, as far as is known, and whether it was seen or guessed. */
  readonly rate: { readonly bytesPerSecond: number; readonly learned: boolean };
}

export interface AlarmState {
  readonly type: 'NOSPACE' | 'CORRUPT';
  /** `0` when etcd names nobody, as CORRUPT may. */
  readonly memberId: string;
}

/** One finished attempt to defragment a member. */
export interface PastDefrag {
  readonly atMs: number;
  readonly tookMs: number;
  readonly beforeBytes: number;
  readonly afterBytes: number;
  /** In use before: what had to be copied. */
  readonly inUseBytes: number;
  /** Bytes per second of this one and of those before it, newest first and as many as are remembered; without those that were too small to tell. */
  readonly rates?: readonly number[];
}

/** What was done to the cluster before, by whomever; see src/maintenance/record. */
export interface Past {
  readonly compaction: { readonly atMs: number; readonly revision: bigint } | undefined;
  /** By member id: the last that succeeded. */
  readonly defrags: Readonly<Record<string, PastDefrag>>;
  /** When NOSPACE was last disarmed after a cure (orphans do not count). */
  readonly disarmedMs: number | undefined;
  /** The last round that ended by a surprise, and how many have in a row. */
  readonly failure: { readonly atMs: number; readonly count: number; readonly rule: string; readonly reason: string } | undefined;
}

/** History to keep: so many revisions, or everything since so many ms ago. */
export type Keep = { readonly revisions: number } | { readonly ms: number };

/** The cluster had this revision at that time. */
export interface RevisionMark {
  readonly timeMs: number;
  readonly revision: bigint;
}

export interface ClusterState {
  readonly nowMs: number;
  readonly clusterId: string;
  /** Everybody in the member list, the unreachable ones too; and whoever answers without being in it. */
  readonly members: readonly MemberState[];
  readonly alarms: readonly AlarmState[];
  /** Newest that any member has. */
  readonly revision: bigint;
  /** Undefined when it could not be learned. */
  readonly compactRevision: bigint | undefined;
  /** Kubernetes compacts by itself: its key compact_rev_key exists. */
  readonly kubernetes: boolean;
  /** Oldest first; empty = no time can be told from a revision. */
  readonly marks: readonly RevisionMark[];
  /** What runs of ours now, on this cluster: `snapshot of m1`, `HashKV of m2`. */
  readonly ownReads: readonly string[];
  /** Members that were found to have different data, and why that is known. */
  readonly disagreement: { readonly members: readonly string[]; readonly reason: string } | undefined;
  /** The time in which freezes longer than maxFreeze are allowed; configured = routine defragmentation happens in it alone. */
  readonly window: { readonly configured: boolean; readonly open: boolean; readonly nextMs: number | undefined };
  /**
   * `held`: by us. `without`: none can be had (NOSPACE refuses leases; coordination is off) and nobody else holds it or is elected, or we are the elected one.
   * `elsewhere`: somebody else holds it, or is elected while none can be had. `unasked`: a dry run or `status` takes none.
   */
  readonly lock: {
    readonly state: 'held' | 'without' | 'elsewhere' | 'unasked';
    readonly detail: string | undefined;
    readonly elected: boolean;
  };
  readonly past: Past;
}

export interface Policy {
  /** `auto`: unless Kubernetes does it, or etcd itself was seen to. */
  readonly compaction: 'auto' | 'on' | 'off';
  /** Of a routine compaction. */
  readonly keep: Keep;
  /** Of the compaction that cures NOSPACE: the newest revisions, or the time if that is known; whichever is less history. */
  readonly emergencyKeep: { readonly revisions: number; readonly ms: number };
  /** A member is near its quota at this share of it, 0 to 1. */
  readonly quotaShare: number;
  /** Too much of it is free at this share of its size, 0 to 1, and at least so many bytes. */
  readonly freeShare: number;
  readonly minFree: number;
  /** Nothing is defragmented for less, whatever the reason, unless asked by hand. */
  readonly minGain: number;
  /** Between two defragmentations of a member. */
  readonly cooldownMs: number;
  /** The longest predicted freeze outside of a window. */
  readonly maxFreezeMs: number;
  readonly allowSingleMember: boolean;
  readonly allowHazardousVersions: boolean;
  /** After a member's start, where #20271 is not fixed. */
  readonly restartQuietMs: number;
  /** Raft entries that a voter may be behind. */
  readonly maxLag: bigint;
  /** Between two disarmings. */
  readonly disarmEveryMs: number;
}

/** What is wanted. `since` is the start of the round: what was done after it is done. */
export type Wish =
  /** What the daemon does by itself: whatever a threshold asks for. */
  | { readonly kind: 'routine'; readonly since: number }
  /** By hand: these members (ids), or all voters, whatever the thresholds; with NOSPACE armed and all of them: the whole cure. */
  | {
      readonly kind: 'defrag';
      readonly since: number;
      readonly members: 'all' | readonly string[];
      /** Only those that a threshold names: `defrag` without --all and --member. */
      readonly worthwhile: boolean;
      /** Under NOSPACE with a member down. */
      readonly degraded: boolean;
      /** Confirmed: one or two voters may be frozen, maxFreeze and window do not count. */
      readonly yes: boolean;
    }
  | { readonly kind: 'compact'; readonly since: number; readonly keep: Keep; readonly yes: boolean }
  | { readonly kind: 'disarm'; readonly since: number; readonly yes: boolean };

export type Action =
  | { readonly kind: 'compact'; /** Decimal, so that a plan is plain JSON. */ readonly revision: string; readonly why: string }
  /** A compaction runs on: nothing but to look again. */
  | { readonly kind: 'await-compaction'; readonly members: readonly string[] }
  | { readonly kind: 'move-leader'; readonly from: string; readonly to: string; readonly why: string }
  | {
      readonly kind: 'defrag';
      readonly member: string;
      readonly why: string;
      /** It answers nothing for this long, as far as can be told. */
      readonly predictedMs: number;
      /** What it should give back. */
      readonly gainBytes: number;
      /** The leader, because no other voter could lead. */
      readonly leads: boolean;
    }
  | { readonly kind: 'disarm'; readonly members: readonly string[]; readonly orphans: boolean; readonly why: string };

/**
 * The rules of the planner, by stable names; each names the hazard that it answers. They are labels of metrics and keys of docs/maintenance.md.
 */
export const RULES = {
  'corrupt-alarm': 'CORRUPT is armed: nothing is done until a person has looked (H12)',
  'members-disagree': 'members have different data (H12)',
  'lock-elsewhere': 'another process holds the lock, or is elected while no lock can be had (H25)',
  'own-read': 'a snapshot or a HashKV of ours runs (H5, H24)',
  'foreign-snapshot': 'somebody streams a snapshot from a member (H5)',
  'foreign-hash': 'somebody asks a member for its hash (H24, H27)',
  'defrag-inflight': 'a member is being defragmented already (H2, H4)',
  'no-quorum': 'there is no leader (H4)',
  'leader-unclear': 'members name different leaders or terms (H4)',
  'member-down': 'a member does not answer (H4, H26)',
  'member-slow': 'a voter does not answer a linearizable read (H4, H13)',
  'member-lagging': 'a voter is behind in raft (H4, H9)',
  'learner-catching-up': 'there is a learner (H9, H13)',
  'raft-snapshot': 'a database is being sent from member to member (H9, #20271)',
  'restarted-lately': 'a member was started a moment ago and its etcd has #20271 (H9)',
  'version-hazard': 'a release of etcd on which this damages data (H9)',
  'version-unchecked': 'an etcd with #20271 whose metrics cannot be read (H9)',
  'quorum-at-risk': 'a frozen member would take the majority away (H4, H26)',
  'single-member': 'one or two voters: freezing one stops the cluster (H4, H26)',
  'leader-stays': 'the leader could not hand over (H1)',
  'freeze-too-long': 'the predicted freeze is longer than maxFreeze (H27)',
  'outside-window': 'routine work waits for the maintenance window (H27)',
  compacting: 'a compaction has not finished (H11)',
  cooldown: 'it was done a short time ago (H8, H12)',
  'backing-off': 'the last round ended by a surprise',
  'nothing-to-gain': 'too little would be gained (H8)',
  'not-needed': 'no threshold is crossed',
  'kubernetes-compacts': 'Kubernetes compacts by itself (H10)',
  'etcd-compacts': 'etcd compacts by itself (H10)',
  'compaction-off': 'routine compaction is switched off',
  'no-time-known': 'no time can be told from a revision (H10)',
  'keeps-everything': 'there is no history beyond what is kept (H10)',
  'compact-revision-unknown': 'what was compacted before cannot be learned (H10)',
  'above-threshold': 'a member is still too full to disarm (H12)',
  'disarm-too-soon': 'NOSPACE was disarmed less than an hour ago (H12)',
  'not-armed': 'no NOSPACE alarm is armed',
  learner: 'etcd refuses to defragment a learner (H13)',
  'unknown-member': 'there is no such member',
  done: 'everything that was asked for is done',
} as const;

export type Rule = keyof typeof RULES;

/** Why something is not done. */
export interface Refusal {
  readonly rule: Rule;
  /** Name of the member that it is about; undefined = the cluster. */
  readonly member: string | undefined;
  /** One sentence with the values that matter. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** One gate with its verdict, for --dry-run and the log. */
export interface Gate {
  readonly rule: Rule;
  readonly member: string | undefined;
  /** `unchecked`: it could not be checked (no metrics) and was passed. */
  readonly verdict: 'passed' | 'refused' | 'warned' | 'unchecked' | 'overridden';
  readonly message: string;
}

/** One step that would follow if all goes well, for --dry-run and `status`. */
export interface PlannedStep {
  readonly action: Action;
  readonly predictedMs: number | undefined;
}

export interface Plan {
  /** The one thing to do now; undefined = nothing. */
  readonly action: Action | undefined;
  /** With an action: what is left out and why. Without: why nothing is done; never empty then. */
  readonly refusals: readonly Refusal[];
  /** Everything that was asked for, and is worth it, is done: the round ends well. */
  readonly complete: boolean;
  /** NOSPACE is armed (not only an orphan). */
  readonly noSpace: boolean;
  readonly gates: readonly Gate[];
  /** The whole round as far as can be foreseen, the first action included. */
  readonly steps: readonly PlannedStep[];
  /** When the reasons may have gone by themselves (cooldown, window, backoff); undefined = when something changes. */
  readonly againMs: number | undefined;
}
