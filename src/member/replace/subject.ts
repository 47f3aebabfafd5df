/** Which entries of the member list are the member in question: the old one, and the one that takes its place. Pure. */
import { hex } from '../../etcd/ids.ts';
import type { ReplaceNote, ReplaceState, SeenMember } from './types.ts';

export interface Subject {
  /** To be removed. */
  readonly old: SeenMember | undefined;
  /** Added in its place. */
  readonly fresh: SeenMember | undefined;
  /** Where the others reach it; undefined when nothing tells. */
  readonly peerUrls: readonly string[] | undefined;
  readonly clientUrls: readonly string[];
  /** It ends as a learner. */
  readonly learner: boolean;
}

/** A note that lies there for longer is of a replacement that ended otherwise. */
const NOTE_AGE_MS = 7 * 24 * 60 * 60_000;

/** The note, if it is about this cluster and still means something. @param nowMs since 1970 */
export function validNote(note: ReplaceNote | undefined, name: string, clusterId: bigint, nowMs: number): ReplaceNote | undefined {
  if (note === undefined || note.clusterId !== clusterId || (note.name !== name && hex(note.oldId) !== name)) return undefined;
  return nowMs - Date.parse(note.since) > NOTE_AGE_MS ? undefined : note;
}

export function subjectOf({ name, cluster, note, peerUrls }: Pick<ReplaceState, 'name' | 'cluster' | 'note' | 'peerUrls'>): Subject {
  const addresses = peerUrls ?? note?.peerUrls;
  const unstarted = cluster.members.find((member) => member.name === '' && shares(member.peerUrls, addresses ?? []));
  if (note !== undefined) {
    const old = cluster.members.find(({ id }) => id === note.oldId);
    const fresh = cluster.members.find(({ id, name: its }) => id !== note.oldId && its === note.name) ?? unstarted;
    return { old, fresh, peerUrls: addresses, clientUrls: note.clientUrls, learner: note.learner };
  }
  const listed = cluster.members.find((member) => member.name === name || hex(member.id) === name.toLowerCase());
  // Addresses are given by hand when the old one is gone already: what has them now is the new one.
  const fresh = unstarted ?? (peerUrls !== undefined && listed !== undefined && shares(listed.peerUrls, peerUrls) ? listed : undefined);
  if (fresh !== undefined)
    return { old: undefined, fresh, peerUrls: peerUrls ?? fresh.peerUrls, clientUrls: fresh.clientUrls, learner: false };
  return {
    old: listed,
    fresh: undefined,
    peerUrls: addresses ?? listed?.peerUrls,
    clientUrls: listed?.clientUrls ?? [],
    learner: listed?.learner ?? false,
  };
}

/** What it is called, whichever way it was given. */
export function nameOf(state: Pick<ReplaceState, 'name' | 'cluster' | 'note' | 'peerUrls'>): string {
  const { old, fresh } = subjectOf(state);
  return state.note?.name || old?.name || fresh?.name || state.name;
}

/** How people know it: an entry without a name is shown by its id. */
export function labelOf(member: Pick<SeenMember, 'name' | 'id'>): string {
  return member.name === '' ? hex(member.id) : member.name;
}

function shares(a: readonly string[], b: readonly string[]): boolean {
  return a.some((url) => b.includes(url));
}
