import { expect, test } from 'vitest';
import { createRunningSum } from './running-sum.ts';

/** Bit by bit, as the definition has it. */
function slowly(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ ((sum & 1) === 1 ? 0x82f63b78 : 0);
  }
  return ~sum >>> 0;
}

test('the check value of Castagnoli, and nothing for nothing', () => {
  const sum = createRunningSum();
  sum.update(Buffer.from('123456789'));
  expect(sum.digest()).toBe(0xe3069283);
  expect(sum.digest()).toBe(0);
});

test('pieces of any length give the sum of the whole, however they meet the stage', () => {
  const whole = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
  const sum = createRunningSum();
  for (const lengths of [[60_000], [16_384, 16_384, 27_232], [1, 16_383, 1, 16_385, 27_230], [0, 100, 20_000, 5, 39_895]]) {
    let at = 0;
    for (const length of lengths) sum.update(whole.subarray(at, (at += length)));
    expect(at).toBe(whole.length);
    expect(sum.digest()).toBe(slowly(whole));
  }
});

test('sums beside each other do not mix', () => {
  const [a, b] = [createRunningSum(), createRunningSum()];
  a.update(Buffer.from('12345'));
  b.update(Buffer.from('123456789'));
  a.update(Buffer.from('6789'));
  expect(a.digest()).toBe(0xe3069283);
  expect(b.digest()).toBe(0xe3069283);
});
