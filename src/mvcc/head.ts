/**
 * What an etcd database says of itself: how far its history goes, where it begins, who wrote it. Read from the file, because a response header
 * tells of another moment: a snapshot is a read transaction, and writes go on while it streams.
 *
 * Sources: server/storage/schema (bucket names and encodings), mvcc/kvstore.go (restore), the same from 3.4 to 3.7 where not said otherwise.
 */
import type { Bolt, Bucket } from '../boltdb/bolt.ts';
import { parseAlarm, type StoredAlarm } from './alarm.ts';
import { notEtcd } from './errors.ts';
import { encodeRevision, parseRevision } from './revision.ts';

export interface Head {
  /** Current revision; 1 in an empty store. */
  readonly revision: bigint;
  /** History before it is gone; 0 when nothing was ever compacted (etcd's HashKV says -1 then). */
  readonly compactRevision: bigint;
  /**
   * The compaction that has certainly done its work: at most one record of a key is left at or below it. Below compactRevision while another is under way; 0
   * where nothing shows that the one that is called finished took place, as after a restore that raised the revision and left what was superseded to the next.
   */
  readonly compactionFinished: bigint;
  /** Raft index that was applied last; a 3.4 that was never written to has none. */
  readonly consistentIndex: bigint | undefined;
  /** Raft term of that index; 3.5+. */
  readonly term: bigint | undefined;
  /** 3.6+, and some time after an upgrade to it. */
  readonly storageVersion: string | undefined;
  /** By what is in the file: storageVersion is 3.6+, term or confState is 3.5. */
  readonly etcdSchema: '3.4' | '3.5' | '3.6+';
  readonly alarms: readonly StoredAlarm[];
}

/** @throws WardenError `not-etcd`, `bolt-damaged` */
export async function readHead(db: Bolt, signal?: AbortSignal): Promise<Head> {
  const [meta, records] = [await db.bucket('meta', signal), await db.bucket('key', signal)];
  if (meta === undefined || records === undefined) throw notEtcd(`it has no bucket ${meta === undefined ? 'meta' : 'key'}`);
  const last = await records.last(signal);
  const lastMain = last === undefined ? 0n : mainOf(last.key, 'the last record');
  const [scheduled, finished] = [
    await compaction(meta, 'scheduledCompactRev', signal),
    await compaction(meta, 'finishedCompactRev', signal),
  ];
  const term = await integer(meta, 'term', signal);
  const storageVersion = (await meta.get(Buffer.from('storageVersion'), signal))?.toString();
  const since35 = term !== undefined || (await meta.get(Buffer.from('confState'), signal)) !== undefined;
  return {
    // A compaction of everything, and a restore that raised the revision, leave a current revision without a record.
    revision: max(lastMain, finished, scheduled, 1n),
    // Scheduled counts before it is finished: readers are refused from that moment, and a restart resumes it.
    compactRevision: max(scheduled, finished),
    compactionFinished: await certain(records, finished, signal),
    consistentIndex: await integer(meta, 'consistent_index', signal),
    term,
    storageVersion,
    etcdSchema: storageVersion !== undefined ? '3.6+' : since35 ? '3.5' : '3.4',
    alarms: await alarmsOf(await db.bucket('alarm', signal), signal),
  };
}

/**
 * How far below a finished compaction its newest record lies at most. The last put up to its revision is never removed by it, so that only deletes can follow
 * that one; so many in a row, and nothing else, is rather a revision that was raised. Taking that for certain would count keys twice, and the contrary mistake
 * costs time alone.
 */
export const RAISED_FROM = 2n ** 16n;

async function certain(records: Bucket, finished: bigint, signal?: AbortSignal): Promise<bigint> {
  if (finished < RAISED_FROM) return finished;
  const from = encodeRevision({ main: finished - RAISED_FROM + 1n, sub: 0n, tombstone: false });
  for await (const [first] of records.batches({ from, signal }))
    return first !== undefined && mainOf(first.key, 'a record') <= finished ? finished : 0n;
  return 0n;
}

async function alarmsOf(bucket: Bucket | undefined, signal?: AbortSignal): Promise<StoredAlarm[]> {
  const alarms: StoredAlarm[] = [];
  if (bucket === undefined) return alarms;
  for await (const { key } of bucket.entries(signal)) {
    const alarm = parseAlarm(key);
    if (alarm === undefined) throw notEtcd(`an entry of bucket alarm, of ${key.length} bytes, is none`);
    alarms.push(alarm);
  }
  return alarms;
}

async function compaction(meta: Bucket, name: string, signal?: AbortSignal): Promise<bigint> {
  const value = await meta.get(Buffer.from(name), signal);
  return value === undefined ? 0n : mainOf(value, name);
}

async function integer(meta: Bucket, name: string, signal?: AbortSignal): Promise<bigint | undefined> {
  const value = await meta.get(Buffer.from(name), signal);
  if (value === undefined) return undefined;
  if (value.length !== 8) throw notEtcd(`${name} has ${value.length} bytes instead of 8`);
  return value.readBigUInt64BE(0);
}

function mainOf(bytes: Buffer, what: string): bigint {
  const revision = parseRevision(bytes);
  if (revision === undefined) throw notEtcd(`${what}, of ${bytes.length} bytes, is not a revision`);
  return revision.main;
}

function max(...values: readonly bigint[]): bigint {
  return values.reduce((highest, value) => (value > highest ? value : highest), 0n);
}
