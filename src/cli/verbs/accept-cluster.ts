import { writeAcceptance } from '../../catalog/facts.ts';
import { currentGeneration } from '../../catalog/generations.ts';
import { WardenError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { factAnswer, factContext } from './hold.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const { generations } = await loadCatalog(stores, cluster, invocation.context.signal);
    const newest = currentGeneration(generations);
    if (newest === undefined) {
      throw new WardenError('nothing-found', `there is no backup of ${cluster}, so there is nothing to accept`, {
        hint: 'the first backup of a cluster needs no acceptance',
      });
    }
    const { lineage, clusterId, firstId } = newest;
    if (newest.accepted)
      return {
        json: { cluster, lineage, clusterId, accepted: true, stores: [] },
        text: `cluster ${clusterId}, generation ${lineage} since ${firstId}, is accepted already`,
      };
    const reason = invocation.options['reason'] as string | undefined;
    const outcomes = await writeAcceptance(
      stores,
      cluster,
      { kind: 'accept', lineage, clusterId, ...(reason === undefined ? {} : { reason }) },
      factContext(invocation),
    );
    return factAnswer(
      { cluster, lineage, clusterId, accepted: true },
      `cluster ${clusterId}, generation ${lineage} since ${firstId}, is accepted; the newest verified backup of each earlier generation stays until it is released`,
      outcomes,
    );
  });
}
