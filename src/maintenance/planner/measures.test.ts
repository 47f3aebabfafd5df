import { describe, expect, test } from 'vitest';
import { clusterOf, HOUR_MS, MIB, MINUTE_MS, POLICY } from '../../../test/support/planner.ts';
import { NOW_MS } from '../../../test/support/plans.ts';
import { crossed } from './crossed.ts';
import { forecast, type SizeSample } from './forecast.ts';
import { compactTo } from './keep.ts';
import { EMPTY_PAST, isWithin } from './past.ts';
import { predictedFreezeMs, rateOf, remembered } from './rate.ts';
import type { PastDefrag } from './types.ts';
import { shareText, sizeText, timeText } from './words.ts';

describe('the rate of a defragmentation', () => {
  const defrag = (inUseBytes: number, tookMs: number): PastDefrag => ({
    atMs: 0,
    tookMs,
    beforeBytes: 2 * inUseBytes,
    afterBytes: inUseBytes,
    inUseBytes,
  });
  const past = (defrags: Record<string, PastDefrag>): typeof EMPTY_PAST => ({ ...EMPTY_PAST, defrags });

  test('is that of the member itself, where it is known', () => {
    expect(rateOf(past({ a: defrag(100e6, 1012), b: defrag(900e6, 1012) }), 'a')).toEqual({ bytesPerSecond: 100e6, learned: true });
  });

  test('is the middle one of what the member took lately: one copy beside a busy disk foretells nothing', () => {
    let last: PastDefrag | undefined;
    for (const tookMs of [1012, 1012, 10_012, 1012, 1112, 912, 812]) {
      const next = defrag(100e6, tookMs);
      last = { ...next, rates: remembered(next, last) };
    }
    expect(last!.rates).toHaveLength(5);
    expect(rateOf(past({ a: last! }), 'a')).toEqual({ bytesPerSecond: 100e6, learned: true });
    const small = defrag(1 * MIB, 5000);
    expect(remembered(small, last)).toEqual(last!.rates);
    expect(remembered(small, undefined)).toEqual([]);
    expect(rateOf(past({ a: { ...small, rates: [] } }), 'a').learned).toBe(false);
  });

  test('is the middle one of the others where it is not, and the slower of two', () => {
    const others = { b: defrag(300e6, 1012), c: defrag(100e6, 1012), d: defrag(900e6, 1012) };
    expect(rateOf(past(others), 'a').bytesPerSecond).toBe(300e6);
    expect(rateOf(past({ b: others.b, c: others.c }), 'a').bytesPerSecond).toBe(100e6);
  });

  test('is not learned from a copy too small to tell, nor from one that took no time', () => {
    expect(rateOf(past({ a: defrag(1 * MIB, 100), b: defrag(100e6, 12) }), 'a')).toEqual({ bytesPerSecond: 200e6, learned: false });
    expect(rateOf(EMPTY_PAST, 'a').learned).toBe(false);
  });

  test('predicts the freeze from what is in use', () => {
    expect(predictedFreezeMs({ dbSizeInUse: 300e6, rate: { bytesPerSecond: 200e6, learned: false } })).toBe(1512);
  });

  test('counts what every defragmentation takes, however little there is to copy, and does not learn it as slowness', () => {
    // Measured on 3.6.16: 1 MiB in 12 to 20 ms.
    const { bytesPerSecond } = rateOf(EMPTY_PAST, 'a');
    expect(predictedFreezeMs({ dbSizeInUse: 1 * MIB, rate: { bytesPerSecond, learned: false } })).toBeGreaterThanOrEqual(15);
    expect(predictedFreezeMs({ dbSizeInUse: 0, rate: { bytesPerSecond, learned: false } })).toBeGreaterThan(0);
    // As long again for as much again, at any size that tells.
    for (const inUseBytes of [8 * MIB, 64 * MIB, 4096 * MIB]) {
      const tookMs = 12 + (inUseBytes / 190e6) * 1000;
      const rate = rateOf(past({ a: defrag(inUseBytes, tookMs) }), 'a');
      expect(predictedFreezeMs({ dbSizeInUse: inUseBytes, rate })).toBe(Math.ceil(tookMs));
    }
  });
});

describe('history that is kept', () => {
  const state = clusterOf(3, { revision: 50_000n, compactRevision: 1000n });
  const mark = (minutesAgo: number, revision: bigint): { timeMs: number; revision: bigint } => ({
    timeMs: NOW_MS - minutesAgo * MINUTE_MS,
    revision,
  });

  test('by revisions: so many below the newest', () => {
    expect(compactTo({ revisions: 10_000 }, state)).toEqual({ revision: 40_000n });
  });

  test('H10: the head is never compacted, whatever is asked for', () => {
    expect(compactTo({ revisions: 0 }, state)).toEqual({ revision: 49_999n });
    expect(compactTo({ ms: 0 }, { ...state, marks: [mark(0, 50_000n)] })).toEqual({ revision: 49_999n });
  });

  test('by time: up to the newest mark that is old enough', () => {
    const marks = [mark(90, 10_000n), mark(61, 20_000n), mark(59, 21_000n), mark(1, 49_000n)];
    expect(compactTo({ ms: HOUR_MS }, { ...state, marks })).toEqual({ revision: 20_000n });
  });

  test('by time: a clock that jumped makes it keep more, never less', () => {
    // Written while the clock was two hours behind.
    expect(
      compactTo({ ms: HOUR_MS }, { ...state, marks: [mark(90, 10_000n), mark(80, 48_000n), mark(50, 12_000n), mark(40, 13_000n)] }),
    ).toEqual({ revision: 12_000n });
  });

  test('by time: marks of a history that was restored over say nothing', () => {
    expect(compactTo({ ms: HOUR_MS }, { ...state, marks: [mark(90, 10_000n), mark(80, 90_000n)] })).toEqual({ revision: 10_000n });
  });

  test('by time: refused with a hint where no time is known, or none so old', () => {
    expect(compactTo({ ms: HOUR_MS }, state)).toMatchObject({
      rule: 'no-time-known',
      message: expect.stringContaining('none is known'),
      hint: expect.stringContaining('--keep'),
    });
    expect(compactTo({ ms: HOUR_MS }, { ...state, marks: [mark(30, 40_000n)] })).toMatchObject({
      rule: 'no-time-known',
      message: expect.stringContaining('30 min'),
    });
  });

  test('nothing goes when nothing is older, or all of it has gone', () => {
    expect(compactTo({ revisions: 50_000 }, state)).toMatchObject({ rule: 'keeps-everything' });
    expect(compactTo({ revisions: 49_000 }, state)).toMatchObject({ rule: 'keeps-everything' });
    expect(compactTo({ revisions: 49_000 }, { ...state, compactRevision: undefined })).toEqual({ revision: 1000n });
  });
});

describe('the forecast', () => {
  /** One sample each ten minutes up to now. */
  const samples = (count: number, of: (index: number) => Omit<SizeSample, 'timeMs'>): SizeSample[] =>
    Array.from({ length: count }, (_, index) => ({ timeMs: NOW_MS - (count - 1 - index) * 10 * MINUTE_MS, ...of(index) }));

  test('tells when the file reaches the quota at the growth of the last day', () => {
    const found = forecast(
      samples(13, (index) => ({ dbSize: (100 + index) * MIB })),
      142 * MIB,
      NOW_MS,
    );
    expect(found).toEqual({ bytesPerDay: 144 * MIB, reachedMs: NOW_MS + 5 * HOUR_MS, spanMs: 2 * HOUR_MS });
  });

  test('takes what is in use where that is earlier: the file has room that is used up unseen', () => {
    const found = forecast(
      samples(13, (index) => ({ dbSize: 120 * MIB, dbSizeInUse: (100 + index) * MIB })),
      142 * MIB,
      NOW_MS,
    );
    expect(found).toMatchObject({ reachedMs: NOW_MS + 5 * HOUR_MS });
  });

  test('starts anew after a defragmentation', () => {
    const sizes = samples(20, (index) => ({ dbSize: index < 8 ? (500 + 9 * index) * MIB : (100 + index) * MIB }));
    expect(forecast(sizes, 1000 * MIB, NOW_MS)?.bytesPerDay).toBe(144 * MIB);
    expect(
      forecast(
        samples(20, (index) => ({ dbSize: index < 17 ? 500 * MIB : 100 * MIB })),
        1000 * MIB,
        NOW_MS,
      ),
    ).toBeUndefined();
  });

  test('is not moved by saw teeth of compactions, a wild sample, or the order of the samples', () => {
    const sizes = samples(100, (index) => ({
      dbSize: 900 * MIB,
      dbSizeInUse: (100 + index + (index === 50 ? 700 : 5 * (index % 6))) * MIB,
    })).reverse();
    const found = forecast(sizes, 1000 * MIB, NOW_MS)!;
    expect(found.bytesPerDay / MIB).toBeGreaterThan(130);
    expect(found.bytesPerDay / MIB).toBeLessThan(158);
  });

  test('says nothing from too few samples, too short a time, too old ones, or those of the future', () => {
    const growing = (index: number): Omit<SizeSample, 'timeMs'> => ({ dbSize: index * MIB });
    expect(forecast([], 100, NOW_MS)).toBeUndefined();
    expect(forecast(samples(5, growing), 100, NOW_MS)).toBeUndefined();
    expect(forecast(samples(6, growing), 100, NOW_MS)).toBeUndefined();
    expect(forecast(samples(20, growing), 100, NOW_MS + 48 * HOUR_MS)).toBeUndefined();
    expect(forecast(samples(20, growing), 100, NOW_MS - 4 * HOUR_MS)).toBeUndefined();
  });

  test('names no time without a quota, without growth, or in a hundred years; and now when it is reached', () => {
    const steady = samples(13, () => ({ dbSize: 100 * MIB }));
    expect(forecast(steady, 200 * MIB, NOW_MS)).toEqual({ bytesPerDay: 0, reachedMs: undefined, spanMs: 2 * HOUR_MS });
    expect(
      forecast(
        samples(13, (index) => ({ dbSize: (100 + index) * MIB })),
        undefined,
        NOW_MS,
      ),
    ).toMatchObject({ bytesPerDay: 144 * MIB, reachedMs: undefined });
    expect(
      forecast(
        samples(13, (index) => ({ dbSize: 1000 + index })),
        1e12,
        NOW_MS,
      )?.reachedMs,
    ).toBeUndefined();
    expect(forecast(steady, 100 * MIB, NOW_MS)?.reachedMs).toBe(NOW_MS);
  });

  test('stays quick over many samples, and takes another span when asked', () => {
    const many = Array.from({ length: 3000 }, (_, index) => ({ timeMs: NOW_MS - index * MINUTE_MS, dbSize: (5000 - index) * MIB }));
    expect(forecast(many, 1e12, NOW_MS, 50 * HOUR_MS)).toMatchObject({ bytesPerDay: 1440 * MIB, spanMs: 2999 * MINUTE_MS });
  });
});

describe('crossed thresholds', () => {
  const member = (
    name: string,
    dbSize: number,
    dbSizeInUse: number,
    quotaBytes: number | undefined = 1000,
  ): Parameters<typeof crossed>[0][number] => ({
    id: name,
    name,
    voter: true,
    dbSize: dbSize * MIB,
    dbSizeInUse: dbSizeInUse * MIB,
    quotaBytes: quotaBytes === undefined ? undefined : quotaBytes * MIB,
  });

  test('are none on a tidy cluster', () => {
    expect(crossed([member('m1', 320, 300), member('m2', 320, 300, undefined)], [], POLICY)).toEqual([]);
  });

  test('are told for each member, in the order of ids, and NOSPACE first', () => {
    const members = [member('m3', 850, 100), member('m2', 500, 200, undefined), member('m1', 500, 200)];
    const found = crossed(members, [{ type: 'NOSPACE', memberId: 'x' }], POLICY);
    expect(found.map(({ what, member: name }) => [what, name])).toEqual([
      ['no-space', undefined],
      ['too-free', 'm1'],
      ['too-free', 'm2'],
      ['near-quota', 'm3'],
    ]);
  });

  test('H8: are no reason to look where nothing can be gained, nor for a learner', () => {
    expect(
      crossed([member('m1', 990, 980), { ...member('m2', 900, 100), voter: false }], [{ type: 'CORRUPT', memberId: '0' }], POLICY),
    ).toEqual([]);
  });
});

describe('words and clocks of the planner', () => {
  test('sizes, times and shares are short', () => {
    expect([0, 512, 1536, 200 * MIB, 3e12, 9e18].map(sizeText)).toEqual(['0 B', '512 B', '1.5 KiB', '200 MiB', '2.7 TiB', '8185452 TiB']);
    expect([1, 1500, 30_000, 600_000, 6 * HOUR_MS].map(timeText)).toEqual(['1 ms', '1.5 s', '30 s', '10 min', '6.0 h']);
    expect(shareText(0.8)).toBe('80 %');
  });

  test('what was done in the future is believed for no longer than its span', () => {
    expect(isWithin(NOW_MS - 100, 1000, NOW_MS)).toBe(true);
    expect(isWithin(NOW_MS + 100, 1000, NOW_MS)).toBe(true);
    expect(isWithin(NOW_MS - 1000, 1000, NOW_MS)).toBe(false);
    expect(isWithin(NOW_MS + 86_400_000, 1000, NOW_MS)).toBe(false);
  });
});
