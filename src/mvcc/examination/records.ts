/**
 * What is kept of every record, in the order of the file: more than memory should hold for millions of them, so all but the first go to a scratch
 * file. Reading comes after all writing.
 */
import { asError } from '../../errors.ts';
import type { Scratch, ScratchFile } from '../scratch.ts';
import { RECORD_WORDS } from './leaf.ts';

/** Records that are written, and read, at once: 256 KiB. */
const CHUNK_RECORDS = 8192;
const CHUNK_WORDS = CHUNK_RECORDS * RECORD_WORDS;
const CHUNK_BYTES = CHUNK_WORDS * 4;
/** 65 536 records. The file is written and read from one end to the other, and in the page cache for as long as it lives. */
const HELD_BYTES = 2 * 2 ** 20;
/** Chunks of the file that are kept when they were read: 4 MiB. The order of keys follows that of the file for long stretches, and comes back to others. */
const CACHED_CHUNKS = 16;
/** Fewer records are read alone rather than with their chunk. */
const FEW_RECORDS = 256;

export class Records {
  /** How many there are. */
  count = 0;
  readonly #scratch: Scratch;
  readonly #held: Uint32Array[] = [];
  readonly #heldChunks: number;
  #file: ScratchFile | undefined;
  #chunk: Uint32Array = new Uint32Array(0);
  /** Words used of the chunk. */
  #used = 0;
  #spare: Uint32Array[] = [];
  #writing: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  /** What `held` returned last: records lie beside each other more often than not. */
  #view: { readonly words: Uint32Array; readonly first: number } | undefined;
  /** Chunks of the file, the one that was used last behind all others. */
  readonly #cached = new Map<number, Uint32Array>();

  constructor(scratch: Scratch, heldBytes: number = HELD_BYTES) {
    this.#scratch = scratch;
    this.#heldChunks = Math.max(1, Math.floor(heldBytes / CHUNK_BYTES));
  }

  /** @param words of `count` records */
  add(words: Uint32Array, count: number): void {
    const total = count * RECORD_WORDS;
    for (let from = 0; from < total;) {
      if (this.#used === this.#chunk.length) this.#nextChunk();
      const taken = Math.min(total - from, this.#chunk.length - this.#used);
      if (from === 0 && taken === total && taken < 128) for (let i = 0; i < taken; i += 1) this.#chunk[this.#used + i] = words[i]!;
      else this.#chunk.set(words.subarray(from, from + taken), this.#used);
      this.#used += taken;
      from += taken;
    }
    this.count += count;
  }

  /** To be awaited before anything is read. @throws WardenError of the scratch file */
  async settle(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The same as `chunkAt` where nothing has to be read; undefined elsewhere. */
  held(record: number): { readonly words: Uint32Array; readonly first: number } | undefined {
    const index = Math.floor(record / CHUNK_RECORDS);
    if (this.#view?.first === index * CHUNK_RECORDS) return this.#view;
    const words = this.#held[index];
    return words === undefined ? undefined : (this.#view = { words, first: index * CHUNK_RECORDS });
  }

  /** Of the chunk that holds a record: its words, and the place of the record in them. Views that are valid until the next read of another chunk. */
  async chunkAt(record: number): Promise<{ readonly words: Uint32Array; readonly first: number }> {
    const index = Math.floor(record / CHUNK_RECORDS);
    return { words: await this.#wordsOf(index), first: index * CHUNK_RECORDS };
  }

  /** A copy of the words of `count` records. */
  async read(first: number, count: number): Promise<Uint32Array> {
    const [index, last] = [Math.floor(first / CHUNK_RECORDS), Math.floor((first + count - 1) / CHUNK_RECORDS)];
    const written = index >= this.#heldChunks && last < Math.floor((this.count - 1) / CHUNK_RECORDS);
    if (written && count <= FEW_RECORDS && !this.#cached.has(index)) {
      const place = (first - this.#heldChunks * CHUNK_RECORDS) * RECORD_WORDS * 4;
      return wordsIn(await this.#file!.read(place, count * RECORD_WORDS * 4));
    }
    const words = new Uint32Array(count * RECORD_WORDS);
    for (let done = 0; done < count;) {
      const chunk = await this.chunkAt(first + done);
      const from = first + done - chunk.first;
      const taken = Math.min(count - done, CHUNK_RECORDS - from);
      words.set(chunk.words.subarray(from * RECORD_WORDS, (from + taken) * RECORD_WORDS), done * RECORD_WORDS);
      done += taken;
    }
    return words;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
    this.#held.length = 0;
    this.#spare = [];
    this.#cached.clear();
    this.#view = undefined;
    this.#chunk = new Uint32Array(0);
    this.#used = 0;
  }

  #nextChunk(): void {
    if (this.#held.length < this.#heldChunks) {
      this.#chunk = new Uint32Array(CHUNK_WORDS);
      this.#held.push(this.#chunk);
    } else {
      // The first chunk beyond what is held is written when it is full, while the next one fills.
      if (this.#chunk !== this.#held.at(-1)) this.#spill(this.#chunk);
      this.#chunk = this.#spare.pop() ?? new Uint32Array(CHUNK_WORDS);
    }
    this.#used = 0;
  }

  #spill(chunk: Uint32Array): void {
    this.#writing = this.#writing.then(async () => {
      if (this.#failure !== undefined) return;
      try {
        this.#file ??= await this.#scratch.create();
        await this.#file.append(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      } catch (error) {
        this.#failure = asError(error);
      }
      this.#spare.push(chunk);
    });
  }

  async #wordsOf(index: number): Promise<Uint32Array> {
    const held = this.#held[index];
    if (held !== undefined) return held;
    // The last chunk is never written: nothing came after it.
    if (index === Math.floor((this.count - 1) / CHUNK_RECORDS)) return this.#chunk;
    const cached = this.#cached.get(index);
    if (cached !== undefined) {
      this.#cached.delete(index);
      this.#cached.set(index, cached);
      return cached;
    }
    for (const [oldest] of this.#cached) {
      if (this.#cached.size < CACHED_CHUNKS) break;
      this.#cached.delete(oldest);
    }
    const words = wordsIn(await this.#file!.read((index - this.#heldChunks) * CHUNK_BYTES, CHUNK_BYTES));
    this.#cached.set(index, words);
    return words;
  }
}

/** A buffer of its own, but nothing says that it begins at a multiple of four. */
function wordsIn(bytes: Buffer): Uint32Array {
  if (bytes.byteOffset % 4 === 0) return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}
