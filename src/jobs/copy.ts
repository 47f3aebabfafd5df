/** Completes copies: from whichever store has a backup whole to one that lacks it. SHA-256 is checked on the way, the manifest comes last. */
import { join } from 'node:path';
import { hashStored } from '../archive/decode.ts';
import { createSpool } from '../archive/spool.ts';
import { retentionView } from '../catalog/retention-view.ts';
import type { Backup, Catalog } from '../catalog/types.ts';
import type { RetentionConfig } from '../config/types.ts';
import { asError, errorDetails, WardenError } from '../errors.ts';
import { dataKey, manifestKey } from '../format/keys.ts';
import { encodeManifest, MANIFEST_READ_BYTES } from '../format/manifest.ts';
import { temporaryName } from '../store/temporary.ts';
import { wouldKeep } from '../retention/apply.ts';
import type { Manifest } from '../format/types.ts';
import type { Store, StoredObject } from '../store/types.ts';
import { confirmStored } from './backup/confirm.ts';
import { spoolFolder } from './backup/spool-folder.ts';
import { isWhole, sourcesOf } from './sources.ts';
import type { JobContext } from './types.ts';

export interface CopyLine {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: 'copied' | 'present' | 'failed';
  readonly bytes: number;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Backups that a store lacks, and of which another one has a whole copy. */
export function missingOn(catalog: Catalog, store: string): Backup[] {
  return catalog.backups.filter((backup) => !isWhole(backup, store) && sourcesOf(backup).length > 0);
}

/**
 * Those of them that are meant for the store and that retention would leave there: what the next prune removes again need not be copied, or the two
 * would go on for ever where another store keeps a backup longer (object lock).
 */
export function owedTo(catalog: Catalog, store: string, policy: RetentionConfig, now: Date): Backup[] {
  const input = { ...retentionView(catalog, store), policy, nowMs: now.getTime() };
  return missingOn(catalog, store).filter(
    ({ id, timeMs, manifest, suspect }) =>
      manifest.stores.includes(store) &&
      wouldKeep(input, { id, timeMs, lineage: manifest.lineage, verified: true, suspect: suspect !== undefined }),
  );
}

/**
 * Copies one backup. A source that turns out bad is passed over for the next.
 * @throws WardenError when no source could deliver it whole, or the destination did not take it
 */
export async function copyBackup(
  backup: Backup,
  stores: readonly Store[],
  to: Store,
  context: Pick<JobContext, 'config' | 'signal' | 'logger' | 'progress'>,
): Promise<CopyLine> {
  const failures: WardenError[] = [];
  for (const name of sourcesOf(backup)) {
    const from = stores.find((store) => store.name === name);
    if (from === undefined || from.name === to.name) continue;
    try {
      await copyData(backup, from, to, context);
      await putManifest(backup, to, context.signal);
      await copyIndexToo(backup, from, to, context);
      context.logger.info({ id: backup.id, from: from.name, to: to.name }, 'copy completed');
      return { id: backup.id, from: from.name, to: to.name, outcome: 'copied', bytes: backup.manifest.stored.bytes };
    } catch (thrown) {
      context.signal.throwIfAborted();
      const error = asError(thrown);
      context.logger.warn({ id: backup.id, from: from.name, to: to.name, err: error }, 'the copy failed');
      failures.push(error instanceof WardenError ? error : new WardenError('failed', error.message, { cause: error }));
    }
  }
  const last = failures.at(-1);
  throw (
    last ??
    new WardenError('nothing-found', `no other store holds ${backup.id} whole`, { hint: 'see `etcd-warden show` for where its copies are' })
  );
}

/** The same as a line of its own whatever comes of it, so that the other copies go on. Rejects only when the caller ended it. */
export async function tryCopy(
  backup: Backup,
  stores: readonly Store[],
  to: Store,
  context: Parameters<typeof copyBackup>[3],
): Promise<CopyLine> {
  try {
    return await copyBackup(backup, stores, to, context);
  } catch (thrown) {
    context.signal.throwIfAborted();
    const { code, message } = errorDetails(thrown);
    return { id: backup.id, from: '', to: to.name, outcome: 'failed', bytes: 0, error: { code, message } };
  }
}

/** The index is no part of a backup: without it the copy is whole, and the daemon makes up for it. */
async function copyIndexToo({ manifest }: Backup, from: Store, to: Store, context: Parameters<typeof copyBackup>[3]): Promise<void> {
  try {
    const { copyIndex } = await import('./index.ts');
    await copyIndex(manifest, from, to, context);
  } catch (error) {
    context.signal.throwIfAborted();
    context.logger.warn({ id: manifest.id, from: from.name, to: to.name, err: asError(error) }, 'the key index was not copied');
  }
}

async function copyData(
  backup: Backup,
  from: Store,
  to: Store,
  context: Pick<JobContext, 'config' | 'signal' | 'progress'>,
): Promise<void> {
  const { manifest } = backup;
  const key = dataKey(manifest.cluster, manifest.id, manifest.stored.encryption);
  const there = await to.head(key, { signal: context.signal });
  if (there !== undefined) {
    // A run that was killed before the manifest left the data: it counts when it is the same bytes, else it must go first.
    if (await holdsSame(to, key, there, manifest.stored, context)) return;
    await to.delete(key, { signal: context.signal });
  }
  await to.check(manifest.stored.bytes, { signal: context.signal });
  const folder = await spoolFolder([to], context.config.stateDir);
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const spool = await createSpool(join(folder, temporaryName()), manifest.stored.bytes);
  const accepted = Promise.withResolvers<void>();
  accepted.promise.catch(() => {}); // the upload may have failed before it awaits this
  let bytes = 0;
  let sentBefore = 0;
  // While bytes come in they are the progress; then those that still go out: a copy that tells nothing for long looks stalled.
  const onProgress = (sent: number): void => {
    if (bytes < manifest.stored.bytes) sentBefore = sent;
    else
      context.progress({
        step: 'copy',
        message: `sending the rest of ${manifest.id} to ${to.name}`,
        bytes: sent - sentBefore,
        totalBytes: manifest.stored.bytes - sentBefore,
      });
  };
  const upload = to.upload(key, spool, { signal, accepted: accepted.promise, onProgress });
  upload.catch(() => {}); // awaited below; a failure before that must not go unhandled
  try {
    for await (const block of from.stream(key, { signal })) {
      await spool.append([block]);
      bytes += block.length;
      context.progress({
        step: 'copy',
        message: `copying ${manifest.id} from ${from.name} to ${to.name}`,
        bytes,
        totalBytes: manifest.stored.bytes,
      });
    }
    const figures = spool.end();
    await spool.sync();
    if (figures.length !== manifest.stored.bytes || figures.sha256 !== manifest.stored.sha256) {
      throw new WardenError(
        'verification-failed',
        `${from.name} delivered ${figures.length} bytes of ${key} with SHA-256 ${figures.sha256}, the manifest says ${manifest.stored.bytes} and ${manifest.stored.sha256}`,
        {
          hint: `verify the copies: etcd-warden verify ${manifest.id}`,
        },
      );
    }
    accepted.resolve();
    await confirmed(await upload, key, backup, to, { signal, progress: context.progress });
  } catch (error) {
    accepted.reject(spool.fail(asError(error)));
    stop.abort(error);
    await upload.catch(() => {}); // its failure is this one, or follows from it
    throw error;
  } finally {
    await spool.remove();
  }
}

/** A store that keeps no checksum is read: its size alone says nothing of what lies there since. */
async function holdsSame(
  to: Store,
  key: string,
  there: { readonly size: number; readonly crc32?: string | undefined },
  stored: Manifest['stored'],
  { signal, progress }: Pick<JobContext, 'signal' | 'progress'>,
): Promise<boolean> {
  if (there.size !== stored.bytes) return false;
  if (there.crc32 !== undefined) return there.crc32 === stored.crc32;
  const message = `reading what ${to.name} holds already`;
  const onProgress = (bytes: number): void => progress({ step: 'read', message, bytes, totalBytes: stored.bytes, subject: to.name });
  return (await hashStored(to, key, { signal, onProgress })).storedSha256 === stored.sha256;
}

/** As after a backup: what the destination holds is what was sent, or it goes again. */
async function confirmed(
  object: StoredObject,
  key: string,
  { manifest }: Backup,
  to: Store,
  context: Pick<JobContext, 'signal' | 'progress'>,
): Promise<void> {
  try {
    await confirmStored(object, key, manifest.stored, to, context);
  } catch (error) {
    // Without a manifest it is invisible, and the sweep removes it if this fails as well.
    await to.delete(key, { signal: context.signal }).catch(() => undefined);
    throw error;
  }
}

/** The same bytes everywhere: a manifest is immutable, and one that is there already is right if it has them. */
async function putManifest(backup: Backup, to: Store, signal: AbortSignal): Promise<void> {
  const { manifest } = backup;
  const key = manifestKey(manifest.cluster, manifest.id, manifest.revision);
  const body = encodeManifest(manifest);
  try {
    await to.put(key, body, { signal });
  } catch (error) {
    if (!(error instanceof WardenError && error.code === 'object-exists')) throw error;
    const there = await to.get(key, { signal, maxLength: MANIFEST_READ_BYTES });
    if (there.equals(body)) return;
    throw new WardenError('verification-failed', `${to.name} holds something else under ${key} than the manifest of this backup`, {
      hint: 'nothing is ever overwritten: look at that object, remove it by hand, and copy again',
      cause: error,
    });
  }
}
