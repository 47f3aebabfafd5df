/**
 * The janitor: removes what a crash left in a store. Only objects whose names we gave, only in this cluster's folder, only when they have been of no
 * use for the whole grace period; everything else is left alone and shown by the catalog as an oddity.
 */
import { backupPrefix, clusterPrefix, parseKey } from '../format/keys.ts';
import { timeOfId } from '../format/ids.ts';
import type { Store, SweepReport } from '../store/types.ts';
import { deleteAll, type KeptObject } from './remove.ts';
import type { Catalog } from './types.ts';

export interface SweepClusterOptions {
  /** Of all stores of the cluster: a check is swept only when its backup is on none of them. */
  readonly catalog: Catalog;
  /** Younger leftovers may belong to a backup that is being taken, or copied, by somebody else. */
  readonly graceMs: number;
  readonly now: Date;
  readonly signal: AbortSignal;
}

export interface SweepResult {
  readonly removed: readonly string[];
  readonly kept: readonly KeptObject[];
  /** Temporary files and unfinished uploads. */
  readonly store: SweepReport;
}

export async function sweepCluster(store: Store, { catalog, graceMs, now, signal }: SweepClusterOptions): Promise<SweepResult> {
  const before = now.getTime() - graceMs;
  const published = new Set<string>();
  const payloads: Leftover[] = [];
  const checks: Leftover[] = [];
  for await (const { key, modified } of store.list(clusterPrefix(catalog.cluster), { signal })) {
    const parsed = parseKey(key);
    if (parsed?.type === 'manifest') published.add(parsed.id); // readable or not, of whatever schema: its data is spoken for
    else if (parsed?.type === 'data' || parsed?.type === 'index') {
      payloads.push({ key, id: parsed.id, old: modified.getTime() < before && timeOfId(parsed.id)! < before });
    } else if (parsed?.type === 'check') checks.push({ key, id: parsed.id, old: modified.getTime() < before && parsed.timeMs < before });
  }

  const alive = new Set([...published, ...idsElsewhere(catalog, store.name)]);
  const removed: string[] = [];
  const kept: KeptObject[] = [];
  async function remove(key: string): Promise<void> {
    const result = await deleteAll(store, [key], signal);
    removed.push(...result.removed);
    kept.push(...result.kept);
  }

  const newestVerifiedMs = newestVerified(catalog, store.name);
  for (const { key, id, old } of payloads.filter((each) => !published.has(each.id))) {
    // Data whose manifest was deleted by mistake may be all that is left: it goes only when a newer backup can be counted on here. And it is looked at
    // once more, because a slow backup may have been published since the listing.
    const useless = old && timeOfId(id)! < newestVerifiedMs && !(await isPublished(store, catalog.cluster, id, signal));
    if (useless) await remove(key);
    else alive.add(id);
  }
  // While a store does not answer, the backup that a check belongs to may lie there.
  const orphans = catalog.unreachable.length === 0 ? checks.filter(({ id, old }) => old && !alive.has(id)) : [];
  for (const { key } of orphans) await remove(key);
  return { removed, kept, store: await store.sweep({ olderThanMs: graceMs, now, signal }) };
}

/** A backup's object, and whether it has outlived the grace period both by its name and by the store's clock. */
interface Leftover {
  readonly key: string;
  readonly id: string;
  readonly old: boolean;
}

function newestVerified({ backups }: Catalog, store: string): number {
  const newest = backups.findLast(({ copies }) => copies.some((copy) => copy.store === store && copy.verified));
  return newest?.timeMs ?? Number.NEGATIVE_INFINITY;
}

/** Backups that other stores hold, whole or not. */
function idsElsewhere({ backups, oddities }: Catalog, store: string): string[] {
  const odd = oddities.filter((each) => each.store !== store).map(({ key }) => parseKey(key));
  return [...backups.map(({ id }) => id), ...odd.flatMap((parsed) => (parsed !== undefined && 'id' in parsed ? [parsed.id] : []))];
}

async function isPublished(store: Store, cluster: string, id: string, signal: AbortSignal): Promise<boolean> {
  for await (const { key } of store.list(backupPrefix(cluster, id), { signal })) {
    if (parseKey(key)?.type === 'manifest') return true;
  }
  return false;
}
