/**
 * One leaf of bucket `key`, looked at where it lies: each record checked, and summed up in a few numbers. Nothing is allocated, because this is done
 * for every record of a database, twice a backup.
 */
import { BUCKET_FLAG, ELEMENT_LENGTH, HEADER_LENGTH, LEAF } from '../../boltdb/page.ts';
import { digestBytes } from '../digest.ts';
import { isKubernetesKey } from '../kubernetes.ts';

/** What is kept of a record: 32-bit words. */
export const RECORD = {
  /** Digest of its key. */
  high: 0,
  low: 1,
  /** CRC32C of the leaf's records up to its end. */
  crc: 2,
  /** Bytes of key and value. */
  length: 3,
  /** Main revision; the highest bit of `mainHigh` says that it is a tombstone. */
  mainHigh: 4,
  mainLow: 5,
  /** The lowest 32 bits of these. */
  version: 6,
  created: 7,
} as const;
export const RECORD_WORDS = 8;
export const TOMBSTONE_BIT = 0x80000000;

/** Revisions are exact in a number up to here, and no store comes near it: at a million changes a second it takes 285 years. */
export const MAIN_HIGH_LIMIT = 0x200000;

/** Where a page lies: in the memory of the CRC program, or in a buffer. */
export interface Place {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Of the page. */
  readonly start: number;
  /** Of its run. */
  readonly end: number;
  readonly littleEndian: boolean;
  /** CRC32C of what came before and of the bytes from `at`. */
  readonly crc: (at: number, length: number, before: number) => number;
}

/** The figures of the leaf that was read last. */
export class LeafReader {
  count = 0;
  tombstones = 0;
  /** Records with version 1. */
  creations = 0;
  firstMain = 0;
  firstSub = 0;
  firstTombstone = false;
  lastMain = 0;
  lastSub = 0;
  lastTombstone = false;
  /** Each record is the next change after the one before it: revisions without a gap, changes of a revision counted from 0. */
  gapless = true;
  /** There is a record without a value, which `--bump-revision` leaves. */
  raised = false;
  /** There is a record of an API server's key. */
  kubernetes = false;
  crc = 0;
  /** Bytes of keys and values. */
  length = 0;
  /** `count` times {@link RECORD_WORDS}. */
  records = new Uint32Array(64 * RECORD_WORDS);
  /** What is wrong with the leaf when `read` returned false. */
  problem = '';
  readonly #seed: number;
  readonly #digest = new Uint32Array(2);
  // Of the record at hand.
  #at = 0;
  #keyAt = 0;
  #keyEnd = 0;
  #created = 0;
  #modified = 0;
  #version = 0;
  #fields = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** @returns whether every record is what etcd writes; `problem` says what is not */
  read(place: Place): boolean {
    const { bytes, view, start, end, littleEndian } = place;
    const count = view.getUint16(start + 10, littleEndian);
    this.count = count;
    this.tombstones = 0;
    this.creations = 0;
    this.crc = 0;
    this.length = 0;
    this.lastMain = -1;
    this.gapless = true;
    this.raised = false;
    this.kubernetes = false;
    if (view.getUint16(start + 8, littleEndian) !== LEAF) return this.#fail(0, 'it is no leaf');
    let expected = start + HEADER_LENGTH + count * ELEMENT_LENGTH;
    if (count === 0 || expected > end) return this.#fail(0, 'its table of elements does not fit');
    if (this.records.length < count * RECORD_WORDS) this.records = new Uint32Array(count * RECORD_WORDS * 2);
    for (let i = 0; i < count; i += 1) {
      const at = start + HEADER_LENGTH + i * ELEMENT_LENGTH;
      const flags = view.getUint32(at, littleEndian);
      const keyAt = at + view.getUint32(at + 4, littleEndian);
      const keyLength = view.getUint32(at + 8, littleEndian);
      const valueAt = keyAt + keyLength;
      const valueEnd = valueAt + view.getUint32(at + 12, littleEndian);
      // bbolt writes keys and values one behind the other (boltdb/strict.ts).
      if (flags !== 0 || keyAt !== expected || valueEnd > end)
        return this.#fail(i, (flags & BUCKET_FLAG) === 0 ? 'it lies outside of its place' : 'it is a bucket');
      expected = valueEnd;
      if (!this.#record(i, bytes, keyAt, keyLength, valueEnd)) return false;
      this.crc = place.crc(keyAt, valueEnd - keyAt, this.crc);
      this.length += valueEnd - keyAt;
      this.records[i * RECORD_WORDS + RECORD.crc] = this.crc;
      this.records[i * RECORD_WORDS + RECORD.length] = valueEnd - keyAt;
    }
    return true;
  }

  #record(i: number, bytes: Uint8Array, at: number, keyLength: number, end: number): boolean {
    const tombstone = keyLength === 18 && bytes[at + 17] === 0x74;
    if ((keyLength !== 17 && !tombstone) || bytes[at + 8] !== 0x5f) return this.#fail(i, 'its key is not a revision');
    const mainHigh = word(bytes, at);
    const mainLow = word(bytes, at + 4);
    const sub = word(bytes, at + 13);
    if (mainHigh >= MAIN_HIGH_LIMIT || word(bytes, at + 9) !== 0) return this.#fail(i, 'its revision is beyond 2^53');
    const main = mainHigh * 2 ** 32 + mainLow;
    // A record and a tombstone of one revision never both exist, so the mark at the end need not be compared.
    if (main < this.lastMain || (main === this.lastMain && sub <= this.lastSub))
      return this.#fail(i, 'its revision is not greater than the one before it');
    if (i === 0) {
      this.firstMain = main;
      this.firstSub = sub;
      this.firstTombstone = tombstone;
    } else if (sub === 0 ? main !== this.lastMain + 1 : main !== this.lastMain || sub !== this.lastSub + 1) this.gapless = false;
    this.lastMain = main;
    this.lastSub = sub;
    this.lastTombstone = tombstone;
    if (!this.#keyValue(i, bytes, at + keyLength, end)) return false;
    if (tombstone) this.tombstones += 1;
    else if (this.#fields === 0) this.raised = true;
    else if (this.#version === 1) this.creations += 1;
    if ((tombstone || this.#fields !== 0) && !this.#plausible(i, main, tombstone)) return false;
    if (!this.kubernetes && isKubernetesKey(bytes, this.#keyAt, this.#keyEnd)) this.kubernetes = true;
    const { records } = this;
    const to = i * RECORD_WORDS;
    digestBytes(bytes, this.#keyAt, this.#keyEnd, this.#seed, this.#digest);
    records[to + RECORD.high] = this.#digest[0]!;
    records[to + RECORD.low] = this.#digest[1]!;
    records[to + RECORD.mainHigh] = mainHigh | (tombstone ? TOMBSTONE_BIT : 0);
    records[to + RECORD.mainLow] = mainLow;
    records[to + RECORD.version] = this.#version;
    records[to + RECORD.created] = this.#created;
    return true;
  }

  /** What continuity.ts asks of a record by itself. */
  #plausible(i: number, main: number, tombstone: boolean): boolean {
    if (this.#keyEnd === this.#keyAt) return this.#fail(i, 'it has no key');
    if (tombstone) return (this.#fields & ~2) === 0 || this.#fail(i, 'it deletes a key and has more than its name');
    if (this.#modified !== main) return this.#fail(i, `it says that it is of revision ${this.#modified}, its place is ${main}`);
    const fits = this.#created >= 1 && this.#created <= main && this.#version >= 1 && (this.#version === 1) === (this.#created === main);
    return (
      fits || this.#fail(i, `it is version ${this.#version} of a key that was created at revision ${this.#created}, and lies at ${main}`)
    );
  }

  /** key-value.ts says what a KeyValue is; this reads the numbers of one and finds its key. */
  #keyValue(i: number, bytes: Uint8Array, from: number, end: number): boolean {
    this.#at = from;
    this.#keyAt = from;
    this.#keyEnd = from;
    this.#created = 0;
    this.#modified = 0;
    this.#version = 0;
    let fields = 0;
    while (this.#at < end) {
      const tag = this.#varint(bytes, end);
      const field = tag < 0x80 ? tag >> 3 : Math.floor(tag / 8);
      const wire = tag < 0x80 ? tag & 7 : tag % 8;
      if (field < 1) return this.#fail(i, 'its value is no KeyValue');
      if (field <= 6) {
        if ((fields & (1 << field)) !== 0) return this.#fail(i, `its value holds field ${field} twice`);
        fields |= 1 << field;
        if (wire !== (field === 1 || field === 5 ? 2 : 0)) return this.#fail(i, `field ${field} of its value has wire type ${wire}`);
      }
      if (wire === 0) {
        const number = this.#varint(bytes, end);
        if (number < 0) return this.#fail(i, 'its value ends inside a number');
        if (field === 2) this.#created = number;
        else if (field === 3) this.#modified = number;
        else if (field === 4) this.#version = number;
      } else {
        const length = wire === 2 ? this.#varint(bytes, end) : wire === 1 ? 8 : wire === 5 ? 4 : -1;
        if (length < 0 || length > end - this.#at) return this.#fail(i, 'a field of its value does not fit into it');
        if (field === 1) {
          this.#keyAt = this.#at;
          this.#keyEnd = this.#at + length;
        }
        this.#at += length;
      }
    }
    this.#fields = fields;
    return true;
  }

  /** Exact to 2^53, about right beyond; -1 when there is none, or one of more than 64 bits. */
  #varint(bytes: Uint8Array, end: number): number {
    let at = this.#at;
    const first = bytes[at]!;
    if (first < 0x80 && at < end) {
      this.#at = at + 1;
      return first;
    }
    let number = 0;
    let unit = 1;
    for (const limit = Math.min(end, at + 10); at < limit; unit *= 128) {
      const byte = bytes[at]!;
      at += 1;
      number += (byte & 0x7f) * unit;
      if (byte < 0x80) {
        this.#at = at;
        return number;
      }
    }
    this.#at = end;
    return -1;
  }

  #fail(element: number, why: string): boolean {
    this.problem = `element ${element}: ${why}`;
    return false;
  }
}

/** Big-endian. */
export function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
