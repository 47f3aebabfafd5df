/**
 * A seeded digest of 64 bits stands for a key where a pass must remember millions of them. Two keys share one by chance in 2^64; when a result
 * contradicts what it must equal, it is computed again with another seed before anyone is alarmed.
 */

/** Writes the digest into the first two elements of `out`: nothing is allocated, because it is called for every record. */
export type KeyDigest = (key: Buffer, seed: number, out: Uint32Array) => void;

/**
 * MurmurHash3_x86_128 (public domain, A. Appleby) narrowed to two lanes. Each lane mixes every block with constants of its own and takes in the
 * other lane, so that keys which collide in one are no likelier to collide in the other.
 * @param seed an unsigned number of 32 bits
 */
export function digestKey(key: Buffer, seed: number, out: Uint32Array): void {
  digestBytes(key, 0, key.length, seed, out);
}

/** The same of the bytes from `from` to `to`, for passes that make no view of each key. */
export function digestBytes(bytes: Uint8Array, from: number, to: number, seed: number, out: Uint32Array): void {
  const length = to - from;
  let a = seed | 0;
  let b = avalanche(seed ^ 0x239b961b);
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    a = step(a ^ first(block), 19, b, 0x561ccd1b);
    b = step(b ^ second(block), 17, a, 0x0bcaa747);
  }
  // What is left, at most three bytes. The length is mixed in below: `a` and `a\0` differ.
  let rest = 0;
  for (let shift = 0; at < to; at += 1, shift += 8) rest |= bytes[at]! << shift;
  a ^= first(rest) ^ length;
  b ^= second(rest) ^ Math.imul(length, 0x38b34ae5);
  a = (a + b) | 0;
  b = (b + a) | 0;
  a = avalanche(a);
  b = avalanche(b);
  a = (a + b) | 0;
  b = (b + a) | 0;
  out[0] = a;
  out[1] = b;
}

function first(block: number): number {
  return Math.imul(rotate(Math.imul(block, 0x239b961b), 15), 0xab0e9789);
}

function second(block: number): number {
  return Math.imul(rotate(Math.imul(block, 0xab0e9789), 16), 0x38b34ae5);
}

function step(lane: number, bits: number, other: number, constant: number): number {
  return (Math.imul(rotate(lane, bits) + other, 5) + constant) | 0;
}

function avalanche(lane: number): number {
  let mixed = lane;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

function rotate(lane: number, bits: number): number {
  return (lane << bits) | (lane >>> (32 - bits));
}
