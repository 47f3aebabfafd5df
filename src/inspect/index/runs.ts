/** The runs of the external sort: filled one after the other, sorted and put on the disk when full, merged at the end. */
import type { Scratch, ScratchFile } from '../../mvcc/scratch.ts';
import type { RecordFields } from './record.ts';
import { addItem, compareItems, createRun, itemLength, type ItemPlace } from './run.ts';
import { createSorter } from './sort.ts';
import { indexInvalid } from './format.ts';

/** Bytes of a run in memory: 100 000 records with keys of 40 bytes. */
export const RUN_LENGTH = 8 * 2 ** 20;

/** Bytes of a run that are written or read at once. With many runs reads are smaller, so that all of them together stay below this many. */
const STEP = 2 ** 18;
const MERGE_BYTES = 8 * 2 ** 20;
const SMALLEST_STEP = 2 ** 16;

export interface RunsOptions {
  readonly scratch: Scratch;
  /** {@link RUN_LENGTH} unless told; tests make it small. */
  readonly runLength?: number | undefined;
}

/** One item of a run after the other. */
interface ItemCursor {
  readonly bytes: Buffer;
  readonly at: number;
  /** False when there is none. */
  next(): boolean | Promise<boolean>;
}

export class Runs {
  readonly #run;
  readonly #sorter;
  readonly #scratch: Scratch;
  #file: ScratchFile | undefined;
  readonly #written: { readonly from: number; readonly to: number }[] = [];

  constructor(options: RunsOptions) {
    this.#run = createRun(options.runLength ?? RUN_LENGTH);
    this.#sorter = createSorter(this.#run.starts.length);
    this.#scratch = options.scratch;
  }

  /** Bytes on the disk. */
  get spilled(): number {
    return this.#file?.size ?? 0;
  }

  /** Takes a record (pages.ts); a promise when the run is full and goes to the disk first. */
  take(leaf: Buffer, place: ItemPlace, fields: RecordFields): void | Promise<void> {
    if (!addItem(this.#run, leaf, place, fields)) return this.#takeLater(leaf, place, fields);
  }

  async #takeLater(leaf: Buffer, place: ItemPlace, fields: RecordFields): Promise<void> {
    await this.#spill();
    if (!addItem(this.#run, leaf, place, fields))
      throw indexInvalid(`a key of ${fields.keyEnd - fields.keyAt} bytes is too long for an index`);
  }

  /** Hands out all items in order. `use` may keep them until it returns, or its promise resolves. */
  async merge(use: (item: Buffer, at: number) => void | Promise<void>): Promise<void> {
    const step = Math.max(SMALLEST_STEP, Math.min(STEP, Math.floor(MERGE_BYTES / Math.max(1, this.#written.length))));
    const cursors: ItemCursor[] = this.#written.map(({ from, to }) => new WrittenRun(this.#file!, from, to, step));
    cursors.push(new RunInMemory(this.#run.bytes, this.#run.starts, this.#sorter.sort(this.#run)));
    const heap: ItemCursor[] = [];
    for (const cursor of cursors) if (await cursor.next()) heap.push(cursor);
    heap.sort((a, b) => compareItems(a.bytes, a.at, b.bytes, b.at));
    while (heap.length > 0) {
      const top = heap[0]!;
      const used = use(top.bytes, top.at);
      if (used !== undefined) await used;
      const next = top.next();
      if (typeof next === 'boolean' ? next : await next) siftDown(heap);
      else {
        const last = heap.pop()!;
        if (heap.length > 0) {
          heap[0] = last;
          siftDown(heap);
        }
      }
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #spill(): Promise<void> {
    this.#file ??= await this.#scratch.create();
    const { bytes, starts } = this.#run;
    const from = this.#file.size;
    let buffer = Buffer.allocUnsafeSlow(STEP);
    let used = 0;
    for (const item of this.#sorter.sort(this.#run)) {
      const start = starts[item]!;
      const length = itemLength(bytes, start);
      if (used + length > buffer.length) {
        await this.#file.append(buffer.subarray(0, used));
        used = 0;
        if (length > buffer.length) buffer = Buffer.allocUnsafeSlow(length);
      }
      used += bytes.copy(buffer, used, start, start + length);
    }
    await this.#file.append(buffer.subarray(0, used));
    this.#written.push({ from, to: this.#file.size });
    this.#run.count = 0;
    this.#run.used = 0;
  }
}

class RunInMemory implements ItemCursor {
  readonly bytes: Buffer;
  readonly #starts: Uint32Array;
  readonly #order: Uint32Array;
  #index = -1;

  constructor(bytes: Buffer, starts: Uint32Array, order: Uint32Array) {
    this.bytes = bytes;
    this.#starts = starts;
    this.#order = order;
  }

  get at(): number {
    return this.#starts[this.#order[this.#index]!]!;
  }

  next(): boolean {
    this.#index += 1;
    return this.#index < this.#order.length;
  }
}

class WrittenRun implements ItemCursor {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  readonly #file: ScratchFile;
  readonly #step: number;
  #from: number;
  readonly #to: number;

  constructor(file: ScratchFile, from: number, to: number, step: number) {
    this.#file = file;
    this.#from = from;
    this.#to = to;
    this.#step = step;
  }

  next(): boolean | Promise<boolean> {
    if (this.bytes.length > 0) this.at += itemLength(this.bytes, this.at);
    if (this.#whole()) return true;
    return this.at < this.bytes.length || this.#from < this.#to ? this.#refill() : false;
  }

  #whole(): boolean {
    const rest = this.bytes.length - this.at;
    return rest >= 4 && itemLength(this.bytes, this.at) <= rest;
  }

  async #refill(): Promise<boolean> {
    do {
      const rest = this.bytes.subarray(this.at);
      // An item longer than a step, its length known or not, is read in as many as it takes.
      const length = Math.min(this.#step, this.#to - this.#from);
      const more = await this.#file.read(this.#from, length);
      this.#from += length;
      const before = this.bytes;
      this.bytes = rest.length === 0 ? more : Buffer.concat([rest, more]);
      if (this.bytes !== more) release(more);
      release(before);
      this.at = 0;
    } while (!this.#whole() && this.#from < this.#to);
    return this.#whole();
  }
}

/** Gives memory back now: these buffers live long enough to be collected late, and a hundred megabytes of them go by. */
function release(buffer: Buffer): void {
  if (buffer.buffer instanceof ArrayBuffer && buffer.length > 0 && buffer.length === buffer.buffer.byteLength) buffer.buffer.transfer(0);
}

/** The first of a heap may have become too large for its place. */
function siftDown(heap: ItemCursor[]): void {
  const item = heap[0]!;
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && compareItems(heap[child + 1]!.bytes, heap[child + 1]!.at, heap[child]!.bytes, heap[child]!.at) < 0)
      child += 1;
    if (compareItems(item.bytes, item.at, heap[child]!.bytes, heap[child]!.at) <= 0) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = item;
}
