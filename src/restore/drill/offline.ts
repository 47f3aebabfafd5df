/**
 * The check of a machine that has no etcd: the files that were built are read again, by other code than wrote them. That proves that they are what the backup promises, and
 * not that an etcd starts on them.
 */
import { randomInt } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { openPath } from '../../archive/open.ts';
import { createScratch } from '../../archive/scratch.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import { WardenError } from '../../errors.ts';
import type { RestoreRecord } from '../../format/restore-record.ts';
import { createExamination } from '../../mvcc/examination/examination.ts';
import { membersOf } from '../../mvcc/members.ts';
import { encodeWal, WAL_FILE_BYTES, WAL_FILE_NAME } from '../directory/wal.ts';
import type { EtcdMinor, NewCluster } from '../types.ts';

export interface OfflineOptions {
  readonly dataDir: string;
  readonly cluster: NewCluster;
  readonly minor: EtcdMinor;
  readonly record: RestoreRecord;
  readonly scratchFolder: string;
  readonly encrypted: boolean;
  readonly signal: AbortSignal;
  readonly alive: () => void;
}

const STEP = 2 ** 20;

/** @returns the keys that it counted. @throws WardenError `verification-failed`, `bolt-damaged`, `not-etcd`, `history-broken` */
export async function checkOffline(options: OfflineOptions): Promise<number> {
  const keyCount = await checkDatabase(options);
  await checkWal(options);
  return keyCount;
}

async function checkDatabase({ dataDir, record, cluster, scratchFolder, encrypted, signal, alive }: OfflineOptions): Promise<number> {
  const file = await openPath(join(dataDir, 'member/snap/db'), { signal });
  const examination = await createExamination({ scratch: createScratch(scratchFolder, { encrypted }), seed: randomInt(2 ** 32) });
  try {
    for (let at = 0; at < file.size; at += STEP) {
      signal.throwIfAborted();
      examination.write(await file.read(at, Math.min(STEP, file.size - at), signal));
      alive();
    }
    const examined = await examination.finish(file, signal);
    const compact = BigInt(record.compactRevision);
    equal('revision', examined.head.revision, record.revision);
    equal('compact revision', examined.head.compactRevision === 0n ? -1n : examined.head.compactRevision, record.compactRevision);
    equal('number of keys', examined.keyCount, record.keyCount);
    equal('HashKV', await examined.hashKv(compact, signal), record.hash);
    const { members } = await membersOf(await openBolt(file, signal), signal);
    equal('members', members.map(({ id }) => id.toString(16)).join(', '), cluster.members.map(({ id }) => id.toString(16)).join(', '));
    return examined.keyCount;
  } finally {
    await examination.close();
    await file.close();
  }
}

/** The records of the log, and zeros behind them. */
async function checkWal({ dataDir, cluster, minor, signal }: OfflineOptions): Promise<void> {
  const path = join(dataDir, 'member/wal', WAL_FILE_NAME);
  const expected = encodeWal(cluster.members[0]!, cluster, minor);
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size !== WAL_FILE_BYTES) throw differs(`the write-ahead log has ${size} bytes instead of ${WAL_FILE_BYTES}`);
    const records = await readAt(file, 0, expected.length);
    if (!records.equals(expected)) throw differs('the write-ahead log is not the one of this cluster');
    const zeros = Buffer.alloc(STEP);
    for (let at = expected.length; at < size; at += STEP) {
      signal.throwIfAborted();
      const block = await readAt(file, at, Math.min(STEP, size - at));
      if (!block.equals(zeros.subarray(0, block.length))) throw differs('the write-ahead log has something behind its last record');
    }
  } finally {
    await file.close();
  }
}

async function readAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

function equal(what: string, found: bigint | number | string, expected: number | string): void {
  if (String(found) !== String(expected)) throw differs(`its ${what} is ${found}, the restore record says ${expected}`);
}

function differs(sentence: string): WardenError {
  return new WardenError('verification-failed', `the restored data directory is not what the backup promises: ${sentence}`, {
    hint: 'restore from another backup, and keep this one for whoever finds out why',
  });
}
