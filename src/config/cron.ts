/**
 * Which cron expressions count, and how far apart their runs are. croner does the reckoning; the grammar is narrowed to what crontab(5),
 * croner and node-cron read alike (a property test holds that), so that nobody's habit means something else here.
 */
import { Cron } from 'croner';

// A star, a star with a step, or a list of numbers and ranges, ranges with an optional step; names only where crontab(5) has them.
const ITEM = String.raw`\d{1,2}(?:-\d{1,2}(?:/\d{1,2})?)?`;
const FIELD = new RegExp(String.raw`^(?:\*(?:/\d{1,2})?|${ITEM}(?:,${ITEM})*)$`);
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const DAY_S = 86_400;

/** Far enough to meet every date that exists: 29 February is up to eight years away (2096 to 2104). */
const PROBED_DAYS = 8 * 366 + 1;

/** Why an expression is none, in words to be read after "expected"; undefined when it is fine. */
export function checkCron(expression: string, timeZone: string, now: Date): string | undefined {
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== 5 && fields.length !== 6) return 'a cron expression of five fields (minute hour day month weekday), or off';
  const five = fields.slice(-5);
  const plain = [...fields.slice(0, -2), withNumbers(five[3]!, MONTHS, 1), withNumbers(five[4]!, DAYS, 0)];
  if (!plain.every((field) => FIELD.test(field) && !/\/0+(?:,|$)/.test(field))) {
    return 'a cron expression of numbers, names of months and weekdays, *, ranges, steps and lists (no L, W, #, ? or @daily, no * inside a list)';
  }
  // crontab(5) and croner run on either, node-cron and others only on days that are both: whichever is meant, somebody reads it wrongly.
  if (five[2] !== '*' && five[4] !== '*') return 'a cron expression with * for day of month or for weekday';
  // Sunday is both 0 and 7, and `sun-sun` a single day to one and the whole week to another.
  if (/(?:^|,)(?:sun|0?0)-(?:sun|0?7)/i.test(five[4]!)) return 'a cron expression with * instead of a range from Sunday to Sunday';
  let next: Date | null;
  try {
    next = cron(expression, timeZone).nextRun(now);
  } catch (error) {
    return `a cron expression (${(error as Error).message.replace(/^CronPattern: /, '').replaceAll(/\s+/g, ' ')})`;
  }
  return next === null ? 'a schedule that comes round at all; this one never does' : undefined;
}

/** Why a time zone is none; undefined when it is fine. croner notices a bad one only when it reckons. */
export function isTimeZone(name: string, now: Date): boolean {
  try {
    // Intl takes offsets such as `+01:00` too, which have no summer time and are not names.
    return /^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name) && cron('0 0 * * *', name).nextRun(now) !== null;
  } catch {
    return false;
  }
}

/**
 * The shortest and the longest time between two runs, in milliseconds, as if clocks were never changed. Reckoned from the fields, because
 * no number of runs asked of croner is enough: a schedule of every minute in office hours comes to its weekend after 2 400 of them.
 */
export function runGaps(expression: string, now: Date): { shortestMs: number; longestMs: number } {
  const fields = expression.trim().split(/\s+/);
  const [second, minute, hour, day, month, weekday] = fields.length === 5 ? ['0', ...fields] : fields;
  const seconds = expand(second!, 0, 59);
  const minutes = expand(minute!, 0, 59);
  const times = expand(hour!, 0, 23).flatMap((h) => minutes.flatMap((m) => seconds.map((s) => (h * 60 + m) * 60 + s)));
  const months = new Set(expand(withNumbers(month!, MONTHS, 1), 1, 12));
  const days = new Set(expand(day!, 1, 31));
  const weekdays = new Set(expand(withNumbers(weekday!, DAYS, 0), 0, 7).map((number) => number % 7));
  let shortest = Number.POSITIVE_INFINITY;
  let longest = 0;
  for (const [index, time] of times.entries()) {
    if (index === 0) continue;
    shortest = Math.min(shortest, time - times[index - 1]!);
    longest = Math.max(longest, time - times[index - 1]!);
  }
  let last: number | undefined;
  for (let ahead = 0; ahead < PROBED_DAYS; ahead += 1) {
    const date = new Date(now.getTime() + ahead * DAY_S * 1000);
    if (!months.has(date.getUTCMonth() + 1) || !days.has(date.getUTCDate()) || !weekdays.has(date.getUTCDay())) continue;
    if (last !== undefined) {
      const gap = (ahead - last) * DAY_S - times.at(-1)! + times[0]!;
      shortest = Math.min(shortest, gap);
      longest = Math.max(longest, gap);
    }
    last = ahead;
  }
  return { shortestMs: shortest * 1000, longestMs: longest * 1000 };
}

/** The numbers that a field of the narrow grammar above stands for, ascending. */
function expand(field: string, low: number, high: number): number[] {
  const numbers = new Set<number>();
  for (const item of field.split(',')) {
    const [range, step] = item.split('/');
    const [from, to] = range === '*' ? [low, high] : range!.split('-').map(Number);
    for (let number = from!; number <= (to ?? from!); number += Number(step ?? 1)) numbers.add(number);
  }
  return [...numbers].toSorted((a, b) => a - b);
}

/** The one way in which this project builds a croner pattern: never started, five fields or six. */
function cron(expression: string, timeZone: string): Cron {
  // In UTC there is nothing to ask of Intl, whose first formatter takes 30 ms: every command would wait for it, since defaults are checked too.
  const zone = timeZone === 'UTC' ? { utcOffset: 0 } : { timezone: timeZone };
  return new Cron(expression.trim(), { ...zone, mode: '5-or-6-parts', paused: true });
}

function withNumbers(field: string, names: readonly string[], first: number): string {
  return field.replaceAll(/[A-Za-z]+/g, (word) => {
    const index = names.indexOf(word.toLowerCase());
    return index < 0 ? word : String(index + first);
  });
}
