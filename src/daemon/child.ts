/** The daemon's side of a job: one child process, its messages, and an end in every case. */
import { fork, type ChildProcess } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ERRORS, WardenError, type ErrorCode } from '../errors.ts';
import type { JobRequest, ParentMessage, ProgressEvent } from '../jobs/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import { environmentOverIpc, inheritedEnvironment } from './environment.ts';
import { parseChildMessage } from './messages.ts';

export interface ChildOptions {
  readonly job: JobRequest;
  /** What packConfig made; secrets included. */
  readonly configuration: string;
  readonly logger: Logger;
  readonly progress: (event: ProgressEvent) => void;
  /** Told of every message: the job lives. */
  readonly alive?: () => void;
  /** Aborted: asks the job to stop, then insists. */
  readonly signal: AbortSignal;
  /** From the request to stop until SIGTERM, and from there until SIGKILL. */
  readonly stopMs?: () => number;
  /** Without any message for this long the job is ended. */
  readonly stallMs?: number;
  readonly environment?: NodeJS.ProcessEnv;
  /** The program; the real one when not given. */
  readonly main?: string;
}

/** Streams, uploads and prunes report far more often; longer than the longest time limit of a single request in them. */
export const STALL_MS = 15 * 60_000;
const STOP_MS = 5_000;
/** As bin/start.cjs does for a single backup. In MiB: V8 would let up to 64 MiB of dead objects pile up, which no job needs, and share the work of collecting 2. */
const SMALL_YOUNG_GENERATION = ['--max-semi-space-size=2', '--single-threaded-gc'];
/** After its answer a job has nothing left to do but exit. */
const EXIT_MS = 10_000;
const STDERR_KEPT = 4_096;

/** Runs from a checkout (.ts) and from dist (.js) alike. */
const CHILD_MAIN = fileURLToPath(new URL(`./child-main${extname(import.meta.url)}`, import.meta.url));

/**
 * Runs a job to its end.
 * @returns its result, unchecked
 * @throws WardenError what the job threw; `job-crashed`, `job-stalled`, or `interrupted` when it was told to stop
 */
export async function runInChild(options: ChildOptions): Promise<unknown> {
  const environment = options.environment ?? process.env;
  if (options.signal.aborted) throw interrupted(options.job);
  const child = fork(options.main ?? CHILD_MAIN, [], {
    env: inheritedEnvironment(environment),
    execArgv: [
      ...process.execArgv.filter((flag) => !flag.startsWith('--inspect') && !flag.startsWith('--input-type') && !flag.startsWith('--eval')),
      ...SMALL_YOUNG_GENERATION,
    ],
    serialization: 'json',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const start: ParentMessage = {
    type: 'start',
    job: options.job,
    configuration: options.configuration,
    environment: environmentOverIpc(environment),
  };
  const timers = new Set<NodeJS.Timeout>();
  const later = (ms: number, act: () => void): NodeJS.Timeout => {
    const timer = setTimeout(act, ms);
    timers.add(timer);
    return timer;
  };
  const stop = (): void => {
    send(child, { type: 'stop' });
    const stopMs = options.stopMs?.() ?? STOP_MS;
    later(stopMs, () => child.kill('SIGTERM'));
    later(stopMs * 1.5, () => child.kill('SIGKILL'));
  };
  // A second signal ends the daemon at once, and its jobs with it.
  const dieToo = (): void => void child.kill('SIGKILL');
  process.once('exit', dieToo);
  options.signal.addEventListener('abort', stop, { once: true });
  try {
    return await conversation(child, start, options, later);
  } finally {
    options.signal.removeEventListener('abort', stop);
    process.off('exit', dieToo);
    for (const timer of timers) clearTimeout(timer);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  }
}

function conversation(
  child: ChildProcess,
  start: ParentMessage,
  options: ChildOptions,
  later: (ms: number, act: () => void) => NodeJS.Timeout,
): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  let outcome: { result: unknown } | { error: WardenError } | undefined;
  let stalled = false;
  let complaint = '';
  let ended = false;
  const stall = later(options.stallMs ?? STALL_MS, () => {
    stalled = true;
    child.kill('SIGKILL');
  });

  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-STDERR_KEPT)));
  child.on('message', (value) => {
    stall.refresh();
    options.alive?.();
    const message = parseChildMessage(value);
    if (message === undefined)
      options.logger.warn({}, 'a job sent what this version does not understand; restart the daemon after an upgrade');
    else if (message.type === 'progress') options.progress(message.event);
    else if (message.type === 'log') options.logger[message.level](message.fields, message.message);
    else {
      outcome ??= message.type === 'result' ? { result: message.result } : { error: errorFrom(message) };
      later(EXIT_MS, () => child.kill('SIGKILL'));
    }
  });
  child.on('error', (error) => {
    // fork failed (no memory, no processes left), or a message could not be sent; the second is followed by `close`.
    if (child.pid === undefined)
      reject(
        new WardenError('job-crashed', `the ${start.type === 'start' ? start.job.verb : ''} job could not be started: ${error.message}`, {
          cause: error,
        }),
      );
  });
  // `close` and not `exit`: by then the last message and stderr have been read.
  child.on('close', (code, signal) => {
    if (ended) return;
    ended = true;
    if (outcome !== undefined && 'result' in outcome) resolve(outcome.result);
    else if (outcome !== undefined) reject(outcome.error);
    else if (stalled)
      reject(
        new WardenError(
          'job-stalled',
          `the ${options.job.verb} job gave no sign of progress for ${Math.round((options.stallMs ?? STALL_MS) / 1000)} s and was ended`,
        ),
      );
    else if (options.signal.aborted) reject(interrupted(options.job));
    else reject(crashed(options.job, code, signal, complaint));
  });
  send(child, start);
  return promise;
}

function send(child: ChildProcess, message: ParentMessage): void {
  // A child that is already gone is reported by `close`.
  if (child.connected) child.send(message, undefined, undefined, () => {});
}

function errorFrom(message: { code: string; message: string; hint?: string | undefined }): WardenError {
  const code = Object.hasOwn(ERRORS, message.code) ? (message.code as ErrorCode) : 'failed';
  return new WardenError(code, message.message, { hint: message.hint });
}

function interrupted(job: JobRequest): WardenError {
  return new WardenError('interrupted', `the ${job.verb} job of ${job.request.cluster} was stopped`);
}

/** Names the signal, and an out-of-memory by its name: V8 aborts after saying so, the kernel kills without a word. */
function crashed(job: JobRequest, code: number | null, signal: NodeJS.Signals | null, complaint: string): WardenError {
  const heap = /heap out of memory|Allocation failed/i.test(complaint);
  const how = signal === null ? `exit code ${code}` : signal;
  const last = complaint
    .trim()
    .split('\n')
    .findLast((line) => /error|fatal/i.test(line))
    ?.trim()
    .slice(0, 200);
  const hint = heap
    ? 'the job ran out of memory: V8 said that its heap is full'
    : signal === 'SIGKILL'
      ? "perhaps the kernel's out-of-memory killer: see the kernel log and the memory limit of the service or container"
      : undefined;
  return new WardenError(
    'job-crashed',
    `the ${job.verb} job of ${job.request.cluster} ended by ${how} without a result${last === undefined ? '' : `: ${last}`}`,
    { hint },
  );
}
