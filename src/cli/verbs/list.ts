import { verdictsOn } from '../../jobs/prune.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { isImported, type Catalog } from '../../catalog/types.ts';
import { IMPORTED_LINEAGE } from '../../format/ids.ts';
import type { RetentionVerdict } from '../../retention/types.ts';
import { BACKUP_COLUMNS, backupJson, catalogRemarks, type BackupRow } from '../output/backups.ts';
import { printable, renderTable } from '../output/table.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { context, output, loaded } = invocation;
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const catalog = await loadCatalog(stores, cluster, context.signal);
    const now = context.now();
    const policy = clusterSettings(loaded, cluster)?.retention;
    const verdicts = new Map(stores.map((store) => [store.name, policy === undefined ? [] : verdictsOn(catalog, store.name, policy, now)]));
    const generations = catalog.generations.map(({ lineage }) => lineage).filter((lineage) => lineage !== IMPORTED_LINEAGE);
    const rows = catalog.backups.map((backup): BackupRow => ({
      backup,
      generation: generations.length > 1 && !isImported(backup) ? generations.indexOf(backup.manifest.lineage) + 1 : undefined,
      retention: retentionWord(backup.id, verdicts),
      nowMs: now.getTime(),
      unreachable: catalog.unreachable.map((entry) => entry.store),
    }));
    const remarks = catalogRemarks(catalog);
    const table =
      rows.length === 0
        ? `no backups of ${cluster} in ${stores.map((store) => store.location).join(', ')}`
        : renderTable(BACKUP_COLUMNS, rows, output.width);
    return {
      json: {
        cluster,
        backups: catalog.backups.map((backup) => ({ ...backupJson(backup), retention: verdictsOf(backup.id, verdicts) })),
        ...catalogJson(catalog),
      },
      text: [table, ...remarks.map((remark) => `note: ${printable(remark)}`)].join('\n'),
    };
  });
}

/** Parts of the catalogue that are not backups; shared with `status`. */
export function catalogJson(catalog: Catalog): Record<string, unknown> {
  return {
    generations: catalog.generations,
    oddities: catalog.oddities.map((oddity) => ({ ...oddity, modified: oddity.modified.toISOString() })),
    unreachable: catalog.unreachable.map((entry) => ({ store: entry.store, message: entry.error.message })),
  };
}

function verdictsOf(
  id: string,
  verdicts: ReadonlyMap<string, readonly RetentionVerdict[]>,
): { store: string; action: string; reasons: readonly string[] }[] {
  return [...verdicts].flatMap(([store, lines]) =>
    lines.filter((line) => line.id === id).map((line) => ({ store, action: line.action, reasons: line.reasons })),
  );
}

/** The same on every store in most cases: said once then. */
function retentionWord(id: string, verdicts: ReadonlyMap<string, readonly RetentionVerdict[]>): string {
  const found = verdictsOf(id, verdicts).map((verdict) => ({
    store: verdict.store,
    text: `${verdict.action}: ${verdict.reasons[0] ?? ''}`,
  }));
  const texts = new Set(found.map((entry) => entry.text));
  return texts.size <= 1 ? (found[0]?.text ?? '') : found.map((entry) => `${entry.store} ${entry.text}`).join('; ');
}
