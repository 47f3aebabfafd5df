/**
 * Elections pass within a second or two, and what comes through raft is refused meanwhile at once, not late: whoever may ask twice asks again, within the
 * deadline that he has anyway. A round of maintenance or an observation must not fail because somebody else moved the leader.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../errors.ts';

/**
 * Texts of raft.go (ErrProposalDropped: no leader, or the leadership is being handed over; it comes as UNKNOWN, since no release maps it) and of
 * api/v3rpc/rpctypes/error.go; the same from 3.4 to 3.7. `too many requests` is what a member answers that has received far more than it has applied.
 */
const REFUSED_FOR_NOW =
  /raft proposal dropped|etcdserver: (no leader|leader changed|not capable|too many requests|request timed out, possibly due to previous leader failure)/;
/** ms between two tries. */
const PAUSE_MS = 100;

/** An answer that may be another one a moment later. */
export function refusedForNow(error: unknown): boolean {
  return REFUSED_FOR_NOW.test(asError(error).message);
}

export interface Patience {
  /** ms for all tries together. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * For reads, and for what comes out the same when it is done twice.
 * @param ask is given the ms that are left
 * @throws what the last try said; the last refusal, where nothing was left of the time
 */
export async function throughElections<T>({ timeoutMs, signal }: Patience, ask: (leftMs: number) => Promise<T>): Promise<T> {
  const end = performance.now() + timeoutMs;
  let leftMs = timeoutMs;
  let refusal: unknown;
  for (;;) {
    try {
      return await ask(leftMs);
    } catch (error) {
      const refused = refusedForNow(error);
      leftMs = Math.floor(end - performance.now() - PAUSE_MS);
      // The last word of an election says more than that the rest of a deadline was too short.
      if (!refused && leftMs <= 0 && signal?.aborted !== true) throw refusal ?? error;
      if (!refused || leftMs <= 0 || signal?.aborted === true) throw error;
      refusal = error;
    }
    // The next try tells in its own words that it was stopped.
    await sleep(PAUSE_MS, undefined, { signal }).catch(() => undefined);
  }
}
