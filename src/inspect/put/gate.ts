/** What stands against putting keys into a cluster, and what must be said before. Pure. */
import type { Backup } from '../../catalog/types.ts';
import { WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import type { ClusterView } from '../../etcd/types.ts';
import type { PutPlan } from './types.ts';

export interface Permissions {
  /** Another cluster than the one that was backed up is meant. */
  readonly acceptCluster: boolean;
  /** The keys of an API server may be written behind its back. */
  readonly kubernetes: boolean;
}

/** Asked before anything is compared: who cannot write need not look. @returns the first thing that stands against it */
export function clusterBar(view: ClusterView, backup: Backup | undefined, { acceptCluster }: Permissions): WardenError | undefined {
  if (!view.quorum)
    return new WardenError('no-quorum', `cluster ${hex(view.clusterId)} has no quorum, so it takes no writes`, {
      hint: 'see `etcd-warden status`',
    });
  const alarms = view.members.flatMap((member) => (member.reachable ? member.status.alarms : []));
  if (alarms.some(({ type }) => type === 'CORRUPT'))
    return new WardenError('refused', 'the CORRUPT alarm of etcd is armed: its members disagree, and what is written now may be lost', {
      hint: 'find the member that is wrong and replace it, then disarm the alarm',
    });
  if (alarms.some(({ type }) => type === 'NOSPACE'))
    return new WardenError('refused', 'the NOSPACE alarm of etcd is armed: it accepts no writes', {
      hint: 'compact, defragment and disarm the alarm first',
    });
  const from = clusterOfBackup(backup);
  if (from !== undefined && from !== hex(view.clusterId) && !acceptCluster) {
    return new WardenError('refused', `the backup is of cluster ${from}, the endpoints are of cluster ${hex(view.clusterId)}`, {
      hint: 'check --endpoints; if this cluster is meant (a restored one has another id), add --accept-cluster',
    });
  }
  return undefined;
}

/** Undefined for a plain file, and for an imported one, whose manifest says 0. */
function clusterOfBackup(backup: Backup | undefined): string | undefined {
  const id = backup?.manifest.clusterId;
  return id === '0' ? undefined : id;
}

/** Asked when it is known what would change. */
export function keysBar({ kubernetes: { keys } }: PutPlan, { kubernetes }: Permissions): WardenError | undefined {
  if (keys === 0 || kubernetes) return undefined;
  return new WardenError('refused', `${keys === 1 ? 'a key belongs' : `${keys} keys belong`} to a Kubernetes API server`, {
    hint: `${KUBERNETES}; add --kubernetes to put ${keys === 1 ? 'it' : 'them'} all the same`,
  });
}

const KUBERNETES =
  'an object put back has its old UID, so owners and controllers may take it for a stranger and the garbage collector may delete it, its resourceVersion is that of the write, and admission and validation are passed by';

/** What somebody should know before he says yes. */
export function warningsOf(plan: PutPlan, view: ClusterView, backup: Backup | undefined, withLease: boolean): string[] {
  const warnings: string[] = [];
  const live = hex(view.clusterId);
  const from = clusterOfBackup(backup);
  if (from === undefined)
    warnings.push(`a snapshot of other tools does not tell which cluster it is of; these endpoints are of cluster ${live}`);
  else if (from !== live) warnings.push(`the backup is of cluster ${from}, these endpoints are of cluster ${live}`);
  if (backup?.suspect !== undefined) warnings.push(`the backup is suspect: ${backup.suspect}`);
  const { keys, encrypted } = plan.kubernetes;
  if (keys > 0) warnings.push(`Kubernetes: ${KUBERNETES}`);
  if (encrypted > 0) {
    warnings.push(
      `${encrypted} of the values ${encrypted === 1 ? 'is' : 'are'} encrypted by the API server: without the same EncryptionConfiguration, its keys included, nobody can read them`,
    );
  }
  if (plan.keptOutLeases > 0)
    warnings.push(`${plan.keptOutLeases} of the keys had a lease in the backup; leases are kept out (--with-lease)`);
  if (plan.own > 0)
    warnings.push(
      `${plan.own === 1 ? 'a key of the backup is' : `${plan.own} keys of the backup are`} etcd-warden's own (its lock, for one) and left out`,
    );
  if (plan.goneLeases > 0) warnings.push(`${plan.goneLeases} of the keys had a lease that no longer lives: they are put without`);
  const leased = plan.changes.filter((change) => change.lease === 'keep' && change.liveLease !== 0n).length;
  if (leased > 0) warnings.push(`${leased} of the keys hang on a lease of the live cluster, and will end with it`);
  if (withLease && plan.changes.some((change) => typeof change.lease === 'bigint' && change.lease !== 0n))
    warnings.push('keys that are put with their lease end with it');
  return warnings;
}
