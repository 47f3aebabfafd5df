/**
 * Whether all members hold the same data: HashKV of each at one revision, one member at a time, the leader last, since a member applies nothing while it computes
 * (on the leader no lease is renewed anywhere meanwhile).
 */
import { errorDetails, WardenError, type ErrorDetails } from '../errors.ts';
import { interruption } from '../etcd/call-errors.ts';
import { MemberClient } from '../etcd/member.ts';
import { hashWhenApplied } from '../etcd/hash-when-applied.ts';
import type { ClusterAccess } from '../etcd/types.ts';
import { knownWrongHash } from '../etcd/versions.ts';
import type { MemberContext, MembershipSight, SeenMember } from './types.ts';
import { labelOf, votersOf } from './words.ts';

export interface HashComparison {
  readonly verdict: 'agree' | 'differ' | 'unclear';
  /** Decimal in print: all were asked for this one. */
  readonly revision: bigint;
  readonly members: readonly {
    readonly member: string;
    readonly hash: number | undefined;
    readonly compactRevision: bigint | undefined;
    readonly tookMs: number | undefined;
    /** Why there is no hash. */
    readonly error: ErrorDetails | undefined;
  }[];
  /** One sentence. */
  readonly message: string;
}

/** Bytes per second of a disk that is read for the first time: generous, because nothing ends the scan on the member. */
const COLD_BYTES_PER_SECOND = 50_000_000;
const LEAST_TIMEOUT_MS = 10_000;
/** A compaction between two answers makes them incomparable; a cluster compacts every few minutes at most. */
const ROUNDS = 3;

/** @throws WardenError `interrupted`; what members answer instead of a hash is in the result */
export async function compareHashes(
  sight: MembershipSight,
  { access, context }: { readonly access: ClusterAccess; readonly context: MemberContext },
): Promise<HashComparison> {
  const voters = votersOf(sight)
    .filter(({ reachable }) => reachable)
    .toSorted((a, b) => Number(a.id === sight.leader) - Number(b.id === sight.leader));
  const silent = votersOf(sight).filter(({ reachable }) => !reachable);
  for (let round = 1; ; round++) {
    // The newest that any has; the others have it a moment later.
    const revision = await newestRevision(voters, access, context.signal);
    // Nobody knows what a voter holds that does not answer.
    const members: HashComparison['members'][number][] = silent.map((voter) => ({
      member: labelOf(voter),
      ...NO_HASH,
      error: whyNone(voter),
    }));
    for (const voter of voters) members.push(await hashOf(voter, revision, access, context));
    const result = judge(revision, members, voters);
    if (result.verdict !== 'unclear' || !result.again || round === ROUNDS) {
      context.progress({ step: 'hash', message: result.message, finished: true });
      return { verdict: result.verdict, revision, members, message: result.message };
    }
  }
}

const NO_HASH = { hash: undefined, compactRevision: undefined, tookMs: undefined } as const;

function whyNone({ error }: SeenMember): ErrorDetails {
  return error ?? { code: 'unreachable', message: 'it does not answer' };
}

async function newestRevision(voters: readonly SeenMember[], access: ClusterAccess, signal: AbortSignal): Promise<bigint> {
  const revisions = await Promise.all(
    voters.map((voter) =>
      withClient(voter, access, async (client) => (await client.status(signal)).revision).catch(() => voter.status?.revision ?? 0n),
    ),
  );
  return revisions.reduce((a, b) => (b > a ? b : a), 0n);
}

async function hashOf(
  voter: SeenMember,
  revision: bigint,
  access: ClusterAccess,
  { signal, progress }: MemberContext,
): Promise<HashComparison['members'][number]> {
  const member = labelOf(voter);
  progress({ step: 'hash', subject: member, message: `${member} hashes its records, and applies no writes meanwhile` });
  const timeoutMs = LEAST_TIMEOUT_MS + Math.ceil(((voter.status?.dbSize ?? 0) / COLD_BYTES_PER_SECOND) * 1000);
  try {
    const hash = await withClient(voter, access, (client) => hashWhenApplied(() => client.hashKv(revision, { timeoutMs, signal }), signal));
    if (hash.memberId !== voter.id) throw new WardenError('unreachable', `another member answers at ${voter.endpoint}`);
    return { member, hash: hash.hash, compactRevision: hash.compactRevision, tookMs: Math.round(hash.tookMs), error: undefined };
  } catch (error) {
    if (signal.aborted) throw interruption(signal, 'comparing the hashes');
    return { member, ...NO_HASH, error: errorDetails(error) };
  }
}

async function withClient<T>(voter: SeenMember, access: ClusterAccess, work: (client: MemberClient) => Promise<T>): Promise<T> {
  if (voter.endpoint === undefined) throw new WardenError('unreachable', `${labelOf(voter)} does not answer`);
  const client = new MemberClient(access, voter.endpoint);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** What the answers say together; pure. `again`: another round may tell. */
export function judge(
  revision: bigint,
  members: HashComparison['members'],
  voters: readonly Pick<SeenMember, 'status'>[],
): Pick<HashComparison, 'verdict' | 'message'> & { readonly again: boolean } {
  const told = members.filter(({ hash }) => hash !== undefined);
  if (new Set(told.map(({ compactRevision }) => compactRevision)).size > 1)
    return { verdict: 'unclear', message: 'the cluster was compacted while its members were asked', again: true };
  if (new Set(told.map(({ hash }) => hash)).size > 1) {
    const each = told.map(({ member, hash }) => `${member} ${(hash ?? 0).toString(16)}`).join(', ');
    const excuse = voters.map(({ status }) => knownWrongHash(status?.version ?? '')).find((reason) => reason !== undefined);
    if (excuse !== undefined)
      return { verdict: 'unclear', message: `hashes at revision ${revision} differ (${each}), but ${excuse}`, again: false };
    return { verdict: 'differ', message: `members have different data at revision ${revision}: ${each}`, again: false };
  }
  const failed = members.filter(({ hash }) => hash === undefined);
  if (failed.length > 0) {
    const why = failed.map(({ member, error }) => `${member}: ${error?.message ?? ''}`).join('; ');
    const again = failed.every(({ error }) => error?.code === 'revision-compacted');
    return { verdict: 'unclear', message: `not every member gave a hash of revision ${revision}: ${why}`, again };
  }
  return { verdict: 'agree', message: `all ${members.length} voters have the same data at revision ${revision}`, again: false };
}
