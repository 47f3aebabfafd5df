/** What the inspecting verbs work on, whether a key index stands beside the backup or the file has to be read through. */
import type { OpenArchive } from '../archive/open.ts';
import type { Backup, Catalog } from '../catalog/types.ts';
import type { Store } from '../store/types.ts';

/** A snapshot opened for reading: a backup in a store, or a plain file. */
export interface OpenedSnapshot {
  /** For people: the backup's id, or the path as it was typed. */
  readonly name: string;
  readonly file: OpenArchive;
  /** The backup and the store it is read from; undefined for a plain file. */
  readonly backup: Backup | undefined;
  readonly store: Store | undefined;
  close(): Promise<void>;
}

export interface OpenSnapshotOptions {
  /** Needed unless the reference is a plain file. */
  readonly catalog?: Catalog | undefined;
  readonly stores: readonly Store[];
  /** `AGE-SECRET-KEY-1...`; needed only for what is encrypted. */
  readonly identities?: readonly string[] | undefined;
  readonly signal: AbortSignal;
  /** Name of the only store to read from. */
  readonly store?: string | undefined;
  /** Where a foreign compressed file is decompressed to; the system's temporary folder by default. */
  readonly scratchFolder?: string | undefined;
  /** Told in a sentence what the reader should know: a copy that could not be read, a backup that is suspect. */
  readonly note?: ((sentence: string) => void) | undefined;
  /** Told while something takes long. */
  readonly progress?: InspectProgress | undefined;
}

/** As a job's progress: step is stable, bytes are done and in all. */
export type InspectProgress = (event: {
  readonly step: string;
  readonly message: string;
  readonly bytes?: number;
  readonly totalBytes?: number;
}) => void;

/** One change of a key that the file still holds. */
export interface KeyRevision {
  readonly main: bigint;
  readonly sub: bigint;
  readonly tombstone: boolean;
  /** 0n for a tombstone, as are version, valueBytes and lease. */
  readonly createRevision: bigint;
  readonly version: bigint;
  readonly lease: bigint;
  readonly valueBytes: number;
}

/** A key and its changes, oldest first. */
export interface KeyEntry {
  readonly key: Buffer;
  readonly revisions: readonly KeyRevision[];
}

export interface KeyRange {
  /** First key that is wanted; all when absent. */
  readonly from?: Buffer | undefined;
  /** First key that is not. */
  readonly to?: Buffer | undefined;
}

/** Keys in ascending order of their bytes. Made from a key index (a few blocks are read), or by a scan of the file. */
export interface KeyDirectory {
  entries(range: KeyRange, signal: AbortSignal): AsyncIterable<KeyEntry>;
  /** Undefined when the file has no record of it. */
  find(key: Buffer, signal: AbortSignal): Promise<KeyEntry | undefined>;
  /** The value of one of the entry's revisions: a view that is valid until the next read. @throws WardenError `bolt-damaged` when it is not where the index says */
  value(entry: KeyEntry, revision: KeyRevision, signal: AbortSignal): Promise<Buffer>;
  close(): Promise<void>;
}
