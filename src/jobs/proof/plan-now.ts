/** The policy asked with what is known now: while a backup is taken, and when a proof is made up for. */
import type { Catalog } from '../../catalog/types.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { windowAt } from '../../config/window.ts';
import type { ClusterAccess, ClusterView } from '../../etcd/types.ts';
import type { JobContext } from '../types.ts';
import { proofHistory } from './history.ts';
import { planProof, type ProofPlan } from './policy.ts';
import { freshStatuses } from './statuses.ts';

export interface PlanSetting {
  readonly cluster: ClusterConfig;
  readonly access: ClusterAccess;
  readonly view: ClusterView;
  readonly catalog: Catalog;
  readonly lineage: string | undefined;
  readonly context: Pick<JobContext, 'signal' | 'now'>;
}

/** Who is to be asked, or why nobody. @throws only when the caller gave up */
export async function planNow({ cluster, access, view, catalog, lineage, context }: PlanSetting): Promise<ProofPlan> {
  const statuses = await freshStatuses(access, view, context.signal);
  const { proofs, sinceMs, disagreement } = proofHistory(catalog, lineage);
  const nowMs = context.now().getTime();
  return planProof({
    statuses,
    history: proofs,
    sinceMs,
    doubted: disagreement?.members ?? [],
    config: cluster.proof,
    nowMs,
    inWindow: windowAt(cluster.proof.window, nowMs).open,
  });
}
