/**
 * Whether the daemon is ready, and why not. Pure. Ready means: every cluster has a recent backup, the next one will be taken, and no cluster is in a state
 * from which only backups and cures lead out: out of space, or with members whose data differ.
 */
import type { ReadyReport, Reason } from '../http/types.ts';
import { formatDuration } from '../config/units.ts';
import { failedDrill } from '../jobs/drill-survey.ts';
import { overdueMs, type DrillStatus } from './drills.ts';
import type { GuardedStatus } from './guarded.ts';
import type { MaintenanceStatus } from './maintenance.ts';
import type { ProtectionStatus } from './protection.ts';
import { clockIsSet } from './slots.ts';

export interface DaemonHealth {
  readonly nowMs: number;
  /** Since the scheduler last looked at the clock, on a clock that does not jump. */
  readonly sinceTickMs: number;
  readonly stopping: boolean;
}

/** The parts that readiness goes by; what was not seen yet is no reason. */
export type ClusterHealth = ProtectionStatus & Partial<Pick<GuardedStatus, 'maintenance' | 'drills'>>;

/** Three times the longest sleep of the scheduler. */
export const SCHEDULER_STUCK_MS = 90_000;
/** Clocks of a daemon and of whoever took the backup differ a little. */
const CLOCK_SKEW_MS = 5 * 60_000;

export function readiness(clusters: readonly ClusterHealth[], health: DaemonHealth): ReadyReport {
  const reasons: Reason[] = [];
  if (health.stopping) reasons.push({ code: 'stopping', message: 'the daemon stops' });
  if (health.sinceTickMs > SCHEDULER_STUCK_MS) {
    reasons.push({ code: 'scheduler-stuck', message: `the scheduler has not moved for ${seconds(health.sinceTickMs)} s` });
  }
  if (!clockIsSet(health.nowMs)) {
    reasons.push({
      code: 'clock-not-set',
      message: `the clock says ${new Date(health.nowMs).toISOString()}: it was never set, and scheduled backups wait until it is`,
    });
  }
  for (const status of clusters) reasons.push(...clusterReasons(status, health.nowMs));
  return {
    ready: reasons.length === 0,
    reasons,
    clusters: Object.fromEntries(clusters.map((status) => [status.cluster, summary(status, health.nowMs)])),
  };
}

function clusterReasons(status: ClusterHealth, nowMs: number): Reason[] {
  const { cluster, newestComplete, newest, unaccepted, lastError } = status;
  const reasons: Reason[] = [];
  const because = lastError === undefined ? '' : `; the last attempt failed: ${lastError.message} (${lastError.code})`;
  if (newestComplete === undefined) {
    const blind = status.survey?.stores.find((store) => store.error !== undefined);
    const why = blind === undefined ? '' : `; store ${blind.store} cannot be listed: ${blind.error?.message}`;
    reasons.push({ cluster, code: 'no-backup', message: `there is no complete backup${partial(status)}${why}${because}` });
  } else {
    const ageMs = nowMs - newestComplete.timeMs;
    if (ageMs > status.maxAgeMs) {
      reasons.push({
        cluster,
        code: 'too-old',
        message: `the newest complete backup is ${seconds(ageMs)} s old, the limit is ${seconds(status.maxAgeMs)} s${newest === undefined || newest.timeMs <= newestComplete.timeMs ? '' : partial(status)}${because}`,
      });
    }
    if (ageMs < -CLOCK_SKEW_MS) {
      reasons.push({
        cluster,
        code: 'future-backup',
        message: `the newest backup is dated ${seconds(-ageMs)} s in the future: a clock is or was wrong`,
      });
    }
  }
  for (const { id, store, reason } of status.survey?.verification.failed ?? []) {
    reasons.push({ cluster, code: 'verification-failed', message: `the newest backup on ${store}, ${id}, is not sound: ${reason}` });
  }
  if (status.drills !== undefined) reasons.push(...drillReasons(cluster, status.drills, nowMs));
  if (status.disagreement !== undefined) {
    reasons.push({
      cluster,
      code: 'members-disagree',
      message: `members have different data, so one of them is corrupt: ${status.disagreement.reason}`,
    });
  }
  if (status.maintenance !== undefined) reasons.push(...alarmReasons(cluster, status.maintenance));
  if (newest?.suspect !== undefined) {
    reasons.push({ cluster, code: 'newest-suspect', message: `nobody should count on the newest backup ${newest.id}: ${newest.suspect}` });
  }
  if (unaccepted !== undefined) {
    reasons.push({
      cluster,
      code: 'generation-unaccepted',
      message:
        'backups go into a new generation (another cluster id, or a history that moved back) that nobody accepted; see `etcd-warden accept-cluster`',
    });
  }
  return reasons;
}

/** Without a schedule a drill by hand that failed is a reason all the same; that none was done is none. */
function drillReasons(cluster: string, { enabled, maxAgeMs, stores }: DrillStatus, nowMs: number): Reason[] {
  return stores.flatMap((entry): Reason[] => {
    const { store, last, sound } = entry;
    const failed = failedDrill(entry);
    if (failed !== undefined) {
      const message = `a restore from ${store} would not hold what ${failed.id ?? 'its newest backup'} promises: ${failed.reason ?? 'the drill gives no reason'}`;
      return [{ cluster, code: 'drill-failed', message }];
    }
    const ageMs = enabled ? overdueMs(entry, maxAgeMs, nowMs) : undefined;
    if (ageMs === undefined) return [];
    const since = sound === undefined ? 'no restore from it was ever rehearsed' : `the last drill that succeeded is ${days(ageMs)} old`;
    const why = last?.outcome === 'inconclusive' ? `; the last one was not done: ${last.reason ?? 'it gives no reason'}` : '';
    return [{ cluster, code: 'drill-overdue', message: `${store}: ${since}, the limit is ${formatDuration(maxAgeMs)}${why}` }];
  });
}

function alarmReasons(cluster: string, { signs, last, error, enabled }: MaintenanceStatus): Reason[] {
  const reasons: Reason[] = [];
  if (signs?.corrupt === true) {
    reasons.push({
      cluster,
      code: 'corrupt-alarm',
      message: 'CORRUPT is armed: a member has other data than the others, and nothing but backups is done until a person has looked',
    });
  }
  if (signs?.noSpace === true) {
    const refusal = last?.noSpace === true ? (last.failure ?? last.refusals[0]) : undefined;
    const why = !enabled
      ? '; maintenance is switched off'
      : (error ?? refusal) === undefined
        ? ''
        : `; not cured yet: ${(error ?? refusal)?.message}`;
    reasons.push({ cluster, code: 'no-space', message: `NOSPACE is armed: etcd accepts no writes${why}` });
  }
  return reasons;
}

function partial(status: ProtectionStatus): string {
  const missing = status.survey?.stores.filter((store) => store.missing > 0).map((store) => store.store) ?? [];
  return missing.length === 0 ? '' : ` (newer ones are partial: ${missing.join(', ')} lacks copies)`;
}

function summary(status: ProtectionStatus, nowMs: number): ReadyReport['clusters'][string] {
  const { newestComplete, maxAgeMs, leadership } = status;
  return {
    newestBackup: newestComplete === undefined ? null : new Date(newestComplete.timeMs).toISOString(),
    ageSeconds: newestComplete === undefined ? null : seconds(nowMs - newestComplete.timeMs),
    maxAgeSeconds: seconds(maxAgeMs),
    role: leadership?.role ?? 'undecided',
  };
}

/** One line for `systemctl status`. */
export function statusText(clusters: readonly ClusterHealth[], report: ReadyReport, nowMs: number): string {
  const first = report.reasons[0];
  const parts = clusters.map((status) => {
    const age = status.newestComplete === undefined ? 'no backup' : `newest ${minutes(nowMs - status.newestComplete.timeMs)} old`;
    return `${status.cluster}: ${age}${doing(status)}`;
  });
  return `${first === undefined ? 'protected' : `NOT READY (${first.code})`}; ${parts.join('; ')}`;
}

/** Steps of a round that members notice. */
const STEPS: Readonly<Record<string, string>> = {
  compact: 'compacting',
  'move-leader': 'moving the leader to',
  defrag: 'defragmenting',
  disarm: 'disarming NOSPACE',
};

function doing({ running, maintenance, leadership }: ClusterHealth): string {
  const step = STEPS[maintenance?.running?.step ?? ''];
  if (step !== undefined) return `, ${[step, maintenance?.running?.subject].filter((word) => word !== undefined).join(' ')}`;
  if (running !== undefined) return ', backing up';
  return leadership?.role === 'standby' ? ', standby' : '';
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}

function days(ms: number): string {
  return `${(ms / 86_400_000).toFixed(1)} days`;
}

function minutes(ms: number): string {
  const total = Math.max(0, Math.round(ms / 60_000));
  return total < 120 ? `${total} min` : `${Math.round(total / 60)} h`;
}
