/**
 * What the answers of the members say about a file. Nobody is alarmed for one number: a difference is computed again with another seed, then the other
 * members are asked, and members count as disagreeing only when it is found again at a second, newer revision (design, "Proof without pain").
 */
import { WardenError } from '../../errors.ts';
import { knownWrongHash } from '../../etcd/versions.ts';
import type { Proof } from '../../format/types.ts';
import { askOne, type Answer, type Asked, type AskFailure, type AskOptions } from './ask.ts';
import { followUp, type FollowUp } from './follow-up.ts';
import type { ProofPlan, Prover } from './policy.ts';

/** HashKV of the file at its own revision, as a member computes it whose compact revision is this. */
export interface LocalHash {
  hash(compactRevision: bigint, signal: AbortSignal): Promise<number>;
  /** The same by another way and another seed: slower. */
  again(compactRevision: bigint, signal: AbortSignal): Promise<number>;
}

export interface Verdict {
  readonly proof?: Proof;
  /** Why there is no proof. */
  readonly unproved?: { readonly code: string; readonly reason: string };
  /** Why nobody should count on the file. */
  readonly suspect?: string;
  /** Found twice: one of these members, or the ones that agree, is corrupt. */
  readonly disagreement?: { readonly members: readonly string[]; readonly reason: string };
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
}

export interface Subject {
  readonly revision: bigint;
  /** Of the file itself. */
  readonly compactRevision: bigint;
  /** Members of the cluster that could answer if they were up: learners do not count. */
  readonly voters: number;
  readonly local: LocalHash;
}

/**
 * @param asked what the members of the plan answered
 * @param advance makes the cluster's revision move, when nothing else does; may fail
 * @throws what reading the file throws, and when the caller gave up
 */
export async function judge(
  subject: Subject,
  plan: Extract<ProofPlan, { kind: 'ask' }>,
  asked: Asked,
  options: AskOptions & { readonly advance?: ((signal: AbortSignal) => Promise<void>) | undefined },
): Promise<Verdict> {
  const comparison = await compareAll(subject, asked, options.context.signal);
  const { agreeing, differing } = comparison;
  if (agreeing.length === 0 && differing.length === 0) return { unproved: whyNot(comparison.failures), warnings: [] };
  if (agreeing.length === 0) {
    const rest = await askTheOthers(subject, plan, comparison, options);
    if (rest.agreeing.length === 0) return allDiffer(subject, rest);
    return withProof(subject, rest, options);
  }
  return withProof(subject, comparison, options);
}

interface Comparison {
  readonly agreeing: readonly Answer[];
  readonly differing: readonly Answer[];
  readonly failures: readonly AskFailure[];
  readonly ended: boolean;
}

async function compareAll(subject: Subject, asked: Asked, signal: AbortSignal): Promise<Comparison> {
  const agreeing: Answer[] = [];
  const differing: Answer[] = [];
  const failures = [...asked.failures];
  for (const answer of asked.answers) {
    const useless = whyUseless(subject, answer);
    if (useless !== undefined) failures.push({ prover: answer.prover, code: 'revision-compacted', message: useless });
    else if (await equals(subject, answer, signal)) agreeing.push(answer);
    else differing.push(answer);
  }
  return { agreeing, differing, failures, ended: asked.ended };
}

/** A member remembers hashes of compactions (3.5.5+): asked for exactly such a revision it answers as of a compact revision that the file may be past. */
function whyUseless({ revision, compactRevision }: Subject, { prover, hash }: Answer): string | undefined {
  const theirs = hash.compactRevision > 0n ? hash.compactRevision : 0n;
  if (hash.hashRevision !== undefined && hash.hashRevision !== revision)
    return `${prover.label} answered for revision ${hash.hashRevision} instead of ${revision}`;
  if (theirs < compactRevision)
    return `${prover.label} remembers a hash as of compact revision ${theirs}, the file is compacted up to ${compactRevision}`;
  return theirs > revision ? `${prover.label} is compacted up to ${theirs}, beyond revision ${revision}` : undefined;
}

async function equals({ local }: Subject, { hash }: Answer, signal: AbortSignal): Promise<boolean> {
  if ((await local.hash(hash.compactRevision, signal)) === hash.hash) return true;
  // Keys stand for themselves by digests of 64 bits: with another seed two that fell together do not do so again.
  return (await local.again(hash.compactRevision, signal)) === hash.hash;
}

async function askTheOthers(
  subject: Subject,
  plan: Extract<ProofPlan, { kind: 'ask' }>,
  so: Comparison,
  options: AskOptions,
): Promise<Comparison> {
  let all = so;
  const spoken = new Set([...so.differing, ...so.failures].map(({ prover }) => prover.label));
  for (const prover of plan.order) {
    if (all.agreeing.length > 0 || all.ended) break;
    if (spoken.has(prover.label)) continue;
    const more = await compareAll(subject, await askOne(prover, subject.revision, options), options.context.signal);
    all = {
      agreeing: [...all.agreeing, ...more.agreeing],
      differing: [...all.differing, ...more.differing],
      failures: [...all.failures, ...more.failures],
      ended: all.ended || more.ended,
    };
  }
  return all;
}

/** Everybody who could be asked has something else than the file. */
function allDiffer({ revision, voters }: Subject, { differing, failures }: Comparison): Verdict {
  const who = differing.map(({ prover }) => prover.label).join(', ');
  const different = `at revision ${revision} the file differs from ${who}`;
  const excuses = differing.map(({ prover }) => knownWrongHash(prover.status.version));
  if (excuses.every((excuse) => excuse !== undefined)) {
    return inconclusive(`${different}, but ${excuses[0]}`);
  }
  if (voters > 1 && differing.length === 1) {
    return inconclusive(`${different}, and no other member could be asked: ${failures[0]?.message ?? 'none answers'}`);
  }
  return {
    unproved: { code: 'differs', reason: different },
    suspect: `${different}: its data is not what the cluster holds`,
    warnings: [],
  };
}

async function withProof(
  subject: Subject,
  { agreeing, differing, failures }: Comparison,
  options: AskOptions & { readonly advance?: ((signal: AbortSignal) => Promise<void>) | undefined },
): Promise<Verdict> {
  const proof = proofOf(subject, agreeing);
  const unasked = failures.map(({ prover, message }) => ({
    code: 'proof-member-failed',
    message: `${prover.label} was not compared: ${message}`,
  }));
  if (differing.length === 0) return { proof, warnings: unasked };
  const found: { readonly prover: Prover; readonly result: FollowUp }[] = [];
  for (const { prover } of differing) {
    found.push({ prover, result: await followUp(agreeing[0]!.prover, prover, subject.revision, options) });
  }
  const confirmed = found.filter(({ result }) => result.kind === 'repeated');
  const doubtful = found.flatMap(({ result }) =>
    result.kind === 'repeated' ? [] : [{ code: 'members-differ-unclear', message: result.reason }],
  );
  if (confirmed.length === 0) return { proof, warnings: [...unasked, ...doubtful] };
  const reason = confirmed.map(({ result }) => result.reason).join('; ');
  return {
    proof,
    disagreement: { members: confirmed.map(({ prover }) => prover.label), reason },
    suspect: `members disagree, so one of them is corrupt: ${reason}; this file is as ${proof.members.join(', ')} has it`,
    warnings: [...unasked, ...doubtful],
  };
}

function proofOf({ revision }: Subject, agreeing: readonly Answer[]): Proof {
  const slowest = agreeing.reduce((a, b) => (b.hash.tookMs > a.hash.tookMs ? b : a));
  const { hash } = agreeing[0]!;
  return {
    revision: String(revision),
    compactRevision: String(hash.compactRevision),
    hash: hash.hash,
    members: agreeing.map(({ prover }) => prover.label),
    tookMs: Math.round(slowest.hash.tookMs),
    bytes: slowest.prover.status.dbSizeInUse,
  };
}

function inconclusive(reason: string): Verdict {
  return { unproved: { code: 'inconclusive', reason }, warnings: [] };
}

/** The reason that explains most stands last: whoever was asked last was the last hope. */
function whyNot(failures: readonly AskFailure[]): { readonly code: string; readonly reason: string } {
  const telling = failures.find(({ code }) => code === 'revision-compacted' || code === 'permission-denied') ?? failures.at(-1);
  if (telling === undefined) throw new WardenError('failed', 'no member was asked and none has failed');
  return { code: telling.code, reason: telling.message };
}
