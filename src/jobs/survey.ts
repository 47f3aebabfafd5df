/** What the daemon needs to know of a cluster's backups, read in a child so that the daemon opens no store itself. */
import { currentGeneration } from '../catalog/generations.ts';
import { readCatalog } from '../catalog/read.ts';
import { isImported, type Backup, type Catalog } from '../catalog/types.ts';
import { runGaps } from '../config/cron.ts';
import type { ClusterConfig, RetentionConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import type { Store } from '../store/types.ts';
import { catalogCache } from './catalog.ts';
import { owedTo } from './copy.ts';
import { proofHistory, provable } from './proof/history.ts';
import { drillsOn } from './drill-survey.ts';
import type { JobContext, SurveyedBackup, SurveyResult } from './types.ts';
import { surveyVerification, type VerificationPolicy } from './verification-plan.ts';

/** Manifests are immutable, so what was read once is kept in the state folder: a survey then lists, and reads only what is new. */
export async function surveyStores(
  stores: readonly Store[],
  cluster: ClusterConfig,
  context: Pick<JobContext, 'config' | 'signal' | 'now'>,
): Promise<SurveyResult> {
  const catalog = await readCatalog(stores, cluster.name, { signal: context.signal, cache: catalogCache(context.config) });
  return surveyOf(
    catalog,
    stores.map((store) => store.name),
    { policy: cluster.retention, verification: verificationPolicy(cluster, context.now()), now: context.now() },
  );
}

/** The schedule as the longest time that it leaves between two runs. */
function verificationPolicy({ verify }: ClusterConfig, now: Date): VerificationPolicy | undefined {
  const { cron } = verify.schedule;
  return cron === undefined ? undefined : { everyMs: verify.everyMs, intervalMs: runGaps(cron, now).longestMs };
}

/** Pure: the catalogue in figures. */
export function surveyOf(
  catalog: Catalog,
  stores: readonly string[],
  {
    policy,
    verification,
    now,
  }: { readonly policy: RetentionConfig; readonly verification?: VerificationPolicy | undefined; readonly now: Date },
): SurveyResult {
  // What was imported serves no slot and makes no backup younger.
  const own = catalog.backups.filter((backup) => !isImported(backup));
  const count = (state: Backup['state']): number => catalog.backups.filter((backup) => backup.state === state).length;
  const newestWhere = (wanted: (backup: Backup) => boolean): SurveyedBackup | undefined => surveyed(own.findLast(wanted));
  const last = currentGeneration(catalog.generations);
  return {
    backups: { complete: count('complete'), partial: count('partial'), damaged: count('damaged') },
    newest: newestWhere((backup) => backup.state !== 'damaged'),
    newestComplete: newestWhere(
      (backup) => backup.state === 'complete' && backup.manifest.stores.every((name) => isVerified(backup, name)),
    ),
    stores: stores.map((store) => {
      const failed = catalog.unreachable.find((entry) => entry.store === store)?.error;
      return {
        store,
        newestVerifiedMs: own.findLast((backup) => isVerified(backup, store))?.timeMs,
        missing: failed === undefined ? owedTo(catalog, store, policy, now).length : 0,
        ...(failed === undefined
          ? {}
          : { error: { code: failed instanceof WardenError ? failed.code : 'failed', message: failed.message } }),
      };
    }),
    verification: surveyVerification(catalog, stores, verification, now.getTime()),
    drills: stores.map((store) => drillsOn(catalog, store)),
    proof: {
      newestProvedMs: own.findLast((backup) => backup.proof !== undefined)?.timeMs,
      wanting: provable(catalog, last?.lineage).map(({ id, manifest }) => ({ id, code: manifest.unproved?.code ?? '' })),
      disagreement: disagreementOf(catalog, last?.lineage),
    },
    unaccepted: last === undefined || last.accepted ? undefined : { lineage: last.lineage, clusterId: last.clusterId },
  };
}

function disagreementOf(catalog: Catalog, lineage: string | undefined): SurveyResult['proof']['disagreement'] {
  const found = proofHistory(catalog, lineage).disagreement;
  return found === undefined ? undefined : { members: found.members, reason: found.reason };
}

function isVerified(backup: Backup, store: string): boolean {
  return backup.copies.some((copy) => copy.store === store && copy.verified);
}

function surveyed(backup: Backup | undefined): SurveyedBackup | undefined {
  if (backup === undefined) return undefined;
  const { manifest } = backup;
  return {
    id: backup.id,
    timeMs: backup.timeMs,
    revision: manifest.revision,
    plainBytes: manifest.plain.bytes,
    storedBytes: manifest.stored.bytes,
    suspect: backup.suspect,
  };
}
