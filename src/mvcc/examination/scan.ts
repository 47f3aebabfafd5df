/**
 * The pass in file order. Whatever begins like a page of a tree, at the place that it names, is looked at: a free page that was one once looks the same,
 * so nothing of this counts before the tree has been walked. Several claims to the same bytes are all followed, because a free page may claim pages that
 * are in use by now.
 */
import { BRANCH, ELEMENT_LENGTH, HEADER_LENGTH, LEAF } from '../../boltdb/page.ts';
import { parseMeta } from '../../boltdb/meta.ts';
import { createProgram, DATA_AT, type Program } from '../crc32c/program.ts';
import { LeafReader, type Place } from './leaf.ts';
import { Leaves } from './leaves.ts';
import { Records } from './records.ts';

const META_AT = HEADER_LENGTH;
const META_LENGTH = 64;
const WASM_PAGE = 2 ** 16;

/** Bytes that are taken at once: a frame of the archive. */
const STEP = 2 ** 20;

/** Longer runs are read again by random access: four values of etcd's largest request (1.5 MiB) fit. */
const MAX_RUN = 8 * 2 ** 20;

/** Branches that are kept: those of a database of 8 GiB with values of 10 KiB, or of 3 GiB with small ones, free ones not counted. */
const BRANCH_BYTES = 8 * 2 ** 20;
const SHELF_BYTES = 2 ** 18;

export class Scan {
  readonly leaves = new Leaves();
  readonly records: Records;
  /** Pages of branches, from their beginning as far as they are used. */
  readonly branches = new Map<number, Uint8Array>();
  /** Of the first meta page; undefined when there was none that is valid, and then nothing was looked at. */
  layout: { readonly pageSize: number; readonly littleEndian: boolean; readonly pages: number } | undefined;
  /** Leaves that were summed up while they went by: the first of all. */
  seen = 0;
  readonly #reader: LeafReader;
  #program: Program | undefined = createProgram();
  #memory = new Uint8Array(this.#program!.memory.buffer);
  #view = new DataView(this.#memory.buffer);
  /** The leaf at hand: one object for all of them. */
  readonly #place: { -readonly [Name in keyof Place]: Place[Name] };
  /** Bytes that wait in the memory, and their place in the file. */
  #held = 0;
  #heldFrom = 0;
  /** The page that is looked at next. */
  #next = 0;
  #branchBytes = 0;
  /** Where the next branches are kept. Memory of its own for each would count as so much outside of V8's heap that it collects garbage for it. */
  #shelf = new Uint8Array(0);
  #shelfUsed = 0;
  /** Bytes that may still be summed up. Pages that claim each other's bytes would otherwise cost their number squared. */
  #budget = 2 * MAX_RUN;

  constructor(records: Records, reader: LeafReader) {
    this.records = records;
    this.#reader = reader;
    const { run } = this.#program!;
    const crc = (at: number, length: number, before: number): number => ~run(at, length, ~before) >>> 0;
    this.#place = { bytes: this.#memory, view: this.#view, start: 0, end: 0, littleEndian: true, crc };
  }

  write(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += STEP) this.#take(at === 0 && bytes.length <= STEP ? bytes : bytes.subarray(at, at + STEP));
  }

  /** Gives back the memory of the pass; what it found stays. */
  end(): void {
    this.branches.clear();
    this.#program = undefined;
    this.#memory = new Uint8Array(0);
    this.#view = new DataView(this.#memory.buffer);
    this.#place.bytes = this.#memory;
    this.#place.view = this.#view;
  }

  #take(bytes: Buffer): void {
    if (this.#program === undefined) return;
    this.#budget += 2 * bytes.length;
    this.#reserve(this.#held + bytes.length);
    this.#memory.set(bytes, DATA_AT + this.#held);
    this.#held += bytes.length;
    if (this.layout === undefined && !this.#begin()) {
      this.#drop(this.#held);
      return;
    }
    this.#look();
    const { pageSize } = this.layout!;
    this.#drop(Math.min(this.#held, this.#next * pageSize - this.#heldFrom));
  }

  /** @returns whether there is anything to look at */
  #begin(): boolean {
    if (this.#heldFrom > 0 || this.#held < META_AT + META_LENGTH) return false;
    const meta = parseMeta(Buffer.from(this.#memory.subarray(DATA_AT + META_AT, DATA_AT + META_AT + META_LENGTH)));
    if (meta === undefined) return false;
    this.layout = { pageSize: meta.pageSize, littleEndian: meta.order.name === 'little-endian', pages: Number(meta.highWater) };
    this.#place.littleEndian = this.layout.littleEndian;
    this.#next = 2;
    return true;
  }

  /** Goes from page to page for as long as all that a page claims is there. */
  #look(): void {
    const { pageSize, littleEndian, pages } = this.layout!;
    const view = this.#view;
    for (; this.#next < pages; this.#next += 1) {
      const offset = this.#next * pageSize - this.#heldFrom;
      if (offset + pageSize > this.#held) return;
      const start = DATA_AT + offset;
      if (view.getUint32(littleEndian ? start : start + 4, littleEndian) !== this.#next) continue;
      if (view.getUint32(littleEndian ? start + 4 : start, littleEndian) !== 0) continue;
      const flags = view.getUint16(start + 8, littleEndian);
      const overflow = view.getUint32(start + 12, littleEndian);
      if (flags === BRANCH && overflow === 0) this.#branch(start, pageSize, littleEndian);
      const length = (overflow + 1) * pageSize;
      if (flags !== LEAF || length > MAX_RUN || this.#next + overflow >= pages || length > this.#budget) continue;
      if (offset + length > this.#held) return;
      this.#leaf(start, length, overflow + 1);
    }
  }

  #leaf(start: number, length: number, pages: number): void {
    const reader = this.#reader;
    this.#budget -= length;
    this.#place.start = start;
    this.#place.end = start + length;
    if (!reader.read(this.#place)) return;
    this.leaves.add(this.#next, pages, reader, this.records.count);
    this.seen += 1;
    this.records.add(reader.records, reader.count);
  }

  #branch(start: number, pageSize: number, littleEndian: boolean): void {
    const count = this.#view.getUint16(start + 10, littleEndian);
    const table = HEADER_LENGTH + count * ELEMENT_LENGTH;
    if (count === 0 || table > pageSize) return;
    // Keys lie in order, so the last one ends what is used.
    const last = table - ELEMENT_LENGTH;
    const used = last + this.#view.getUint32(start + last, littleEndian) + this.#view.getUint32(start + last + 4, littleEndian);
    if (used > pageSize || this.#branchBytes + used > BRANCH_BYTES) return;
    this.#branchBytes += used;
    if (this.#shelfUsed + used > this.#shelf.length) {
      this.#shelf = new Uint8Array(Math.max(SHELF_BYTES, used));
      this.#shelfUsed = 0;
    }
    const kept = this.#shelf.subarray(this.#shelfUsed, this.#shelfUsed + used);
    this.#shelfUsed += used;
    kept.set(this.#memory.subarray(start, start + used));
    this.branches.set(this.#next, kept);
  }

  #reserve(length: number): void {
    const missing = DATA_AT + length - this.#memory.length;
    if (missing <= 0) return;
    const { memory } = this.#program!;
    memory.grow(Math.ceil(missing / WASM_PAGE));
    this.#memory = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
    this.#place.bytes = this.#memory;
    this.#place.view = this.#view;
  }

  #drop(length: number): void {
    if (length <= 0) return;
    this.#memory.copyWithin(DATA_AT, DATA_AT + length, DATA_AT + this.#held);
    this.#held -= length;
    this.#heldFrom += length;
  }
}
