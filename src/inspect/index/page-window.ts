/** The bytes of a file that passes by, from the page that is looked at to as far as its run is needed. */
export class PageWindow {
  readonly #source: AsyncIterator<Buffer>;
  #bytes = Buffer.allocUnsafeSlow(2 ** 22);
  #start = 0;
  #end = 0;
  #ended = false;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Bytes that are there. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Reads on until at least `length` bytes are there; false when the file ends before. */
  async fill(length: number): Promise<boolean> {
    while (this.length < length && !this.#ended) {
      const next = await this.#source.next();
      if (next.done === true) this.#ended = true;
      else this.#append(next.value);
    }
    return this.length >= length;
  }

  /** A view of the first bytes, which must be there; valid until the next fill. */
  peek(length: number): Buffer {
    return this.#bytes.subarray(this.#start, this.#start + length);
  }

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
    if (this.#end + chunk.length > this.#bytes.length) {
      const needed = this.length + chunk.length;
      // Moving to the front must stay rare: only into what is at least half empty then.
      const roomy = needed > this.#bytes.length / 2 ? Buffer.allocUnsafeSlow(2 * needed) : this.#bytes;
      this.#bytes.copy(roomy, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      this.#bytes = roomy;
    }
    chunk.copy(this.#bytes, this.#end);
    this.#end += chunk.length;
  }
}
