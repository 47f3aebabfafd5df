/** Unsigned varints as protobuf writes them, for numbers that a double holds exactly: lengths, offsets, and revisions up to 2^53. */

/** The most bytes that one takes: 53 bits, seven in each. */
export const MAX_VARINT_LENGTH = 8;

/** @returns the offset after it */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest >= 2 ** 28) {
    into[next++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest >= 0x80) {
    into[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  into[next++] = rest;
  return next;
}

/** Where something is read. */
export interface VarintCursor {
  readonly bytes: Uint8Array;
  at: number;
}

/** Undefined when the bytes end before it does, or it is above 2^53 - 1. */
export function readVarint(cursor: VarintCursor): number | undefined {
  const { bytes } = cursor;
  let value = 0;
  for (let unit = 1, i = 0; i < MAX_VARINT_LENGTH; i += 1, unit *= 128) {
    const byte = bytes[cursor.at];
    if (byte === undefined) return undefined;
    cursor.at += 1;
    value += (byte & 0x7f) * unit;
    if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
  }
  return undefined;
}
