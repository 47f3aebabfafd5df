/** What is written beside a backup's data. Every 64-bit number that may exceed 2^53 is a decimal string; ids of members and clusters are lower-case hex without padding, as etcdctl prints them. */

/** Version of the manifest's schema; readers list newer ones as such and never prune them. */
export const MANIFEST_SCHEMA = 1;

/** A pair that tells when a revision was current: taken from a member before and after the stream. */
export interface RevisionMark {
  /** RFC 3339 UTC with milliseconds. */
  readonly time: string;
  readonly revision: string;
}

/** HashKV as members computed it. */
export interface Proof {
  /** Revision of the state that was hashed. */
  readonly revision: string;
  /** Compact revision of the members that answered, `-1` when they never compacted: the hash depends on it. */
  readonly compactRevision: string;
  readonly hash: number;
  /** Names of those that agree with the file. */
  readonly members: readonly string[];
  /** The slowest answer, ms: that member applied no writes so long. With `bytes`, what it had to read, it foretells the next one. */
  readonly tookMs?: number;
  readonly bytes?: number;
}

export interface Manifest {
  readonly schema: number;
  /** `etcd-warden <version>`. */
  readonly tool: string;
  readonly id: string;
  readonly cluster: string;
  /** Start of the backup, RFC 3339 UTC with milliseconds. */
  readonly time: string;
  readonly label?: string;
  /** Cluster id at the start and at the end of the stream, hex; `0` in one that was imported, since a snapshot does not name its cluster. */
  readonly clusterId: string;
  readonly clusterIdAtEnd: string;
  /** Random per history (16 lower-case base32 characters); a new one opens a new generation. */
  readonly lineage: string;
  /** Id of the previous backup of the same lineage, if any. */
  readonly parent?: string;
  /** Whom it was streamed from; absent in one that was imported. */
  readonly member?: {
    readonly id: string;
    readonly name: string;
    readonly endpoint: string;
    readonly role: 'leader' | 'follower' | 'learner';
  };
  readonly etcdVersion: string;
  readonly storageVersion?: string;
  readonly raftTerm: string;
  /** True revision, read from the file. */
  readonly revision: string;
  readonly compactRevision: string;
  readonly marks: readonly RevisionMark[];
  /** Plain snapshot as etcdctl writes it: database and 32-byte trailer. `databaseSha256` is the trailer. */
  readonly plain: { readonly bytes: number; readonly sha256: string; readonly databaseSha256: string };
  /** The data object as it lies in the stores. */
  readonly stored: {
    readonly bytes: number;
    readonly sha256: string;
    readonly crc32: string;
    readonly compression: 'zstd-seekable';
    readonly encryption: 'none' | 'age';
  };
  readonly keyCount?: number;
  readonly proof?: Proof;
  /** Why there is no proof; absent where there is one. */
  readonly unproved?: { readonly code: string; readonly reason: string };
  /** Members whose records differed from the file's although another one agrees with it, found again at a second revision: one of them is corrupt. */
  readonly disagreement?: { readonly members: readonly string[]; readonly reason: string };
  readonly timings: { readonly streamMs: number; readonly totalMs: number };
  /** Names of the stores it was meant for. */
  readonly stores: readonly string[];
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  /** Set when it was not streamed from a member but adopted from a file that another tool wrote. */
  readonly imported?: {
    /** Name of the file without its folder. */
    readonly name: string;
    /** Of the file as it lay there. */
    readonly sha256: string;
    readonly modified: string;
    /** Members that the file names. */
    readonly members: number;
  };
  /** Marked at intake (CORRUPT armed). */
  readonly suspect?: string;
  readonly signature?: string;
}

export type CheckKind = 'verify' | 'drill' | 'suspect' | 'hold' | 'release';

/** A later fact about a backup, an object of its own: `checks/<id>/<UTC>-<kind>-<random>.json`. The newest of its kind counts. */
export interface Check {
  readonly schema: number;
  readonly kind: CheckKind;
  readonly id: string;
  readonly time: string;
  readonly tool: string;
  /** For verify: which store was read, how deep, and what came out. */
  readonly store?: string;
  readonly level?: 'stored' | 'content' | 'proved';
  readonly outcome?: 'ok' | 'failed' | 'inconclusive';
  /** What members answered when they were asked for the proof after the backup was published. */
  readonly proof?: Proof;
  /** For drill: what was done and measured. */
  readonly drill?: DrillFigures;
  /** Place of the first fault, reason of a hold, and so on. */
  readonly reason?: string;
}

/** What the rehearsal of a restore came to. */
export interface DrillFigures {
  /** `started`: an etcd served it; `offline`: only the data directory was checked. */
  readonly level: 'started' | 'offline';
  /** From the first byte read until clients could have been let in, ms. */
  readonly recoveryMs?: number;
  readonly revision?: string;
  readonly keyCount?: number;
  /** Keys whose values were compared. */
  readonly sampled?: number;
  /** Release that was started. */
  readonly etcd?: string;
}

/**
 * A fact about a generation: `checks/generations/<UTC>-<kind>-<random>.json`; retention never deletes it.
 * `accept`: a person accepted it; `restore`: a restore announced it; `release`: an earlier one need not be protected any more.
 */
export interface Acceptance {
  readonly schema: number;
  readonly kind: 'accept' | 'restore' | 'release';
  readonly time: string;
  readonly tool: string;
  /** The lineage that is accepted (or released) from now on, and the cluster id it was seen with. */
  readonly lineage: string;
  readonly clusterId: string;
  readonly reason?: string;
  /** What a restore made; absent too when it is of a newer schema than this version reads. */
  readonly restore?: RestoreRecord;
}

/** What a restore made: src/format/restore-record.ts. */
export interface RestoreRecord {
  readonly schema: number;
  /** `etcd-warden <version>`. */
  readonly tool: string;
  /** RFC 3339 UTC with milliseconds. */
  readonly time: string;
  readonly source: {
    /** Backup id; absent for a file. */
    readonly backup?: string;
    /** Cluster name and lineage of that backup. */
    readonly cluster?: string;
    readonly lineage?: string;
    /** SHA-256 of the plain database without trailer, hex. */
    readonly databaseSha256: string;
  };
  readonly attempt: number;
  readonly token: string;
  /** Hex. */
  readonly clusterId: string;
  readonly members: readonly { readonly id: string; readonly name: string; readonly peerUrls: readonly string[] }[];
  /** What every member must answer: revision, compact revision (`-1` when never compacted) and HashKV at both. */
  readonly revision: string;
  readonly compactRevision: string;
  readonly hash: number;
  readonly keyCount: number;
  /** Set when revisions were raised: the one that the snapshot had. */
  readonly raisedFrom?: string;
  /** Only some of the keys, or an older revision, were restored. */
  readonly filtered?: true;
  readonly builder: 'native' | 'etcdutl';
  /** Release that it was built for, `3.6`. */
  readonly etcd: string;
}
