import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { interruption } from './call-errors.ts';
import { within } from './time-limit.ts';

/** What the signal says when it aborts. */
function reasonOf(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

test('the signal aborts when the time is over, which counts as that of AbortSignal.timeout does', async () => {
  const timedOut = await within(1, undefined, async (inTime) => {
    await reasonOf(inTime);
    return interruption(inTime, 'a call');
  });
  expect(timedOut).toMatchObject({ code: 'timeout', message: 'a call did not end in time' });
});

test('the signal aborts with that of the caller, and with its reason, also when that was before', async () => {
  const caller = new AbortController();
  const why = new Error('stopped');
  const during = within(60_000, caller.signal, (inTime) => {
    caller.abort(why);
    return reasonOf(inTime);
  });
  expect(await during).toBe(why);
  expect(await within(60_000, caller.signal, reasonOf)).toBe(why);
});

test('what the work says is said, and nothing listens to the caller afterwards', async () => {
  const { signal } = new AbortController();
  expect(await within(60_000, signal, () => Promise.resolve(getEventListeners(signal, 'abort').length))).toBe(1);
  await expect(within(60_000, signal, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});
