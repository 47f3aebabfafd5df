import fc from 'fast-check';
import { createCRC32 } from 'hash-wasm';
import { describe, expect, test } from 'vitest';
import { combineCrc32c, updateCrc32c } from './crc32c.ts';
import { CAPACITY } from './program.ts';

const oracle = await createCRC32(0x82f63b78);

function expected(bytes: Uint8Array): number {
  return Number.parseInt(oracle.init().update(bytes).digest(), 16);
}

/** Every byte differs from its neighbours, so that a lane that took another's byte would show. */
function pattern(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 167 + (i >> 8) * 31) & 0xff));
}

describe('crc32c', () => {
  test('has the check value of the catalogue of CRC parameters', () => {
    expect(updateCrc32c(0, Buffer.from('123456789'))).toBe(0xe3069283);
  });

  test('agrees with another implementation at every length around its steps', () => {
    const lengths = [
      0,
      1,
      7,
      8,
      9,
      15,
      16,
      255,
      256,
      257,
      511,
      512,
      4079,
      4096,
      16_383,
      16_384,
      16_385,
      16_640,
      CAPACITY - 1,
      CAPACITY,
      CAPACITY + 300,
    ];
    for (const length of lengths) expect([length, updateCrc32c(0, pattern(length))]).toEqual([length, expected(pattern(length))]);
  });

  test('gives the same in one piece and in many', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 8 }), (pieces) => {
        let sum = 0;
        for (const piece of pieces) sum = updateCrc32c(sum, piece);
        expect(sum).toBe(expected(Buffer.concat(pieces)));
      }),
      { seed: 5, numRuns: 200 },
    );
  });

  test('combines the sums of two pieces into that of both', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.uint8Array({ maxLength: 3000 }), (first, second) => {
        expect(combineCrc32c(expected(first), expected(second), second.length)).toBe(expected(Buffer.concat([first, second])));
      }),
      { seed: 6, numRuns: 200 },
    );
  });

  test('combines across more bytes than 32 bits can count', () => {
    const half = combineCrc32c(7, 0, 2 ** 32);
    expect(combineCrc32c(half, 0, 2 ** 32)).toBe(combineCrc32c(7, 0, 2 ** 33));
  });
});
