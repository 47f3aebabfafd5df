/**
 * Pages as bytes, as internal/common/inode.go writes them: header, table of elements, then keys and values without gaps. page.ts and meta.ts read them and
 * name the fields.
 */
import { BUCKET_HEADER_LENGTH } from '../bucket-header.ts';
import { fnv1a64 } from '../meta.ts';
import { BRANCH, ELEMENT_LENGTH, HEADER_LENGTH, LEAF } from '../page.ts';
import type { NewEntry } from './sink.ts';

/** Integers as the machine that will open the file has them: bbolt maps its structures from memory. */
export interface IntegerWriter {
  u16(bytes: Buffer, value: number, at: number): void;
  u32(bytes: Buffer, value: number, at: number): void;
  u64(bytes: Buffer, value: bigint, at: number): void;
}

const LITTLE: IntegerWriter = {
  u16: (bytes, value, at) => void bytes.writeUInt16LE(value, at),
  u32: (bytes, value, at) => void bytes.writeUInt32LE(value, at),
  u64: (bytes, value, at) => void bytes.writeBigUInt64LE(value, at),
};

const BIG: IntegerWriter = {
  u16: (bytes, value, at) => void bytes.writeUInt16BE(value, at),
  u32: (bytes, value, at) => void bytes.writeUInt32BE(value, at),
  u64: (bytes, value, at) => void bytes.writeBigUInt64BE(value, at),
};

/** @param name as in byte-order.ts */
export function integersOf(name: 'little-endian' | 'big-endian'): IntegerWriter {
  return name === 'little-endian' ? LITTLE : BIG;
}

/** @param into begins at the page; its id, count and overflow fit their fields */
export function writeHeader(
  into: Buffer,
  integers: IntegerWriter,
  page: { readonly id: number; readonly kind: 'branch' | 'leaf'; readonly count: number; readonly overflow: number },
): void {
  integers.u64(into, BigInt(page.id), 0);
  integers.u16(into, page.kind === 'leaf' ? LEAF : BRANCH, 8);
  integers.u16(into, page.count, 10);
  integers.u32(into, page.overflow, 12);
}

/** Entries of a bucket that lies inside of its parent's leaf: a header of 16 zeros, and the image of a leaf without an id. */
export function inlineBucket(entries: readonly NewEntry[], integers: IntegerWriter): Buffer {
  const image = Buffer.alloc(BUCKET_HEADER_LENGTH + leafLength(entries));
  const page = image.subarray(BUCKET_HEADER_LENGTH);
  writeHeader(page, integers, { id: 0, kind: 'leaf', count: entries.length, overflow: 0 });
  let at = HEADER_LENGTH + entries.length * ELEMENT_LENGTH;
  for (const [i, { key, value }] of entries.entries()) {
    const element = HEADER_LENGTH + i * ELEMENT_LENGTH;
    integers.u32(page, 0, element);
    integers.u32(page, at - element, element + 4);
    integers.u32(page, key.length, element + 8);
    integers.u32(page, value.length, element + 12);
    at += key.copy(page, at);
    at += value.copy(page, at);
  }
  return image;
}

/** Bytes of the leaf that the entries make. */
export function leafLength(entries: readonly NewEntry[]): number {
  return entries.reduce((sum, { key, value }) => sum + ELEMENT_LENGTH + key.length + value.length, HEADER_LENGTH);
}

/** The value of a bucket with pages of its own. */
export function bucketHeader(root: number, integers: IntegerWriter): Buffer {
  const header = Buffer.alloc(BUCKET_HEADER_LENGTH);
  integers.u64(header, BigInt(root), 0);
  return header;
}

/** @param meta of a database without a stored list of free pages: whoever opens it takes all pages that no tree reaches for free */
export function metaPage(
  meta: { readonly id: 0 | 1; readonly pageSize: number; readonly root: number; readonly pages: number; readonly txid: bigint },
  integers: IntegerWriter,
): Buffer {
  const page = Buffer.alloc(meta.pageSize);
  integers.u64(page, BigInt(meta.id), 0);
  integers.u16(page, 0x04, 8);
  const body = page.subarray(HEADER_LENGTH);
  integers.u32(body, 0xed0cdaed, 0);
  integers.u32(body, 2, 4);
  integers.u32(body, meta.pageSize, 8);
  integers.u64(body, BigInt(meta.root), 16);
  integers.u64(body, 0xffffffffffffffffn, 32);
  integers.u64(body, BigInt(meta.pages), 40);
  integers.u64(body, meta.txid, 48);
  integers.u64(body, fnv1a64(body.subarray(0, 56)), 56);
  return page;
}
