/** How full a member may become, from the best source there is. */
import type { MemberStatus } from '../../etcd/types.ts';
import type { Quota } from '../planner/types.ts';
import type { MetricsReading } from './parse.ts';

/** server/storage/quota.go, DefaultQuotaBytes, the same in 3.4 to 3.7. */
export const DEFAULT_QUOTA = 2 * 1024 ** 3;

/**
 * etcd reads --quota-backend-bytes so: 0 is the default, negative is none.
 * @param status Status tells it since 3.6.6, with the default filled in
 * @param metrics tells it in every release; 0 in the moment before the member has filled in its default
 * @param configured for members that tell neither
 */
export function quotaOf(
  status: Pick<MemberStatus, 'dbSizeQuota'> | undefined,
  metrics: Pick<MetricsReading, 'quotaBytes'> | undefined,
  configured: number | undefined,
): Quota {
  const told = status?.dbSizeQuota;
  if (told !== undefined) return { bytes: bytesOf(told), source: 'status' };
  if (metrics?.quotaBytes !== undefined) return { bytes: bytesOf(metrics.quotaBytes), source: 'metrics' };
  if (configured !== undefined) return { bytes: bytesOf(configured), source: 'configured' };
  return { bytes: DEFAULT_QUOTA, source: 'default' };
}

function bytesOf(flag: number): number | undefined {
  if (flag < 0) return undefined;
  return flag === 0 ? DEFAULT_QUOTA : flag;
}
