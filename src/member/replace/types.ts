/** What the parts of a replacement tell each other. Ids are bigint inside, lower-case hex without padding where printed. */
import type { Alarm } from '../../etcd/types.ts';

/** One entry of the majority's member list, and what answers there. */
export interface SeenMember {
  readonly id: bigint;
  /** Empty while it has not started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly learner: boolean;
  readonly started: boolean;
  /** It answers Status, as this member of this cluster. */
  readonly reachable: boolean;
  /** A voter that answers a linearizable read; a learner, which answers none, that is reachable and knows a leader. */
  readonly answers: boolean;
  readonly leads: boolean;
  /** Raft entries that it has not applied; undefined when it does not say. */
  readonly lag: bigint | undefined;
  readonly version: string | undefined;
  /** Bytes; a hash takes time with it. */
  readonly dbSize: number | undefined;
  /** Where it answers, or would. */
  readonly endpoint: string | undefined;
  /** Why it does not answer. */
  readonly error: string | undefined;
}

/** An address of the list, or of the member in question, at which another cluster answers. Nothing that changes anything is ever sent there. */
export interface Stray {
  readonly endpoint: string;
  readonly clusterId: bigint;
  readonly memberId: bigint;
}

/** The cluster of the majority. */
export interface ClusterSight {
  readonly clusterId: bigint;
  /** Some voter knows a leader. */
  readonly quorum: boolean;
  readonly members: readonly SeenMember[];
  readonly strays: readonly Stray[];
  readonly alarms: readonly Alarm[];
}

/** Who a data directory belongs to, by the first record of its write-ahead log. */
export type Identity =
  | { readonly kind: 'known'; readonly memberId: bigint; readonly clusterId: bigint }
  /** No log, or one whose beginning cannot be read. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** The data directory, when it is on this machine. */
export interface DataSight {
  readonly dataDir: string;
  readonly walDir: string | undefined;
  /** Whether there is such a directory at all. */
  readonly exists: boolean;
  /** `none`: neither `member` nor a log is in it, so that etcd would start anew there. */
  readonly data: 'none' | 'present';
  readonly identity: Identity | undefined;
  /** A process holds the lock of the database. */
  readonly inUse: boolean;
  /** What is wrong with the files themselves, as far as a look tells. */
  readonly damage: readonly string[];
}

/** What of the process can be seen from here. */
export interface ProcessSight {
  /** Of the addresses for other members: `open` = somebody takes connections, `silent` = refused, `unknown` = no answer either way. */
  readonly peerPort: 'open' | 'silent' | 'unknown';
  /** Of the unit or static pod that was named: whether it is to run. */
  readonly managed: 'running' | 'stopped' | undefined;
}

/** What outlives an interruption: after the removal nothing in the cluster tells who the member was. */
export interface ReplaceNote {
  readonly name: string;
  readonly clusterId: bigint;
  /** The id that is removed. */
  readonly oldId: bigint;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** It was a learner, and stays one. */
  readonly learner: boolean;
  /** RFC 3339. */
  readonly since: string;
}

/** Everything that the next step is derived from, seen anew before each. */
export interface ReplaceState {
  /** The name that was given. */
  readonly name: string;
  readonly cluster: ClusterSight;
  readonly note: ReplaceNote | undefined;
  /** Given by hand, where neither list nor note tells them. */
  readonly peerUrls: readonly string[] | undefined;
  readonly data: DataSight | undefined;
  readonly process: ProcessSight;
  /** Somebody said that the old data is out of the way, where it cannot be seen. */
  readonly dataMoved: boolean;
  /** All members had one hash at one revision, after everything else. */
  readonly checked: boolean;
}

export type Step =
  | { readonly kind: 'move-leader'; readonly from: SeenMember; readonly to: SeenMember }
  | { readonly kind: 'remove'; readonly member: SeenMember }
  /** Somebody still runs there. */
  | { readonly kind: 'stop' }
  /** Data of another life is in the directory. */
  | { readonly kind: 'move-data' }
  | { readonly kind: 'add'; readonly peerUrls: readonly string[]; readonly as: 'learner' | 'voter'; readonly why: string }
  | { readonly kind: 'start'; readonly member: SeenMember }
  | { readonly kind: 'catch-up'; readonly member: SeenMember }
  | { readonly kind: 'promote'; readonly member: SeenMember }
  | { readonly kind: 'check'; readonly member: SeenMember }
  | { readonly kind: 'done'; readonly member: SeenMember };

export type StepKind = Step['kind'];

/** Why the member counts as broken. */
export interface Symptom {
  readonly code:
    | 'down'
    | 'other-cluster'
    | 'not-answering'
    | 'corrupt'
    | 'disk-gone'
    | 'cluster-id-mismatch'
    | 'snapshot-db'
    | 'damaged-wal'
    | 'damaged-db'
    | 'removed'
    | 'different-data';
  readonly message: string;
}
