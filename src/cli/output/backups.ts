/** How a backup looks in tables and in JSON: one shape for `list`, `show`, `status` and the API. */
import { isImported, type Backup, type Catalog } from '../../catalog/types.ts';
import { IMPORTED_LINEAGE } from '../../format/ids.ts';
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import type { Column } from './table.ts';

/** One row of `list`. */
export interface BackupRow {
  readonly backup: Backup;
  /** Its number among several; undefined when there is only one. */
  readonly generation: number | undefined;
  /** What retention would do on each store, first word and reasons. */
  readonly retention: string;
  readonly nowMs: number;
  /** Stores that did not answer. */
  readonly unreachable: readonly string[];
}

export const BACKUP_COLUMNS: readonly Column<BackupRow>[] = [
  { title: 'ID', value: ({ backup }) => backup.id },
  { title: 'AGE', align: 'right', value: ({ backup, nowMs }) => age(nowMs - backup.timeMs) },
  { title: 'REVISION', align: 'right', spare: 1, value: ({ backup }) => backup.manifest.revision },
  {
    title: 'KEYS',
    align: 'right',
    spare: 5,
    value: ({ backup }) => (backup.manifest.keyCount === undefined ? '' : String(backup.manifest.keyCount)),
  },
  { title: 'SIZE', align: 'right', spare: 4, value: ({ backup }) => formatBytes(backup.manifest.plain.bytes) },
  { title: 'STORED', align: 'right', value: ({ backup }) => formatBytes(backup.manifest.stored.bytes) },
  { title: 'GENERATION', align: 'right', value: ({ generation }) => (generation === undefined ? '' : String(generation)) },
  { title: 'STATE', value: ({ backup }) => stateOf(backup) },
  { title: 'STORES', value: storesOf },
  { title: 'VERIFIED', value: ({ backup }) => verifiedOf(backup) },
  { title: 'RETENTION', spare: 3, value: ({ retention }) => retention },
  {
    title: 'LABEL',
    wrap: true,
    spare: 2,
    value: ({ backup }) =>
      [backup.manifest.label, backup.held === undefined ? undefined : backup.held === '' ? 'held' : `held: ${backup.held}`]
        .filter(Boolean)
        .join('; '),
  },
];

/** `3m`, `2h10m`: two units at most, because nobody reads an age to the second. */
export function age(ms: number): string {
  return ms < 0 ? `in ${formatDurationShort(-ms)}` : formatDurationShort(ms);
}

function stateOf(backup: Backup): string {
  const more = [...(backup.suspect === undefined ? [] : ['suspect']), ...(isImported(backup) ? ['imported'] : [])];
  return [backup.state, ...more].join(', ');
}

/** The stores it was meant for. What was not looked at is not called missing. */
function storesOf({ backup, unreachable }: BackupRow): string {
  return backup.manifest.stores
    .map((store) => {
      if (unreachable.includes(store)) return `${store}(no answer)`;
      if (backup.unasked.includes(store)) return `${store}(not asked)`;
      const copy = backup.copies.find((candidate) => candidate.store === store);
      return copy?.manifest === 'present' && copy.data === 'present' ? store : `${store}(missing)`;
    })
    .join(' ');
}

/**
 * How each copy was looked at last: the level of the check that counts, or as it was taken: `proved` by members, `content` (read through, no member's word).
 * The same on every store in most cases: said once then.
 */
function verifiedOf(backup: Backup): string {
  const words = backup.copies.map((copy) => {
    if (copy.check?.outcome === 'failed') return 'FAILED';
    if (!copy.verified) return 'no';
    if (copy.check?.outcome === 'ok') return copy.check.level ?? 'stored';
    return backup.proof === undefined ? 'content' : 'proved';
  });
  if (new Set(words).size <= 1) return words[0] ?? 'no';
  return backup.copies.map((copy, index) => `${copy.store}:${words[index] ?? 'no'}`).join(' ');
}

/** Stable shape, documented in docs/json.md. */
export function backupJson(backup: Backup): Record<string, unknown> {
  return {
    id: backup.id,
    cluster: backup.cluster,
    time: new Date(backup.timeMs).toISOString(),
    state: backup.state,
    revision: backup.manifest.revision,
    compactRevision: backup.manifest.compactRevision,
    clusterId: backup.manifest.clusterId,
    lineage: backup.manifest.lineage,
    plainBytes: backup.manifest.plain.bytes,
    storedBytes: backup.manifest.stored.bytes,
    encryption: backup.manifest.stored.encryption,
    keyCount: backup.manifest.keyCount ?? null,
    proof: backup.proof ?? null,
    unproved: backup.proof === undefined ? (backup.manifest.unproved ?? null) : null,
    imported: backup.manifest.imported ?? null,
    label: backup.manifest.label ?? null,
    held: backup.held ?? null,
    suspect: backup.suspect ?? null,
    stores: backup.manifest.stores,
    unasked: backup.unasked,
    copies: backup.copies.map((copy) => ({
      store: copy.store,
      manifest: copy.manifest,
      data: copy.data,
      verified: copy.verified,
      check:
        copy.check === undefined
          ? null
          : {
              time: copy.check.time,
              level: copy.check.level ?? null,
              outcome: copy.check.outcome ?? null,
              reason: copy.check.reason ?? null,
            },
    })),
  };
}

/** Sentences about what is not right in the stores; empty when all is well. */
export function catalogRemarks(catalog: Catalog): string[] {
  const remarks = catalog.unreachable.map((entry) => `store ${entry.store} could not be listed: ${entry.error.message}`);
  for (const oddity of catalog.oddities) remarks.push(`${oddity.store}: ${oddity.key}: ${oddity.kind} (${oddity.detail})`);
  const own = catalog.generations.filter(({ lineage }) => lineage !== IMPORTED_LINEAGE);
  for (const [index, generation] of own.entries()) {
    if (generation.accepted) continue;
    remarks.push(
      `generation ${index + 1} (${generation.lineage}, cluster ${generation.clusterId}, since ${generation.firstId}) is not accepted, so nothing is pruned; if it is the right one: etcd-warden accept-cluster --cluster ${catalog.cluster}`,
    );
  }
  return remarks;
}
