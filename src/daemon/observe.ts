/** What the daemon sees of each etcd cluster once a minute, for metrics and the status page. Observation only: nothing is decided by it. */
import type { ClusterConfig } from '../config/types.ts';
import { asError } from '../errors.ts';
import type { ClusterView } from '../etcd/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';

export type Observe = (cluster: ClusterConfig, signal: AbortSignal) => Promise<ClusterView>;

/** Imported when first needed: a daemon that only waits should weigh little. */
export const observeWithClient: Observe = async (cluster, signal) => {
  const [{ observeCluster }, { accessOf }] = await Promise.all([import('../etcd/cluster.ts'), import('../etcd/access.ts')]);
  return observeCluster(accessOf(cluster), { signal });
};

const PATIENCE_MS = 30_000;

/** Never rejects. @returns the view, or undefined when there is none to be had */
export async function observeOnce(
  cluster: ClusterConfig,
  observe: Observe,
  metrics: Metrics,
  logger: Logger,
  signal: AbortSignal,
): Promise<ClusterView | undefined> {
  try {
    const view = await observe(cluster, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
    record(cluster.name, view, metrics);
    return view;
  } catch (error) {
    if (signal.aborted) return undefined;
    logger.debug({ error: asError(error) }, 'the cluster could not be observed');
    metrics.set('etcd_warden_etcd_quorum', { cluster: cluster.name }, 0);
    metrics.set('etcd_warden_etcd_members', { cluster: cluster.name, state: 'reachable' }, 0);
    return undefined;
  }
}

function record(cluster: string, view: ClusterView, metrics: Metrics): void {
  const statuses = view.members.flatMap((member) => (member.reachable ? [member.status] : []));
  const largest = statuses.toSorted((a, b) => b.dbSize - a.dbSize)[0];
  const armed = (type: 'NOSPACE' | 'CORRUPT'): number =>
    new Set(
      statuses
        .flatMap((status) => status.alarms)
        .filter((alarm) => alarm.type === type)
        .map((alarm) => alarm.memberId),
    ).size;
  metrics.set('etcd_warden_etcd_members', { cluster, state: 'reachable' }, statuses.length);
  metrics.set('etcd_warden_etcd_members', { cluster, state: 'unreachable' }, view.members.length - statuses.length);
  metrics.set('etcd_warden_etcd_quorum', { cluster }, view.quorum ? 1 : 0);
  metrics.set('etcd_warden_etcd_alarms', { cluster, alarm: 'nospace' }, armed('NOSPACE'));
  metrics.set('etcd_warden_etcd_alarms', { cluster, alarm: 'corrupt' }, armed('CORRUPT'));
  if (largest === undefined) return;
  metrics.set('etcd_warden_etcd_db_size_bytes', { cluster }, largest.dbSize);
  metrics.set('etcd_warden_etcd_db_in_use_bytes', { cluster }, largest.dbSizeInUse);
}
