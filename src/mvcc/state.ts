/**
 * The state at a revision, and the changes of single keys, from records alone. A compaction leaves the state at its own revision whole, so every
 * revision from there to the last one can be read; the history between is complete.
 */
import { WardenError } from '../errors.ts';
import type { Head } from './head.ts';
import { type KeyValue, keyOf, parseKeyValue } from './key-value.ts';
import { isTombstone, mainOf, subOf } from './revision.ts';
import type { RawRecord, RecordSource } from './source.ts';
import { type DigestOptions, findSurvivors } from './survivors.ts';

/** What a file says of its history (head.ts). */
export type History = Pick<Head, 'revision' | 'compactRevision' | 'compactionFinished'>;

/** One change of one key. */
export interface Change {
  readonly main: bigint;
  readonly sub: bigint;
  readonly tombstone: boolean;
  /** Views that are valid until the next change is asked for. Of a tombstone the key alone. */
  readonly record: KeyValue;
}

/**
 * Refuses revisions whose state the file does not hold. Revision 1 is the empty store, before the first write.
 * @throws WardenError `revision-compacted`, `revision-future`
 */
export function requireRevision(history: History, revision: bigint): void {
  const oldest = history.compactRevision > 1n ? history.compactRevision : 1n;
  const hint = `it holds the states of revisions ${oldest} to ${history.revision}`;
  if (revision > history.revision)
    throw new WardenError('revision-future', `the database ends at revision ${history.revision}, before revision ${revision}`, { hint });
  if (revision < oldest)
    throw new WardenError(
      'revision-compacted',
      `the state of revision ${revision} is gone: the history was compacted at revision ${oldest}`,
      {
        hint: `${hint}; an older backup may hold this one`,
      },
    );
}

/**
 * The records of all keys that live at `revision`, in the order of their last changes; two passes, digests of what changed in between.
 * @returns batches of views that are valid until the next one
 * @throws WardenError as requireRevision, and what the source throws
 */
export async function* liveRecords(
  source: RecordSource,
  history: History,
  revision: bigint,
  options: DigestOptions = {},
): AsyncGenerator<readonly RawRecord[], void, undefined> {
  requireRevision(history, revision);
  const { compactionFinished } = history;
  const floor = compactionFinished < revision ? compactionFinished : revision;
  const survivors = await findSurvivors(source, { revision, upTo: revision, floor }, options);
  try {
    const survives = survivors.judge();
    for await (const batch of source.records({ signal: options.signal })) {
      const live: RawRecord[] = [];
      for (const record of batch) {
        const main = mainOf(record.key);
        if (main > revision) break;
        if (survives(record, main)) live.push(record);
      }
      if (live.length > 0) yield live;
      else if (batch.length > 0 && mainOf(batch[0]!.key) > revision) return;
    }
  } finally {
    await survivors.close();
  }
}

/**
 * How many keys live at `revision`, as `etcdutl snapshot status` of 3.6 counts them at the last one.
 * @throws WardenError as liveRecords
 */
export async function countKeys(source: RecordSource, history: History, revision: bigint, options: DigestOptions = {}): Promise<number> {
  requireRevision(history, revision);
  const { compactionFinished } = history;
  const floor = compactionFinished < revision ? compactionFinished : revision;
  // Only what lies at or below the floor need be looked at again: of what lies above it the last changes are known.
  const survivors = await findSurvivors(source, { revision, upTo: floor, floor }, options);
  try {
    const survives = survivors.judge();
    let count = survivors.beyond;
    for await (const batch of source.records({ signal: options.signal })) {
      for (const record of batch) {
        const main = mainOf(record.key);
        if (main > floor) return count;
        if (survives(record, main)) count += 1;
      }
    }
    return count;
  } finally {
    await survivors.close();
  }
}

/**
 * Every change of `key` that the source still holds, oldest first.
 * @param options.upTo the last revision of interest
 * @throws WardenError what the source throws, `not-etcd` for a record that cannot be read
 */
export async function* changesOf(
  source: RecordSource,
  key: Buffer,
  options: { readonly upTo?: bigint | undefined; readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<Change, void, undefined> {
  const { upTo, signal } = options;
  for await (const batch of source.records({ signal })) {
    for (const record of batch) {
      if (!keyOf(record.value).equals(key)) continue;
      const main = mainOf(record.key);
      if (upTo !== undefined && main > upTo) return;
      yield { main, sub: subOf(record.key), tombstone: isTombstone(record.key), record: parseKeyValue(record.value) };
    }
    if (upTo !== undefined && batch.length > 0 && mainOf(batch.at(-1)!.key) > upTo) return;
  }
}

/**
 * A key as it was at `revision`, in buffers of its own; undefined when it did not live then.
 * @throws WardenError as requireRevision and changesOf
 */
export async function keyAt(
  source: RecordSource,
  history: History,
  key: Buffer,
  revision: bigint,
  signal?: AbortSignal,
): Promise<KeyValue | undefined> {
  requireRevision(history, revision);
  let found: KeyValue | undefined;
  for await (const { tombstone, record } of changesOf(source, key, { upTo: revision, signal }))
    found = tombstone
      ? undefined
      : { ...record, key, value: Buffer.from(record.value), unknown: record.unknown.map((each) => Buffer.from(each)) };
  return found;
}
