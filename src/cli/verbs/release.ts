import { releaseBackup } from '../../catalog/facts.ts';
import { findBackup } from '../../catalog/find.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { factAnswer, factContext } from './hold.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const catalog = await loadCatalog(stores, cluster, invocation.context.signal);
    const backup = findBackup(catalog, invocation.arguments[0] ?? '');
    const { outcomes, releasedGeneration } = await releaseBackup(stores, catalog, backup, factContext(invocation));
    const also = releasedGeneration === undefined ? '' : `; its generation ${releasedGeneration} is released with it`;
    return factAnswer(
      { id: backup.id, held: false, releasedGeneration: releasedGeneration ?? null },
      `${backup.id} is released${also}`,
      outcomes,
    );
  });
}
