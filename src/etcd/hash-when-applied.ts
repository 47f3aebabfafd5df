/** HashKV of a member that may still have to apply the revision it is asked for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WardenError } from '../errors.ts';
import type { MemberHash } from './types.ts';

/** A follower applies what the leader has committed within moments; one that does not is of no use now. */
const LAG_PATIENCE_MS = 10_000;
const LAG_POLL_MS = 100;

/**
 * A refusal for a future revision costs the member nothing, so it is asked again until it has caught up.
 * @throws WardenError `revision-future` when it lags for longer than 10 s, and what `ask` throws
 */
export async function hashWhenApplied(ask: () => Promise<MemberHash>, signal: AbortSignal): Promise<MemberHash> {
  const giveUpMs = performance.now() + LAG_PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const lags = error instanceof WardenError && error.code === 'revision-future';
      if (!lags || performance.now() >= giveUpMs) throw error;
    }
    await sleep(LAG_POLL_MS, undefined, { signal });
  }
}
