/**
 * What a restore made, so that it can be checked and accepted afterwards: as `NAME.restore.json` beside the data directory, and in the acceptance of kind
 * `restore` in the store. Revision, compact revision and HashKV are computed from the database that was built. No key names.
 */

export const RESTORE_RECORD_SCHEMA = 1;

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
