import { formatBytes, formatDurationShort } from '../../config/units.ts';
import { asError, errorDetails } from '../../errors.ts';
import { runBackup } from '../../jobs/backup/backup.ts';
import { pruneCluster, type PruneResult } from '../../jobs/prune.ts';
import { clusterOf, withStores } from '../../jobs/stores.ts';
import { sweepStores } from '../../jobs/sweep.ts';
import type { BackupResult } from '../../jobs/types.ts';
import { printable } from '../output/table.ts';
import { chosenCluster, requireStore } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { pruneText } from './prune.ts';

export async function run({ options, loaded, context, output }: Invocation): Promise<Answer> {
  const cluster = chosenCluster(loaded);
  requireStore(loaded, cluster);
  await sweepBefore(cluster, { loaded, context });
  const result = await runBackup(
    {
      cluster,
      label: options['label'] as string | undefined,
      prune: options['prune'] === true,
      acceptCluster: options['acceptCluster'] === true,
      onNewGeneration: 'refuse',
      index: 'apart',
    },
    context,
  );
  await indexApart(result, { loaded, context });
  // Retention only after a backup that is whole: a partial one must not cost an older whole one.
  const prune = options['prune'] === true && result.outcome === 'complete' ? await pruneAfter(cluster, { loaded, context }) : undefined;
  return {
    exitCode: exitCodeOf(result, prune),
    json: { ...result, ...(prune === undefined ? {} : { prune: prune instanceof Error ? { error: errorDetails(prune) } : prune }) },
    text: [backupText(result), ...retentionText(prune, { wanted: options['prune'] === true, width: output.width })].join('\n'),
  };
}

/**
 * Where no daemon runs, nobody else cleans up: what a crashed run left goes before this one needs the room. Never a reason to have no backup.
 */
async function sweepBefore(name: string, { loaded, context }: Pick<Invocation, 'loaded' | 'context'>): Promise<void> {
  const cluster = clusterOf(loaded.config, name);
  try {
    await withStores(loaded.config, cluster.backup.stores, context.logger, (stores) => sweepStores(stores, name, context));
  } catch (error) {
    context.signal.throwIfAborted();
    context.logger.warn({ err: asError(error) }, 'what earlier runs left was not swept');
  }
}

/** In a process of its own, as the daemon does it: the memory of this one is that of the stream. The backup stands, whatever becomes of it. */
async function indexApart(result: BackupResult, { loaded: { config }, context }: Pick<Invocation, 'loaded' | 'context'>): Promise<void> {
  const { cluster } = result;
  if (result.outcome === 'skipped' || result.suspect !== undefined) return;
  const { indexedApart } = await import('../../jobs/index.ts');
  if (!indexedApart(result, clusterOf(config, cluster), config)) return;
  const [{ runInChild }, { packConfig }] = await Promise.all([import('../../daemon/child.ts'), import('../../config/pack.ts')]);
  const { logger, progress, signal } = context;
  try {
    await runInChild({ job: { verb: 'index', request: { cluster } }, configuration: packConfig(config), logger, progress, signal });
  } catch (error) {
    signal.throwIfAborted();
    logger.warn({ id: result.id, err: asError(error) }, 'the key index was not built');
  }
}

/** The backup stands, whatever becomes of retention: a failure is a part of the answer. */
async function pruneAfter(name: string, { loaded, context }: Pick<Invocation, 'loaded' | 'context'>): Promise<PruneResult | Error> {
  const cluster = clusterOf(loaded.config, name);
  try {
    return await withStores(loaded.config, cluster.backup.stores, context.logger, (stores) =>
      pruneCluster(stores, name, cluster.retention, { dryRun: false }, context),
    );
  } catch (error) {
    context.signal.throwIfAborted();
    return asError(error);
  }
}

/** 13 when the backup is suspect: it exists, but nobody should count on it unasked. 3 when a part of what was asked for was not done. */
export function exitCodeOf(result: Pick<BackupResult, 'outcome' | 'suspect'>, prune: PruneResult | Error | undefined): number {
  if (result.suspect !== undefined) return 13;
  const pruned =
    prune === undefined ||
    (!(prune instanceof Error) && prune.skipped.length === 0 && prune.lines.every((line) => line.outcome !== 'failed'));
  return result.outcome === 'partial' || !pruned ? 3 : 0;
}

function retentionText(prune: PruneResult | Error | undefined, { wanted, width }: { wanted: boolean; width: number }): string[] {
  if (prune instanceof Error) return [`  PRUNE FAILED: ${printable(prune.message)}`];
  if (prune !== undefined) return ['', pruneText(prune, width)];
  return wanted ? ['  nothing was pruned, because the backup is not on every store'] : [];
}

function proofText({ proof, unproved, keyCount, stall }: BackupResult): string {
  const counted = keyCount === undefined ? '' : `${keyCount} keys, `;
  if (proof === undefined) return `${counted}NOT PROVED: ${printable(unproved?.reason ?? 'no member was asked')}`;
  const waited = stall?.longestMs === undefined ? '' : `, in ${formatDurationShort(Math.max(1, stall.longestMs))}`;
  return `${counted}proved equal to ${proof.members.map(printable).join(', ')}${waited}`;
}

function backupText(result: BackupResult): string {
  const lines = [
    `backup ${result.id} of ${result.cluster}: ${result.outcome === 'partial' ? 'PARTIAL, not on every store' : result.outcome}`,
    `  revision ${result.revision} from ${printable(result.member)} (${result.role}), ${formatBytes(result.plainBytes)} stored as ${formatBytes(result.storedBytes)} in ${formatDurationShort(result.durationMs)}`,
  ];
  lines.push(`  ${proofText(result)}`);
  for (const store of result.stores) {
    if (store.outcome === 'stored') lines.push(`  ${store.store}: stored and confirmed`);
    else lines.push(`  ${store.store}: FAILED: ${printable(store.error?.message ?? 'no reason given')}`);
    if (store.error?.hint !== undefined) lines.push(`    hint: ${printable(store.error.hint)}`);
  }
  // Why there is no proof stands above already.
  for (const warning of result.warnings.filter(({ code }) => code !== 'unproved')) lines.push(`  warning: ${printable(warning.message)}`);
  if (result.newGeneration !== undefined) lines.push(`  a new generation begins: ${printable(result.newGeneration.reason)}`);
  if (result.suspect !== undefined) lines.push(`  SUSPECT: ${printable(result.suspect)}`);
  if (result.outcome === 'partial') lines.push('  the daemon completes it once the store is back; without one: etcd-warden copy --missing');
  return lines.join('\n');
}
