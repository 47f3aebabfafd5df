/** The sums of all leaves that were seen, in typed arrays that grow with them: about 50 bytes for each, 13 MiB for a GiB of small records. */
import type { LeafReader } from './leaf.ts';

const CHUNK_BITS = 12;
const CHUNK = 2 ** CHUNK_BITS;
const IN_CHUNK = CHUNK - 1;

const FIRST_TOMBSTONE = 1;
const LAST_TOMBSTONE = 2;
const GAPLESS = 4;
const RAISED = 8;
const KUBERNETES = 16;

interface Chunk {
  readonly mains: Float64Array;
  readonly words: Uint32Array;
}

/** Of a leaf, in `words`. */
const WORD = { page: 0, pages: 1, counts: 2, creations: 3, firstSub: 4, lastSub: 5, crc: 6, length: 7, record: 8, flags: 9 } as const;
const WORDS = 10;

export class Leaves {
  count = 0;
  readonly #chunks: Chunk[] = [];

  /** @param pages how many it takes up @param record number of its first record @returns its number here */
  add(page: number, pages: number, leaf: LeafReader, record: number): number {
    const index = this.count;
    if ((index & IN_CHUNK) === 0) this.#chunks.push({ mains: new Float64Array(2 * CHUNK), words: new Uint32Array(WORDS * CHUNK) });
    const { mains, words } = this.#chunkOf(index);
    const at = (index & IN_CHUNK) * WORDS;
    mains[(index & IN_CHUNK) * 2] = leaf.firstMain;
    mains[(index & IN_CHUNK) * 2 + 1] = leaf.lastMain;
    words[at + WORD.page] = page;
    words[at + WORD.pages] = pages;
    words[at + WORD.counts] = leaf.count | (leaf.tombstones << 16);
    words[at + WORD.creations] = leaf.creations;
    words[at + WORD.firstSub] = leaf.firstSub;
    words[at + WORD.lastSub] = leaf.lastSub;
    words[at + WORD.crc] = leaf.crc;
    words[at + WORD.length] = leaf.length;
    words[at + WORD.record] = record;
    words[at + WORD.flags] =
      (leaf.firstTombstone ? FIRST_TOMBSTONE : 0) |
      (leaf.lastTombstone ? LAST_TOMBSTONE : 0) |
      (leaf.gapless ? GAPLESS : 0) |
      (leaf.raised ? RAISED : 0) |
      (leaf.kubernetes ? KUBERNETES : 0);
    this.count = index + 1;
    return index;
  }

  page(leaf: number): number {
    return this.#word(leaf, WORD.page);
  }

  pages(leaf: number): number {
    return this.#word(leaf, WORD.pages);
  }

  /** Records. */
  size(leaf: number): number {
    return this.#word(leaf, WORD.counts) & 0xffff;
  }

  tombstones(leaf: number): number {
    return this.#word(leaf, WORD.counts) >>> 16;
  }

  creations(leaf: number): number {
    return this.#word(leaf, WORD.creations);
  }

  crc(leaf: number): number {
    return this.#word(leaf, WORD.crc);
  }

  length(leaf: number): number {
    return this.#word(leaf, WORD.length);
  }

  record(leaf: number): number {
    return this.#word(leaf, WORD.record);
  }

  firstMain(leaf: number): number {
    return this.#chunkOf(leaf).mains[(leaf & IN_CHUNK) * 2]!;
  }

  lastMain(leaf: number): number {
    return this.#chunkOf(leaf).mains[(leaf & IN_CHUNK) * 2 + 1]!;
  }

  firstSub(leaf: number): number {
    return this.#word(leaf, WORD.firstSub);
  }

  lastSub(leaf: number): number {
    return this.#word(leaf, WORD.lastSub);
  }

  firstTombstone(leaf: number): boolean {
    return (this.#word(leaf, WORD.flags) & FIRST_TOMBSTONE) !== 0;
  }

  lastTombstone(leaf: number): boolean {
    return (this.#word(leaf, WORD.flags) & LAST_TOMBSTONE) !== 0;
  }

  gapless(leaf: number): boolean {
    return (this.#word(leaf, WORD.flags) & GAPLESS) !== 0;
  }

  raised(leaf: number): boolean {
    return (this.#word(leaf, WORD.flags) & RAISED) !== 0;
  }

  kubernetes(leaf: number): boolean {
    return (this.#word(leaf, WORD.flags) & KUBERNETES) !== 0;
  }

  #word(leaf: number, word: number): number {
    return this.#chunkOf(leaf).words[(leaf & IN_CHUNK) * WORDS + word]!;
  }

  #chunkOf(leaf: number): Chunk {
    return this.#chunks[leaf >>> CHUNK_BITS]!;
  }
}
