/**
 * How one cluster is protected: its schedule, its runs with their retries, and the chores after each. One object for each cluster, alive
 * from the load of a configuration that names it until one that does not. A failed backup ends nothing here but itself.
 */
import type { ClusterConfig } from '../config/types.ts';
import { windowAt } from '../config/window.ts';
import { asError, WardenError } from '../errors.ts';
import type { BackupResult, SurveyedBackup, SurveyResult } from '../jobs/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Board, Outcome, Submitted } from './board.ts';
import type { Clock } from './clock.ts';
import { worksHere, type LeadershipState } from './leadership.ts';
import { Verification } from './verification.ts';
import { recordBackup, recordFailure, recordLaterProofs, recordPrune, recordSurvey } from './record.ts';
import { asBackupResult, asProveResult, asSurveyResult, copyFailures, indexFailures, pruneCounts, pruneSkipped } from './results.ts';
import { mayRetry, retryDelayMs } from './retry.ts';
import { clockIsSet, decide, EMPTY_MEMORY, slotsOf, withoutSlot, type SlotMemory, type Slots } from './slots.ts';
import type { StateFile } from './state.ts';

export interface ProtectionPorts {
  readonly board: Board;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly state: StateFile;
  readonly random: () => number;
  /** Something changed: the scheduler is to look again now. */
  readonly wake: () => void;
  /** A backup met NOSPACE, whose lock and slot are writes of ours that etcd refuses then: sooner than the next look at the cluster. */
  readonly noSpace: () => void;
}

/** What readiness, the API and `systemctl status` tell of a cluster. Times are ms since 1970. */
export interface ProtectionStatus {
  readonly cluster: string;
  readonly leadership: LeadershipState | undefined;
  readonly maxAgeMs: number;
  readonly nextSlotMs: number | undefined;
  readonly running: { readonly slotMs: number | undefined; readonly attempt: number; readonly sinceMs: number } | undefined;
  readonly newest: SurveyedBackup | undefined;
  readonly newestComplete: SurveyedBackup | undefined;
  readonly survey: SurveyResult | undefined;
  readonly unaccepted: SurveyResult['unaccepted'];
  /** While members of the cluster have different data. */
  readonly disagreement: SurveyResult['proof']['disagreement'];
  readonly consecutiveFailures: number;
  readonly lastError:
    | { readonly atMs: number; readonly code: string; readonly message: string; readonly hint: string | undefined }
    | undefined;
}

/** The first slot waits for the first listing no longer than this: a store that hangs must not hold backups up. */
const SURVEY_PATIENCE_MS = 60_000;
/** Chores without a backup before them: copies that failed then, listings that went stale, a standby's view. */
const CHORES_EVERY_MS = 60 * 60_000;
/** A standby learns of backups only by looking: often enough that it does not call the other daemon's backups too old. */
const STANDBY_LOOKS = 4;
const STANDBY_SHORTEST_MS = 10_000;
/** What a crash leaves is young when the daemon starts, and may only go when it is old. */
const SWEEP_EVERY_MS = 24 * 60 * 60_000;

/** The backup that is queued or running, whoever asked for it, and the error that a retry may mend. */
interface ActiveBackup {
  readonly job: Submitted;
  readonly error: Promise<WardenError | undefined>;
}

export class Protection {
  readonly #ports: ProtectionPorts;
  readonly #stopping = new AbortController();
  #config: ClusterConfig;
  #slots: Slots | undefined;
  readonly #verification: Verification;
  #memory: SlotMemory = EMPTY_MEMORY;
  #leadership: LeadershipState | undefined;
  /** A listing is needed before the next slot: at the start, and when this daemon becomes the one that works. */
  #surveyDue = true;
  #active: ActiveBackup | undefined;
  #run: { slotMs: number | undefined; attempt: number; sinceMs: number; promise: Promise<void> } | undefined;
  #chores: Promise<void> | undefined;
  #choresAtMs = -Infinity;
  /** Monotonic. */
  #sweepDueMs = -Infinity;
  /** The newest backups may lack their key index. */
  #indexDue = true;
  /** A new backup is there: retention may take old ones away. */
  #pruneDue = false;
  #saving: Promise<void> = Promise.resolve();
  #survey: SurveyResult | undefined;
  #newest: SurveyedBackup | undefined;
  #newestComplete: SurveyedBackup | undefined;
  #unaccepted: SurveyResult['unaccepted'];
  #disagreement: SurveyResult['proof']['disagreement'];
  /** The same, found beside a backup that was taken before: no manifest tells of it. */
  #foundLater: SurveyResult['proof']['disagreement'];
  /** Backups that no member can confirm any more. */
  readonly #hopeless = new Set<string>();
  #failures = 0;
  #lastError: ProtectionStatus['lastError'];

  constructor(config: ClusterConfig, ports: ProtectionPorts) {
    this.#ports = ports;
    this.#config = config;
    this.#slots = slotsOf(config.backup.schedule);
    const { board, logger, metrics } = ports;
    this.#verification = new Verification(config, { board, logger, metrics, changed: () => this.#startChores() });
    this.configure(config);
  }

  /** Reads the state file. To be awaited before the first tick. */
  async open(): Promise<void> {
    const { memory, rebuilt } = await this.#ports.state.read();
    this.#memory = memory;
    if (rebuilt !== undefined) this.#ports.logger.warn({ reason: rebuilt }, 'the memory of the schedule is rebuilt from the stores');
  }

  /** A reload: runs go on with what they started with, the next one uses this. */
  configure(config: ClusterConfig): void {
    this.#config = config;
    this.#slots = slotsOf(config.backup.schedule);
    this.#verification.configure(config);
    const { metrics } = this.#ports;
    const cluster = config.name;
    metrics.set('etcd_warden_backup_max_age_seconds', { cluster }, config.backup.maxAgeMs / 1000);
    metrics.set('etcd_warden_backup_consecutive_failures', { cluster }, this.#failures);
    if (this.#slots === undefined) {
      metrics.remove('etcd_warden_backup_interval_seconds', { cluster });
      metrics.remove('etcd_warden_backup_next_timestamp_seconds', { cluster });
    }
  }

  setLeadership(state: LeadershipState): void {
    const before = this.#leadership;
    this.#leadership = state;
    const { logger, metrics } = this.#ports;
    const cluster = this.#config.name;
    metrics.set('etcd_warden_leader', { cluster }, worksHere(state) ? 1 : 0);
    metrics.set('etcd_warden_coordinated', { cluster }, state.role === 'alone' ? 0 : 1);
    // Another daemon may have served slots meanwhile that this one knows nothing of.
    if (worksHere(state) && !worksHere(before)) {
      this.#surveyDue = true;
      // A copy that takes hours must not hold the first slot up: the chores that are under way look at the stores only at their end.
      if (this.#chores !== undefined) void this.#waitForSurvey();
    }
    if (state.role === 'leader') logger.info({}, 'elected: this daemon takes the backups');
    else if (state.role === 'standby') logger.info({ leader: state.leader }, 'standby: another daemon takes the backups');
    else logger.warn({ reason: state.reason }, 'no election: this daemon takes the backups without one');
    this.#ports.wake();
  }

  /**
   * Looks at the clock and starts what is due.
   * @returns when to look again at the latest
   */
  tick(): number {
    const nowMs = this.#ports.clock.now();
    if (this.#stopping.signal.aborted || this.#leadership === undefined) return Infinity;
    const everyMs = this.#choresEveryMs();
    const sinceMs = nowMs - this.#choresAtMs;
    if (this.#chores === undefined && (this.#surveyDue || sinceMs >= everyMs || sinceMs < 0 || this.#windowHasBegun(nowMs)))
      this.#startChores();
    const verifyAtMs = this.#verification.tick(nowMs, worksHere(this.#leadership), this.#survey);
    if (this.#slots === undefined) return Math.min(this.#choresAtMs + everyMs, verifyAtMs);
    if (this.#surveyDue) return Infinity;

    const { schedule, catchUpMs } = this.#config.backup;
    const decision = decide(this.#slots, this.#memory, {
      nowMs,
      running: this.#run !== undefined,
      standby: !worksHere(this.#leadership),
      newestBackupMs: this.#newest?.timeMs,
      catchUpMs,
      jitterMs: schedule.jitterMs,
      random: this.#ports.random,
    });
    const before = this.#memory;
    this.#memory = decision.memory;
    this.#countSlots(decision, nowMs);
    if (decision.start !== undefined) this.#start(decision.start);
    else if (this.#run === undefined && before.handled !== decision.memory.handled) this.#save();
    return Math.min(decision.wakeAtMs, verifyAtMs);
  }

  /** A backup now, for the API: joins the one that is queued or running. */
  backupNow(): { joined: boolean; job: Submitted } {
    if (this.#active !== undefined) return { joined: true, job: this.#active.job };
    const { job, error } = this.#backup(undefined);
    void error.then(() => this.#startChores());
    return { joined: false, job };
  }

  /** What the last listing of the stores told. */
  get survey(): SurveyResult | undefined {
    return this.#survey;
  }

  status(): ProtectionStatus {
    const { maxAgeMs } = this.#config.backup;
    const nowMs = this.#ports.clock.now();
    return {
      cluster: this.#config.name,
      leadership: this.#leadership,
      maxAgeMs,
      nextSlotMs: clockIsSet(nowMs) ? this.#slots?.next(nowMs) : undefined,
      running: this.#run === undefined ? undefined : { slotMs: this.#run.slotMs, attempt: this.#run.attempt, sinceMs: this.#run.sinceMs },
      newest: this.#newest,
      newestComplete: this.#newestComplete,
      survey: this.#survey,
      unaccepted: this.#unaccepted,
      disagreement: this.#disagreement,
      consecutiveFailures: this.#failures,
      lastError: this.#lastError,
    };
  }

  /** Starts nothing any more, and resolves when what runs has ended (the board decides when that is). */
  async close(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([this.#run?.promise, this.#verification.close(), this.#chores]);
    await this.#saving;
  }

  #countSlots(decision: ReturnType<typeof decide>, nowMs: number): void {
    const { logger, metrics } = this.#ports;
    const cluster = this.#config.name;
    const count = (outcome: string, by: number): void => {
      if (by > 0) metrics.add('etcd_warden_backup_slots_total', { cluster, outcome }, by);
    };
    count('missed', decision.missed);
    count('skipped', decision.skipped);
    count('standby', decision.leftToOther);
    if (decision.start !== undefined) count(decision.caughtUp ? 'caught_up' : 'started', 1);
    if (decision.missed > 0) logger.warn({ slots: decision.missed }, 'slots of the schedule were missed');
    if (decision.skipped > 0) logger.warn({}, 'the slot is skipped: the backup before it is not finished');
    const next = this.#slots?.next(nowMs);
    if (next === undefined) return;
    metrics.set('etcd_warden_backup_next_timestamp_seconds', { cluster }, next / 1000);
    const afterNext = this.#slots?.next(next);
    if (afterNext !== undefined) metrics.set('etcd_warden_backup_interval_seconds', { cluster }, (afterNext - next) / 1000);
  }

  #start(slotMs: number): void {
    const run = { slotMs, attempt: 1, sinceMs: this.#ports.clock.now(), promise: Promise.resolve() };
    this.#run = run;
    run.promise = this.#serve(slotMs, run)
      .catch((error: unknown) => this.#ports.logger.error({ error: asError(error) }, 'the run of a slot ended unexpectedly'))
      .finally(() => {
        this.#run = undefined;
        // Stopped in the middle: after the restart the slot is still to be served.
        if (this.#stopping.signal.aborted && !this.#isServed(slotMs) && this.#slots !== undefined)
          this.#memory = withoutSlot(this.#memory, this.#slots, slotMs);
        this.#save();
        this.#startChores();
        this.#ports.wake();
      });
  }

  /** One slot: a backup, and retries with backoff until the next slot takes over. */
  async #serve(slotMs: number, run: { attempt: number }): Promise<void> {
    const { clock, logger, random } = this.#ports;
    for (;;) {
      const error = await (this.#active ?? this.#backup(slotMs)).error;
      const { retries, retryDelayMs: firstMs } = this.#config.backup;
      if (error === undefined || this.#stopping.signal.aborted || !mayRetry(error)) return;
      if (run.attempt > retries) {
        logger.error({ slot: new Date(slotMs).toISOString(), attempts: run.attempt }, 'the slot has no backup: all attempts failed');
        return;
      }
      const delayMs = retryDelayMs(firstMs, run.attempt, random);
      const nextMs = this.#slots?.next(slotMs);
      if (nextMs !== undefined && clock.now() + delayMs >= nextMs) {
        logger.warn({ slot: new Date(slotMs).toISOString() }, 'no more retries in this slot: the next one comes first');
        return;
      }
      logger.info({ attempt: run.attempt + 1, inMs: delayMs }, 'the backup will be tried again');
      await clock.sleep(delayMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted || !worksHere(this.#leadership)) return;
      if (this.#isServed(slotMs)) return; // somebody asked for one meanwhile
      run.attempt += 1;
    }
  }

  /** A backup dated in the future, by a clock that was wrong once, serves no slot of the present. */
  #isServed(slotMs: number): boolean {
    return this.#newest !== undefined && this.#newest.timeMs >= slotMs && this.#newest.timeMs <= this.#ports.clock.now();
  }

  #backup(slotMs: number | undefined): ActiveBackup {
    const { name, backup } = this.#config;
    const job = this.#ports.board.submit({
      verb: 'backup',
      request: {
        cluster: name,
        label: backup.label,
        prune: false, // a job of its own afterwards: a prune that fails is not a failed backup
        acceptCluster: false,
        onNewGeneration: 'open',
        slot: slotMs === undefined ? undefined : new Date(slotMs).toISOString(),
        index: 'later', // so that the next backup, of this cluster or another, waits no longer for the lock than it must
      },
    });
    const error = job.done.then((outcome) => {
      this.#active = undefined;
      return this.#judge(outcome, this.#ports.clock.now());
    });
    const active = { job, error };
    this.#active = active;
    return active;
  }

  /** Logs, measures and remembers the end of a backup. @returns the error that a retry may mend */
  #judge(outcome: Outcome, nowMs: number): WardenError | undefined {
    const { logger, metrics } = this.#ports;
    const cluster = this.#config.name;
    const result = outcome.ok ? asBackupResult(outcome.result) : undefined;
    if (result !== undefined) {
      recordBackup(metrics, cluster, result);
      if (result.warnings.some(({ code }) => code === 'nospace-armed')) this.#ports.noSpace();
      this.#failures = 0;
      this.#lastError = undefined;
      this.#remember(result, nowMs);
      return undefined;
    }
    const error = outcome.ok
      ? new WardenError('failed', 'the backup job answered what this version does not understand', {
          hint: 'restart the daemon after an upgrade',
        })
      : outcome.error;
    if (error.code === 'no-space') this.#ports.noSpace();
    if (error.code === 'interrupted') {
      logger.warn({ error }, 'the backup was stopped');
      return error;
    }
    // It could not tidy up behind itself: its spool takes the room that the next attempt needs.
    if (error.code === 'job-crashed' || error.code === 'job-stalled') this.#sweepDueMs = -Infinity;
    this.#failures += 1;
    this.#lastError = { atMs: nowMs, code: error.code, message: error.message, hint: error.hint };
    recordFailure(metrics, cluster, error, this.#failures);
    logger.error({ error, failures: this.#failures }, 'the backup failed');
    return error;
  }

  #remember(result: BackupResult, nowMs: number): void {
    const { logger } = this.#ports;
    const { id, revision, plainBytes, storedBytes, suspect, outcome, durationMs } = result;
    if (outcome === 'skipped') {
      logger.info({}, 'another daemon has served this slot');
      this.#surveyDue = true;
      return;
    }
    this.#pruneDue = true;
    this.#indexDue = true;
    this.#newest = { id, timeMs: nowMs - durationMs, revision, plainBytes, storedBytes, suspect };
    if (result.proof !== undefined || result.disagreement !== undefined) {
      this.#disagreement = result.disagreement;
      this.#foundLater = undefined;
    }
    if (result.disagreement !== undefined) logger.error({ id, ...result.disagreement }, 'members disagree: one of them is corrupt');
    if (suspect !== undefined) logger.error({ id, reason: suspect }, 'the backup is suspect');
    if (outcome === 'complete') this.#newestComplete = this.#newest;
    if (result.newGeneration?.accepted === true) {
      this.#unaccepted = undefined;
      logger.info({ id, ...result.newGeneration }, 'a new generation, which a restore had announced');
    } else if (result.newGeneration !== undefined) {
      this.#unaccepted = { lineage: result.newGeneration.lineage, clusterId: '' };
      logger.error(
        { id, lineage: result.newGeneration.lineage, reason: result.newGeneration.reason },
        'a new generation: another cluster, or a history that moved back; nothing is pruned until `etcd-warden accept-cluster` accepts it',
      );
    }
    const missing = result.stores
      .filter((store) => store.outcome === 'failed')
      .map(({ store, error }) => ({ store, code: error?.code, message: error?.message }));
    const fields = { id, revision, bytes: plainBytes, storedBytes, durationMs, member: result.member, role: result.role };
    if (outcome === 'complete') logger.info(fields, 'backup complete');
    else logger.warn({ ...fields, missing }, 'backup partial: some stores do not have it');
    for (const { code, message } of result.warnings) logger.warn({ id, code }, message);
  }

  /** One chain of chores at a time; asked for again while it runs, it runs again. */
  #startChores(): void {
    const { clock, logger, wake } = this.#ports;
    if (this.#stopping.signal.aborted) return;
    this.#choresAtMs = clock.now();
    const before = this.#chores ?? Promise.resolve();
    const chores = before
      .then(() => this.#doChores())
      .catch((error: unknown) => logger.error({ error: asError(error) }, 'a chore ended unexpectedly'))
      .finally(() => {
        if (this.#chores === chores) this.#chores = undefined;
        wake();
      });
    this.#chores = chores;
    if (this.#surveyDue) void this.#waitForSurvey();
  }

  /** Since the last chores, and there is something to prove in it. */
  #windowHasBegun(nowMs: number): boolean {
    const { window } = this.#config.proof;
    if (window === undefined || (this.#survey?.proof.wanting.length ?? 0) === 0) return false;
    const { open, beganMs = 0 } = windowAt(window, nowMs);
    return open && this.#choresAtMs < beganMs;
  }

  #choresEveryMs(): number {
    if (worksHere(this.#leadership)) return CHORES_EVERY_MS;
    return Math.min(CHORES_EVERY_MS, Math.max(STANDBY_SHORTEST_MS, this.#config.backup.maxAgeMs / STANDBY_LOOKS));
  }

  async #waitForSurvey(): Promise<void> {
    const { clock, logger, wake } = this.#ports;
    await clock.sleep(SURVEY_PATIENCE_MS, this.#stopping.signal);
    if (!this.#surveyDue || this.#stopping.signal.aborted) return;
    this.#surveyDue = false;
    logger.warn({}, 'the stores have not been listed in time; the schedule goes on without');
    wake();
  }

  /** Prune only after a backup, and only then: nothing is removed because time passed while nothing was added. */
  async #doChores(): Promise<void> {
    const cluster = this.#config.name;
    const { board, logger, metrics } = this.#ports;
    const works = worksHere(this.#leadership);
    if (works && this.#pruneDue) {
      this.#pruneDue = false;
      const outcome = await board.submit({ verb: 'prune', request: { cluster, dryRun: false } }).done;
      if (outcome.ok) {
        recordPrune(metrics, cluster, pruneCounts(outcome.result));
        // A disk that fills up while another store is away must not come as a surprise.
        for (const skipped of pruneSkipped(outcome.result)) {
          metrics.add('etcd_warden_retention_failures_total', { cluster, code: 'store-unavailable' });
          logger.warn(skipped, 'nothing was pruned on any store: this one cannot be listed, and a hold may lie there');
        }
      } else this.#choreFailed('prune', outcome.error);
    }
    await this.#surveyNow();
    if (!works) return;
    if (this.#ports.clock.monotonicMs() >= this.#sweepDueMs) {
      const outcome = await board.submit({ verb: 'sweep', request: { cluster } }).done;
      if (outcome.ok) this.#sweepDueMs = this.#ports.clock.monotonicMs() + SWEEP_EVERY_MS;
      else this.#choreFailed('sweep', outcome.error);
    }
    await this.#proveNow();
    await this.#indexNow();
    if (this.#survey?.stores.some((store) => store.missing > 0) !== true) return;
    logger.info({}, 'completing missing copies');
    const outcome = await board.submit({ verb: 'copy', request: { cluster, missing: true } }).done;
    if (outcome.ok)
      for (const failure of copyFailures(outcome.result))
        logger.warn(failure, 'a missing copy could not be completed; it will be tried again');
    else this.#choreFailed('copy', outcome.error);
    await this.#surveyNow();
  }

  /** Asks for the proofs that were not to be had; those that waited for the window only while it is open. */
  async #proveNow(): Promise<void> {
    const { name: cluster, proof } = this.#config;
    const { board, clock, logger, metrics } = this.#ports;
    const { open } = windowAt(proof.window, clock.now());
    const wanting =
      this.#survey?.proof.wanting.filter(({ id, code }) => !this.#hopeless.has(id) && (open || code !== 'stall-too-long')) ?? [];
    if (!proof.enabled || wanting.length === 0) return;
    const outcome = await board.submit({ verb: 'prove', request: { cluster } }).done;
    const result = outcome.ok ? asProveResult(outcome.result) : undefined;
    if (result === undefined) {
      this.#choreFailed('prove', outcome.ok ? new WardenError('failed', 'the answer is not understood') : outcome.error);
      return;
    }
    recordLaterProofs(metrics, cluster, result);
    for (const line of result.lines) {
      if (line.code === 'revision-compacted') this.#hopeless.add(line.id);
      if (line.outcome === 'waiting') logger.info({ id: line.id, code: line.code, reason: line.reason }, 'the backup has no proof yet');
    }
    this.#foundLater = result.lines.find((line) => line.disagreement !== undefined)?.disagreement ?? this.#foundLater;
    if (result.lines.some((line) => line.outcome !== 'waiting')) await this.#surveyNow();
  }

  /** After each backup, and until it came to an end without a failure that another attempt may mend. */
  async #indexNow(): Promise<void> {
    const { name: cluster, index } = this.#config;
    const { board, logger } = this.#ports;
    if (!index.enabled || !this.#indexDue || this.#survey?.newest === undefined) return;
    const outcome = await board.submit({ verb: 'index', request: { cluster } }).done;
    if (!outcome.ok) {
      this.#choreFailed('index', outcome.error);
      return;
    }
    const failures = indexFailures(outcome.result);
    this.#indexDue = failures.some(({ code }) => code !== 'key-missing');
    for (const failure of failures) logger.warn(failure, 'a backup has no key index: questions read all of it');
  }

  async #surveyNow(): Promise<void> {
    const cluster = this.#config.name;
    const outcome = await this.#ports.board.submit({ verb: 'survey', request: { cluster } }).done;
    // Without a listing the schedule goes on: a backup too many is better than none.
    this.#surveyDue = false;
    const listed = outcome.ok ? asSurveyResult(outcome.result) : undefined;
    const survey = listed && { ...listed, proof: { ...listed.proof, disagreement: listed.proof.disagreement ?? this.#foundLater } };
    if (survey === undefined) {
      this.#choreFailed('survey', outcome.ok ? new WardenError('failed', 'the answer is not understood') : outcome.error);
      return;
    }
    this.#survey = survey;
    this.#unaccepted = survey.unaccepted;
    this.#disagreement = survey.proof.disagreement;
    // A store that cannot be listed now hides copies that are there: what was known stays known.
    const blind = survey.stores.some((store) => store.error !== undefined);
    this.#newest = blind ? newer(this.#newest, survey.newest) : survey.newest;
    this.#newestComplete = blind ? newer(this.#newestComplete, survey.newestComplete) : survey.newestComplete;
    recordSurvey(this.#ports.metrics, cluster, survey, this.#newestComplete?.timeMs);
  }

  #choreFailed(verb: 'prune' | 'prove' | 'index' | 'sweep' | 'copy' | 'survey', error: WardenError): void {
    if (verb === 'prune') this.#ports.metrics.add('etcd_warden_retention_failures_total', { cluster: this.#config.name, code: error.code });
    if (error.code !== 'interrupted') this.#ports.logger.warn({ verb, error }, 'a chore failed; it will be tried again');
  }

  /** What a crash would find: a slot whose run has not ended counts as not begun. One write after the other: they share a file. */
  #save(): void {
    const slotMs = this.#run?.slotMs;
    const memory = slotMs === undefined || this.#slots === undefined ? this.#memory : withoutSlot(this.#memory, this.#slots, slotMs);
    this.#saving = this.#saving
      .then(() => this.#ports.state.write(memory))
      .catch((error: unknown) =>
        this.#ports.logger.warn(
          { error: asError(error) },
          'the memory of the schedule cannot be written; after a restart it is rebuilt from the stores',
        ),
      );
  }
}

function newer(a: SurveyedBackup | undefined, b: SurveyedBackup | undefined): SurveyedBackup | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.timeMs >= b.timeMs ? a : b;
}
