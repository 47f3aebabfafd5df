/**
 * The keys of a file that has no key index: found by reading every record once. A single key, and the keys of a prefix, are picked out while the records go
 * by; only what was picked is sorted.
 */
import { openBolt, type Bolt, type Bucket } from '../boltdb/bolt.ts';
import { WardenError } from '../errors.ts';
import { keyOf, parseKeyValue } from '../mvcc/key-value.ts';
import { recordsOf } from '../mvcc/records.ts';
import { encodeRevision, parseRevision } from '../mvcc/revision.ts';
import type { Scratch } from '../mvcc/scratch.ts';
import type { InspectProgress } from './open.ts';
import { inRange } from './range.ts';
import { createRevisionSorter } from './sort.ts';
import type { KeyDirectory, KeyEntry, KeyRevision, OpenedSnapshot } from './types.ts';

export interface ScanOptions {
  /** For what does not fit into memory. */
  readonly scratch: Scratch;
  readonly progress?: InspectProgress | undefined;
  /** Memory of the sort; tests make it small. */
  readonly arenaBytes?: number | undefined;
}

/** Nothing is read before the first question. */
export function scanDirectory(snapshot: OpenedSnapshot, options: ScanOptions): KeyDirectory {
  let opened: Promise<Bolt> | undefined;
  let bucket: Promise<Bucket | undefined> | undefined;
  function database(signal: AbortSignal): Promise<Bolt> {
    opened ??= openBolt(snapshot.file, signal);
    return opened;
  }

  /** The records whose key is wanted, in the order of revisions, a leaf's at a time: views. */
  async function* picked(wanted: (key: Buffer) => boolean, signal: AbortSignal): AsyncGenerator<readonly Picked[], void, undefined> {
    const db = await database(signal);
    const records = await recordsOf(db, signal);
    let bytes = 0;
    for await (const batch of records.records({ signal })) {
      signal.throwIfAborted();
      const some: Picked[] = [];
      for (const { key, value } of batch) {
        bytes += value.length;
        if (wanted(keyOf(value))) some.push(pick(key, value));
      }
      if (some.length > 0) yield some;
      options.progress?.({ step: 'scan', message: `no key index: reading all of ${snapshot.name}`, bytes, totalBytes: db.length });
    }
  }

  return {
    async *entries(range, signal) {
      const sorter = createRevisionSorter(options.scratch, options.arenaBytes === undefined ? {} : { arenaBytes: options.arenaBytes });
      try {
        for await (const some of picked((candidate) => inRange(candidate, range), signal)) {
          for (const { key, revision } of some) {
            const full = sorter.add(key, revision);
            if (full !== undefined) await full;
          }
        }
        yield* sorter.entries(signal);
      } finally {
        await sorter.close();
      }
    },
    async find(key, signal): Promise<KeyEntry | undefined> {
      const revisions: KeyRevision[] = [];
      for await (const some of picked((candidate) => candidate.equals(key), signal)) {
        for (const { revision } of some) revisions.push(revision);
      }
      return revisions.length === 0 ? undefined : { key: Buffer.from(key), revisions };
    },
    async value(entry, revision, signal) {
      bucket ??= database(signal).then((db) => db.bucket('key', signal));
      const stored = await (await bucket)?.get(encodeRevision(revision), signal);
      const record = stored === undefined ? undefined : parseKeyValue(stored);
      if (record?.key.equals(entry.key) !== true) throw changed(snapshot.name, revision.main);
      return record.value;
    },
    close: () => Promise.resolve(),
  };
}

interface Picked {
  readonly key: Buffer;
  readonly revision: KeyRevision;
}

/** @throws WardenError `not-etcd` */
function pick(bytes: Buffer, value: Buffer): Picked {
  const { main, sub, tombstone } = parseRevision(bytes)!; // recordsOf has looked at it
  const record = parseKeyValue(value);
  const { createRevision, version, lease } = record;
  return { key: record.key, revision: { main, sub, tombstone, createRevision, version, lease, valueBytes: record.value.length } };
}

/** What was there a moment ago is not there any more. */
function changed(name: string, main: bigint): WardenError {
  return new WardenError('bolt-damaged', `${name} holds another record at revision ${main} than a moment ago`, {
    hint: 'it is being written to: copy the file while etcd is stopped, or take a backup',
  });
}
