import { findBackup } from '../../catalog/find.ts';
import { removeBackup } from '../../catalog/remove.ts';
import { WardenError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { guardsAgainst } from '../../retention/apply.ts';
import { retentionView } from '../../catalog/retention-view.ts';
import { readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

/** All guards of all stores are asked before the first byte goes. */
export async function run(invocation: Invocation): Promise<Answer> {
  const { options, context } = invocation;
  return withReadStores(invocation, async (all) => {
    const stores = options['store'] === undefined ? all : all.filter((store) => store.name === options['store']);
    if (stores.length === 0)
      throw new WardenError('usage', `there is no store named ${String(options['store'])}`, {
        hint: `there are: ${all.map((store) => store.name).join(', ')}`,
      });
    const cluster = await readCluster(invocation, all);
    const catalog = await loadCatalog(all, cluster, context.signal);
    const unreachable = catalog.unreachable[0];
    if (unreachable !== undefined) {
      throw new WardenError(
        'refused',
        `store ${unreachable.store} could not be listed, and a hold may lie there: ${unreachable.error.message}`,
        { hint: 'nothing was deleted; try again when it answers' },
      );
    }
    const backup = findBackup(catalog, invocation.arguments[0] ?? '');
    const holders = stores.filter((store) => backup.copies.some((copy) => copy.store === store.name && copy.manifest === 'present'));
    if (holders.length === 0) {
      throw new WardenError('nothing-found', `${backup.id} is not on ${stores.map((store) => store.name).join(', ')}`, {
        hint: '`etcd-warden list` shows where it is',
      });
    }
    for (const store of holders) {
      const bars = guardsAgainst({ ...retentionView(catalog, store.name), nowMs: context.now().getTime() }, backup.id);
      if (bars.length > 0)
        throw new WardenError('refused', `${backup.id} stays on ${store.name}: ${bars.join('; ')}`, {
          hint: 'the same guard keeps prune from it; see `etcd-warden list`',
        });
    }
    const results = [];
    for (const store of holders) {
      const removal = await removeBackup(store, cluster, backup.id, { signal: context.signal });
      results.push({
        store: store.name,
        outcome: removal.outcome,
        kept: removal.kept.map((kept) => ({ key: kept.key, until: kept.until?.toISOString() ?? null, reason: kept.reason })),
      });
    }
    const kept = results.filter((result) => result.outcome === 'kept');
    return {
      exitCode: kept.length > 0 ? 3 : 0,
      json: { id: backup.id, results },
      text: results
        .map(
          (result) =>
            `${backup.id} on ${result.store}: ${result.outcome}${result.kept[0] === undefined ? '' : ` until ${result.kept[0].until ?? 'the store lets it go'}: ${result.kept[0].reason}`}`,
        )
        .join('\n'),
    };
  });
}
