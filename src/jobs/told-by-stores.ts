/** What the backups of a cluster tell its maintenance: which revision it had when, and whether its members disagreed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { currentGeneration } from '../catalog/generations.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Catalog } from '../catalog/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import { asError, WardenError } from '../errors.ts';
import type { ClusterState, RevisionMark } from '../maintenance/planner/types.ts';
import type { Samples } from '../maintenance/types.ts';
import { catalogCache } from './catalog.ts';
import { proofHistory } from './proof/history.ts';
import { withStores } from './stores.ts';
import type { JobContext } from './types.ts';

/** It only makes a plan better, so nobody waits long for it. */
const PATIENCE_MS = 10_000;

export interface Told {
  /** With the id of the cluster. */
  readonly marks: readonly (RevisionMark & { readonly clusterId: string })[];
  readonly disagreement: ClusterState['disagreement'];
  /** What could not be learned, for `status`, plans and the log. */
  readonly notes: readonly string[];
}

/** Never a reason not to work. @throws only when the caller gave up */
export async function toldByStores(cluster: ClusterConfig, context: JobContext): Promise<Told> {
  const nothing: Told = { marks: [], disagreement: undefined, notes: [] };
  if (cluster.backup.stores.length === 0) return nothing;
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  try {
    const read = withStores(context.config, cluster.backup.stores, context.logger, async (stores) =>
      told(await readCatalog(stores, cluster.name, { signal, cache: catalogCache(context.config) })),
    );
    read.catch(() => {}); // nobody may be waiting any more
    const inTime = sleep(PATIENCE_MS, undefined, { signal }).then(() => {
      throw new WardenError('timeout', `the stores did not answer within ${PATIENCE_MS / 1000} s`);
    });
    inTime.catch(() => {});
    return await Promise.race([read, inTime]);
  } catch (error) {
    context.signal.throwIfAborted();
    const note = `whether a proof has found members with different data is not known, nor which revision was when: ${asError(error).message}`;
    return { ...nothing, notes: [note] };
  } finally {
    stop.abort();
  }
}

/** Of the newest history alone: revisions of an earlier one are not this cluster's. */
function told(catalog: Catalog): Told {
  const lineage = currentGeneration(catalog.generations)?.lineage;
  const { disagreement } = proofHistory(catalog, lineage);
  return {
    marks: catalog.backups
      .filter(({ manifest }) => manifest.lineage === lineage)
      .flatMap(({ manifest: { clusterId, marks } }) =>
        marks.map(({ time, revision }) => ({ clusterId, timeMs: Date.parse(time), revision: BigInt(revision) })),
      ),
    disagreement: disagreement === undefined ? undefined : { members: disagreement.members, reason: disagreement.reason },
    notes: [],
  };
}

/** Those of the cluster with this id, oldest first. */
export function marksOf(clusterId: string, fromStores: Told['marks'], samples: Samples): RevisionMark[] {
  const stored = fromStores.filter((mark) => mark.clusterId === clusterId).map(({ timeMs, revision }) => ({ timeMs, revision }));
  const sampled = samples.clusterId === clusterId ? samples.marks : [];
  return [...stored, ...sampled].sort((a, b) => a.timeMs - b.timeMs);
}
