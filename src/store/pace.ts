/** Keeps an average rate over blocks of bytes. */
import { setTimeout as delay } from 'node:timers/promises';

/** A function to await after each block: it waits until that many bytes may have gone. 0 = at once. */
export function startPace(bytesPerSecond: number): (bytes: number, signal: AbortSignal) => Promise<void> {
  const start = performance.now();
  let sent = 0;
  return async (bytes, signal) => {
    if (bytesPerSecond <= 0) return;
    sent += bytes;
    const ahead = (sent / bytesPerSecond) * 1000 - (performance.now() - start);
    if (ahead > 1) await delay(ahead, undefined, { signal });
  };
}
