/** What the parts of a restore tell each other. Ids of members and clusters are 64-bit: bigint inside, lower-case hex without padding where printed. */
import type { Backup } from '../catalog/types.ts';
import type { Proof } from '../format/types.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Releases whose data directories can be built, as `major.minor`. */
export const ETCD_MINORS = ['3.4', '3.5', '3.6', '3.7'] as const;
export type EtcdMinor = (typeof ETCD_MINORS)[number];

/** Where etcd runs, as far as a restore cares: it decides the steps around it. */
export const PLATFORMS = ['systemd', 'kubeadm', 'rke2', 'k3s', 'plain'] as const;
export type Platform = (typeof PLATFORMS)[number];

/** A member of the cluster that a restore makes. */
export interface NewMember {
  readonly name: string;
  /** In the order of their bytes, as etcd sorts them for the id. */
  readonly peerUrls: readonly string[];
  readonly id: bigint;
}

/** The cluster that a restore makes: everything of it that is decided before a byte is read. */
export interface NewCluster {
  readonly token: string;
  readonly clusterId: bigint;
  /** Ascending by id, as etcd numbers them. All are voters. */
  readonly members: readonly NewMember[];
}

/** What of a backup goes into the database. */
export interface Content {
  /** An older revision that the backup still holds; undefined = its newest. */
  readonly revision: bigint | undefined;
  /** Only keys that begin with one of these; all when empty. */
  readonly only: readonly Buffer[];
  /** No key that begins with one of these. */
  readonly without: readonly Buffer[];
  /** Write a new, dense database although nothing has to be left out. */
  readonly defragmented: boolean;
  /** `auto`: revisions are raised where the backup holds keys of Kubernetes, whose clients cache them. */
  readonly bump: 'auto' | 'none' | { readonly by: bigint };
}

/** Takes the plain bytes of the database (without trailer) in file order. */
export interface DatabaseSink {
  /** How many further blocks it takes before it is done with the first; none when absent. */
  readonly ahead?: number | undefined;
  /** The bytes may be used again when it resolves. */
  write(block: Buffer): void | Promise<void>;
  /** Forgets what was written: the copy was bad and another one is read from its beginning. */
  restart(): Promise<void>;
}

/** A snapshot that can be restored: a backup in stores, or a plain file in any wrapping. */
export interface RestoreSource {
  /** For people: the backup's id, or the path as it was typed. */
  readonly name: string;
  readonly backup: Backup | undefined;
  /** What the token is derived from: the backup's id, or the SHA-256 of a file's database in hex. */
  readonly identity: string;
  /** About how many bytes the database has. */
  readonly databaseBytes: number;
  /** What members answered for its content. */
  readonly proof: Proof | undefined;
  /** Its bytes are secret enough to be encrypted where they are stored. */
  readonly encrypted: boolean;
  /** Whether a look at a few of its records met keys of Kubernetes; undefined = nobody looked. Only the whole reading knows for certain. */
  readonly kubernetes: boolean | undefined;
  /**
   * Reads it once, and compares length and SHA-256 with the manifest or the trailer; passes a bad copy over for the next. What was written counts only when it resolves.
   * @throws WardenError `verification-failed`, `snapshot-hash-mismatch`, `key-missing`, and why the last copy could not be read
   */
  pour(sink: DatabaseSink, signal: AbortSignal): Promise<Poured>;
  close(): Promise<void>;
}

export interface Poured {
  readonly databaseBytes: number;
  /** Hex. */
  readonly databaseSha256: string;
  /** Whether anything told what the SHA-256 should be: a copy of member/snap/db has no trailer. */
  readonly compared: boolean;
  /** Name of the store it came from. */
  readonly store: string | undefined;
}

export type Builder = 'native' | 'etcdutl';

/** What a database holds whose building is done, computed from its own bytes. */
export interface BuiltDatabase {
  readonly source: Poured;
  readonly bytes: number;
  /** As a started member answers. */
  readonly revision: bigint;
  /** -1n when nothing was ever compacted. */
  readonly compactRevision: bigint;
  /** HashKV at these two. */
  readonly hash: number;
  /** Keys that live at the revision. */
  readonly keyCount: number;
  /** The revision that the snapshot had, when it was raised. */
  readonly raisedFrom: bigint | undefined;
  /** Keys of Kubernetes are among its keys. */
  readonly kubernetes: boolean;
  /** NOSPACE and CORRUPT alarms that were left out. */
  readonly droppedAlarms: number;
  /** Keys bound to a lease that the database does not hold: they never expire. Counted only where records were left out by revision. */
  readonly orphanedLeases: number;
  readonly builder: Builder;
}

/** A data directory to be made. */
export interface BuildTarget {
  /** Name of the member in the new cluster. */
  readonly member: string;
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute; undefined = `member/wal` in the data directory. */
  readonly walDir: string | undefined;
}

export interface BuildRequest {
  readonly source: RestoreSource;
  readonly cluster: NewCluster;
  /** All on this machine; the backup is read once for all of them. */
  readonly targets: readonly BuildTarget[];
  readonly content: Content;
  readonly minor: EtcdMinor;
  /** `auto`: the minor's own etcdutl when it can do all that is asked. */
  readonly builder: 'auto' | Builder;
  /** Path of etcdutl (3.4: etcdctl); undefined = looked for on PATH. */
  readonly etcdutl: string | undefined;
  /** Move what stands there out of the way, to `NAME.before-restore-TIME`. */
  readonly replace: boolean;
  /** Instead of the owner of the directory that is replaced (or, where none is, of the folder around it). */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** Go on with a backup that is suspect or has CORRUPT armed. */
  readonly acceptSuspect: boolean;
  readonly attempt: number;
  /** Folder for scratch files; encrypted there when the source is. */
  readonly scratchFolder: string;
}

export interface BuildResult {
  readonly database: BuiltDatabase;
  readonly builder: { readonly name: Builder; readonly reason: string };
  readonly record: import('../format/restore-record.ts').RestoreRecord;
  readonly targets: readonly {
    readonly member: string;
    readonly dataDir: string;
    readonly walDir: string | undefined;
    /** Where what stood there is now. */
    readonly kept: readonly string[];
    /** Path of the restore record. */
    readonly record: string;
  }[];
}

/** What every part gets; a job's context is one. */
export interface RestoreContext {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly progress: (event: {
    readonly step: string;
    readonly message?: string;
    readonly bytes?: number;
    readonly totalBytes?: number;
    readonly subject?: string;
    readonly finished?: boolean;
  }) => void;
  readonly now: () => Date;
}
