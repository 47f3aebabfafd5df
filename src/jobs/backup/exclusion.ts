/**
 * One backup at a time, and one daemon a slot, as far as etcd can tell: the lock of the cluster, and the record of the slot.
 * Neither may cost a backup: without quorum, or while NOSPACE is armed and no lease can be granted, the backup goes on without.
 */
import type { Coordination, LockResult } from '../../etcd/coordination.ts';
import { hex } from '../../etcd/ids.ts';
import { WardenError } from '../../errors.ts';
import type { Logger } from '../../telemetry/logger.ts';

export interface Exclusion {
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  /** Where the lock lies; undefined = there is none. */
  readonly clusterId: bigint | undefined;
  /** Aborts when somebody else holds the lock now. Losing it alone does not: a running snapshot is never cut for that. */
  readonly signal: AbortSignal;
  release(): Promise<void>;
}

const DISAGREE = 'remove the endpoints of the other cluster from the configuration';

/**
 * Between the two looks at the endpoints, that for the lock and that for the members, a member may have come that changes which cluster most belong to.
 * @throws WardenError `cluster-ids-disagree` when the lock lies in another cluster than the one that is seen
 */
export function sameCluster({ clusterId }: Exclusion, seen: bigint): void {
  if (clusterId === undefined || clusterId === seen) return;
  throw new WardenError(
    'cluster-ids-disagree',
    `the lock was taken in cluster ${hex(clusterId)}, and most endpoints belong to ${hex(seen)} by now`,
    { hint: DISAGREE },
  );
}

/** @throws WardenError `locked` when another process holds the lock; `cluster-ids-disagree` */
export async function exclude(
  coordination: Coordination | undefined,
  options: { readonly purpose: string; readonly keyPrefix: string; readonly signal: AbortSignal; readonly logger: Logger },
): Promise<Exclusion> {
  const stop = new AbortController();
  if (coordination === undefined) return { warnings: [], clusterId: undefined, signal: stop.signal, release: async () => {} };
  const result: LockResult = await coordination.lock(options.purpose, options.signal);
  switch (result.outcome) {
    case 'held-by-other':
      throw new WardenError('locked', `another process holds the lock of this cluster: ${result.holder}`, {
        hint: `wait for it, or see \`etcd-warden status\`; the lock of a process that died ends with its lease within a minute, one that somebody wrote by hand stays until \`etcdctl del ${options.keyPrefix.replace(/\/+$/, '')}/lock\``,
      });
    case 'unavailable': {
      // Which cluster is meant cannot be told, and so neither whose backup it would be.
      if (result.code === 'cluster-ids-disagree') throw new WardenError(result.code, result.reason, { hint: DISAGREE });
      const warning = { code: 'no-lock', message: `taken without the cluster's lock: ${result.reason}` };
      options.logger.warn(warning, 'no lock can be had; the backup goes on without it');
      return { warnings: [warning], clusterId: undefined, signal: stop.signal, release: async () => {} };
    }
    case 'held': {
      const { lock } = result;
      lock.onLost((heldByOther) => {
        options.logger.warn({ heldByOther }, 'the lock of the cluster was lost');
        if (heldByOther !== undefined) {
          stop.abort(
            new WardenError('locked', `the lock of this cluster was lost and ${heldByOther} holds it now`, {
              hint: 'the other process goes on; nothing of this run is visible',
            }),
          );
        }
      });
      return { warnings: [], clusterId: lock.clusterId, signal: stop.signal, release: () => lock.release() };
    }
  }
}
