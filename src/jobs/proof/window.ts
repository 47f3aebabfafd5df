/** The time in which members may stall for longer. */
import { Cron } from 'croner';
import type { ProofConfig } from '../../config/types.ts';

export interface WindowClock {
  readonly open: boolean;
  /** When it begins next, ms; undefined when never. */
  readonly nextMs: number | undefined;
}

export function windowAt(window: ProofConfig['window'], nowMs: number): WindowClock {
  if (window === undefined) return { open: false, nextMs: undefined };
  const cron = new Cron(window.cron, { timezone: window.timeZone, paused: true });
  // croner's previousRuns is exclusive of the instant itself.
  const began = cron.previousRuns(1, new Date(nowMs + 1))[0]?.getTime();
  return {
    open: began !== undefined && nowMs < began + window.lengthMs,
    nextMs: cron.nextRun(new Date(nowMs))?.getTime(),
  };
}
