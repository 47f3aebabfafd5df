/**
 * Who may act: whoever holds the cluster's lock, which snapshots and proofs take too. While NOSPACE is armed etcd grants no lease, so nobody can take it
 * exactly when the cure must run (H25). Then the elected daemon goes on, whose lease is older than the alarm; and a process that was not elected when
 * nobody is. Two such processes at once stay safe, because the planner is deterministic and everything is looked at again right before a member is frozen.
 */
import { asError, WardenError } from '../errors.ts';
import type { Coordination, Lock } from '../etcd/coordination.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ClusterState } from './planner/types.ts';

export interface Ownership {
  /** For the planner. */
  state(): ClusterState['lock'];
  /**
   * Takes the lock, or goes on without where that is right.
   * @throws WardenError `locked`, or why etcd cannot tell
   */
  take(signal: AbortSignal): Promise<void>;
  /** Asked again before each step. @throws WardenError `locked` when it is not ours any more */
  confirm(signal: AbortSignal): Promise<void>;
  release(): Promise<void>;
}

export interface OwnershipOptions {
  /** Undefined = `coordinate: false`. */
  readonly coordination: Pick<Coordination, 'lock' | 'elected'> | undefined;
  readonly purpose: string;
  /** Asked by the daemon that leads. */
  readonly elected: boolean;
  /** Longer than three times the longest predicted freeze: a frozen leader renews no lease. */
  readonly ttlSeconds: number;
  readonly keyPrefix: string;
  readonly logger: Logger;
}

export function openOwnership(options: OwnershipOptions): Ownership {
  const { coordination, elected, logger } = options;
  let lock: Lock | undefined;
  let taken: string | undefined;
  let state: ClusterState['lock'] =
    coordination === undefined
      ? { state: 'without', detail: 'coordination between daemons is switched off', elected }
      : { state: 'unasked', detail: undefined, elected };

  async function take(signal: AbortSignal): Promise<void> {
    if (coordination === undefined) return;
    const result = await coordination.lock(options.purpose, signal, { ttlSeconds: options.ttlSeconds });
    switch (result.outcome) {
      case 'held':
        lock = result.lock;
        lock.onLost((holder) => {
          taken = holder;
          logger.warn({ heldByOther: holder }, 'the lock of the cluster was lost');
        });
        state = { state: 'held', detail: undefined, elected };
        return;
      case 'held-by-other':
        state = { state: 'elsewhere', detail: result.holder, elected };
        throw locked(`another process holds the lock of this cluster: ${result.holder}`);
      case 'unavailable':
        if (result.code !== 'no-space') {
          throw new WardenError(result.code, `the lock of this cluster cannot be had: ${result.reason}`, {
            hint:
              // Without the lock the next call would be refused just the same, in the middle of a round.
              result.code === 'permission-denied'
                ? 'use a user with the root role: whatever is done under the lock needs it as well'
                : 'nothing is compacted, defragmented or changed without it; `--no-coordinate` does without, when no other process works on this cluster',
          });
        }
        await goOnWithout(coordination, signal);
    }
  }

  /** {@link Coordination.lock} has read the lock key: nobody holds it. */
  async function goOnWithout(coordinates: Pick<Coordination, 'elected'>, signal: AbortSignal): Promise<void> {
    const leader = await coordinates.elected(signal);
    if (leader !== undefined && !elected) {
      state = { state: 'elsewhere', detail: leader, elected };
      throw new WardenError('locked', `NOSPACE is armed, so no lock can be had, and a daemon is elected for this cluster: ${leader}`, {
        hint: 'that daemon cures it; to do it here, stop that daemon, or say --no-coordinate when it does not work on this cluster',
      });
    }
    const who = leader === undefined ? 'no daemon is elected' : 'this daemon is elected';
    const detail = `NOSPACE is armed, so etcd grants no lease; nobody holds the lock, and ${who}`;
    if (state.state !== 'without') logger.warn({ reason: detail }, 'going on without the lock of the cluster');
    state = { state: 'without', detail, elected };
  }

  /** Where most endpoints belong to another cluster by now the lock holds nobody off, as if somebody else had it. */
  async function heldByOther(mine: Lock, signal: AbortSignal): Promise<string | undefined> {
    try {
      return await mine.heldByOther(signal);
    } catch (error) {
      if (!(error instanceof WardenError && error.code === 'cluster-ids-disagree')) throw error;
      state = { state: 'elsewhere', detail: error.message, elected };
      throw locked(`the lock of this cluster was lost: ${error.message}`, error);
    }
  }

  function locked(sentence: string, cause?: Error): WardenError {
    const key = `${options.keyPrefix.replace(/\/+$/, '')}/lock`;
    return new WardenError('locked', sentence, {
      hint: `wait for it, or see \`etcd-warden status\`; the lock of a process that died ends with its lease, one that somebody wrote by hand stays until \`etcdctl del ${key}\``,
      cause,
    });
  }

  return {
    state: () => state,
    take,
    async confirm(signal) {
      if (coordination === undefined) return;
      // Without one it may be had by now, and then it counts; or somebody else has it.
      if (lock === undefined) return take(signal);
      const other = taken ?? (await heldByOther(lock, signal));
      if (other !== undefined || !lock.held) {
        state = { state: 'elsewhere', detail: other, elected };
        throw locked(
          other === undefined ? 'the lock of this cluster was lost' : `the lock of this cluster was lost and ${other} holds it now`,
        );
      }
    },
    async release() {
      await lock
        ?.release()
        .catch((error: unknown) => logger.warn({ err: asError(error) }, 'the lock was not released; it ends with its lease'));
    },
  };
}
