/** A leader that is to leave the cluster hands over first: removed while it leads, nobody accepts a write until the others have held an election. */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, WardenError } from '../errors.ts';
import { interruption } from '../etcd/call-errors.ts';
import { MemberClient } from '../etcd/member.ts';
import { lookAtMembers } from './sight.ts';
import type { ChangeOptions } from './change.ts';
import type { MembershipSight, SeenMember } from './types.ts';
import { healthyOf, labelOf } from './words.ts';

/** Elections of a cluster with the longest timeouts that etcd advises take 5 s. */
const PATIENCE_MS = 10_000;
const POLL_MS = 200;

/**
 * Does nothing when the member does not lead.
 * @returns the cluster as it is then
 * @throws WardenError `refused` when nobody else takes over; nothing else was changed then
 */
export async function handOver(sight: MembershipSight, member: SeenMember, options: ChangeOptions): Promise<MembershipSight> {
  if (sight.leader !== member.id || member.endpoint === undefined) return sight;
  const { access, context, patienceMs = PATIENCE_MS } = options;
  const heir = heirOf(sight, member);
  if (heir === undefined) throw refused(`${labelOf(member)} leads, and no other voter could`);
  context.progress({
    step: 'move-leader',
    subject: labelOf(heir),
    message: `moving leadership from ${labelOf(member)} to ${labelOf(heir)}`,
  });
  const client = new MemberClient(access, member.endpoint);
  // Whether it did so is seen below, whatever it answered.
  let failure: Error | undefined;
  try {
    await client.moveLeader(heir.id, context.signal);
  } catch (error) {
    failure = asError(error);
  } finally {
    client.close();
  }
  const giveUpMs = performance.now() + patienceMs;
  for (;;) {
    if (context.signal.aborted) throw interruption(context.signal, 'moving the leadership');
    const now = await lookAtMembers({ access, signal: context.signal }).catch(() => undefined);
    if (now?.quorum === true && now.leader !== undefined && now.leader !== member.id) return now;
    if (performance.now() >= giveUpMs) {
      const why = failure === undefined ? '' : `: ${failure.message}`;
      throw refused(`${labelOf(member)} still leads ${patienceMs / 1000} s after it was asked to hand over to ${labelOf(heir)}${why}`);
    }
    await sleep(POLL_MS, undefined, { signal: context.signal }).catch(() => undefined);
  }
}

/** Whoever has applied most; a voter that lags would have to catch up before anything is accepted. */
export function heirOf(sight: MembershipSight, member: SeenMember): SeenMember | undefined {
  return healthyOf(sight)
    .filter(({ id }) => id !== member.id)
    .toSorted((a, b) => Number((a.lag ?? 0n) - (b.lag ?? 0n)) || (a.readMs ?? 0) - (b.readMs ?? 0))[0];
}

function refused(sentence: string): WardenError {
  return new WardenError('refused', sentence, { hint: 'nothing was removed; look for an overloaded or separated member' });
}
