/** Progress of long work: one line that is rewritten on a terminal, else a line every ten seconds. Silent for work shorter than that. */
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import type { ProgressEvent } from '../../jobs/types.ts';
import { printable } from './table.ts';
import type { Output } from './terminal.ts';

const LIVE_INTERVAL_MS = 100;
/** A live line is drawn anew although nothing was reported, so that somebody who waits sees the time pass. */
const LIVE_TICK_MS = 1000;
const LOG_INTERVAL_MS = 10_000;
/** A step without bytes shows its time only when it takes long. */
const LONG_STEP_MS = 2000;

export interface ProgressLine {
  update(event: ProgressEvent): void;
  /** A line of its own, above the live one. */
  note(text: string): void;
  /** Clears the live line until something is reported again: somebody is being asked. */
  pause(): void;
  /** Clears the live line. */
  end(): void;
}

export function progressLine(output: Output, options: { readonly quiet: boolean }): ProgressLine {
  let latest: ProgressEvent | undefined;
  const began = performance.now();
  let stepStart = 0;
  let shownAt = performance.now();
  let drawn = false;
  // By the clock and not by events: work that is stuck must not look like work that is finished.
  const ticking = options.quiet ? undefined : setInterval(show, output.live ? LIVE_TICK_MS : LOG_INTERVAL_MS);
  ticking?.unref();

  function show(): void {
    if (latest === undefined) return;
    shownAt = performance.now();
    const text = describeProgress(latest, shownAt - stepStart);
    if (!output.live) {
      output.err(text);
      return;
    }
    drawn = true;
    // Cut, because a wrapped line cannot be overwritten.
    output.rewrite(text.slice(0, Math.max(10, output.errWidth - 1)));
  }

  function clear(): void {
    if (drawn) output.rewrite('');
    drawn = false;
  }

  function note(text: string): void {
    clear();
    output.err(text);
  }

  return {
    update(event) {
      if (options.quiet) return;
      if (event.finished === true) {
        // Where nobody watches, work that is over in a moment says nothing: its answer tells all of it.
        if (output.live || performance.now() - began >= LOG_INTERVAL_MS) note(printable(event.message ?? event.step));
        latest = undefined;
        return;
      }
      const before = latest;
      latest = event;
      const another = event.step !== before?.step || event.message !== before.message || event.subject !== before.subject;
      if (another) stepStart = performance.now();
      if (output.live && performance.now() - shownAt >= LIVE_INTERVAL_MS) show();
    },
    note,
    pause() {
      latest = undefined;
      clear();
    },
    end() {
      clearInterval(ticking);
      latest = undefined;
      clear();
    },
  };
}

/** `streaming from m1: 1.2 GiB of 2.0 GiB, 310 MiB/s, 3s left` */
export function describeProgress(event: ProgressEvent, elapsedMs: number): string {
  const what = printable(event.message ?? [event.step, event.subject].filter(Boolean).join(' '));
  if (event.bytes === undefined) return elapsedMs < LONG_STEP_MS ? what : `${what} (${formatDurationShort(elapsedMs)})`;
  const rate = elapsedMs > 0 ? (event.bytes / elapsedMs) * 1000 : 0;
  const parts = [
    event.totalBytes === undefined ? formatBytes(event.bytes) : `${formatBytes(event.bytes)} of ${formatBytes(event.totalBytes)}`,
  ];
  if (rate > 0) parts.push(`${formatBytes(rate)}/s`);
  if (rate > 0 && event.totalBytes !== undefined && event.totalBytes > event.bytes) {
    parts.push(`${formatDurationShort(Math.ceil((event.totalBytes - event.bytes) / rate) * 1000)} left`);
  }
  return `${what}: ${parts.join(', ')}`;
}
