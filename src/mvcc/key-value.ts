/**
 * The value of a record: mvccpb.KeyValue { 1 key, 2 create_revision, 3 mod_revision, 4 version, 5 value, 6 lease }, bytes and int64. etcd writes
 * fields in ascending order and leaves zeros out (3.4 to 3.7), so encoding what was read gives the same bytes: HashKV depends on it. A tombstone
 * has the key alone; the record that `--bump-revision` leaves has no bytes at all, and is the live key "" ever after.
 */
import { BYTES, type Cursor, expectWire, invalid, readBytes, readInt64, readTag, skipValue, VARINT, varintBytes } from './protobuf.ts';

export interface KeyValue {
  /** A view, as is `value`. */
  readonly key: Buffer;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  readonly version: bigint;
  readonly value: Buffer;
  /** 0n when none; ids of leases use all 63 bits. */
  readonly lease: bigint;
  /** Fields of a later etcd, each with its tag, in the order of the record. */
  readonly unknown: readonly Buffer[];
}

const EMPTY = Buffer.alloc(0);
const NONE: readonly Buffer[] = [];

const KEY = (1 << 3) | BYTES;
const VALUE = (5 << 3) | BYTES;
const LAST_KNOWN = 6;

/**
 * @returns views of `bytes`
 * @throws WardenError `not-etcd` when it is none, or a known field stands in it twice: which one counts would be a guess
 */
export function parseKeyValue(bytes: Buffer): KeyValue {
  const cursor: Cursor = { bytes, at: 0, what: 'a KeyValue' };
  const numbers: [bigint, bigint, bigint, bigint] = [0n, 0n, 0n, 0n]; // create_revision, mod_revision, version, lease
  let key: Buffer = EMPTY;
  let value: Buffer = EMPTY;
  let unknown: Buffer[] | undefined;
  let seen = 0;
  while (cursor.at < bytes.length) {
    const start = cursor.at;
    const tag = readTag(cursor);
    const field = tag >>> 3;
    if (field > LAST_KNOWN) {
      skipValue(cursor, tag);
      (unknown ??= []).push(bytes.subarray(start, cursor.at));
      continue;
    }
    if ((seen & (1 << field)) !== 0) throw invalid(cursor, `field ${field} stands in it twice`);
    seen |= 1 << field;
    if (field === 1 || field === 5) {
      expectWire(cursor, tag, BYTES);
      if (field === 1) key = readBytes(cursor);
      else value = readBytes(cursor);
      continue;
    }
    expectWire(cursor, tag, VARINT);
    numbers[field === 6 ? 3 : ((field - 2) as 0 | 1 | 2)] = readInt64(cursor);
  }
  const [createRevision, modRevision, version, lease] = numbers;
  return { key, createRevision, modRevision, version, value, lease, unknown: unknown ?? NONE };
}

/**
 * The key alone, for passes that need no more: the first field wherever etcd wrote the record.
 * @returns a view of `bytes`
 * @throws WardenError `not-etcd`
 */
export function keyOf(bytes: Buffer): Buffer {
  if (bytes.length === 0) return EMPTY;
  const length = bytes[1];
  if (bytes[0] !== KEY || length === undefined) return parseKeyValue(bytes).key;
  if (length < 0x80 && length + 2 <= bytes.length) return bytes.subarray(2, length + 2);
  return readBytes({ bytes, at: 1, what: 'a KeyValue' });
}

/** The bytes that etcd writes: known fields in ascending order without zeros, then the unknown ones. */
export function encodeKeyValue(record: KeyValue): Buffer {
  const parts: Buffer[] = [];
  function bytes(tag: number, content: Buffer): void {
    if (content.length > 0) parts.push(Buffer.from([tag, ...varintBytes(BigInt(content.length))]), content);
  }
  function number(field: number, content: bigint): void {
    if (content !== 0n) parts.push(Buffer.from([(field << 3) | VARINT, ...varintBytes(content)]));
  }
  bytes(KEY, record.key);
  number(2, record.createRevision);
  number(3, record.modRevision);
  number(4, record.version);
  bytes(VALUE, record.value);
  number(6, record.lease);
  return Buffer.concat([...parts, ...record.unknown]);
}
