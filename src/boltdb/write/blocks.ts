/** Pages one behind the other, handed to the sink in blocks: a write of a megabyte costs about as much as one of a page. */
import { asError } from '../../errors.ts';
import type { PageSink } from './sink.ts';

const BLOCK_LENGTH = 2 ** 20;

/** Blocks that may wait for the disk while more are filled. */
const AHEAD = 3;

export class Blocks {
  readonly #sink: PageSink;
  #block: Buffer;
  #used = 0;
  #offset: number;
  #spare: Buffer[] = [];
  /** Of the writes that are not over, in order. */
  readonly #writing: Promise<void>[] = [];
  #failure: Error | undefined;

  /** @param offset of the first byte, in the file */
  constructor(sink: PageSink, offset: number) {
    this.#sink = sink;
    this.#offset = offset;
    this.#block = Buffer.allocUnsafeSlow(BLOCK_LENGTH);
  }

  /** The next `length` bytes of the file: what they held before is to be overwritten to the last byte, before the next call. */
  take(length: number): Buffer {
    if (this.#used + length > this.#block.length) this.#hand(length);
    const view = this.#block.subarray(this.#used, this.#used + length);
    this.#used += length;
    return view;
  }

  /** To be awaited when there is one, before more is taken. @throws what the sink threw */
  pressure(): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#writing.length < AHEAD) return undefined;
    return this.#writing[0]!.then(() => {
      if (this.#failure !== undefined) throw this.#failure;
    });
  }

  /** Everything that was taken is with the sink when it resolves. @throws what the sink threw */
  async flush(): Promise<void> {
    this.#hand(0);
    await this.settle();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Whatever the sink still does is over when it resolves; for those that give up. */
  async settle(): Promise<void> {
    await this.#writing.at(-1);
  }

  /** @param needed bytes that the next block must have room for */
  #hand(needed: number): void {
    const [block, used, offset] = [this.#block, this.#used, this.#offset];
    this.#offset += used;
    this.#used = 0;
    // A leaf of large values can be longer than a block.
    this.#block = needed > BLOCK_LENGTH ? Buffer.allocUnsafeSlow(needed) : (this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_LENGTH));
    if (used === 0) return;
    const before = this.#writing.at(-1);
    this.#writing.push(this.#write(offset, block, used, before));
  }

  async #write(offset: number, block: Buffer, used: number, before: Promise<void> | undefined): Promise<void> {
    await before;
    try {
      if (this.#failure === undefined) await this.#sink.write(offset, block.subarray(0, used));
    } catch (error) {
      this.#failure = asError(error);
    }
    void this.#writing.shift(); // this one
    if (block.length === BLOCK_LENGTH) this.#spare.push(block);
  }
}
