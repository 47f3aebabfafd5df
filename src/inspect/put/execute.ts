/**
 * Carries a plan out: batch after batch, each a transaction on the condition that its keys are still as they were shown. Not atomic beyond one batch.
 * Whatever is not certain is read again before anything is repeated, so an interrupted run can simply be started again: what was put is equal then.
 */
import { asError, WardenError } from '../../errors.ts';
import { keyText, type ConditionalPut, type KeysClient } from '../../etcd/keys.ts';
import type { KeyDirectory } from '../types.ts';
import { batchesOf } from './batches.ts';
import type { Change, Put } from './types.ts';

/** How often a batch is sent when its answers are lost, or its keys change under our hands. */
const TRIES = 4;
/** etcd's own words for a transaction above --max-request-bytes or --max-txn-ops, which may be set lower than their defaults. */
const TOO_LARGE = /request is too large|too many operations/;

export interface ExecuteRequest {
  readonly changes: readonly Change[];
  readonly directory: KeyDirectory;
  readonly live: Pick<KeysClient, 'read' | 'put'>;
  /** Called after every batch. */
  readonly onProgress?: ((done: number) => void) | undefined;
  /** Ends the work between two batches; a transaction under way is waited for. */
  readonly signal: AbortSignal;
}

export interface Executed {
  /** One for each change, in their order. */
  readonly puts: readonly Put[];
  /** Why the work ended before its end. */
  readonly stopped: WardenError | undefined;
}

/** What was found out about some changes of a batch. */
type Outcomes = Map<Change, Put>;

/** Never throws: a failure is told beside what was put before it. */
export async function executePut(request: ExecuteRequest): Promise<Executed> {
  const { changes, signal } = request;
  const outcomes: Outcomes = new Map();
  const batches = batchesOf(changes, ({ entry, revision }) => ({ keyBytes: entry.key.length, valueBytes: revision.valueBytes }));
  let stopped: WardenError | undefined;
  for (const batch of batches) {
    if (signal.aborted) stopped = interrupted(signal);
    else stopped = await carryOut(batch, request, outcomes);
    if (stopped !== undefined) break;
    request.onProgress?.(outcomes.size);
  }
  const reason = stopped?.message;
  return {
    puts: changes.map((change) => outcomes.get(change) ?? { change, outcome: 'not-tried', ...(reason === undefined ? {} : { reason }) }),
    stopped,
  };
}

/** @returns why nothing further should be tried */
async function carryOut(batch: readonly Change[], request: ExecuteRequest, outcomes: Outcomes): Promise<WardenError | undefined> {
  let puts: ReadonlyMap<Change, ConditionalPut>;
  try {
    puts = await readValues(batch, request);
  } catch (error) {
    return known(error);
  }
  let left = batch;
  let failure: WardenError | undefined;
  /** An earlier try may have been carried out with its answer lost: what is equal afterwards is then our own work. */
  let ours = false;
  for (let attempt = 1; left.length > 0 && attempt <= TRIES; attempt++) {
    const sent = left;
    const result = await send(sent, puts, request);
    if (result instanceof WardenError) {
      if (!TOO_LARGE.test(result.message)) return refused(sent, result, puts, request, outcomes);
      if (sent.length > 1) return (await half(sent, 0, request, outcomes)) ?? (await half(sent, 1, request, outcomes));
      for (const change of sent) outcomes.set(change, { change, outcome: 'failed', reason: result.message });
      return undefined;
    }
    if (result.outcome === 'put') {
      for (const change of sent) outcomes.set(change, { change, outcome: 'put' });
      return undefined;
    }
    failure = result.outcome === 'unclear' ? result.error : undefined;
    try {
      ours ||= failure !== undefined;
      left = await lookAgain(sent, puts, request, outcomes, ours);
    } catch (error) {
      // Refused as a whole, so nothing of it was written.
      return ours ? lost(sent, failure ?? known(error), outcomes) : known(error);
    }
  }
  if (left.length === 0) return undefined;
  if (failure !== undefined) return lost(left, failure, outcomes);
  // Others write these keys faster than we look: each of them is newer than what was shown.
  for (const change of left) outcomes.set(change, { change, outcome: 'conflict', reason: 'it changes all the time' });
  return undefined;
}

/**
 * Nothing further is tried. A member that finds its quota exceeded while it applies a transaction raises the alarm and answers with the error, and has
 * carried the transaction out all the same (etcd's quotaApplierV3); so only a look tells.
 */
async function refused(
  changes: readonly Change[],
  refusal: WardenError,
  puts: ReadonlyMap<Change, ConditionalPut>,
  request: ExecuteRequest,
  outcomes: Outcomes,
): Promise<WardenError> {
  if (refusal.code !== 'no-space') return told(changes, refusal);
  try {
    return told(await lookAgain(changes, puts, request, outcomes, true), refusal);
  } catch {
    // The refusal says more than the failed look.
    return lost(changes, refusal, outcomes);
  }

  function told(left: readonly Change[], error: WardenError): WardenError {
    for (const change of left) outcomes.set(change, { change, outcome: 'failed', reason: error.message });
    return error;
  }
}

function half(batch: readonly Change[], which: 0 | 1, request: ExecuteRequest, outcomes: Outcomes): Promise<WardenError | undefined> {
  const middle = batch.length >> 1;
  return carryOut(which === 0 ? batch.slice(0, middle) : batch.slice(middle), request, outcomes);
}

/** Whether they were written is not known: the next run will see. */
function lost(changes: readonly Change[], error: WardenError, outcomes: Outcomes): WardenError {
  for (const change of changes) outcomes.set(change, { change, outcome: 'failed', reason: `it may have been put: ${error.message}` });
  return error;
}

async function send(
  changes: readonly Change[],
  puts: ReadonlyMap<Change, ConditionalPut>,
  { live }: ExecuteRequest,
): Promise<Awaited<ReturnType<KeysClient['put']>> | WardenError> {
  try {
    // Without the signal: whoever presses Ctrl-C is told what came of the transaction under way, which has its deadline.
    return await live.put(
      changes.flatMap((change) => puts.get(change) ?? []),
      undefined,
    );
  } catch (error) {
    return known(error);
  }
}

/**
 * Sorts the changes of a batch that was not put, or may have been: equal now, changed by somebody else, or still as they were shown.
 * @param ours an earlier try of this run may have put them
 * @returns those that are still as they were shown
 */
async function lookAgain(
  changes: readonly Change[],
  puts: ReadonlyMap<Change, ConditionalPut>,
  { live }: ExecuteRequest,
  outcomes: Outcomes,
  ours: boolean,
): Promise<readonly Change[]> {
  const found = await live.read(
    changes.map(({ entry }) => entry.key),
    undefined,
  );
  return changes.filter((change) => {
    const now = found.get(keyText(change.entry.key));
    if ((now?.modRevision ?? 0n) === change.liveModRevision) return true;
    const equal = now !== undefined && now.value.equals(puts.get(change)?.value ?? Buffer.alloc(0));
    if (equal) outcomes.set(change, { change, outcome: ours ? 'put' : 'already-there' });
    else outcomes.set(change, { change, outcome: 'conflict', reason: newer(change, now?.modRevision) });
    return false;
  });
}

function newer({ liveModRevision }: Change, now: bigint | undefined): string {
  if (now === undefined) return `it was deleted after it was shown at mod revision ${liveModRevision}`;
  return liveModRevision === 0n
    ? `it was created at mod revision ${now}, after it was shown as absent`
    : `it was changed at mod revision ${now}, after it was shown at ${liveModRevision}`;
}

async function readValues(batch: readonly Change[], { directory, signal }: ExecuteRequest): Promise<Map<Change, ConditionalPut>> {
  const puts = new Map<Change, ConditionalPut>();
  for (const change of batch) {
    const { entry, revision, liveModRevision: modRevision, lease } = change;
    const value = Buffer.from(await directory.value(entry, revision, signal));
    puts.set(change, { key: entry.key, value, modRevision, lease });
  }
  return puts;
}

function known(error: unknown): WardenError {
  return error instanceof WardenError ? error : new WardenError('failed', asError(error).message, { cause: error });
}

function interrupted(signal: AbortSignal): WardenError {
  return signal.reason instanceof WardenError ? signal.reason : new WardenError('interrupted', 'putting keys was stopped');
}
