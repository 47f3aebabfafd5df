/**
 * One attempt: one member's stream, sealed into the spool, going up to every store while it still runs.
 * Nothing is visible anywhere before the trailer and the length were right and the true revision was read from the file.
 */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { takeSnapshot, TRAILER_LENGTH, type Intake } from '../../archive/intake.ts';
import { createSealer, type SealedFigures, type Sealer } from '../../archive/sealer.ts';
import { collectAll } from '../../archive/young-garbage.ts';
import { openSealed, type OpenArchive } from '../../archive/open.ts';
import { createScratch } from '../../archive/scratch.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import type { MemberClient } from '../../etcd/member.ts';
import { asError, errorDetails, WardenError } from '../../errors.ts';
import { createExamination } from '../../mvcc/examination/examination.ts';
import type { Examination, Examined } from '../../mvcc/examination/types.ts';
import { readHead, type Head } from '../../mvcc/head.ts';
import type { GrowingFile, Store, StoredObject } from '../../store/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { ProgressEvent, StoreResult } from '../types.ts';

const PROGRESS_INTERVAL_MS = 100;

export interface AttemptOptions {
  readonly client: MemberClient;
  readonly member: string;
  readonly key: string;
  readonly spoolFolder: string;
  readonly spoolName: string;
  readonly stores: readonly Store[];
  readonly recipients: readonly string[];
  /** From Status: what the plain file will take about. */
  readonly expectedBytes: number;
  /** Bytes per second, 0 = unlimited. */
  readonly maxRate: number;
  /** Called with the exact plain length once the first message has told it; throws when there is no room. */
  readonly onTotal: (plainBytes: number) => Promise<void>;
  /** Called with what the file says of itself, before anything is visible; throws when another member should be asked. */
  readonly judge: (head: Head) => void;
  /** Called as soon as the true revision is known and judged, before the file is looked through: a member can be asked for its hash meanwhile. */
  readonly onHead?: ((head: Head) => void) | undefined;
  /** Nobody else can be asked: a snapshot that came whole and is damaged inside is kept, and its failure told. */
  readonly lastResort?: boolean | undefined;
  readonly onProgress: (event: ProgressEvent) => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What was sealed; `databaseSha256` is the trailer, hex. */
export interface Sealed extends SealedFigures {
  readonly databaseSha256: string;
}

/** One store's share of the upload. */
export type UploadResult = StoreResult & { readonly object?: StoredObject };

export interface AttemptResult {
  readonly sealed: Sealed;
  readonly head: Head;
  /** What the whole file was found to be; the failure only as a last resort. Reads the spool: not after `dispose`. */
  readonly examined: Examined | { readonly failure: WardenError };
  /** Lets go of what looking through the file holds in memory, when no hash of it will be asked for any more. */
  readonly forget: () => Promise<void>;
  /** The plain bytes, out of the spool. Not after `dispose`. */
  readonly file: RandomAccess;
  readonly storageVersion: string | undefined;
  /** Still under way where a store is slower than the member: each store is published when its own is done, whatever the others do. */
  readonly uploads: readonly Promise<UploadResult>[];
  readonly streamMs: number;
  /** Ends what is still going up and removes the spool. */
  readonly dispose: () => Promise<void>;
}

/** The stream's side failed: another member may do better. Anything else that is thrown would fail there too. */
export class StreamFailed extends Error {
  override readonly cause: Error;
  constructor(cause: Error) {
    super(cause.message, { cause });
    this.cause = cause;
  }
}

/**
 * @returns when the content is accepted; uploads may still be under way
 * @throws StreamFailed when the member's stream failed; WardenError when the disk or the caller ended it, and what `judge` throws
 */
export async function attemptBackup(options: AttemptOptions): Promise<AttemptResult> {
  const started = performance.now();
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const accepted = Promise.withResolvers<void>();
  accepted.promise.catch(() => {}); // every upload awaits it too; without any upload a rejection must not go unhandled
  let examination: Examination | undefined = await createExamination({
    scratch: createScratch(options.spoolFolder, { encrypted: options.recipients.length > 0 }),
    seed: randomInt(2 ** 32),
    relieve: collectAll,
  });
  const sealer = await createSealer({
    spoolPath: join(options.spoolFolder, options.spoolName),
    maxPlainBytes: options.expectedBytes,
    recipients: options.recipients,
    signal,
    onPlain: (block) => examination?.write(block),
  });
  let archive: OpenArchive | undefined;
  let storedBytes: number | undefined;
  const uploads = options.stores.map((store) =>
    upload(
      store,
      options,
      sealer.spool,
      accepted.promise,
      signal,
      uploadProgress(store.name, () => storedBytes, options.onProgress),
    ),
  );
  try {
    const intake = await takeStream(options, sealer, signal);
    const sealed = { ...(await sealer.finish()), databaseSha256: intake.databaseSha256 };
    storedBytes = sealed.storedBytes;
    const streamMs = performance.now() - started;
    // What the stream needed lies about dead, and the examination's second half would come on top of it.
    collectAll();
    options.onProgress({ step: 'check', message: 'looking through the file' });
    const opened = (archive = await openSealed(sealer.sealed()));
    const head = await judgedHead(options, opened, signal);
    options.onHead?.(head);
    const examined = await judgedContent(options, examination, opened, signal);
    accepted.resolve();
    const forget = async (): Promise<void> => {
      await examination?.close();
      examination = undefined;
      if ('hashKv' in result.examined)
        result.examined = { ...result.examined, hashKv: () => Promise.reject(new Error('it was forgotten')) };
    };
    const dispose = async (): Promise<void> => {
      stop.abort(new WardenError('interrupted', 'the run ended before the upload did'));
      await Promise.all(uploads);
      await forget();
      await opened.close();
      await sealer.abort();
    };
    const result: { -readonly [Field in keyof AttemptResult]: AttemptResult[Field] } = {
      sealed,
      head,
      examined,
      file: opened,
      storageVersion: intake.storageVersion ?? head.storageVersion,
      uploads,
      streamMs,
      forget,
      dispose,
    };
    return result;
  } catch (error) {
    // The order matters: uploads must have given up (and aborted what they began) before the spool goes away under them.
    accepted.reject(asError(error));
    stop.abort(error);
    await Promise.all(uploads);
    await examination?.close();
    await archive?.close();
    await sealer.abort(asError(error));
    throw error;
  }
}

/** Whole on the way and yet no good: that is the member's doing, so it counts as its stream's failure. */
async function judgedHead(options: AttemptOptions, archive: OpenArchive, signal: AbortSignal): Promise<Head> {
  try {
    const head = await headOf(archive, signal);
    options.judge(head);
    return head;
  } catch (error) {
    if (isOfTheFile(error)) throw new StreamFailed(error);
    throw error;
  }
}

/** A member whose file is damaged inside may be the only one that is left, and a damaged backup is better than none. */
async function judgedContent(
  options: AttemptOptions,
  examination: Examination,
  archive: OpenArchive,
  signal: AbortSignal,
): Promise<Examined | { readonly failure: WardenError }> {
  try {
    return await examination.finish(archive, signal);
  } catch (error) {
    if (!isOfTheFile(error)) throw error;
    if (options.lastResort !== true) throw new StreamFailed(error);
    return { failure: error };
  }
}

function isOfTheFile(error: unknown): error is WardenError {
  return error instanceof WardenError && OF_THE_FILE.has(error.code);
}

const OF_THE_FILE: ReadonlySet<string> = new Set([
  'snapshot-wrong-length',
  'not-bolt',
  'not-etcd',
  'bolt-damaged',
  'history-broken',
  'verification-failed',
]);

/** The true revision is in the file and nowhere else: the header of a response tells what was current when it was sent. */
async function headOf(archive: OpenArchive, signal: AbortSignal): Promise<Head> {
  const db = await openBolt(archive, signal);
  // The length that the stream announced was kept; this is the one that the database gives itself (its pages up to the high-water mark).
  if (db.length + TRAILER_LENGTH !== archive.size) {
    throw new WardenError(
      'snapshot-wrong-length',
      `the snapshot has ${archive.size} bytes, its database says ${db.length} and the trailer takes ${TRAILER_LENGTH}`,
      {
        hint: 'the member sent something else than its database; back up another one with --member',
      },
    );
  }
  return readHead(db, signal);
}

async function takeStream(options: AttemptOptions, sealer: Sealer, signal: AbortSignal): Promise<Intake> {
  let reportedAt = 0;
  // Called for every batch of messages: a clock read is cheap, a report is not.
  const progressOf = (bytes: number, totalBytes: number): void => {
    const now = performance.now();
    if (now - reportedAt < PROGRESS_INTERVAL_MS) return;
    reportedAt = now;
    options.onProgress({ step: 'stream', message: `streaming from ${options.member}`, bytes, totalBytes });
  };
  try {
    return await takeSnapshot(options.client.snapshot({ signal, maxRate: options.maxRate }), sealer, {
      signal,
      onTotal: options.onTotal,
      onProgress: progressOf,
    });
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason;
    if (error instanceof WardenError && OURS.has(error.code)) throw error;
    throw new StreamFailed(asError(error));
  }
}

/** Failures of this machine, not of the member: going to the next member would not help. */
const OURS: ReadonlySet<string> = new Set(['disk-full', 'disk-failed', 'interrupted', 'refused', 'permission-denied']);

/**
 * While the stream runs it has the word; after it whoever is slower than the member. Not only for people: to the daemon a job that tells nothing for
 * long has stalled, and an upload may go on for hours.
 */
function uploadProgress(
  store: string,
  storedBytes: () => number | undefined,
  onProgress: (event: ProgressEvent) => void,
): (bytes: number) => void {
  let before = 0;
  let reportedAt = 0;
  return (bytes) => {
    const all = storedBytes();
    const now = performance.now();
    if (all === undefined) before = bytes;
    else if (now - reportedAt >= PROGRESS_INTERVAL_MS) {
      reportedAt = now;
      // Counted from the end of the stream, so that rate and time left are those of what is left.
      onProgress({
        step: 'upload',
        message: `sending the rest to ${store}`,
        bytes: bytes - before,
        totalBytes: all - before,
        subject: store,
      });
    }
  };
}

/** One store's share; its failure is its own result, so that the others go on. Never rejects. */
async function upload(
  store: Store,
  options: AttemptOptions,
  spool: GrowingFile,
  accepted: Promise<void>,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<UploadResult> {
  try {
    return { store: store.name, outcome: 'stored', object: await store.upload(options.key, spool, { signal, accepted, onProgress }) };
  } catch (thrown) {
    const error = errorDetails(thrown);
    if (!signal.aborted)
      options.logger.error({ store: store.name, code: error.code, err: asError(thrown) }, 'the store did not take the backup');
    return { store: store.name, outcome: 'failed', error };
  }
}
