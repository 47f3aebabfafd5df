/** The keys that a branch allows below one of its children. A side that is not there is open. */
export interface KeyRange {
  /** No key is less. */
  readonly lower?: Buffer | undefined;
  /** All keys are less. */
  readonly upper?: Buffer | undefined;
}

/**
 * Bytewise and unsigned, as bbolt orders keys; negative, 0 or positive. Written out because the call into C++ that `Buffer.compare` is takes longer than
 * comparing the few bytes by which neighbours in a database differ.
 */
export function compareBytes(a: Buffer, aAt: number, aEnd: number, b: Buffer, bAt: number, bEnd: number): number {
  const length = Math.min(aEnd - aAt, bEnd - bAt);
  for (let i = 0; i < length; i += 1) {
    const difference = a[aAt + i]! - b[bAt + i]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aAt - (bEnd - bAt);
}
