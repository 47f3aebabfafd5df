/** What differs between two states, each a stream of keys in order: two backups, or a backup and the running cluster. Memory is one key of each. */
import type { KeyDirectory, KeyRange } from './types.ts';
import { liveAt } from './state.ts';

/** A key that lives on one side. */
export interface SideKey {
  readonly key: Buffer;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  readonly version: bigint;
  /** 0n = none. */
  readonly lease: bigint;
  /** Undefined where only reading the value would tell. */
  readonly valueBytes: number | undefined;
  /** The value: a view that is valid until the next read of the same side. */
  value(signal: AbortSignal): Promise<Buffer>;
}

export interface DiffSide {
  keys(range: KeyRange, signal: AbortSignal): AsyncIterable<SideKey>;
}

export type Difference =
  | { readonly kind: 'added'; readonly key: Buffer; readonly before: undefined; readonly after: SideKey }
  | { readonly kind: 'removed'; readonly key: Buffer; readonly before: SideKey; readonly after: undefined }
  /** Value or lease differ. */
  | { readonly kind: 'changed'; readonly key: Buffer; readonly before: SideKey; readonly after: SideKey };

export interface DiffCounts {
  added: number;
  removed: number;
  changed: number;
  /** Written anew with the same value and lease. */
  rewritten: number;
  same: number;
  /** Differences that were passed over because the keys are our own. */
  own: number;
}

export interface DiffOptions {
  readonly range: KeyRange;
  /** Both are of one history, in which a mod revision says all of a value; else values have to be read. */
  readonly sameHistory: boolean;
  /** Keys whose differences nobody asked for: our own in etcd. */
  readonly own?: ((key: Buffer) => boolean) | undefined;
  readonly signal: AbortSignal;
  /** Filled while it goes. */
  readonly counts: DiffCounts;
}

export function noDifferences(): DiffCounts {
  return { added: 0, removed: 0, changed: 0, rewritten: 0, same: 0, own: 0 };
}

/** A snapshot at a revision as one side. */
export function snapshotSide(directory: KeyDirectory, revision: bigint): DiffSide {
  return {
    async *keys(range, signal) {
      for await (const entry of directory.entries(range, signal)) {
        const live = liveAt(entry, revision);
        if (live === undefined) continue;
        const { createRevision, main, version, lease, valueBytes } = live;
        yield {
          key: entry.key,
          createRevision,
          modRevision: main,
          version,
          lease,
          valueBytes,
          value: (own) => directory.value(entry, live, own),
        };
      }
    },
  };
}

/** Differences in the order of keys. */
export async function* differences(before: DiffSide, after: DiffSide, options: DiffOptions): AsyncGenerator<Difference, void, undefined> {
  const { range, signal, counts } = options;
  const olds = before.keys(range, signal)[Symbol.asyncIterator]();
  const news = after.keys(range, signal)[Symbol.asyncIterator]();
  try {
    let [old, next] = [await olds.next(), await news.next()];
    while (old.done !== true || next.done !== true) {
      signal.throwIfAborted();
      const order = old.done === true ? 1 : next.done === true ? -1 : Buffer.compare(old.value.key, next.value.key);
      const verdict = order < 0 ? 'removed' : order > 0 ? 'added' : await compareKeys(old.value, next.value, options);
      const key = order > 0 ? next.value!.key : old.value!.key;
      const passed = verdict !== 'same' && verdict !== 'rewritten' && options.own?.(key) === true;
      counts[passed ? 'own' : verdict] += 1;
      if (passed) {
        // Told by its number alone.
      } else if (verdict === 'removed') yield { kind: verdict, key, before: old.value!, after: undefined };
      else if (verdict === 'added') yield { kind: verdict, key, before: undefined, after: next.value! };
      else if (verdict === 'changed') yield { kind: verdict, key, before: old.value!, after: next.value! };
      if (order <= 0) old = await olds.next();
      if (order >= 0) next = await news.next();
    }
  } finally {
    // Whoever stops early must not leave a scratch file or a call open.
    await olds.return?.(undefined);
    await news.return?.(undefined);
  }
}

async function compareKeys(
  before: SideKey,
  after: SideKey,
  { sameHistory, signal }: DiffOptions,
): Promise<'same' | 'rewritten' | 'changed'> {
  const identical =
    before.modRevision === after.modRevision && before.createRevision === after.createRevision && before.version === after.version;
  if (sameHistory && identical) return 'same';
  if (before.lease !== after.lease) return 'changed';
  if (before.valueBytes !== undefined && after.valueBytes !== undefined && before.valueBytes !== after.valueBytes) return 'changed';
  const value = Buffer.from(await before.value(signal)); // the other side may read through the same cache
  if (!value.equals(await after.value(signal))) return 'changed';
  return identical ? 'same' : 'rewritten';
}
