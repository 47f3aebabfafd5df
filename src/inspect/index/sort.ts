/**
 * Sorts the items of a run by key and revision. A radix sort from the most significant symbols: four of them and the item's number are packed into 64
 * bits, which V8 sorts natively (std::sort) as long as no function of ours has to compare; equal ones go on with the next four. A sort with
 * `Buffer.compare` takes five times as long.
 */
import { compareItems, ITEM_KEY, REVISION_BYTES, type Run } from './run.ts';

/** Symbols in a packed word: 9 bits each (0 = the key has ended, else the byte plus one), and 24 for the number of the item. */
const SYMBOLS = 4;
const NUMBER_BITS = 24;
export const MAX_ITEMS = 2 ** NUMBER_BITS;

/** So few are compared one by one. */
const FEW = 24;

export interface Sorter {
  /** Numbers of the run's items in ascending order. The view is valid until the next call. */
  sort(run: Run): Uint32Array;
}

/** @param capacity the most items that a run has */
export function createSorter(capacity: number): Sorter {
  if (capacity > MAX_ITEMS) throw new Error(`a run of ${capacity} items has more than ${MAX_ITEMS}`);
  const order = new Uint32Array(capacity);
  const packed = new BigUint64Array(capacity);
  // The two halves of each word: a BigInt for each would cost more than the sort. Which half comes first is the machine's affair.
  const halves = new Uint32Array(packed.buffer);
  const [low, high] = halvesOf();
  let bytes: Buffer = Buffer.alloc(0);
  let starts: Uint32Array = order;

  function sortGroup(from: number, to: number, depth: number): void {
    if (to - from <= FEW) {
      insertionSort(from, to);
      return;
    }
    const first = starts[order[from]!]!;
    let shared = Number.MAX_SAFE_INTEGER;
    for (let i = from + 1; i < to && shared > depth; i += 1)
      shared = Math.min(shared, sharedSymbols(bytes, first, starts[order[i]!]!, depth));
    // All of them are the same record, out of pages that are no longer part of the tree.
    if (shared === Number.MAX_SAFE_INTEGER) return;
    for (let i = from; i < to; i += 1) pack(i, shared);
    packed.subarray(from, to).sort();
    for (let i = from; i < to; i += 1) order[i] = halves[2 * i + low]! & (MAX_ITEMS - 1);
    for (let begin = from; begin < to;) {
      let end = begin + 1;
      while (end < to && sameSymbols(begin, end)) end += 1;
      if (end - begin > 1) sortGroup(begin, end, shared + SYMBOLS);
      begin = end;
    }
  }

  function pack(i: number, depth: number): void {
    const item = order[i]!;
    const start = starts[item]!;
    const keyLength = bytes.readUInt32LE(start + 4);
    const s0 = symbolAt(bytes, start, keyLength, depth);
    const s1 = symbolAt(bytes, start, keyLength, depth + 1);
    const s2 = symbolAt(bytes, start, keyLength, depth + 2);
    const s3 = symbolAt(bytes, start, keyLength, depth + 3);
    halves[2 * i + high] = (s0 << 19) | (s1 << 10) | (s2 << 1) | (s3 >> 8);
    halves[2 * i + low] = ((s3 & 0xff) << NUMBER_BITS) | item;
  }

  function sameSymbols(a: number, b: number): boolean {
    return halves[2 * a + high] === halves[2 * b + high] && halves[2 * a + low]! >>> NUMBER_BITS === halves[2 * b + low]! >>> NUMBER_BITS;
  }

  function insertionSort(from: number, to: number): void {
    for (let i = from + 1; i < to; i += 1) {
      const item = order[i]!;
      const at = starts[item]!;
      let place = i;
      while (place > from && compareItems(bytes, starts[order[place - 1]!]!, bytes, at) > 0) {
        order[place] = order[place - 1]!;
        place -= 1;
      }
      order[place] = item;
    }
  }

  return {
    sort(run) {
      bytes = run.bytes;
      starts = run.starts;
      for (let i = 0; i < run.count; i += 1) order[i] = i;
      sortGroup(0, run.count, 0);
      return order.subarray(0, run.count);
    },
  };
}

/** Symbols of an item: those of its key, the end, then those of its revision. */
function symbolAt(bytes: Buffer, start: number, keyLength: number, position: number): number {
  if (position < keyLength) return bytes[start + ITEM_KEY + position]! + 1;
  if (position === keyLength || position > keyLength + REVISION_BYTES) return 0;
  return bytes[start + ITEM_KEY + position - 1]! + 1;
}

/** How many symbols two items have in common, if at least `from`; all of them when they are the same record. */
function sharedSymbols(bytes: Buffer, a: number, b: number, from: number): number {
  const aLength = bytes.readUInt32LE(a + 4);
  const bLength = bytes.readUInt32LE(b + 4);
  const shorter = Math.min(aLength, bLength);
  let i = from;
  while (i < shorter && bytes[a + ITEM_KEY + i] === bytes[b + ITEM_KEY + i]) i += 1;
  if (i < shorter || aLength !== bLength) return i;
  if (i === aLength) i += 1; // both end here
  for (; i <= aLength + REVISION_BYTES; i += 1) if (bytes[a + ITEM_KEY + i - 1] !== bytes[b + ITEM_KEY + i - 1]) return i;
  return Number.MAX_SAFE_INTEGER;
}

function halvesOf(): readonly [low: 0 | 1, high: 0 | 1] {
  return new Uint32Array(BigUint64Array.of(1n).buffer)[0] === 1 ? [0, 1] : [1, 0];
}
