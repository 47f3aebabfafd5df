/** Which history this backup belongs to. */
import { announcedRestore, currentGeneration, detectGeneration, type SeenCluster } from '../../catalog/generations.ts';
import type { Backup, Catalog } from '../../catalog/types.ts';
import { WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import type { ClusterView, MemberStatus } from '../../etcd/types.ts';
import type { Acceptance } from '../../format/types.ts';
import { newLineage, type RandomBytes } from '../../format/ids.ts';
import type { BackupRequest } from '../types.ts';

export interface Belonging {
  readonly lineage: string;
  readonly parent: Backup | undefined;
  /** Set when this backup opens a generation: why. */
  readonly opens: string | undefined;
  /** A restore said that this generation would begin: nobody needs to be asked. */
  readonly announced: boolean;
  /** Set when the caller accepts a generation, the one that this backup opens or one that a daemon has opened before: the reason to record. */
  readonly accepts: string | undefined;
  /** Set when the history looks moved back, but only because too few members can be seen. */
  readonly doubt: string | undefined;
}

/** @throws WardenError `refused` when a new generation was met and the caller wants to be asked first */
export function belongsTo(
  catalog: Catalog,
  view: ClusterView,
  request: Pick<BackupRequest, 'cluster' | 'onNewGeneration' | 'acceptCluster'>,
  random: RandomBytes,
): Belonging {
  const seen = seenOf(view);
  const verdict = detectGeneration(catalog, seen);
  const nothing = { parent: undefined, opens: undefined, accepts: undefined, announced: false, doubt: undefined };
  if (verdict.kind === 'first') return { ...nothing, lineage: newLineage(random) };
  const current = currentGeneration(catalog.generations);
  if (verdict.kind === 'same') {
    const accepts = request.acceptCluster && current?.accepted === false ? 'backup --accept-cluster' : undefined;
    return { ...nothing, lineage: verdict.lineage, parent: byId(catalog, verdict.parent), accepts };
  }
  if (!view.quorum && current?.clusterId === seen.clusterId) {
    // Without quorum the members that are left may be the ones that lagged: on the worst night that must not refuse the last copy of the data.
    return {
      ...nothing,
      lineage: verdict.previous,
      parent: newestOf(catalog, verdict.previous),
      doubt: `${verdict.reason}; without quorum that may be a member that lags`,
    };
  }
  const announced = announcedRestore(catalog, seen.clusterId);
  if (announced !== undefined)
    return { ...nothing, lineage: newLineage(random), opens: `${verdict.reason}; ${restoredText(announced)}`, announced: true };
  if (request.onNewGeneration === 'refuse' && !request.acceptCluster) {
    throw new WardenError('refused', `cluster ${request.cluster} is not the one of the earlier backups: ${verdict.reason}`, {
      hint: 'after a restore or a rebuild that you know of, say --accept-cluster; otherwise check --endpoints and --cluster',
    });
  }
  const accepts = request.acceptCluster ? verdict.reason : undefined;
  return { ...nothing, lineage: newLineage(random), opens: verdict.reason, accepts };
}

function restoredText({ time, restore }: Acceptance): string {
  return `it was restored on ${time}${restore?.source.backup === undefined ? '' : ` from ${restore.source.backup}`}`;
}

/** The furthest that any member of the majority's cluster has got: one that lags is not a history that moved back. */
export function seenOf(view: ClusterView): SeenCluster {
  const statuses = view.members.flatMap((member): MemberStatus[] =>
    member.reachable && member.status.clusterId === view.clusterId ? [member.status] : [],
  );
  const most = (values: readonly bigint[]): bigint => values.reduce((a, b) => (a > b ? a : b), 0n);
  return {
    clusterId: hex(view.clusterId),
    revision: most(statuses.map((status) => status.revision)),
    raftTerm: most(statuses.map((status) => status.raftTerm)),
  };
}

function byId(catalog: Catalog, id: string): Backup | undefined {
  return catalog.backups.find((backup) => backup.id === id);
}

function newestOf(catalog: Catalog, lineage: string): Backup | undefined {
  return catalog.backups.findLast((backup) => backup.manifest.lineage === lineage);
}
