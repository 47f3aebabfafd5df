/**
 * One page, or one run of pages that belong together, and its elements. Every offset that the page gives is checked against its own bounds.
 *
 * Format: go.etcd.io/bbolt, internal/common/page.go. Header: id u64, flags u16, count u16, overflow u32. Elements of 16 bytes follow;
 * their positions count from the element itself.
 */
import type { ByteOrder } from './byte-order.ts';
import { damaged } from './errors.ts';

export const HEADER_LENGTH = 16;
const ELEMENT_LENGTH = 16;
const BRANCH = 0x01;
const LEAF = 0x02;
const BUCKET_FLAG = 0x01;

export interface Page {
  readonly kind: 'branch' | 'leaf';
  /** For errors: `page 12`, or `the inline page of bucket meta`. */
  readonly where: string;
  readonly order: ByteOrder;
  readonly count: number;
  readonly bytes: Buffer;
}

/** An entry of a leaf: views into the page. */
export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The value is a bucket's header, not data. */
  readonly isBucket: boolean;
}

/** A page from all its bytes, overflow included. @throws WardenError `bolt-damaged` */
export function parsePage(bytes: Buffer, where: string, order: ByteOrder): Page {
  const flags = order.u16(bytes, 8);
  if (flags !== BRANCH && flags !== LEAF) throw damaged(where, `its flags are 0x${flags.toString(16)}, a page of a tree has 0x1 or 0x2`);
  const count = order.u16(bytes, 10);
  if (HEADER_LENGTH + count * ELEMENT_LENGTH > bytes.length)
    throw damaged(where, `${count} elements do not fit into ${bytes.length} bytes`);
  return { kind: flags === LEAF ? 'leaf' : 'branch', where, order, count, bytes };
}

/** @throws WardenError `bolt-damaged` */
export function leafEntry(page: Page, index: number): Entry {
  const at = HEADER_LENGTH + index * ELEMENT_LENGTH;
  const { order, bytes } = page;
  const keyAt = at + order.u32(bytes, at + 4);
  const keyLength = order.u32(bytes, at + 8);
  const valueAt = keyAt + keyLength;
  const end = valueAt + order.u32(bytes, at + 12);
  if (keyLength === 0 || end > bytes.length)
    throw damaged(page.where, `element ${index} reaches beyond its ${bytes.length} bytes, or has no key`);
  return { key: bytes.subarray(keyAt, valueAt), value: bytes.subarray(valueAt, end), isBucket: (order.u32(bytes, at) & BUCKET_FLAG) !== 0 };
}

/** @throws WardenError `bolt-damaged` */
export function branchChild(page: Page, index: number): { readonly key: Buffer; readonly child: bigint } {
  const at = HEADER_LENGTH + index * ELEMENT_LENGTH;
  const { order, bytes } = page;
  const keyAt = at + order.u32(bytes, at);
  const end = keyAt + order.u32(bytes, at + 4);
  if (end > bytes.length) throw damaged(page.where, `element ${index} reaches beyond its ${bytes.length} bytes`);
  return { key: bytes.subarray(keyAt, end), child: order.u64(bytes, at + 8) };
}
