/** Reading what there is: which backups exist, where, and how far they can be counted on. */
import { asError } from '../errors.ts';
import { NAME, parseKey } from '../format/keys.ts';
import type { Store } from '../store/types.ts';
import { assembleCatalog } from './assemble.ts';
import { NO_CACHE, type CatalogCache } from './cache.ts';
import { scanStore, type StoreScan } from './scan.ts';
import type { Catalog } from './types.ts';

/** Of a folder that holds no object of ours, this many are looked at before it counts as somebody else's. */
const FOREIGN_LIMIT = 100;

export interface ReadOptions {
  readonly signal: AbortSignal;
  readonly cache?: CatalogCache | undefined;
}

/**
 * The catalog of one cluster over these stores. A store that cannot be listed is named in `unreachable` and does not hold up the others.
 * @throws only when the signal aborts
 */
export async function readCatalog(stores: readonly Store[], cluster: string, { signal, cache = NO_CACHE }: ReadOptions): Promise<Catalog> {
  const scans: StoreScan[] = [];
  const unreachable: { readonly store: string; readonly error: Error }[] = [];
  const results = await Promise.all(
    stores.map(async (store) => {
      try {
        const scan = await scanStore(store, cluster, await cache.load(store.name, cluster), signal);
        await cache.save(store.name, cluster, scan.cacheable);
        return scan;
      } catch (thrown) {
        signal.throwIfAborted();
        return { store: store.name, error: asError(thrown) };
      }
    }),
  );
  // In the order in which the stores were given: it decides whose manifest is shown.
  for (const result of results) {
    if ('error' in result) unreachable.push(result);
    else scans.push(result);
  }
  return assembleCatalog(cluster, scans, unreachable);
}

export interface FoundClusters {
  /** In order of name. */
  readonly clusters: readonly string[];
  readonly unreachable: Catalog['unreachable'];
}

/** Names of clusters that have any object of ours in these stores. Jumps from one to the next instead of listing everything. */
export async function listClusters(stores: readonly Store[], { signal }: { readonly signal: AbortSignal }): Promise<FoundClusters> {
  const clusters = new Set<string>();
  const unreachable: { readonly store: string; readonly error: Error }[] = [];
  for (const store of stores) {
    try {
      for await (const name of clustersOf(store, signal)) clusters.add(name);
    } catch (thrown) {
      signal.throwIfAborted();
      unreachable.push({ store: store.name, error: asError(thrown) });
    }
  }
  return { clusters: [...clusters].sort(), unreachable };
}

async function* clustersOf(store: Store, signal: AbortSignal): AsyncGenerator<string> {
  let startAfter = '';
  for (;;) {
    const folder = await firstFolder(store, startAfter, signal);
    if (folder === undefined) return;
    if (NAME.test(folder) && (await holdsOurs(store, folder, signal))) yield folder;
    // `0` is the character after `/`: everything in the folder sorts before, everything of the next one after.
    startAfter = `${folder}0`;
  }
}

/** The first path segment after `startAfter` that has anything below it; objects at the top are nobody's cluster. */
async function firstFolder(store: Store, startAfter: string, signal: AbortSignal): Promise<string | undefined> {
  for await (const { key } of store.list('', startAfter === '' ? { signal } : { signal, startAfter })) {
    const slash = key.indexOf('/');
    if (slash > 0) return key.slice(0, slash);
  }
  return undefined;
}

async function holdsOurs(store: Store, folder: string, signal: AbortSignal): Promise<boolean> {
  let seen = 0;
  for await (const { key } of store.list(`${folder}/`, { signal })) {
    if (parseKey(key) !== undefined) return true;
    seen += 1;
    if (seen === FOREIGN_LIMIT) return false;
  }
  return false;
}
