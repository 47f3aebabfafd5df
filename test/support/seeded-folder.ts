import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { memoryStore, type MemoryStore } from './memory-store.ts';

/** Fills a folder with what `seed` puts into a store, under the names that a local store gives: backups without an etcd. */
export function seedFolder(path: string, seed: (stores: readonly MemoryStore[]) => void, name = 'local'): void {
  const store = memoryStore(name);
  seed([store]);
  for (const [key, { body }] of store.objects) {
    mkdirSync(dirname(join(path, key)), { recursive: true });
    writeFileSync(join(path, key), body);
  }
}
