/**
 * Comparing the data of restored members with the record, by HashKV. A member that computes it applies no writes until it is done, so members are asked one
 * after the other, followers before the leader.
 *
 * Two things must fit: the revision that was hashed and the compact revision that was hashed with. Asked for revision 0 a member hashes its newest one and says
 * which that was; asked for a revision by number it may answer what it remembers of a compaction at just that revision, as of the compact revision before (3.5.5 and
 * later), or refuse when it is compacted to just there (before 3.4.27 and 3.5.10), as every cluster with raised revisions is. So 0 is asked as long as the member has
 * not gone on.
 */
import { WardenError } from '../../errors.ts';
import { hashWhenApplied } from '../../etcd/hash-when-applied.ts';
import { hex } from '../../etcd/ids.ts';
import type { MemberHash } from '../../etcd/types.ts';
import { knownWrongHash } from '../../etcd/versions.ts';
import type { RestoreRecord } from '../../format/types.ts';
import type { Seen } from './look.ts';

/** Asks one member for one hash. @throws WardenError as MemberClient.hashKv */
export type AskHash = (seen: Seen, revision: bigint) => Promise<MemberHash>;

export interface Hashed {
  /** Hex. */
  readonly id: string;
  readonly answer: MemberHash;
  readonly verdict: 'recorded' | 'different' | 'past';
  readonly reason: string | undefined;
}

export interface Agreement {
  readonly outcome: 'agreed' | 'differs' | 'inconclusive';
  readonly reason: string;
  readonly answers: readonly { readonly id: string; readonly answer: MemberHash }[];
}

/** Compactions and writes may come between; no client does both for long while a restore is being checked. */
const ATTEMPTS = 4;

/** The leader last: while it computes, no lease is renewed anywhere. */
export function inAskingOrder(present: ReadonlyMap<string, Seen>): readonly (readonly [id: string, seen: Seen])[] {
  const leads = ([, { status }]: readonly [string, Seen]): number => (status.role === 'leader' ? 1 : 0);
  return [...present].toSorted((a, b) => leads(a) - leads(b));
}

/**
 * Compares one member with the record.
 * @throws WardenError what the call throws, but for a revision that is compacted: that is `past`
 */
export async function compareHash(record: RestoreRecord, id: string, seen: Seen, ask: AskHash): Promise<Hashed | 'compacted'> {
  const revision = BigInt(record.revision);
  const name = record.members.find((each) => each.id === id)?.name ?? id;
  if (seen.status.revision === revision) {
    const answer = await ask(seen, 0n);
    if (answer.currentRevision === revision) return { id, answer, ...judged(record, name, seen, answer, true) };
    // Somebody wrote since the look.
  }
  try {
    const answer = await ask(seen, revision);
    return { id, answer, ...judged(record, name, seen, answer, false) };
  } catch (error) {
    if (error instanceof WardenError && error.code === 'revision-compacted') return 'compacted';
    throw error;
  }
}

function judged(
  record: RestoreRecord,
  name: string,
  { status }: Seen,
  answer: MemberHash,
  newest: boolean,
): Pick<Hashed, 'verdict' | 'reason'> {
  if (answer.memberId !== status.memberId || answer.clusterId !== status.clusterId)
    throw new WardenError('unreachable', `${status.endpoint} leads to another member than a moment ago: ${hex(answer.memberId)}`);
  const [theirs, recorded] = [positive(answer.compactRevision), positive(BigInt(record.compactRevision))];
  if (theirs === recorded) {
    if (answer.hash === record.hash) return { verdict: 'recorded', reason: undefined };
    return {
      verdict: 'different',
      reason: `${name} has the hash ${answer.hash} at revision ${record.revision}, ${record.hash} was restored`,
    };
  }
  if (theirs > recorded) return { verdict: 'past', reason: `${name} is compacted to ${theirs}, ${shown(recorded)} was restored` };
  if (newest) return { verdict: 'different', reason: `${name} is compacted to ${shown(theirs)}, ${recorded} was restored` };
  return { verdict: 'past', reason: `${name} only remembers a hash as of compact revision ${shown(theirs)}` };
}

/**
 * Whether members agree with each other, whatever they hold: the same revision and compact revision, the same hash. A difference counts when it is found twice.
 * @throws WardenError what the calls throw
 */
export async function agreement(
  members: readonly (readonly [id: string, seen: Seen])[],
  ask: AskHash,
  signal: AbortSignal,
): Promise<Agreement> {
  let revision = 0n;
  let differed: string | undefined;
  let answers: { id: string; answer: MemberHash }[] = [];
  if (members.length < 2) return { outcome: 'inconclusive', reason: 'a single member has nobody to agree with', answers };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    answers = [];
    try {
      for (const [id, seen] of members) answers.push({ id, answer: await hashWhenApplied(() => ask(seen, revision), signal) });
    } catch (error) {
      // Compacted past the revision meanwhile: a newer one.
      if (!(error instanceof WardenError && error.code === 'revision-compacted') || attempt === ATTEMPTS) throw error;
      revision = 0n;
      continue;
    }
    const comparable =
      new Set(answers.map(({ answer }) => `${revision === 0n ? answer.currentRevision : revision}/${answer.compactRevision}`)).size === 1;
    const newest = answers.reduce((most, { answer }) => (answer.currentRevision > most ? answer.currentRevision : most), 0n);
    const at = `revision ${revision === 0n ? newest : revision}`;
    // Where somebody writes all the time everybody's newest revision is another one: then the newest of all by number.
    revision = comparable ? 0n : newest;
    if (!comparable) continue;
    if (new Set(answers.map(({ answer }) => answer.hash)).size === 1)
      return { outcome: 'agreed', reason: `${members.length} members have the same hash at ${at}`, answers };
    const hashes = members.map(([id], index) => `${id} ${answers[index]!.answer.hash}`).join(', ');
    const excuse = members.map(([, { status }]) => knownWrongHash(status.version)).find((each) => each !== undefined);
    if (excuse !== undefined) return { outcome: 'inconclusive', reason: `members differ at ${at} (${hashes}), but ${excuse}`, answers };
    if (differed !== undefined) return { outcome: 'differs', reason: `members differ at ${at}: ${hashes}; they did before, too`, answers };
    differed = hashes;
  }
  return {
    outcome: 'inconclusive',
    reason: `no revision was found at which all members could be compared${differed === undefined ? '' : ', and once they differed'}`,
    answers,
  };
}

/** Never compacted is -1, and 0 in some answers. */
function positive(revision: bigint): bigint {
  return revision > 0n ? revision : 0n;
}

function shown(revision: bigint): string {
  return revision === 0n ? 'nothing' : String(revision);
}
