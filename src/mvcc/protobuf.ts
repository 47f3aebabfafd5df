/**
 * The little of protobuf that etcd stores: varints and bytes (https://protobuf.dev/programming-guides/encoding/). By hand, because a generic
 * decoder makes objects by the million, loses order and unknown fields, and forgives what etcd's own encoder never writes.
 */
import { notEtcd } from './errors.ts';

export const VARINT = 0;
export const BYTES = 2;
const FIXED64 = 1;
const FIXED32 = 5;

const MAX_FIELD = 2 ** 29 - 1;

/** Where a message is read. One per message, moved on by the functions below. */
export interface Cursor {
  readonly bytes: Buffer;
  at: number;
  /** For errors, e.g. `a KeyValue`. */
  readonly what: string;
}

/** The next field's tag: its number times 8 plus its wire type. @throws WardenError `not-etcd` */
export function readTag(cursor: Cursor): number {
  const tag = readUnsigned(cursor);
  const number = tag >>> 3;
  if (tag > MAX_FIELD * 8 + 7 || number === 0) throw invalid(cursor, 'a field has an impossible number');
  return tag;
}

/** An unsigned varint that is exact up to 2^53; beyond it is at least that large. @throws WardenError `not-etcd` */
export function readUnsigned(cursor: Cursor): number {
  const { bytes, at } = cursor;
  const first = bytes[at];
  // Tags, lengths of keys and versions: nearly all have one byte.
  if (first !== undefined && first < 0x80) {
    cursor.at = at + 1;
    return first;
  }
  return Number(readUint64(cursor));
}

/** @throws WardenError `not-etcd` when it is cut off, has more than 64 bits, or more bytes than it needs: no encoder writes such */
export function readUint64(cursor: Cursor): bigint {
  const { bytes } = cursor;
  // Seven bytes carry 49 bits, which a number holds exactly: revisions need no more, and big integers are slow.
  let low = 0;
  for (let i = 0, unit = 1; i < 7; i += 1, unit *= 128) {
    const byte = nextByte(cursor, bytes);
    low += (byte & 0x7f) * unit;
    if (byte < 0x80) {
      if (byte === 0 && i > 0) throw invalid(cursor, 'a varint has more bytes than it needs');
      return BigInt(low);
    }
  }
  let high = 0;
  for (let i = 7, unit = 1; i < 10; i += 1, unit *= 128) {
    const byte = nextByte(cursor, bytes);
    high += (byte & 0x7f) * unit;
    if (i === 9 && byte > 1) break;
    if (byte < 0x80) {
      if (byte === 0) throw invalid(cursor, 'a varint has more bytes than it needs');
      return BigInt(low) + (BigInt(high) << 49n);
    }
  }
  throw invalid(cursor, 'a varint has more than 64 bits');
}

/** A signed number as protobuf's int64: negative ones take ten bytes. @throws WardenError `not-etcd` */
export function readInt64(cursor: Cursor): bigint {
  return BigInt.asIntN(64, readUint64(cursor));
}

/** A view of the bytes of a length-delimited field. @throws WardenError `not-etcd` */
export function readBytes(cursor: Cursor): Buffer {
  const length = readUnsigned(cursor);
  const end = cursor.at + length;
  if (end > cursor.bytes.length) throw invalid(cursor, 'a field is longer than the rest of it');
  const view = cursor.bytes.subarray(cursor.at, end);
  cursor.at = end;
  return view;
}

/** Moves over the value of a field that we do not know. @throws WardenError `not-etcd` */
export function skipValue(cursor: Cursor, tag: number): void {
  const wire = tag & 7;
  if (wire === VARINT) readUint64(cursor);
  else if (wire === BYTES) readBytes(cursor);
  else if (wire === FIXED64 || wire === FIXED32) {
    cursor.at += wire === FIXED64 ? 8 : 4;
    if (cursor.at > cursor.bytes.length) throw invalid(cursor, 'a field is longer than the rest of it');
  } else throw invalid(cursor, `a field has wire type ${wire}`);
}

/** @throws WardenError `not-etcd` */
export function expectWire(cursor: Cursor, tag: number, wire: number): void {
  if ((tag & 7) !== wire) throw invalid(cursor, `field ${tag >>> 3} has wire type ${tag & 7} instead of ${wire}`);
}

/** An unsigned varint of at most 64 bits; negative numbers as two's complement. */
export function varintBytes(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return bytes;
}

export function invalid(cursor: Cursor, why: string): Error {
  return notEtcd(`${cursor.what} cannot be read: ${why}`);
}

function nextByte(cursor: Cursor, bytes: Buffer): number {
  const byte = bytes[cursor.at];
  if (byte === undefined) throw invalid(cursor, 'it ends inside a varint');
  cursor.at += 1;
  return byte;
}
