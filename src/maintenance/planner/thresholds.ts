/** When a member is near its quota, and when too much of it is free: the thresholds that both the planner and the daemon's cheap check go by. */
import type { Policy } from './types.ts';

/** What Status alone tells. */
export interface Sizes {
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  /** Undefined = the member has no quota. */
  readonly quotaBytes: number | undefined;
}

type Limits = Pick<Policy, 'quotaShare' | 'freeShare' | 'minFree'>;

export function freeBytes(sizes: Pick<Sizes, 'dbSize' | 'dbSizeInUse'>): number {
  return Math.max(0, sizes.dbSize - sizes.dbSizeInUse);
}

/** Share of the quota that the database takes; undefined without a quota. */
export function quotaShareOf(sizes: Sizes): number | undefined {
  return sizes.quotaBytes === undefined ? undefined : sizes.dbSize / Math.max(1, sizes.quotaBytes);
}

export function isNearQuota(sizes: Sizes, { quotaShare }: Pick<Policy, 'quotaShare'>): boolean {
  return (quotaShareOf(sizes) ?? 0) >= quotaShare;
}

/** Whether defragmentation can bring it below its threshold at all. */
export function fitsBelow(sizes: Sizes, policy: Pick<Policy, 'quotaShare'>): boolean {
  return !isNearQuota({ ...sizes, dbSize: sizes.dbSizeInUse }, policy);
}

export function isTooFree(sizes: Sizes, { freeShare, minFree }: Limits): boolean {
  const free = freeBytes(sizes);
  return free >= minFree && free / sizes.dbSize >= freeShare;
}
