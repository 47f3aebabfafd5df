import { expect, test } from 'vitest';
import { windowAt } from './window.ts';

const window = { cron: '0 3 * * *', timeZone: 'Europe/Berlin', lengthMs: 3_600_000 };

test('a window is open from its beginning until its length is over, in its time zone', () => {
  const at = (text: string) => windowAt(window, Date.parse(text));
  expect(at('2026-11-22T01:59:59.999Z').open).toBe(false);
  expect(at('2026-11-22T02:00:00.000Z')).toEqual({
    open: true,
    beganMs: Date.parse('2026-11-22T02:00:00Z'),
    nextMs: Date.parse('2026-11-23T02:00:00Z'),
  });
  expect(at('2026-11-22T02:59:59.999Z').open).toBe(true);
  expect(at('2026-11-22T03:00:00.000Z').open).toBe(false);
  expect(at('2026-11-22T01:59:59.999Z').nextMs).toBe(Date.parse('2026-11-22T02:00:00Z'));
  expect(windowAt(undefined, 0)).toEqual({ open: false, beganMs: undefined, nextMs: undefined });
});
