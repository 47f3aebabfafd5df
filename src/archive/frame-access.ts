/** Positional reads of the plain bytes of a seekable zstd file: only the frames that hold them are fetched and decoded. */
import type { RandomAccess } from '../boltdb/random-access.ts';
import { WardenError } from '../errors.ts';
import { outOfFile } from './file-access.ts';
import { decodeFrame, MAX_FRAME_LENGTH, tooLarge } from './frames.ts';
import { FOOTER_LENGTH, type Frame, frameAt, indexFrames, parseSeekTable, seekTableLength } from './seek-table.ts';

/** Decoded frames kept: a walk down a tree comes back to the upper pages again and again. One frame is kept whatever its size. */
const CACHE_BYTES = 8 * 2 ** 20;

/** Holds the table of an 8 GiB database, so that one request fetches it. */
const FIRST_TAIL = 2 ** 16 + 2 ** 10;

/** The seek table at the end of `inner`. @throws WardenError `not-seekable` */
export async function readSeekTable(inner: RandomAccess, signal?: AbortSignal): Promise<Frame[]> {
  const tail = await inner.read(Math.max(0, inner.size - FIRST_TAIL), Math.min(inner.size, FIRST_TAIL), signal);
  const length = seekTableLength(tail.subarray(Math.max(0, tail.length - FOOTER_LENGTH)));
  if (length > inner.size) throw new WardenError('not-seekable', `the seek table claims ${length} bytes of a file of ${inner.size}`);
  const table = length <= tail.length ? tail.subarray(tail.length - length) : await inner.read(inner.size - length, length, signal);
  return parseSeekTable(table, inner.size - length);
}

/** The decoded view of `inner`, whose frames are known. */
export function frameAccess(inner: RandomAccess, frames: readonly Frame[]): RandomAccess {
  const index = indexFrames(frames);
  const cache = new Map<number, Buffer>(); // least recently used first
  let cached = 0;

  function keep(frame: number, plain: Buffer): void {
    cache.set(frame, plain);
    cached += plain.length;
    for (const [oldest, bytes] of cache) {
      if (cached <= CACHE_BYTES || cache.size === 1) break;
      cache.delete(oldest);
      cached -= bytes.length;
    }
  }

  /** Fetches the stored bytes of a run of frames in one read and decodes them. */
  async function load(first: number, last: number, signal?: AbortSignal): Promise<Map<number, Buffer>> {
    const start = index.storedOffsets[first]!;
    const stored = await inner.read(start, index.storedOffsets[last + 1]! - start, signal);
    const decoded = new Map<number, Buffer>();
    for (let frame = first; frame <= last; frame += 1) {
      const at = index.storedOffsets[frame]! - start;
      const { storedLength, plainLength } = frames[frame]!;
      if (plainLength > MAX_FRAME_LENGTH) throw tooLarge(`frame ${frame}`);
      const plain = await decodeFrame(stored.subarray(at, at + storedLength), `frame ${frame}`);
      if (plain.length !== plainLength) {
        throw new WardenError('verification-failed', `frame ${frame} holds ${plain.length} bytes, the seek table says ${plainLength}`);
      }
      decoded.set(frame, plain);
    }
    return decoded;
  }

  return {
    size: index.plainLength,
    async read(offset, length, signal) {
      if (offset < 0 || length < 0 || offset + length > index.plainLength)
        throw outOfFile('the decompressed file', index.plainLength, offset, length);
      if (length === 0) return Buffer.alloc(0);
      const first = frameAt(index, offset)!.index;
      const last = frameAt(index, offset + length - 1)!.index;
      const held = new Map<number, Buffer>();
      const missing: number[] = [];
      for (let frame = first; frame <= last; frame += 1) {
        const plain = cache.get(frame);
        if (plain === undefined) {
          missing.push(frame);
          continue;
        }
        held.set(frame, plain);
        cache.delete(frame);
        cache.set(frame, plain); // now the most recently used
      }
      if (missing.length > 0) {
        for (const [frame, plain] of await load(missing[0]!, missing.at(-1)!, signal)) {
          held.set(frame, plain);
          if (!cache.has(frame)) keep(frame, plain);
        }
      }
      const from = offset - index.plainOffsets[first]!;
      if (first === last) return held.get(first)!.subarray(from, from + length);
      const parts = Array.from({ length: last - first + 1 }, (_, i) => held.get(first + i)!);
      return Buffer.concat(parts).subarray(from, from + length);
    },
  };
}
