/**
 * The seek table of a zstd *seekable* file: a skippable frame at the very end that lists every frame before it, so that
 * a reader can fetch and decode just the frames that hold the bytes it wants. Plain `zstd -d` skips it.
 *
 * Format: github.com/facebook/zstd, contrib/seekable_format/zstd_seekable_compression_format.md, version 0.1.0.
 * All integers are little-endian and unsigned.
 */
import { WardenError } from '../errors.ts';

/** One independent zstd frame; lengths in bytes. */
export interface Frame {
  readonly storedLength: number;
  readonly plainLength: number;
}

/** Where a plain offset lies: the frame that holds it, and where that frame starts in the file. */
export interface FrameAt {
  readonly index: number;
  readonly storedOffset: number;
  readonly plainOffset: number;
}

/** Magic of the skippable frame that holds the table. */
export const SEEK_TABLE_MAGIC = 0x184d2a5e;
const SEEKABLE_MAGIC = 0x8f92eab1;
const HEADER_LENGTH = 8;
const ENTRY_LENGTH = 8;

/** Bytes to read from the end of a file to learn how long its seek table is. */
export const FOOTER_LENGTH = 9;

/** Encodes the table that follows `frames` in the file. */
export function encodeSeekTable(frames: readonly Frame[]): Buffer {
  const table = Buffer.alloc(HEADER_LENGTH + frames.length * ENTRY_LENGTH + FOOTER_LENGTH);
  table.writeUInt32LE(SEEK_TABLE_MAGIC, 0);
  table.writeUInt32LE(table.length - HEADER_LENGTH, 4);
  let at = HEADER_LENGTH;
  for (const frame of frames) {
    table.writeUInt32LE(frame.storedLength, at);
    table.writeUInt32LE(frame.plainLength, at + 4);
    at += ENTRY_LENGTH;
  }
  table.writeUInt32LE(frames.length, at);
  table.writeUInt8(0, at + 4); // no per-frame checksums: each frame carries its own
  table.writeUInt32LE(SEEKABLE_MAGIC, at + 5);
  return table;
}

/**
 * Length in bytes of the whole table, from the last {@link FOOTER_LENGTH} bytes of a file.
 * @throws WardenError `not-seekable` when they are not the end of a table that we can read.
 */
export function seekTableLength(footer: Buffer): number {
  if (footer.length !== FOOTER_LENGTH || footer.readUInt32LE(5) !== SEEKABLE_MAGIC) {
    throw notSeekable('the file does not end in a zstd seek table');
  }
  return HEADER_LENGTH + footer.readUInt32LE(0) * entryLength(footer) + FOOTER_LENGTH;
}

/**
 * Frames in file order, from exactly the bytes of the table.
 * @param storedLength bytes of the file before the table. The lengths must add up to it: a table that lies is found here,
 *   before anyone reads at an offset that it gave.
 * @throws WardenError `not-seekable`
 */
export function parseSeekTable(table: Buffer, storedLength: number): Frame[] {
  const footer = table.subarray(-FOOTER_LENGTH);
  if (seekTableLength(footer) !== table.length || table.readUInt32LE(0) !== SEEK_TABLE_MAGIC) {
    throw notSeekable(`the seek table is damaged (${table.length} bytes)`);
  }
  const frames: Frame[] = [];
  let sum = 0;
  for (let at = HEADER_LENGTH; at < table.length - FOOTER_LENGTH; at += entryLength(footer)) {
    const frame = { storedLength: table.readUInt32LE(at), plainLength: table.readUInt32LE(at + 4) };
    sum += frame.storedLength;
    frames.push(frame);
  }
  if (sum !== storedLength) {
    throw notSeekable(`the seek table adds up to ${sum} bytes, the file holds ${storedLength}`);
  }
  return frames;
}

/** Where every frame starts, so that the one that holds an offset is found by bisection: 8 GiB are 8 192 entries, and point reads are many. */
export interface FrameIndex {
  readonly frames: readonly Frame[];
  /** Plain and stored offset of frame i; one more entry at the end holds the sums. */
  readonly plainOffsets: Float64Array;
  readonly storedOffsets: Float64Array;
  readonly plainLength: number;
}

export function indexFrames(frames: readonly Frame[]): FrameIndex {
  const plainOffsets = new Float64Array(frames.length + 1);
  const storedOffsets = new Float64Array(frames.length + 1);
  let plain = 0;
  let stored = 0;
  for (const [i, frame] of frames.entries()) {
    plain += frame.plainLength;
    stored += frame.storedLength;
    plainOffsets[i + 1] = plain;
    storedOffsets[i + 1] = stored;
  }
  return { frames, plainOffsets, storedOffsets, plainLength: plain };
}

/** The frame that holds the plain byte at `offset`, or undefined past the end. Frames without content hold no byte. */
export function frameAt(index: FrameIndex, offset: number): FrameAt | undefined {
  if (offset < 0 || offset >= index.plainLength) return undefined;
  let low = 0;
  let high = index.frames.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (index.plainOffsets[middle + 1]! > offset) high = middle;
    else low = middle + 1;
  }
  return { index: low, storedOffset: index.storedOffsets[low]!, plainOffset: index.plainOffsets[low]! };
}

/** Bit 7 of the descriptor says that each entry carries a checksum as well. We never write those; others may. */
function entryLength(footer: Buffer): number {
  return footer.readUInt8(4) & 0x80 ? ENTRY_LENGTH + 4 : ENTRY_LENGTH;
}

function notSeekable(sentence: string): WardenError {
  return new WardenError('not-seekable', sentence, {
    hint: 'verify the other copies, or decompress this one with `zstd -d` and name the plain file',
  });
}
