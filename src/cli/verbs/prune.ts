import { pruneCluster, type PruneLine, type PruneResult } from '../../jobs/prune.ts';
import { printable, renderTable, type Column } from '../output/table.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { WardenError } from '../../errors.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  return withReadStores(invocation, async (stores) => {
    const { options, context, output, loaded } = invocation;
    const cluster = await readCluster(invocation, stores);
    const settings = clusterSettings(loaded, cluster);
    if (settings === undefined) {
      throw new WardenError('usage', `cluster ${cluster} has no retention policy`, {
        hint: 'give --keep-last and the like, or name it in the configuration file',
      });
    }
    const result = await pruneCluster(stores, cluster, settings.retention, { dryRun: options['dryRun'] === true }, context);
    return {
      exitCode: result.lines.some((line) => line.outcome === 'failed') ? 1 : result.skipped.length > 0 ? 3 : 0,
      json: result,
      text: pruneText(result, output.width),
    };
  });
}

const COLUMNS: readonly Column<PruneLine>[] = [
  { title: 'STORE', value: (line) => line.store },
  { title: 'ID', value: (line) => line.id },
  { title: 'VERDICT', value: (line) => line.outcome },
  { title: 'WHY', wrap: true, value: (line) => [...line.reasons, line.detail].filter(Boolean).join('; ') },
];

export function pruneText(result: PruneResult, width: number): string {
  if (result.lines.length === 0 && result.skipped.length === 0) return `no backups of ${result.cluster}`;
  const lines = result.lines.length === 0 ? [] : [renderTable(COLUMNS, result.lines, width)];
  const wanted = result.dryRun ? 'would-remove' : 'removed';
  const removed = result.lines.filter((line) => line.outcome === wanted).length;
  lines.push(`${removed} of ${result.lines.length} ${result.dryRun ? 'would be removed' : 'removed'}`);
  for (const skipped of result.skipped)
    lines.push(`nothing was removed: store ${skipped.store} could not be listed: ${printable(skipped.message)}`);
  return lines.join('\n');
}
