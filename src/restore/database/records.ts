/** Which records of a database go into another one, and how they get there. */
import { collectAll, createSweeper, release } from '../../archive/young-garbage.ts';
import { ELEMENT_LENGTH, HEADER_LENGTH } from '../../boltdb/page.ts';
import type { BoltWriter, BucketWriter } from '../../boltdb/write/writer.ts';
import { createRunningSum } from '../../mvcc/crc32c/running-sum.ts';
import type { LeafGroup } from '../../mvcc/examination/types.ts';
import type { Head } from '../../mvcc/head.ts';
import { keyOf, parseKeyValue } from '../../mvcc/key-value.ts';
import { isKubernetesKey } from '../../mvcc/kubernetes.ts';
import { leasesOf } from '../../mvcc/leases.ts';
import { recordsOf } from '../../mvcc/records.ts';
import { mainOf } from '../../mvcc/revision.ts';
import type { RawRecord } from '../../mvcc/source.ts';
import { liveRecords, requireRevision } from '../../mvcc/state.ts';
import type { Content } from '../types.ts';
import { mustCompact } from './raise.ts';
import type { Verified } from './verified.ts';

export interface Selection {
  /** No record above it. */
  readonly revision: bigint;
  /** Only the last change of each key that lives at the revision. */
  readonly live: boolean;
  readonly only: readonly Buffer[];
  readonly without: readonly Buffer[];
  /** Nothing is left out. */
  readonly everything: boolean;
}

/**
 * Where keys are left out, their history goes with that of all others: a store in which some keys have a past and some have none would answer questions
 * about earlier revisions wrongly.
 * @throws WardenError `revision-compacted`, `revision-future`
 */
export function selectionOf(content: Content, head: Head): Selection {
  const { only, without, revision = head.revision } = content;
  requireRevision(head, revision);
  const live = only.length > 0 || without.length > 0 || mustCompact(content);
  return { revision, live, only, without, everything: !live && revision === head.revision };
}

export interface CopiedRecords {
  readonly count: number;
  readonly kubernetes: boolean;
  /** HashKV of these as a member that never compacted computes it. */
  readonly sum: number;
}

export interface CopyOptions {
  /** Of the source, each in a buffer of its own. */
  readonly read: (offset: number, length: number) => Promise<Buffer>;
  readonly signal: AbortSignal;
  /** Records that were looked at so far. */
  readonly onRecords: (count: number) => void;
}

/** Writes bucket `key`. @throws WardenError what reading and writing throw */
export async function copyRecords(
  verified: Verified,
  selection: Selection,
  writer: BoltWriter,
  options: CopyOptions,
): Promise<CopiedRecords> {
  const { read, signal } = options;
  const { examined } = verified;
  // What became of a key is known at the last revision only.
  const live = selection.live && selection.revision === examined.head.revision;
  const groups = selection.live && !live ? undefined : examined.leavesAgain?.(read, { live, signal });
  const copy = new Copy(selection, writer.bucket('key'));
  if (groups === undefined) await copy.walk(verified, options);
  else {
    const found = await groups;
    collectAll(); // what became of each key took as much memory as writing will
    await copy.leaves(found, live, options);
  }
  return await copy.end();
}

class Copy {
  readonly #selection: Selection;
  readonly #bucket: BucketWriter;
  readonly #filtered: boolean;
  readonly #sum = createRunningSum();
  #count = 0;
  #kubernetes = false;

  constructor(selection: Selection, bucket: BucketWriter) {
    this.#selection = selection;
    this.#bucket = bucket;
    this.#filtered = selection.only.length > 0 || selection.without.length > 0;
    this.#sum.update(Buffer.from('key'));
  }

  async end(): Promise<CopiedRecords> {
    await this.#bucket.end();
    return { count: this.#count, kubernetes: this.#kubernetes, sum: this.#sum.digest() };
  }

  /** The slow way, which works wherever records lie. */
  async walk(verified: Verified, { signal, onRecords }: CopyOptions): Promise<void> {
    let seen = 0;
    for await (const batch of selected(verified, this.#selection, signal)) {
      for (const { key, value } of batch) {
        // The value lies right behind its key, as in every page (boltdb/strict.ts).
        const both = Buffer.from(key.buffer, key.byteOffset, key.length + value.length);
        if (!this.#wants(both, key.length, both.length)) continue;
        this.#sum.update(both);
        const added = this.#bucket.add(both, 0, key.length, value.length);
        this.#count += 1;
        if (added !== undefined) await added;
      }
      seen += batch.length;
      onRecords(seen);
    }
  }

  /** The fast way: no object is made of a record. */
  async leaves(groups: AsyncIterable<LeafGroup>, live: boolean, { onRecords }: CopyOptions): Promise<void> {
    // Exact: leaves are given for revisions below 2^53 only.
    const revision = Number(this.#selection.revision);
    const sweep = createSweeper();
    let seen = 0;
    for await (const { bytes, leaves } of groups) {
      for (const leaf of leaves) {
        const size = bytes.readUInt16LE(leaf.at + 10);
        const reaches = leaf.lastMain > revision;
        // Records that are wanted lie in pieces one behind the other, and are summed up so.
        let [pieceAt, pieceEnd] = [0, 0];
        for (let i = 0; i < size; i += 1) {
          const element = leaf.at + HEADER_LENGTH + i * ELEMENT_LENGTH;
          const keyAt = element + bytes.readUInt32LE(element + 4);
          const keyLength = bytes.readUInt32LE(element + 8);
          const valueLength = bytes.readUInt32LE(element + 12);
          const end = keyAt + keyLength + valueLength;
          if (live && !leaf.survives(i)) continue;
          if (reaches && bytes.readUInt32BE(keyAt) * 2 ** 32 + bytes.readUInt32BE(keyAt + 4) > revision) break;
          if (!this.#wants(bytes, keyAt + keyLength, end)) continue;
          if (keyAt !== pieceEnd) {
            if (pieceEnd > 0) this.#sum.update(bytes.subarray(pieceAt, pieceEnd));
            pieceAt = keyAt;
          }
          pieceEnd = end;
          const added = this.#bucket.add(bytes, keyAt, keyLength, valueLength);
          this.#count += 1;
          if (added !== undefined) await added;
        }
        if (pieceEnd > 0) this.#sum.update(bytes.subarray(pieceAt, pieceEnd));
        seen += size;
      }
      onRecords(seen);
      sweep(bytes.length);
      release(bytes);
      if (leaves.some(({ lastMain }) => lastMain > revision)) return;
    }
  }

  /** Whether the key is one of those that are asked for; it lies in a KeyValue between these two places. */
  #wants(bytes: Buffer, at: number, end: number): boolean {
    if (this.#kubernetes && !this.#filtered) return true;
    let [from, to] = [at + 2, at + 2 + (bytes[at + 1] ?? 0)];
    if (bytes[at] !== KEY_TAG || bytes[at + 1]! >= 0x80 || to > end) {
      const key = keyOf(bytes.subarray(at, end));
      from = key.byteOffset - bytes.byteOffset;
      to = from + key.length;
      if (key.length === 0) from = to = at;
    }
    if (this.#filtered && !isWanted(bytes.subarray(from, to), this.#selection)) return false;
    this.#kubernetes ||= isKubernetesKey(bytes, from, to);
    return true;
  }
}

/** Field 1 of a KeyValue, of bytes (mvcc/key-value.ts). */
const KEY_TAG = 0x0a;

/** Live keys whose lease the database does not hold: it was revoked after the revision, or ran out. */
export async function countOrphans(verified: Verified, selection: Selection, signal: AbortSignal): Promise<number> {
  const { db, examined, scratch } = verified;
  const leases = new Set<bigint>();
  for await (const { id } of leasesOf(db, signal)) leases.add(id);
  const source = await recordsOf(db, signal);
  let count = 0;
  for await (const batch of liveRecords(source, examined.head, selection.revision, { scratch, signal })) {
    for (const { value } of batch) {
      const { key, lease } = parseKeyValue(value);
      if (lease !== 0n && !leases.has(lease) && isWanted(key, selection)) count += 1;
    }
  }
  return count;
}

async function* selected(
  { db, examined, scratch }: Verified,
  { revision, live }: Selection,
  signal: AbortSignal,
): AsyncGenerator<readonly RawRecord[], void, undefined> {
  const source = await recordsOf(db, signal);
  if (live) {
    yield* liveRecords(source, examined.head, revision, { scratch, signal });
    return;
  }
  for await (const batch of source.records({ signal })) {
    const last = batch.at(-1);
    if (last === undefined || mainOf(last.key) <= revision) {
      yield batch;
      continue;
    }
    yield batch.filter(({ key }) => mainOf(key) <= revision);
    return;
  }
}

function isWanted(key: Buffer, { only, without }: Selection): boolean {
  return (only.length === 0 || only.some((prefix) => begins(key, prefix))) && !without.some((prefix) => begins(key, prefix));
}

function begins(key: Buffer, prefix: Buffer): boolean {
  return key.length >= prefix.length && key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;
}
