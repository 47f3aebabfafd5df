import { describe, expect, test } from 'vitest';
import { timeGiven, timeOfSnapshot } from './import-time.ts';

const NOW = new Date('2026-11-22T12:00:00.000Z');
const modified = new Date('2026-11-22T10:00:00.000Z');

describe('when a snapshot of another tool was taken', () => {
  test.each([
    ['etcd-snapshot-node-a-1763805600', '2025-11-22T10:00:00.000Z'],
    ['on-demand-node-a-1763805600.zip', '2025-11-22T10:00:00.000Z'],
    ['snapshot.db', modified.toISOString()],
    // Later than the file itself: not a time.
    ['build-4000000000', modified.toISOString()],
  ])('%s', (name, time) => {
    expect(timeOfSnapshot(name, modified, NOW).toISOString()).toBe(time);
  });

  test.each([
    ['2026-11-22', '2026-11-22T00:00:00.000Z'],
    ['2026-11-22 10:00', '2026-11-22T10:00:00.000Z'],
    ['2026-11-22T10:00:01.5', '2026-11-22T10:00:01.500Z'],
    ['2026-11-22T10:00:00+02:00', '2026-11-22T08:00:00.000Z'],
  ])('--time %s', (text, time) => {
    expect(timeGiven(text, NOW).toISOString()).toBe(time);
  });

  test('what is no time, or lies in the future, is refused', () => {
    for (const text of ['yesterday', '', '22', '1763805600']) expect(() => timeGiven(text, NOW)).toThrow(/is no time/);
    expect(() => timeGiven('2026-11-23', NOW)).toThrow(expect.objectContaining({ code: 'usage', hint: expect.stringContaining('--time') }));
    expect(() => timeOfSnapshot('x.db', new Date('2027-01-01'), NOW)).toThrow(/in the future/);
  });
});
