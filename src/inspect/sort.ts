/**
 * Records of a file, which come in the order of their revisions, put into the order of their keys: an external sort with runs of bounded size. A file with
 * millions of records takes one arena of memory and, in a scratch file, some 50 bytes and the key for each record.
 */
import { asError } from '../errors.ts';
import type { Scratch, ScratchFile } from '../mvcc/scratch.ts';
import type { KeyEntry, KeyRevision } from './types.ts';

/** Memory of one run. With its index of offsets it is most of what a sort needs. */
const ARENA_BYTES = 24 * 2 ** 20;
/** Read ahead of each run while they are merged: 100 runs (some 20 million records) take 25 MiB. */
const BLOCK_BYTES = 2 ** 18;
/** Written to the scratch file at once. */
const WRITE_BYTES = 2 ** 20;

/**
 * A record in the arena: its length u32, length of the value u32, main i64, sub i64, create revision i64, version i64, lease i64, tombstone u8, and the key.
 * The length counts all of it.
 */
const HEAD_BYTES = 49;

export interface RevisionSorter {
  /** Takes a copy. Returns a promise when a run has to be written first: await it before the next call. */
  add(key: Buffer, revision: KeyRevision): Promise<void> | undefined;
  /** All of them, once, by key; the revisions of a key in the order in which they were added, so the whole works for records in the order of revisions. */
  entries(signal: AbortSignal): AsyncGenerator<KeyEntry, void, undefined>;
  /** Gives the scratch space back. */
  close(): Promise<void>;
}

interface Run {
  readonly start: number;
  readonly end: number;
}

export function createRevisionSorter(scratch: Scratch, options: { readonly arenaBytes?: number } = {}): RevisionSorter {
  let arena = Buffer.allocUnsafeSlow(options.arenaBytes ?? ARENA_BYTES);
  let used = 0;
  let offsets: Uint32Array = new Uint32Array(1024);
  let count = 0;
  let file: ScratchFile | undefined;
  const runs: Run[] = [];

  function put(key: Buffer, revision: KeyRevision): void {
    if (count === offsets.length) offsets = grown(offsets);
    offsets[count] = used;
    count += 1;
    const length = HEAD_BYTES + key.length;
    arena.writeUInt32LE(length, used);
    arena.writeUInt32LE(revision.valueBytes, used + 4);
    arena.writeBigInt64LE(revision.main, used + 8);
    arena.writeBigInt64LE(revision.sub, used + 16);
    arena.writeBigInt64LE(revision.createRevision, used + 24);
    arena.writeBigInt64LE(revision.version, used + 32);
    arena.writeBigInt64LE(revision.lease, used + 40);
    arena.writeUInt8(revision.tombstone ? 1 : 0, used + 48);
    key.copy(arena, used + HEAD_BYTES);
    used += length;
  }

  function sorted(): Uint32Array {
    // The offset decides between equal keys, so that the order of adding remains.
    return offsets.subarray(0, count).sort((a, b) => {
      const endOfA = a + arena.readUInt32LE(a);
      const endOfB = b + arena.readUInt32LE(b);
      return arena.compare(arena, b + HEAD_BYTES, endOfB, a + HEAD_BYTES, endOfA) || a - b;
    });
  }

  async function spill(): Promise<void> {
    file ??= await scratch.create();
    const start = file.size;
    let pending: Buffer[] = [];
    let bytes = 0;
    for (const at of sorted()) {
      const record = arena.subarray(at, at + arena.readUInt32LE(at));
      pending.push(record);
      bytes += record.length;
      if (bytes < WRITE_BYTES) continue;
      await file.append(Buffer.concat(pending));
      [pending, bytes] = [[], 0];
    }
    await file.append(Buffer.concat(pending));
    runs.push({ start, end: file.size });
    [used, count] = [0, 0];
  }

  return {
    add(key, revision) {
      const length = HEAD_BYTES + key.length;
      if (used + length <= arena.length) {
        put(key, revision);
        return undefined;
      }
      const copy = Buffer.from(key);
      return spill().then(() => {
        if (length > arena.length) arena = Buffer.allocUnsafeSlow(length);
        put(copy, revision);
      });
    },
    async *entries(signal) {
      if (file === undefined) {
        yield* grouped(inMemory(arena, sorted()), signal);
        return;
      }
      if (count > 0) await spill();
      arena = Buffer.alloc(0); // all of it is in the file now
      yield* grouped(merged(file, runs), signal);
    },
    async close() {
      await file?.close();
    },
  };
}

/** A record with its key: views. */
interface Sorted {
  readonly bytes: Buffer;
  readonly at: number;
}

function* inMemory(arena: Buffer, order: Uint32Array): Generator<Sorted, void, undefined> {
  for (const at of order) yield { bytes: arena, at };
}

/** Records of one run in order, a block of the file at a time. */
class RunReader {
  readonly #file: ScratchFile;
  #next: number;
  readonly #end: number;
  bytes: Buffer = Buffer.alloc(0);
  at = 0;

  constructor(file: ScratchFile, run: Run) {
    this.#file = file;
    this.#next = run.start;
    this.#end = run.end;
  }

  /** Moves to the first record, or to the next one. @returns a promise when the file has to be read first; false at the end */
  advance(): boolean | Promise<boolean> {
    if (this.bytes.length > 0) this.at += this.bytes.readUInt32LE(this.at);
    const left = this.bytes.length - this.at;
    if (left >= 4 && this.bytes.readUInt32LE(this.at) <= left) return true;
    return this.#refill(left);
  }

  async #refill(left: number): Promise<boolean> {
    const from = this.#next - left;
    if (from === this.#end) return false;
    // The first four bytes of a block tell how long its first record is: a key may be longer than a block.
    let block = await this.#file.read(from, Math.min(BLOCK_BYTES, this.#end - from));
    const first = block.readUInt32LE(0);
    if (first > block.length) block = await this.#file.read(from, first);
    this.bytes = block;
    this.at = 0;
    this.#next = from + block.length;
    return true;
  }
}

/** The runs as one; of equal keys that of the earlier run first. */
async function* merged(file: ScratchFile, runs: readonly Run[]): AsyncGenerator<Sorted, void, undefined> {
  const heap: { readonly reader: RunReader; readonly run: number }[] = [];
  for (const [run, place] of runs.entries()) {
    const reader = new RunReader(file, place);
    if (await reader.advance()) {
      heap.push({ reader, run });
      rise(heap.length - 1);
    }
  }
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    yield top.reader;
    const moved = top.reader.advance();
    if (!(moved === true || (await moved))) {
      const last = heap.pop()!;
      if (heap.length === 0) return;
      heap[0] = last;
    }
    sink();
  }

  function before(a: number, b: number): boolean {
    const [one, other] = [heap[a]!, heap[b]!];
    return (compareKeys(one.reader, other.reader) || one.run - other.run) < 0;
  }
  function swap(a: number, b: number): void {
    [heap[a], heap[b]] = [heap[b]!, heap[a]!];
  }
  function rise(from: number): void {
    for (let at = from; at > 0 && before(at, (at - 1) >> 1); at = (at - 1) >> 1) swap(at, (at - 1) >> 1);
  }
  function sink(): void {
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < heap.length && before(child, least)) least = child;
      if (least === at) return;
      swap(at, least);
      at = least;
    }
  }
}

function compareKeys(a: Sorted, b: Sorted): number {
  const endOfA = a.at + a.bytes.readUInt32LE(a.at);
  const endOfB = b.at + b.bytes.readUInt32LE(b.at);
  return a.bytes.compare(b.bytes, b.at + HEAD_BYTES, endOfB, a.at + HEAD_BYTES, endOfA);
}

/** Consecutive records of the same key as one entry. */
async function* grouped(
  records: Iterable<Sorted> | AsyncIterable<Sorted>,
  signal: AbortSignal,
): AsyncGenerator<KeyEntry, void, undefined> {
  let key: Buffer | undefined;
  let revisions: KeyRevision[] = [];
  for await (const record of records) {
    const { bytes, at } = record;
    const end = at + bytes.readUInt32LE(at);
    if (key === undefined || bytes.compare(key, 0, key.length, at + HEAD_BYTES, end) !== 0) {
      if (signal.aborted) throw asError(signal.reason);
      if (key !== undefined) yield { key, revisions };
      key = Buffer.from(bytes.subarray(at + HEAD_BYTES, end));
      revisions = [];
    }
    revisions.push(revisionOf(bytes, at));
  }
  if (key !== undefined) yield { key, revisions };
}

function revisionOf(bytes: Buffer, at: number): KeyRevision {
  return {
    valueBytes: bytes.readUInt32LE(at + 4),
    main: bytes.readBigInt64LE(at + 8),
    sub: bytes.readBigInt64LE(at + 16),
    createRevision: bytes.readBigInt64LE(at + 24),
    version: bytes.readBigInt64LE(at + 32),
    lease: bytes.readBigInt64LE(at + 40),
    tombstone: bytes.readUInt8(at + 48) === 1,
  };
}

function grown(array: Uint32Array): Uint32Array {
  const larger = new Uint32Array(array.length * 2);
  larger.set(array);
  return larger;
}
