import { findBackup } from '../../catalog/find.ts';
import type { Backup } from '../../catalog/types.ts';
import { formatBytes } from '../../config/units.ts';
import { ERRORS, WardenError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { missingOn, owedTo, tryCopy, type CopyLine } from '../../jobs/copy.ts';
import { isWhole } from '../../jobs/sources.ts';
import type { Store } from '../../store/types.ts';
import { renderTable, type Column } from '../output/table.ts';
import { clusterSettings, readCluster, withCopyStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options, context, output } = invocation;
  const [id] = invocation.arguments;
  if ((id === undefined) === (options['missing'] !== true)) {
    throw new WardenError('usage', 'name one backup, or say --missing', {
      hint: 'etcd-warden copy latest --to s3, or etcd-warden copy --missing --to s3',
    });
  }
  return withCopyStores(invocation, async (sources, destinations, explicit) => {
    const all = [...sources, ...destinations.filter((store) => !sources.some((other) => other.name === store.name))];
    const cluster = await readCluster(invocation, sources);
    const catalog = await loadCatalog(all, cluster, context.signal);
    const lines: CopyLine[] = [];
    for (const to of destinations) {
      const unreachable = catalog.unreachable.find((entry) => entry.store === to.name);
      if (unreachable !== undefined) throw unreachable.error;
      // A destination that was named gets everything that it lacks; else each store what is owed to it.
      const policy = clusterSettings(invocation.loaded, cluster)?.retention;
      const missing = explicit || policy === undefined ? missingOn(catalog, to.name) : owedTo(catalog, to.name, policy, context.now());
      for (const backup of id === undefined ? missing : [findBackup(catalog, id)]) {
        lines.push(await copyOne(backup, sources, to, context));
      }
    }
    return {
      exitCode: exitCodeOf(lines),
      json: { cluster, results: lines },
      text: lines.length === 0 ? 'nothing is missing' : renderTable(COLUMNS, lines, output.width),
    };
  });
}

/** All for one reason: its own code, so that damaged sources end with 13. */
function exitCodeOf(lines: readonly CopyLine[]): number {
  const failed = lines.flatMap(({ error }) => (error === undefined ? [] : [error.code]));
  if (failed.length === 0) return 0;
  if (failed.length < lines.length) return 3;
  const [reason, ...others] = new Set(failed);
  return others.length === 0 ? (Object.entries(ERRORS).find(([code]) => code === reason)?.[1].exit ?? 1) : 1;
}

async function copyOne(backup: Backup, sources: readonly Store[], to: Store, context: Invocation['context']): Promise<CopyLine> {
  if (isWhole(backup, to.name)) return { id: backup.id, from: '', to: to.name, outcome: 'present', bytes: 0 };
  return tryCopy(backup, sources, to, context);
}

const COLUMNS: readonly Column<CopyLine>[] = [
  { title: 'ID', value: (line) => line.id },
  { title: 'FROM', value: (line) => line.from || '-' },
  { title: 'TO', value: (line) => line.to },
  { title: 'RESULT', value: (line) => line.outcome },
  { title: 'SIZE', align: 'right', value: (line) => formatBytes(line.bytes) },
  { title: 'WHY', wrap: true, value: (line) => line.error?.message ?? '' },
];
