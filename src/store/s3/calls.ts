/** One call on the bucket: deadline, attempts, pauses, renewed credentials. Everything the store does goes through here. */
import type { S3Client } from '@aws-sdk/client-s3';
import { WardenError } from '../../errors.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { orAbort } from '../follow.ts';
import { wait } from '../pace.ts';
import type { Clients } from './client.ts';
import { diagnose, faultError, type Diagnosis } from './faults.ts';
import type { Tuning } from './tuning.ts';

export interface CallSettings {
  readonly signal: AbortSignal;
  /** For one attempt, ms; default: the configured request timeout. */
  readonly deadlineMs?: number;
  /** Faults that the caller settles itself: they are thrown as {@link CallFault} at once. */
  readonly expects?: readonly Diagnosis['fault'][];
}

/** An attempt's own signal: aborted by the caller or by the deadline. */
export type Attempt<T> = (client: S3Client, signal: AbortSignal) => Promise<T>;

/** How a call ended that the caller wants to judge itself. */
export class CallFault extends Error {
  readonly diagnosis: Diagnosis;

  constructor(diagnosis: Diagnosis, cause: unknown) {
    super(diagnosis.message, { cause });
    this.name = 'CallFault';
    this.diagnosis = diagnosis;
  }
}

export interface Calls {
  readonly tuning: Tuning;
  readonly requestTimeoutMs: number;
  readonly retries: number;
  readonly location: string;
  /** Runs until it succeeds, fails for good, or failed `retries` times more. */
  call<T>(what: string, attempt: Attempt<T>, settings: CallSettings): Promise<T>;
  /** Waits before attempt number `failures + 1`. */
  pause(failures: number, signal: AbortSignal): Promise<void>;
}

/** A renewal that does not help is not repeated: the second refusal is shown. */
const MAX_RENEWALS = 2;

export function createCalls(
  clients: Clients,
  options: {
    readonly location: string;
    readonly requestTimeoutMs: number;
    readonly retries: number;
    readonly logger: Logger;
    readonly tuning: Tuning;
  },
): Calls {
  const { location, logger, tuning } = options;

  async function call<T>(what: string, attempt: Attempt<T>, settings: CallSettings): Promise<T> {
    let renewals = 0;
    let movedTo: string | undefined;
    for (let failures = 0; ;) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
        return await withDeadline(settings.signal, settings.deadlineMs ?? options.requestTimeoutMs, (signal) =>
          attempt(clients.current(), signal),
        );
      } catch (error) {
        if (settings.signal.aborted) throw settings.signal.reason;
        if (error instanceof WardenError) throw error;
        const diagnosis = diagnose(error);
        const { fault, code, status, region } = diagnosis;
        if (settings.expects?.includes(fault) === true) throw new CallFault(diagnosis, error);
        if (fault === 'expired' && renewals < MAX_RENEWALS) {
          renewals++;
          clients.renew();
        } else if (fault === 'region' && region !== undefined && movedTo === undefined) {
          movedTo = region;
          clients.moveTo(region);
        } else if (fault === 'transient' && failures < options.retries) {
          failures++;
          // oxlint-disable-next-line no-await-in-loop -- the point of it
          await pause(failures, settings.signal);
        } else {
          // The SDK learns a wrong clock and would sign the next call with a corrected one; backups are named after this clock, so it stays an error.
          if (fault === 'clock') clients.renew();
          throw faultError(diagnosis, `${location}: ${what}`, failures + 1, error);
        }
        logger.debug({ call: what, code, status, failures }, 'a call on the bucket failed and is tried again');
      }
    }
  }

  async function pause(failures: number, signal: AbortSignal): Promise<void> {
    const full = Math.min(tuning.firstPauseMs * 2 ** (failures - 1), tuning.longestPauseMs);
    // At random, so that many daemons that were cut off at once do not come back at once.
    await wait(full * (0.5 + Math.random() / 2), signal);
  }

  return { tuning, requestTimeoutMs: options.requestTimeoutMs, retries: options.retries, location, call, pause };
}

/**
 * Runs `work` with a signal that also aborts at the deadline. The result is raced against it: not everything in the SDK
 * listens to a signal (credentials do not).
 */
export async function withDeadline<T>(signal: AbortSignal, ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => controller.abort(timeoutError(ms)), ms);
  try {
    return await orAbort(work(controller.signal), controller.signal);
  } catch (error) {
    // Whatever the SDK made of the abort, the reason says more.
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** The error of an attempt that took too long or stood still. */
export function timeoutError(ms: number): Error {
  return Object.assign(new Error(`no end after ${Math.round(ms / 100) / 10} s`), { name: 'TimeoutError' });
}
