/** The lock of a cluster for a change of its membership, so that meanwhile nobody defragments a member or streams a snapshot from one that leaves. */
import type { ClusterConfig } from '../config/types.ts';
import { accessOf } from '../etcd/access.ts';
import { openCoordination } from '../etcd/coordination.ts';
import type { ClusterAccess } from '../etcd/types.ts';
import { openOwnership } from '../maintenance/ownership.ts';
import type { MembershipSight } from '../member/types.ts';
import { healthyOf } from '../member/words.ts';
import type { JobContext } from './types.ts';

/** Seconds that a dead process keeps it. */
const TTL_SECONDS = 30;

/**
 * Runs `work` with the lock, or without where none can be had (NOSPACE) and nobody else works on the cluster.
 * @param sight whose healthy voters keep the lock
 * @param work gets a check to be made before each step
 * @throws WardenError `locked`, or why no lock can be had
 */
export async function withMemberLock<T>(
  cluster: ClusterConfig,
  sight: MembershipSight,
  purpose: string,
  { logger, signal }: Pick<JobContext, 'logger' | 'signal'>,
  work: (confirm: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const { keyPrefix } = cluster;
  const { clusterId } = sight;
  const coordination = cluster.coordinate
    ? openCoordination(throughHealthy(sight, accessOf(cluster)), { keyPrefix, clusterId, logger })
    : undefined;
  try {
    const ownership = openOwnership({ coordination, purpose, elected: false, ttlSeconds: TTL_SECONDS, keyPrefix, logger });
    await ownership.take(signal);
    try {
      return await work(() => ownership.confirm(signal));
    } finally {
      await ownership.release();
    }
  } finally {
    await coordination?.close();
  }
}

/** Through whoever takes part in the quorum, whether it is configured or was found. */
function throughHealthy(sight: MembershipSight, access: ClusterAccess): ClusterAccess {
  const endpoints = healthyOf(sight).flatMap(({ endpoint }) => endpoint ?? []);
  // Without any there is no quorum, and so no lock: they say why.
  return endpoints.length === 0 ? access : { ...access, endpoints, discover: false };
}
