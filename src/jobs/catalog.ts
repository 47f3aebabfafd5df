/** Reading verbs: which cluster is meant, and what its stores hold. */
import { join } from 'node:path';
import { fileCache, type CatalogCache } from '../catalog/cache.ts';
import { listClusters, readCatalog } from '../catalog/read.ts';
import type { Catalog } from '../catalog/types.ts';
import type { Config } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import type { Store } from '../store/types.ts';

/**
 * The name of the cluster to read: the one that was named, the only one configured, or without a file the only one found under the prefix.
 * @param named `--cluster`, if given
 * @throws WardenError `usage` with their names when there are several, `nothing-found` when there is none
 */
export async function clusterToRead(
  config: Config,
  named: string | undefined,
  stores: readonly Store[],
  signal: AbortSignal,
): Promise<string> {
  if (named !== undefined) return named;
  const configured = config.file === undefined ? [] : Object.keys(config.clusters);
  const found = configured.length > 0 ? configured : await clustersIn(stores, signal);
  const [only, ...others] = found;
  if (only === undefined) {
    throw new WardenError('nothing-found', `there are no backups in ${stores.map((store) => store.location).join(', ')}`, {
      hint: 'check --from, and the prefix of an s3:// address',
    });
  }
  if (others.length > 0)
    throw new WardenError('usage', `there are backups of several clusters: ${found.join(', ')}`, { hint: 'choose one with --cluster' });
  return only;
}

async function clustersIn(stores: readonly Store[], signal: AbortSignal): Promise<readonly string[]> {
  const { clusters, unreachable } = await listClusters(stores, { signal });
  const failed = unreachable[0];
  if (failed !== undefined && unreachable.length === stores.length) throw failed.error;
  return clusters;
}

/** The catalogue over these stores; stores that could not be listed are in it as unreachable, unless none could. */
export async function loadCatalog(stores: readonly Store[], cluster: string, signal: AbortSignal): Promise<Catalog> {
  const catalog = await readCatalog(stores, cluster, { signal });
  const failed = catalog.unreachable[0];
  if (failed !== undefined && catalog.unreachable.length === stores.length) throw failed.error;
  return catalog;
}

/** What the daemon's jobs remember of immutable objects between runs; may be thrown away at any time. A single command does without. */
export function catalogCache(config: Pick<Config, 'stateDir'>): CatalogCache {
  return fileCache(join(config.stateDir, 'cache'));
}
