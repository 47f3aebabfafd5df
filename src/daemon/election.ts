/** The daemon's place in the election that lies in etcd. Imported when the first cluster is coordinated: etcd3 is the heaviest import of the daemon. */
import { asError } from '../errors.ts';
import type { Coordination } from '../etcd/coordination.ts';
import type { Campaign, Leadership as Elected } from '../etcd/election.ts';
import { withoutCoordination, type LeadershipState, type StartLeadership } from './leadership.ts';

/** Resigning writes to etcd, which may have no quorum: the lease ends by itself then. */
const RESIGN_MS = 2_000;

export const startLeadership: StartLeadership = (cluster, logger, onChange) => {
  if (!cluster.coordinate) return withoutCoordination('coordination is off')(cluster, logger, onChange);
  let state: LeadershipState | undefined;
  let stopped = false;
  let campaign: Campaign | undefined;
  let coordination: Coordination | undefined;

  function become(elected: Elected): void {
    if (stopped) return;
    const next = stateOf(elected);
    if (state !== undefined && same(state, next)) return;
    state = next;
    onChange(next);
  }

  const opened = (async (): Promise<void> => {
    try {
      const [{ openCoordination }, { accessOf }] = await Promise.all([import('../etcd/coordination.ts'), import('../etcd/access.ts')]);
      coordination = openCoordination(accessOf(cluster), { keyPrefix: cluster.keyPrefix, logger });
      if (stopped) return;
      campaign = coordination.campaign('daemon');
      campaign.onChange(become);
    } catch (error) {
      become({ role: 'unknown', reason: asError(error).message });
    }
  })();

  return {
    get state() {
      return state;
    },
    async stop() {
      stopped = true;
      await opened;
      const limit = new Promise<void>((resolve) => setTimeout(resolve, RESIGN_MS).unref());
      await Promise.race([
        limit,
        coordination?.close().catch((error: unknown) => logger.debug({ error: asError(error) }, 'the election could not be left')),
      ]);
    },
  };
};

function stateOf(elected: Elected): LeadershipState {
  switch (elected.role) {
    case 'leader':
      return { role: 'leader' };
    case 'standby':
      return { role: 'standby', leader: elected.leader };
    case 'unknown':
      return { role: 'alone', reason: elected.reason };
  }
}

/** Why nobody can be elected changes from poll to poll; that is not news. */
function same(a: LeadershipState, b: LeadershipState): boolean {
  return a.role === b.role && (a.role !== 'standby' || b.role !== 'standby' || a.leader === b.leader);
}
