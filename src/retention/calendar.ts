/** Hours, days, ISO weeks, months and years as people of a time zone count them. Pure: time zones come from the ICU data inside Node. */

/** Building a formatter takes about a hundred times as long as using it. */
const formatters = new Map<string, Intl.DateTimeFormat>();

/** Where a moment lies on the calendar. Each name sorts as text within its kind, and differs from the next period's. */
export interface CalendarNames {
  /** `2026-11-22 10h`; in the hour that a clock change repeats, the offset tells the two apart. */
  readonly hour: string;
  readonly day: string;
  /** ISO 8601: weeks begin on Monday, week 1 has the year's first Thursday. */
  readonly week: string;
  readonly month: string;
  readonly year: string;
}

/** @throws RangeError when the time zone is unknown; the configuration has checked it before */
export function calendarNames(timeMs: number, timeZone: string): CalendarNames {
  const parts = Object.fromEntries(
    formatterOf(timeZone)
      .formatToParts(timeMs)
      .map(({ type, value }) => [type, value]),
  );
  const { year, month, day, hour, timeZoneName } = parts as Record<'year' | 'month' | 'day' | 'hour' | 'timeZoneName', string>;
  const date = `${year}-${month}-${day}`;
  return {
    // `GMT+01:00`; at Greenwich some versions of ICU give `GMT` alone.
    hour: `${date} ${hour}h ${timeZoneName.slice(3).padEnd(6, '+00:00')}`,
    day: date,
    week: isoWeek(Number(year), Number(month), Number(day)),
    month: `${year}-${month}`,
    year,
  };
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-GB-u-ca-iso8601', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      timeZoneName: 'longOffset',
    });
    formatters.set(timeZone, formatter);
  }
  return formatter;
}

function isoWeek(year: number, month: number, day: number): string {
  const date = new Date(Date.UTC(year, month - 1, day));
  // The Thursday of a week lies in the year that the week belongs to.
  date.setUTCDate(date.getUTCDate() + 4 - (date.getUTCDay() || 7));
  const days = (date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000;
  return `${date.getUTCFullYear()}-W${String(Math.floor(days / 7) + 1).padStart(2, '0')}`;
}
