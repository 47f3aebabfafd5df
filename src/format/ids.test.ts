import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isId, isLineage, newId, newLineage, newSuffix, isSuffix, stampOf, timeOfId, timeOfStamp } from './ids.ts';

const times = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
const random = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe('ids', () => {
  test('an id tells its time, to the millisecond', () => {
    fc.assert(
      fc.property(times, random, (ms, bytes) => {
        const id = newId(new Date(ms), (length) => bytes.subarray(0, length));
        expect(id).toMatch(/^\d{8}T\d{9}Z-[0-9a-z]{6}$/);
        expect(timeOfId(id)).toBe(ms);
      }),
    );
  });

  test('ids sort as text in the order of time', () => {
    fc.assert(
      fc.property(times, times, (a, b) => {
        fc.pre(a !== b);
        expect(stampOf(new Date(a)) < stampOf(new Date(b))).toBe(a < b);
      }),
    );
  });

  test('ten thousand ids of one millisecond are all different', () => {
    const ids = new Set(Array.from({ length: 10_000 }, () => newId(new Date(0), randomBytes).slice(0, 26)));
    expect(ids.size).toBeGreaterThan(9_990); // 2^30 names: a collision is a one in twenty chance, ten are not
  });

  test('the example of the documentation is an id', () => {
    expect(timeOfId('20261122T100000123Z-k3f9qa')).toBe(Date.parse('2026-11-22T10:00:00.123Z'));
  });

  test.each([
    ['an empty name', ''],
    ['no random part', '20261122T100000123Z'],
    ['a short random part', '20261122T100000123Z-k3f9q'],
    ['a long random part', '20261122T100000123Z-k3f9qaa'],
    ['a letter outside the alphabet', '20261122T100000123Z-k3f9ql'],
    ['upper case', '20261122T100000123Z-K3F9QA'],
    ['another separator', '20261122T100000123Z_k3f9qa'],
    ['a day that does not exist', '20260231T100000123Z-k3f9qa'],
    ['an hour that does not exist', '20261122T240000000Z-k3f9qa'],
    ['a month that does not exist', '20261322T100000123Z-k3f9qa'],
    ['a time before 1970', '19691231T235959999Z-k3f9qa'],
    ['no milliseconds', '20261122T100000Z-k3f9qa'],
    ['trailing text', '20261122T100000123Z-k3f9qa.db'],
  ])('%s is not an id', (_, text) => {
    expect(isId(text)).toBe(false);
  });

  test.each([Number.NaN, -1, Date.UTC(10_000, 0)])('a clock that shows %s is refused', (ms) => {
    expect(() => stampOf(new Date(ms))).toThrow(/the clock shows/);
  });

  test('lineages and suffixes are recognised by their length and letters', () => {
    expect(isLineage(newLineage(randomBytes))).toBe(true);
    expect(isLineage('0123456789abcdeu')).toBe(false);
    expect(isLineage('0123')).toBe(false);
    expect(isSuffix(newSuffix(randomBytes))).toBe(true);
    expect(isSuffix('abc-ef')).toBe(false);
    expect(timeOfStamp('20261122T100000123Z-')).toBeUndefined();
  });
});
