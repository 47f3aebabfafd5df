/**
 * The proof of a backup while it is taken: a member computes its hash while the file is still looked through, and the two are compared before the
 * manifest is written. Whatever goes wrong here, the backup is published: with the reason why it has no proof.
 */
import { createScratch } from '../../archive/scratch.ts';
import type { Catalog } from '../../catalog/types.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, errorDetails, WardenError } from '../../errors.ts';
import type { Coordination } from '../../etcd/coordination.ts';
import type { ClusterAccess, ClusterView } from '../../etcd/types.ts';
import type { Head } from '../../mvcc/head.ts';
import { askByPlan, type Asked } from '../proof/ask.ts';
import { proofHistory } from '../proof/history.ts';
import { examinedHash } from '../proof/local.ts';
import { planNow } from '../proof/plan-now.ts';
import { labelOf, type ProofPlan } from '../proof/policy.ts';
import { unprovableSchema } from '../proof/schema.ts';
import { votersOf } from '../proof/statuses.ts';
import { judge, type Verdict } from '../proof/verdict.ts';
import type { BackupResult, JobContext } from '../types.ts';
import type { AttemptResult } from './attempt.ts';

export interface ProofSetting {
  readonly cluster: ClusterConfig;
  readonly access: ClusterAccess;
  readonly view: ClusterView;
  readonly catalog: Catalog;
  readonly lineage: string;
  /** Where scratch files may lie. */
  readonly folder: string;
  readonly coordination: Coordination | undefined;
  readonly context: JobContext;
}

export type BackupVerdict = Verdict & Pick<BackupResult, 'stall'>;

interface Asking {
  readonly plan: ProofPlan;
  readonly asked: Asked;
}

const NOTHING: Asked = { answers: [], failures: [], ended: false };

export class BackupProof {
  readonly #setting: ProofSetting;
  readonly #stop = new AbortController();
  #asking: Promise<Asking> | undefined;

  constructor(setting: ProofSetting) {
    const signal = AbortSignal.any([setting.context.signal, this.#stop.signal]);
    this.#setting = { ...setting, context: { ...setting.context, signal } };
  }

  /** Waits for no answer any more. */
  close(): void {
    this.#stop.abort(new WardenError('interrupted', 'the run ended before the proof did'));
  }

  /** Asks, beside whatever the caller does. Called again when that file was given up: the one who answers for it is waited for first. */
  begin(head: Head): void {
    if (!this.#setting.cluster.proof.enabled || unprovableSchema(head) !== undefined) return;
    const before = this.#asking;
    this.#asking = this.#ask(head, before);
    this.#asking.catch(() => {}); // heard in `finish`, or the run fails for another reason first
  }

  /** When nobody is asked any more, whatever came of it. */
  async settled(): Promise<void> {
    await this.#asking?.catch(() => {}); // heard in `finish`, as above
  }

  /** @throws only when the caller gave up */
  async finish(attempt: Pick<AttemptResult, 'head' | 'examined' | 'file'>): Promise<BackupVerdict> {
    const { cluster, context, access, view, folder, coordination } = this.#setting;
    const { head, examined, file } = attempt;
    const asking = await this.#asking;
    if ('failure' in examined) {
      const reason = examined.failure.message;
      return { unproved: { code: 'damaged', reason }, suspect: `the file is damaged inside: ${reason}`, warnings: [] };
    }
    if (!cluster.proof.enabled) return { unproved: { code: 'disabled', reason: 'proofs are switched off (proof.enabled)' }, warnings: [] };
    const unproved = unprovableSchema(head);
    if (unproved !== undefined) return withWarning({ unproved, warnings: [] });
    if (asking === undefined) throw new Error('finished before it began');
    const { plan, asked } = asking;
    if (plan.kind === 'refused') {
      const { code, reason, predictedMs } = plan;
      return withWarning({ unproved: { code, reason }, warnings: [] }, { predictedMs });
    }
    const scratch = createScratch(folder, { encrypted: cluster.encryption.recipients.length > 0 });
    const stall = { predictedMs: plan.predictedMs, ...longest(asked) };
    try {
      const verdict = await judge(
        {
          revision: head.revision,
          compactRevision: head.compactRevision,
          voters: votersOf(view),
          local: examinedHash(examined, file, scratch),
        },
        plan,
        asked,
        {
          access,
          timeoutMs: cluster.proof.timeoutMs,
          context,
          advance: coordination === undefined ? undefined : (signal) => coordination.advance(signal),
        },
      );
      return withWarning({ ...verdict, ...this.#stillDoubted(verdict) }, stall);
    } catch (error) {
      context.signal.throwIfAborted();
      const { code, message } = errorDetails(error);
      context.logger.error({ err: asError(error) }, 'the file could not be compared with the cluster');
      return withWarning({ unproved: { code, reason: message }, warnings: [] }, stall);
    }
  }

  /** Members that disagreed before and could not be compared now are no better for that; one that has left the cluster is forgotten. */
  #stillDoubted({ proof, disagreement }: Verdict): Pick<Verdict, 'disagreement'> {
    const { catalog, lineage, view } = this.#setting;
    const before = proofHistory(catalog, lineage).disagreement;
    if (disagreement !== undefined || proof === undefined || before === undefined) return {};
    const present = new Set(view.members.map((member) => (member.reachable ? labelOf(member.status) : (member.name ?? ''))));
    const members = before.members.filter((name) => present.has(name) && !proof.members.includes(name));
    return members.length === 0 ? {} : { disagreement: { members, reason: before.reason } };
  }

  async #ask(head: Head, before: Promise<Asking> | undefined): Promise<Asking> {
    const { cluster, access, context } = this.#setting;
    const frozen = (await before)?.asked.ended === true;
    const plan = await planNow(this.#setting);
    if (plan.kind === 'refused' || frozen) {
      const asked = frozen ? ((await before)?.asked ?? NOTHING) : NOTHING;
      return { plan, asked: { ...asked, answers: [] } };
    }
    context.logger.info(
      { members: plan.order.map(({ label }) => label), due: [...plan.due], predictedStallMs: plan.predictedMs },
      'asking for a proof',
    );
    return { plan, asked: await askByPlan(plan, head.revision, { access, timeoutMs: cluster.proof.timeoutMs, context }) };
  }
}

function longest({ answers }: Asked): { longestMs?: number } {
  return answers.length === 0 ? {} : { longestMs: Math.round(Math.max(...answers.map(({ hash }) => hash.tookMs))) };
}

/** Why there is no proof is a warning too: nobody should have to look for it. */
function withWarning(verdict: Verdict, stall?: BackupVerdict['stall']): BackupVerdict {
  const told = stall === undefined ? {} : { stall };
  if (verdict.unproved === undefined) return { ...verdict, ...told };
  const warning = { code: 'unproved', message: `not compared with the cluster: ${verdict.unproved.reason}` };
  return { ...verdict, warnings: [...verdict.warnings, warning], ...told };
}
