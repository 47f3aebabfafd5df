import { findBackup } from '../../catalog/find.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { backupJson } from '../output/backups.ts';
import { printable } from '../output/table.ts';
import { readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const catalog = await loadCatalog(stores, cluster, invocation.context.signal);
    const backup = findBackup(catalog, invocation.arguments[0] ?? 'latest');
    const json = { ...backupJson(backup), manifest: backup.manifest };
    return { json, text: describe(json).join('\n') };
  });
}

/** Nested plain data as indented `name: value` lines: everything that is known, nothing left out. */
function describe(value: unknown, indent = ''): string[] {
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown) =>
      isNested(item) ? [`${indent}-`, ...describe(item, `${indent}  `)] : [`${indent}- ${scalar(item)}`],
    );
  }
  return Object.entries(value as Record<string, unknown>).flatMap(([name, item]) => {
    if (item === null || (Array.isArray(item) && item.length === 0)) return [`${indent}${name}: -`];
    return isNested(item) ? [`${indent}${name}:`, ...describe(item, `${indent}  `)] : [`${indent}${name}: ${scalar(item)}`];
  });
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function scalar(value: unknown): string {
  return value === null ? '-' : printable(typeof value === 'string' ? value : JSON.stringify(value));
}
