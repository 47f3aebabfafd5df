/**
 * All jobs of the daemon: queued, running and lately done. Three lanes, so that a long copy never makes a backup late: heavy jobs (one at a
 * time unless configured otherwise), copies, and the light ones that only list and delete. Two jobs of one cluster in the light lane and the
 * copy lane never overlap: whoever submits them waits for each.
 *
 * Maintenance has a lane of its own, and never runs beside a job that reads the same cluster: the lock in etcd would only refuse the second of them. Of
 * two that wait, the backup comes first, but for the cure of a cluster that accepts no writes; and that overtakes a backup only so often.
 */
import { randomUUID } from 'node:crypto';
import { WardenError, asError, type ErrorCode } from '../errors.ts';
import type { JobRequest, ProgressEvent } from '../jobs/types.ts';
import { codeLabel, type Metrics } from '../telemetry/metrics.ts';
import type { Clock } from './clock.ts';

export type Outcome = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly error: WardenError };

export interface JobView {
  readonly id: string;
  readonly verb: JobRequest['verb'];
  readonly cluster: string;
  readonly state: 'queued' | 'running' | 'done' | 'failed';
  readonly queuedAtMs: number;
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly progress: ProgressEvent | undefined;
  readonly outcome: Outcome | undefined;
}

export interface Submitted {
  readonly id: string;
  /** Never rejects. */
  readonly done: Promise<Outcome>;
}

export type Runner = (
  job: JobRequest,
  hooks: { signal: AbortSignal; progress: (event: ProgressEvent) => void; alive: () => void },
) => Promise<unknown>;

export interface Board {
  /** @param options.urgent the cluster accepts no writes: goes before a backup of it that waits, and past the limit of its lane */
  submit(job: JobRequest, options?: { readonly urgent?: boolean }): Submitted;
  /** The queued or running job of this verb and cluster. */
  find(verb: JobRequest['verb'], cluster: string): Submitted | undefined;
  get(id: string): JobView | undefined;
  /** Queued and running ones first, then done ones, newest first. */
  list(): readonly JobView[];
  readonly running: number;
  /** How long the most silent of the running jobs has been so; 0 when none runs. */
  longestSilenceMs(): number;
  setHeavyLimit(limit: number): void;
  /** No new job starts; queued ones end as interrupted, running ones may go on. Resolves when none runs. */
  close(): Promise<void>;
  /** Asks every running job to stop. */
  stop(reason: string): void;
}

type Lane = 'heavy' | 'copy' | 'light' | 'maintenance';
const LANES: Readonly<Record<JobRequest['verb'], Lane>> = {
  backup: 'heavy',
  verify: 'heavy',
  drill: 'heavy',
  maintain: 'maintenance',
  copy: 'copy',
  prove: 'heavy',
  index: 'heavy',
  prune: 'light',
  survey: 'light',
  sweep: 'light',
};
/** Backups before everything; what only tidies last. */
const ORDER: Readonly<Record<JobRequest['verb'], number>> = {
  backup: 0,
  maintain: 0,
  survey: 1,
  prune: 2,
  prove: 3,
  copy: 3,
  verify: 3,
  drill: 3,
  index: 4,
  sweep: 4,
};
const REMEMBERED = 100;
/** Rounds of different clusters at a time: one may wait long for a member that does not come back. */
const ROUNDS = 2;
/** Urgent rounds that may overtake one backup: the cure is tried at most every few minutes, and a backup that never comes would be no better. */
const OVERTAKEN_AT_MOST = 2;
/** What must not run beside maintenance of the same cluster: it reads from a member. */
const READS: ReadonlySet<JobRequest['verb']> = new Set<JobRequest['verb']>(['backup', 'prove']);

interface Entry {
  view: JobView;
  /** Monotonic. */
  aliveMs: number;
  /** Urgent rounds that were started while it waited. */
  overtaken: number;
  readonly urgent: boolean;
  readonly job: JobRequest;
  readonly controller: AbortController;
  readonly done: Promise<Outcome>;
  readonly settle: (outcome: Outcome) => void;
}

export function createBoard(run: Runner, clock: Clock, metrics: Metrics): Board {
  const limits: Record<Lane, number> = { heavy: 1, copy: 1, light: 1, maintenance: ROUNDS };
  const entries = new Map<string, Entry>();
  const idle: (() => void)[] = [];
  let closed = false;

  const inState = (state: JobView['state']): Entry[] => [...entries.values()].filter((entry) => entry.view.state === state);

  function change(entry: Entry, part: Partial<JobView>): void {
    entry.view = { ...entry.view, ...part };
  }

  function pump(): void {
    for (const lane of Object.keys(limits) as Lane[]) {
      const waiting = inState('queued').filter((entry) => LANES[entry.view.verb] === lane);
      waiting.sort((a, b) => ORDER[a.view.verb] - ORDER[b.view.verb]); // stable: first come, first served within a verb
      for (const entry of waiting) {
        const taken = inState('running').filter((one) => LANES[one.view.verb] === lane).length;
        if ((taken < limits[lane] || entry.urgent) && !mustWait(entry)) void start(entry);
      }
    }
    metrics.set('etcd_warden_jobs_running', {}, inState('running').length);
    metrics.set('etcd_warden_jobs_queued', {}, inState('queued').length);
    if (inState('running').length === 0) for (const resolve of idle.splice(0)) resolve();
  }

  /** For another job of the same cluster. */
  function mustWait({ view: { verb, cluster }, urgent }: Entry): boolean {
    const of = (state: JobView['state']): Entry[] => inState(state).filter(({ view }) => view.cluster === cluster);
    if (READS.has(verb)) return of('running').some(({ view }) => view.verb === 'maintain');
    if (verb !== 'maintain') return false;
    if (of('running').some(({ view }) => view.verb === 'maintain' || READS.has(view.verb))) return true;
    return of('queued').some(({ view, overtaken }) => view.verb === 'backup' && !(urgent && overtaken < OVERTAKEN_AT_MOST));
  }

  async function start(entry: Entry): Promise<void> {
    change(entry, { state: 'running', startedAtMs: clock.now() });
    if (entry.urgent)
      for (const other of inState('queued'))
        if (other.view.verb === 'backup' && other.view.cluster === entry.view.cluster) other.overtaken += 1;
    let outcome: Outcome;
    try {
      const alive = (): void => void (entry.aliveMs = clock.monotonicMs());
      alive();
      const result = await run(entry.job, { signal: entry.controller.signal, progress: (progress) => change(entry, { progress }), alive });
      outcome = { ok: true, result };
    } catch (thrown) {
      outcome = { ok: false, error: asWardenError(thrown) };
    }
    finish(entry, outcome);
  }

  function finish(entry: Entry, outcome: Outcome): void {
    change(entry, { state: outcome.ok ? 'done' : 'failed', endedAtMs: clock.now(), outcome });
    metrics.add('etcd_warden_jobs_total', { verb: entry.view.verb, outcome: outcomeLabel(outcome) });
    entry.settle(outcome);
    const ended = [...inState('done'), ...inState('failed')].sort((a, b) => (a.view.endedAtMs ?? 0) - (b.view.endedAtMs ?? 0));
    for (const old of ended.slice(0, Math.max(0, ended.length - REMEMBERED))) entries.delete(old.view.id);
    pump();
  }

  return {
    submit(job, { urgent = false } = {}) {
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      const view: JobView = {
        id: randomUUID(),
        verb: job.verb,
        cluster: job.request.cluster,
        state: 'queued',
        queuedAtMs: clock.now(),
        startedAtMs: undefined,
        endedAtMs: undefined,
        progress: undefined,
        outcome: undefined,
      };
      const entry: Entry = {
        view,
        aliveMs: clock.monotonicMs(),
        overtaken: 0,
        urgent,
        job,
        controller: new AbortController(),
        done: promise,
        settle: resolve,
      };
      entries.set(view.id, entry);
      if (closed) finish(entry, { ok: false, error: new WardenError('interrupted', 'the daemon stops') });
      else pump();
      return { id: view.id, done: promise };
    },
    find(verb, cluster) {
      const entry = [...inState('running'), ...inState('queued')].find(({ view }) => view.verb === verb && view.cluster === cluster);
      return entry === undefined ? undefined : { id: entry.view.id, done: entry.done };
    },
    get: (id) => entries.get(id)?.view,
    list() {
      const views = [...entries.values()].map((entry) => entry.view);
      const active = (view: JobView): boolean => view.state === 'queued' || view.state === 'running';
      return [...views.filter(active), ...views.filter((view) => !active(view)).sort((a, b) => (b.endedAtMs ?? 0) - (a.endedAtMs ?? 0))];
    },
    get running() {
      return inState('running').length;
    },
    longestSilenceMs: () => Math.max(0, ...inState('running').map((entry) => clock.monotonicMs() - entry.aliveMs)),
    setHeavyLimit(limit) {
      limits.heavy = Math.max(1, limit);
      pump();
    },
    async close() {
      closed = true;
      for (const entry of inState('queued')) finish(entry, { ok: false, error: new WardenError('interrupted', 'the daemon stops') });
      if (inState('running').length > 0) await new Promise<void>((resolve) => idle.push(resolve));
    },
    stop(reason) {
      for (const entry of inState('running')) entry.controller.abort(new WardenError('interrupted', reason));
    },
  };
}

function asWardenError(thrown: unknown): WardenError {
  return thrown instanceof WardenError ? thrown : new WardenError(codeLabel(thrown), asError(thrown).message, { cause: thrown });
}

const ENDS: Partial<Record<ErrorCode, string>> = { 'job-crashed': 'crashed', 'job-stalled': 'stalled', interrupted: 'stopped' };

function outcomeLabel(outcome: Outcome): string {
  if (outcome.ok) return 'ok';
  return ENDS[outcome.error.code] ?? 'failed';
}
