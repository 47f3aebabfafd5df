/** A zstd file read from its beginning, frame by frame: works on any .zst, with or without a seek table. */
import { WardenError } from '../errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import {
  BLOCK_HEADER_LENGTH,
  CHECKSUM_LENGTH,
  MAX_FRAME_HEADER_LENGTH,
  parseBlockHeader,
  parseFrameHeader,
  skippableLength,
} from './frame-header.ts';
import { createFrameDecoder, FRAME_LENGTH, MAX_FRAME_LENGTH, tooLarge } from './frames.ts';
import { type Frame, parseSeekTable, SEEK_TABLE_MAGIC } from './seek-table.ts';

/** Compressed bytes of the largest frame that we decode: incompressible data grows by 3 bytes per block of 128 KiB. */
const MAX_STORED_LENGTH = MAX_FRAME_LENGTH + 2 ** 20;

/** Our seek table of a 1 TiB database is 8 MiB. Skippable frames beyond this are somebody else's, and none of those is known. */
const MAX_SKIPPABLE_LENGTH = 64 * 2 ** 20;

/** Frames under way at once, so that the thread pool has work whatever the last one is used for. Large foreign frames go one by one. */
const AHEAD = 6;

/**
 * Plain bytes in file order. At the end the seek table, if there is one, must agree with the frames that were met: a file whose content is
 * right and whose table is wrong would fail only later, at the first read from its middle.
 * @throws WardenError `verification-failed` naming the first frame that is wrong.
 */
export async function* decodeFrames(queue: ByteQueue): AsyncGenerator<Buffer, void, undefined> {
  const frames: Frame[] = [];
  const decoding: Promise<Buffer>[] = [];
  const decoder = createFrameDecoder({ lanes: AHEAD });
  try {
    while (await queue.fill(1)) {
      await queue.fill(MAX_FRAME_HEADER_LENGTH);
      const skippable = skippableLength(queue.peek(8));
      if (skippable !== undefined) {
        yield* drain(decoding, frames, 0);
        await skip(queue, skippable, frames);
        continue;
      }
      const place = `frame ${frames.length}`;
      let stored: Buffer;
      try {
        stored = await takeFrame(queue, place);
      } catch (error) {
        yield* drain(decoding, frames, 0); // a frame before it may be wrong as well, and the first one is to be named
        throw error;
      }
      const plain = decoder.decode(stored, place);
      plain.catch(() => undefined); // awaited in its turn
      decoding.push(plain);
      frames.push({ storedLength: stored.length, plainLength: -1 });
      yield* drain(decoding, frames, stored.length > 2 * FRAME_LENGTH ? 0 : AHEAD);
    }
    yield* drain(decoding, frames, 0);
  } finally {
    await Promise.allSettled(decoding);
    decoder.close();
  }
}

/** Yields decoded frames in order until at most `keep` are still under way. */
async function* drain(decoding: Promise<Buffer>[], frames: Frame[], keep: number): AsyncGenerator<Buffer, void, undefined> {
  while (decoding.length > keep) {
    const plain = await decoding[0]!;
    const index = frames.length - decoding.length;
    frames[index] = { storedLength: frames[index]!.storedLength, plainLength: plain.length };
    void decoding.shift();
    yield plain;
  }
}

async function takeFrame(queue: ByteQueue, place: string): Promise<Buffer> {
  const header = parseFrameHeader(queue.peek(MAX_FRAME_HEADER_LENGTH));
  if (header === undefined) throw failed(`${place} does not start as a zstd frame does`);
  if (Math.max(header.contentLength ?? 0, header.windowLength) > MAX_FRAME_LENGTH) throw tooLarge(place);
  let length = header.headerLength;
  for (let last = false; !last;) {
    if (!(await queue.fill(length + BLOCK_HEADER_LENGTH))) throw failed(`the file ends inside ${place}`);
    const block = parseBlockHeader(queue.peek(length + BLOCK_HEADER_LENGTH), length);
    if (block === undefined) throw failed(`${place} is damaged: a block of it has the reserved type`);
    length += BLOCK_HEADER_LENGTH + block.storedLength;
    if (length > MAX_STORED_LENGTH) throw tooLarge(place);
    last = block.last;
  }
  if (header.checksum) length += CHECKSUM_LENGTH;
  if (!(await queue.fill(length))) throw failed(`the file ends inside ${place}`);
  return queue.take(length);
}

async function skip(queue: ByteQueue, contentLength: number, frames: readonly Frame[]): Promise<void> {
  if (contentLength > MAX_SKIPPABLE_LENGTH) throw failed(`a skippable frame of ${contentLength} bytes after frame ${frames.length - 1}`);
  if (!(await queue.fill(8 + contentLength))) throw failed('the file ends inside its seek table');
  const table = queue.take(8 + contentLength);
  if (table.readUInt32LE(0) !== SEEK_TABLE_MAGIC) return;
  let listed: readonly Frame[];
  try {
    listed = parseSeekTable(
      table,
      frames.reduce((sum, frame) => sum + frame.storedLength, 0),
    );
  } catch (error) {
    throw new WardenError('verification-failed', `every frame is right, but ${(error as Error).message}`, { cause: error });
  }
  const wrong = frames.findIndex(
    (frame, i) => frame.storedLength !== listed[i]?.storedLength || frame.plainLength !== listed[i].plainLength,
  );
  if (wrong !== -1 || listed.length !== frames.length) {
    throw failed(`every frame is right, but the seek table gives other lengths for frame ${wrong === -1 ? frames.length : wrong}`);
  }
}

function failed(sentence: string): WardenError {
  return new WardenError('verification-failed', sentence);
}
