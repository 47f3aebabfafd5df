/**
 * A run of the external sort: what the index needs of each record, copied from its leaf into one piece of memory until that is full. No object per
 * record: a run holds hundreds of thousands, and the collector would be busy with nothing else.
 *
 * An item, little-endian: length u32 (all of it), key length u32, key, main u64 and sub u64 (both big-endian, as they are sorted), flags u8, leaf's page u32,
 * offset of the record in the leaf's run of pages u32, length of the record u32, of its value u32; then, as the flags say, create revision and version
 * (f64 each), lease i64.
 */
import { HAS_HISTORY, HAS_LEASE, TOMBSTONE } from './format.ts';
import type { RecordFields } from './record.ts';

export const ITEM_KEY = 8;
/** Main and sub behind the key. */
export const REVISION_BYTES = 16;
const FIXED_LENGTH = ITEM_KEY + REVISION_BYTES + 17;
const HISTORY_LENGTH = 16;
const LEASE_LENGTH = 8;

/** Bytes of revisions in the key of a record: main, `_`, sub. */
const SUB_AT = 9;

export interface Run {
  readonly bytes: Buffer;
  /** Where each item begins, in the order in which they came. */
  readonly starts: Uint32Array;
  count: number;
  used: number;
}

/** @param capacity in bytes */
export function createRun(capacity: number): Run {
  return { bytes: Buffer.allocUnsafeSlow(capacity), starts: new Uint32Array(Math.floor(capacity / (FIXED_LENGTH + 8))), count: 0, used: 0 };
}

/** A record in its leaf: offsets in the leaf's bytes. */
export interface ItemPlace {
  /** The record's own key, a revision. */
  keyAt: number;
  recordAt: number;
  recordEnd: number;
  /** Of the leaf. */
  page: number;
  /** Where the leaf's bytes begin in that page: 0, except for an inline bucket. */
  base: number;
}

/**
 * Copies one record.
 * @param fields what was read in the leaf
 * @returns false when there is no room: nothing was copied
 */
export function addItem(run: Run, leaf: Buffer, { keyAt, recordAt, recordEnd, page, base }: ItemPlace, fields: RecordFields): boolean {
  const tombstone = recordAt - keyAt > SUB_AT + 8;
  const history = !tombstone && (fields.version !== 1 || fields.createRevision !== fields.modRevision);
  const lease = fields.leaseLow !== 0 || fields.leaseHigh !== 0;
  const keyLength = fields.keyEnd - fields.keyAt;
  const length = FIXED_LENGTH + keyLength + (history ? HISTORY_LENGTH : 0) + (lease ? LEASE_LENGTH : 0);
  const { bytes, used } = run;
  if (used + length > bytes.length || run.count === run.starts.length) return false;
  bytes.writeUInt32LE(length, used);
  bytes.writeUInt32LE(keyLength, used + 4);
  let at = used + ITEM_KEY;
  leaf.copy(bytes, at, fields.keyAt, fields.keyEnd);
  at += keyLength;
  for (let i = 0; i < 8; i += 1) bytes[at + i] = leaf[keyAt + i]!;
  for (let i = 0; i < 8; i += 1) bytes[at + 8 + i] = leaf[keyAt + SUB_AT + i]!;
  at += REVISION_BYTES;
  bytes[at] = (tombstone ? TOMBSTONE : 0) | (history ? HAS_HISTORY : 0) | (lease ? HAS_LEASE : 0);
  bytes.writeUInt32LE(page, at + 1);
  bytes.writeUInt32LE(base + keyAt, at + 5);
  bytes.writeUInt32LE(recordEnd - recordAt, at + 9);
  bytes.writeUInt32LE(fields.valueLength, at + 13);
  at += 17;
  if (history) {
    bytes.writeDoubleLE(fields.createRevision, at);
    bytes.writeDoubleLE(fields.version, at + 8);
    at += HISTORY_LENGTH;
  }
  if (lease) {
    bytes.writeUInt32LE(fields.leaseLow, at);
    bytes.writeUInt32LE(fields.leaseHigh, at + 4);
  }
  run.starts[run.count] = used;
  run.count += 1;
  run.used += length;
  return true;
}

/** Length of the item at `at`. */
export function itemLength(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at);
}

/** Page of the leaf that holds an item's record. */
export function itemPage(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + ITEM_KEY + bytes.readUInt32LE(at + 4) + REVISION_BYTES + 1);
}

/** By key, then by revision: negative, 0 or positive. */
export function compareItems(a: Buffer, aAt: number, b: Buffer, bAt: number): number {
  const aLength = a.readUInt32LE(aAt + 4);
  const bLength = b.readUInt32LE(bAt + 4);
  const shorter = Math.min(aLength, bLength);
  let i = aAt + ITEM_KEY;
  let j = bAt + ITEM_KEY;
  for (const end = i + shorter; i < end; i += 1, j += 1) {
    const difference = a[i]! - b[j]!;
    if (difference !== 0) return difference;
  }
  if (aLength !== bLength) return aLength - bLength;
  for (const end = i + REVISION_BYTES; i < end; i += 1, j += 1) {
    const difference = a[i]! - b[j]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
