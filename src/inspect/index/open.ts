/** The key index beside a backup, if it has one. */
import { openObject } from '../../archive/open.ts';
import { WardenError } from '../../errors.ts';
import { indexKey } from '../../format/keys.ts';
import type { Manifest } from '../../format/types.ts';
import type { KeyDirectory, OpenedSnapshot } from '../types.ts';
import { indexInvalid, type IndexSubject } from './format.ts';
import { readKeyIndex } from './reader.ts';

export interface OpenIndexOptions {
  /** `AGE-SECRET-KEY-1...`; the index is encrypted to the recipients of its backup. */
  readonly identities: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/**
 * @returns undefined when there is none: a plain file, a backup whose index was not built yet or not wanted
 * @throws WardenError `index-invalid` when it is damaged, cut short, of a newer version or of another backup; `key-missing`, and what the store throws
 */
export async function openKeyIndex(snapshot: OpenedSnapshot, { identities, signal }: OpenIndexOptions): Promise<KeyDirectory | undefined> {
  const { backup, store } = snapshot;
  if (backup === undefined || store === undefined) return undefined;
  const { manifest } = backup;
  const key = indexKey(manifest.cluster, manifest.id, manifest.stored.encryption);
  try {
    const object = await ofIndex(manifest.id, () => openObject(store, key, { signal, identities }));
    const index = {
      size: object.size,
      read: (offset: number, length: number, own?: AbortSignal) => ofIndex(manifest.id, () => object.read(offset, length, own)),
      close: () => object.close(),
    };
    return await readKeyIndex({ index, snapshot: snapshot.file, subject: subjectOf(manifest), signal });
  } catch (error) {
    if (error instanceof WardenError && error.code === 'object-missing') return undefined;
    throw error;
  }
}

/** What the index of a backup must say of itself. */
export function subjectOf({ id, plain }: Manifest): IndexSubject {
  return { id, sha256: plain.sha256, plainBytes: plain.bytes };
}

/** Damage of frames, chunks and seek table is noticed by the layers below, which do not know that it is the index they read. */
async function ofIndex<Result>(id: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    const damaged = error instanceof WardenError && (error.code === 'verification-failed' || error.code === 'not-seekable');
    throw damaged ? indexInvalid(error.message, id) : error;
  }
}
