/** The time in which members may stall for longer. */
import { Cron } from 'croner';
import type { ProofConfig } from '../../config/types.ts';

export interface WindowClock {
  readonly open: boolean;
  /** When it last began, ms. */
  readonly beganMs: number | undefined;
}

export function windowAt(window: ProofConfig['window'], nowMs: number): WindowClock {
  if (window === undefined) return { open: false, beganMs: undefined };
  const cron = new Cron(window.cron, { timezone: window.timeZone, paused: true });
  // croner's previousRuns is exclusive of the instant itself.
  const beganMs = cron.previousRuns(1, new Date(nowMs + 1))[0]?.getTime();
  return { open: beganMs !== undefined && nowMs < beganMs + window.lengthMs, beganMs };
}
