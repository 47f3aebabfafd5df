/**
 * Reading stored backups again, on a schedule of its own. Each copy is a job of its own in the heavy lane behind all backups, so that the longest that a
 * backup can wait for it is one copy. What is due was found by the last survey; a slot that was missed is caught up once.
 */
import type { ClusterConfig } from '../config/types.ts';
import { asError } from '../errors.ts';
import type { SurveyResult } from '../jobs/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Board } from './board.ts';
import { recordVerification } from './record.ts';
import { verifyLines } from './results.ts';
import { clockIsSet, slotsOf, type Slots } from './slots.ts';

export interface VerificationPorts {
  readonly board: Board;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A check failed, or a run ended: what the stores hold is to be looked at again. */
  readonly changed: () => void;
}

export class Verification {
  readonly #ports: VerificationPorts;
  #config: ClusterConfig;
  #slots: Slots | undefined;
  /** Start of the last run of this process. */
  #ranMs = -Infinity;
  #run: Promise<void> | undefined;
  #stopped = false;

  constructor(config: ClusterConfig, ports: VerificationPorts) {
    this.#ports = ports;
    this.#config = config;
    this.#slots = slotsOf(config.verify.schedule);
  }

  configure(config: ClusterConfig): void {
    this.#config = config;
    this.#slots = slotsOf(config.verify.schedule);
  }

  /**
   * Starts a run when one is due and this daemon is the one that works.
   * @returns when to look again
   */
  tick(nowMs: number, works: boolean, survey: SurveyResult | undefined): number {
    if (this.#slots === undefined) return Infinity;
    const next = this.#slots.next(nowMs) ?? Infinity;
    if (!works || this.#stopped || survey === undefined || this.#run !== undefined || !clockIsSet(nowMs)) return next;
    const slotMs = this.#slots.latest(nowMs);
    const doneMs = Math.max(this.#ranMs, survey.verification.lastMs ?? -Infinity);
    // A check dated in the future, by a clock that was wrong once, says nothing about this slot.
    if (slotMs === undefined || (doneMs >= slotMs && doneMs <= nowMs) || survey.verification.due.length === 0) return next;
    this.#ranMs = nowMs;
    this.#run = this.#verify(survey)
      .catch((error: unknown) => this.#ports.logger.error({ error: asError(error) }, 'verification ended unexpectedly'))
      .finally(() => {
        this.#run = undefined;
        if (!this.#stopped) this.#ports.changed();
      });
    return next;
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await this.#run;
  }

  async #verify({ verification }: SurveyResult): Promise<void> {
    const { board, logger, metrics } = this.#ports;
    const { name: cluster, verify } = this.#config;
    logger.info({ copies: verification.due.length, level: verify.level }, 'reading stored backups again');
    for (const { id, store } of verification.due) {
      if (this.#stopped) return;
      const outcome = await board.submit({ verb: 'verify', request: { cluster, which: [id], store, level: verify.level } }).done;
      if (!outcome.ok) {
        if (outcome.error.code === 'interrupted') return;
        metrics.add('etcd_warden_verifications_total', { cluster, store, level: verify.level, outcome: 'inconclusive' });
        logger.warn({ id, store, error: outcome.error }, 'a backup could not be verified; it will be tried again in the next run');
        continue;
      }
      // Nothing in it: the backup was removed since the survey.
      for (const line of verifyLines(outcome.result)) {
        recordVerification(metrics, cluster, line);
        const fields = { id: line.id, store: line.store, level: line.level, code: line.code, reason: line.reason };
        if (line.outcome === 'failed') logger.error(fields, 'verification failed: this copy of the backup cannot be trusted');
        else if (line.outcome === 'inconclusive') logger.warn(fields, 'a backup could not be verified');
        else if (line.reason !== undefined)
          logger.warn(fields, 'the backup is sound as far as it was looked at, which is less deep than configured');
        else logger.info(fields, 'the backup is sound');
      }
    }
  }
}
