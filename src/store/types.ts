/**
 * A store keeps objects under keys. It knows nothing of backups: names, order of writes and deletes belong to its callers.
 * Local folders and S3 buckets pass one conformance suite (test/integration/store/conformance.ts).
 */

/** What a store knows of an object without reading it. */
export interface ObjectInfo {
  /** Key below the store's own prefix, `/`-separated, no leading slash. */
  readonly key: string;
  /** Length in bytes. */
  readonly size: number;
  /** When the store says that it was written. */
  readonly modified: Date;
}

/** Checksums of an object's bytes that were confirmed by the store itself, or by reading back. */
export interface StoredObject {
  readonly key: string;
  readonly size: number;
  /** CRC32 (IEEE) of all bytes, eight lower-case hex digits. */
  readonly crc32: string;
  /** How far the store vouches for it: its own checksum compared, or only the size where it has none (older S3 servers). */
  readonly confirmed: 'checksum' | 'size';
}

/**
 * A file that still grows while it is read: the spool of a running backup. Bytes once written never change.
 * `archive` writes it, stores read it.
 */
export interface GrowingFile {
  /** Path of the spool file, 0600. */
  readonly path: string;
  /** Final length in bytes if known beforehand (never for compressed data); an estimate that is at least the final length, for the size of parts. */
  readonly maxLength: number;
  /** Bytes that can be read now. */
  readonly available: number;
  /** Resolves when more than `length` bytes are available, or when the file is finished; rejects when the writer failed or the signal aborts. */
  waitBeyond(length: number, signal: AbortSignal): Promise<void>;
  /** Resolves with the final figures when the last byte is written (not yet synced); rejects when the writer failed. */
  readonly finished: Promise<{ readonly length: number; readonly sha256: string; readonly crc32: string }>;
}

export interface Range {
  readonly offset: number;
  readonly length: number;
}

export interface CallOptions {
  readonly signal: AbortSignal;
}

/** Bytes uploaded so far, for progress on a terminal. */
export interface UploadOptions extends CallOptions {
  readonly onProgress?: (bytes: number) => void;
  /** Bytes per second, 0 = unlimited. */
  readonly maxRate?: number;
  /**
   * Resolves when the caller has accepted the content (trailer and length were right) and the object may become visible; rejects when it must not.
   * A store does all else before it awaits this.
   */
  readonly accepted?: Promise<void>;
}

export type DeleteResult =
  | { readonly outcome: 'deleted' }
  | { readonly outcome: 'absent' }
  /** Object lock, legal hold, or a file system's immutable flag; `until` when the store tells it. */
  | { readonly outcome: 'kept'; readonly until: Date | undefined; readonly reason: string };

export interface SweepOptions extends CallOptions {
  /** Leftovers younger than this many milliseconds are left alone, unless their writer is certainly dead. */
  readonly olderThanMs: number;
  readonly now: Date;
  /** Which multipart uploads are ours, by key. Default: keys whose last name starts as an id does. */
  readonly ours?: (key: string) => boolean;
}

/** What a sweep removed: temporary files of ours without a living writer, multipart uploads under our prefix. */
export interface SweepReport {
  readonly removed: readonly { readonly what: 'temporary-file' | 'multipart-upload'; readonly name: string }[];
}

export interface Store {
  /** Name in the configuration: `[a-z0-9][a-z0-9-]{0,39}`. */
  readonly name: string;
  readonly kind: 'local' | 's3';
  /** Where it is, for people: a path or s3://bucket/prefix. Never holds a secret. */
  readonly location: string;
  /**
   * Folder in which a spool must lie so that this store can publish it by a hard link instead of a copy; undefined for S3.
   */
  readonly spoolFolder: string | undefined;

  /**
   * Fails early when nothing could be written: path is a file, read-only, full (`neededBytes` > free), bucket absent, credentials wrong.
   * @throws WardenError with path or bucket, free and needed bytes.
   */
  check(neededBytes: number, options: CallOptions): Promise<void>;
  /** Writes a small object (at most a few MiB) durably, only if no object has that key. @throws WardenError `object-exists` */
  put(key: string, body: Buffer, options: CallOptions): Promise<StoredObject>;
  /** Writes a large object from a spool that may still grow; nothing is visible under the key before all of it is durable. Only if absent. @throws WardenError `object-exists` */
  upload(key: string, source: GrowingFile, options: UploadOptions): Promise<StoredObject>;
  /** The bytes of an object, or of a range of it. @throws WardenError `object-missing` */
  get(key: string, options: CallOptions & { readonly range?: Range; readonly maxLength?: number }): Promise<Buffer>;
  /** The same as a stream in order, for objects of any size; ends with an error when bytes are missing at the end. */
  stream(key: string, options: CallOptions & { readonly range?: Range }): AsyncIterable<Buffer>;
  /** Undefined when absent. `crc32` where the store holds one. */
  head(key: string, options: CallOptions): Promise<(ObjectInfo & { readonly crc32?: string | undefined }) | undefined>;
  /** Every object whose key starts with `prefix`, in ascending order of the key's UTF-8 bytes, each once, strictly after `startAfter`. */
  list(prefix: string, options: CallOptions & { readonly startAfter?: string }): AsyncIterable<ObjectInfo>;
  delete(key: string, options: CallOptions): Promise<DeleteResult>;
  sweep(options: SweepOptions): Promise<SweepReport>;
  /** Closes sockets and handles. */
  close(): Promise<void>;
}
