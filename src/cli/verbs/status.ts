import type { Catalog } from '../../catalog/types.ts';
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { protectionOf, reportCluster, type ClusterReport, type MemberReport, type Protection } from '../../jobs/status.ts';
import { clusterOf, withStores } from '../../jobs/stores.ts';
import { catalogRemarks } from '../output/backups.ts';
import { printable, renderTable, type Column } from '../output/table.ts';
import { chosenCluster, readCluster, requireStore } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { catalogJson } from './list.ts';

/** Either half may fail on the worst night; the other is shown all the same, and the exit code is 1. */
export async function run(invocation: Invocation): Promise<Answer> {
  const { loaded, context, output } = invocation;
  const cluster = clusterOf(loaded.config, chosenCluster(loaded));
  const [report, catalog] = await Promise.all([
    reportCluster(cluster, context).catch((error: unknown) => asError(error)),
    catalogOf(invocation, cluster).catch((error: unknown) => asError(error)),
  ]);
  context.signal.throwIfAborted();
  const { maxAgeMs } = cluster.backup;
  // Without a file the name is a guess until the backups have told theirs.
  const name = catalog instanceof Error ? cluster.name : catalog.cluster;
  const healthy = isHealthy(report) && isProtected(catalog, maxAgeMs, context.now());
  return {
    exitCode: healthy ? 0 : 1,
    json: {
      cluster: name,
      etcd: report instanceof Error ? { error: report.message } : { ...report, cluster: name },
      protection: catalog instanceof Error ? { error: catalog.message } : { ...protectionOf(catalog), maxAgeMs, ...catalogJson(catalog) },
    },
    text: [...clusterText(report, name, output.width), '', ...protectionText(catalog, maxAgeMs, context.now())].join('\n'),
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
    report.members.every((member) => member.error === undefined && member.alarms.length === 0)
  );
}

function isProtected(catalog: Catalog | Error, maxAgeMs: number, now: Date): boolean {
  if (catalog instanceof Error) return false;
  const { latest, disagreement } = protectionOf(catalog);
  return disagreement === undefined && latest !== undefined && now.getTime() - Date.parse(latest.time) <= maxAgeMs;
}

const COLUMNS: readonly Column<MemberReport>[] = [
  { title: 'MEMBER', value: (member) => member.name ?? '?' },
  { title: 'ENDPOINT', value: (member) => member.endpoint },
  { title: 'ROLE', value: (member) => member.role },
  { title: 'VERSION', spare: 3, value: (member) => member.version ?? '-' },
  { title: 'SIZE', align: 'right', value: (member) => bytes(member.dbSize) },
  { title: 'IN USE', align: 'right', spare: 2, value: (member) => bytes(member.dbSizeInUse) },
  { title: 'REVISION', align: 'right', spare: 1, value: (member) => member.revision ?? '-' },
  { title: 'TERM', align: 'right', spare: 5, value: (member) => member.raftTerm ?? '-' },
  { title: 'LAG', align: 'right', spare: 4, value: (member) => member.raftLag ?? '-' },
  {
    title: 'READ',
    align: 'right',
    value: (member) => (member.readLatencyMs === undefined ? '-' : formatDurationShort(Math.max(1, member.readLatencyMs))),
  },
  { title: 'ALARMS', value: (member) => member.alarms.join(' ') || '-' },
];

function bytes(value: number | undefined): string {
  return value === undefined ? '-' : formatBytes(value);
}

function clusterText(report: ClusterReport | Error, name: string, width: number): string[] {
  if (report instanceof Error) return [`cluster ${name}: ${printable(report.message)}`, ...hintOf(report)];
  return [
    `cluster ${name} (${report.clusterId}): ${report.quorum ? 'has quorum' : 'NO QUORUM, or no leader'}`,
    renderTable(COLUMNS, report.members, width),
    ...memberErrors(report),
    ...report.notes.map((note) => `note: ${printable(note)}`),
  ];
}

/** What the notes do not tell already: those name the members that do not answer at all. */
function memberErrors({ members, notes }: ClusterReport): string[] {
  return members.flatMap(({ name, endpoint, error }) =>
    error === undefined || notes.some((note) => note.includes(error))
      ? []
      : [`${printable(name ?? '?')} (${endpoint}): ${printable(error)}`],
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
    ...(protection.disagreement === undefined ? [] : [`MEMBERS DISAGREE: ${printable(protection.disagreement.reason)}`]),
    `protected since ${protection.since}: ${counted(protection.backups, 'backup')}, ${protection.partial} not complete, ${protection.suspect} suspect`,
    ...remarks,
  ];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function hintOf(error: Error): string[] {
  return error instanceof WardenError && error.hint !== undefined ? [`hint: ${printable(error.hint)}`] : [];
}
