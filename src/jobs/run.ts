/** Carries out one job, in this process or in a child of the daemon. The verbs of the command line use the same functions. */
import type { RoundResult } from '../maintenance/types.ts';
import { identityFor } from './identity.ts';
import { catalogCache, loadCatalog } from './catalog.ts';
import { owedTo, tryCopy, type CopyLine } from './copy.ts';
import type { IndexLine } from './index.ts';
import { pruneCluster, type PruneResult } from './prune.ts';
import { clusterOf, withStores } from './stores.ts';
import { sweepStores, type SweepResult } from './sweep.ts';
import { surveyStores } from './survey.ts';
import type { BackupResult, DrillLine, JobContext, JobRequest, ProveResult, SurveyResult } from './types.ts';
import { verifyCopy, type VerifyLine } from './verify.ts';

export type JobResult =
  | BackupResult
  | PruneResult
  | SweepResult
  | SurveyResult
  | ProveResult
  | RoundResult
  | readonly CopyLine[]
  | readonly IndexLine[]
  | readonly VerifyLine[]
  | readonly DrillLine[];

/** @throws WardenError as the verb does */
export async function runJob(job: JobRequest, context: JobContext): Promise<JobResult> {
  switch (job.verb) {
    case 'backup': {
      const { runBackup } = await import('./backup/backup.ts');
      return runBackup(job.request, context);
    }
    case 'prune':
      return prune(job.request, context);
    case 'copy':
      return copyMissing(job.request.cluster, context);
    case 'prove': {
      const cluster = clusterOf(context.config, job.request.cluster);
      const { proveCluster } = await import('./proof/deferred.ts');
      return withStores(context.config, cluster.backup.stores, context.logger, (stores) => proveCluster(stores, cluster, context));
    }
    case 'index': {
      const cluster = clusterOf(context.config, job.request.cluster);
      const identities = await identityFor(cluster);
      const { indexNewest } = await import('./index.ts');
      return withStores(context.config, cluster.backup.stores, context.logger, (stores) =>
        indexNewest(stores, cluster, identities, context),
      );
    }
    case 'survey': {
      const cluster = clusterOf(context.config, job.request.cluster);
      return withStores(context.config, cluster.backup.stores, context.logger, (stores) => surveyStores(stores, cluster, context));
    }
    case 'sweep': {
      const cluster = clusterOf(context.config, job.request.cluster);
      return withStores(context.config, cluster.backup.stores, context.logger, (stores) => sweepStores(stores, cluster.name, context));
    }
    case 'maintain': {
      const { maintain } = await import('./maintain.ts');
      return maintain(job.request, context);
    }
    case 'drill': {
      const { drill } = await import('./drill.ts');
      return drill(job.request, context);
    }
    case 'verify':
      return verify(job.request, context);
  }
}

async function prune(request: { readonly cluster: string; readonly dryRun: boolean }, context: JobContext): Promise<PruneResult> {
  const cluster = clusterOf(context.config, request.cluster);
  return withStores(context.config, cluster.backup.stores, context.logger, (stores) =>
    pruneCluster(stores, cluster.name, cluster.retention, { dryRun: request.dryRun, cache: catalogCache(context.config) }, context),
  );
}

/** Whatever a store lacks of what was meant for it. A failed copy is a line of its own; the others go on. */
async function copyMissing(name: string, context: JobContext): Promise<CopyLine[]> {
  const cluster = clusterOf(context.config, name);
  return withStores(context.config, cluster.backup.stores, context.logger, async (stores) => {
    const catalog = await loadCatalog(stores, cluster.name, context.signal);
    const lines: CopyLine[] = [];
    for (const to of stores) {
      if (catalog.unreachable.some((entry) => entry.store === to.name)) continue;
      for (const backup of owedTo(catalog, to.name, cluster.retention, context.now())) {
        lines.push(await tryCopy(backup, stores, to, context));
      }
    }
    return lines;
  });
}

async function verify(request: Extract<JobRequest, { verb: 'verify' }>['request'], context: JobContext): Promise<VerifyLine[]> {
  const cluster = clusterOf(context.config, request.cluster);
  const identities = await identityFor(cluster);
  return withStores(context.config, cluster.backup.stores, context.logger, async (stores) => {
    const catalog = await loadCatalog(stores, cluster.name, context.signal);
    const lines: VerifyLine[] = [];
    for (const store of stores) {
      if (request.store !== undefined && request.store !== store.name) continue;
      const here = catalog.backups.filter((backup) =>
        backup.copies.some((copy) => copy.store === store.name && copy.manifest === 'present'),
      );
      const chosen =
        request.which === 'all'
          ? here
          : request.which === 'latest'
            ? here.slice(-1)
            : here.filter((backup) => request.which.includes(backup.id));
      for (const backup of chosen) lines.push(await verifyCopy(backup, store, request.level, identities, context));
    }
    return lines;
  });
}
