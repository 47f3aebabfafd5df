/**
 * The outside of a zstd frame: how long it is and what it declares, without decoding it. Needed because Node 24's decoder silently drops
 * data when one call gets more than one frame (nodejs/node#64741): we cut files into frames ourselves and decode each alone.
 *
 * Format: RFC 8878, sections 3.1.1 (frames), 3.1.1.2 (blocks) and 3.1.2 (skippable frames). All integers are little-endian.
 */

export const ZSTD_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50; // the low four bits are free

/** Magic, descriptor, window, dictionary id and content size at their longest. */
export const MAX_FRAME_HEADER_LENGTH = 18;
export const BLOCK_HEADER_LENGTH = 3;
export const CHECKSUM_LENGTH = 4;

export interface FrameHeader {
  readonly headerLength: number;
  /** Bytes that the frame says it decodes to; undefined when it does not say. */
  readonly contentLength: number | undefined;
  /** Memory that a decoder must keep of what it has decoded. */
  readonly windowLength: number;
  /** Four bytes of xxHash64 follow the last block. */
  readonly checksum: boolean;
}

/** The header at the start of `bytes`; undefined when they are too few, or not the start of a zstd frame. */
export function parseFrameHeader(bytes: Buffer): FrameHeader | undefined {
  if (bytes.length < 5 || bytes.readUInt32LE(0) !== ZSTD_MAGIC) return undefined;
  const descriptor = bytes.readUInt8(4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const windowBytes = singleSegment ? 0 : 1;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6]!;
  const headerLength = 5 + windowBytes + dictionaryBytes + sizeBytes;
  if (bytes.length < headerLength) return undefined;
  const contentLength = readContentLength(bytes, headerLength - sizeBytes, sizeBytes);
  const windowLength = singleSegment ? (contentLength ?? 0) : windowLengthOf(bytes.readUInt8(5));
  return { headerLength, contentLength, windowLength, checksum: (descriptor & 4) !== 0 };
}

/** Length of a skippable frame's content, from its first eight bytes; undefined when they are not one's. */
export function skippableLength(bytes: Buffer): number | undefined {
  if (bytes.length < 8 || (bytes.readUInt32LE(0) & 0xfffffff0) >>> 0 !== SKIPPABLE_MAGIC) return undefined;
  return bytes.readUInt32LE(4);
}

/** A block's header: how many bytes follow it in the file, and whether it is the frame's last. Undefined for the reserved type. */
export function parseBlockHeader(bytes: Buffer, at: number): { readonly storedLength: number; readonly last: boolean } | undefined {
  const header = bytes.readUIntLE(at, BLOCK_HEADER_LENGTH);
  const type = (header >>> 1) & 3;
  if (type === 3) return undefined;
  const size = header >>> 3;
  return { storedLength: type === 1 ? 1 : size, last: (header & 1) === 1 }; // type 1 repeats one byte `size` times
}

function readContentLength(bytes: Buffer, at: number, sizeBytes: number): number | undefined {
  if (sizeBytes === 1) return bytes.readUInt8(at);
  if (sizeBytes === 2) return bytes.readUInt16LE(at) + 256;
  if (sizeBytes === 4) return bytes.readUInt32LE(at);
  if (sizeBytes === 8) return Number(bytes.readBigUInt64LE(at));
  return undefined;
}

function windowLengthOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}
