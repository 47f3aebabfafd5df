/** The janitor: removes what a crash left behind, once it is old enough that its writer cannot live. */
import { join } from 'node:path';
import { readCatalog } from '../catalog/read.ts';
import { sweepCluster } from '../catalog/sweep.ts';
import { asError } from '../errors.ts';
import { sweepDrills } from '../restore/drill/folder.ts';
import { catalogCache } from './catalog.ts';
import { drillFolder } from './scratch-folder.ts';
import { sweepTemporaryFiles } from '../store/temporary.ts';
import type { Store } from '../store/types.ts';
import type { JobContext } from './types.ts';

export interface SweepResult {
  readonly removed: readonly {
    readonly store: string;
    readonly what: 'object' | 'temporary-file' | 'multipart-upload' | 'drill';
    readonly name: string;
  }[];
  readonly failed: readonly { readonly store: string; readonly message: string }[];
}

/** Sweeps every store of a cluster, the spool folder of runs that had no local store, and the folder of drills. One store's failure does not stop the others. */
export async function sweepStores(
  stores: readonly Store[],
  cluster: string,
  context: Pick<JobContext, 'config' | 'signal' | 'logger' | 'now' | 'progress'>,
): Promise<SweepResult> {
  const { signal } = context;
  context.progress({ step: 'list', message: 'looking for what an earlier run left' });
  const graceMs = context.config.daemon.sweepAgeMs;
  const now = context.now();
  const removed: SweepResult['removed'][number][] = [];
  const failed: SweepResult['failed'][number][] = [];
  const catalog = await readCatalog(stores, cluster, { signal, cache: catalogCache(context.config) });
  for (const store of stores) {
    const unreachable = catalog.unreachable.find((entry) => entry.store === store.name);
    if (unreachable !== undefined) {
      // Not asked again: where packets vanish that takes minutes, and a single backup waits for its sweep.
      failed.push({ store: store.name, message: unreachable.error.message });
      continue;
    }
    try {
      const swept = await sweepCluster(store, { catalog, graceMs, now, signal });
      removed.push(...swept.removed.map((name) => ({ store: store.name, what: 'object' as const, name })));
      removed.push(...swept.store.removed.map((leftover) => ({ store: store.name, ...leftover })));
    } catch (thrown) {
      signal.throwIfAborted();
      failed.push({ store: store.name, message: asError(thrown).message });
      context.logger.warn({ store: store.name, err: asError(thrown) }, 'the store was not swept');
    }
  }
  const spools = await sweepTemporaryFiles(join(context.config.stateDir, 'spool'), { olderThanMs: graceMs, now, signal });
  for (const swept of spools.removed) removed.push({ store: 'state', ...swept });
  // With it the etcd that a drill may have left, whose process was killed.
  const drills = await sweepDrills(drillFolder(context.config, cluster), { olderThanMs: graceMs, now, signal });
  for (const name of drills) removed.push({ store: 'state', what: 'drill', name });
  for (const swept of removed) context.logger.info({ ...swept }, 'swept what an earlier run left');
  return { removed, failed };
}
