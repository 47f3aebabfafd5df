/** The proof of a snapshot, contract in types.ts. */
import { createCRC32 } from 'hash-wasm';
import { openBolt, type Bucket } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { WardenError } from '../../errors.ts';
import { readHead } from '../head.ts';
import { parseRevision } from '../revision.ts';
import type { Scratch } from '../scratch.ts';
import type { Examination, Examined } from './types.ts';

export interface ExaminationOptions {
  readonly scratch: Scratch;
  /** Of the digests of keys; another one is a second opinion. Random when absent. */
  readonly seed?: number | undefined;
}

export async function createExamination(_options: ExaminationOptions): Promise<Examination> {
  return { write: () => undefined, finish: (file, signal) => examine(file, signal), close: () => Promise.resolve() };
}

async function examine(file: RandomAccess, signal: AbortSignal): Promise<Examined> {
  const db = await openBolt(file, signal);
  const head = await readHead(db, signal);
  const records = await db.bucket('key', signal);
  if (records === undefined) throw new WardenError('not-etcd', 'not a database of etcd: it has no bucket key');
  for (const name of await db.bucketNames(signal)) {
    const bucket = await db.bucket(name, signal);
    if (name !== 'key' && bucket !== undefined) for await (const _ of bucket.entries(signal)) signal.throwIfAborted();
  }
  const last = await lastChanges(records, signal);
  const live = new Set([...last.values()].filter((place) => !place.endsWith('t')));
  return {
    head,
    keyCount: live.size,
    recordCount: await countOf(records, signal),
    async hashKv(compactRevision, inner) {
      const hash = await createCRC32(0x82f63b78);
      hash.update('key');
      for await (const { key, value } of records.entries(inner)) {
        const revision = parseRevision(key);
        const old = (revision?.main ?? 0n) <= compactRevision;
        if (old && ((live.size > 0 && !live.has(key.toString('latin1'))) || revision?.tombstone === true)) continue;
        hash.update(key);
        hash.update(value);
      }
      return Number.parseInt(hash.digest('hex'), 16);
    },
  };
}

async function lastChanges(records: Bucket, signal: AbortSignal): Promise<Map<string, string>> {
  const last = new Map<string, string>();
  for await (const { key, value } of records.entries(signal)) {
    if (parseRevision(key) === undefined) throw new WardenError('not-etcd', `a record is not a revision: ${key.toString('hex')}`);
    last.set(keyOf(value), key.toString('latin1'));
  }
  return last;
}

function keyOf(value: Buffer): string {
  if (value.length === 0) return '';
  let length = 0;
  let at = 1;
  for (let shift = 0; at < value.length; shift += 7) {
    const byte = value[at++]!;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  if (value[0] !== 0x0a || at + length > value.length)
    throw new WardenError('not-etcd', `a record is no KeyValue: ${value.toString('hex', 0, 32)}`);
  return value.toString('latin1', at, at + length);
}

async function countOf(records: Bucket, signal: AbortSignal): Promise<number> {
  let count = 0;
  for await (const _ of records.entries(signal)) count += 1;
  return count;
}
