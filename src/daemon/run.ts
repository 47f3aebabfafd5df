/**
 * The daemon: many clusters, one loop that looks at the clock, one board of jobs, two listeners. It ends when it is told to, never because a
 * backup failed.
 */
import { mkdir } from 'node:fs/promises';
import type { ClusterConfig, Config } from '../config/types.ts';
import { asError } from '../errors.ts';
import { checkApi, openListeners, type Listeners } from '../http/start.ts';
import type { ApiSource, ProbeSource, ReadyReport } from '../http/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { createBoard, type Board, type Runner } from './board.ts';
import { runInChild, STALL_MS } from './child.ts';
import { LONGEST_SLEEP_MS, systemClock, type Clock } from './clock.ts';
import { startLeadership } from './election.ts';
import { readiness, SCHEDULER_STUCK_MS, statusText } from './health.ts';
import { Guarded, type GuardedStatus } from './guarded.ts';
import type { StartLeadership } from './leadership.ts';
import { reloadingNow, statusLine, systemdNotifier, type Notifier } from './notify.ts';
import { observeWithClient, type Observe } from './observe.ts';
import { readQuotaFromMetrics, type ReadQuota } from './quotas.ts';
import { jobJson, statusJson } from './views.ts';

export interface DaemonOptions {
  /** Loaded and valid. */
  readonly config: Config;
  /** Reads it anew for SIGHUP. Rejects when it is bad; the old one then stays in force. */
  readonly reload: () => Promise<Config>;
  readonly logger: Logger;
  /** Aborted: stop within the grace period. */
  readonly signal: AbortSignal;
  readonly version: string;
  /** Told once, when both listeners are open and the schedules run. */
  readonly onReady?: (addresses: { readonly probes: string | undefined; readonly api: string | undefined }) => void;
  /** What tests put in the place of etcd, processes and time. */
  readonly ports?: Partial<DaemonPorts>;
}

export interface DaemonPorts {
  readonly clock: Clock;
  readonly runner: (config: () => Config) => Runner;
  readonly leadership: StartLeadership;
  readonly observe: Observe;
  readonly readQuota: ReadQuota;
  readonly notifier: Notifier;
  readonly random: () => number;
  /** Calls back at each request to reload; returns its removal. */
  readonly onHangup: (reload: () => void) => () => void;
}

const OBSERVE_EVERY_MS = 60_000;
/** Shares of the grace period: running jobs may finish by themselves, then are asked to stop; child.ts ends them at 1.5 times this share. */
const FINISH_SHARE = 0.5;
const STOP_SHARE = 0.3;

/**
 * Runs until the signal aborts.
 * @throws WardenError `config-invalid` or `address-unusable` before anything was started
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const daemon = new Daemon(options);
  await daemon.run();
}

class Daemon {
  readonly #options: DaemonOptions;
  readonly #logger: Logger;
  readonly #metrics: Metrics = createMetrics();
  readonly #ports: DaemonPorts;
  readonly #board: Board;
  readonly #clusters = new Map<string, Guarded>();
  readonly #ended = new AbortController();
  #config: Config;
  #listeners: Listeners | undefined;
  #wake = new AbortController();
  #lastTickMs: number;
  #lastObservedMs = -Infinity;
  #reloading: Promise<void> = Promise.resolve();
  #loadedAtMs: number;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#config = options.config;
    this.#ports = {
      clock: systemClock,
      runner: childRunner(options.logger),
      leadership: startLeadership,
      observe: observeWithClient,
      readQuota: readQuotaFromMetrics,
      notifier: systemdNotifier(process.env, options.logger),
      random: Math.random,
      onHangup: (reload) => {
        process.on('SIGHUP', reload);
        return () => process.off('SIGHUP', reload);
      },
      ...options.ports,
    };
    const { clock } = this.#ports;
    this.#lastTickMs = clock.monotonicMs();
    this.#loadedAtMs = clock.now();
    this.#board = createBoard(
      this.#ports.runner(() => this.#config),
      clock,
      this.#metrics,
    );
  }

  async run(): Promise<void> {
    const { onHangup, notifier } = this.#ports;
    const { signal } = this.#options;
    this.#listeners = await openListeners(this.#config, this.#sources(), this.#logger);
    const removeHangup = onHangup(() => this.#hangup());
    try {
      await this.#makeStateFolder();
      this.#metrics.set('etcd_warden_build_info', { version: this.#options.version, node: process.versions.node }, 1);
      this.#noteConfig();
      for (const cluster of Object.values(this.#config.clusters)) await this.#add(cluster);
      this.#board.setHeavyLimit(this.#config.daemon.heavyJobs);
      const addresses = { probes: shown(this.#listeners.probes?.address), api: shown(this.#listeners.api?.address) };
      this.#logger.info({ version: this.#options.version, clusters: Object.keys(this.#config.clusters), ...addresses }, 'etcd-warden runs');
      await notifier.send('READY=1', statusLine('started'));
      this.#options.onReady?.(addresses);
      const watchdog = this.#feedWatchdog();
      await this.#loop(signal);
      await this.#stop();
      await watchdog;
    } finally {
      removeHangup();
      this.#ended.abort();
      await this.#listeners.close();
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      this.#lastTickMs = clock.monotonicMs();
      const nowMs = clock.now();
      this.#metrics.set('etcd_warden_scheduler_last_tick_timestamp_seconds', {}, nowMs / 1000);
      let wakeAtMs = nowMs + LONGEST_SLEEP_MS;
      for (const guarded of this.#clusters.values()) wakeAtMs = Math.min(wakeAtMs, guarded.tick());
      if (clock.monotonicMs() - this.#lastObservedMs >= OBSERVE_EVERY_MS) this.#observe();
      this.#metrics.set('etcd_warden_ready', {}, this.#ready().ready ? 1 : 0);
      // At least a moment: were a tick ever to want itself again at once, the daemon must not spin.
      await clock.sleep(Math.max(10, Math.min(LONGEST_SLEEP_MS, wakeAtMs - nowMs)), AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  async #add(config: ClusterConfig): Promise<void> {
    const { clock, random, leadership, observe, readQuota } = this.#ports;
    const guarded = new Guarded(config, this.#config.stateDir, {
      board: this.#board,
      clock,
      logger: this.#logger.child({ cluster: config.name }),
      metrics: this.#metrics,
      random,
      startLeadership: leadership,
      observe,
      readQuota,
      wake: () => this.#wake.abort(),
      ended: this.#ended.signal,
    });
    await guarded.open();
    this.#clusters.set(config.name, guarded);
  }

  async #remove(name: string): Promise<void> {
    const guarded = this.#clusters.get(name);
    if (guarded === undefined) return;
    this.#clusters.delete(name);
    await guarded.resign();
    // A run of its last moments may still end and measure; the series go when it has.
    void guarded.close().then(() => {
      if (!this.#clusters.has(name)) this.#metrics.forgetCluster(name);
    });
  }

  #hangup(): void {
    if (this.#options.signal.aborted) return;
    this.#reloading = this.#reloading
      .then(() => this.#reload())
      .catch((error: unknown) => this.#logger.error({ error: asError(error) }, 'the reload ended unexpectedly'));
  }

  /** All or nothing: a configuration that cannot be used leaves the daemon as it was. */
  async #reload(): Promise<void> {
    const { notifier } = this.#ports;
    await notifier.send(...reloadingNow());
    try {
      const next = await this.#options.reload();
      checkApi(next.api);
      await this.#applyListeners(next);
      const before = this.#config;
      this.#config = next;
      await this.#makeStateFolder();
      this.#board.setHeavyLimit(next.daemon.heavyJobs);
      await this.#applyClusters(before, next);
      this.#loadedAtMs = this.#ports.clock.now();
      this.#noteConfig();
      this.#logger.info({ clusters: Object.keys(next.clusters) }, 'the configuration is reloaded');
    } catch (error) {
      this.#metrics.set('etcd_warden_config_reload_failed', {}, 1);
      this.#logger.error(
        { error: asError(error), problems: problemsOf(error) },
        'the new configuration is refused; the old one stays in force',
      );
    }
    if (!this.#options.signal.aborted) await notifier.send('READY=1');
    this.#wake.abort();
  }

  /** The same address cannot be bound twice, so the old listeners close first; when the new ones cannot open, the old come back. */
  async #applyListeners(next: Config): Promise<void> {
    if (JSON.stringify([next.http, plainApi(next)]) === JSON.stringify([this.#config.http, plainApi(this.#config)])) {
      this.#listeners?.reloadTls();
      return;
    }
    await this.#listeners?.close();
    try {
      this.#listeners = await openListeners(next, this.#sources(), this.#logger);
    } catch (error) {
      this.#listeners = await openListeners(this.#config, this.#sources(), this.#logger);
      throw error;
    }
  }

  async #applyClusters(before: Config, next: Config): Promise<void> {
    for (const name of this.#clusters.keys()) {
      if (next.clusters[name] === undefined) await this.#remove(name);
    }
    for (const config of Object.values(next.clusters)) {
      const guarded = this.#clusters.get(config.name);
      // Other endpoints, other credentials: another election, perhaps another cluster.
      const elsewhere = guarded !== undefined && (before.stateDir !== next.stateDir || accessKey(guarded.config) !== accessKey(config));
      if (guarded === undefined) await this.#add(config);
      else await guarded.configure(config, elsewhere);
    }
  }

  /** SIGTERM: no new work; running jobs finish in the first part of the grace period, are dropped cleanly in the second, killed at its end. */
  async #stop(): Promise<void> {
    const { clock, notifier } = this.#ports;
    const { graceMs } = this.#config.daemon;
    this.#logger.info({ running: this.#board.running, graceMs }, 'stopping');
    void notifier.send('STOPPING=1', statusLine(this.#board.running > 0 ? 'stopping; waiting for running jobs' : 'stopping'));
    const guarded = [...this.#clusters.values()];
    const drained = Promise.all([this.#board.close(), ...guarded.map((one) => one.close())]);
    const idle = new AbortController();
    void drained.finally(() => idle.abort());
    await clock.sleep(graceMs * FINISH_SHARE, idle.signal);
    if (!idle.signal.aborted) {
      this.#logger.warn({ running: this.#board.running }, 'running jobs are dropped: the grace period is half over');
      this.#board.stop('the daemon stops');
    }
    await drained;
    // After the last job: a standby that takes over while one still runs would only meet its lock.
    await Promise.allSettled(guarded.map((one) => one.resign()));
    await this.#reloading;
    this.#logger.info({}, 'stopped');
  }

  #observe(): void {
    this.#lastObservedMs = this.#ports.clock.monotonicMs();
    for (const guarded of this.#clusters.values()) void guarded.observe();
    this.#listeners?.reloadTls();
  }

  /** A ping says: the scheduler has looked at the clock lately, and no job outlived the limit at which its silence should have ended it. */
  async #feedWatchdog(): Promise<void> {
    const { clock, notifier } = this.#ports;
    if (!notifier.active) return;
    const { signal } = this.#options;
    const everyMs = Math.min((notifier.watchdogMs ?? 2 * LONGEST_SLEEP_MS) / 3, LONGEST_SLEEP_MS);
    let status = '';
    while (!signal.aborted) {
      const moves =
        clock.monotonicMs() - this.#lastTickMs < SCHEDULER_STUCK_MS && this.#board.longestSilenceMs() < STALL_MS + SCHEDULER_STUCK_MS;
      if (!moves) this.#logger.error({ sinceTickMs: clock.monotonicMs() - this.#lastTickMs }, 'no progress: the watchdog is not fed');
      const text = statusText(this.#statuses(), this.#ready(), clock.now());
      const news = text === status ? [] : [statusLine(text)];
      status = text;
      if (notifier.watchdogMs !== undefined && moves) await notifier.send('WATCHDOG=1', ...news);
      else if (news.length > 0) await notifier.send(...news);
      await clock.sleep(everyMs, signal);
    }
  }

  #sources(): { probes: ProbeSource; api: ApiSource } {
    const { signal } = this.#options;
    return {
      probes: {
        ready: () => this.#ready(),
        metrics: async () => ({ contentType: this.#metrics.contentType, body: await this.#metrics.text() }),
      },
      api: {
        get stopping() {
          return signal.aborted;
        },
        startBackup: (name) => {
          const guarded = this.#clusters.get(name);
          // The listeners open first, so that a port that is taken ends the start before anything is begun.
          if (guarded === undefined) return { outcome: Object.hasOwn(this.#config.clusters, name) ? 'starting' : 'unknown-cluster' };
          if (signal.aborted) return { outcome: 'stopping' };
          const { joined, job } = guarded.backupNow();
          this.#logger.info({ cluster: name, job: job.id, joined }, 'a backup was asked for');
          return { outcome: joined ? 'joined' : 'started', job: job.id };
        },
        job: (id) => {
          const view = this.#board.get(id);
          return view === undefined ? undefined : jobJson(view);
        },
        status: () =>
          statusJson({
            version: this.#options.version,
            configLoadedMs: this.#loadedAtMs,
            ready: this.#ready(),
            clusters: this.#statuses(),
            jobs: this.#board.list(),
          }),
      },
    };
  }

  #statuses(): GuardedStatus[] {
    return [...this.#clusters.values()].map((guarded) => guarded.status());
  }

  #ready(): ReadyReport {
    const { clock } = this.#ports;
    return readiness(this.#statuses(), {
      nowMs: clock.now(),
      sinceTickMs: clock.monotonicMs() - this.#lastTickMs,
      stopping: this.#options.signal.aborted,
    });
  }

  #noteConfig(): void {
    this.#metrics.set('etcd_warden_config_loaded_timestamp_seconds', {}, this.#loadedAtMs / 1000);
    this.#metrics.set('etcd_warden_config_reload_failed', {}, 0);
  }

  /** A cache: without it the daemon works, and learns the past from the stores at each start. */
  async #makeStateFolder(): Promise<void> {
    try {
      await mkdir(this.#config.stateDir, { recursive: true, mode: 0o700 });
    } catch (error) {
      this.#logger.warn({ error: asError(error) }, 'the state folder cannot be made; after a restart the past is learned from the stores');
    }
  }
}

/** Packed for each job: secrets are read then, so that a rotated file counts without a reload. */
function childRunner(logger: Logger): DaemonPorts['runner'] {
  return (config) =>
    async (job, { signal, progress, alive }) => {
      const { packConfig } = await import('../config/pack.ts');
      const { graceMs } = config().daemon;
      return runInChild({
        job,
        configuration: packConfig(onlyFor(config(), job.request.cluster)),
        logger: logger.child({ cluster: job.request.cluster, job: job.verb }),
        progress,
        alive,
        signal,
        stopMs: () => graceMs * STOP_SHARE,
      });
    };
}

/** A job gets the secrets of its own cluster and stores; and a secret that is gone fails no other cluster. */
function onlyFor(config: Config, name: string): Config {
  const cluster = config.clusters[name];
  if (cluster === undefined) return config;
  const stores = Object.entries(config.stores).filter(([store]) => cluster.backup.stores.includes(store));
  return { ...config, clusters: { [name]: cluster }, stores: Object.fromEntries(stores), api: { ...config.api, token: undefined } };
}

function shown(address: { host: string; port: number } | undefined): string | undefined {
  if (address === undefined) return undefined;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** What decides how the API listens; secrets are compared by where they come from, their content is read at each call. */
function plainApi({ api }: Config): unknown {
  return { ...api, token: api.token?.origin };
}

/** What decides which etcd an election takes place in, and as whom. */
function accessKey(cluster: ClusterConfig): string {
  const { endpoints, tls, user, password, coordinate, keyPrefix, dialTimeoutMs, requestTimeoutMs, discover } = cluster;
  return JSON.stringify({
    endpoints,
    tls,
    user,
    password: password?.origin,
    coordinate,
    keyPrefix,
    dialTimeoutMs,
    requestTimeoutMs,
    discover,
  });
}

/** The list that a configuration error carries, so that all of it reaches the log. */
function problemsOf(error: unknown): unknown {
  return error instanceof Error && 'problems' in error ? error.problems : undefined;
}
