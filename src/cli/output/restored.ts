/** What a restore has built, as people and programs read it. */
import { formatBytes } from '../../config/units.ts';
import { hex } from '../../etcd/ids.ts';
import type { Manifest, Proof } from '../../format/types.ts';
import type { PerformedRestore } from '../../jobs/restore/perform.ts';
import type { PreparedRestore } from '../../jobs/restore/prepare.ts';
import type { BuiltDatabase } from '../../restore/types.ts';
import type { RestorePlan } from '../../restore/plan/types.ts';
import { memberText } from '../restore-plan.ts';
import { printable, wrapText } from './table.ts';

export function restoredText(
  prepared: PreparedRestore,
  { built, announced, warnings }: PerformedRestore,
  plan: RestorePlan,
  width: number,
): string {
  const { database, targets, builder, record } = built;
  const { cluster, minor } = prepared.request;
  const lines = targets.flatMap(({ member, dataDir, walDir, kept, record: path }) => [
    `${member} is ready in ${dataDir}${walDir === undefined ? '' : `, its WAL in ${walDir}`}`,
    ...kept.map((place) => `  what stood there is now ${place}`),
    `  what it must hold is in ${path}`,
  ]);
  return [
    ...lines,
    `from ${prepared.request.source.name}${database.source.store === undefined ? '' : ` on ${database.source.store}`}, ${comparedText(database, prepared)}`,
    `revision ${database.revision}${raisedText(database)}, ${database.keyCount} keys, ${formatBytes(database.bytes)}, HashKV ${database.hash} at compact revision ${database.compactRevision}`,
    `cluster ${hex(cluster.clusterId)}, token ${cluster.token}, attempt ${record.attempt}, for etcd ${minor}`,
    `built by ${builder.name}: ${builder.reason}`,
    ...droppedLines(database),
    ...(announced.length === 0 ? [] : [`recorded on ${announced.join(', ')}, so that backups of the new cluster are accepted`]),
    ...warnings.map((warning) => `warning: ${warning}`),
    '',
  ]
    .map((line) => wrapText(printable(line), width))
    .concat(
      nextLines(
        targets.map(({ member }) => member),
        plan,
        width,
      ),
    )
    .join('\n');
}

function nextLines(members: readonly string[], plan: RestorePlan, width: number): string[] {
  const head = `NOT RESTORED YET: it is when \`etcd-warden restore --check\` says so. What ${members.join(', ')} needs next:`;
  return [wrapText(head, width), '', memberText(plan, ...members)];
}

/** Pages and records are looked at whoever builds; the hash of members where one is recorded for just this file. */
function comparedText({ source }: BuiltDatabase, { request }: PreparedRestore): string {
  if (!source.compared) return `which has no SHA-256 to compare with (it is ${source.databaseSha256})`;
  const { proof, backup } = request.source;
  const proved = proof !== undefined && backup !== undefined && isOfThisFile(proof, backup.manifest);
  return `every byte compared with its SHA-256${proved ? `, its HashKV with that of ${proof.members.join(', ')}` : ''}`;
}

/** Members may have compacted past the revision before they were asked, or answered for another one. */
function isOfThisFile(proof: Proof, manifest: Manifest): boolean {
  const [asked, own, revision] = [proof.compactRevision, manifest.compactRevision, manifest.revision].map(BigInt) as [
    bigint,
    bigint,
    bigint,
  ];
  return proof.revision === manifest.revision && asked <= revision && (asked >= own || own === 0n);
}

function raisedText({ raisedFrom }: BuiltDatabase): string {
  return raisedFrom === undefined
    ? ''
    : ` (raised from ${raisedFrom}, all before it marked compacted, so that no watcher takes it for the old history)`;
}

function droppedLines({ droppedAlarms, orphanedLeases }: BuiltDatabase): string[] {
  return [
    ...(droppedAlarms === 0 ? [] : [`${droppedAlarms} alarm${droppedAlarms === 1 ? ' was' : 's were'} left out`]),
    ...(orphanedLeases === 0
      ? []
      : [`${orphanedLeases} key${orphanedLeases === 1 ? ' is' : 's are'} bound to a lease that is not in the backup: they never expire`]),
  ];
}

export function restoredJson(
  prepared: PreparedRestore,
  { built, announced, warnings }: PerformedRestore,
  plan: RestorePlan,
): Record<string, unknown> {
  const { database, targets, builder, record } = built;
  const { source, cluster, minor } = prepared.request;
  return {
    outcome: 'built',
    source: {
      kind: source.backup === undefined ? 'file' : 'backup',
      name: source.name,
      time: source.backup?.manifest.time ?? null,
      store: database.source.store ?? null,
      databaseBytes: database.source.databaseBytes,
      databaseSha256: database.source.databaseSha256,
      compared: database.source.compared,
    },
    clusterId: hex(cluster.clusterId),
    token: cluster.token,
    attempt: record.attempt,
    members: cluster.members.map(({ id, name, peerUrls }) => ({ id: hex(id), name, peerUrls })),
    etcd: minor,
    builder: { name: builder.name, reason: builder.reason },
    revision: String(database.revision),
    compactRevision: String(database.compactRevision),
    hash: database.hash,
    keyCount: database.keyCount,
    databaseBytes: database.bytes,
    raisedFrom: database.raisedFrom === undefined ? null : String(database.raisedFrom),
    kubernetes: database.kubernetes,
    droppedAlarms: database.droppedAlarms,
    orphanedLeases: database.orphanedLeases,
    targets: targets.map((each) => ({ ...each, walDir: each.walDir ?? null })),
    announced,
    notes: prepared.notes,
    warnings,
    // Those of other machines are not told here: their places are not known as those of these members are.
    steps: plan.steps
      .slice(plan.steps.findLastIndex(({ name }) => name === 'restore') + 1)
      .filter(({ member }) => member === undefined || targets.some((target) => target.member === member)),
  };
}
