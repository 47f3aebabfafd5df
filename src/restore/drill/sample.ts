/**
 * Records of a backup, spread over its whole history, read from the backup itself: not from what was restored, and not through what restored it. The same backup gives the
 * same ones.
 *
 * Where: at revisions 1/2, 1/4, 3/4, 1/8, ... of the way from the first record to the last, so that however many are taken they lie evenly, and within a transaction
 * likewise. Records that outlived compactions lie far apart in revisions, so they get more than their share, and they are what a restore is for.
 */
import { openBolt } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { notEtcd } from '../../mvcc/errors.ts';
import { parseKeyValue, type KeyValue } from '../../mvcc/key-value.ts';
import { encodeRevision, isRevision, isTombstone, mainOf } from '../../mvcc/revision.ts';

/** Some revisions lead to a record that is there already: where few records lie far apart, most do. */
const TRIES_FOR_EACH = 4;
/** What etcd lets one transaction change unless it is told otherwise (--max-txn-ops). */
const CHANGES_IN_ONE = 128;
const NO_REVISION = 'a key of the records is not a revision';

/**
 * At most `count` records that put a value, none twice.
 * @throws WardenError `not-bolt`, `not-etcd`, `bolt-damaged`, and what reading throws
 */
export async function* sampleRecords(file: RandomAccess, count: number, signal: AbortSignal): AsyncGenerator<KeyValue, void, undefined> {
  const bucket = await (await openBolt(file, signal)).bucket('key', signal);
  if (bucket === undefined) throw notEtcd('it has no bucket key');
  const last = await bucket.last(signal);
  if (last === undefined || count === 0) return;
  if (!isRevision(last.key)) throw notEtcd(NO_REVISION);
  const end = mainOf(last.key); // at once: the next read takes the view away
  const seen = new Set<string>();
  /** The first in the leaf at that place that was not taken yet. */
  async function takeAt(main: bigint, sub: bigint): Promise<{ readonly main: bigint; readonly record: KeyValue } | undefined> {
    for await (const batch of bucket!.batches({ from: encodeRevision({ main, sub, tombstone: false }), signal })) {
      for (const { key, value } of batch) {
        if (!isRevision(key)) throw notEtcd(NO_REVISION);
        // Without a value: the empty record that `etcdutl --bump-revision` leaves, whose key "" nobody can ask for.
        if (isTombstone(key) || value.length === 0) continue;
        const name = key.toString('latin1');
        if (seen.has(name)) continue;
        seen.add(name);
        return { main: mainOf(key), record: copied(parseKeyValue(value)) };
      }
      // Leaves of deletions alone are passed over; in the others everything was taken.
      if (batch.some(({ key }) => !isTombstone(key))) return undefined;
    }
    return undefined;
  }
  const first = await takeAt(0n, 0n);
  if (first === undefined) return;
  yield first.record;
  const span = Number(end - first.main);
  for (let step = 1; seen.size < count && step < count * TRIES_FOR_EACH; step += 1) {
    const main = first.main + BigInt(Math.ceil(span * fraction(step, 2)));
    // A transaction of less changes, or a place where everything was taken: then from its beginning.
    const taken = (await takeAt(main, BigInt(Math.floor(CHANGES_IN_ONE * fraction(step, 3))))) ?? (await takeAt(main, 0n));
    if (taken !== undefined) yield taken.record;
  }
}

/** 1/2, 1/4, 3/4, 1/8, 5/8, ... for base 2: the digits of a number behind the point, backwards (Halton's sequence). */
function fraction(step: number, base: number): number {
  let [sum, weight] = [0, 1 / base];
  for (let left = step; left > 0; left = Math.floor(left / base), weight /= base) sum += (left % base) * weight;
  return sum;
}

/** The views end with the next read. */
function copied(record: KeyValue): KeyValue {
  return { ...record, key: Buffer.from(record.key), value: Buffer.from(record.value), unknown: [] };
}
