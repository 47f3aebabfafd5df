/**
 * bbolt maps its structures from memory as they are, so integers lie in the byte order of the machine that wrote them: little-endian
 * nearly everywhere, big-endian on s390x. The magic number of the meta page tells which.
 */
export interface ByteOrder {
  readonly name: 'little-endian' | 'big-endian';
  u16(bytes: Buffer, at: number): number;
  u32(bytes: Buffer, at: number): number;
  u64(bytes: Buffer, at: number): bigint;
  /** A u64 as a number: page ids, which are exact because a real one times its page's size is below 2^53. What is above is only known to be too large. */
  id(bytes: Buffer, at: number): number;
}

const U32 = 2 ** 32;

export const LITTLE_ENDIAN: ByteOrder = {
  name: 'little-endian',
  u16: (bytes, at) => bytes.readUInt16LE(at),
  u32: (bytes, at) => bytes.readUInt32LE(at),
  u64: (bytes, at) => bytes.readBigUInt64LE(at),
  id: (bytes, at) => bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * U32,
};

export const BIG_ENDIAN: ByteOrder = {
  name: 'big-endian',
  u16: (bytes, at) => bytes.readUInt16BE(at),
  u32: (bytes, at) => bytes.readUInt32BE(at),
  u64: (bytes, at) => bytes.readBigUInt64BE(at),
  id: (bytes, at) => bytes.readUInt32BE(at) * U32 + bytes.readUInt32BE(at + 4),
};
