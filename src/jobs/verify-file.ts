/** A snapshot in a plain file, looked through as deep as one can without a manifest: nothing but its own trailer says what it should hold. */
import { randomInt } from 'node:crypto';
import { createScratch } from '../archive/scratch.ts';
import { openBolt } from '../boltdb/bolt.ts';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { asError, errorDetails, type ErrorCode } from '../errors.ts';
import { openSnapshotFile } from '../inspect/file.ts';
import type { OpenedSnapshot } from '../inspect/types.ts';
import { authOf } from '../mvcc/auth.ts';
import { readHead, type Head } from '../mvcc/head.ts';
import { leasesOf } from '../mvcc/leases.ts';
import { membersOf } from '../mvcc/members.ts';
import { requireKnownSchema } from '../mvcc/schema.ts';
import { databaseOf, passOver } from './plain-pass.ts';
import type { VerifyLevel } from './reread.ts';
import { scratchFolder } from './scratch-folder.ts';
import type { JobContext } from './types.ts';
import { provesDamage } from './verify.ts';

export interface VerifiedFile {
  readonly file: string;
  /** `content` at best: there is no member's answer to compare with. */
  readonly level: Extract<VerifyLevel, 'content'>;
  readonly outcome: 'ok' | 'failed';
  readonly reason?: string;
  readonly code?: ErrorCode;
  /** Plain bytes. */
  readonly bytes?: number;
  readonly trailer?: boolean;
  readonly revision?: string;
  readonly compactRevision?: string;
  readonly keyCount?: number;
  readonly recordCount?: number;
  readonly contents?: FileContents;
  /** As a member answers at that revision and compact revision: `etcdctl endpoint hashkv --rev` compares it with a cluster that still knows them. */
  readonly hash?: number;
}

/** What else a restored cluster would have. */
export interface FileContents {
  /** 3.6 and later. */
  readonly storageVersion: string | null;
  /** By name, or by id in hex where one has not started yet. */
  readonly members: readonly string[];
  readonly leaseCount: number;
  readonly authEnabled: boolean;
  readonly users: readonly string[];
  readonly roles: readonly string[];
}

/** @throws WardenError what keeps the file from being read at all, `key-missing` among it; what is wrong inside is a result */
export async function verifyFile(
  path: string,
  identities: readonly string[] | undefined,
  context: Pick<JobContext, 'config' | 'signal' | 'progress'>,
): Promise<VerifiedFile> {
  const { config, signal, progress } = context;
  const folder = scratchFolder(config);
  const result = { file: path, level: 'content' } as const;
  try {
    const snapshot = await openSnapshotFile(path, { identities, signal, progress, scratchFolder: folder });
    await refuseNewerSchema(snapshot, signal);
    const { createExamination } = await import('../mvcc/examination/examination.ts');
    const examination = await createExamination({
      scratch: createScratch(folder, { encrypted: snapshot.file.encrypted }),
      seed: randomInt(2 ** 32),
    });
    try {
      const plain = await passOver(snapshot.file, path, (block) => examination.write(block), context);
      progress({ step: 'check', message: `checking the structure of ${path}` });
      const database = databaseOf(snapshot.file, plain);
      const examined = await examination.finish(database, signal);
      const { head, keyCount, recordCount } = examined;
      return {
        ...result,
        outcome: 'ok',
        ...(plain.trailer ? {} : { reason: 'it has no trailer: whether bytes of values changed since it was written cannot be told' }),
        bytes: snapshot.file.size,
        trailer: plain.trailer,
        revision: String(head.revision),
        compactRevision: String(head.compactRevision),
        keyCount,
        recordCount,
        contents: await contentsOf(database, head, signal),
        hash: await examined.hashKv(head.compactRevision, signal),
      };
    } finally {
      await examination.close();
      await snapshot.close();
    }
  } catch (thrown) {
    signal.throwIfAborted();
    const error = asError(thrown);
    const { code } = errorDetails(error);
    if (!isOfTheFile(code)) throw error;
    return { ...result, outcome: 'failed', reason: error.message, code };
  }
}

async function contentsOf(database: RandomAccess, { storageVersion }: Head, signal: AbortSignal): Promise<FileContents> {
  const db = await openBolt(database, signal);
  const { members } = await membersOf(db, signal);
  const { enabled, users, roles } = await authOf(db, signal);
  let leaseCount = 0;
  for await (const _ of leasesOf(db, signal)) leaseCount += 1;
  return {
    storageVersion: storageVersion ?? null,
    members: members.map(({ id, name }) => (name === '' ? id.toString(16) : name)),
    leaseCount,
    authEnabled: enabled,
    users: users.map(({ name }) => name),
    roles: roles.map(({ name }) => name),
  };
}

/** Before anything is called damage that a later etcd writes on purpose. */
async function refuseNewerSchema(snapshot: OpenedSnapshot, signal: AbortSignal): Promise<void> {
  try {
    requireKnownSchema(await readHead(await openBolt(snapshot.file, signal), signal), `verifying ${snapshot.name}`);
  } catch (error) {
    await snapshot.close();
    throw error;
  }
}

function isOfTheFile(code: ErrorCode): boolean {
  return provesDamage(code) || code === 'snapshot-wrong-length' || code === 'snapshot-hash-mismatch';
}
