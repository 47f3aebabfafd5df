/** What a database holds that somebody else built, and that its small buckets are as we would have left them. */
import { randomInt } from 'node:crypto';
import { createScratch } from '../../archive/scratch.ts';
import { createSweeper, release } from '../../archive/young-garbage.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import { editBuckets } from '../../boltdb/write/edit.ts';
import { createExamination } from '../../mvcc/examination/examination.ts';
import type { Examined } from '../../mvcc/examination/types.ts';
import type { BuiltDatabase, NewCluster, RestoreContext } from '../types.ts';
import { entriesOf, memberEntries } from './cluster.ts';
import { type DatabaseFile, openDatabaseFile } from './file.ts';

export type Measured = Pick<BuiltDatabase, 'bytes' | 'revision' | 'compactRevision' | 'hash' | 'keyCount' | 'kubernetes'>;

const STEP = 2 ** 20;

/**
 * Reads it whole. etcdctl 3.4 leaves the members of the old cluster in the database, and every builder of etcd leaves alarms and a downgrade that was under
 * way: these buckets are put right.
 * @throws WardenError `not-bolt`, `bolt-damaged`, `not-etcd`, `history-broken`, `disk-full`, `disk-failed`
 */
export async function measureDatabase(
  path: string,
  cluster: NewCluster,
  context: RestoreContext & { readonly scratchFolder?: string },
): Promise<Measured> {
  const file = await openDatabaseFile(path);
  try {
    const bytes = await mend(file, cluster, context);
    const measured = await examineFile(file, bytes, context, (examined) => figuresOf(examined, context.signal));
    await file.finish();
    return { ...measured, bytes };
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/** @returns the length of the database */
async function mend(file: DatabaseFile & { readonly size: number }, cluster: NewCluster, { signal }: RestoreContext): Promise<number> {
  const access = file.access(file.size);
  const db = await openBolt(access, signal);
  const wanted = memberEntries(cluster);
  const found = await entriesOf(db, 'members', signal);
  const members =
    found.length === wanted.length && found.every(({ key, value }, i) => key.equals(wanted[i]!.key) && value.equals(wanted[i]!.value));
  const downgrade = (await entriesOf(db, 'cluster', signal)).filter(({ key }) => key.toString() !== 'downgrade');
  const edits = [
    ...(members ? [] : [{ name: 'members', entries: wanted }]),
    ...((await entriesOf(db, 'members_removed', signal)).length === 0 ? [] : [{ name: 'members_removed', entries: [] }]),
    ...((await entriesOf(db, 'alarm', signal)).length === 0 ? [] : [{ name: 'alarm', entries: [] }]),
    ...((await entriesOf(db, 'cluster', signal)).length === downgrade.length ? [] : [{ name: 'cluster', entries: downgrade }]),
  ];
  if (edits.length === 0) return db.length;
  const { bytes } = await editBuckets(access, edits, file, signal);
  // What bbolt preallocated behind its last page stays: only a file that is too short is one that it does not open.
  if (bytes > file.size) await file.truncate(bytes);
  return bytes;
}

/** Reads a database in file order, and gives what the examination found. */
export async function examineFile<Result>(
  file: DatabaseFile,
  bytes: number,
  context: RestoreContext & { readonly scratchFolder?: string },
  use: (examined: Examined) => Promise<Result>,
): Promise<Result> {
  const { signal, progress, scratchFolder = file.path.slice(0, file.path.lastIndexOf('/')) } = context;
  // Always encrypted: whether the backup was is not known here, and what is kept of records are digests and sums.
  const examination = await createExamination({ scratch: createScratch(scratchFolder, { encrypted: true }), seed: randomInt(2 ** 32) });
  try {
    const access = file.access(bytes);
    const sweep = createSweeper();
    for (let at = 0; at < bytes; at += STEP) {
      const block = await access.read(at, Math.min(STEP, bytes - at), signal);
      examination.write(block);
      sweep(block.length);
      release(block);
      progress({ step: 'measure', message: `reading ${file.path} again`, bytes: Math.min(bytes, at + STEP), totalBytes: bytes });
    }
    return await use(await examination.finish(access, signal));
  } finally {
    await examination.close();
  }
}

/** As a started member answers. */
export async function figuresOf(examined: Examined, signal: AbortSignal): Promise<Omit<Measured, 'bytes'>> {
  const { head, keyCount, kubernetes } = examined;
  const compactRevision = head.compactRevision > 0n ? head.compactRevision : -1n;
  return { revision: head.revision, compactRevision, hash: await examined.hashKv(compactRevision, signal), keyCount, kubernetes };
}
