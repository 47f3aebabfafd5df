/**
 * Archives opened for reads anywhere: a spool just written, a local file, an object in a store; each plain, compressed, or encrypted too.
 * Opening an object costs three requests (size, header, seek table), a read near others of the same frame none.
 */
import type { RandomAccess } from '../boltdb/random-access.ts';
import type { Store } from '../store/types.ts';
import { ageAccess, unlock } from './age-access.ts';
import { openFile } from './file-access.ts';
import { frameAccess, readSeekTable } from './frame-access.ts';
import { isCompressed, isEncrypted, MAGIC_LENGTH } from './layers.ts';
import { objectAccess } from './object-access.ts';
import type { Pin } from './pinned-access.ts';
import type { SealedSpool } from './sealer.ts';

export interface OpenOptions {
  readonly signal: AbortSignal;
  /** `AGE-SECRET-KEY-1...`; needed only for what is encrypted. */
  readonly identities?: readonly string[] | undefined;
  /** What the object was seen to hold: reads are compared with that. */
  readonly pin?: Pin | undefined;
}

/** The plain bytes, as etcdctl would have written them. */
export interface OpenArchive extends RandomAccess {
  readonly encrypted: boolean;
  readonly compressed: boolean;
  close(): Promise<void>;
}

/** A spool that this process has just written: needs no identity, because its key is still in memory. */
export async function openSealed(sealed: SealedSpool): Promise<OpenArchive> {
  const file = await openFile(sealed.path);
  const inner = sealed.key === undefined ? file : ageAccess(file, sealed.key);
  return { ...viewOf(frameAccess(inner, sealed.frames)), encrypted: sealed.key !== undefined, compressed: true, close: () => file.close() };
}

/** A local file. @throws WardenError `disk-failed`, `key-missing`, `not-seekable`, `verification-failed` */
export async function openPath(path: string, options: OpenOptions): Promise<OpenArchive> {
  const file = await openFile(path);
  try {
    return { ...(await openLayers(file, path, options)), close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** An object in a store. @throws WardenError `object-missing`, `key-missing`, `not-seekable`, `verification-failed`; `changed-meanwhile` with a pin */
export async function openObject(store: Store, key: string, options: OpenOptions): Promise<OpenArchive> {
  const object = await objectAccess(store, key, options.signal);
  const layers = await openLayers(options.pin?.access(object, key) ?? object, key, options);
  return { ...layers, close: () => Promise.resolve() };
}

async function openLayers(stored: RandomAccess, name: string, options: OpenOptions): Promise<Omit<OpenArchive, 'close'>> {
  const encrypted = isEncrypted(name, await startOf(stored, options.signal));
  const inner = encrypted ? ageAccess(stored, await unlock(stored, options.identities ?? [], options.signal)) : stored;
  const compressed = isCompressed(name, await startOf(inner, options.signal));
  const plain = compressed ? frameAccess(inner, await readSeekTable(inner, options.signal)) : inner;
  return { ...viewOf(plain), encrypted, compressed };
}

function viewOf(access: RandomAccess): RandomAccess {
  return { size: access.size, read: (offset, length, signal) => access.read(offset, length, signal) };
}

function startOf(access: RandomAccess, signal: AbortSignal): Promise<Buffer> {
  return access.read(0, Math.min(access.size, MAGIC_LENGTH), signal);
}
