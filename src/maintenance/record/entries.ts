/**
 * What is remembered of maintenance, entry by entry. Two daemons and two places (etcd, a file) may each know something that the other does not, so
 * every entry has its time and the newest wins by itself: merging is commutative and may be repeated. Pure.
 */
import { remembered } from '../planner/rate.ts';
import type { Past, PastDefrag } from '../planner/types.ts';
import type { LastDone } from '../types.ts';

export interface Entries {
  readonly compaction: { readonly atMs: number; readonly revision: bigint } | undefined;
  /** By member id. */
  readonly defrags: Readonly<Record<string, PastDefrag>>;
  readonly disarmedMs: number | undefined;
  /** The last end of a round that counts: a surprise, or with `count` 0 a round that came to its end and so closes the row of surprises. */
  readonly failure: { readonly atMs: number; readonly count: number; readonly rule: string; readonly reason: string } | undefined;
}

/** Something that happened. Times are ms since 1970. */
export type Change =
  | { readonly kind: 'compacted'; readonly atMs: number; readonly revision: bigint }
  | { readonly kind: 'defragmented'; readonly member: string; readonly defrag: PastDefrag }
  | { readonly kind: 'disarmed'; readonly atMs: number }
  | { readonly kind: 'failed'; readonly atMs: number; readonly rule: string; readonly reason: string }
  | { readonly kind: 'recovered'; readonly atMs: number };

export const NO_ENTRIES: Entries = { compaction: undefined, defrags: {}, disarmedMs: undefined, failure: undefined };

/** Members come and go over the years; a cluster has seven at most. */
const MOST_DEFRAGS = 32;
const LONGEST_REASON = 500;

export function withChange(entries: Entries, change: Change): Entries {
  switch (change.kind) {
    case 'compacted':
      return merged({ ...NO_ENTRIES, compaction: { atMs: change.atMs, revision: change.revision } }, entries);
    case 'defragmented':
      return merged({ ...NO_ENTRIES, defrags: { [change.member]: withRates(change.defrag, entries.defrags[change.member]) } }, entries);
    case 'disarmed':
      return merged({ ...NO_ENTRIES, disarmedMs: change.atMs }, entries);
    case 'failed': {
      const { atMs, rule } = change;
      const count = (entries.failure?.count ?? 0) + 1;
      return merged({ ...NO_ENTRIES, failure: { atMs, count, rule, reason: change.reason.slice(0, LONGEST_REASON) } }, entries);
    }
    case 'recovered':
      if (entries.failure === undefined) return entries;
      return merged({ ...NO_ENTRIES, failure: { atMs: change.atMs, count: 0, rule: '', reason: '' } }, entries);
  }
}

/** A note that is carried out a second time, on a record that somebody else wrote meanwhile, finds itself there. */
function withRates(defrag: PastDefrag, before: PastDefrag | undefined): PastDefrag {
  return before?.atMs === defrag.atMs ? before : { ...defrag, rates: remembered(defrag, before) };
}

/** Per entry the newest of both; of two of the same time the first one's. */
export function merged(a: Entries, b: Entries): Entries {
  const defrags = new Map(Object.entries(a.defrags));
  for (const [member, defrag] of Object.entries(b.defrags)) {
    const known = defrags.get(member);
    if (known === undefined || defrag.atMs > known.atMs) defrags.set(member, defrag);
  }
  const newest = [...defrags].sort(([, x], [, y]) => y.atMs - x.atMs).slice(0, MOST_DEFRAGS);
  return {
    compaction: newer(a.compaction, b.compaction),
    defrags: Object.fromEntries(newest.sort(([x], [y]) => (x < y ? -1 : 1))),
    disarmedMs: a.disarmedMs === undefined ? b.disarmedMs : Math.max(a.disarmedMs, b.disarmedMs ?? a.disarmedMs),
    failure: newer(a.failure, b.failure),
  };
}

/**
 * Without what lies after `lastMs`: a clock that was wrong once would otherwise hold a cooldown, or win over everything newer, for as long as it was
 * wrong.
 */
export function without(entries: Entries, lastMs: number): Entries {
  const past = <Entry extends { readonly atMs: number }>(entry: Entry | undefined): Entry | undefined =>
    entry !== undefined && entry.atMs <= lastMs ? entry : undefined;
  return {
    compaction: past(entries.compaction),
    defrags: Object.fromEntries(Object.entries(entries.defrags).filter(([, { atMs }]) => atMs <= lastMs)),
    disarmedMs: entries.disarmedMs !== undefined && entries.disarmedMs <= lastMs ? entries.disarmedMs : undefined,
    failure: past(entries.failure),
  };
}

export function pastOf({ compaction, defrags, disarmedMs, failure }: Entries): Past {
  return { compaction, defrags, disarmedMs, failure: failure !== undefined && failure.count > 0 ? failure : undefined };
}

/** When each was last done, to any member. */
export function lastOf({ compaction, defrags, disarmedMs }: Pick<Past, 'compaction' | 'defrags' | 'disarmedMs'>): LastDone {
  const times = Object.values(defrags).map(({ atMs }) => atMs);
  return {
    ...(compaction === undefined ? {} : { compact: compaction.atMs }),
    ...(times.length === 0 ? {} : { defrag: Math.max(...times) }),
    ...(disarmedMs === undefined ? {} : { disarm: disarmedMs }),
  };
}

function newer<Entry extends { readonly atMs: number }>(a: Entry | undefined, b: Entry | undefined): Entry | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.atMs > a.atMs ? b : a;
}
