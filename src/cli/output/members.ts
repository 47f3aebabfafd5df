/** Members of a cluster and changes of its membership, for people and as JSON. */
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import { hex } from '../../etcd/ids.ts';
import type { HashComparison } from '../../member/hashes.ts';
import type { StartWith } from '../../member/join.ts';
import type { MemberGate, MembershipSight, SeenMember, Stray } from '../../member/types.ts';
import { countText, healthyOf, labelOf } from '../../member/words.ts';
import { aboutMember } from './plan.ts';
import { printable, renderTable, wrapText, type Column } from './table.ts';

interface Row {
  readonly member: SeenMember;
  readonly sight: MembershipSight;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'ID', value: ({ member }) => hex(member.id) },
  { title: 'NAME', value: ({ member }) => member.name || '-' },
  { title: 'STATUS', value: ({ member }) => statusOf(member) },
  { title: 'ROLE', value: ({ member, sight }) => roleOf(member, sight) },
  { title: 'VERSION', spare: 4, value: ({ member }) => member.status?.version ?? '-' },
  {
    title: 'SIZE',
    align: 'right',
    spare: 5,
    value: ({ member }) => (member.status === undefined ? '-' : formatBytes(member.status.dbSize)),
  },
  { title: 'LAG', align: 'right', spare: 2, value: ({ member }) => (member.lag === undefined ? '-' : String(member.lag)) },
  {
    title: 'READ',
    align: 'right',
    spare: 6,
    value: ({ member }) => (member.readMs === undefined ? '-' : formatDurationShort(Math.max(1, Math.round(member.readMs)))),
  },
  { title: 'PEER URLS', spare: 3, value: ({ member }) => member.peerUrls.join(' ') },
  { title: 'CLIENT URLS', wrap: true, value: ({ member }) => member.clientUrls.join(' ') || '-' },
];

/** `started`: it answers. `silent`: it was started once. `no quorum`: it answers, and takes part in nothing. */
function statusOf(member: SeenMember): 'unstarted' | 'silent' | 'started' | 'no quorum' {
  if (!member.started) return 'unstarted';
  if (!member.reachable) return 'silent';
  return member.learner || member.readMs !== undefined ? 'started' : 'no quorum';
}

function roleOf(member: SeenMember, { leader }: MembershipSight): 'learner' | 'leader' | 'voter' {
  if (member.learner) return 'learner';
  return member.id === leader ? 'leader' : 'voter';
}

export function membersText(sight: MembershipSight, width: number): string {
  const head = `cluster ${sight.cluster} (${hex(sight.clusterId)}): ${sight.quorum ? 'has quorum' : 'NO QUORUM'}, ${countText(healthyOf(sight).length, sight.voters)}`;
  const members = sight.members.toSorted(byName);
  return [
    wrapText(printable(head), width),
    renderTable(
      COLUMNS,
      members.map((member) => ({ member, sight })),
      width,
    ),
    ...[
      ...members.flatMap((member) => (member.error === undefined ? [] : [`${labelOf(member)}: ${member.error.message}`])),
      ...sight.alarms.map(({ type, memberId }) => `alarm ${type} is armed for ${nameOf(sight, memberId)}`),
      ...sight.strays.map((stray) => strayText(stray)),
      ...(sight.listed === 'memory' ? ['the list is as one member remembers it: no majority could be asked'] : []),
      ...sight.notes,
    ].map((line) => wrapText(`note: ${printable(line)}`, width)),
  ].join('\n');
}

/** As people count them; etcd lists members by their ids. Those that have no name yet come last. */
function byName(a: SeenMember, b: SeenMember): number {
  return Number(a.name === '') - Number(b.name === '') || a.name.localeCompare(b.name, 'en', { numeric: true });
}

function strayText({ endpoint, clusterId, memberId, advertisedBy, removed }: Stray): string {
  const whose = advertisedBy === undefined ? '' : `, an address of ${advertisedBy},`;
  return removed
    ? `at ${endpoint}${whose} a process answers as ${hex(memberId)}, which is no member (any more)`
    : `at ${endpoint}${whose} a member of another cluster answers (${hex(clusterId)})`;
}

function nameOf(sight: MembershipSight, id: bigint): string {
  const member = sight.members.find((one) => one.id === id);
  return id === 0n ? 'nobody in particular' : member === undefined ? `${hex(id)}, which is no member` : labelOf(member);
}

export function memberListJson(sight: MembershipSight): Record<string, unknown> {
  return {
    cluster: sight.cluster,
    clusterId: hex(sight.clusterId),
    quorum: sight.quorum,
    voters: sight.voters,
    listed: sight.listed,
    members: sight.members.map((member) => ({
      id: hex(member.id),
      name: member.name || null,
      status: statusOf(member),
      role: roleOf(member, sight),
      version: member.status?.version ?? null,
      dbSize: member.status?.dbSize ?? null,
      lag: member.lag === undefined ? null : String(member.lag),
      readMs: member.readMs === undefined ? null : Math.round(member.readMs),
      endpoint: member.endpoint ?? null,
      peerUrls: member.peerUrls,
      clientUrls: member.clientUrls,
      error: member.error?.message ?? null,
    })),
    alarms: sight.alarms.map(({ type, memberId }) => ({ type, memberId: hex(memberId) })),
    strays: sight.strays.map(({ endpoint, clusterId, memberId, advertisedBy, removed }) => ({
      endpoint,
      clusterId: hex(clusterId),
      memberId: hex(memberId),
      advertisedBy: advertisedBy ?? null,
      removed,
    })),
    notes: sight.notes,
  };
}

const GATES: readonly Column<MemberGate>[] = [
  { title: 'VERDICT', value: ({ verdict }) => verdict },
  { title: 'RULE', value: ({ rule }) => rule },
  { title: 'MEMBER', value: ({ member }) => member ?? '' },
  { title: 'BECAUSE', wrap: true, value: ({ message }) => message },
];

/** All of them as a table. */
export function memberGatesText(gates: readonly MemberGate[], width: number): string[] {
  return gates.length === 0 ? [] : ['', renderTable(GATES, gates, width)];
}

/** What stands in the way, or what to know, a line each with its hint below. */
export function memberGateLines(gates: readonly MemberGate[], verdicts: readonly MemberGate['verdict'][], width: number): string[] {
  const shown = gates.filter(({ verdict }) => verdicts.includes(verdict));
  return shown.flatMap(({ rule, verdict, member, message, hint }, at) => [
    wrapText(printable(`${verdict === 'refused' ? 'refused' : 'warning'} (${rule}): ${aboutMember(member, message)}`), width),
    // One way out of several rules is told once, after the last of them.
    ...(hint === undefined || shown.slice(at + 1).some((later) => later.hint === hint)
      ? []
      : [wrapText(printable(`hint: ${hint}`), width)]),
  ]);
}

export function memberGatesJson(gates: readonly MemberGate[]): unknown[] {
  return gates.map(({ rule, member, verdict, message, hint }) => ({ rule, member: member ?? null, verdict, message, hint: hint ?? null }));
}

/** To be pasted: the environment for units and containers, the flags for everything else. */
export function startText({ name, environment, flags }: StartWith): string {
  const values = Object.entries(environment).map(([key, value]) => `  ${key}="${printable(value)}"`);
  return [
    `start the etcd of ${printable(name)} with an empty data directory, settings otherwise as those of the other members, and in its environment`,
    ...values,
    'or on its command line',
    `  ${flags.map(printable).join(' \\\n  ')}`,
  ].join('\n');
}

export function startJson(start: StartWith | undefined): unknown {
  return start === undefined
    ? null
    : { name: start.name, initialCluster: start.initialCluster, environment: start.environment, flags: start.flags };
}

export function hashesJson(hashes: HashComparison | undefined): unknown {
  if (hashes === undefined) return null;
  return {
    verdict: hashes.verdict,
    revision: String(hashes.revision),
    message: hashes.message,
    members: hashes.members.map(({ member, hash, compactRevision, tookMs, error }) => ({
      member,
      hash: hash ?? null,
      compactRevision: compactRevision === undefined ? null : String(compactRevision),
      tookMs: tookMs ?? null,
      error: error?.message ?? null,
    })),
  };
}
