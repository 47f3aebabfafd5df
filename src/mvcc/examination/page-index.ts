/** Which leaf lies at a page, in a step or two: two bits for each page of the database, 512 KiB at 8 GiB. */
import type { Leaves } from './leaves.ts';

export class PageIndex {
  readonly #bits: Uint32Array;
  /** How many leaves lie at pages before those of each word. */
  readonly #before: Uint32Array;

  /** @param among the first so many, which were added in the order of their pages @param pages of the database */
  constructor(leaves: Leaves, among: number, pages: number) {
    const words = Math.ceil(pages / 32);
    this.#bits = new Uint32Array(words);
    this.#before = new Uint32Array(words);
    for (let leaf = 0; leaf < among; leaf += 1) {
      const page = leaves.page(leaf);
      this.#bits[page >>> 5]! |= 1 << (page & 31);
    }
    let count = 0;
    for (let word = 0; word < words; word += 1) {
      this.#before[word] = count;
      count += ones(this.#bits[word]!);
    }
  }

  /** Its number; -1 when none lies there. */
  find(page: number): number {
    const word = Math.floor(page / 32);
    const bits = this.#bits[word] ?? 0;
    const bit = page % 32;
    return (bits & (1 << bit)) === 0 ? -1 : this.#before[word]! + ones(bits & ((1 << bit) - 1));
  }
}

/** How many bits are set. */
function ones(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
