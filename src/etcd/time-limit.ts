/** A time limit that leaves nothing behind: what a daemon asks every few seconds for months must not grow it. */

/**
 * Gives `work` a signal that aborts with `signal`, or as that of AbortSignal.timeout does after so long. AbortSignal.any over AbortSignal.timeout would do, but
 * Node (24.21) keeps both until the time is over, and for ever where the result stands in another AbortSignal.any: 330 bytes for each call.
 * @param timeoutMs from now; below 0 is at once
 */
export async function within<T>(timeoutMs: number, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  const timer = setTimeout(() => stop.abort(new DOMException('it did not end in time', 'TimeoutError')), timeoutMs);
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await work(stop.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
