/** What the API shows, as documented in docs/api.md: times in RFC 3339, 64-bit ids as strings, nothing of the configuration's secrets. */
import type { DrillSurvey, SurveyedDrill } from '../jobs/types.ts';
import type { ReadyReport } from '../http/types.ts';
import type { JobView } from './board.ts';
import type { DrillStatus } from './drills.ts';
import type { GuardedStatus } from './guarded.ts';
import type { MaintenanceStatus } from './maintenance.ts';
import type { Seen } from './watch.ts';

export function jobJson(view: JobView): unknown {
  const { id, verb, cluster, state, outcome, progress } = view;
  return {
    id,
    verb,
    cluster,
    state,
    queued: time(view.queuedAtMs),
    started: time(view.startedAtMs),
    ended: time(view.endedAtMs),
    progress: progress ?? null,
    result: outcome?.ok === true ? (outcome.result ?? null) : null,
    error: outcome?.ok === false ? { code: outcome.error.code, message: outcome.error.message, hint: outcome.error.hint ?? null } : null,
  };
}

export interface StatusParts {
  readonly version: string;
  readonly configLoadedMs: number;
  readonly ready: ReadyReport;
  readonly clusters: readonly GuardedStatus[];
  readonly jobs: readonly JobView[];
}

export function statusJson(parts: StatusParts): unknown {
  return {
    version: parts.version,
    configLoaded: time(parts.configLoadedMs),
    ready: parts.ready.ready,
    reasons: parts.ready.reasons,
    clusters: Object.fromEntries(parts.clusters.map((status) => [status.cluster, clusterJson(status)])),
    jobs: parts.jobs.slice(0, 20).map((job) => {
      const { result: _, ...rest } = jobJson(job) as Record<string, unknown>;
      return rest;
    }),
  };
}

function clusterJson(status: GuardedStatus): unknown {
  const { leadership, newest, newestComplete, survey, running, lastError, maintenance, seen, outlook } = status;
  return {
    role: leadership?.role ?? 'undecided',
    leader: leadership?.role === 'standby' ? leadership.leader : null,
    uncoordinated: leadership?.role === 'alone' ? leadership.reason : null,
    nextSlot: time(status.nextSlotMs),
    running: running === undefined ? null : { slot: time(running.slotMs), attempt: running.attempt, since: time(running.sinceMs) },
    newest: newest === undefined ? null : { ...newest, timeMs: undefined, suspect: newest.suspect ?? null, time: time(newest.timeMs) },
    newestComplete: newestComplete === undefined ? null : { id: newestComplete.id, time: time(newestComplete.timeMs) },
    backups: survey?.backups ?? null,
    stores:
      survey?.stores.map(({ store, newestVerifiedMs, missing, error }) => ({
        store,
        newestVerified: time(newestVerifiedMs),
        missing,
        error: error ?? null,
      })) ?? null,
    unaccepted: status.unaccepted ?? null,
    newestProved: time(survey?.proof.newestProvedMs),
    disagreement: status.disagreement ?? null,
    consecutiveFailures: status.consecutiveFailures,
    lastError: errorJson(lastError),
    drills: drillsJson(status.drills),
    maintenance: maintenanceJson(maintenance),
    etcd: seen === undefined ? null : etcdJson(seen, outlook),
  };
}

function drillsJson({ enabled, maxAgeMs, running, nextMs, stores }: DrillStatus): unknown {
  return {
    enabled,
    running: running ?? null,
    next: time(nextMs),
    maxAgeSeconds: Math.round(maxAgeMs / 1000),
    stores: stores.map(({ store, last, sound, failed }: DrillSurvey) => ({
      store,
      last: drillJson(last),
      lastSuccess: drillJson(sound),
      lastFailure: drillJson(failed),
    })),
  };
}

function drillJson(drill: SurveyedDrill | undefined): unknown {
  if (drill === undefined) return null;
  const { atMs, id, outcome, level, reason, recoveryMs, keyCount, sampled, etcd } = drill;
  return {
    time: time(atMs),
    id: id ?? null,
    outcome,
    level: level ?? null,
    reason: reason ?? null,
    recoveryMs: recoveryMs ?? null,
    keyCount: keyCount ?? null,
    sampled: sampled ?? null,
    etcd: etcd ?? null,
  };
}

function errorJson(error: MaintenanceStatus['error']): unknown {
  return error === undefined ? null : { time: time(error.atMs), code: error.code, message: error.message, hint: error.hint ?? null };
}

function maintenanceJson({ enabled, running, nextMs, last, error }: MaintenanceStatus): unknown {
  return {
    enabled,
    running:
      running === undefined
        ? null
        : { cause: running.cause, since: time(running.sinceMs), step: running.step ?? null, subject: running.subject ?? null },
    next: time(nextMs),
    last:
      last === undefined
        ? null
        : {
            time: time(last.atMs),
            cause: last.cause,
            outcome: last.outcome,
            actions: last.actions,
            next: last.next ?? null,
            refusals: last.refusals.map(({ rule, member, message, hint }) => ({
              rule,
              member: member ?? null,
              message,
              hint: hint ?? null,
            })),
            failure: last.failure ?? null,
          },
    error: errorJson(error),
  };
}

function etcdJson({ view, members, alarms, crossings }: Seen, outlook: GuardedStatus['outlook']): unknown {
  const quotas = new Map(members.map(({ status, quota }) => [status.memberId, quota]));
  const name = (id: string): string | null => members.find(({ status }) => status.memberId.toString(16) === id)?.status.name ?? null;
  return {
    clusterId: view.clusterId.toString(16),
    quorum: view.quorum,
    alarms: alarms.map(({ type, memberId }) => ({ type, id: memberId, name: name(memberId) })),
    crossed: crossings.map(({ what, member, message }) => ({ what, member: member ?? null, message })),
    forecast:
      outlook === undefined
        ? null
        : { id: outlook.member, name: name(outlook.member), bytesPerDay: outlook.bytesPerDay, quotaReached: time(outlook.reachedMs) },
    members: view.members.map((member) => {
      if (!member.reachable) return { endpoint: member.endpoint, name: member.name ?? null, error: member.error.message };
      const { status, endpoint } = member;
      const quota = quotas.get(status.memberId);
      return {
        endpoint,
        name: status.name,
        id: status.memberId.toString(16),
        role: status.role,
        version: status.version,
        dbSize: status.dbSize,
        dbSizeInUse: status.dbSizeInUse,
        quota: quota?.bytes ?? null,
        quotaSource: quota?.source ?? null,
        revision: String(status.revision),
        error: null,
      };
    }),
  };
}

function time(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
