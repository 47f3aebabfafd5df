/**
 * The bytes of a key index, below compression and encryption (docs/formats.md, "Key index"): blocks of entries sorted by key, a list of the
 * blocks, a footer. A reader fetches footer, list and the one block that can hold its key; a list is some 40 bytes for each 64 KiB.
 *
 * Nothing in here is trusted for more than finding a record: it is looked at before anybody sees it (reader.ts).
 */
import { WardenError } from '../../errors.ts';
import type { KeyRevision } from '../types.ts';
import { readVarint, type VarintCursor } from './varint.ts';

export const INDEX_VERSION = 1;
export const FOOTER_LENGTH = 128;
const MAGIC = Buffer.from('EWKEYIDX');
const ID_LENGTH = 32;

/** A block is cut after the entry that makes it this long. */
export const BLOCK_LENGTH = 64 * 1024;

/** Block lists and blocks beyond this are refused on both sides. A list of this length belongs to 100 GiB of index; a block holds one key at least, and etcd takes none of this size. */
export const MAX_PART_LENGTH = 64 * 2 ** 20;

export const TOMBSTONE = 0x01;
/** Another revision of the same key follows. */
export const MORE = 0x02;
export const HAS_SUB = 0x04;
export const HAS_LEASE = 0x08;
/** Create revision and version are written; without it they are the revision itself and 1. */
export const HAS_HISTORY = 0x10;
const KNOWN_FLAGS = TOMBSTONE | MORE | HAS_SUB | HAS_LEASE | HAS_HISTORY;

/** A revision and where its record lies: `at` is the plain offset of the record's key in its leaf, `recordBytes` the length of the KeyValue behind that. */
export interface PlacedRevision extends KeyRevision {
  readonly at: number;
  readonly recordBytes: number;
}

export interface PlacedEntry {
  readonly key: Buffer;
  readonly revisions: readonly PlacedRevision[];
}

/** Which backup an index is of. */
export interface IndexSubject {
  readonly id: string;
  /** Of the plain snapshot, hex. */
  readonly sha256: string;
  readonly plainBytes: number;
}

export interface Footer extends IndexSubject {
  readonly listOffset: number;
  readonly listLength: number;
  readonly blocks: number;
  readonly keys: number;
  readonly revisions: number;
}

export interface Block {
  /** Not greater than any key of the block, and greater than all keys before it unless `continues`. */
  readonly lower: Buffer;
  readonly offset: number;
  readonly length: number;
  /** Its first key is the last key of the block before, with further revisions. */
  readonly continues: boolean;
}

export function encodeFooter(footer: Footer): Buffer {
  const bytes = Buffer.alloc(FOOTER_LENGTH);
  let at = 0;
  for (const number of [footer.listOffset, footer.listLength, footer.blocks, footer.keys, footer.revisions, footer.plainBytes])
    at = bytes.writeBigUInt64LE(BigInt(number), at);
  at += bytes.write(footer.sha256, at, 'hex');
  bytes.write(footer.id, at, ID_LENGTH, 'latin1');
  bytes.writeUInt32LE(INDEX_VERSION, FOOTER_LENGTH - 12);
  MAGIC.copy(bytes, FOOTER_LENGTH - MAGIC.length);
  return bytes;
}

/**
 * @param bytes the last {@link FOOTER_LENGTH} bytes of an index
 * @param size of the whole index
 * @throws WardenError `index-invalid`
 */
export function decodeFooter(bytes: Buffer, size: number): Footer {
  if (bytes.length !== FOOTER_LENGTH || !bytes.subarray(-MAGIC.length).equals(MAGIC))
    throw indexInvalid('it does not end as a key index does: it is cut short, or something else');
  const version = bytes.readUInt32LE(FOOTER_LENGTH - 12);
  if (version !== INDEX_VERSION)
    throw indexInvalid(`it is of version ${version}, and this etcd-warden reads version ${INDEX_VERSION}: a newer one wrote it`);
  const [listOffset, listLength, blocks, keys, revisions, plainBytes] = Array.from({ length: 6 }, (_, i) =>
    Number(bytes.readBigUInt64LE(i * 8)),
  ) as [number, number, number, number, number, number];
  if (listOffset + listLength + FOOTER_LENGTH !== size || listLength > MAX_PART_LENGTH)
    throw indexInvalid(`its footer says ${listOffset} and ${listLength} bytes, it has ${size}`);
  const id = bytes.toString('latin1', 80, 80 + ID_LENGTH).replace(/\0+$/u, '');
  return { listOffset, listLength, blocks, keys, revisions, plainBytes, sha256: bytes.toString('hex', 48, 80), id };
}

/** @param bytes the list of blocks. @throws WardenError `index-invalid` */
export function decodeList(bytes: Buffer, footer: Footer): Block[] {
  const cursor: VarintCursor = { bytes, at: 0 };
  const blocks: Block[] = [];
  let lower: Buffer = Buffer.alloc(0);
  let offset = 0;
  while (cursor.at < bytes.length) {
    const key = readKey(cursor, lower);
    const tagged = readVarint(cursor);
    if (key === undefined || tagged === undefined) throw indexInvalid('its list of blocks is damaged');
    const length = Math.floor(tagged / 2);
    if (length === 0 || length > MAX_PART_LENGTH || (blocks.length > 0 && Buffer.compare(key, lower) < 0))
      throw indexInvalid('its list of blocks is not in order');
    blocks.push({ lower: key, offset, length, continues: tagged % 2 === 1 });
    lower = key;
    offset += length;
  }
  if (offset !== footer.listOffset || blocks.length !== footer.blocks)
    throw indexInvalid(`its list has ${blocks.length} blocks of ${offset} bytes, its footer says ${footer.blocks} of ${footer.listOffset}`);
  return blocks;
}

/**
 * The entries of a block.
 * @param plainBytes of the snapshot: no record lies beyond it
 * @throws WardenError `index-invalid`
 */
export function* decodeBlock(bytes: Buffer, plainBytes: number): Generator<PlacedEntry, void, undefined> {
  const cursor: VarintCursor = { bytes, at: 0 };
  let previous: Buffer | undefined;
  while (cursor.at < bytes.length) {
    const key = readKey(cursor, previous ?? Buffer.alloc(0));
    if (key === undefined) throw indexInvalid('a key of it is damaged');
    if (previous !== undefined && Buffer.compare(previous, key) >= 0) throw indexInvalid('its keys are not in order');
    const revisions: PlacedRevision[] = [];
    for (;;) {
      const flags = bytes[cursor.at];
      const revision = readRevision(cursor, key.length, plainBytes);
      const last = revisions.at(-1);
      if (flags === undefined || revision === undefined) throw indexInvalid('a revision of it is damaged');
      if (last !== undefined && !isBefore(last, revision)) throw indexInvalid('its revisions are not in order');
      revisions.push(revision);
      if ((flags & MORE) === 0) break;
    }
    previous = key;
    yield { key, revisions };
  }
}

/** Whether `a` is the earlier of two changes. */
export function isBefore(a: KeyRevision, b: KeyRevision): boolean {
  return a.main < b.main || (a.main === b.main && a.sub < b.sub);
}

/** The error of an index that cannot be used; the caller's message names it. */
export function indexInvalid(why: string, id?: string): WardenError {
  return new WardenError('index-invalid', `the key index${id === undefined ? '' : ` of ${id}`} cannot be used: ${why}`, {
    hint: `the backup itself is another matter; \`etcd-warden verify ${id ?? 'ID'} --repair-index\` makes the index again`,
  });
}

/** A copy, so that it stays when the block is gone. */
function readKey(cursor: VarintCursor, previous: Buffer): Buffer | undefined {
  const shared = readVarint(cursor);
  const length = readVarint(cursor);
  if (shared === undefined || length === undefined || shared > previous.length || cursor.at + length > cursor.bytes.length)
    return undefined;
  const key = Buffer.allocUnsafe(shared + length);
  previous.copy(key, 0, 0, shared);
  key.set(cursor.bytes.subarray(cursor.at, cursor.at + length), shared);
  cursor.at += length;
  return key;
}

/** What a record is longer than its key and value: tags, numbers, and fields of a later etcd. */
const MAX_OVERHEAD = 2 ** 20;

/** Revision keys of records: 17 bytes, 18 for a tombstone. */
const REVISION_LENGTH = 17;

function readRevision(cursor: VarintCursor, keyLength: number, plainBytes: number): PlacedRevision | undefined {
  const flags = cursor.bytes[cursor.at];
  if (flags === undefined || (flags & ~KNOWN_FLAGS) !== 0) return undefined;
  cursor.at += 1;
  const tombstone = (flags & TOMBSTONE) !== 0;
  const main = readVarint(cursor);
  const sub = (flags & HAS_SUB) === 0 ? 0 : readVarint(cursor);
  let createRevision = tombstone ? 0 : main;
  let version: number | undefined = tombstone ? 0 : 1;
  let lease: bigint | undefined = 0n;
  let valueBytes: number | undefined = 0;
  if ((flags & HAS_HISTORY) !== 0) {
    createRevision = readVarint(cursor);
    version = readVarint(cursor);
  }
  if ((flags & HAS_LEASE) !== 0) lease = readLease(cursor);
  if (!tombstone) valueBytes = readVarint(cursor);
  const overhead = readVarint(cursor);
  const at = readVarint(cursor);
  if (main === undefined || sub === undefined || createRevision === undefined || version === undefined) return undefined;
  if (lease === undefined || valueBytes === undefined || overhead === undefined || at === undefined) return undefined;
  const recordBytes = keyLength + valueBytes + overhead;
  if (overhead > MAX_OVERHEAD || at + REVISION_LENGTH + (tombstone ? 1 : 0) + recordBytes > plainBytes) return undefined;
  return {
    main: BigInt(main),
    sub: BigInt(sub),
    tombstone,
    createRevision: BigInt(createRevision),
    version: BigInt(version),
    lease,
    valueBytes,
    at,
    recordBytes,
  };
}

function readLease(cursor: VarintCursor): bigint | undefined {
  const { bytes, at } = cursor;
  if (at + 8 > bytes.length) return undefined;
  cursor.at += 8;
  return new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(at, true);
}
