/** The changes of one key over one backup or several of the same history. Pure. */
import type { RevisionMark } from '../format/types.ts';
import type { KeyEntry, KeyRevision } from './types.ts';

/** When a revision was written, as far as marks tell: after the one time and not after the other. RFC 3339. */
export interface TimeBracket {
  readonly after: string | undefined;
  readonly before: string | undefined;
}

export interface HistoryLine {
  readonly revision: KeyRevision;
  readonly when: TimeBracket;
  /** Names of the snapshots that hold it. */
  readonly heldBy: readonly string[];
}

/** What one snapshot knows of the key. */
export interface KnownChanges {
  readonly name: string;
  readonly entry: KeyEntry;
}

/**
 * Every change that any of the snapshots holds, oldest first.
 * @param marks when which revision was current, of the same history, in any order
 */
export function mergeHistory(known: readonly KnownChanges[], marks: readonly RevisionMark[]): HistoryLine[] {
  const lines = new Map<string, { revision: KeyRevision; heldBy: string[] }>();
  for (const { name, entry } of known) {
    for (const revision of entry.revisions) {
      const id = `${revision.main}/${revision.sub}`;
      const line = lines.get(id);
      if (line === undefined) lines.set(id, { revision, heldBy: [name] });
      else line.heldBy.push(name);
    }
  }
  const ordered = [...lines.values()].sort((a, b) => compare(a.revision.main, b.revision.main) || compare(a.revision.sub, b.revision.sub));
  const brackets = bracketsOf(marks);
  return ordered.map(({ revision, heldBy }) => ({ revision, heldBy, when: brackets(revision.main) }));
}

/** A mark says: at that time the revision was that. So a greater one came later, and any other was there already. */
function bracketsOf(marks: readonly RevisionMark[]): (main: bigint) => TimeBracket {
  const known = marks.map(({ time, revision }) => ({ time, revision: BigInt(revision) }));
  return (main) => {
    let after: string | undefined;
    let before: string | undefined;
    for (const { time, revision } of known) {
      // Times are RFC 3339 in UTC with milliseconds: they compare as text.
      if (revision < main && (after === undefined || time > after)) after = time;
      if (revision >= main && (before === undefined || time < before)) before = time;
    }
    return { after, before };
  };
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
