/** Bytes of a stream, asked for by length instead of taken as they come. Holds what was read ahead, in one buffer that grows by doubling. */
export class ByteQueue {
  readonly #source: AsyncIterator<Buffer>;
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #ended = false;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Bytes that can be taken without waiting. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Reads until at least `length` bytes are there, or the stream ends. True when they are there. */
  async fill(length: number): Promise<boolean> {
    while (this.length < length && !this.#ended) {
      const next = await this.#source.next();
      if (next.done === true) this.#ended = true;
      else this.#append(next.value);
    }
    return this.length >= length;
  }

  /** A view of the first bytes, at most `length`; valid until the next call of fill or take. */
  peek(length: number): Buffer {
    return this.#buffer.subarray(this.#start, Math.min(this.#end, this.#start + length));
  }

  /** A copy of the first bytes, at most `length`, which are gone from the queue then. */
  take(length: number): Buffer {
    const taken = Buffer.from(this.peek(length));
    this.#start += taken.length;
    return taken;
  }

  /** Drops the first bytes, which must be there. */
  skip(length: number): void {
    this.#start += length;
  }

  /** Lets the rest pass by: whoever sums the bytes up does that at their end. */
  async drain(): Promise<void> {
    this.#start = this.#end = 0;
    while (!this.#ended) this.#ended = (await this.#source.next()).done === true;
  }

  /** Ends the stream underneath, which may hold a socket. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  #append(chunk: Buffer): void {
    if (this.#end + chunk.length > this.#buffer.length) {
      const needed = this.length + chunk.length;
      // Moving to the front must stay rare: only into what is at least half empty then.
      const roomy = needed > this.#buffer.length / 2 ? Buffer.allocUnsafeSlow(Math.max(2 ** 16, 2 * needed)) : this.#buffer;
      this.#buffer.copy(roomy, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      this.#buffer = roomy;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }
}
