/** When a member reaches its quota if it goes on growing as it did lately. */

export interface SizeSample {
  readonly timeMs: number;
  readonly dbSize: number;
  /** Undefined where only the size is known, as from a manifest. */
  readonly dbSizeInUse?: number | undefined;
}

export interface Forecast {
  /** Of the kind of growth that reaches the quota first; negative = it shrinks. */
  readonly bytesPerDay: number;
  /** When the quota is reached, ms since 1970; undefined = not at this growth, or there is no quota. */
  readonly reachedMs: number | undefined;
  /** From how much time this was told, ms. */
  readonly spanMs: number;
}

const DAY_MS = 24 * 3_600_000;
/** Less than this says more about one compaction than about growth. */
const MIN_SPAN_MS = 3_600_000;
const MIN_SAMPLES = 6;
/** A slope between every two samples: so many samples are plenty, and bound the work. */
const MAX_SAMPLES = 150;
/** Beyond this nobody plans, and the sum would leave the range of dates. */
const FAR_MS = 100 * 365 * DAY_MS;

/**
 * From one member's samples of the last day, in any order. Two things reach a quota: the file, which grows until it is defragmented, and what is in use,
 * which defragmentation cannot help; the earlier one counts. Undefined when there are too few samples to tell.
 */
export function forecast(
  sizes: readonly SizeSample[],
  quota: number | undefined,
  nowMs: number,
  overMs: number = DAY_MS,
): Forecast | undefined {
  const lately = sizes.filter(({ timeMs }) => timeMs <= nowMs && timeMs > nowMs - overMs).sort((a, b) => a.timeMs - b.timeMs);
  const inUse = lately.flatMap(({ timeMs, dbSizeInUse }) => (dbSizeInUse === undefined ? [] : [{ timeMs, bytes: dbSizeInUse }]));
  const file = sinceDrop(lately.map(({ timeMs, dbSize }) => ({ timeMs, bytes: dbSize })));
  const trends = [trendOf(file, quota, nowMs), trendOf(inUse, quota, nowMs)].flatMap((each) => each ?? []);
  return trends.sort((a, b) => (a.reachedMs ?? Infinity) - (b.reachedMs ?? Infinity) || b.bytesPerDay - a.bytesPerDay)[0];
}

interface Point {
  readonly timeMs: number;
  readonly bytes: number;
}

/** The file never shrinks but by a defragmentation (or a restore): what was before says nothing of what comes. */
function sinceDrop(points: readonly Point[]): readonly Point[] {
  const drop = points.findLastIndex((point, index) => index > 0 && point.bytes < points[index - 1]!.bytes);
  return drop === -1 ? points : points.slice(drop);
}

function trendOf(points: readonly Point[], quota: number | undefined, nowMs: number): Forecast | undefined {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || points.length < MIN_SAMPLES || last.timeMs - first.timeMs < MIN_SPAN_MS)
    return undefined;
  const perMs = medianSlope(thinned(points));
  const spanMs = last.timeMs - first.timeMs;
  const bytesPerDay = Math.round(perMs * DAY_MS);
  if (quota === undefined) return { bytesPerDay, reachedMs: undefined, spanMs };
  if (last.bytes >= quota) return { bytesPerDay, reachedMs: nowMs, spanMs };
  const inMs = (quota - last.bytes) / perMs;
  return { bytesPerDay, reachedMs: perMs > 0 && inMs < FAR_MS ? Math.max(nowMs, Math.round(last.timeMs + inMs)) : undefined, spanMs };
}

/** The median of the slopes between all pairs (Theil and Sen): saw teeth of compactions and single wild samples do not move it. */
function medianSlope(points: readonly Point[]): number {
  const slopes: number[] = [];
  points.forEach((from, index) => {
    for (const to of points.slice(index + 1)) if (to.timeMs > from.timeMs) slopes.push((to.bytes - from.bytes) / (to.timeMs - from.timeMs));
  });
  slopes.sort((a, b) => a - b);
  const middle = slopes.length >> 1;
  return slopes.length % 2 === 1 ? slopes[middle]! : (slopes[middle - 1]! + slopes[middle]!) / 2;
}

function thinned(points: readonly Point[]): readonly Point[] {
  const step = Math.ceil(points.length / MAX_SAMPLES);
  return points.filter((_, index) => (points.length - 1 - index) % step === 0);
}
