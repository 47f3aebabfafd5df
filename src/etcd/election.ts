/**
 * Which of several daemons with the same configuration serves a cluster's schedule. Polled rather than watched: etcd3's watch loses events when it
 * reconnects (etcd-formats 8), and one read every few seconds is cheaper than being wrong about who leads.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import { describeHolder, elsewhere, type LeasedKey } from './leased-key.ts';

/**
 * - `leader`: this daemon was elected and its lease is alive.
 * - `standby`: another one was, as etcd said at the last poll.
 * - `unknown`: etcd cannot tell, for want of quorum or because NOSPACE refuses leases. Backups go on then, since two are better than none.
 */
export type Leadership =
  | { readonly role: 'leader' }
  | { readonly role: 'standby'; readonly leader: string }
  | { readonly role: 'unknown'; readonly reason: string };

export interface Campaign {
  readonly leadership: Leadership;
  /** Called at each change, and once soon after the start. */
  onChange(listener: (leadership: Leadership) => void): void;
  /** Resolves when the first poll told. */
  readonly settled: Promise<void>;
  /** Gives the leadership up, so that another daemon takes it at its next poll. */
  resign(): Promise<void>;
}

export function runCampaign(key: LeasedKey, ttlSeconds: number, logger: Logger): Campaign {
  const stop = new AbortController();
  const listeners: ((leadership: Leadership) => void)[] = [];
  const settled = Promise.withResolvers<void>();
  let leadership: Leadership = { role: 'unknown', reason: 'etcd has not been asked yet' };
  let told = false;

  function become(next: Leadership): void {
    const changed =
      !told ||
      next.role !== leadership.role ||
      (next.role === 'standby' && leadership.role === 'standby' && next.leader !== leadership.leader);
    leadership = next;
    told = true;
    settled.resolve();
    if (!changed) return;
    logger.info({ ...next }, 'leadership');
    for (const listener of listeners) listener(next);
  }

  async function poll(): Promise<void> {
    if (leadership.role === 'leader') {
      const renewed = await key.renew(stop.signal);
      if (renewed === 'renewed' || (renewed === 'unclear' && key.alive)) return;
    }
    let acquired = await key.acquire(stop.signal);
    if (acquired.outcome === 'unavailable' && elsewhere(acquired.error)) {
      // Led here means nothing where most endpoints are now, as after a restore: that is begun anew, and told in between.
      become({ role: 'unknown', reason: acquired.error.message });
      key.leave();
      acquired = await key.acquire(stop.signal);
    }
    if (acquired.outcome === 'held') become({ role: 'leader' });
    else if (acquired.outcome === 'held-by-other') become({ role: 'standby', leader: describeHolder(acquired.holder) });
    else become({ role: 'unknown', reason: acquired.error.message });
  }

  async function run(): Promise<void> {
    for (;;) {
      await poll();
      await sleep((ttlSeconds * 1000) / 3, undefined, { signal: stop.signal, ref: false });
    }
  }

  const running = run().catch((error: unknown) => {
    settled.resolve();
    if (!stop.signal.aborted) logger.error({ err: asError(error) }, 'the campaign for the leadership ended');
  });

  return {
    get leadership() {
      return leadership;
    },
    onChange: (listener) => {
      listeners.push(listener);
      if (told) listener(leadership);
    },
    settled: settled.promise,
    resign: async () => {
      stop.abort();
      await running;
      become({ role: 'unknown', reason: 'this daemon has resigned' });
      await key.release();
    },
  };
}
