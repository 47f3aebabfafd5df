/** A clock that tests own, jobs that answer what tests say, and a configuration with nothing real in it. */
import type { ClusterConfig, Config, MaintenanceConfig } from '../../src/config/types.ts';
import type { Clock } from '../../src/daemon/clock.ts';
import type { BackupResult, JobRequest, ProgressEvent, SurveyResult } from '../../src/jobs/types.ts';
import type { Logger } from '../../src/telemetry/logger.ts';

export interface FakeClock extends Clock {
  /** Lets time pass, waking sleepers in order; what they start is awaited as far as it goes without time. */
  advance(ms: number): Promise<void>;
  /** The wall clock alone jumps. */
  jump(ms: number): void;
}

export function fakeClock(startMs: number): FakeClock {
  let wall = startMs;
  let monotonic = 0;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  return {
    now: () => wall,
    monotonicMs: () => monotonic,
    sleep(ms, signal) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const sleeper = { at: monotonic + Math.max(0, ms), wake: resolve };
      sleepers.add(sleeper);
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
      return promise.finally(() => sleepers.delete(sleeper));
    },
    async advance(ms) {
      const end = monotonic + ms;
      await settle();
      for (;;) {
        const next = [...sleepers].sort((a, b) => a.at - b.at)[0];
        if (next === undefined || next.at > end) break;
        wall += next.at - monotonic;
        monotonic = next.at;
        next.wake();
        await settle();
      }
      wall += end - monotonic;
      monotonic = end;
      await settle();
    },
    jump: (ms) => (wall += ms),
  };
}

/** Lets everything run that waits for nothing but other code (and small files). */
export async function settle(): Promise<void> {
  for (let round = 0; round < 12; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

export interface FakeJob {
  readonly job: JobRequest;
  readonly signal: AbortSignal;
  /** Tells where the job is. */
  progress(event: ProgressEvent): void;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** An answer that does not come. */
export const NEVER = Symbol('never');

/** Jobs that end when the test ends them, or at once as `auto` says. */
export function fakeJobs(auto: (job: JobRequest) => unknown = () => undefined) {
  const started: FakeJob[] = [];
  const run = (job: JobRequest, hooks: { signal: AbortSignal; progress?: (event: ProgressEvent) => void }): Promise<unknown> => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    started.push({ job, signal: hooks.signal, progress: (event) => hooks.progress?.(event), resolve, reject });
    hooks.signal.addEventListener('abort', () => reject(hooks.signal.reason as Error), { once: true });
    try {
      const answer = auto(job);
      if (answer !== undefined && answer !== NEVER) resolve(answer);
    } catch (error) {
      reject(error);
    }
    return promise;
  };
  const verbs = (): string[] => started.map(({ job }) => job.verb);
  return { run, started, verbs, backups: () => started.filter(({ job }) => job.verb === 'backup') };
}

export function backupResult(part: Partial<BackupResult> = {}): BackupResult {
  return {
    outcome: 'complete',
    id: '20261122T120000000Z-aaaaaa',
    cluster: 'prod',
    revision: '42',
    compactRevision: '1',
    plainBytes: 1000,
    storedBytes: 100,
    durationMs: 0,
    member: 'm1',
    role: 'leader',
    stores: [{ store: 'local', outcome: 'stored' }],
    warnings: [],
    ...part,
  };
}

export function surveyResult(newestMs?: number, part: Partial<SurveyResult> = {}): SurveyResult {
  const newest =
    newestMs === undefined
      ? undefined
      : { id: 'x', timeMs: newestMs, revision: '42', plainBytes: 1000, storedBytes: 100, suspect: undefined };
  return {
    backups: { complete: newest === undefined ? 0 : 1, partial: 0, damaged: 0 },
    newest,
    newestComplete: newest,
    stores: [{ store: 'local', newestVerifiedMs: newestMs, missing: 0 }],
    unaccepted: undefined,
    verification: { due: [], sound: [], lastMs: undefined, failed: [] },
    drills: [],
    proof: { newestProvedMs: newestMs, wanting: [], disagreement: undefined },
    ...part,
  };
}

/** The defaults, switched off. */
export function maintenanceConfig(part: Partial<MaintenanceConfig> = {}): MaintenanceConfig {
  return {
    enabled: false,
    schedule: { cron: '*/10 * * * *', timeZone: 'UTC', jitterMs: 0 },
    window: undefined,
    compaction: 'auto',
    keep: { ms: 3_600_000 },
    emergencyKeep: { revisions: 10_000, ms: 600_000 },
    quotaShare: 0.8,
    freeShare: 0.45,
    minFree: 200 * 1024 ** 2,
    minGain: 32 * 1024 ** 2,
    cooldownMs: 6 * 3_600_000,
    maxFreezeMs: 20_000,
    allowSingleMember: false,
    allowHazardousVersions: false,
    restartQuietMs: 600_000,
    settleMs: 30_000,
    quota: undefined,
    metrics: { url: undefined, caFile: undefined, certFile: undefined, keyFile: undefined },
    ...part,
  };
}

export function clusterConfig(
  part: Partial<Omit<ClusterConfig, 'backup'>> & { backup?: Partial<ClusterConfig['backup']> } = {},
): ClusterConfig {
  return {
    name: 'prod',
    endpoints: ['http://127.0.0.1:2379'],
    tls: { caFile: undefined, certFile: undefined, keyFile: undefined, serverName: undefined, insecureSkipVerify: false },
    user: undefined,
    password: undefined,
    discover: true,
    member: 'leader',
    dialTimeoutMs: 1000,
    requestTimeoutMs: 1000,
    streamIdleTimeoutMs: 1000,
    coordinate: false,
    keyPrefix: '/etcd-warden',
    dataDir: undefined,
    encryption: { recipients: [], identity: undefined },
    index: { enabled: false },
    verify: { schedule: { cron: undefined, timeZone: 'UTC', jitterMs: 0 }, level: 'proved', everyMs: 30 * 86_400_000 },
    proof: { enabled: true, members: 'follower', allEveryMs: 86_400_000, maxStallMs: 2_000, timeoutMs: 300_000, window: undefined },
    maintenance: maintenanceConfig(),
    restore: {
      initialCluster: undefined,
      dataDir: undefined,
      walDir: undefined,
      platform: 'auto',
      etcdVersion: undefined,
      builder: 'auto',
      etcdutl: undefined,
    },
    drill: {
      schedule: { cron: undefined, timeZone: 'UTC', jitterMs: 0 },
      maxAgeMs: 15 * 86_400_000,
      timeoutMs: 3_600_000,
      etcd: undefined,
      folder: undefined,
      sharedDisk: false,
      sample: 100,
    },
    retention: {
      keepLast: 3,
      keepHourly: 0,
      keepDaily: 0,
      keepWeekly: 0,
      keepMonthly: 0,
      keepYearly: 0,
      keepWithinMs: 0,
      timeZone: 'UTC',
      maxRemovals: 10,
    },
    ...part,
    backup: {
      schedule: { cron: '0 * * * *', timeZone: 'UTC', jitterMs: 0 },
      stores: ['local'],
      maxAgeMs: 3 * 3_600_000,
      retries: 2,
      retryDelayMs: 60_000,
      maxRate: 0,
      label: undefined,
      timeoutMs: 3_600_000,
      catchUpMs: 2 * 3_600_000,
      ...part.backup,
    },
  };
}

export function daemonConfig(stateDir: string, clusters: readonly ClusterConfig[] = [clusterConfig()], part: Partial<Config> = {}): Config {
  return {
    file: undefined,
    clusters: Object.fromEntries(clusters.map((cluster) => [cluster.name, cluster])),
    stores: { local: { type: 'local', name: 'local', path: stateDir } },
    stateDir,
    log: { level: 'info', format: 'json' },
    http: { listen: '127.0.0.1:0' },
    api: { listen: undefined, token: undefined, certFile: undefined, keyFile: undefined, hosts: [] },
    daemon: { graceMs: 10_000, heavyJobs: 1, sweepAgeMs: 3_600_000 },
    ...part,
  };
}

/** Keeps what was logged: `level message` and the fields. */
export function recordingLogger(): {
  logger: Logger;
  lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[];
  said: (part: string) => boolean;
} {
  const lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = [];
  const make = (bound: Readonly<Record<string, unknown>>): Logger => {
    const log = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) =>
      void lines.push({ level, message, fields: { ...bound, ...fields } });
    return {
      debug: log('debug'),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return { logger: make({}), lines, said: (part) => lines.some(({ message }) => message.includes(part)) };
}
