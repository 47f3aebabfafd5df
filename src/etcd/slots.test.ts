import { expect, test } from 'vitest';
import { served } from './slots.ts';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const record = (slot: string) => ({ slot, id: 'x', by: 'somebody', at: slot });

test.each([
  [undefined, '2026-11-22T12:00:00Z', false],
  ['2026-11-22T12:00:00Z', '2026-11-22T12:00:00Z', true],
  ['2026-11-22T12:00:00Z', '2026-11-22T13:00:00+01:00', true],
  ['2026-11-22T12:00:00Z', '2026-11-22T11:00:00Z', true],
  ['2026-11-22T11:00:00Z', '2026-11-22T12:00:00Z', false],
  ['2026-11-22T12:05:00Z', '2026-11-22T12:00:00Z', true],
  ['2030-01-01T00:00:00Z', '2026-11-22T12:00:00Z', false],
  ['2030-01-01T00:00:00Z', '2030-01-01T00:00:00Z', true],
])('after %s, slot %s counts as served: %s', (recorded, slot, expected) => {
  expect(served(recorded === undefined ? undefined : record(recorded), slot, NOW)).toBe(expected);
});
