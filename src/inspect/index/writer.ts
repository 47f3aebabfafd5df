/** Sorted items in, the bytes of an index out: blocks, their list, the footer. */
import {
  BLOCK_LENGTH,
  encodeFooter,
  HAS_HISTORY,
  HAS_LEASE,
  HAS_SUB,
  indexInvalid,
  MAX_PART_LENGTH,
  MORE,
  TOMBSTONE,
  type IndexSubject,
} from './format.ts';
import { historyBroken } from '../../mvcc/errors.ts';
import { WardenError } from '../../errors.ts';
import { ITEM_KEY, REVISION_BYTES } from './run.ts';
import { MAX_VARINT_LENGTH, writeVarint } from './varint.ts';

/** Where the bytes go: a sealer. They may be used again when it returns, or its promise resolves. */
export interface IndexSink {
  write(bytes: Buffer): void | Promise<void>;
}

export interface IndexCounts {
  readonly keys: number;
  readonly revisions: number;
  readonly blocks: number;
  /** Plain bytes of the index. */
  readonly bytes: number;
}

/** The most that an entry takes beside its key: seven varints, flags and a lease. */
const MAX_ENTRY_OVERHEAD = 2 * MAX_VARINT_LENGTH + 1 + 7 * MAX_VARINT_LENGTH + 8;

export class IndexWriter {
  readonly #sink: IndexSink;
  readonly #subject: IndexSubject;
  readonly #pageSize: number;
  #block = Buffer.allocUnsafeSlow(2 * BLOCK_LENGTH);
  #used = 0;
  #list = Buffer.allocUnsafeSlow(2 ** 16);
  #listUsed = 0;
  #listed: Buffer = Buffer.alloc(0);
  #blocks = 0;
  #bytes = 0;
  #keys = 0;
  #revisions = 0;
  /** Key and revision of the item before, and where its flags stand in the block. */
  #previous = Buffer.allocUnsafeSlow(4096);
  #previousLength = -1;
  #flagsAt = -1;
  /** Of the current block: what its list entry says. */
  #lower: Buffer = Buffer.alloc(0);
  #continues = false;

  constructor(sink: IndexSink, subject: IndexSubject, pageSize: number) {
    this.#sink = sink;
    this.#subject = subject;
    this.#pageSize = pageSize;
  }

  /**
   * The next item in order (run.ts); it may change when this returns.
   * @throws WardenError `history-broken` when it is not after the one before: two records of one revision; `refused` for a revision above 2^53
   */
  add(item: Buffer, at: number): void | Promise<void> {
    const keyLength = item.readUInt32LE(at + 4);
    const keyAt = at + ITEM_KEY;
    const shared = this.#sharedWith(item, keyAt, keyLength);
    const sameKey = shared === keyLength && this.#previousLength === keyLength;
    if (sameKey && !this.#isLater(item, keyAt + keyLength)) throw historyBroken('two records have the same revision');
    const full = this.#used >= BLOCK_LENGTH ? this.#cut() : undefined;
    this.#reserve(keyLength + MAX_ENTRY_OVERHEAD);
    if (this.#used === 0) {
      this.#continues = sameKey;
      // As much of the key as tells it from the one before: what a reader needs to find the block.
      this.#lower = Buffer.from(item.subarray(keyAt, keyAt + (this.#blocks === 0 ? 0 : Math.min(keyLength, shared + 1))));
      this.#writeKey(item, keyAt, keyLength, 0);
    } else if (sameKey) this.#block[this.#flagsAt]! |= MORE;
    else this.#writeKey(item, keyAt, keyLength, shared);
    if (!sameKey) this.#keys += 1;
    this.#writeRevision(item, keyAt, keyLength);
    this.#remember(item, keyAt, keyLength);
    return full;
  }

  /** The list and the footer. */
  async finish(): Promise<IndexCounts> {
    if (this.#used > 0) await this.#cut();
    const listOffset = this.#bytes;
    const list = this.#list.subarray(0, this.#listUsed);
    await this.#sink.write(list);
    const counts = { keys: this.#keys, revisions: this.#revisions, blocks: this.#blocks };
    const footer = encodeFooter({ ...this.#subject, ...counts, listOffset, listLength: list.length });
    await this.#sink.write(footer);
    return { ...counts, bytes: listOffset + list.length + footer.length };
  }

  #writeKey(item: Buffer, keyAt: number, keyLength: number, shared: number): void {
    let at = writeVarint(this.#block, this.#used, shared);
    at = writeVarint(this.#block, at, keyLength - shared);
    this.#used = at + item.copy(this.#block, at, keyAt + shared, keyAt + keyLength);
  }

  #writeRevision(item: Buffer, keyAt: number, keyLength: number): void {
    const block = this.#block;
    let from = keyAt + keyLength;
    const main = item.readUInt32BE(from) * 2 ** 32 + item.readUInt32BE(from + 4);
    const sub = item.readUInt32BE(from + 8) * 2 ** 32 + item.readUInt32BE(from + 12);
    if (main > Number.MAX_SAFE_INTEGER || sub > Number.MAX_SAFE_INTEGER)
      throw new WardenError('refused', 'a revision of the database is above 2^53, and no key index can hold it');
    from += REVISION_BYTES;
    const flags = item[from]! | (sub === 0 ? 0 : HAS_SUB);
    const offset = item.readUInt32LE(from + 1) * this.#pageSize + item.readUInt32LE(from + 5);
    const recordBytes = item.readUInt32LE(from + 9);
    const valueBytes = item.readUInt32LE(from + 13);
    from += 17;
    this.#flagsAt = this.#used;
    block[this.#used] = flags;
    let at = writeVarint(block, this.#used + 1, main);
    if (sub !== 0) at = writeVarint(block, at, sub);
    if ((flags & HAS_HISTORY) !== 0) {
      at = writeVarint(block, at, item.readDoubleLE(from));
      at = writeVarint(block, at, item.readDoubleLE(from + 8));
      from += 16;
    }
    if ((flags & HAS_LEASE) !== 0) at += item.copy(block, at, from, from + 8);
    if ((flags & TOMBSTONE) === 0) at = writeVarint(block, at, valueBytes);
    at = writeVarint(block, at, recordBytes - keyLength - valueBytes);
    this.#used = writeVarint(block, at, offset);
    this.#revisions += 1;
  }

  /** Ends the block and gives it away. */
  #cut(): void | Promise<void> {
    this.#listBlock();
    const block = this.#block.subarray(0, this.#used);
    this.#bytes += this.#used;
    this.#blocks += 1;
    this.#used = 0;
    const waiting = this.#sink.write(block);
    // The sink still reads it: the next one needs a buffer of its own.
    if (waiting !== undefined) this.#block = Buffer.allocUnsafeSlow(2 * BLOCK_LENGTH);
    return waiting;
  }

  #listBlock(): void {
    const lower = this.#lower;
    let shared = 0;
    while (shared < lower.length && shared < this.#listed.length && lower[shared] === this.#listed[shared]) shared += 1;
    const needed = this.#listUsed + lower.length - shared + 3 * MAX_VARINT_LENGTH;
    if (needed > MAX_PART_LENGTH || this.#used > MAX_PART_LENGTH)
      throw indexInvalid('its keys are too long for an index', this.#subject.id);
    if (needed > this.#list.length) this.#list = Buffer.concat([this.#list, Buffer.allocUnsafeSlow(needed)]);
    let at = writeVarint(this.#list, this.#listUsed, shared);
    at = writeVarint(this.#list, at, lower.length - shared);
    at += lower.copy(this.#list, at, shared);
    this.#listUsed = writeVarint(this.#list, at, 2 * this.#used + (this.#continues ? 1 : 0));
    this.#listed = lower;
  }

  #sharedWith(item: Buffer, keyAt: number, keyLength: number): number {
    const previous = this.#previous;
    const length = Math.min(keyLength, this.#previousLength);
    let shared = 0;
    while (shared < length && previous[shared] === item[keyAt + shared]) shared += 1;
    return shared;
  }

  #isLater(item: Buffer, revisionAt: number): boolean {
    const at = this.#previousLength;
    return item.compare(this.#previous, at, at + REVISION_BYTES, revisionAt, revisionAt + REVISION_BYTES) > 0;
  }

  #remember(item: Buffer, keyAt: number, keyLength: number): void {
    if (keyLength + REVISION_BYTES > this.#previous.length) this.#previous = Buffer.allocUnsafeSlow(2 * (keyLength + REVISION_BYTES));
    item.copy(this.#previous, 0, keyAt, keyAt + keyLength + REVISION_BYTES);
    this.#previousLength = keyLength;
  }

  #reserve(length: number): void {
    if (this.#used + length <= this.#block.length) return;
    const larger = Buffer.allocUnsafeSlow(this.#used + 2 * length);
    this.#block.copy(larger, 0, 0, this.#used);
    this.#block = larger;
  }
}
