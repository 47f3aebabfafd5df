/** The job's side of the IPC channel: waits for `start`, runs it, answers once, ends. */
import { constants, setPriority } from 'node:os';
import { WardenError, asError } from '../errors.ts';
import type { Config } from '../config/types.ts';
import type { ChildMessage, JobContext, JobRequest, ProgressEvent } from '../jobs/types.ts';
import { fieldsForLog, serializeError } from '../telemetry/fields.ts';
import type { Logger } from '../telemetry/logger.ts';
import { parseParentMessage } from './messages.ts';

export type RunJob = (job: JobRequest, context: JobContext) => Promise<unknown>;

/** Time for a job whose daemon died to leave nothing half-done (abort uploads, remove its spool). */
const ORPHAN_MS = 5_000;
/** Progress is for people and the watchdog: more often than this is only work. */
const PROGRESS_MS = 250;

/** Jobs that nobody waits for: etcd beside them, and a backup of another cluster, come first. */
const AT_LOW_PRIORITY: ReadonlySet<JobRequest['verb']> = new Set<JobRequest['verb']>(['drill', 'index', 'verify']);

export interface ServeOptions {
  /** Imported when the job is known, so that a child that waits weighs little. */
  readonly load: () => Promise<{ runJob: RunJob; unpackConfig: (packed: string) => Config }>;
}

export function serveJob(options: ServeOptions): void {
  const controller = new AbortController();
  const abort = (reason: string): void =>
    controller.abort(new WardenError('interrupted', reason, { hint: 'nothing half-written is visible; the next run sweeps what is left' }));
  let started = false;

  process.on('message', (value) => {
    const message = parseParentMessage(value);
    if (message === undefined) {
      if (!started)
        void answer({
          type: 'error',
          code: 'failed',
          message: 'the daemon sent what this version does not understand',
          hint: 'restart the daemon after an upgrade',
        });
      return;
    }
    if (message.type === 'stop') {
      abort('the daemon stops');
      return;
    }
    if (started) return;
    started = true;
    if (AT_LOW_PRIORITY.has(message.job.verb)) setLowPriority();
    process.title = `etcd-warden ${message.job.verb} ${message.job.request.cluster}`;
    // Credentials of the default chain: not in the environment that /proc shows, which is the one the process was started with.
    Object.assign(process.env, message.environment);
    void run(options, message.job, message.configuration, controller.signal).then(answer);
  });
  // The daemon died: nobody would publish or record what this job makes.
  process.on('disconnect', () => {
    abort('the daemon is gone');
    setTimeout(() => process.exit(130), ORPHAN_MS).unref();
    if (!started) process.exit(130);
  });
  process.on('SIGTERM', () => abort('stopped by SIGTERM'));
  // Ctrl-C reaches the whole foreground group; the daemon decides what becomes of its jobs.
  process.on('SIGINT', () => {});
}

async function run(options: ServeOptions, job: JobRequest, configuration: string, signal: AbortSignal): Promise<ChildMessage> {
  try {
    const { runJob, unpackConfig } = await options.load();
    const result = await runJob(job, {
      config: unpackConfig(configuration),
      logger: ipcLogger({}),
      signal,
      progress: throttledProgress(),
      now: () => new Date(),
    });
    return { type: 'result', result };
  } catch (error) {
    return { type: 'error', ...serializeError(asError(error)) };
  }
}

function setLowPriority(): void {
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // Not allowed in here: then it is done at the priority that it has.
  }
}

/** Sends the last message and ends the process, whatever handles a library left open. */
async function answer(message: ChildMessage): Promise<void> {
  await new Promise<void>((resolve) => {
    if (!process.connected || process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
  process.exit(message.type === 'result' ? 0 : 1);
}

function send(message: ChildMessage): void {
  // A failure means that the daemon is gone; `disconnect` deals with that.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

function ipcLogger(bound: Readonly<Record<string, unknown>>): Logger {
  const log = (level: 'debug' | 'info' | 'warn' | 'error') => (fields: Readonly<Record<string, unknown>>, message: string) =>
    send({ type: 'log', level, fields: fieldsForLog({ ...bound, ...fields }), message });
  return {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    child: (fields) => ipcLogger({ ...bound, ...fields }),
  };
}

/** Every new step at once, bytes of the same step at most a few times a second. */
function throttledProgress(): (event: ProgressEvent) => void {
  let last = -Infinity;
  let step = '';
  return (event) => {
    const now = performance.now();
    const key = `${event.step} ${event.subject ?? ''}`;
    if (key === step && now - last < PROGRESS_MS) return;
    step = key;
    last = now;
    send({ type: 'progress', event });
  };
}
