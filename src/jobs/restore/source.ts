/** A backup or a plain file as a restore reads it: the bytes of the database in order, once, and compared before anybody counts on them. */
import { type ContentOptions, hashPlain, hashSealed } from '../../archive/decode.ts';
import { TRAILER_LENGTH } from '../../archive/intake.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import type { Backup } from '../../catalog/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { dataKey } from '../../format/keys.ts';
import { isComparable } from '../../format/proof.ts';
import { storesInOrder } from '../../inspect/copies.ts';
import { openSnapshotFile } from '../../inspect/file.ts';
import type { OpenedSnapshot } from '../../inspect/types.ts';
import type { DatabaseSink, Poured, RestoreSource } from '../../restore/types.ts';
import type { Store } from '../../store/types.ts';
import { databaseOf, hasTrailer, passOver } from '../plain-pass.ts';
import { comparePlain, compareSealed } from '../reread.ts';
import { scratchFolder } from '../scratch-folder.ts';
import type { JobContext } from '../types.ts';
import { glimpse, type Glimpse } from './glimpse.ts';

export type SourceContext = Pick<JobContext, 'config' | 'signal' | 'logger' | 'progress'>;

/** A plain file, and what its first pages tell. */
export interface FileSource extends RestoreSource {
  readonly seen: Glimpse;
  /** The file carries the hash that it is compared with. */
  readonly trailer: boolean;
}

/**
 * @param options.store the only store to read from
 * @param options.kubernetes what a look at the backup told
 */
export function sourceOfBackup(
  backup: Backup,
  stores: readonly Store[],
  identities: readonly string[] | undefined,
  context: SourceContext,
  options: { readonly store?: string | undefined; readonly kubernetes?: boolean | undefined } = {},
): RestoreSource {
  const { id, manifest, proof } = backup;
  return {
    name: id,
    backup,
    identity: id,
    databaseBytes: manifest.plain.bytes - TRAILER_LENGTH,
    proof,
    encrypted: manifest.stored.encryption !== 'none',
    kubernetes: options.kubernetes,
    pour: (sink, signal) =>
      pourBackup(backup, storesInOrder(backup, { stores, store: options.store }), { sink, identities, signal, context }),
    close: () => Promise.resolve(),
  };
}

interface Pouring {
  readonly sink: DatabaseSink;
  readonly identities: readonly string[] | undefined;
  readonly signal: AbortSignal;
  readonly context: SourceContext;
}

async function pourBackup(backup: Backup, waiting: readonly Store[], pouring: Pouring): Promise<Poured> {
  const { id } = backup;
  const { sink, signal, context } = pouring;
  let failure: { readonly store: Store; readonly error: Error } | undefined;
  for (const store of waiting) {
    if (failure !== undefined) {
      const message = `${failure.store.name}: ${failure.error.message}; reading ${id} from ${store.name} instead`;
      context.progress({ step: 'read', message, subject: store.name, finished: true });
      context.logger.warn({ id, store: failure.store.name, err: failure.error }, 'this copy could not be restored from');
      await sink.restart();
    }
    try {
      return await pourCopy(backup, store, pouring);
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof OfTheSink) throw thrown.cause;
      const error = asError(thrown);
      // Every copy is encrypted to the same recipients.
      if (!(error instanceof WardenError) || error.code === 'key-missing') throw error;
      failure = { store, error };
    }
  }
  throw (
    failure?.error ??
    new WardenError('nothing-found', `no store that was asked holds ${id} whole`, {
      hint: `see \`etcd-warden show ${id}\` for where its copies are`,
    })
  );
}

function isProvable({ manifest, proof }: Backup): boolean {
  const file = { revision: BigInt(manifest.revision), compactRevision: BigInt(manifest.compactRevision) };
  return proof !== undefined && isComparable(proof, file);
}

/** What taking the bytes threw: another copy would not help. */
class OfTheSink extends Error {}

async function pourCopy(backup: Backup, store: Store, { sink, identities, signal, context }: Pouring): Promise<Poured> {
  const { id, cluster, manifest } = backup;
  const key = dataKey(cluster, id, manifest.stored.encryption);
  const databaseBytes = manifest.plain.bytes - TRAILER_LENGTH;
  const message = `reading ${id} from ${store.name}`;
  const refused = (cause: unknown): never => {
    throw new OfTheSink('the bytes could not be taken', { cause });
  };
  let at = 0;
  const options: ContentOptions = {
    signal,
    identities,
    expectedBytes: manifest.plain.bytes,
    ahead: sink.ahead,
    onProgress: (bytes) => context.progress({ step: 'read', message, bytes, totalBytes: manifest.stored.bytes, subject: store.name }),
    onPlain(block) {
      const rest = databaseBytes - at;
      at += block.length;
      // A copy that is longer than it should be is found out at its end; the surplus is nobody's.
      if (rest <= 0) return;
      try {
        return sink.write(block.length > rest ? block.subarray(0, rest) : block)?.catch(refused);
      } catch (error) {
        refused(error);
      }
    },
  };
  // What the members' HashKV proves need not be hashed a second time (docs/decisions/0022).
  if (isProvable(backup)) compareSealed(key, manifest, await hashSealed(store, key, options));
  else comparePlain(key, manifest, await hashPlain(store, key, options));
  return { databaseBytes, databaseSha256: manifest.plain.databaseSha256, compared: true, store: store.name };
}

/**
 * Opens it and reads its ends; without a trailer all of it, because the token of the new cluster follows from the hash.
 * @throws WardenError `nothing-found`, `usage`, `not-bolt`, `not-etcd`, `bolt-damaged`, `key-missing`, `snapshot-wrong-length`, `verification-failed`, and what disks throw
 */
export async function sourceOfFile(path: string, identities: readonly string[] | undefined, context: SourceContext): Promise<FileSource> {
  const { signal, progress, config } = context;
  const snapshot = await openSnapshotFile(path, { identities, signal, progress, scratchFolder: scratchFolder(config) });
  try {
    return await fileSource(path, snapshot, context);
  } catch (error) {
    await snapshot.close();
    throw error;
  }
}

async function fileSource(path: string, snapshot: OpenedSnapshot, context: SourceContext): Promise<FileSource> {
  const { signal } = context;
  const { file } = snapshot;
  const { length } = await openBolt(file, signal);
  const trailer = hasTrailer(file.size, length, path);
  const seen = await glimpse(databaseOf(file, { databaseBytes: length }), signal);
  const identity = trailer
    ? Buffer.from(await file.read(length, TRAILER_LENGTH, signal))
    : (await passOver(file, path, () => undefined, context)).databaseSha256;
  return {
    name: path,
    backup: undefined,
    identity: identity.toString('hex'),
    databaseBytes: length,
    proof: undefined,
    encrypted: file.encrypted,
    kubernetes: seen.kubernetes,
    seen,
    trailer,
    close: () => snapshot.close(),
    async pour(sink, own) {
      const plain = await passOver(file, path, (block) => sink.write(block), { ...context, signal: own });
      const databaseSha256 = plain.databaseSha256.toString('hex');
      if (databaseSha256 !== identity.toString('hex'))
        throw new WardenError('changed-meanwhile', `${path} was changed while it was read`, {
          hint: 'a database that an etcd is using changes: copy it while that etcd is stopped',
        });
      return { databaseBytes: plain.databaseBytes, databaseSha256, compared: plain.trailer, store: undefined };
    },
  };
}
