/**
 * The two meta pages: where a database begins, how large its pages are, which tree is the current one.
 *
 * Format: go.etcd.io/bbolt, internal/common/meta.go, version 2, the same in bbolt 1.3 to 1.5. A meta is at offset 16 of its page:
 * magic u32, version u32, pageSize u32, flags u32, root page u64, root sequence u64, freelist page u64, high-water mark u64, txid u64,
 * checksum u64 (FNV-1a 64 of the 56 bytes before it).
 */
import { BIG_ENDIAN, type ByteOrder, LITTLE_ENDIAN } from './byte-order.ts';
import { notBolt } from './errors.ts';
import type { RandomAccess } from './random-access.ts';

const MAGIC = 0xed0cdaed;
const VERSION = 2;
const META_AT = 16;
const META_LENGTH = 64;
const CHECKSUM_AT = 56;

const NO_FREELIST = 0xffffffffffffffffn;

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;
const MASK_64 = 0xffffffffffffffffn;

/** Where bbolt itself looks for the second meta page when the first is bad (db.go, getPageSizeFromSecondMeta): 1 KiB to 16 MiB. */
const SECOND_META_PLACES = Array.from({ length: 15 }, (_, i) => 1024 << i);

export interface Meta {
  readonly order: ByteOrder;
  readonly pageSize: number;
  /** Page of the tree that holds the buckets. */
  readonly root: bigint;
  /** Page of the list of free pages; undefined when it is not stored, as in every database of etcd on Linux. */
  readonly freelist: bigint | undefined;
  /** First page id that was never used: the database is this many pages long. */
  readonly highWater: bigint;
  readonly txid: bigint;
  /** No version sets any. */
  readonly flags: number;
}

export interface Metas {
  /** The valid one with the higher txid. */
  readonly current: Meta;
  /** Pages 0 and 1; undefined for one that is not valid. */
  readonly pages: readonly [Meta | undefined, Meta | undefined];
}

/** @throws WardenError `not-bolt` when neither page is valid */
export async function readMetas(file: RandomAccess, signal?: AbortSignal): Promise<Metas> {
  const first = await metaAt(file, 0, signal);
  const places = first === undefined ? SECOND_META_PLACES : [first.pageSize];
  let second: Meta | undefined;
  for (const place of places) {
    const found = await metaAt(file, place, signal);
    if (found?.pageSize === place) second = found;
    if (second !== undefined) break;
  }
  const current = first !== undefined && second !== undefined && second.txid > first.txid ? second : (first ?? second);
  if (current === undefined) throw notBolt(`no valid bbolt meta page in ${file.size} bytes`);
  return { current, pages: [first, second] };
}

/** The current meta page alone. @throws WardenError `not-bolt` */
export async function readMeta(file: RandomAccess, signal?: AbortSignal): Promise<Meta> {
  return (await readMetas(file, signal)).current;
}

/**
 * What is wrong with the meta pages of a snapshot, where etcd writes both from one transaction, the second numbered one less (tx.go, `WriteTo`); undefined
 * when nothing is. Not for a database that lived on: there each transaction rewrites one of them.
 */
export function disagreement({ pages: [first, second] }: Metas): string | undefined {
  if (first === undefined || second === undefined) return `meta page ${first === undefined ? 0 : 1} is not valid`;
  const same =
    first.order === second.order &&
    first.root === second.root &&
    first.freelist === second.freelist &&
    first.highWater === second.highWater &&
    first.txid === second.txid + 1n;
  return same ? undefined : 'the two meta pages of a snapshot are copies of one, these are not';
}

async function metaAt(file: RandomAccess, offset: number, signal?: AbortSignal): Promise<Meta | undefined> {
  if (offset + META_AT + META_LENGTH > file.size) return undefined;
  return parseMeta(await file.read(offset + META_AT, META_LENGTH, signal));
}

/** A meta from its 64 bytes; undefined when magic, version, page size or checksum are not right. */
export function parseMeta(bytes: Buffer): Meta | undefined {
  const order = [LITTLE_ENDIAN, BIG_ENDIAN].find((each) => each.u32(bytes, 0) === MAGIC);
  if (order === undefined || order.u32(bytes, 4) !== VERSION) return undefined;
  if (order.u64(bytes, CHECKSUM_AT) !== fnv1a64(bytes.subarray(0, CHECKSUM_AT))) return undefined;
  const pageSize = order.u32(bytes, 8);
  if (!SECOND_META_PLACES.includes(pageSize)) return undefined;
  const freelist = order.u64(bytes, 32);
  return {
    order,
    pageSize,
    root: order.u64(bytes, 16),
    freelist: freelist === NO_FREELIST ? undefined : freelist,
    highWater: order.u64(bytes, 40),
    txid: order.u64(bytes, 48),
    flags: order.u32(bytes, 12),
  };
}

export function fnv1a64(bytes: Buffer): bigint {
  let hash = FNV_OFFSET;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * FNV_PRIME) & MASK_64;
  return hash;
}
