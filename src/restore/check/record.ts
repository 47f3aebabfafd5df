/** Which restore a cluster comes from: the newest record whose cluster id its members answer with. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WardenError } from '../../errors.ts';
import { credentialsOf } from '../../etcd/credentials.ts';
import { hex } from '../../etcd/ids.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess } from '../../etcd/types.ts';
import type { RestoreRecord } from '../../format/types.ts';
import type { RestoreContext } from '../types.ts';
import { passOn } from './look.ts';

const POLL_MS = 500;

export interface RecordSearch {
  /** In any order; several members of one restore left one each. */
  readonly records: readonly RestoreRecord[];
  readonly access: ClusterAccess;
  readonly signal: AbortSignal;
  readonly progress: RestoreContext['progress'];
  /** How long to wait for the first member that answers, ms. */
  readonly timeoutMs: number;
}

/**
 * @throws WardenError `verification-failed` when those who answer are of a cluster that no record names, `unreachable` when nobody answers in time,
 *   `login-failed` and the like when asking again would not help
 */
export async function recordOfCluster({ records, access, signal, progress, timeoutMs }: RecordSearch): Promise<RestoreRecord> {
  const newestFirst = records.toSorted((a, b) => Date.parse(b.time) - Date.parse(a.time));
  const until = performance.now() + timeoutMs;
  for (;;) {
    const answers = await Promise.all(credentialsOf(access).endpoints.map(({ url }) => clusterIdAt(access, url, signal)));
    const ids = new Set(answers.flatMap((answer) => (typeof answer === 'bigint' ? [hex(answer)] : [])));
    const found = newestFirst.find(({ clusterId }) => ids.has(clusterId));
    if (found !== undefined) return found;
    const newest = newestFirst[0];
    if (ids.size > 0 && newest !== undefined)
      throw new WardenError(
        'verification-failed',
        `the endpoints answer with cluster id ${[...ids].join(' and ')}, which no known restore made; the newest, of ${newest.time}, made ${newest.clusterId}`,
        { hint: 'an etcd that ran before may still be running there, or another attempt; or name the right record with --record' },
      );
    const failure = answers.find((answer) => typeof answer !== 'bigint');
    if (performance.now() >= until)
      throw new WardenError('unreachable', `no member answered in time: ${failure?.message ?? 'there are no endpoints'}`, {
        cause: failure,
      });
    progress({ step: 'members', message: `nobody answers yet: ${failure?.message ?? ''}` });
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function clusterIdAt(access: ClusterAccess, endpoint: string, signal: AbortSignal): Promise<bigint | WardenError> {
  const client = new MemberClient(access, endpoint);
  try {
    return (await client.status(signal)).clusterId;
  } catch (error) {
    if (!(error instanceof WardenError)) throw error;
    passOn(error, signal);
    return error;
  } finally {
    client.close();
  }
}
