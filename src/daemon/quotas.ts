/** The quotas of the members that the daemon sees, with as few questions as possible: members from 3.6.6 on tell theirs with their Status. */
import type { ClusterConfig } from '../config/types.ts';
import { asError } from '../errors.ts';
import type { MemberStatus } from '../etcd/types.ts';
import type { Quota } from '../maintenance/planner/types.ts';
import { quotaOf } from '../maintenance/sight/quota.ts';
import type { Logger } from '../telemetry/logger.ts';

/** One member's /metrics. @throws whatever goes wrong */
export type ReadQuota = (
  cluster: ClusterConfig,
  endpoint: string,
  signal: AbortSignal,
) => Promise<{ readonly memberId: string | undefined; readonly quotaBytes: number | undefined }>;

/** Imported when first needed: a daemon that only waits should weigh little. */
export const readQuotaFromMetrics: ReadQuota = async (cluster, endpoint, signal) => {
  const [{ openMetrics, metricsAccessOf }, { accessOf }] = await Promise.all([
    import('../maintenance/sight/metrics.ts'),
    import('../etcd/access.ts'),
  ]);
  return openMetrics(accessOf(cluster), metricsAccessOf(cluster)).read(endpoint, { signal });
};

/** A quota changes only with a restart of its member, and a page of metrics costs it some milliseconds. */
const EVERY_MS = 10 * 60_000;

export interface Quotas {
  /** Never rejects: what cannot be learned is what the configuration says, or etcd's default. @param monotonicMs now, on a clock that does not jump */
  of(cluster: ClusterConfig, status: MemberStatus, monotonicMs: number, signal: AbortSignal): Promise<Quota>;
}

export function openQuotas(read: ReadQuota, logger: Logger): Quotas {
  /** By member; what its metrics did not tell is remembered too. */
  const known = new Map<bigint, { readonly atMs: number; readonly quotaBytes: number | undefined }>();
  const keep = (id: bigint, atMs: number, quotaBytes: number | undefined): void => {
    for (const [other, { atMs: at }] of known) if (atMs - at > 2 * EVERY_MS) known.delete(other);
    known.set(id, { atMs, quotaBytes });
  };
  return {
    async of(cluster, status, monotonicMs, signal) {
      const configured = cluster.maintenance.quota;
      if (status.dbSizeQuota !== undefined) return quotaOf(status, undefined, configured);
      const id = status.memberId;
      const before = known.get(id);
      if (before === undefined || monotonicMs - before.atMs >= EVERY_MS) {
        try {
          const { memberId, quotaBytes } = await read(cluster, status.endpoint, signal);
          // Behind a load balancer another member may answer than a moment ago.
          const same = memberId === undefined || memberId === id.toString(16);
          keep(id, monotonicMs, same ? quotaBytes : before?.quotaBytes);
        } catch (error) {
          if (!signal.aborted) keep(id, monotonicMs, before?.quotaBytes);
          logger.debug({ endpoint: status.endpoint, error: asError(error) }, 'the quota of a member cannot be read from its metrics');
        }
      }
      return quotaOf(status, { quotaBytes: known.get(id)?.quotaBytes }, configured);
    },
  };
}
