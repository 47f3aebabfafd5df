import { describe, expect, test } from 'vitest';
import { neededBytes } from './space.ts';

const MARGIN = 4 * 2 ** 20;

describe('room on disk', () => {
  test('the first backup asks for the full size', () => {
    expect(neededBytes(1000, undefined)).toBe(1000 + MARGIN);
  });
  test('later ones for what the last one took, and a quarter more', () => {
    expect(neededBytes(1000, { plainBytes: 2000, storedBytes: 400 })).toBe(250 + MARGIN);
  });
  test('never for more than the full size, and an empty predecessor teaches nothing', () => {
    expect(neededBytes(1000, { plainBytes: 1000, storedBytes: 1000 })).toBe(1000 + MARGIN);
    expect(neededBytes(1000, { plainBytes: 0, storedBytes: 10 })).toBe(1000 + MARGIN);
  });
});
