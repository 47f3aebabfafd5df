/** Waiting: so long, or as long as a rate asks for. */
import { setTimeout as delay } from 'node:timers/promises';

/** Waits; when the signal aborts it throws the signal's own reason, which says more than an AbortError. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}

/** A function to await after each block: it waits until that many bytes may have gone at this average rate. 0 = at once. */
export function startPace(bytesPerSecond: number): (bytes: number, signal: AbortSignal) => Promise<void> {
  const start = performance.now();
  let sent = 0;
  return async (bytes, signal) => {
    if (bytesPerSecond <= 0) return;
    sent += bytes;
    const ahead = (sent / bytesPerSecond) * 1000 - (performance.now() - start);
    if (ahead > 1) await wait(ahead, signal);
  };
}
