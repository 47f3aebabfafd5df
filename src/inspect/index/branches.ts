/**
 * The children of every page that looks like a branch, until it is known which of these belong to the tree. Where commits are small most free pages were
 * branches once, a hundred children each, and of a file of 8 GiB they would be gigabytes: so they go to a scratch file, and only their places stay in memory.
 */
import type { Scratch, ScratchFile } from '../../mvcc/scratch.ts';

/** Children held in memory: enough for a database of 1 GiB that was never written over. */
const HELD = 2 ** 18;

const WORD = 4;

export class Branches {
  readonly #scratch: Scratch;
  readonly #held: Uint32Array;
  #used = 0;
  #file: ScratchFile | undefined;
  /** Ids in ascending order, and where each one's children begin, counted over file and memory; one more at the end. */
  #ids = new Uint32Array(1024);
  #starts = new Float64Array(1025);
  #count = 0;

  constructor(scratch: Scratch, held = HELD) {
    this.#scratch = scratch;
    this.#held = new Uint32Array(held);
  }

  /**
   * Adds a branch; ids must come in ascending order.
   * @param childAt of its children, in their order
   * @returns a promise when the memory is full and goes to the disk first
   */
  add(id: number, count: number, childAt: (index: number) => number): undefined | Promise<void> {
    if (this.#count === this.#ids.length) this.#grow();
    this.#ids[this.#count] = id;
    this.#count += 1;
    this.#starts[this.#count] = this.#starts[this.#count - 1]! + count;
    return this.#append(0, count, childAt);
  }

  /** Empty for what was not added. */
  async childrenOf(id: number): Promise<Uint32Array> {
    const index = this.#find(id);
    if (index === undefined) return new Uint32Array();
    const [from, to] = [this.#starts[index]!, this.#starts[index + 1]!];
    const written = (this.#file?.size ?? 0) / WORD;
    const children = new Uint32Array(to - from);
    const inFile = Math.max(0, Math.min(to, written) - from);
    if (inFile > 0) {
      const bytes = await this.#file!.read(from * WORD, inFile * WORD);
      for (let i = 0; i < inFile; i += 1) children[i] = bytes.readUInt32LE(i * WORD);
    }
    if (to > written) children.set(this.#held.subarray(from + inFile - written, to - written), inFile);
    return children;
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  #append(from: number, count: number, childAt: (index: number) => number): undefined | Promise<void> {
    const room = Math.min(count, from + this.#held.length - this.#used);
    for (let i = from; i < room; i += 1) this.#held[this.#used + i - from] = childAt(i);
    this.#used += room - from;
    return room === count ? undefined : this.#spill().then(() => this.#append(room, count, childAt));
  }

  async #spill(): Promise<void> {
    this.#file ??= await this.#scratch.create();
    const bytes = Buffer.allocUnsafeSlow(this.#used * WORD);
    for (let i = 0; i < this.#used; i += 1) bytes.writeUInt32LE(this.#held[i]!, i * WORD);
    await this.#file.append(bytes);
    this.#used = 0;
  }

  #find(id: number): number | undefined {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ids[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return low < this.#count && this.#ids[low] === id ? low : undefined;
  }

  #grow(): void {
    const [ids, starts] = [this.#ids, this.#starts];
    this.#ids = new Uint32Array(2 * ids.length);
    this.#ids.set(ids);
    this.#starts = new Float64Array(2 * ids.length + 1);
    this.#starts.set(starts);
  }
}
