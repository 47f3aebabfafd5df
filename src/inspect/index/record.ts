/** What the index needs of a record, read where it lies: the numbers, and where the key begins and ends. */
import { parseKeyValue } from '../../mvcc/key-value.ts';

/** One for a whole pass: nothing is made for a record. */
export interface RecordFields {
  /** Offsets in the bytes that were read. */
  keyAt: number;
  keyEnd: number;
  createRevision: number;
  modRevision: number;
  version: number;
  valueLength: number;
  /** The two halves of the lease's id, as bits. */
  leaseLow: number;
  leaseHigh: number;
}

export function noFields(): RecordFields {
  return { keyAt: 0, keyEnd: 0, createRevision: 0, modRevision: 0, version: 0, valueLength: 0, leaseLow: 0, leaseHigh: 0 };
}

const KEY_TAG = 0x0a;
const CREATE_TAG = 0x10;
const MOD_TAG = 0x18;
const VERSION_TAG = 0x20;
const VALUE_TAG = 0x2a;
const LEASE_TAG = 0x30;

/**
 * Reads a KeyValue between two offsets. What etcd writes is read straight through; anything else (fields of a later etcd, another order) goes to the full parser.
 * @returns false when it is none, or a number in it is above 2^53
 */
export function readFields(bytes: Buffer, start: number, end: number, into: RecordFields): boolean {
  into.keyAt = into.keyEnd = start;
  into.createRevision = into.modRevision = into.version = into.valueLength = into.leaseLow = into.leaseHigh = 0;
  let at = start;
  let before = 0;
  while (at < end) {
    const tag = bytes[at]!;
    // Ascending, each once, as every encoder of etcd does.
    if (tag <= before) return readWhole(bytes, start, end, into);
    before = tag;
    // A varint of up to 53 bits; the lease, which uses 63, has its own loop.
    at += 1;
    if (tag === LEASE_TAG) {
      const leaseEnd = readLease(bytes, at, end, into);
      if (leaseEnd === 0) return readWhole(bytes, start, end, into);
      at = leaseEnd;
      continue;
    }
    let number = 0;
    let unit = 1;
    for (;;) {
      const byte = at < end ? bytes[at]! : 0xff;
      at += 1;
      number += (byte & 0x7f) * unit;
      if (byte < 0x80) break;
      unit *= 128;
      if (unit > 2 ** 49) return readWhole(bytes, start, end, into);
    }
    if (number > Number.MAX_SAFE_INTEGER) return false;
    switch (tag) {
      case KEY_TAG:
        into.keyAt = at;
        at += number;
        into.keyEnd = at;
        break;
      case CREATE_TAG:
        into.createRevision = number;
        break;
      case MOD_TAG:
        into.modRevision = number;
        break;
      case VERSION_TAG:
        into.version = number;
        break;
      case VALUE_TAG:
        into.valueLength = number;
        at += number;
        break;
      default:
        return readWhole(bytes, start, end, into);
    }
    if (at > end) return false;
  }
  return true;
}

/** @returns the offset after it, 0 when it is none of 64 bits */
function readLease(bytes: Buffer, start: number, end: number, into: RecordFields): number {
  let low = 0;
  let high = 0;
  for (let at = start, shift = 0; at < end && shift < 70; at += 1, shift += 7) {
    const byte = bytes[at]!;
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high |= bits >>> 4;
    } else high |= bits << (shift - 32);
    if (byte < 0x80) {
      into.leaseLow = low >>> 0;
      into.leaseHigh = high >>> 0;
      return at + 1;
    }
  }
  return 0;
}

function readWhole(bytes: Buffer, start: number, end: number, into: RecordFields): boolean {
  try {
    const { key, createRevision, modRevision, version, value, lease } = parseKeyValue(bytes.subarray(start, end));
    if ([createRevision, modRevision, version].some((number) => number < 0n || number > BigInt(Number.MAX_SAFE_INTEGER))) return false;
    // An empty key is no view of anything.
    into.keyAt = key.length === 0 ? start : key.byteOffset - bytes.byteOffset;
    into.keyEnd = into.keyAt + key.length;
    into.createRevision = Number(createRevision);
    into.modRevision = Number(modRevision);
    into.version = Number(version);
    into.valueLength = value.length;
    into.leaseLow = Number(BigInt.asUintN(32, lease));
    into.leaseHigh = Number(BigInt.asUintN(32, lease >> 32n));
    return true;
  } catch {
    return false; // its page says so, once it is known to be one of the tree
  }
}
