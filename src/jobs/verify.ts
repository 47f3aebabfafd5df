/** Reads backups again from their stores and records what came out beside them. */
import { randomBytes } from 'node:crypto';
import { writeCheck } from '../catalog/facts.ts';
import type { Backup } from '../catalog/types.ts';
import { asError, errorDetails, ERRORS, WardenError, type ErrorCode } from '../errors.ts';
import type { Store } from '../store/types.ts';
import { toolName } from '../version.ts';
import { OfTheContent, reread, type Reread, type VerifyLevel } from './reread.ts';
import type { JobContext } from './types.ts';

export interface VerifyLine {
  readonly id: string;
  readonly store: string;
  /** What was done, which is less than asked for when the identity or a member's hash is missing. */
  readonly level: VerifyLevel;
  readonly outcome: 'ok' | 'failed' | 'inconclusive';
  readonly reason?: string;
  /** Of the error that ended it (docs/errors.md); absent when all that was asked for was done, and when no identity is configured. */
  readonly code?: ErrorCode;
  /** Stored bytes of the copy. */
  readonly bytes: number;
  /** Counted at `proved`, and where only a member's hash was missing. */
  readonly keyCount?: number;
}

type VerifyContext = Pick<JobContext, 'config' | 'signal' | 'logger' | 'progress' | 'now'>;

/**
 * Verifies one backup on one store and writes the check object. `failed` means that the copy is not sound; `inconclusive` that it could not be read to
 * the end (store down, identity wrong), which says nothing about it.
 */
export async function verifyCopy(
  backup: Backup,
  store: Store,
  level: VerifyLevel,
  identities: readonly string[] | undefined,
  context: VerifyContext,
): Promise<VerifyLine> {
  const { manifest } = backup;
  const locked = manifest.stored.encryption === 'age' && identities === undefined;
  const wanted: VerifyLevel = locked ? 'stored' : level;
  const line = { id: backup.id, store: store.name, bytes: manifest.stored.bytes };
  let result: Omit<VerifyLine, keyof typeof line>;
  let clearedAt: VerifyLevel | undefined;
  try {
    const read = await readAsFar(backup, store, wanted, identities, context);
    result = { level: read.level, outcome: 'ok', ...shortfall(read, locked && level !== 'stored'), ...counted(read) };
  } catch (thrown) {
    context.signal.throwIfAborted();
    const error = asError(thrown);
    const { code } = errorDetails(error);
    const failed = provesDamage(code);
    if (failed) clearedAt = foundAt(error, code, wanted);
    result = { level: wanted, outcome: failed ? 'failed' : 'inconclusive', reason: error.message, code };
    context.logger.error(
      { id: backup.id, store: store.name, level: wanted, err: error },
      failed ? 'the backup is damaged' : 'the backup could not be verified',
    );
  }
  const whole: VerifyLine = { ...line, ...result };
  await record({ ...whole, level: clearedAt ?? whole.level }, manifest.cluster, store, context);
  return whole;
}

function shortfall({ shallow }: Reread, locked: boolean): Pick<VerifyLine, 'reason' | 'code'> {
  if (locked) return { reason: 'encrypted, and no identity is configured: only the stored bytes were checked' };
  return shallow === undefined ? {} : { reason: shallow.message, code: shallow.code };
}

function counted({ keyCount }: Reread): Pick<VerifyLine, 'keyCount'> {
  return keyCount === undefined ? {} : { keyCount };
}

/** What no identity opens can still be compared as it lies there: a header that is damaged looks like one for somebody else's key. */
async function readAsFar(
  backup: Backup,
  store: Store,
  level: VerifyLevel,
  identities: readonly string[] | undefined,
  context: VerifyContext,
): Promise<Reread> {
  try {
    return await reread(backup, store, level, identities, context);
  } catch (error) {
    if (level === 'stored' || !(error instanceof WardenError) || error.code !== 'key-missing') throw error;
    await reread(backup, store, 'stored', identities, context);
    const sentence = `only the stored bytes were checked: ${error.message}`;
    return { level: 'stored', shallow: new WardenError('key-missing', sentence, { hint: error.hint, cause: error }) };
  }
}

/** Whether an error says something about the bytes, not about the way to them. */
export function provesDamage(code: ErrorCode): boolean {
  return ERRORS[code].exit === ERRORS['verification-failed'].exit || code === 'object-missing';
}

/**
 * How deep one has to look to find a fault: the catalog takes one that looks no less deep later for an answer. Bytes that are other than what was written are
 * found without a proof, and a copy that was replaced must be able to count again where no member has ever answered.
 */
function foundAt(error: Error, code: ErrorCode, asked: VerifyLevel): VerifyLevel {
  if (code === 'object-missing') return 'stored';
  const inside = error instanceof OfTheContent || INSIDE.has(code);
  return asked === 'proved' && !inside ? 'content' : asked;
}

const INSIDE: ReadonlySet<ErrorCode> = new Set(['not-bolt', 'not-etcd', 'bolt-damaged', 'history-broken']);

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
