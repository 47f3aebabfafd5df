/** Reads backups again from their stores and records what came out beside them. */
import { randomBytes } from 'node:crypto';
import { hashContent, hashStored, type StoredFigures } from '../archive/decode.ts';
import { writeCheck } from '../catalog/facts.ts';
import type { Backup } from '../catalog/types.ts';
import { asError, errorDetails, WardenError, type ErrorCode } from '../errors.ts';
import { dataKey } from '../format/keys.ts';
import type { Store } from '../store/types.ts';
import { toolName } from '../version.ts';
import type { JobContext } from './types.ts';

export type VerifyLevel = 'stored' | 'content';

export interface VerifyLine {
  readonly id: string;
  readonly store: string;
  /** What was done, which is less than asked for when the identity is missing. */
  readonly level: VerifyLevel;
  readonly outcome: 'ok' | 'failed' | 'inconclusive';
  readonly reason?: string;
  /** Of the error that ended it (docs/errors.md); absent when all that was asked for was done, and when no identity is configured. */
  readonly code?: ErrorCode;
  readonly bytes: number;
}

type VerifyContext = Pick<JobContext, 'signal' | 'logger' | 'progress' | 'now'>;

/**
 * Verifies one backup on one store and writes the check object. `failed` means that the stored bytes are not what was written;
 * `inconclusive` that they could not be read to the end (store down, identity wrong), which says nothing about them.
 */
export async function verifyCopy(
  backup: Backup,
  store: Store,
  level: VerifyLevel,
  identities: readonly string[] | undefined,
  context: VerifyContext,
): Promise<VerifyLine> {
  const { manifest } = backup;
  const encrypted = manifest.stored.encryption === 'age';
  let done: VerifyLevel = encrypted && identities === undefined ? 'stored' : level;
  let result: Pick<VerifyLine, 'outcome' | 'reason' | 'code'>;
  try {
    const locked = await readAsFar(backup, store, done, identities, context);
    if (locked !== undefined) {
      done = 'stored';
      result = { outcome: 'ok', reason: `only the stored bytes were checked: ${locked.message}`, code: locked.code };
    } else if (done === level) result = { outcome: 'ok' };
    else result = { outcome: 'ok', reason: 'encrypted, and no identity is configured: only the stored bytes were checked' };
  } catch (thrown) {
    context.signal.throwIfAborted();
    const error = asError(thrown);
    const { code } = errorDetails(error);
    const failed = PROVES_DAMAGE.has(code);
    result = { outcome: failed ? 'failed' : 'inconclusive', reason: error.message, code };
    context.logger.error(
      { id: backup.id, store: store.name, level: done, err: error },
      failed ? 'the backup is damaged' : 'the backup could not be verified',
    );
  }
  const line = { id: backup.id, store: store.name, level: done, bytes: manifest.stored.bytes, ...result };
  await record(line, manifest.cluster, store, context);
  return line;
}

/**
 * What no identity opens can still be compared as it lies there: a header that is damaged looks like one for somebody else's key.
 * @returns why the content stayed closed
 */
async function readAsFar(
  backup: Backup,
  store: Store,
  level: VerifyLevel,
  identities: readonly string[] | undefined,
  context: VerifyContext,
): Promise<WardenError | undefined> {
  try {
    await readAgain(backup, store, level, identities, context);
    return undefined;
  } catch (error) {
    if (level === 'stored' || !(error instanceof WardenError) || error.code !== 'key-missing') throw error;
    await readAgain(backup, store, 'stored', identities, context);
    return error;
  }
}

/** Errors that say something about the bytes, not about the way to them. */
const PROVES_DAMAGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['verification-failed', 'object-missing', 'not-seekable']);

async function readAgain(
  backup: Backup,
  store: Store,
  level: VerifyLevel,
  identities: readonly string[] | undefined,
  context: VerifyContext,
): Promise<void> {
  const { manifest } = backup;
  const key = dataKey(manifest.cluster, manifest.id, manifest.stored.encryption);
  const options = {
    signal: context.signal,
    identities,
    onProgress: (bytes: number): void =>
      context.progress({ step: 'read', message: `reading ${manifest.id} on ${store.name}`, bytes, totalBytes: manifest.stored.bytes }),
  };
  if (level === 'stored') {
    compareStored(await hashStored(store, key, options));
    return;
  }
  const content = await hashContent(store, key, options);
  compareStored(content);
  compare(`content of ${key}`, { bytes: content.plainBytes, sha256: content.plainSha256 }, manifest.plain);

  function compareStored(read: StoredFigures): void {
    compare(`stored bytes of ${key}`, { bytes: read.storedBytes, sha256: read.storedSha256 }, manifest.stored);
  }
}

function compare(
  what: string,
  read: { readonly bytes: number; readonly sha256: string },
  written: { readonly bytes: number; readonly sha256: string },
): void {
  if (read.bytes !== written.bytes)
    throw new WardenError('verification-failed', `${what}: ${read.bytes} bytes, ${written.bytes} were written`, { hint: HINT });
  if (read.sha256 !== written.sha256)
    throw new WardenError('verification-failed', `${what}: SHA-256 ${read.sha256}, ${written.sha256} was written`, { hint: HINT });
}

const HINT = 'this copy cannot be trusted; `etcd-warden copy` completes it from another store after it was deleted';

async function record(line: VerifyLine, cluster: string, store: Store, context: VerifyContext): Promise<void> {
  const { id, level, outcome, reason } = line;
  try {
    await writeCheck(
      [store],
      cluster,
      { kind: 'verify', id, store: store.name, level, outcome, ...(reason === undefined ? {} : { reason }) },
      { tool: toolName, now: context.now(), random: randomBytes, signal: context.signal },
    );
  } catch (error) {
    // A read-only view of a store can still be verified; only the memory of it is lost.
    context.signal.throwIfAborted();
    context.logger.warn({ id: line.id, store: store.name, err: asError(error) }, 'the check was not recorded');
  }
}
