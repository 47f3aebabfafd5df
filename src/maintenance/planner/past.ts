/** What a cluster looks like to which nothing was ever done, and what counts as a short time ago. */
import type { Past } from './types.ts';

export const EMPTY_PAST: Past = { compaction: undefined, defrags: {}, disarmedMs: undefined, failure: undefined };

/**
 * Whether something of that time still holds back what may be done once in so long. A time in the future was written by a clock that was wrong, or is
 * read by one: it is believed for no longer than the span itself, so that a clock that jumped can neither let anything run amok nor lock it up for years.
 */
export function isWithin(atMs: number, spanMs: number, nowMs: number): boolean {
  return Math.abs(nowMs - atMs) < spanMs;
}
