/**
 * One page, or one run of pages that belong together, and its elements. Every offset that the page gives is checked against its own bounds.
 *
 * Format: go.etcd.io/bbolt, internal/common/page.go. Header: id u64, flags u16, count u16, overflow u32. Elements of 16 bytes follow;
 * their positions count from the element itself. A leaf's element: flags u32, position u32, key length u32, value length u32, and the value
 * follows its key. A branch's: position u32, key length u32, child's page id u64.
 */
import type { ByteOrder } from './byte-order.ts';
import { damaged } from './errors.ts';
import { compareBytes, type KeyRange } from './key-range.ts';

export const HEADER_LENGTH = 16;
export const ELEMENT_LENGTH = 16;
export const BRANCH = 0x01;
export const LEAF = 0x02;
export const BUCKET_FLAG = 0x01;

export interface Page {
  readonly id: number;
  /** The page of a bucket that lies inside of leaf `id`. */
  readonly inline: boolean;
  readonly kind: 'branch' | 'leaf';
  /** Names of the buckets around it, from the outermost; none for the tree that holds the buckets. */
  readonly path: readonly string[];
  readonly order: ByteOrder;
  readonly count: number;
  /** At least all that the elements take up; the rest of a run need not be there. */
  readonly bytes: Buffer;
}

/** An entry of a leaf: views into the page. */
export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The value is a bucket's header, not data. */
  readonly isBucket: boolean;
}

/** A page from its bytes: those of its first page, or of its run. @throws WardenError `bolt-damaged` */
export function parsePage(bytes: Buffer, place: Pick<Page, 'id' | 'inline' | 'path'>, order: ByteOrder): Page {
  const flags = order.u16(bytes, 8);
  if (flags !== BRANCH && flags !== LEAF) throw damaged(place, `its flags are 0x${flags.toString(16)}, a page of a tree has 0x1 or 0x2`);
  const { id, inline, path } = place;
  return { id, inline, path, kind: flags === LEAF ? 'leaf' : 'branch', order, count: order.u16(bytes, 10), bytes };
}

/** Three numbers for each element of a leaf, offsets in its bytes: where the key begins, where the value begins, where it ends. */
export const OFFSETS_PER_ELEMENT = 3;

/**
 * Where the elements of a leaf lie, without an object for each: their bounds, and the ascending order of their keys, are checked.
 * @param range what the branches above say of its keys
 * @param into used when it is large enough, so that a pass over a file needs one
 * @throws WardenError `bolt-damaged`
 */
export function leafOffsets(page: Page, range: KeyRange = {}, into?: Uint32Array): Uint32Array {
  const { bytes, count, order } = page;
  const table = tableEnd(page);
  const offsets = into !== undefined && into.length >= count * OFFSETS_PER_ELEMENT ? into : new Uint32Array(count * OFFSETS_PER_ELEMENT);
  let [previousAt, previousEnd] = [0, 0];
  for (let i = 0; i < count; i += 1) {
    const at = HEADER_LENGTH + i * ELEMENT_LENGTH;
    const keyAt = at + order.u32(bytes, at + 4);
    const valueAt = keyAt + order.u32(bytes, at + 8);
    const end = valueAt + order.u32(bytes, at + 12);
    if (end > bytes.length || keyAt < table || keyAt === valueAt) throw outside(page, i);
    if (i > 0 && compareBytes(bytes, previousAt, previousEnd, bytes, keyAt, valueAt) >= 0) throw unordered(page, i);
    offsets[i * OFFSETS_PER_ELEMENT] = previousAt = keyAt;
    offsets[i * OFFSETS_PER_ELEMENT + 1] = previousEnd = valueAt;
    offsets[i * OFFSETS_PER_ELEMENT + 2] = end;
  }
  if (count > 0) checkRange(page, range, offsets[0]!, offsets[1]!, previousAt, previousEnd);
  return offsets;
}

/** Offsets are used up before anything else can run, so one array serves all leaves. */
let scratch: Uint32Array = new Uint32Array(1024 * OFFSETS_PER_ELEMENT);

/** All entries of a leaf, checked as by `leafOffsets`. @throws WardenError `bolt-damaged` */
export function leafEntries(page: Page, range?: KeyRange): Entry[] {
  const offsets = leafOffsets(page, range, scratch);
  if (offsets.length > scratch.length) scratch = offsets;
  const { bytes, count, order } = page;
  const entries: Entry[] = [];
  for (let i = 0; i < count; i += 1) {
    const at = i * OFFSETS_PER_ELEMENT;
    const valueAt = offsets[at + 1];
    entries.push({
      key: bytes.subarray(offsets[at], valueAt),
      value: bytes.subarray(valueAt, offsets[at + 2]),
      isBucket: (order.u32(bytes, HEADER_LENGTH + i * ELEMENT_LENGTH) & BUCKET_FLAG) !== 0,
    });
  }
  return entries;
}

export interface Child {
  /** No key below it is less than this one. */
  readonly key: Buffer;
  readonly id: number;
}

/** The children of a branch, in ascending order of their keys, without an object for each. */
export interface Children {
  /** At least one. */
  readonly count: number;
  /** Of the branch. */
  readonly bytes: Buffer;
  /** Two numbers for each, offsets in the bytes: where the key begins and where it ends. No key below the child is less than that one. */
  readonly keys: Uint32Array;
  readonly ids: Float64Array;
}

/** @throws WardenError `bolt-damaged` */
export function branchPlaces(page: Page, range: KeyRange = {}): Children {
  const { bytes, count, order } = page;
  const table = tableEnd(page);
  if (count === 0) throw damaged(page, 'a branch without children');
  const [keys, ids] = [new Uint32Array(2 * count), new Float64Array(count)];
  let [previousAt, previousEnd] = [0, 0];
  for (let i = 0; i < count; i += 1) {
    const at = HEADER_LENGTH + i * ELEMENT_LENGTH;
    const keyAt = at + order.u32(bytes, at);
    const end = keyAt + order.u32(bytes, at + 4);
    if (end > bytes.length || keyAt < table) throw outside(page, i);
    if (i > 0 && compareBytes(bytes, previousAt, previousEnd, bytes, keyAt, end) >= 0) throw unordered(page, i);
    if (i === 0) checkRange(page, range, keyAt, end, keyAt, end);
    keys[2 * i] = previousAt = keyAt;
    keys[2 * i + 1] = previousEnd = end;
    ids[i] = order.id(bytes, at + 8);
  }
  checkRange(page, range, previousAt, previousEnd, previousAt, previousEnd);
  return { count, bytes, keys, ids };
}

/** The same with one object for each. @throws WardenError `bolt-damaged` */
export function branchChildren(page: Page, range?: KeyRange): Child[] {
  const { count, bytes, keys, ids } = branchPlaces(page, range);
  return Array.from({ length: count }, (_, i) => ({ key: bytes.subarray(keys[2 * i], keys[2 * i + 1]), id: ids[i]! }));
}

/**
 * How many bytes of a run its elements take up, from its beginning. What a run claims beyond them need not be read.
 * @param bytes of the page, at least to the end of its table of elements
 */
export function contentLength(page: Page): number {
  const { bytes, count, order } = page;
  let length = tableEnd(page);
  for (let i = 0; i < count; i += 1) {
    const at = HEADER_LENGTH + i * ELEMENT_LENGTH;
    const end =
      page.kind === 'branch'
        ? at + order.u32(bytes, at) + order.u32(bytes, at + 4)
        : at + order.u32(bytes, at + 4) + order.u32(bytes, at + 8) + order.u32(bytes, at + 12);
    if (end > length) length = end;
  }
  return length;
}

/** Bytes of header and table of elements. */
export function tableLength(count: number): number {
  return HEADER_LENGTH + count * ELEMENT_LENGTH;
}

function tableEnd(page: Page): number {
  const end = tableLength(page.count);
  if (end > page.bytes.length) throw damaged(page, `${page.count} elements do not fit into ${page.bytes.length} bytes`);
  return end;
}

function checkRange(page: Page, range: KeyRange, firstAt: number, firstEnd: number, lastAt: number, lastEnd: number): void {
  const { lower, upper } = range;
  if (lower !== undefined && compareBytes(page.bytes, firstAt, firstEnd, lower, 0, lower.length) < 0)
    throw damaged(page, 'its first key is less than its parent says');
  if (upper !== undefined && compareBytes(page.bytes, lastAt, lastEnd, upper, 0, upper.length) >= 0)
    throw damaged(page, 'its last key belongs to the page after it, as its parent says');
}

function outside(page: Page, index: number): Error {
  return damaged(page, `element ${index} reaches beyond its ${page.bytes.length} bytes, or has no key, or lies in the table of elements`);
}

function unordered(page: Page, index: number): Error {
  return damaged(page, `the key of element ${index} is not greater than the one before it`);
}
