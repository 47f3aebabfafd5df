/**
 * Rehearsing restores, on a schedule of its own. Each store is a job of its own in the heavy lane behind all backups, so that the longest that a backup can wait for it is
 * one restore. A slot that was missed is caught up once, and only for the stores that nobody has rehearsed since.
 */
import type { ClusterConfig } from '../config/types.ts';
import { asError } from '../errors.ts';
import { failedDrill } from '../jobs/drill-survey.ts';
import type { DrillSurvey, SurveyedDrill, SurveyResult } from '../jobs/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Board } from './board.ts';
import type { Clock } from './clock.ts';
import { joined, type DrillMemoryFile } from './drill-memory.ts';
import { drillLines } from './results.ts';
import { clockIsSet, slotsOf, type Slots } from './slots.ts';

export interface DrillPorts {
  readonly board: Board;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly memory: DrillMemoryFile;
  /** Something changed: the scheduler is to look again now. */
  readonly wake: () => void;
}

/** What readiness, the API and `systemctl status` tell. Times are ms since 1970. */
export interface DrillStatus {
  /** There is a schedule. */
  readonly enabled: boolean;
  readonly maxAgeMs: number;
  readonly nextMs: number | undefined;
  /** The store whose backup is being rehearsed, or waits for it. */
  readonly running: string | undefined;
  /** In the order of the configuration. */
  readonly stores: readonly DrillSurvey[];
}

export class Drills {
  readonly #ports: DrillPorts;
  #config: ClusterConfig;
  #slots: Slots | undefined;
  #known = new Map<string, DrillSurvey>();
  /** The last one that was taken in. */
  #survey: SurveyResult | undefined;
  #run: Promise<void> | undefined;
  #running: string | undefined;
  #saving: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(config: ClusterConfig, ports: DrillPorts) {
    this.#ports = ports;
    this.#config = config;
    this.#slots = slotsOf(config.drill.schedule);
  }

  /** Reads the state file. To be awaited before the first tick. */
  async open(): Promise<void> {
    const { memory, rebuilt } = await this.#ports.memory.read();
    this.#known = new Map(memory);
    if (rebuilt !== undefined) this.#ports.logger.warn({ reason: rebuilt }, 'the memory of drills is rebuilt from the stores');
  }

  configure(config: ClusterConfig): void {
    for (const store of this.#config.backup.stores)
      this.#ports.metrics.remove('etcd_warden_drill_overdue', { cluster: config.name, store });
    this.#config = config;
    this.#slots = slotsOf(config.drill.schedule);
  }

  /**
   * Starts a run when one is due and this daemon is the one that works.
   * @returns when to look again
   */
  tick(nowMs: number, works: boolean, survey: SurveyResult | undefined): number {
    this.#learn(survey);
    this.#measure(nowMs);
    if (this.#slots === undefined) return Infinity;
    const next = this.#slots.next(nowMs) ?? Infinity;
    if (!works || this.#stopped || survey === undefined || this.#run !== undefined || !clockIsSet(nowMs)) return next;
    const slotMs = this.#slots.latest(nowMs);
    const due = slotMs === undefined ? [] : this.#dueSince(slotMs, nowMs, survey);
    if (due.length === 0) return next;
    this.#run = this.#rehearse(due)
      .catch((error: unknown) => this.#ports.logger.error({ error: asError(error) }, 'drills ended unexpectedly'))
      .finally(() => {
        this.#run = undefined;
        this.#running = undefined;
        if (!this.#stopped) this.#ports.wake();
      });
    return next;
  }

  status(): DrillStatus {
    const { drill, backup } = this.#config;
    const nowMs = this.#ports.clock.now();
    return {
      enabled: this.#slots !== undefined,
      maxAgeMs: drill.maxAgeMs,
      nextMs: clockIsSet(nowMs) ? this.#slots?.next(nowMs) : undefined,
      running: this.#running,
      stores: backup.stores.map((store) => this.#known.get(store) ?? nothingKnown(store)),
    };
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await this.#run;
    await this.#saving;
  }

  /**
   * Stores that held something to rehearse at the slot, and have not been since: a new installation waits for its first slot. What is dated in the future, by a clock
   * that was wrong once, says nothing about it.
   */
  #dueSince(slotMs: number, nowMs: number, survey: SurveyResult): string[] {
    const done = (atMs: number | undefined): boolean => atMs !== undefined && atMs >= slotMs && atMs <= nowMs;
    return survey.stores
      .filter(({ store, newestVerifiedMs, error }) => {
        if (newestVerifiedMs === undefined || error !== undefined || !this.#config.backup.stores.includes(store)) return false;
        const { firstMs = -Infinity, last } = this.#known.get(store) ?? {};
        return firstMs <= slotMs && !done(last?.atMs);
      })
      .map(({ store }) => store);
  }

  async #rehearse(stores: readonly string[]): Promise<void> {
    const { board, clock, logger, metrics } = this.#ports;
    const cluster = this.#config.name;
    for (const store of stores) {
      if (this.#stopped) return;
      this.#running = store;
      const job = board.submit({ verb: 'drill', request: { cluster, stores: [store] } });
      const outcome = await job.done;
      const atMs = clock.now();
      if (!outcome.ok && outcome.error.code === 'interrupted') return;
      // It could not take away what it restored: the whole database, as it is.
      if (!outcome.ok && (outcome.error.code === 'job-crashed' || outcome.error.code === 'job-stalled'))
        await board.submit({ verb: 'sweep', request: { cluster } }).done;
      const startedMs = board.get(job.id)?.startedAtMs;
      if (startedMs !== undefined) metrics.set('etcd_warden_drill_duration_seconds', { cluster, store }, (atMs - startedMs) / 1000);
      const line = outcome.ok ? drillLines(outcome.result, atMs).find((each) => each.store === store) : undefined;
      const drill = line ?? {
        atMs,
        outcome: 'inconclusive' as const,
        reason: outcome.ok ? 'the answer is not understood' : outcome.error.message,
      };
      metrics.add('etcd_warden_drills_total', { cluster, store, outcome: drill.outcome });
      this.#tell(store, drill, logger);
      this.#take({
        ...nothingKnown(store),
        last: drill,
        ...(drill.outcome === 'ok' ? { sound: drill } : {}),
        ...(drill.outcome === 'failed' ? { failed: drill } : {}),
      });
      this.#save();
      this.#measure(atMs);
    }
  }

  #tell(store: string, drill: SurveyedDrill, logger: Logger): void {
    const { outcome, atMs: _, ...rest } = drill;
    const fields = { ...rest, store };
    if (outcome === 'failed') logger.error(fields, 'drill failed: a restore from this store would not hold what its backup promises');
    else if (outcome === 'inconclusive')
      logger.warn(fields, 'no drill was done; it counts as not done, and is tried again at the next slot');
    else if (drill.reason !== undefined) logger.warn(fields, 'the restore held what the backup promises, as far as it was rehearsed');
    else logger.info(fields, 'the restore held what the backup promises');
  }

  #learn(survey: SurveyResult | undefined): void {
    if (survey === undefined || survey === this.#survey) return;
    this.#survey = survey;
    const before = JSON.stringify([...this.#known.values()]);
    for (const entry of survey.drills) this.#take(entry);
    if (JSON.stringify([...this.#known.values()]) !== before) this.#save();
  }

  #take(entry: DrillSurvey): void {
    this.#known.set(entry.store, joined(this.#known.get(entry.store), entry));
  }

  #measure(nowMs: number): void {
    const { metrics } = this.#ports;
    const cluster = this.#config.name;
    const status = this.status();
    for (const entry of status.stores) {
      const { store, sound } = entry;
      if (status.enabled)
        metrics.set('etcd_warden_drill_overdue', { cluster, store }, overdueMs(entry, status.maxAgeMs, nowMs) === undefined ? 0 : 1);
      const failed = failedDrill(entry);
      if (entry.last !== undefined) metrics.set('etcd_warden_drill_failed', { cluster, store }, failed === undefined ? 0 : 1);
      if (sound === undefined) continue;
      const level = sound.level ?? 'offline';
      metrics.set('etcd_warden_drill_last_success_timestamp_seconds', { cluster, store, level }, sound.atMs / 1000);
      if (sound.recoveryMs !== undefined) metrics.set('etcd_warden_drill_recovery_seconds', { cluster, store }, sound.recoveryMs / 1000);
    }
  }

  #save(): void {
    this.#saving = this.#saving
      .then(() => this.#ports.memory.write(this.#known))
      .catch((error: unknown) =>
        this.#ports.logger.warn(
          { error: asError(error) },
          'the memory of drills cannot be written; after a restart it is rebuilt from the stores',
        ),
      );
  }
}

function nothingKnown(store: string): DrillSurvey {
  return { store, firstMs: undefined, last: undefined, sound: undefined, failed: undefined };
}

/**
 * How long a store has gone without a drill that succeeded, when that is too long, ms. A store that never had one counts from its first backup, so that a new
 * installation is ready until it had its chance.
 */
export function overdueMs({ firstMs, sound }: DrillSurvey, maxAgeMs: number, nowMs: number): number | undefined {
  const sinceMs = sound?.atMs ?? firstMs;
  if (sinceMs === undefined || nowMs - sinceMs <= maxAgeMs) return undefined;
  return nowMs - sinceMs;
}
