/** What the API shows, as documented in docs/api.md: times in RFC 3339, 64-bit ids as strings, nothing of the configuration's secrets. */
import type { ClusterView } from '../etcd/types.ts';
import type { ReadyReport } from '../http/types.ts';
import type { JobView } from './board.ts';
import type { ProtectionStatus } from './protection.ts';

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
  readonly clusters: readonly { readonly status: ProtectionStatus; readonly view: ClusterView | undefined }[];
  readonly jobs: readonly JobView[];
}

export function statusJson(parts: StatusParts): unknown {
  return {
    version: parts.version,
    configLoaded: time(parts.configLoadedMs),
    ready: parts.ready.ready,
    reasons: parts.ready.reasons,
    clusters: Object.fromEntries(parts.clusters.map(({ status, view }) => [status.cluster, clusterJson(status, view)])),
    jobs: parts.jobs.slice(0, 20).map((job) => {
      const { result: _, ...rest } = jobJson(job) as Record<string, unknown>;
      return rest;
    }),
  };
}

function clusterJson(status: ProtectionStatus, view: ClusterView | undefined): unknown {
  const { leadership, newest, newestComplete, survey, running, lastError } = status;
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
    lastError:
      lastError === undefined
        ? null
        : { time: time(lastError.atMs), code: lastError.code, message: lastError.message, hint: lastError.hint ?? null },
    etcd: view === undefined ? null : etcdJson(view),
  };
}

function etcdJson(view: ClusterView): unknown {
  return {
    clusterId: view.clusterId.toString(16),
    quorum: view.quorum,
    members: view.members.map((member) =>
      member.reachable
        ? {
            endpoint: member.endpoint,
            name: member.status.name,
            id: member.status.memberId.toString(16),
            role: member.status.role,
            version: member.status.version,
            dbSize: member.status.dbSize,
            dbSizeInUse: member.status.dbSizeInUse,
            revision: String(member.status.revision),
            error: null,
          }
        : { endpoint: member.endpoint, name: member.name ?? null, error: member.error.message },
    ),
  };
}

function time(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
