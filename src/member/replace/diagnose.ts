/** What is wrong with a member, by what it and the others answer, by its files and by its log. Pure. */
import { hex } from '../../etcd/ids.ts';
import type { StartConfig } from './manifest/start-config.ts';
import { labelOf } from './subject.ts';
import type { ClusterSight, DataSight, SeenMember, Symptom } from './types.ts';

interface LogFault {
  readonly pattern: RegExp;
  readonly code: Symptom['code'];
  readonly message: string;
}

/** Lines that etcd writes before it ends, or again and again while nobody accepts it; 3.4 to 3.7. The first that fits a line counts. */
const LOG_FAULTS: readonly LogFault[] = [
  {
    pattern: /request (sent was ignored.*)?cluster ID mismatch|cluster ID mismatch/i,
    code: 'cluster-id-mismatch',
    message: 'the other members refuse its messages: it carries another cluster id ("cluster ID mismatch")',
  },
  {
    pattern: /recovering backend from snapshot error|failed to find database snapshot file|failed to recover v3 backend from snapshot/i,
    code: 'snapshot-db',
    message: 'the database that its raft snapshot names is missing or damaged ("recovering backend from snapshot error")',
  },
  {
    pattern: /permanently removed from the cluster|data-dir used by this member must be removed|ignored streaming request; ID mismatch/i,
    code: 'removed',
    message: 'it was removed from the cluster before, and was started with its old data',
  },
  {
    pattern:
      /\bcrc mismatch\b|failed to (open|read) WAL|walpb:|wal: (file not found|crc mismatch|metadata conflict|snapshot (not found|mismatch))/i,
    code: 'damaged-wal',
    message: 'its write-ahead log is damaged or missing',
  },
  {
    pattern:
      /invalid database|version mismatch.*bolt|freepages:|page \d+ already freed|file size too small|failed to open (the )?database|panic:.*(bolt|bbolt)|(unexpected fault address|unexpected EOF).*db|failed to recover.*backend|checksum error/i,
    code: 'damaged-db',
    message: 'its database is damaged',
  },
  {
    pattern: /alarm:CORRUPT|found data inconsistency|corrupt cluster/i,
    code: 'corrupt',
    message: 'it, or another member about it, reports that its data is not that of the others',
  },
];

/** @param lines newest last; a line before the last start of etcd says nothing of now */
export function symptomsOfLog(lines: readonly string[]): Symptom[] {
  const start = lines.findLastIndex((line) => /"Running: "|Running: |etcd Version: |"starting etcd"|starting an etcd server/i.test(line));
  const found = new Map<Symptom['code'], Symptom>();
  for (const line of lines.slice(Math.max(0, start))) {
    const fault = LOG_FAULTS.find(({ pattern }) => pattern.test(line));
    if (fault !== undefined) found.set(fault.code, { code: fault.code, message: fault.message });
  }
  return [...found.values()];
}

export interface Evidence {
  readonly cluster: ClusterSight;
  readonly data: DataSight | undefined;
  readonly log: readonly Symptom[];
  /** Ids of voters whose hash differs from what most have; undefined = nobody was asked. */
  readonly differing: readonly bigint[] | undefined;
  /** With what the unit or static pod that was named starts its member; undefined = that cannot be told. */
  readonly managed: StartConfig | undefined;
}

/** Empty = nothing is wrong with it. */
export function symptomsOf(member: SeenMember, { cluster, data, log, differing }: Evidence): Symptom[] {
  const label = labelOf(member);
  const strays = cluster.strays.filter(({ endpoint }) => member.clientUrls.includes(endpoint));
  const [stray] = strays;
  const found: Symptom[] = [];
  if (stray !== undefined) {
    found.push({
      code: 'other-cluster',
      message: `at ${stray.endpoint} a member of cluster ${hex(stray.clusterId)} answers, and most belong to ${hex(cluster.clusterId)}: it was started as a new cluster, or restored alone`,
    });
  } else if (!member.reachable) {
    found.push({ code: 'down', message: `${label} does not answer: ${member.error ?? 'nobody knows why'}` });
  } else if (!member.answers && !member.learner) {
    found.push({
      code: 'not-answering',
      message: `${label} runs, and answers no read that needs the others: ${member.error ?? 'no answer in time'}`,
    });
  }
  if (data !== undefined && data.data === 'none' && member.started && !member.reachable)
    found.push({ code: 'disk-gone', message: `${data.dataDir} ${data.exists ? 'holds no data' : 'does not exist: is its disk mounted?'}` });
  if (data?.identity?.kind === 'known' && data.identity.clusterId !== cluster.clusterId && stray === undefined) {
    found.push({
      code: 'other-cluster',
      message: `the data in ${data.dataDir} belongs to cluster ${hex(data.identity.clusterId)}, not to ${hex(cluster.clusterId)}`,
    });
  }
  for (const damage of data?.damage ?? []) found.push({ code: 'damaged-db', message: damage });
  if (cluster.alarms.some(({ type, memberId }) => type === 'CORRUPT' && memberId === member.id))
    found.push({ code: 'corrupt', message: `CORRUPT is armed for ${label}` });
  for (const symptom of member.reachable && stray === undefined ? log.filter(({ code }) => code === 'corrupt') : log)
    if (!found.some(({ code }) => code === symptom.code)) found.push(symptom);
  if (differing?.includes(member.id) === true)
    found.push({ code: 'different-data', message: `the data of ${label} has another hash than that of the other members` });
  return found;
}
