/**
 * The one lock of a cluster, which makes snapshot and defragmentation exclude each other, whoever runs them. Held by renewing a lease; once lost it
 * is taken again as soon as that is possible, because losing it means nothing as long as nobody else has it; but only in the same cluster.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import { describeHolder, type LeasedKey } from './leased-key.ts';

export interface Lock {
  /** Where it lies, and nowhere else: what is done under it must be of this cluster. Undefined = whoever holds it does not know. */
  readonly clusterId: bigint | undefined;
  /**
   * Called with undefined when the lease was lost or can no longer be shown to be alive, and with the holder when somebody else has the lock now:
   * only that is a reason to cut a running snapshot. After the latter nothing more is called.
   */
  onLost(listener: (heldByOther: string | undefined) => void): void;
  /** Asks etcd; undefined when nobody else holds it. @throws WardenError when etcd cannot tell. */
  heldByOther(signal?: AbortSignal): Promise<string | undefined>;
  /** Ours, as far as etcd told within the lease's time: to be asked again before each step that must not run twice. */
  readonly held: boolean;
  release(): Promise<void>;
}

/** Keeps an acquired key alive until it is released. */
export function holdLock(key: LeasedKey, ttlSeconds: number, logger: Logger): Lock {
  const stop = new AbortController();
  const listeners: ((heldByOther: string | undefined) => void)[] = [];
  const tell = (holder: string | undefined): void => {
    for (const listener of listeners) listener(holder);
  };

  async function maintain(): Promise<void> {
    let lost = false;
    let told = '';
    for (;;) {
      await sleep((ttlSeconds * 1000) / 3, undefined, { signal: stop.signal, ref: false });
      if (!lost) {
        const renewed = await key.renew(stop.signal);
        if (renewed === 'renewed' || (renewed === 'unclear' && key.alive)) continue;
        lost = true;
        tell(undefined);
      }
      const again = await key.acquire(stop.signal);
      if (again.outcome === 'held') {
        logger.info({}, 'the lock of the cluster is held again');
        lost = false;
        told = '';
      } else if (again.outcome === 'held-by-other') {
        tell(describeHolder(again.holder));
        return;
      } else if (again.error.code !== told) {
        told = again.error.code;
        logger.warn({ reason: again.error.message }, 'the lock of the cluster is lost and cannot be had again');
      }
    }
  }

  const maintained = maintain().catch((error: unknown) => {
    if (!stop.signal.aborted) logger.error({ err: asError(error) }, 'the lock of the cluster is no longer renewed');
  });

  return {
    clusterId: key.clusterId,
    onLost: (listener) => {
      listeners.push(listener);
    },
    heldByOther: async (signal) => {
      const holder = await key.stranger(signal);
      return holder === undefined ? undefined : describeHolder(holder);
    },
    get held() {
      return key.alive;
    },
    release: async () => {
      stop.abort();
      await maintained;
      await key.release();
    },
  };
}
