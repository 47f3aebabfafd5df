import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatBytes,
  formatBytesExact,
  formatDuration,
  formatDurationShort,
  parseBytes,
  parseDuration,
  suggestBytes,
  suggestDuration,
} from './units.ts';

describe('durations', () => {
  test.each([
    ['6h', 21_600_000],
    ['1d12h', 129_600_000],
    ['1.5h', 5_400_000],
    ['1.1h', 3_960_000],
    ['500ms', 500],
    ['1m30s', 90_000],
    ['2w', 1_209_600_000],
    ['0', 0],
    ['0s', 0],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '30', '1D', '1M', '5m3h', '1h1h', '-3s', '1e9', '1e9s', ' 5m', '5 m', '0.1ms', '1y', 'h', '9007199254740993w'])(
    '%j is not a duration',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  test('every whole number of milliseconds is written and read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e14 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  test('ten days are not a week and three days', () => {
    expect(formatDuration(864_000_000)).toBe('10d');
    expect(formatDuration(1_209_600_000)).toBe('2w');
    expect(formatDuration(-90_000)).toBe('-1m30s');
  });

  test.each([
    [0, '0ms'],
    [999, '999ms'],
    [1234, '1.2s'],
    [9960, '10s'],
    [59_600, '1m'],
    [192_000, '3m12s'],
    [3_599_900, '1h'],
    [18_120_000, '5h2m'],
    [1_051_200_000, '12d4h'],
    [-5000, '-5.0s'],
  ])('%d ms are shown as %s', (ms, text) => {
    expect(formatDurationShort(ms)).toBe(text);
  });

  test('a slip of the pen is recognised', () => {
    expect(suggestDuration('1D')).toBe('1d');
    expect(suggestDuration('5 Min')).toBe('5m');
    expect(suggestDuration('3 secs')).toBe('3s');
    expect(suggestDuration('30')).toBe('30s');
    expect(suggestDuration('1M')).toBeUndefined(); // a month or a minute?
    expect(suggestDuration('soon')).toBeUndefined();
  });
});

describe('sizes', () => {
  test.each([
    ['8GiB', 8_589_934_592],
    ['500MB', 500_000_000],
    ['1.5MiB', 1_572_864],
    ['512B', 512],
    ['1048576', 1_048_576],
    ['8 GiB', 8_589_934_592],
    ['0', 0],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  test.each(['', '8G', '8gib', '-1', '1.5', '1.5B', '1e9', 'GiB', '99999999999TiB'])('%j is not a size', (text) => {
    expect(parseBytes(text)).toBeUndefined();
  });

  test('every size is written and read back', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(parseBytes(formatBytesExact(bytes))).toBe(bytes);
      }),
    );
    expect(formatBytesExact(8_589_934_592)).toBe('8GiB');
    expect(formatBytesExact(500_000_000)).toBe('500MB');
  });

  test('people see three digits', () => {
    expect([0, 999, 1000, 1024, 1536, 1_234_567, 8_589_934_592, 2 ** 60].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '0.98 KiB',
      '1.00 KiB',
      '1.50 KiB',
      '1.18 MiB',
      '8.00 GiB',
      '1024 PiB',
    ]);
  });

  test('a slip of the pen is recognised', () => {
    expect(suggestBytes('8G')).toBe('8GiB');
    expect(suggestBytes('8gib')).toBe('8GiB');
    expect(suggestBytes('500mb')).toBe('500MB');
    expect(suggestBytes('5 bytes')).toBe('5B');
    expect(suggestBytes('lots')).toBeUndefined();
  });
});
