/** Bucket `lease`: the id as 8 bytes big-endian, and leasepb.Lease { 1 ID, 2 TTL, 3 RemainingTTL }, int64, zeros left out (3.4 to 3.7). */
import type { Bolt } from '../boltdb/bolt.ts';
import { notEtcd } from './errors.ts';
import { type Cursor, expectWire, readInt64, readTag, skipValue, VARINT } from './protobuf.ts';

export interface StoredLease {
  /** All 63 bits are used. */
  readonly id: bigint;
  /** As granted, in seconds. */
  readonly ttl: bigint;
  /** What was left when the leader last wrote a checkpoint, in seconds; 0n when it never did. After a restore a lease begins with it, or with `ttl`. */
  readonly remaining: bigint;
}

const ID_LENGTH = 8;

/**
 * All leases in the order of their ids; which keys hang on them stands in the records of the keys alone.
 * @throws WardenError `not-etcd`, `bolt-damaged`
 */
export async function* leasesOf(db: Bolt, signal?: AbortSignal): AsyncGenerator<StoredLease, void, undefined> {
  const bucket = await db.bucket('lease', signal);
  if (bucket === undefined) return;
  for await (const { key, value } of bucket.entries(signal)) {
    if (key.length !== ID_LENGTH) throw notEtcd(`the id of a lease has ${key.length} bytes instead of ${ID_LENGTH}`);
    const lease = parseLease(value);
    const id = key.readBigInt64BE(0);
    if (lease.id !== id) throw notEtcd(`lease ${hex(id)} says that it is lease ${hex(lease.id)}`);
    yield lease;
  }
}

/** @throws WardenError `not-etcd` */
export function parseLease(bytes: Buffer): StoredLease {
  const cursor: Cursor = { bytes, at: 0, what: 'a lease' };
  const numbers: [bigint, bigint, bigint] = [0n, 0n, 0n];
  while (cursor.at < bytes.length) {
    const tag = readTag(cursor);
    const field = tag >>> 3;
    if (field > numbers.length) {
      skipValue(cursor, tag);
      continue;
    }
    expectWire(cursor, tag, VARINT);
    numbers[(field - 1) as 0 | 1 | 2] = readInt64(cursor);
  }
  const [id, ttl, remaining] = numbers;
  return { id, ttl, remaining };
}

/** As etcdctl shows them. */
function hex(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16);
}
