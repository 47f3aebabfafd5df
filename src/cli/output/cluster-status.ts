/** The half of `status` that is about the cluster: its members, what maintenance would do next, and when the quota is reached. */
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import type { MaintenanceReport, Outlook } from '../../jobs/status-maintenance.ts';
import type { ClusterReport, MemberReport } from '../../jobs/status.ts';
import type { Action, ClusterState, MemberState, Quota, Refusal } from '../../maintenance/planner/types.ts';
import { actionText, planJson, refusalLines, stepJson } from './plan.ts';
import { printable, renderTable, wrapText, type Column } from './table.ts';

/** What was asked of a member, and what maintenance knows of it besides. */
interface Row {
  readonly member: MemberReport;
  readonly quota: Quota | undefined;
  readonly defragMs: number | undefined;
  readonly nowMs: number;
  /** All members have the same: then it is said once, above the table. */
  readonly oneTerm: boolean;
  readonly oneVersion: boolean;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'MEMBER', value: ({ member }) => member.name ?? '?' },
  { title: 'ENDPOINT', spare: 6, value: ({ member }) => member.endpoint },
  { title: 'ROLE', value: ({ member }) => member.role },
  { title: 'VERSION', spare: 3, value: ({ member, oneVersion }) => (oneVersion ? '' : (member.version ?? '-')) },
  { title: 'SIZE', align: 'right', value: ({ member }) => bytes(member.dbSize) },
  { title: 'IN USE', align: 'right', spare: 4, value: ({ member }) => bytes(member.dbSizeInUse) },
  { title: 'FREE', align: 'right', spare: 2, value: ({ member }) => freeText(member) },
  { title: 'QUOTA', align: 'right', value: ({ quota }) => (quota === undefined ? '-' : quotaText(quota)) },
  { title: 'USED', align: 'right', value: ({ member, quota }) => percent(usedShare(member, quota)) },
  { title: 'REVISION', align: 'right', spare: 5, value: ({ member }) => member.revision ?? '-' },
  { title: 'TERM', align: 'right', spare: 7, value: ({ member, oneTerm }) => (oneTerm ? '' : (member.raftTerm ?? '-')) },
  { title: 'LAG', align: 'right', spare: 1, value: ({ member }) => member.raftLag ?? '-' },
  {
    title: 'READ',
    align: 'right',
    value: ({ member }) => (member.readLatencyMs === undefined ? '-' : formatDurationShort(Math.max(1, member.readLatencyMs))),
  },
  {
    title: 'DEFRAG',
    align: 'right',
    spare: 2,
    value: ({ defragMs, nowMs }) => (defragMs === undefined ? '-' : `${ago(nowMs - defragMs)} ago`),
  },
  { title: 'ALARMS', value: ({ member }) => member.alarms.join(' ') || '-' },
];

function bytes(value: number | undefined): string {
  return value === undefined ? '-' : formatBytes(value);
}

function freeText({ dbSize, dbSizeInUse }: MemberReport): string {
  return dbSize === undefined || dbSizeInUse === undefined ? '-' : formatBytes(Math.max(0, dbSize - dbSizeInUse));
}

function quotaText({ bytes: limit }: Quota): string {
  return limit === undefined ? 'none' : formatBytes(limit);
}

/** 0 to 1, of the size of the file: that is what etcd compares with the quota. */
export function usedShare({ dbSize }: Pick<MemberReport, 'dbSize'>, quota: Quota | undefined): number | undefined {
  return dbSize === undefined || quota?.bytes === undefined ? undefined : dbSize / quota.bytes;
}

function percent(share: number | undefined): string {
  return share === undefined ? '-' : `${Math.round(share * 100)}%`;
}

function ago(ms: number): string {
  return formatDurationShort(Math.max(0, ms));
}

/** As maintenance found it; from the member's own Status where maintenance could not look. */
export function quotaOfMember({ id, quota }: MemberReport, maintenance: MaintenanceReport | Error): Quota | undefined {
  const found = stateOf(id, maintenance)?.quota;
  if (found !== undefined) return found;
  return quota === undefined ? undefined : { bytes: quota, source: 'status' };
}

function stateOf(id: string | undefined, maintenance: MaintenanceReport | Error): MemberState | undefined {
  // Of a member that does not answer maintenance knows only what is assumed of all.
  return maintenance instanceof Error ? undefined : maintenance.sight.state.members.find((member) => member.id === id && member.reachable);
}

export function clusterText(
  report: ClusterReport,
  maintenance: MaintenanceReport | Error,
  name: string,
  nowMs: number,
  width: number,
): string[] {
  const terms = new Set(report.members.flatMap(({ raftTerm }) => raftTerm ?? []));
  const versions = new Set(report.members.flatMap(({ version }) => version ?? []));
  const past = maintenance instanceof Error ? undefined : maintenance.sight.state.past;
  const rows = report.members.map((member): Row => ({
    member,
    quota: quotaOfMember(member, maintenance),
    defragMs: member.id === undefined ? undefined : past?.defrags[member.id]?.atMs,
    nowMs,
    oneTerm: terms.size === 1,
    oneVersion: versions.size === 1,
  }));
  const leader = report.members.find(({ role }) => role === 'leader')?.name;
  return [
    ...alarmLines(report, maintenance).map((line) => wrapText(line, width)),
    wrapText(
      [
        `cluster ${name} (${report.clusterId}): ${report.quorum ? 'has quorum' : 'NO QUORUM, or no leader'}`,
        ...(leader === undefined ? [] : [`leader ${printable(leader)}`]),
        ...(terms.size === 1 ? [`term ${[...terms].join('')}`] : []),
        ...(versions.size === 1 ? [`etcd ${printable([...versions].join(''))}`] : []),
      ].join(', '),
      width,
    ),
    renderTable(COLUMNS, rows, width),
    ...[...memberErrors(report), ...quotaLines(rows), ...report.notes.map((note) => `note: ${printable(note)}`)].map((line) =>
      wrapText(line, width),
    ),
  ];
}

/** On lines of their own: nothing else matters until somebody has looked. Members that are down, or gone, have no row that could tell. */
function alarmLines({ alarms }: ClusterReport, maintenance: MaintenanceReport | Error): string[] {
  const known = maintenance instanceof Error ? [] : maintenance.sight.state.members;
  const armed = (type: string): string =>
    alarms
      .filter((alarm) => alarm.type === type)
      .map(({ memberId }) => printable(known.find(({ id }) => id === memberId)?.name ?? `member id ${memberId}`))
      .join(', ');
  const [corrupt, noSpace] = [armed('CORRUPT'), armed('NOSPACE')];
  return [
    ...(corrupt === ''
      ? []
      : [`CORRUPT: etcd found members with different data (${corrupt}); maintenance does nothing until somebody has looked`]),
    ...(noSpace === '' ? [] : [`NOSPACE: out of space, the cluster accepts no writes (${noSpace})`]),
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

const SOURCES: Readonly<Record<Quota['source'], string>> = {
  status: 'as the members tell',
  metrics: "as the members' metrics tell",
  configured: 'as configured, since no member tells',
  default: "etcd's default, since no member tells (maintenance.quota)",
};

/** Where the quotas are known from; by member only when that differs. */
function quotaLines(rows: readonly Row[]): string[] {
  const known = rows.filter(({ quota }) => quota !== undefined);
  const sources = [...new Set(known.map(({ quota }) => quota!.source))];
  return sources.map((source) => {
    const names = known.filter(({ quota }) => quota!.source === source).map(({ member }) => printable(member.name ?? member.endpoint));
    return `quota${sources.length === 1 ? '' : ` of ${names.join(', ')}`}: ${SOURCES[source]}`;
  });
}

/** Rules that say that all is well, or that somebody else does it: nothing to tell when nothing is due. */
const CONTENT: ReadonlySet<Refusal['rule']> = new Set(['not-needed', 'done', 'kubernetes-compacts', 'etcd-compacts', 'compaction-off']);

export function maintenanceText(
  maintenance: MaintenanceReport | Error,
  outlook: Outlook | undefined,
  nowMs: number,
  width: number,
): string[] {
  if (maintenance instanceof Error) return [wrapText(`maintenance: could not look: ${printable(maintenance.message)}`, width)];
  const { sight, plan, enabled } = maintenance;
  const { state } = sight;
  const lines = [compactionText(maintenance, nowMs)];
  if (plan.action !== undefined) {
    const whole = plan.steps.map(({ action }) => actionText(action, state)).join(', then ');
    lines.push(`next: ${whole}${freezeText(plan.action, state)}${enabled ? '' : '; by hand: maintenance.enabled is off'}`);
  } else lines.push(plan.complete ? 'next: nothing is due' : 'next: NOTHING IS DONE although something is due');
  // Said by "nothing is due" already.
  const telling = plan.refusals.filter(({ rule }) => plan.action !== undefined || !plan.complete || !CONTENT.has(rule));
  const later: string[] = [];
  if (plan.againMs !== undefined && plan.action === undefined && !plan.complete)
    later.push(`again: in ${formatDurationShort(Math.max(0, plan.againMs - nowMs))}`);
  const { failure } = state.past;
  if (failure !== undefined) later.push(`last round failed ${ago(nowMs - failure.atMs)} ago (${failure.rule}): ${failure.reason}`);
  later.push(outlookText(outlook, nowMs));
  const wrapped = (line: string): string => wrapText(printable(line), width);
  return [...lines.map(wrapped), ...refusalLines(telling, 'not now', width), ...later.map(wrapped)];
}

function freezeText(action: Action, { members }: ClusterState): string {
  if (action.kind !== 'defrag') return '';
  const member = members.find(({ id }) => id === action.member);
  const guess = member?.rate.learned === false ? ', a guess' : '';
  return ` (${member?.name ?? action.member} frozen for about ${formatDurationShort(Math.max(1, action.predictedMs))}${guess})`;
}

function compactionText({ sight: { state } }: MaintenanceReport, nowMs: number): string {
  const { past, compactRevision, revision, kubernetes } = state;
  const known =
    compactRevision === undefined ? 'nobody can tell' : compactRevision > 0n ? `to revision ${compactRevision} of ${revision}` : 'never';
  const last =
    past.compaction === undefined ? '' : `; last by etcd-warden ${ago(nowMs - past.compaction.atMs)} ago, to ${past.compaction.revision}`;
  return `compacted: ${known}${last}${kubernetes ? '; Kubernetes compacts by itself' : ''}`;
}

function outlookText(outlook: Outlook | undefined, nowMs: number): string {
  if (outlook === undefined) return 'forecast: too little is known of the growth';
  const { member, bytesPerDay, reachedMs, from } = outlook;
  const basis = from === 'samples' ? '' : ', by the sizes of the backups';
  if (reachedMs === undefined)
    return `forecast: the quota is not reached at the present growth (${formatBytes(bytesPerDay)} a day${basis})`;
  return `forecast: at ${formatBytes(bytesPerDay)} a day ${member} reaches its quota in ${formatDurationShort(Math.max(0, reachedMs - nowMs))}${basis}`;
}

/** As in docs/json.md. */
export function maintenanceJson(maintenance: MaintenanceReport | Error, outlook: Outlook | undefined): Record<string, unknown> {
  if (maintenance instanceof Error) return { error: maintenance.message };
  const { sight, plan, enabled } = maintenance;
  const { state } = sight;
  const { past } = state;
  const { steps, refusals, noSpace, again } = planJson(plan, state);
  return {
    enabled,
    noSpace,
    next: plan.action === undefined ? null : stepJson(plan.action, state),
    steps,
    refusals,
    again,
    revision: String(state.revision),
    compactRevision: state.compactRevision === undefined ? null : String(state.compactRevision),
    kubernetes: state.kubernetes,
    compaction: past.compaction === undefined ? null : { time: time(past.compaction.atMs), revision: String(past.compaction.revision) },
    failure: past.failure === undefined ? null : { ...past.failure, atMs: undefined, time: time(past.failure.atMs) },
    forecast:
      outlook === undefined
        ? null
        : {
            member: outlook.member,
            bytesPerDay: outlook.bytesPerDay,
            quotaReached: outlook.reachedMs === undefined ? null : time(outlook.reachedMs),
            from: outlook.from,
          },
    notes: sight.notes,
  };
}

/** What maintenance adds to a member in JSON. */
export function memberJson(member: MemberReport, maintenance: MaintenanceReport | Error): Record<string, unknown> {
  const quota = quotaOfMember(member, maintenance);
  const defrag = maintenance instanceof Error || member.id === undefined ? undefined : maintenance.sight.state.past.defrags[member.id];
  return {
    ...member,
    quota: quota?.bytes,
    quotaSource: quota?.source,
    used: usedShare(member, quota),
    lastDefrag:
      defrag === undefined
        ? undefined
        : { time: time(defrag.atMs), tookMs: defrag.tookMs, beforeBytes: defrag.beforeBytes, afterBytes: defrag.afterBytes },
  };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
