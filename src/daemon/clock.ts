/** Time, in one place, so that tests can own it. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Wall clock, ms since 1970. It may jump. */
  now(): number;
  /** Never jumps, means nothing outside this process. */
  monotonicMs(): number;
  /** Resolves after `ms`, or as soon as the signal aborts; never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/**
 * Timers run on a clock that stands still while a machine is suspended, and setTimeout overflows after 24.8 days: so nobody sleeps longer
 * than this before looking at the wall clock again.
 */
export const LONGEST_SLEEP_MS = 30_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(Math.max(0, ms), undefined, { signal });
    } catch {
      // Aborted: whoever waits looks at the signal.
    }
  },
};
