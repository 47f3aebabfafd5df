/**
 * The next step of a replacement, derived from nothing but what is seen: so that a run that was interrupted anywhere goes on where the cluster is, and not
 * where somebody remembers to have been. Pure.
 */
import { PROMOTABLE_LAG } from '../words.ts';
import { subjectOf, type Subject } from './subject.ts';
import type { ReplaceState, SeenMember, Step } from './types.ts';
import { joiningFor, type Joining } from './versions.ts';

/** @returns undefined when there is no such member, and nothing tells where one should be added */
export function nextStep(state: ReplaceState): Step | undefined {
  const subject = subjectOf(state);
  const { old, fresh } = subject;
  if (old !== undefined) return takeOut(old, state);
  if (fresh === undefined) return subject.peerUrls === undefined ? undefined : bringBack(subject, state);
  if (!fresh.started) return joining(fresh, subject, state);
  if (!fresh.reachable || fresh.lag === undefined || fresh.lag > PROMOTABLE_LAG || !fresh.answers)
    return { kind: 'catch-up', member: fresh };
  if (fresh.learner && !subject.learner) return { kind: 'promote', member: fresh };
  return { kind: state.checked ? 'done' : 'check', member: fresh };
}

/** As whom it comes back, by what the others run. */
export function joiningOf(state: Pick<ReplaceState, 'cluster'>, subject: Subject): Joining {
  const left = state.cluster.members.filter((member) => member !== subject.old && member !== subject.fresh);
  if (subject.learner) return { as: 'learner', why: 'it was a learner', warning: undefined };
  return joiningFor(
    left.flatMap(({ version }) => version ?? []),
    left.filter(({ learner }) => !learner).length,
  );
}

/** By id and before anything else: while it is listed it counts for the majority, whatever becomes of it. */
function takeOut(old: SeenMember, { cluster }: ReplaceState): Step {
  if (!old.leads) return { kind: 'remove', member: old };
  const able = cluster.members.filter((member) => member.id !== old.id && !member.learner && member.answers);
  const to = able.toSorted((a, b) => Number((a.lag ?? 0n) - (b.lag ?? 0n)))[0];
  return to === undefined ? { kind: 'remove', member: old } : { kind: 'move-leader', from: old, to };
}

/** The old process and the old data are out of the way before the new member is on the list: from then on it is counted upon. */
function bringBack(subject: Subject, state: ReplaceState): Step {
  const { process, data, dataMoved } = state;
  if (runs(state)) return { kind: 'stop' };
  if (data?.data === 'present') return { kind: 'move-data' };
  // Elsewhere only people can see it.
  if (data === undefined && !dataMoved) return process.peerPort === 'open' ? { kind: 'stop' } : { kind: 'move-data' };
  const { as, why } = joiningOf(state, subject);
  return { kind: 'add', peerUrls: subject.peerUrls ?? [], as, why };
}

/** It is on the list and has not said its name yet. */
function joining(fresh: SeenMember, { clientUrls }: Subject, state: ReplaceState): Step {
  const { data, cluster } = state;
  if (data?.data === 'present' && !belongs(state, fresh)) return runs(state) ? { kind: 'stop' } : { kind: 'move-data' };
  // Somebody started it with the data it had, or as a cluster of its own.
  const astray = cluster.strays.some(({ endpoint }) => clientUrls.includes(endpoint));
  return data === undefined && astray ? { kind: 'stop' } : { kind: 'start', member: fresh };
}

/** Whether the data in the directory is that of the member as it was added. */
function belongs({ data, cluster }: ReplaceState, fresh: SeenMember): boolean {
  const identity = data?.identity;
  // A process that has just begun may not have written the first record yet.
  if (identity?.kind !== 'known') return data?.inUse === true;
  return identity.memberId === fresh.id && identity.clusterId === cluster.clusterId;
}

/** Whether any process may still work on the old data. */
export function runs({ process, data }: ReplaceState): boolean {
  return process.managed === 'running' || data?.inUse === true || (data !== undefined && process.peerPort === 'open');
}
