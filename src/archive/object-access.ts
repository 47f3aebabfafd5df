/** Positional reads of an object in a store, each a range request. */
import type { RandomAccess } from '../boltdb/random-access.ts';
import { WardenError } from '../errors.ts';
import type { Store } from '../store/types.ts';
import { outOfFile } from './file-access.ts';

/**
 * @param signal ends reads that bring no signal of their own.
 * @throws WardenError `object-missing` when the store has no such object
 */
export async function objectAccess(store: Store, key: string, signal: AbortSignal): Promise<RandomAccess> {
  const info = await store.head(key, { signal });
  if (info === undefined) throw new WardenError('object-missing', `store ${store.name} holds no ${key}`);
  const { size } = info;
  return {
    size,
    async read(offset, length, own) {
      if (offset < 0 || length < 0 || offset + length > size) throw outOfFile(key, size, offset, length);
      if (length === 0) return Buffer.alloc(0);
      const bytes = await store.get(key, { signal: own ?? signal, range: { offset, length } });
      if (bytes.length !== length) throw outOfFile(key, offset + bytes.length, offset, length); // replaced by a shorter one meanwhile
      return bytes;
    },
  };
}
