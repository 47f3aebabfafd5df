import { Cron } from 'croner';
import fc from 'fast-check';
import nodeCron from 'node-cron';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkCron, isTimeZone, runGaps } from './cron.ts';

const NOW = new Date('2026-06-01T10:07:00Z');
const MONTHS = ['jan', 'FEB', 'Mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'MON', 'Tue', 'wed', 'thu', 'fri', 'sat'];

/** Fields as people write them, now and then with a number that is out of range or a range the wrong way round. */
function field(low: number, high: number, names: readonly string[] = []): fc.Arbitrary<string> {
  const number = fc.oneof(
    { weight: 30, arbitrary: fc.integer({ min: low, max: high }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 99 }) },
  );
  const word = names.length === 0 ? number.map(String) : fc.oneof(number.map(String), fc.constantFrom(...names));
  const range = fc.tuple(word, word).map(([from, to]) => (Number(from) > Number(to) ? `${to}-${from}` : `${from}-${to}`));
  const item = fc.oneof(
    word,
    range,
    fc.tuple(range, fc.integer({ min: 1, max: high })).map(([text, step]) => `${text}/${step}`),
  );
  return fc.oneof(
    fc.constant('*'),
    fc.integer({ min: 0, max: high + 2 }).map((step) => `*/${step}`),
    fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(',')),
  );
}

const fiveFields = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12, MONTHS), field(0, 7, DAYS), fc.boolean())
  .map(([minute, hour, day, month, weekday, byDay]) => [minute, hour, byDay ? day : '*', month, byDay ? '*' : weekday].join(' '));

describe('cron expressions', () => {
  test.each([
    '0 * * * *',
    '*/5 * * * *',
    '30 2 * * *',
    '0 0 1 jan *',
    '0 0 29 2 *',
    '15 3 * * MON-FRI',
    '0 4,16 1-7 * *',
    '0 0 * * 7',
    '*/10 * * * * *',
  ])('%s is one', (expression) => {
    expect(checkCron(expression, 'UTC', NOW)).toBeUndefined();
  });

  test('fault 61: an interval that never matches is rejected when the configuration is read', () => {
    expect(checkCron('0 0 30 2 *', 'UTC', NOW)).toMatch(/never does/);
    expect(checkCron('0 0 31 4,6,9,11 *', 'UTC', NOW)).toMatch(/never does/);
  });

  test.each([
    ['* * * *', /five fields/],
    ['* * * * * * *', /five fields/],
    ['@daily', /five fields/],
    ['60 * * * *', /60/],
    ['0 25 * * *', /25/],
    ['*/0 * * * *', /steps/],
    ['0 0 L * *', /no L/],
    ['0 0 * * 5#2', /no L/],
    ['? * * * *', /no L/],
    ['0 0 13 * fri', /for day of month or for weekday/],
    ['0 22-4 * * *', /larger/],
    ['0 0 * * sun-sun', /from Sunday to Sunday/],
    ['*/61 * * * *', /steps/],
    ['0 0 * * someday', /names/],
  ])('%s is none', (expression, reason) => {
    expect(checkCron(expression, 'UTC', NOW)).toMatch(reason);
  });

  test('the shortest and the longest time between two runs are known', () => {
    expect(runGaps('0 * * * *', NOW)).toEqual({ shortestMs: 3_600_000, longestMs: 3_600_000 });
    expect(runGaps('* 9-17 * * 1-5', NOW)).toEqual({ shortestMs: 60_000, longestMs: (2 * 24 + 15) * 3_600_000 + 60_000 });
    expect(runGaps('0 0 29 feb *', NOW).longestMs).toBe(1461 * 86_400_000);
    expect(runGaps('*/10 * * * * *', NOW)).toEqual({ shortestMs: 10_000, longestMs: 10_000 });
  });

  test('no two runs that croner names are nearer or farther apart', () => {
    fc.assert(
      fc.property(fiveFields, (expression) => {
        if (checkCron(expression, 'UTC', NOW) !== undefined) return;
        const runs = new Cron(expression, { timezone: 'UTC', mode: '5-part', paused: true }).nextRuns(20, NOW);
        const gaps = runs.slice(1).map((run, index) => run.getTime() - runs[index]!.getTime());
        const { shortestMs, longestMs } = runGaps(expression, NOW);
        expect(Math.min(...gaps)).toBeGreaterThanOrEqual(shortestMs);
        expect(Math.max(...gaps)).toBeLessThanOrEqual(longestMs);
      }),
      { seed: 20_261_122, numRuns: 300 },
    );
  });

  test('time zones are names of the IANA database', () => {
    expect(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5'].every((zone) => isTimeZone(zone, NOW))).toBe(true);
    expect(['Europe/Berln', 'CEST!', '', '+01:00', 'Mars/Olympus'].some((zone) => isTimeZone(zone, NOW))).toBe(false);
  });
});

describe('node-cron as an independent oracle', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }));
  afterEach(() => void vi.useRealTimers());

  test('what is accepted here is accepted there, and both agree on the next run away from clock changes', () => {
    let agreed = 0;
    fc.assert(
      fc.property(
        fiveFields,
        fc.date({ min: new Date('2026-01-01T00:00:00Z'), max: new Date('2027-12-31T00:00:00Z'), noInvalidDate: true }),
        fc.constantFrom('UTC', 'Asia/Kolkata', 'America/Phoenix', 'Europe/Berlin', 'Australia/Lord_Howe'),
        (expression, now, timeZone) => {
          vi.setSystemTime(now);
          if (checkCron(expression, timeZone, now) !== undefined) return;
          expect(nodeCron.validate(expression)).toBe(true);
          const ours = new Cron(expression, { timezone: timeZone, mode: '5-part', paused: true }).nextRun(now)!;
          // Where the clock changes between now and the run, the two are known to differ: croner runs a skipped time late, node-cron drops it.
          if (offset(now, timeZone) !== offset(ours, timeZone) || changesNear(ours, timeZone) || changesNear(now, timeZone)) return;
          const task = nodeCron.createTask(expression, () => {}, { timezone: timeZone });
          expect(task.getNextRuns(1)[0]).toEqual(ours);
          void task.destroy();
          agreed += 1;
        },
      ),
      { seed: 20_261_122, numRuns: 400 },
    );
    expect(agreed).toBeGreaterThan(120);
  });
});

/** To make one takes longer than all that is asked of it. */
const formatters = new Map<string, Intl.DateTimeFormat>();

/** Local time minus UTC, in minutes. */
function offset(at: Date, timeZone: string): number {
  const formatter = formatters.get(timeZone) ?? new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  formatters.set(timeZone, formatter);
  const match = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(formatter.formatToParts(at).find((part) => part.type === 'timeZoneName')!.value)!;
  return match[1] === undefined ? 0 : (match[1] === '-' ? -1 : 1) * (Number(match[2]) * 60 + Number(match[3]));
}

function changesNear(at: Date, timeZone: string): boolean {
  const day = 86_400_000;
  return offset(new Date(at.getTime() - day), timeZone) !== offset(new Date(at.getTime() + day), timeZone);
}
