import type { Catalog } from '../../catalog/types.ts';
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import { asError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { protectionOf, reportCluster, type ClusterReport, type MemberReport, type Protection } from '../../jobs/status.ts';
import { clusterOf, withStores } from '../../jobs/stores.ts';
import { catalogRemarks } from '../output/backups.ts';
import { printable, renderTable, type Column } from '../output/table.ts';
import { chosenCluster } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { catalogJson } from './list.ts';

/** Either half may fail on the worst night; the other is shown all the same, and the exit code is 1. */
export async function run({ loaded, context, output }: Invocation): Promise<Answer> {
  const cluster = clusterOf(loaded.config, chosenCluster(loaded));
  const [report, catalog] = await Promise.all([
    reportCluster(cluster, context).catch((error: unknown) => asError(error)),
    withStores(loaded.config, cluster.backup.stores, context.logger, (stores) => loadCatalog(stores, cluster.name, context.signal)).catch(
      (error: unknown) => asError(error),
    ),
  ]);
  context.signal.throwIfAborted();
  const healthy =
    !(report instanceof Error) &&
    !(catalog instanceof Error) &&
    report.quorum &&
    report.members.every((member) => member.error === undefined && member.alarms.length === 0);
  return {
    exitCode: healthy ? 0 : 1,
    json: {
      cluster: cluster.name,
      etcd: report instanceof Error ? { error: report.message } : report,
      protection:
        catalog instanceof Error
          ? { error: catalog.message }
          : { ...protectionOf(catalog), maxAgeMs: cluster.backup.maxAgeMs, ...catalogJson(catalog) },
    },
    text: [...clusterText(report, cluster.name, output.width), '', ...protectionText(catalog, cluster.backup.maxAgeMs, context.now())].join(
      '\n',
    ),
  };
}

const COLUMNS: readonly Column<MemberReport>[] = [
  { title: 'MEMBER', value: (member) => member.name ?? '?' },
  { title: 'ENDPOINT', value: (member) => member.endpoint },
  { title: 'ROLE', value: (member) => member.role },
  { title: 'VERSION', value: (member) => member.version ?? '-' },
  { title: 'SIZE', align: 'right', value: (member) => bytes(member.dbSize) },
  { title: 'IN USE', align: 'right', value: (member) => bytes(member.dbSizeInUse) },
  { title: 'REVISION', align: 'right', value: (member) => member.revision ?? '-' },
  { title: 'TERM', align: 'right', value: (member) => member.raftTerm ?? '-' },
  { title: 'LAG', align: 'right', value: (member) => member.raftLag ?? '-' },
  {
    title: 'READ',
    align: 'right',
    value: (member) => (member.readLatencyMs === undefined ? '-' : formatDurationShort(Math.max(1, member.readLatencyMs))),
  },
  { title: 'ALARMS', value: (member) => member.alarms.join(' ') || '-' },
  { title: 'ERROR', value: (member) => member.error ?? '' },
];

function bytes(value: number | undefined): string {
  return value === undefined ? '-' : formatBytes(value);
}

function clusterText(report: ClusterReport | Error, name: string, width: number): string[] {
  if (report instanceof Error) return [`cluster ${name}: ${printable(report.message)}`];
  return [
    `cluster ${name} (${report.clusterId}): ${report.quorum ? 'has quorum' : 'NO QUORUM, or no leader'}`,
    renderTable(COLUMNS, report.members, width),
    ...report.notes.map((note) => `note: ${printable(note)}`),
  ];
}

function protectionText(catalog: Catalog | Error, maxAgeMs: number, now: Date): string[] {
  if (catalog instanceof Error) return [`backups: ${printable(catalog.message)}`];
  const protection: Protection = protectionOf(catalog);
  if (protection.latest === undefined)
    return ['NOT PROTECTED: no verified backup', ...catalogRemarks(catalog).map((remark) => `note: ${printable(remark)}`)];
  const ageMs = now.getTime() - Date.parse(protection.latest.time);
  const late = ageMs > maxAgeMs ? `, OLDER than ${formatDurationShort(maxAgeMs)}` : '';
  return [
    `newest verified backup: ${protection.latest.id}, ${formatDurationShort(ageMs)} ago${late}, revision ${protection.latest.revision}, on ${protection.latest.stores.join(', ')}`,
    `protected since ${protection.since}: ${protection.backups} backups, ${protection.partial} not complete, ${protection.suspect} suspect`,
    ...catalogRemarks(catalog).map((remark) => `note: ${printable(remark)}`),
  ];
}
