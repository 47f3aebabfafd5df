/** Reads backups again from their stores and records what came out beside them. */
import { randomBytes } from 'node:crypto';
import { hashContent, hashStored, type StoredFigures } from '../archive/decode.ts';
import { writeCheck } from '../catalog/facts.ts';
import type { Backup } from '../catalog/types.ts';
import { asError, WardenError } from '../errors.ts';
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
  const done: VerifyLevel = encrypted && identities === undefined ? 'stored' : level;
  const line = { id: backup.id, store: store.name, level: done, bytes: manifest.stored.bytes };
  let result: Pick<VerifyLine, 'outcome' | 'reason'>;
  try {
    await readAgain(backup, store, done, identities, context);
    result =
      done === level
        ? { outcome: 'ok' }
        : { outcome: 'ok', reason: 'encrypted, and no identity is configured: only the stored bytes were checked' };
  } catch (thrown) {
    context.signal.throwIfAborted();
    const error = asError(thrown);
    const failed = error instanceof WardenError && PROVES_DAMAGE.has(error.code);
    result = { outcome: failed ? 'failed' : 'inconclusive', reason: error.message };
    context.logger.error(
      { id: backup.id, store: store.name, level: done, err: error },
      failed ? 'the backup is damaged' : 'the backup could not be verified',
    );
  }
  await record({ ...line, ...result }, manifest.cluster, store, context);
  return { ...line, ...result };
}

/** Errors that say something about the bytes, not about the way to them. */
const PROVES_DAMAGE: ReadonlySet<string> = new Set([
  'verification-failed',
  'object-missing',
  'not-seekable',
  'frame-damaged',
  'snapshot-hash-mismatch',
  'snapshot-wrong-length',
]);

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
