/** Taking one backup off one store. Whether it may go is the policy's affair (src/retention); this is the order in which it goes. */
import { crashPoint } from '../crash-points.ts';
import { backupPrefix, checksPrefix, parseKey } from '../format/keys.ts';
import type { CallOptions, Store } from '../store/types.ts';

export interface KeptObject {
  readonly key: string;
  /** When the store will let it go, if it says so. */
  readonly until: Date | undefined;
  readonly reason: string;
}

export interface Removal {
  /** `kept`: the store denies it (object lock) and the backup is as it was; `absent`: there was no manifest. */
  readonly outcome: 'removed' | 'kept' | 'absent';
  readonly removed: readonly string[];
  /** The manifest, when it is kept; else leftovers that the store denies to delete and a later sweep tries again. */
  readonly kept: readonly KeptObject[];
}

/**
 * Manifest first: from then on the backup is not listed, and what a crash leaves behind is data without a manifest, which the sweep removes. The
 * other way round a crash would leave a backup that is listed and cannot be restored. Checks go last: a hold must not end before its backup.
 */
export async function removeBackup(store: Store, cluster: string, id: string, { signal }: CallOptions): Promise<Removal> {
  const manifests: string[] = [];
  const rest: string[] = [];
  for await (const { key } of store.list(backupPrefix(cluster, id), { signal })) {
    const type = parseKey(key)?.type;
    if (type === 'manifest') manifests.push(key);
    else if (type === 'data' || type === 'index') rest.push(key);
  }
  const first = await deleteAll(store, manifests, signal);
  // A manifest that stays needs its data.
  if (first.kept.length > 0) return { outcome: 'kept', ...first };
  crashPoint('mid-prune');
  const checks: string[] = [];
  for await (const { key } of store.list(checksPrefix(cluster, id), { signal })) {
    if (parseKey(key)?.type === 'check') checks.push(key);
  }
  const then = await deleteAll(store, [...rest, ...checks], signal);
  return { outcome: manifests.length === 0 ? 'absent' : 'removed', removed: [...first.removed, ...then.removed], kept: then.kept };
}

/** One after the other, in this order. */
export async function deleteAll(store: Store, keys: readonly string[], signal: AbortSignal): Promise<Pick<Removal, 'removed' | 'kept'>> {
  const removed: string[] = [];
  const kept: KeptObject[] = [];
  for (const key of keys) {
    const result = await store.delete(key, { signal });
    if (result.outcome === 'deleted') removed.push(key);
    else if (result.outcome === 'kept') kept.push({ key, until: result.until, reason: result.reason });
  }
  return { removed, kept };
}
