import { findBackup } from '../../catalog/find.ts';
import type { Backup, Catalog } from '../../catalog/types.ts';
import { formatBytes } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { identityFor } from '../../jobs/identity.ts';
import type { VerifyLevel } from '../../jobs/reread.ts';
import { verifyCopy, type VerifyLine } from '../../jobs/verify.ts';
import { renderTable, type Column } from '../output/table.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options, context, output, loaded } = invocation;
  const asked = levelOf(options['level']);
  if ([invocation.arguments[0], options['latest'], options['all']].filter((choice) => choice !== undefined).length > 1)
    throw new WardenError('usage', 'an id, --latest and --all exclude each other', { hint: 'without any of them it is the newest backup' });
  return withReadStores(invocation, async (all) => {
    const stores = options['store'] === undefined ? all : all.filter((store) => store.name === options['store']);
    if (stores.length === 0)
      throw new WardenError('usage', `there is no store named ${String(options['store'])}`, {
        hint: `there are: ${all.map((store) => store.name).join(', ')}`,
      });
    const cluster = await readCluster(invocation, all);
    const identities = await identityFor(clusterSettings(loaded, cluster));
    const catalog = await loadCatalog(stores, cluster, context.signal);
    const lines: VerifyLine[] = [];
    for (const store of stores) {
      const here = catalog.backups.filter((backup) =>
        backup.copies.some((copy) => copy.store === store.name && copy.manifest === 'present'),
      );
      for (const backup of chosen(invocation, catalog, here))
        lines.push(await verifyCopy(backup, store, asked ?? 'content', identities, context));
    }
    if (lines.length === 0)
      throw new WardenError('nothing-found', `there is no backup of ${cluster} to verify`, { hint: 'see `etcd-warden list`' });
    return { exitCode: exitCodeOf(lines, asked), json: { cluster, results: lines }, text: renderTable(COLUMNS, lines, output.width) };
  });

  function chosen({ arguments: [id] }: Invocation, catalog: Catalog, here: readonly Backup[]): readonly Backup[] {
    if (options['all'] === true) return here;
    if (id === undefined) return here.slice(-1);
    const found = findBackup(catalog, id);
    return here.filter((backup) => backup.id === found.id);
  }
}

function levelOf(value: unknown): VerifyLevel | undefined {
  if (value === undefined || value === 'stored' || value === 'content') return value;
  throw new WardenError('usage', `--level ${JSON.stringify(value)} is not known`, { hint: 'stored or content' });
}

/** A level that was asked for and could not be reached for want of a key is not a success, nor is a key that opens nothing. */
function exitCodeOf(lines: readonly VerifyLine[], asked: VerifyLevel | undefined): number {
  if (lines.some((line) => line.outcome === 'failed')) return 13;
  if (lines.some((line) => line.code === 'key-missing' || (asked === 'content' && line.level === 'stored'))) return 12;
  return lines.some((line) => line.outcome === 'inconclusive') ? 1 : 0;
}

const COLUMNS: readonly Column<VerifyLine>[] = [
  { title: 'ID', value: (line) => line.id },
  { title: 'STORE', value: (line) => line.store },
  { title: 'LEVEL', value: (line) => line.level },
  { title: 'RESULT', value: (line) => line.outcome },
  { title: 'SIZE', align: 'right', value: (line) => formatBytes(line.bytes) },
  { title: 'WHY', wrap: true, value: (line) => line.reason ?? '' },
];
