/**
 * When the daemon asks for a round of maintenance of one cluster: at its slots, at once when a threshold is crossed or etcd has run out of space, and when
 * the reasons of the last refusal may have gone. What is done then, and whether, is decided in the job by the planner, which looks at everything anew.
 */
import type { ClusterConfig } from '../config/types.ts';
import { asError, WardenError } from '../errors.ts';
import type { Rule } from '../maintenance/planner/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Board } from './board.ts';
import type { Clock } from './clock.ts';
import { worksHere, type LeadershipState } from './leadership.ts';
import { recordRound, recordRoundError } from './record.ts';
import { asRoundSummary, type RoundSummary } from './results.ts';
import { retryDelayMs } from './retry.ts';
import { clockIsSet, slotsOf, type Slots } from './slots.ts';

export interface MaintenancePorts {
  readonly board: Board;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
  /** A round has ended: look at the members anew. */
  readonly observe: () => void;
  /** Something changed: the scheduler is to look again now. */
  readonly wake: () => void;
}

/** What the members' own answers say between the times of the schedule. */
export interface Signs {
  /** NOSPACE is armed: etcd accepts no writes. */
  readonly noSpace: boolean;
  /** CORRUPT is armed. */
  readonly corrupt: boolean;
  /** Thresholds that are crossed, in words that stay the same from look to look: `quota m1`. */
  readonly crossed: readonly string[];
  /** Members that answer. */
  readonly reachable: readonly string[];
}

/** Why a round is asked for. */
type Cause = 'schedule' | 'threshold' | 'no-space' | 'again' | 'retry';

export interface MaintenanceStatus {
  readonly enabled: boolean;
  /** Undefined while the members have not been seen. */
  readonly signs: Signs | undefined;
  readonly running:
    | { readonly sinceMs: number; readonly cause: string; readonly step: string | undefined; readonly subject: string | undefined }
    | undefined;
  /** When this daemon asks next, at the latest; undefined = when a threshold is crossed. */
  readonly nextMs: number | undefined;
  readonly last: (RoundSummary & { readonly atMs: number; readonly cause: string }) | undefined;
  /** Why the last attempt came to no plan; undefined when it did. */
  readonly error: { readonly atMs: number; readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined;
}

/** Two daemons of which none is elected, as under NOSPACE, should rarely begin in the same moment: each looks at what the other does. */
const NOT_ELECTED_JITTER_MS = 5_000;
/** While NOSPACE is armed, whatever the schedule: a member may have come back, a person may have deleted keys. */
const NO_SPACE_EVERY_MS = 10 * 60_000;
/** The planner may name a moment that has come while its answer was on the way. */
const SOONEST_MS = 10_000;
const FIRST_RETRY_MS = 30_000;
/** Rules that are over when somebody else is done, without a time that a plan could name or a threshold that would be crossed anew. */
const PASSING: ReadonlySet<Rule> = new Set<Rule>([
  'lock-elsewhere',
  'own-read',
  'foreign-snapshot',
  'foreign-hash',
  'defrag-inflight',
  'compacting',
  'no-quorum',
  'leader-unclear',
  'member-slow',
  'member-lagging',
  'learner-catching-up',
  'raft-snapshot',
]);
const LONGEST_RETRY_MS = 10 * 60_000;

export class Maintenance {
  readonly #ports: MaintenancePorts;
  #config: ClusterConfig;
  #slots: Slots | undefined;
  /** Infinity: not known before the first look at the clock, so that no slot is due at the start. */
  #slotMs = Infinity;
  #signs: Signs | undefined;
  /** The signs that a round has been asked for because of. */
  #asked: ReadonlySet<string> = new Set();
  #againMs = Infinity;
  /** Both monotonic. */
  #retryAtMs = Infinity;
  #endedMs = -Infinity;
  /** Due, but its jitter is not over; monotonic. */
  #pending: { readonly cause: Cause; readonly startAtMs: number } | undefined;
  #run: { readonly job: string; readonly sinceMs: number; readonly cause: Cause; readonly promise: Promise<void> } | undefined;
  /** Rounds in a row that came to nothing for a reason that passes by itself. */
  #tries = 0;
  #rules: ReadonlySet<Rule> = new Set();
  #last: MaintenanceStatus['last'];
  #error: MaintenanceStatus['error'];
  #stopped = false;

  constructor(config: ClusterConfig, ports: MaintenancePorts) {
    this.#ports = ports;
    this.#config = config;
    this.#slots = slotsOf(config.maintenance.schedule);
  }

  /** A reload: a round that runs goes on with what it started with, the next one uses this. */
  configure(config: ClusterConfig): void {
    const before = JSON.stringify(this.#config.maintenance);
    this.#config = config;
    if (JSON.stringify(config.maintenance) === before) return;
    this.#slots = slotsOf(config.maintenance.schedule);
    this.#slotMs = Infinity;
    // Other thresholds, another window: what stood against a round may have gone.
    this.#asked = new Set();
    this.#againMs = Infinity;
    this.#ports.metrics.remove('etcd_warden_maintenance_next_timestamp_seconds', { cluster: config.name });
  }

  /** What an observation found. */
  observed(signs: Signs): void {
    const { logger, wake } = this.#ports;
    if (signs.corrupt && this.#signs?.corrupt !== true)
      logger.error(
        {},
        'CORRUPT is armed: a member has other data than the others; nothing is compacted, defragmented or disarmed until a person has looked',
      );
    if (signs.noSpace && this.#signs?.noSpace !== true) logger.error({}, 'NOSPACE is armed: etcd accepts no writes');
    if (!signs.noSpace && this.#signs?.noSpace === true) logger.info({}, 'NOSPACE is no longer armed');
    this.#signs = signs;
    const now = wordsOf(signs);
    // What has gone and comes back is new.
    this.#asked = new Set([...this.#asked].filter((word) => now.has(word)));
    if ([...now].some((word) => !this.#asked.has(word))) wake();
  }

  /**
   * Asks for a round when one is due and this daemon is the one that works.
   * @returns when to look again at the latest, by the wall clock
   */
  tick(nowMs: number, leadership: LeadershipState | undefined): number {
    const slotDue = nowMs >= this.#slotMs;
    this.#slotMs = this.#slots?.next(nowMs) ?? Infinity;
    this.#measure();
    if (this.#stopped || !this.#config.maintenance.enabled) return Infinity;
    if (!worksHere(leadership)) {
      // Whoever takes over acts on what it sees then.
      this.#asked = new Set();
      this.#pending = undefined;
      return this.#slotMs;
    }
    if (this.#run !== undefined) return this.#slotMs;
    const monotonicMs = this.#ports.clock.monotonicMs();
    const elected = leadership?.role === 'leader';
    const cause = this.#due(nowMs, monotonicMs, slotDue);
    if (cause !== undefined && this.#pending === undefined) {
      const delayMs = elected || !this.#config.coordinate ? 0 : this.#ports.random() * NOT_ELECTED_JITTER_MS;
      this.#pending = { cause, startAtMs: monotonicMs + delayMs };
    }
    if (this.#pending !== undefined && monotonicMs >= this.#pending.startAtMs) this.#start(this.#pending.cause, elected);
    return this.#nextLook(nowMs, monotonicMs);
  }

  status(): MaintenanceStatus {
    const run = this.#run;
    const progress = run === undefined ? undefined : this.#ports.board.get(run.job)?.progress;
    const next = Math.min(this.#slotMs, this.#againMs);
    return {
      enabled: this.#config.maintenance.enabled,
      signs: this.#signs,
      running: run && { sinceMs: run.sinceMs, cause: run.cause, step: progress?.step, subject: progress?.subject },
      nextMs: this.#config.maintenance.enabled && Number.isFinite(next) ? next : undefined,
      last: this.#last,
      error: this.#error,
    };
  }

  /** Starts nothing any more, and resolves when what runs has ended. */
  async close(): Promise<void> {
    this.#stopped = true;
    await this.#run?.promise;
  }

  #due(nowMs: number, monotonicMs: number, slotDue: boolean): Cause | undefined {
    const signs = this.#signs;
    const fresh = signs !== undefined && [...wordsOf(signs)].some((word) => !this.#asked.has(word));
    if (signs?.noSpace === true && (fresh || monotonicMs - this.#endedMs >= NO_SPACE_EVERY_MS)) return 'no-space';
    // A clock that was never set knows neither windows nor cooldowns.
    if (!clockIsSet(nowMs)) return undefined;
    if (fresh) return 'threshold';
    if (slotDue) return 'schedule';
    if (nowMs >= this.#againMs) return 'again';
    return monotonicMs >= this.#retryAtMs ? 'retry' : undefined;
  }

  #nextLook(nowMs: number, monotonicMs: number): number {
    if (this.#run !== undefined) return this.#slotMs;
    const { startAtMs = Infinity } = this.#pending ?? {};
    return Math.min(this.#slotMs, this.#againMs, nowMs + Math.min(startAtMs, this.#retryAtMs) - monotonicMs);
  }

  #start(cause: Cause, elected: boolean): void {
    const { board, clock, logger, wake, observe } = this.#ports;
    const { name: cluster } = this.#config;
    const signs = this.#signs;
    this.#pending = undefined;
    this.#againMs = Infinity;
    this.#retryAtMs = Infinity;
    if (signs !== undefined) this.#asked = wordsOf(signs);
    // The schedule is no news; what was crossed is.
    logger[cause === 'schedule' ? 'debug' : 'info']({ cause, crossed: signs?.crossed ?? [] }, 'maintenance begins');
    const submitted = board.submit(
      { verb: 'maintain', request: { cluster, wish: { kind: 'routine' }, elected } },
      { urgent: signs?.noSpace === true },
    );
    const promise = submitted.done
      .then((outcome) => {
        const summary = outcome.ok ? asRoundSummary(outcome.result) : undefined;
        if (summary !== undefined) this.#ended(summary, cause);
        else
          this.#failed(
            outcome.ok
              ? new WardenError('failed', 'the maintenance job answered what this version does not understand', {
                  hint: 'restart the daemon after an upgrade',
                })
              : outcome.error,
          );
      })
      .catch((error: unknown) => logger.error({ error: asError(error) }, 'maintenance ended unexpectedly'))
      .finally(() => {
        this.#run = undefined;
        this.#endedMs = clock.monotonicMs();
        this.#measure();
        if (this.#stopped) return;
        observe();
        wake();
      });
    this.#run = { job: submitted.id, sinceMs: clock.now(), cause, promise };
    this.#measure();
  }

  #ended(round: RoundSummary, cause: Cause): void {
    const { clock, logger, metrics } = this.#ports;
    const nowMs = clock.now();
    this.#rules = recordRound(metrics, this.#config.name, round, nowMs, this.#rules);
    const again = this.#last?.outcome === round.outcome && sameRules(this.#last, round);
    this.#last = { ...round, atMs: nowMs, cause };
    this.#error = undefined;
    if (round.againMs !== undefined) this.#againMs = Math.max(round.againMs, nowMs + SOONEST_MS);
    // After a surprise it is soon asked for the first time: how long to leave the cluster alone is the planner's to say.
    const passes = round.outcome === 'refused' && round.refusals.some(({ rule }) => PASSING.has(rule));
    this.#tries = passes ? this.#tries + 1 : 0;
    if (passes || round.outcome === 'failed') this.#retryLater(Math.max(1, this.#tries));
    const { outcome, actions, failure, refusals } = round;
    const fields = {
      outcome,
      ...(actions.length > 0 ? { actions: actions.map(({ action, member, tookMs }) => ({ action, member, tookMs })) } : {}),
      ...(refusals.length > 0 ? { refusals: refusals.map(({ rule, member, message }) => ({ rule, member, message })) } : {}),
    };
    if (outcome === 'failed') logger.error({ ...fields, error: failure }, 'maintenance was ended by a surprise; it is tried again later');
    else if (outcome === 'refused' && !again) logger.warn(fields, 'maintenance is refused');
    else logger[actions.length > 0 ? 'info' : 'debug'](fields, 'maintenance has ended');
  }

  /** A schedule comes again by itself; what a threshold asks for is not left until then. */
  #retryLater(attempt: number): void {
    const { clock, random } = this.#ports;
    if (this.#signs === undefined || wordsOf(this.#signs).size === 0) return;
    this.#retryAtMs = clock.monotonicMs() + Math.min(LONGEST_RETRY_MS, retryDelayMs(FIRST_RETRY_MS, attempt, random));
  }

  /** It came to no plan. */
  #failed(error: WardenError): void {
    const { clock, logger, metrics } = this.#ports;
    if (error.code === 'interrupted') {
      // By the stop of the daemon; or somebody ended the job alone.
      this.#retryLater(1);
      return;
    }
    const nowMs = clock.now();
    recordRoundError(metrics, this.#config.name, error);
    const again = this.#error?.code === error.code && this.#error.message === error.message;
    this.#error = { atMs: nowMs, code: error.code, message: error.message, hint: error.hint };
    this.#tries += 1;
    this.#retryLater(this.#tries);
    logger[again ? 'debug' : 'warn']({ error }, 'maintenance could not be done; it is tried again');
  }

  #measure(): void {
    const { board, metrics } = this.#ports;
    const { name: cluster, maintenance } = this.#config;
    const progress = this.#run === undefined ? undefined : board.get(this.#run.job)?.progress;
    metrics.set('etcd_warden_maintenance_running', { cluster }, this.#run === undefined ? 0 : 1);
    metrics.set('etcd_warden_defrag_overdue', { cluster }, progress?.overdue === true ? 1 : 0);
    if (maintenance.enabled && Number.isFinite(this.#slotMs))
      metrics.set('etcd_warden_maintenance_next_timestamp_seconds', { cluster }, this.#slotMs / 1000);
  }
}

/** With the members that answer while anything is to be done: the one that comes back may make it possible. */
function wordsOf({ noSpace, crossed, reachable }: Signs): ReadonlySet<string> {
  const wanted = [...(noSpace ? ['no-space'] : []), ...crossed];
  return new Set(wanted.length === 0 ? [] : [...wanted, ...reachable.map((member) => `up ${member}`)]);
}

function sameRules(a: RoundSummary, b: RoundSummary): boolean {
  const words = ({ refusals }: RoundSummary): string => JSON.stringify(refusals.map(({ rule, member }) => [rule, member]));
  return words(a) === words(b);
}
