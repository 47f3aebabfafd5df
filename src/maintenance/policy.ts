/** What the configuration says about maintenance, as the planner takes it. */
import type { MaintenanceConfig } from '../config/types.ts';
import type { Policy } from './planner/types.ts';

/**
 * Entries that a voter may be behind when another one is to be frozen. Every member is asked at another moment, so a busy cluster shows some hundred
 * without any lag; and it is a fifth of the 5000 at which etcd itself answers "too many requests" (v3_server.go, maxGapBetweenApplyAndCommitIndex).
 */
const MAX_LAG = 1000n;
/** H12: oftener it would only flap, and hide that the cluster is too small. */
const DISARM_EVERY_MS = 3_600_000;

export function policyOf(config: MaintenanceConfig): Policy {
  return {
    compaction: config.compaction,
    keep: config.keep,
    emergencyKeep: config.emergencyKeep,
    quotaShare: config.quotaShare,
    freeShare: config.freeShare,
    minFree: config.minFree,
    minGain: config.minGain,
    cooldownMs: config.cooldownMs,
    maxFreezeMs: config.maxFreezeMs,
    allowSingleMember: config.allowSingleMember,
    allowHazardousVersions: config.allowHazardousVersions,
    restartQuietMs: config.restartQuietMs,
    maxLag: MAX_LAG,
    disarmEveryMs: DISARM_EVERY_MS,
  };
}
