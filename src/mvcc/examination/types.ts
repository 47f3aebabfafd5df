import type { RandomAccess } from '../../boltdb/random-access.ts';
import type { Head } from '../head.ts';

/**
 * The proof of a snapshot in one pass in file order, made while its bytes go by (into a spool, or out of a store): each page is summed up where it
 * lies, and the tree puts the sums into order afterwards. What the pass could not keep is read again by random access, so that memory is bounded and
 * nothing depends on how the tree lies in the file.
 */
export interface Examination {
  /** The next bytes of the plain snapshot, in file order, pieces of any length; they may be used again when it returns. Never throws: what is wrong is told by `finish`. */
  write(bytes: Buffer): void;
  /**
   * After the last byte. `file` reads the same plain bytes.
   * @throws WardenError `not-bolt`, `bolt-damaged` with page, bucket and reason of the first fault, `not-etcd`, `history-broken`
   */
  finish(file: RandomAccess, signal: AbortSignal): Promise<Examined>;
  /** Gives back what it holds, whatever came before; what `finish` returned is of no use after it. */
  close(): Promise<void>;
}

/** A snapshot whose structure, records and continuity are sound. */
export interface Examined {
  readonly head: Head;
  /** Keys that live at the file's revision, as `etcdutl snapshot status` of 3.6 counts. */
  readonly keyCount: number;
  /** Records of all revisions. */
  readonly recordCount: number;
  /** An API server's keys are among them. */
  readonly kubernetes: boolean;
  /**
   * HashKV of the file at its own revision, as a member computes it whose compact revision is `compactRevision` (at least the file's own;
   * above its revision when revisions were raised to there; -1n for a member that never compacted).
   */
  hashKv(compactRevision: bigint, signal: AbortSignal): Promise<number>;
  /**
   * The leaves of the records again, in the order of keys; undefined where a walk down the tree is the only way: for a small bucket inside of another page, for
   * revisions beyond 2^53, for the other byte order.
   * @param read gives exactly so many bytes of the same file, in a buffer of its own
   * @param options.live with what became of each record (`ExaminedLeaf.survives`)
   */
  leavesAgain?(
    read: (offset: number, length: number) => Promise<Buffer>,
    options: { readonly live: boolean; readonly signal: AbortSignal },
  ): Promise<AsyncIterable<LeafGroup>> | undefined;
}

/** Leaves that were read together. */
export interface LeafGroup {
  /** Whoever takes the group may give their memory back. */
  readonly bytes: Buffer;
  readonly leaves: readonly ExaminedLeaf[];
}

/** One sound leaf: little-endian, its records one behind the other. */
export interface ExaminedLeaf {
  /** Where its page begins in the bytes of its group. */
  readonly at: number;
  /** Main revision of its last record. */
  readonly lastMain: number;
  /** Whether a record, by its place in the leaf, is the last change of a key that lives; only when that was asked for. */
  survives(index: number): boolean;
}
