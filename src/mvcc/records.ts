/** The records of a database: its bucket `key`, each key checked to be a revision. */
import type { Bolt } from '../boltdb/bolt.ts';
import { notEtcd } from './errors.ts';
import { encodeRevision, isRevision } from './revision.ts';
import type { RecordSource } from './source.ts';

/** @throws WardenError `not-etcd` when there is no bucket `key`; its source throws it for a key that is no revision, and `bolt-damaged` */
export async function recordsOf(db: Bolt, signal?: AbortSignal): Promise<RecordSource> {
  const bucket = await db.bucket('key', signal);
  if (bucket === undefined) throw notEtcd('it has no bucket key');
  return {
    async *records(options = {}) {
      const { from, signal } = options;
      const start = from === undefined || from <= 0n ? undefined : encodeRevision({ main: from, sub: 0n, tombstone: false });
      for await (const batch of bucket.batches({ from: start, signal })) {
        // A file in memory never looks at the signal, and a pass over 8 GiB must end all the same.
        signal?.throwIfAborted();
        for (const { key, isBucket } of batch)
          if (isBucket || !isRevision(key)) throw notEtcd(`a key of the records, of ${key.length} bytes, is not a revision`);
        yield batch;
      }
    },
  };
}
