import { expect, test } from 'vitest';
import { createClaims } from './claims.ts';

test('each page belongs to one thing; a run is taken whole or not at all', () => {
  const claims = createClaims(100);
  expect(claims.claim(30, 5)).toBeUndefined();
  expect([29, 30, 31, 32, 34, 35].map((id) => claims.has(id))).toEqual([false, true, true, true, true, false]);
  expect(claims.claim(25, 10)).toBe(30);
  expect(claims.has(25)).toBe(false);
  expect(claims.claim(34, 1)).toBe(34);
  expect(claims.claim(99, 1)).toBeUndefined();
  expect(claims.has(99)).toBe(true);
  expect(claims.has(5000)).toBe(false);
});

test('a database of 8 GiB takes 256 KiB', () => {
  const pages = 2 ** 21;
  const before = process.memoryUsage().arrayBuffers;
  const claims = createClaims(pages);
  expect(claims.claim(pages - 100, 100)).toBeUndefined();
  expect(claims.has(pages - 1)).toBe(true);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThanOrEqual(pages / 8);
});
