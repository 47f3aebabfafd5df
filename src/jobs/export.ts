/** A backup as the plain file that `etcdctl snapshot save` writes: read from a store, compared with its manifest, and only then given its name. */
import { hashContent } from '../archive/decode.ts';
import type { Backup } from '../catalog/types.ts';
import { asError, WardenError } from '../errors.ts';
import { dataKey } from '../format/keys.ts';
import { openSnapshotFile } from '../inspect/file.ts';
import type { Store } from '../store/types.ts';
import { passOver } from './plain-pass.ts';
import { compareContent } from './reread.ts';
import { scratchFolder } from './scratch-folder.ts';
import { sourcesOf } from './sources.ts';
import type { JobContext } from './types.ts';

/** Where the plain bytes go. */
export interface ExportSink {
  write(block: Buffer): Promise<void>;
  /** Takes back what was written, for another copy to begin anew; false where nothing can be taken back. */
  restart(): Promise<boolean>;
}

export interface Exported {
  /** Of the backup, or the path of the file that was read. */
  readonly source: string;
  /** The store it was read from; undefined for a file. */
  readonly store: string | undefined;
  readonly bytes: number;
  readonly sha256: string;
}

type ExportContext = Pick<JobContext, 'config' | 'signal' | 'logger' | 'progress'>;

/**
 * Writes the snapshot into the sink, which counts only when this resolves. A copy that turns out bad is passed over for the next where the sink allows it.
 * @throws WardenError `nothing-found` when no store holds it whole, `key-missing`, and why the last copy could not be read
 */
export async function exportBackup(
  backup: Backup,
  stores: readonly Store[],
  sink: ExportSink,
  identities: readonly string[] | undefined,
  context: ExportContext,
): Promise<Exported> {
  const { manifest, id, cluster } = backup;
  const key = dataKey(cluster, id, manifest.stored.encryption);
  let failure: Error | undefined;
  for (const name of sourcesOf(backup)) {
    const store = stores.find((each) => each.name === name);
    if (store === undefined) continue;
    if (failure !== undefined && !(await sink.restart())) break;
    try {
      const message = `exporting ${id} from ${store.name}`;
      const figures = await hashContent(store, key, {
        signal: context.signal,
        identities,
        onPlain: (block) => sink.write(block),
        onProgress: (bytes) => context.progress({ step: 'read', message, bytes, totalBytes: manifest.stored.bytes, subject: store.name }),
      });
      compareContent(key, manifest, figures);
      return { source: id, store: store.name, bytes: figures.plainBytes, sha256: figures.plainSha256 };
    } catch (thrown) {
      context.signal.throwIfAborted();
      failure = asError(thrown);
      // A full disk is full for every copy, and every copy is encrypted to the same recipients.
      if (!(failure instanceof WardenError) || OF_ALL_COPIES.has(failure.code)) throw failure;
      context.logger.warn({ id, store: store.name, err: failure }, 'this copy could not be exported');
    }
  }
  throw (
    failure ??
    new WardenError('nothing-found', `no store that was asked holds ${id} whole`, {
      hint: `see \`etcd-warden show ${id}\` for where its copies are`,
    })
  );
}

const OF_ALL_COPIES: ReadonlySet<string> = new Set(['disk-full', 'disk-failed', 'key-missing']);

/**
 * The same from a file in any wrapping that can be read: what comes out is plain, with a trailer that was right.
 * @throws WardenError `refused` when it has no trailer: nobody could tell whether these bytes are what etcd wrote
 */
export async function exportFile(
  path: string,
  sink: ExportSink,
  identities: readonly string[] | undefined,
  context: ExportContext,
): Promise<Exported> {
  const { signal, progress, config } = context;
  const snapshot = await openSnapshotFile(path, { identities, signal, progress, scratchFolder: scratchFolder(config) });
  try {
    const { createHash } = await import('node:crypto');
    const sha256 = createHash('sha256');
    const plain = await passOver(
      snapshot.file,
      path,
      (block) => {
        sha256.update(block);
        return sink.write(block);
      },
      context,
    );
    if (!plain.trailer)
      throw new WardenError('refused', `${path} has no trailer, so nothing tells whether its bytes are those that etcd wrote`, {
        hint: 'restore it with `etcdutl snapshot restore --skip-hash-check`, or `etcd-warden import` it, which looks through all of it',
      });
    await sink.write(plain.databaseSha256);
    const whole = sha256.update(plain.databaseSha256).digest('hex');
    return { source: path, store: undefined, bytes: plain.databaseBytes + plain.databaseSha256.length, sha256: whole };
  } finally {
    await snapshot.close();
  }
}
