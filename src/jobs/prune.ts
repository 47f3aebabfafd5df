/** Retention, store by store: reads the catalogue, asks the policy, removes what it names, reports every line. */
import type { CatalogCache } from '../catalog/cache.ts';
import { removeBackup } from '../catalog/remove.ts';
import { readCatalog } from '../catalog/read.ts';
import { retentionView } from '../catalog/retention-view.ts';
import type { Catalog } from '../catalog/types.ts';
import type { RetentionConfig } from '../config/types.ts';
import { crashPoint } from '../crash-points.ts';
import { asError } from '../errors.ts';
import { applyRetention } from '../retention/apply.ts';
import type { RetentionVerdict } from '../retention/types.ts';
import type { Store } from '../store/types.ts';
import type { JobContext } from './types.ts';

export interface PruneLine extends RetentionVerdict {
  readonly store: string;
  /** What came of it: `kept` and `would-remove` need no call; `locked` = the store denied the delete until a date. */
  readonly outcome: 'kept' | 'would-remove' | 'removed' | 'locked' | 'failed';
  readonly detail?: string;
}

export interface PruneResult {
  readonly cluster: string;
  readonly dryRun: boolean;
  readonly lines: readonly PruneLine[];
  /** Stores that could not be listed: nothing was removed on any, because what they hold is not known. */
  readonly skipped: readonly { readonly store: string; readonly message: string }[];
}

/** @param stores those to prune; the verdict on each takes only its own copies into account */
export async function pruneCluster(
  stores: readonly Store[],
  cluster: string,
  policy: RetentionConfig,
  options: { readonly dryRun: boolean; readonly cache?: CatalogCache },
  context: Pick<JobContext, 'signal' | 'logger' | 'now' | 'progress'>,
): Promise<PruneResult> {
  const catalog = await readCatalog(stores, cluster, {
    signal: context.signal,
    ...(options.cache === undefined ? {} : { cache: options.cache }),
  });
  const skipped = catalog.unreachable.map((entry) => ({ store: entry.store, message: entry.error.message }));
  const lines: PruneLine[] = [];
  crashPoint('before-retention');
  for (const store of stores) {
    if (skipped.some((entry) => entry.store === store.name)) continue;
    // A generation may be accepted on the store that cannot be listed now: then nothing is removed anywhere, it is only shown.
    const dryRun = options.dryRun || skipped.length > 0;
    for (const verdict of verdictsOn(catalog, store.name, policy, context.now())) {
      lines.push(await carryOut(verdict, store, catalog, dryRun, context));
    }
  }
  return { cluster, dryRun: options.dryRun, lines, skipped };
}

/** The policy's verdicts on the copies of one store. Also for `list`, which shows them, and for `delete`, which obeys them. */
export function verdictsOn(catalog: Catalog, store: string, policy: RetentionConfig, now: Date): RetentionVerdict[] {
  return applyRetention({ ...retentionView(catalog, store), policy, nowMs: now.getTime() });
}

async function carryOut(
  verdict: RetentionVerdict,
  store: Store,
  catalog: Catalog,
  dryRun: boolean,
  context: Pick<JobContext, 'signal' | 'logger' | 'progress'>,
): Promise<PruneLine> {
  const line = { ...verdict, store: store.name };
  if (verdict.action === 'keep') return { ...line, outcome: 'kept' };
  if (dryRun) return { ...line, outcome: 'would-remove' };
  context.progress({ step: 'prune', message: `removing ${verdict.id}`, subject: store.name });
  try {
    const removal = await removeBackup(store, catalog.cluster, verdict.id, { signal: context.signal });
    if (removal.outcome === 'kept') {
      const [denied] = removal.kept;
      const detail = `the store keeps it${denied?.until === undefined ? '' : ` until ${denied.until.toISOString()}`}: ${denied?.reason ?? 'object lock'}`;
      context.logger.info({ id: verdict.id, store: store.name, until: denied?.until?.toISOString() }, 'the store keeps the backup');
      return { ...line, outcome: 'locked', detail };
    }
    context.logger.info({ id: verdict.id, store: store.name, reasons: verdict.reasons }, 'backup removed');
    return { ...line, outcome: 'removed' };
  } catch (thrown) {
    context.signal.throwIfAborted();
    const error = asError(thrown);
    context.logger.error({ id: verdict.id, store: store.name, err: error }, 'the backup was not removed');
    return { ...line, outcome: 'failed', detail: error.message };
  }
}
