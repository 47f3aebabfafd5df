import type { Catalog } from '../../catalog/types.ts';
import { formatDurationShort } from '../../config/units.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { outlookOf, reportMaintenance } from '../../jobs/status-maintenance.ts';
import {
  protectionOf,
  reportCluster,
  type ClusterReport,
  type DrillReport,
  type Protection,
  type ReportedDrill,
} from '../../jobs/status.ts';
import { clusterOf, withStores } from '../../jobs/stores.ts';
import { catalogRemarks } from '../output/backups.ts';
import { clusterText, maintenanceJson, maintenanceText, memberJson } from '../output/cluster-status.ts';
import { printable, wrapText } from '../output/table.ts';
import { chosenCluster, readCluster, requireStore } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { catalogJson } from './list.ts';

/** Each part may fail on the worst night; the others are shown all the same. Without members or backups the exit code is 1. */
export async function run(invocation: Invocation): Promise<Answer> {
  const { loaded, context, output } = invocation;
  const cluster = clusterOf(loaded.config, chosenCluster(loaded));
  const [report, maintenance, catalog] = await Promise.all([
    reportCluster(cluster, context).catch((error: unknown) => asError(error)),
    reportMaintenance(cluster, context).catch((error: unknown) => asError(error)),
    catalogOf(invocation, cluster).catch((error: unknown) => asError(error)),
  ]);
  context.signal.throwIfAborted();
  const now = context.now();
  const { maxAgeMs } = cluster.backup;
  // Without a file the name is a guess until the backups have told theirs.
  const name = catalog instanceof Error ? cluster.name : catalog.cluster;
  const healthy = isHealthy(report) && isProtected(catalog, maxAgeMs, now);
  const outlook =
    maintenance instanceof Error ? undefined : outlookOf(maintenance, catalog instanceof Error ? undefined : catalog, now.getTime());
  const cannot = report instanceof Error;
  return {
    exitCode: healthy ? 0 : 1,
    json: {
      cluster: name,
      etcd: cannot
        ? { error: report.message }
        : { ...report, cluster: name, members: report.members.map((member) => memberJson(member, maintenance)) },
      maintenance: maintenanceJson(maintenance, outlook),
      protection: catalog instanceof Error ? { error: catalog.message } : { ...protectionOf(catalog), maxAgeMs, ...catalogJson(catalog) },
    },
    text: [
      ...(cannot
        ? [`cluster ${name}: ${printable(report.message)}`, ...hintOf(report)]
        : [
            ...clusterText(report, maintenance, name, now.getTime(), output.width),
            '',
            ...maintenanceText(maintenance, outlook, now.getTime(), output.width),
          ]),
      '',
      ...protectionText(catalog, maxAgeMs, now).map((line) => wrapText(line, output.width)),
    ].join('\n'),
  };
}

/** As every reading verb: without a file and a name, the only cluster that is found in the stores. */
async function catalogOf(invocation: Invocation, cluster: ClusterConfig): Promise<Catalog> {
  const { loaded, context } = invocation;
  requireStore(loaded, cluster.name);
  return withStores(loaded.config, cluster.backup.stores, context.logger, async (stores) => {
    const named = loaded.config.file === undefined ? loaded.selected.cluster : cluster.name;
    return loadCatalog(stores, named ?? (await readCluster(invocation, stores)), context.signal);
  });
}

function isHealthy(report: ClusterReport | Error): boolean {
  return (
    !(report instanceof Error) &&
    report.quorum &&
    report.alarms.length === 0 &&
    report.members.every((member) => member.error === undefined)
  );
}

function isProtected(catalog: Catalog | Error, maxAgeMs: number, now: Date): boolean {
  if (catalog instanceof Error) return false;
  const { latest, disagreement, drills } = protectionOf(catalog);
  return (
    disagreement === undefined &&
    drills.every(({ failure }) => failure === undefined) &&
    latest !== undefined &&
    now.getTime() - Date.parse(latest.time) <= maxAgeMs
  );
}

function protectionText(catalog: Catalog | Error, maxAgeMs: number, now: Date): string[] {
  if (catalog instanceof Error) return [`backups: ${printable(catalog.message)}`, ...hintOf(catalog)];
  const protection: Protection = protectionOf(catalog);
  const remarks = catalogRemarks(catalog).map((remark) => `note: ${printable(remark)}`);
  if (protection.latest === undefined) {
    const unverified = protection.backups === 0 ? 'there is no backup' : `none of ${counted(protection.backups, 'backup')} is verified`;
    return [`NOT PROTECTED: ${unverified}`, ...remarks];
  }
  const ageMs = now.getTime() - Date.parse(protection.latest.time);
  const late = ageMs > maxAgeMs ? `, OLDER than ${formatDurationShort(maxAgeMs)}` : '';
  return [
    `newest verified backup: ${protection.latest.id}, ${formatDurationShort(ageMs)} ago${late}, revision ${protection.latest.revision}, on ${protection.latest.stores.join(', ')}`,
    protection.proved === undefined
      ? 'no backup was compared with the cluster'
      : `newest proved backup: ${protection.proved.id}, ${formatDurationShort(now.getTime() - Date.parse(protection.proved.time))} ago, equal to ${protection.proved.members.map(printable).join(', ')}`,
    ...protection.drills.map((drill) => drillText(drill, now)),
    ...(protection.disagreement === undefined ? [] : [`MEMBERS DISAGREE: ${printable(protection.disagreement.reason)}`]),
    `protected since ${protection.since}: ${counted(protection.backups, 'backup')}, ${protection.partial} not complete, ${protection.suspect} suspect`,
    ...remarks,
  ];
}

function drillText({ store, last, success, failure }: DrillReport, now: Date): string {
  const ago = ({ time }: ReportedDrill): string => `${formatDurationShort(now.getTime() - Date.parse(time))} ago`;
  if (failure !== undefined)
    return `A RESTORE FROM ${store} FAILED in the drill ${ago(failure)}: ${printable(failure.reason ?? 'no reason is recorded')}`;
  const undone =
    last?.outcome === 'inconclusive' ? `; the one ${ago(last)} was not done: ${printable(last.reason ?? 'no reason is recorded')}` : '';
  if (success === undefined) return `no restore from ${store} was rehearsed${undone === '' ? ': see `etcd-warden drill`' : undone}`;
  const took = success.recoveryMs === undefined ? '' : `, recovered in ${formatDurationShort(success.recoveryMs)}`;
  return `newest drill of ${store}: ${success.id ?? ''}, ${ago(success)}${took}${success.level === 'offline' ? ', offline' : ''}${undone}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function hintOf(error: Error): string[] {
  return error instanceof WardenError && error.hint !== undefined ? [`hint: ${printable(error.hint)}`] : [];
}
