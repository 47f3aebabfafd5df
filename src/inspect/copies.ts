/** A backup read from the best of its copies, and from the next best when that cannot be read (any more). */
import { openObject, type OpenArchive } from '../archive/open.ts';
import type { Backup, Copy } from '../catalog/types.ts';
import { asError, WardenError } from '../errors.ts';
import { dataKey } from '../format/keys.ts';
import type { Store } from '../store/types.ts';
import type { OpenedSnapshot, OpenSnapshotOptions } from './types.ts';

type CopyOptions = Pick<OpenSnapshotOptions, 'stores' | 'identities' | 'signal' | 'store' | 'note'>;

interface OpenedCopy {
  readonly store: Store;
  readonly archive: OpenArchive;
}

/** @throws WardenError `nothing-found` when no store holds it whole, else what the first copy said when none can be read */
export async function openCopies(backup: Backup, options: CopyOptions): Promise<OpenedSnapshot> {
  const { note } = options;
  const waiting = storesInOrder(backup, options);
  if (waiting.length === 0)
    throw new WardenError('nothing-found', `no store that was asked holds ${backup.id} whole`, {
      hint: `see \`etcd-warden show ${backup.id}\` for where its copies are`,
    });
  if (backup.suspect !== undefined) note?.(`${backup.id} is suspect: ${backup.suspect}`);
  let current = await openNext(undefined);
  const first = current;
  const { size, encrypted, compressed } = first.archive;

  /** The next copy that opens. @throws the failure that made the search necessary when there is none */
  async function openNext(before: { readonly failed: Store; readonly error: Error } | undefined): Promise<OpenedCopy> {
    let failure = before;
    for (let store = waiting.shift(); store !== undefined; store = waiting.shift()) {
      if (failure !== undefined)
        note?.(`${failure.failed.name}: ${failure.error.message}; reading ${backup.id} from ${store.name} instead`);
      try {
        return { store, archive: await openCopy(backup, store, options) };
      } catch (thrown) {
        options.signal.throwIfAborted();
        const error = asError(thrown);
        // Every copy is encrypted to the same recipients.
        if (error instanceof WardenError && error.code === 'key-missing') throw error;
        failure = { failed: store, error };
      }
    }
    throw failure!.error;
  }

  let replacing: Promise<OpenedCopy> | undefined;
  /** Readers that failed together wait for one replacement. */
  async function replace(failed: OpenedCopy, error: Error): Promise<OpenedCopy> {
    if (current !== failed) return current;
    replacing ??= openNext({ failed: failed.store, error }).finally(() => (replacing = undefined));
    const next = await replacing;
    if (current === failed) {
      current = next;
      await failed.archive.close();
    }
    return current;
  }

  return {
    name: backup.id,
    backup,
    store: first.store,
    file: {
      size,
      encrypted,
      compressed,
      async read(offset, length, signal) {
        for (let copy = current; ;) {
          try {
            return await copy.archive.read(offset, length, signal);
          } catch (thrown) {
            options.signal.throwIfAborted();
            signal?.throwIfAborted();
            if (offset < 0 || length < 0 || offset + length > size) throw thrown; // the same on every copy
            copy = await replace(copy, asError(thrown));
          }
        }
      },
      close: () => current.archive.close(),
    },
    close: () => current.archive.close(),
  };
}

async function openCopy({ id, cluster, manifest }: Backup, store: Store, options: CopyOptions): Promise<OpenArchive> {
  const key = dataKey(cluster, id, manifest.stored.encryption);
  const archive = await openObject(store, key, options);
  if (archive.size === manifest.plain.bytes) return archive;
  await archive.close();
  throw new WardenError('verification-failed', `${key} holds ${archive.size} plain bytes, its manifest says ${manifest.plain.bytes}`, {
    hint: `verify the copies: etcd-warden verify ${id}`,
  });
}

/** Verified copies first, local ones before remote ones, those whose last check failed at the very end: something is better than nothing at 3 a.m. */
export function storesInOrder(backup: Backup, { stores, store: only }: Pick<CopyOptions, 'stores' | 'store'>): Store[] {
  const whole = backup.copies.flatMap((copy) => {
    const store = stores.find(({ name }) => name === copy.store);
    const usable = copy.manifest === 'present' && copy.data === 'present' && (only === undefined || copy.store === only);
    return usable && store !== undefined ? [{ copy, store }] : [];
  });
  return whole.sort((a, b) => rank(a) - rank(b)).map(({ store }) => store);
}

function rank({ copy, store }: { readonly copy: Copy; readonly store: Store }): number {
  return (copy.check?.outcome === 'failed' ? 4 : 0) + (copy.verified ? 0 : 2) + (store.kind === 'local' ? 0 : 1);
}
