/**
 * Durations and sizes as people write them, and back. Milliseconds and bytes are plain numbers everywhere else.
 *
 * The spelling is the one that Go's time.ParseDuration (so etcdctl's environment) and Kubernetes' quantities share with everyday use:
 * `90s`, `6h`, `1d12h`; `8GiB` is 1024-based, `500MB` is 1000-based. Case matters, because `1M` would be a month to some and a minute to others.
 */

/** Largest first: that is the order in which a compound such as `1d12h` must be written. */
const DURATION_UNITS: readonly (readonly [string, number])[] = [
  ['w', 604_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

const SIZE_UNITS: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['TB', 1e12],
  ['GiB', 2 ** 30],
  ['GB', 1e9],
  ['MiB', 2 ** 20],
  ['MB', 1e6],
  ['KiB', 1024],
  ['kB', 1000],
  ['B', 1],
];

/** Milliseconds of `90s`, `1d12h`, `1.5h` or a bare `0`; undefined when it is none, or not a whole number of milliseconds. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(text)) return undefined;
  let sum = 0;
  let last = -1;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)) {
    const index = DURATION_UNITS.findIndex(([name]) => name === unit);
    if (index <= last) return undefined; // `5m3h` and `1h1h` are more likely a slip than meant
    last = index;
    sum += Number(number) * DURATION_UNITS[index]![1];
  }
  return wholeNumber(sum);
}

/** The shortest exact spelling that {@link parseDuration} reads back: `36h` becomes `1d12h`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return String(ms);
  let rest = Math.round(Math.abs(ms));
  if (rest === 0) return '0s';
  let text = '';
  for (const [unit, length] of DURATION_UNITS) {
    // Weeks only when nothing remains: `10d` is easier to read than `1w3d`.
    if (unit === 'w' && rest % length !== 0) continue;
    const count = Math.floor(rest / length);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * length;
  }
  return ms < 0 ? `-${text}` : text;
}

/** For people who wait or look back: at most two units, `3m12s`, `5h2m`, `12d4h`; under ten seconds one decimal. */
export function formatDurationShort(ms: number): string {
  const sign = ms < 0 ? '-' : '';
  const length = Math.abs(ms);
  if (length < 1000) return `${sign}${Math.round(length)}ms`;
  if (length < 9950) return `${sign}${(length / 1000).toFixed(1)}s`;
  const units = DURATION_UNITS.slice(1, 5);
  for (const [index, [unit, unitLength]] of units.entries()) {
    const next = units[index + 1];
    // Rounded in the smaller of the two units first, so that 59.6 s is 1m and never 60s.
    const rounded = next === undefined ? Math.round(length / unitLength) * unitLength : Math.round(length / next[1]) * next[1];
    if (rounded < unitLength) continue;
    const count = Math.floor(rounded / unitLength);
    const rest = next === undefined ? 0 : Math.round((rounded - count * unitLength) / next[1]);
    return `${sign}${count}${unit}${rest > 0 ? `${rest}${next![0]}` : ''}`;
  }
  return `${sign}${Math.round(length)}ms`;
}

/** Bytes of `8GiB`, `1.5MB`, `512B` or a bare whole number; undefined when it is none, or not a whole number of bytes. */
export function parseBytes(text: string): number | undefined {
  if (/^\d+$/.test(text)) return wholeNumber(Number(text));
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(text);
  if (match === null) return undefined;
  const unit = SIZE_UNITS.find(([name]) => name === match[2]);
  return unit === undefined ? undefined : wholeNumber(Number(match[1]) * unit[1]);
}

/** The shortest exact spelling that {@link parseBytes} reads back. */
export function formatBytesExact(bytes: number): string {
  for (const [unit, size] of SIZE_UNITS) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}B`;
}

/** For people: three significant digits in binary units, `1.24 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = Math.abs(bytes);
  let unit = 0;
  // 999.5 would print as 1000: the next unit up reads better.
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${bytes < 0 ? '-' : ''}${value.toFixed(digits)} ${units[unit]}`;
}

/** What somebody may have meant by a spelling that is not one: `1D`, `8gib`, `5 min`, `30sec`. */
export function suggestDuration(text: string): string | undefined {
  const words: Readonly<Record<string, string>> = {
    ms: 'ms',
    msec: 'ms',
    millis: 'ms',
    s: 's',
    sec: 's',
    secs: 's',
    second: 's',
    seconds: 's',
    min: 'm',
    mins: 'm',
    minute: 'm',
    minutes: 'm', // prettier-ignore
    m: 'm',
    h: 'h',
    hr: 'h',
    hrs: 'h',
    hour: 'h',
    hours: 'h',
    d: 'd',
    day: 'd',
    days: 'd',
    w: 'w',
    week: 'w',
    weeks: 'w', // prettier-ignore
  };
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(text.trim());
  if (match === null) return /^\d+$/.test(text.trim()) ? `${text.trim()}s` : undefined;
  const unit = words[match[2]!.toLowerCase()];
  return unit === undefined || match[2] === 'M' ? undefined : `${match[1]}${unit}`;
}

/** As {@link suggestDuration}. A bare `G` is taken as binary: that is what etcd's own quota is counted in. */
export function suggestBytes(text: string): string | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?(?:ytes?)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const letter = match[2]!.toUpperCase();
  const decimal = match[3] === '' && /b/i.test(text.slice(match[1]!.length + 1)) && letter !== '';
  const unit = letter === '' ? 'B' : decimal ? (letter === 'K' ? 'kB' : `${letter}B`) : `${letter}iB`;
  const suggestion = `${match[1]}${unit}`;
  return parseBytes(suggestion) === undefined ? undefined : suggestion;
}

function wholeNumber(value: number): number | undefined {
  // 1.1h is 3960000.0000000005 ms in binary: within a thousandth is the whole number that was meant.
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) && Math.abs(value - rounded) < 1e-3 ? rounded : undefined;
}
