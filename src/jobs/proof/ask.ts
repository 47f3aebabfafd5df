/** Asking members for their hash, one at a time. Two at once would take the cluster's majority away for as long as both compute (hazard H27). */
import { formatDurationShort } from '../../config/units.ts';
import { asError, errorDetails, WardenError } from '../../errors.ts';
import { MemberClient } from '../../etcd/member.ts';
import { hashWhenApplied } from '../../etcd/hash-when-applied.ts';
import type { ClusterAccess, MemberHash } from '../../etcd/types.ts';
import type { JobContext } from '../types.ts';
import type { ProofPlan, Prover } from './policy.ts';

/** Data that is not in memory comes thirty times slower than the guess from memory, on a plain disk. */
const COLD_FACTOR = 30;
const STILL_EVERY_MS = 10_000;
const SHORTEST_TIMEOUT_MS = 10_000;

export interface Answer {
  readonly prover: Prover;
  readonly hash: MemberHash;
}

export interface AskFailure {
  readonly prover: Prover;
  /** `lagging`, or that of the error. */
  readonly code: string;
  readonly message: string;
}

export interface AskOptions {
  readonly access: ClusterAccess;
  /** Longest wait for one answer, ms. */
  readonly timeoutMs: number;
  readonly context: Pick<JobContext, 'signal' | 'logger' | 'progress'>;
}

export interface Asked {
  readonly answers: readonly Answer[];
  readonly failures: readonly AskFailure[];
  /** Nobody else may be asked in this run: a member did not answer in time and is still frozen, or all would refuse for the same reason. */
  readonly ended: boolean;
}

/** Failures that every other member would repeat: compaction and rights are the same everywhere. */
const SAME_EVERYWHERE: ReadonlySet<string> = new Set(['revision-compacted', 'permission-denied', 'login-failed', 'login-needs-quorum']);

/**
 * Asks in the plan's order: the next one when nobody has answered yet, or when it is due.
 * @throws WardenError only when the caller gave up
 */
export async function askByPlan(plan: Extract<ProofPlan, { kind: 'ask' }>, revision: bigint, options: AskOptions): Promise<Asked> {
  let asked: Asked = { answers: [], failures: [], ended: false };
  for (const prover of plan.order) {
    if (asked.ended) break;
    if (asked.answers.length > 0 && !plan.due.has(prover.label)) continue;
    asked = joined(asked, await askOne(prover, revision, options));
  }
  return asked;
}

/** One member, as a result: its answer or its failure. */
export async function askOne(prover: Prover, revision: bigint, options: AskOptions): Promise<Asked> {
  const { signal, logger, progress } = options.context;
  const { label, predictedMs, status } = prover;
  const timeoutMs = Math.min(options.timeoutMs, Math.max(SHORTEST_TIMEOUT_MS, predictedMs * COLD_FACTOR));
  progress({
    step: 'prove',
    message: `${label} hashes its records and applies no writes for about ${formatDurationShort(Math.max(1, predictedMs))}`,
    subject: label,
  });
  const client = new MemberClient(options.access, status.endpoint);
  // To the daemon a job that tells nothing for long has stalled, and nobody can see how far the member is.
  const still = setInterval(
    () => progress({ step: 'prove', message: `${label} still hashes its records`, subject: label }),
    STILL_EVERY_MS,
  );
  try {
    const hash = await hashWhenApplied(() => client.hashKv(revision, { timeoutMs, signal }), signal);
    if (hash.clusterId !== status.clusterId || hash.memberId !== status.memberId) {
      throw new WardenError('unreachable', `${status.endpoint} leads to another member than before`);
    }
    logger.info(
      { member: label, role: status.role, revision: String(revision), tookMs: Math.round(hash.tookMs), predictedMs },
      'a member has hashed its records',
    );
    return { answers: [{ prover, hash }], failures: [], ended: false };
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = errorDetails(error);
    logger.warn({ member: label, code, err: asError(error) }, 'a member gave no hash');
    const failure = { prover, code: code === 'revision-future' ? 'lagging' : code, message };
    return { answers: [], failures: [failure], ended: code === 'timeout' || SAME_EVERYWHERE.has(code) };
  } finally {
    clearInterval(still);
    client.close();
  }
}

export function joined(a: Asked, b: Asked): Asked {
  return { answers: [...a.answers, ...b.answers], failures: [...a.failures, ...b.failures], ended: a.ended || b.ended };
}
