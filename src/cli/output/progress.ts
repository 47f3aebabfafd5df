/** Progress of long work: one line that is rewritten on a terminal, else a line every ten seconds. Silent for work shorter than that. */
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import type { ProgressEvent } from '../../jobs/types.ts';
import { printable } from './table.ts';
import type { Output } from './terminal.ts';

const LIVE_INTERVAL_MS = 100;
const LOG_INTERVAL_MS = 10_000;

export interface ProgressLine {
  update(event: ProgressEvent): void;
  /** Clears the live line. */
  end(): void;
}

export function progressLine(output: Output, options: { quiet: boolean; width: number; nowMs?: () => number }): ProgressLine {
  const now = options.nowMs ?? ((): number => performance.now());
  const interval = output.live ? LIVE_INTERVAL_MS : LOG_INTERVAL_MS;
  let step = '';
  let stepStart = now();
  let shownAt = now();
  let live = false;

  function show(text: string): void {
    shownAt = now();
    if (!output.live) {
      output.err(text);
      return;
    }
    live = true;
    // No newline: the next line overwrites this one. Cut, because a wrapped line cannot be overwritten.
    process.stderr.write(`\r\u001b[K${text.slice(0, Math.max(10, options.width - 1))}`);
  }

  return {
    update(event) {
      if (options.quiet) return;
      if (event.step !== step) {
        step = event.step;
        stepStart = now();
      }
      if (now() - shownAt < interval && !(event.message !== undefined && output.live)) return;
      show(describeProgress(event, now() - stepStart));
    },
    end() {
      if (live) process.stderr.write('\r\u001b[K');
      live = false;
    },
  };
}

/** `streaming from m1: 1.2 GiB of 2.0 GiB, 310 MiB/s, 3s left` */
export function describeProgress(event: ProgressEvent, elapsedMs: number): string {
  const what = printable(event.message ?? [event.step, event.subject].filter(Boolean).join(' '));
  if (event.bytes === undefined) return what;
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
