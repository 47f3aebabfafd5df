/** Whether this daemon works for a cluster. The election itself lies in etcd; this is what the daemon makes of it. */
import type { ClusterConfig } from '../config/types.ts';
import type { Logger } from '../telemetry/logger.ts';

/**
 * `leader`: elected. `standby`: another daemon is, and works. `alone`: nobody can be elected (coordination is off, no quorum, NOSPACE), so
 * the daemon works without: a backup twice is better than none, and the lock of each run is tried again by the job.
 */
export type LeadershipState =
  | { readonly role: 'leader' }
  | { readonly role: 'standby'; readonly leader: string }
  | { readonly role: 'alone'; readonly reason: string };

export interface Leadership {
  readonly state: LeadershipState | undefined;
  /** Resigns, so that a standby takes over at once. Never rejects. */
  stop(): Promise<void>;
}

/** Starts to campaign; `onChange` is told every state, the first one too. */
export type StartLeadership = (cluster: ClusterConfig, logger: Logger, onChange: (state: LeadershipState) => void) => Leadership;

export function withoutCoordination(reason: string): StartLeadership {
  return (_cluster, _logger, onChange) => {
    const state: LeadershipState = { role: 'alone', reason };
    queueMicrotask(() => onChange(state));
    return { state, stop: () => Promise.resolve() };
  };
}

export function worksHere(state: LeadershipState | undefined): boolean {
  return state !== undefined && state.role !== 'standby';
}
