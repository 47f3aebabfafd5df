/** What a cluster and its protection look like now: one round of asking, nothing remembered. */
import { currentGeneration } from '../catalog/generations.ts';
import { isImported, type Catalog } from '../catalog/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import { asError } from '../errors.ts';
import { accessOf } from '../etcd/access.ts';
import { observeCluster } from '../etcd/cluster.ts';
import { hex } from '../etcd/ids.ts';
import { MemberClient } from '../etcd/member.ts';
import type { ClusterAccess, ClusterView, MemberView } from '../etcd/types.ts';
import { proofHistory } from './proof/history.ts';
import { drillsOn, failedDrill } from './drill-survey.ts';
import type { JobContext, SurveyedDrill } from './types.ts';

export interface MemberReport {
  readonly endpoint: string;
  readonly name: string | undefined;
  readonly id: string | undefined;
  readonly role: 'leader' | 'follower' | 'learner' | 'unreachable';
  readonly version: string | undefined;
  readonly dbSize: number | undefined;
  readonly dbSizeInUse: number | undefined;
  /** As the member tells it (3.6.6+); elsewhere unknown. */
  readonly quota: number | undefined;
  readonly revision: string | undefined;
  readonly raftTerm: string | undefined;
  /** How many raft entries it is behind the one that is furthest. */
  readonly raftLag: string | undefined;
  /** Milliseconds of a linearizable read through this member; undefined for learners, and when it fails. */
  readonly readLatencyMs: number | undefined;
  readonly alarms: readonly string[];
  readonly error: string | undefined;
}

export interface ClusterReport {
  readonly cluster: string;
  readonly clusterId: string;
  readonly quorum: boolean;
  readonly members: readonly MemberReport[];
  /** Of everybody: also of members that do not answer, and of ids that are no member's any more. */
  readonly alarms: readonly AlarmReport[];
  readonly notes: readonly string[];
}

export interface AlarmReport {
  readonly type: string;
  /** Hex; `0` when etcd names nobody. */
  readonly memberId: string;
}

/** Asks every member. @throws WardenError when none answers, or when they disagree on the cluster id without a majority */
export async function reportCluster(cluster: ClusterConfig, context: Pick<JobContext, 'signal' | 'logger'>): Promise<ClusterReport> {
  const access = accessOf(cluster);
  const view = await observeCluster(access, context);
  const furthest = view.members.reduce(
    (most, member) => (member.reachable && member.status.raftIndex > most ? member.status.raftIndex : most),
    0n,
  );
  const members = await Promise.all(view.members.map((member) => reportMember(member, view, access, furthest, context.signal)));
  return { cluster: cluster.name, clusterId: hex(view.clusterId), quorum: view.quorum, members, alarms: alarmsOf(view), notes: view.notes };
}

/** Each once: every member that answers tells all of them. */
function alarmsOf({ members }: ClusterView): readonly AlarmReport[] {
  const told = members.flatMap((member) => (member.reachable ? member.status.alarms : []));
  const each = new Map(told.map(({ type, memberId }) => [`${type} ${memberId}`, { type, memberId: hex(memberId) }]));
  return [...each].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, alarm]) => alarm);
}

async function reportMember(
  member: MemberView,
  view: ClusterView,
  access: ClusterAccess,
  furthest: bigint,
  signal: AbortSignal,
): Promise<MemberReport> {
  if (!member.reachable) {
    return { ...UNKNOWN, endpoint: member.endpoint, name: member.name, role: 'unreachable', error: member.error.message };
  }
  const { status } = member;
  const read =
    status.role === 'learner' || !view.quorum ? { ms: undefined, error: undefined } : await readLatency(access, member.endpoint, signal);
  return {
    endpoint: member.endpoint,
    name: status.name,
    id: hex(status.memberId),
    role: status.role,
    version: status.version,
    dbSize: status.dbSize,
    dbSizeInUse: status.dbSizeInUse,
    quota: status.dbSizeQuota,
    revision: String(status.revision),
    raftTerm: String(status.raftTerm),
    raftLag: String(furthest - status.raftAppliedIndex > 0n ? furthest - status.raftAppliedIndex : 0n),
    readLatencyMs: read.ms,
    alarms: status.alarms.filter((alarm) => alarm.memberId === status.memberId || alarm.memberId === 0n).map((alarm) => alarm.type),
    error: read.error,
  };
}

const UNKNOWN = {
  id: undefined,
  version: undefined,
  dbSize: undefined,
  dbSizeInUse: undefined,
  quota: undefined,
  revision: undefined,
  raftTerm: undefined,
  raftLag: undefined,
  readLatencyMs: undefined,
  alarms: [],
} as const;

async function readLatency(
  access: ClusterAccess,
  endpoint: string,
  signal: AbortSignal,
): Promise<{ ms: number | undefined; error: string | undefined }> {
  const client = new MemberClient(access, endpoint);
  try {
    return { ms: await client.linearizableRead(signal), error: undefined };
  } catch (error) {
    signal.throwIfAborted();
    return { ms: undefined, error: asError(error).message };
  } finally {
    client.close();
  }
}

export interface Protection {
  /** Newest backup that counts as verified on at least one store; none that was imported. */
  readonly latest:
    | { readonly id: string; readonly time: string; readonly revision: string; readonly state: string; readonly stores: readonly string[] }
    | undefined;
  /** Start of the oldest one that is verified: how far back one can go. */
  readonly since: string | undefined;
  readonly backups: number;
  readonly partial: number;
  readonly suspect: number;
  /** Newest backup that members of the cluster confirmed. */
  readonly proved: { readonly id: string; readonly time: string; readonly members: readonly string[] } | undefined;
  /** While members have different data. */
  readonly disagreement: { readonly members: readonly string[]; readonly reason: string } | undefined;
  /** Of each store with backups: how a restore from it was rehearsed last. */
  readonly drills: readonly DrillReport[];
}

/** Only of backups that are still there: what was known of others went with them. */
export interface DrillReport {
  readonly store: string;
  /** The newest, whatever came of it. */
  readonly last: ReportedDrill | undefined;
  /** The newest that succeeded. */
  readonly success: ReportedDrill | undefined;
  /** Set while a restore from this store would not hold what the backup promises. */
  readonly failure: ReportedDrill | undefined;
}

export type ReportedDrill = Omit<SurveyedDrill, 'atMs'> & { readonly time: string };

/** What the stores protect, from the catalogue. */
export function protectionOf(catalog: Catalog): Protection {
  const good = catalog.backups.filter((backup) => backup.suspect === undefined && backup.copies.some((copy) => copy.verified));
  const latest = good.findLast((backup) => !isImported(backup));
  const proved = catalog.backups.findLast(({ proof }) => proof !== undefined);
  const { disagreement } = proofHistory(catalog, currentGeneration(catalog.generations)?.lineage);
  return {
    latest:
      latest === undefined
        ? undefined
        : {
            id: latest.id,
            time: new Date(latest.timeMs).toISOString(),
            revision: latest.manifest.revision,
            state: latest.state,
            stores: latest.copies.filter((copy) => copy.verified).map((copy) => copy.store),
          },
    since: good[0] === undefined ? undefined : new Date(good[0].timeMs).toISOString(),
    backups: catalog.backups.length,
    partial: catalog.backups.filter((backup) => backup.state !== 'complete').length,
    suspect: catalog.backups.filter((backup) => backup.suspect !== undefined).length,
    proved:
      proved?.proof === undefined
        ? undefined
        : { id: proved.id, time: new Date(proved.timeMs).toISOString(), members: proved.proof.members },
    disagreement: disagreement === undefined ? undefined : { members: disagreement.members, reason: disagreement.reason },
    drills: [...new Set(catalog.backups.flatMap(({ copies }) => copies.map(({ store }) => store)))].map((store) =>
      drillReport(catalog, store),
    ),
  };
}

function drillReport(catalog: Catalog, store: string): DrillReport {
  const known = drillsOn(catalog, store);
  return { store, last: reported(known.last), success: reported(known.sound), failure: reported(failedDrill(known)) };
}

function reported(drill: SurveyedDrill | undefined): ReportedDrill | undefined {
  if (drill === undefined) return undefined;
  const { atMs, ...rest } = drill;
  return { time: new Date(atMs).toISOString(), ...rest };
}
