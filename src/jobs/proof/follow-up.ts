/**
 * Two members gave different hashes of one revision. Before anybody is alarmed it has to be found again at a newer revision, with equal compact
 * revisions, and with no release that is known to hash wrongly.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../../errors.ts';
import { MemberClient } from '../../etcd/member.ts';
import { knownWrongHash } from '../../etcd/versions.ts';
import { askOne, type AskOptions } from './ask.ts';
import type { Prover } from './policy.ts';

export interface FollowUp {
  /** `repeated`: they disagree. Else nobody can tell, and why. */
  readonly kind: 'repeated' | 'unclear';
  readonly reason: string;
}

/** Compactions may come between the two answers; three in a row do not. */
const TRIES = 3;
/** A cluster without a single write for so long is left alone until the next backup. */
const ADVANCE_PATIENCE_MS = 5_000;
const POLL_MS = 100;

/** @param agreeing has what the file has. @throws only when the caller gave up */
export async function followUp(
  agreeing: Prover,
  differing: Prover,
  revision: bigint,
  options: AskOptions & { readonly advance?: ((signal: AbortSignal) => Promise<void>) | undefined },
): Promise<FollowUp> {
  const { logger } = options.context;
  const pair = `${differing.label} and ${agreeing.label}`;
  const unclear = (why: string): FollowUp => ({ kind: 'unclear', reason: `${pair} differ at revision ${revision}, but ${why}` });
  const excuse = knownWrongHash(differing.status.version) ?? knownWrongHash(agreeing.status.version);
  if (excuse !== undefined) return unclear(excuse);
  logger.warn(
    { members: [differing.label, agreeing.label], revision: String(revision) },
    'members differ; they are asked again at a newer revision',
  );
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const newer = await newerRevision([differing, agreeing], revision, options);
    if (newer === undefined) return unclear('the revision does not move, so it could not be found again');
    const theirs = await askOne(differing, newer, options);
    const ours = theirs.ended ? theirs : await askOne(agreeing, newer, options);
    const [a, b] = [theirs.answers[0]?.hash, ours.answers[0]?.hash];
    if (a === undefined || b === undefined) {
      const failed = [...theirs.failures, ...ours.failures][0];
      return unclear(`they could not be asked again: ${failed?.message}`);
    }
    if (a.compactRevision !== b.compactRevision) continue;
    if (a.hash === b.hash) return unclear(`they agree at revision ${newer}`);
    return {
      kind: 'repeated',
      reason: `${differing.label} has other data than ${agreeing.label} at revisions ${revision} and ${newer}`,
    };
  }
  return unclear('they were compacted in between each time');
}

/** What both have applied, once that is newer. Undefined when it does not become so. */
async function newerRevision(
  members: readonly [Prover, Prover],
  revision: bigint,
  options: AskOptions & { readonly advance?: ((signal: AbortSignal) => Promise<void>) | undefined },
): Promise<bigint | undefined> {
  const { signal, logger } = options.context;
  const clients = members.map(({ status }) => new MemberClient(options.access, status.endpoint));
  try {
    let advanced = false;
    const giveUpMs = performance.now() + ADVANCE_PATIENCE_MS;
    for (;;) {
      const statuses = await Promise.all(clients.map((client) => client.status(signal)));
      const both = statuses.reduce((least, status) => (status.revision < least ? status.revision : least), statuses[0]!.revision);
      if (both > revision) return both;
      if (performance.now() >= giveUpMs) return undefined;
      if (!advanced) {
        advanced = true;
        await options.advance?.(signal);
      }
      await sleep(POLL_MS, undefined, { signal });
    }
  } catch (error) {
    signal.throwIfAborted();
    logger.warn({ err: asError(error) }, 'no newer revision could be had to compare members at');
    return undefined;
  } finally {
    for (const client of clients) client.close();
  }
}
