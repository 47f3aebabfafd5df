/**
 * Records of a backup, spread over its whole history, read from the backup itself: not from what was restored, and not through what restored it. The same backup gives the
 * same ones.
 *
 * Where: at revisions 1/2, 1/4, 3/4, 1/8, ... of the way from the first record to the last, so that however many are taken they lie evenly. Records that outlived
 * compactions lie far apart in revisions, so they get more than their share, and they are what a restore is for.
 */
import { openBolt } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { notEtcd } from '../../mvcc/errors.ts';
import { parseKeyValue, type KeyValue } from '../../mvcc/key-value.ts';
import { encodeRevision, isRevision, isTombstone, mainOf } from '../../mvcc/revision.ts';

/** Some revisions lead to a record that is there already: where few records lie far apart, most do. */
const TRIES_FOR_EACH = 4;

/**
 * At most `count` records that put a value, of different revisions.
 * @throws WardenError `not-bolt`, `not-etcd`, `bolt-damaged`, and what reading throws
 */
export async function* sampleRecords(file: RandomAccess, count: number, signal: AbortSignal): AsyncGenerator<KeyValue, void, undefined> {
  const bucket = await (await openBolt(file, signal)).bucket('key', signal);
  if (bucket === undefined) throw notEtcd('it has no bucket key');
  const seen = new Set<bigint>();
  async function putFrom(main: bigint): Promise<KeyValue | undefined> {
    for await (const batch of bucket!.batches({ from: encodeRevision({ main, sub: 0n, tombstone: false }), signal }))
      for (const { key, value } of batch) {
        if (!isRevision(key)) throw notEtcd('a key of the records is not a revision');
        // Without a value: the empty record that `etcdutl --bump-revision` leaves, whose key "" nobody can ask for.
        if (isTombstone(key) || value.length === 0) continue;
        if (seen.has(mainOf(key))) return undefined;
        seen.add(mainOf(key));
        return copied(parseKeyValue(value));
      }
    return undefined;
  }
  const first = count > 0 ? await putFrom(0n) : undefined;
  const last = await bucket.last(signal);
  if (first === undefined || last === undefined) return;
  yield first;
  const [from, span] = [first.modRevision, Number(mainOf(last.key) - first.modRevision)];
  for (let step = 1; seen.size < count && step < count * TRIES_FOR_EACH; step += 1) {
    const record = await putFrom(from + BigInt(Math.ceil(span * fraction(step))));
    if (record !== undefined) yield record;
  }
}

/** 1/2, 1/4, 3/4, 1/8, 5/8, ...: the bits of a number behind the point, backwards (van der Corput's sequence). */
function fraction(step: number): number {
  let [sum, weight] = [0, 0.5];
  for (let left = step; left > 0; left >>>= 1, weight /= 2) sum += (left & 1) * weight;
  return sum;
}

/** The views end with the next read. */
function copied(record: KeyValue): KeyValue {
  return { ...record, key: Buffer.from(record.key), value: Buffer.from(record.value), unknown: [] };
}
