/** What one key of a backup means for the live cluster. Pure. */
import type { LiveKey } from '../../etcd/keys.ts';
import type { KeyEntry, KeyRevision } from '../types.ts';
import type { Change } from './types.ts';

/** What is known of one key. */
export interface Comparison {
  readonly entry: KeyEntry;
  readonly revision: KeyRevision;
  /** As the backup holds it. */
  readonly value: Buffer;
  readonly live: LiveKey | undefined;
  /** The backup's lease, if it is to be used; 0n = none. */
  readonly lease: bigint;
}

/**
 * Undefined when nothing has to be written. A live key keeps the lease it hangs on unless the backup's is asked for: without it a lock or a
 * registration would never end.
 */
export function changeOf({ entry, revision, value, live, lease }: Comparison, preview: string): Change | undefined {
  const common = { entry, revision, preview };
  if (live === undefined) return { ...common, kind: 'added', liveModRevision: 0n, liveBytes: 0, liveLease: 0n, lease };
  if (live.value.equals(value) && (lease === 0n || lease === live.lease)) return undefined;
  return {
    ...common,
    kind: 'changed',
    liveModRevision: live.modRevision,
    liveBytes: live.value.length,
    liveLease: live.lease,
    lease: lease === 0n ? 'keep' : lease,
  };
}

/** The lease that a key hangs on once it is put; 0n = none. */
export function leaseAfter({ lease, liveLease }: Change): bigint {
  return lease === 'keep' ? liveLease : lease;
}
