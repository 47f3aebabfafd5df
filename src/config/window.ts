/** The time in which members may stall for longer: of proofs and of maintenance. */
import { Cron } from 'croner';

/** As configured; undefined = there is none. */
export interface Window {
  readonly cron: string;
  readonly timeZone: string;
  readonly lengthMs: number;
}

export interface WindowClock {
  readonly open: boolean;
  /** When it last began, ms. */
  readonly beganMs: number | undefined;
  /** When it begins next, ms; undefined = never. */
  readonly nextMs: number | undefined;
}

export function windowAt(window: Window | undefined, nowMs: number): WindowClock {
  if (window === undefined) return { open: false, beganMs: undefined, nextMs: undefined };
  const cron = new Cron(window.cron, { timezone: window.timeZone, paused: true });
  // croner's previousRuns is exclusive of the instant itself.
  const beganMs = cron.previousRuns(1, new Date(nowMs + 1))[0]?.getTime();
  const nextMs = cron.nextRun(new Date(nowMs))?.getTime();
  return { open: beganMs !== undefined && nowMs < beganMs + window.lengthMs, beganMs, nextMs };
}
