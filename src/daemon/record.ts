/** What a finished job does to the metrics. */
import type { BackupResult, ProveResult, SurveyResult } from '../jobs/types.ts';
import type { WardenError } from '../errors.ts';
import type { Rule } from '../maintenance/planner/types.ts';
import type { ActionResult } from '../maintenance/types.ts';
import { codeLabel, type Metrics } from '../telemetry/metrics.ts';
import type { PruneCounts, RoundSummary, VerifyResultLine } from './results.ts';

export function recordBackup(metrics: Metrics, cluster: string, result: BackupResult): void {
  metrics.add('etcd_warden_backups_total', { cluster, outcome: result.outcome });
  if (result.outcome === 'skipped') return;
  metrics.observe('etcd_warden_backup_duration_seconds', { cluster }, result.durationMs / 1000);
  metrics.set('etcd_warden_backup_bytes', { cluster, kind: 'plain' }, result.plainBytes);
  metrics.set('etcd_warden_backup_bytes', { cluster, kind: 'stored' }, result.storedBytes);
  metrics.set('etcd_warden_backup_last_revision', { cluster }, Number(result.revision));
  metrics.set('etcd_warden_backup_suspect', { cluster }, result.suspect === undefined ? 0 : 1);
  metrics.set('etcd_warden_backup_consecutive_failures', { cluster }, 0);
  recordProof(metrics, cluster, result);
  const full = result.stores.some((store) => store.error?.code === 'disk-full');
  metrics.set('etcd_warden_disk_full', { cluster }, full ? 1 : 0);
  if (result.newGeneration !== undefined)
    metrics.set('etcd_warden_generation_unaccepted', { cluster }, result.newGeneration.accepted ? 0 : 1);
}

function recordProof(metrics: Metrics, cluster: string, { proof, unproved, disagreement, stall }: BackupResult): void {
  if (stall !== undefined) metrics.set('etcd_warden_proof_stall_predicted_seconds', { cluster }, stall.predictedMs / 1000);
  if (stall?.longestMs !== undefined) metrics.set('etcd_warden_proof_stall_seconds', { cluster }, stall.longestMs / 1000);
  if (unproved?.code !== 'disabled') metrics.add('etcd_warden_proofs_total', { cluster, outcome: outcomeOf(proof, unproved?.code) });
  if (proof !== undefined || disagreement !== undefined) recordDisagreement(metrics, cluster, disagreement !== undefined);
}

/** Each backup that was asked for later counts again; those that still wait do not. */
export function recordLaterProofs(metrics: Metrics, cluster: string, { lines }: ProveResult): void {
  for (const { outcome, proof, disagreement } of lines) {
    if (outcome === 'waiting') continue;
    metrics.add('etcd_warden_proofs_total', { cluster, outcome: outcome === 'proved' ? 'proved' : 'differs' });
    if (proof?.tookMs !== undefined) metrics.set('etcd_warden_proof_stall_seconds', { cluster }, proof.tookMs / 1000);
    if (disagreement !== undefined) recordDisagreement(metrics, cluster, true);
  }
}

function recordDisagreement(metrics: Metrics, cluster: string, disagree: boolean): void {
  metrics.set('etcd_warden_members_disagree', { cluster }, disagree ? 1 : 0);
}

function outcomeOf(proof: BackupResult['proof'], code: string | undefined): string {
  if (proof !== undefined) return 'proved';
  return code === 'differs' || code === 'inconclusive' ? code : 'unproved';
}

export function recordFailure(metrics: Metrics, cluster: string, error: WardenError, consecutive: number): void {
  metrics.add('etcd_warden_backups_total', { cluster, outcome: 'failed' });
  metrics.add('etcd_warden_backup_failures_total', { cluster, code: codeLabel(error) });
  metrics.set('etcd_warden_backup_consecutive_failures', { cluster }, consecutive);
  if (error.code === 'disk-full') metrics.set('etcd_warden_disk_full', { cluster }, 1);
}

export function recordPrune(metrics: Metrics, cluster: string, counts: PruneCounts): void {
  metrics.add('etcd_warden_retention_removed_total', { cluster }, counts.removed);
  metrics.set('etcd_warden_retention_kept', { cluster }, counts.kept);
}

/** One copy that was read again. A deeper look counts for the levels above it. */
export function recordVerification(metrics: Metrics, cluster: string, { store, level, outcome }: VerifyResultLine): void {
  metrics.add('etcd_warden_verifications_total', { cluster, store, level, outcome });
}

function recordVerifications(metrics: Metrics, cluster: string, { stores, verification }: SurveyResult): void {
  for (const { store, level, atMs } of verification.sound)
    metrics.set('etcd_warden_verify_last_success_timestamp_seconds', { cluster, store, level }, atMs / 1000);
  for (const { store, error } of stores) {
    if (error !== undefined) continue;
    metrics.set('etcd_warden_verify_failed', { cluster, store }, verification.failed.some((failed) => failed.store === store) ? 1 : 0);
  }
}

/** @param newestCompleteMs from this survey, or from an earlier one when a store could not be listed now */
export function recordSurvey(metrics: Metrics, cluster: string, survey: SurveyResult, newestCompleteMs: number | undefined): void {
  if (newestCompleteMs !== undefined)
    metrics.set('etcd_warden_backup_last_success_timestamp_seconds', { cluster, store: '' }, newestCompleteMs / 1000);
  for (const state of ['complete', 'partial', 'damaged'] as const)
    metrics.set('etcd_warden_backups', { cluster, state }, survey.backups[state]);
  for (const { store, newestVerifiedMs, missing, error } of survey.stores) {
    metrics.set('etcd_warden_store_reachable', { cluster, store }, error === undefined ? 1 : 0);
    if (error !== undefined) continue;
    metrics.set('etcd_warden_backup_copies_missing', { cluster, store }, missing);
    if (newestVerifiedMs !== undefined)
      metrics.set('etcd_warden_backup_last_success_timestamp_seconds', { cluster, store }, newestVerifiedMs / 1000);
  }
  metrics.set('etcd_warden_generation_unaccepted', { cluster }, survey.unaccepted === undefined ? 0 : 1);
  recordVerifications(metrics, cluster, survey);
  const { newestProvedMs, wanting, disagreement } = survey.proof;
  if (newestProvedMs !== undefined) metrics.set('etcd_warden_backup_last_proved_timestamp_seconds', { cluster }, newestProvedMs / 1000);
  metrics.set('etcd_warden_proofs_wanting', { cluster }, wanting.length);
  recordDisagreement(metrics, cluster, disagreement !== undefined);
  const { newest } = survey;
  if (newest === undefined) return;
  metrics.set('etcd_warden_backup_bytes', { cluster, kind: 'plain' }, newest.plainBytes);
  metrics.set('etcd_warden_backup_bytes', { cluster, kind: 'stored' }, newest.storedBytes);
  metrics.set('etcd_warden_backup_last_revision', { cluster }, Number(newest.revision));
  metrics.set('etcd_warden_backup_suspect', { cluster }, newest.suspect === undefined ? 0 : 1);
}

/** @param before the rules of the round before, whose series go when they no longer stand against anything */
export function recordRound(
  metrics: Metrics,
  cluster: string,
  round: RoundSummary,
  nowMs: number,
  before: ReadonlySet<Rule>,
): ReadonlySet<Rule> {
  metrics.add('etcd_warden_maintenance_rounds_total', { cluster, outcome: round.outcome });
  if (round.failure !== undefined) metrics.add('etcd_warden_maintenance_failures_total', { cluster, code: codeLabel(round.failure) });
  // Of whichever process did it; what was done in this round is newer, but for a clock that jumped.
  for (const action of ['compact', 'defrag', 'disarm'] as const) {
    const atMs = round.last[action];
    if (atMs !== undefined) metrics.set('etcd_warden_maintenance_last_timestamp_seconds', { cluster, action }, atMs / 1000);
  }
  for (const action of round.actions) recordAction(metrics, cluster, action, nowMs);
  // That everything is done stands against nothing.
  const rules = new Set<Rule>(round.refusals.flatMap(({ rule }) => (rule === 'done' ? [] : [rule])));
  for (const rule of before) if (!rules.has(rule)) metrics.remove('etcd_warden_maintenance_refused', { cluster, rule });
  for (const rule of rules) {
    metrics.add('etcd_warden_maintenance_refusals_total', { cluster, rule });
    metrics.set('etcd_warden_maintenance_refused', { cluster, rule }, 1);
  }
  return rules;
}

function recordAction(metrics: Metrics, cluster: string, done: ActionResult, nowMs: number): void {
  const { action, tookMs, beforeBytes, afterBytes, predictedMs } = done;
  metrics.add('etcd_warden_maintenance_actions_total', { cluster, action });
  metrics.set('etcd_warden_maintenance_last_timestamp_seconds', { cluster, action }, nowMs / 1000);
  if (action !== 'defrag') return;
  metrics.observe('etcd_warden_defrag_seconds', { cluster }, tookMs / 1000);
  metrics.set('etcd_warden_defrag_last_seconds', { cluster }, tookMs / 1000);
  if (predictedMs !== undefined) metrics.set('etcd_warden_defrag_predicted_seconds', { cluster }, predictedMs / 1000);
  if (beforeBytes !== undefined && afterBytes !== undefined && beforeBytes > afterBytes)
    metrics.add('etcd_warden_defrag_reclaimed_bytes_total', { cluster }, beforeBytes - afterBytes);
}

/** A round that did not come to a plan: the cluster could not be asked, the lock not be had, the job ended. */
export function recordRoundError(metrics: Metrics, cluster: string, error: WardenError): void {
  metrics.add('etcd_warden_maintenance_rounds_total', { cluster, outcome: 'error' });
  metrics.add('etcd_warden_maintenance_failures_total', { cluster, code: codeLabel(error) });
}
