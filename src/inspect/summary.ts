/** What fills a database, by prefix, as `du` shows what fills a disk. Memory does not depend on the number of keys. */
import type { KeyEntry, KeyRevision } from './types.ts';
import { changeAt } from './state.ts';

export interface PrefixSize {
  /** Undefined for what was too much to be told apart. */
  readonly prefix: Buffer | undefined;
  /** Keys that live at the revision. */
  readonly keys: number;
  /** Keys and values of these. */
  readonly liveBytes: number;
  /** Older changes of any key, and deletions: what the next compaction can remove. */
  readonly historyRecords: number;
  readonly historyBytes: number;
}

export interface Summary {
  /** Largest first. */
  readonly prefixes: readonly PrefixSize[];
  readonly total: Omit<PrefixSize, 'prefix'>;
}

export interface SummaryOptions {
  /** As of this revision; later changes are left out. */
  readonly revision: bigint;
  /** How many separators a prefix goes down, at most. One that a key begins with does not count. */
  readonly depth: number;
  readonly separator: Buffer;
  /** Prefixes told apart at once; the smallest are put together beyond that. */
  readonly maxPrefixes?: number;
}

/** 200 bytes each: a cluster whose keys are flat has as many prefixes as keys. */
const MAX_PREFIXES = 50_000;

interface Counts {
  keys: number;
  liveBytes: number;
  historyRecords: number;
  historyBytes: number;
}

export async function summarize(entries: AsyncIterable<KeyEntry>, options: SummaryOptions): Promise<Summary> {
  const max = options.maxPrefixes ?? MAX_PREFIXES;
  const groups = new Map<string, Counts>();
  const rest = noCounts();
  const total = noCounts();
  for await (const entry of entries) {
    const counts = countEntry(entry, options.revision);
    if (counts.keys + counts.historyRecords === 0) continue;
    const prefix = prefixOf(entry.key, options.depth, options.separator).toString('latin1');
    add(total, counts);
    const group = groups.get(prefix);
    if (group !== undefined) add(group, counts);
    else {
      groups.set(prefix, counts);
      if (groups.size > max) foldSmallest(groups, rest, max / 2);
    }
  }
  const prefixes: PrefixSize[] = [...groups].map(([prefix, counts]) => ({ prefix: Buffer.from(prefix, 'latin1'), ...counts }));
  if (rest.keys + rest.historyRecords > 0) prefixes.push({ prefix: undefined, ...rest });
  return { prefixes: prefixes.sort((a, b) => sizeOf(b) - sizeOf(a)), total };
}

/** The key up to its `depth`-th separator, that included; up to its last one when it has fewer, so that keys stand beside folders as files do. */
export function prefixOf(key: Buffer, depth: number, separator: Buffer): Buffer {
  let end = 0;
  for (let level = 0, from = key.subarray(0, separator.length).equals(separator) ? separator.length : 0; level < depth; level += 1) {
    const at = key.indexOf(separator, from);
    if (at === -1) break;
    from = end = at + separator.length;
  }
  return key.subarray(0, end);
}

function countEntry(entry: KeyEntry, revision: bigint): Counts {
  const counts = noCounts();
  const last = changeAt(entry, revision);
  for (const change of entry.revisions) {
    if (change.main > revision) break;
    const bytes = recordBytes(entry.key, change);
    // The record without a key that a raised revision leaves is nobody's.
    if (change === last && !change.tombstone && entry.key.length > 0) {
      counts.keys += 1;
      counts.liveBytes += bytes;
    } else {
      counts.historyRecords += 1;
      counts.historyBytes += bytes;
    }
  }
  return counts;
}

/** Each change keeps the whole key and the whole value. */
function recordBytes(key: Buffer, { valueBytes }: KeyRevision): number {
  return key.length + valueBytes;
}

function foldSmallest(groups: Map<string, Counts>, rest: Counts, keep: number): void {
  const bySize = [...groups].sort(([, a], [, b]) => sizeOf(a) - sizeOf(b));
  for (const [prefix, counts] of bySize.slice(0, groups.size - Math.floor(keep))) {
    add(rest, counts);
    groups.delete(prefix);
  }
}

function sizeOf(counts: Pick<Counts, 'liveBytes' | 'historyBytes'>): number {
  return counts.liveBytes + counts.historyBytes;
}

function noCounts(): Counts {
  return { keys: 0, liveBytes: 0, historyRecords: 0, historyBytes: 0 };
}

function add(into: Counts, more: Counts): void {
  into.keys += more.keys;
  into.liveBytes += more.liveBytes;
  into.historyRecords += more.historyRecords;
  into.historyBytes += more.historyBytes;
}
