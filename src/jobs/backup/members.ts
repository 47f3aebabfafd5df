/** Tries the members in their order until one has delivered a whole snapshot. */
import { asError, WardenError } from '../../errors.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { Candidate, ClusterAccess } from '../../etcd/types.ts';
import type { RevisionMark } from '../../format/types.ts';
import { temporaryName } from '../../store/temporary.ts';
import type { Head } from '../../mvcc/head.ts';
import type { JobContext } from '../types.ts';
import { attemptBackup, StreamFailed, type AttemptOptions, type AttemptResult } from './attempt.ts';

export interface Streamed {
  readonly candidate: Candidate;
  readonly attempt: AttemptResult;
  /** Before and after the stream. */
  readonly marks: readonly [RevisionMark, RevisionMark];
  readonly clusterIdAtEnd: bigint;
}

export interface StreamPlan extends Pick<AttemptOptions, 'key' | 'spoolFolder' | 'stores' | 'recipients' | 'maxRate' | 'onTotal'> {
  readonly cluster: string;
  readonly access: ClusterAccess;
  readonly judge: (head: Head, candidate: Candidate) => void;
  /** Called when the true revision of a file is known and accepted, and the rest of it is still looked through; for each member that gets so far. */
  readonly onHead: (head: Head) => void;
  /** Waited for before the next member is asked: whoever `onHead` has set to hashing may be that one, and must not stream at the same time. */
  readonly settled: () => Promise<void>;
  readonly warn: (code: string, message: string) => void;
}

/**
 * A failed stream goes on with the next member; what would fail there too (disk, permission, the caller) ends it.
 * @throws WardenError naming every member and its failure when none delivered
 */
export async function streamFromMembers(
  candidates: readonly Candidate[],
  plan: StreamPlan,
  context: Pick<JobContext, 'signal' | 'logger' | 'progress' | 'now'>,
): Promise<Streamed> {
  const failures: { readonly endpoint: string; readonly error: Error }[] = [];
  for (const candidate of candidates) {
    const { status } = candidate;
    try {
      return await streamFrom(candidate, plan, candidate === candidates.at(-1), context);
    } catch (error) {
      if (!(error instanceof StreamFailed)) throw error;
      failures.push({ endpoint: status.endpoint, error: error.cause });
      plan.warn('member-failed', `${status.name || status.endpoint} failed during the stream: ${error.message}`);
      await plan.settled();
    }
  }
  const last = failures.at(-1);
  const known = last?.error instanceof WardenError ? last.error : undefined;
  if (last === undefined)
    throw new WardenError('failed', `no member of ${plan.cluster} can be asked for a snapshot`, { hint: 'see `etcd-warden status`' });
  throw new WardenError(
    known?.code ?? 'failed',
    `no member delivered a whole snapshot: ${failures.map(({ endpoint, error }) => `${endpoint}: ${error.message}`).join('; ')}`,
    {
      hint: known?.hint ?? 'see `etcd-warden status`; nothing of this run is visible',
      cause: last.error,
    },
  );
}

async function streamFrom(
  candidate: Candidate,
  plan: StreamPlan,
  lastResort: boolean,
  context: Pick<JobContext, 'signal' | 'logger' | 'progress' | 'now'>,
): Promise<Streamed> {
  const { status } = candidate;
  const { signal, logger } = context;
  for (const reason of candidate.secondRate) plan.warn('second-rate-member', reason);
  if (status.alarms.some((alarm) => alarm.type === 'NOSPACE'))
    plan.warn('nospace-armed', 'a NOSPACE alarm is armed: the cluster refuses writes');
  const before = { time: context.now().toISOString(), revision: String(status.revision) };
  logger.info({ member: status.name, endpoint: status.endpoint, role: status.role, revision: before.revision }, 'member chosen');
  const client = new MemberClient(plan.access, status.endpoint);
  try {
    const attempt = await attemptBackup({
      ...plan,
      client,
      member: status.name || status.endpoint,
      spoolName: temporaryName(),
      expectedBytes: status.dbSize,
      judge: (head) => plan.judge(head, candidate),
      onHead: plan.onHead,
      lastResort,
      onProgress: context.progress,
      logger,
      signal,
    });
    const after = await client.status(signal).catch((error: unknown) => {
      // The stream was whole, so the backup stands; only the second mark is poorer for it.
      plan.warn('member-gone', `${status.endpoint} did not answer after the stream: ${asError(error).message}`);
      return status;
    });
    return {
      candidate,
      attempt,
      marks: [before, { time: context.now().toISOString(), revision: String(after.revision) }],
      clusterIdAtEnd: after.clusterId,
    };
  } finally {
    client.close();
  }
}
