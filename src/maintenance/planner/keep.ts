/** To which revision a compaction may go, so that the wanted history is kept. Never to the head (H10). */
import type { ClusterState, Keep } from './types.ts';
import { timeText } from './words.ts';

export type CompactTarget =
  | { readonly revision: bigint; readonly rule?: undefined }
  | {
      readonly revision?: undefined;
      readonly rule: 'no-time-known' | 'keeps-everything';
      readonly message: string;
      readonly hint?: string;
    };

type KeepView = Pick<ClusterState, 'nowMs' | 'revision' | 'compactRevision' | 'marks'>;

/** The newest revision that may be compacted to, or why there is none. */
export function compactTo(keep: Keep, state: KeepView): CompactTarget {
  const found = 'revisions' in keep ? state.revision - BigInt(Math.max(1, Math.ceil(keep.revisions))) : revisionBefore(keep.ms, state);
  if (found === undefined) {
    const oldest = state.marks[0];
    const known =
      oldest === undefined ? 'none is known' : `the oldest that is known is ${timeText(Math.max(0, state.nowMs - oldest.timeMs))} old`;
    return {
      rule: 'no-time-known',
      message: `which revision the cluster had ${timeText('ms' in keep ? keep.ms : 0)} ago cannot be told: ${known}`,
      hint: 'keep a number of revisions instead (`--keep 10000`, `maintenance.keep: 10000`), or let the daemon run for that long',
    };
  }
  // A time ago can be now, on a cluster that nobody writes to: the head stays readable all the same.
  const revision = found < state.revision ? found : state.revision - 1n;
  const compacted = state.compactRevision ?? 0n;
  if (revision <= compacted) {
    return {
      rule: 'keeps-everything',
      message: `revision ${state.revision} is the newest and ${compacted} was compacted already: no history is older than what is kept`,
    };
  }
  return { revision };
}

/**
 * The newest revision that is surely that old. Marks of a clock that jumped contradict each other: then the older revision counts, because history that
 * is gone does not come back.
 */
function revisionBefore(ms: number, { nowMs, revision, marks }: KeepView): bigint | undefined {
  const cut = nowMs - ms;
  let newest: bigint | undefined;
  let bound: bigint | undefined;
  for (const mark of marks) {
    // From before the cluster was restored: it says nothing of this history.
    if (mark.revision > revision) continue;
    if (mark.timeMs <= cut) {
      if (newest === undefined || mark.revision > newest) newest = mark.revision;
    } else if (bound === undefined || mark.revision < bound) {
      bound = mark.revision;
    }
  }
  return newest !== undefined && bound !== undefined && bound < newest ? bound : newest;
}
