/** Seeded random numbers (xorshift32): the same seed gives the same keys and values on every machine. */
export interface Random {
  /** 0 <= x < bound */
  below(bound: number): number;
  fill(buffer: Buffer): Buffer;
}

export function seeded(seed: number): Random {
  // Zero would stay zero for ever; the multiplication keeps neighbouring seeds apart.
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
  function next(): number {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  }
  return {
    below: (bound) => next() % bound,
    fill(buffer) {
      let at = 0;
      for (; at + 4 <= buffer.length; at += 4) buffer.writeUInt32LE(next(), at);
      for (; at < buffer.length; at++) buffer[at] = next() & 0xff;
      return buffer;
    },
  };
}
