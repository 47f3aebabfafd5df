import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { calendarNames } from './calendar.ts';

const at = (time: string, zone: string) => calendarNames(Date.parse(time), zone);

describe('the calendar', () => {
  test('is that of the time zone', () => {
    expect(at('2026-11-22T23:30:00Z', 'UTC')).toEqual({
      hour: '2026-11-22 23h +00:00',
      day: '2026-11-22',
      week: '2026-W47',
      month: '2026-11',
      year: '2026',
    });
    expect(at('2026-12-31T23:30:00Z', 'Europe/Berlin')).toEqual({
      hour: '2027-01-01 00h +01:00',
      day: '2027-01-01',
      week: '2026-W53',
      month: '2027-01',
      year: '2027',
    });
    expect(at('2026-11-22T18:45:00Z', 'Asia/Kathmandu').hour).toBe('2026-11-23 00h +05:45');
  });

  test('the hour that a clock change repeats is two hours, and the one it skips is none', () => {
    const hours = ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'].map((time) => at(time, 'Europe/Berlin').hour);
    expect(hours).toEqual(['2026-10-25 02h +02:00', '2026-10-25 02h +01:00']);
    const spring = ['2026-03-29T00:30:00Z', '2026-03-29T01:30:00Z'].map((time) => at(time, 'Europe/Berlin').hour);
    expect(spring).toEqual(['2026-03-29 01h +01:00', '2026-03-29 03h +02:00']);
  });

  test.each([
    ['2021-01-03', '2020-W53'],
    ['2021-01-04', '2021-W01'],
    ['2024-12-29', '2024-W52'],
    ['2024-12-30', '2025-W01'],
    ['2026-01-01', '2026-W01'],
    ['2027-01-01', '2026-W53'],
  ])('%s lies in ISO week %s', (day, week) => {
    expect(at(`${day}T12:00:00Z`, 'UTC').week).toBe(week);
  });

  test('later moments never have earlier days, weeks, months or years', () => {
    const moment = fc.integer({ min: 0, max: Date.UTC(2100, 0) });
    fc.assert(
      fc.property(moment, moment, fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Apia'), (a, b, zone) => {
        const [earlier, later] = [calendarNames(Math.min(a, b), zone), calendarNames(Math.max(a, b), zone)];
        for (const kind of ['day', 'week', 'month', 'year'] as const) expect(earlier[kind] <= later[kind]).toBe(true);
      }),
    );
  });

  test('an unknown time zone is refused', () => {
    expect(() => at('2026-11-22T12:00:00Z', 'Mars/Olympus')).toThrow(RangeError);
  });
});
