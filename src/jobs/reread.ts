/**
 * A backup read again from its store, as deep as a level asks. Each level reads the object once, in order; `proved` then looks at the few pages
 * that its pass could not keep.
 *
 *     stored    SHA-256 and length of the object as it lies there: needs no key
 *     content   every chunk and frame, SHA-256 and length of the plain snapshot
 *     proved    pages, records, continuity of versions, and HashKV compared with what members answered
 */
import { randomInt } from 'node:crypto';
import {
  hashContent,
  hashStored,
  type ContentFigures,
  type PlainFigures,
  type DecodedFigures,
  type StoredFigures,
} from '../archive/decode.ts';
import { openObject } from '../archive/open.ts';
import { createPin, type Pin } from '../archive/pinned-access.ts';
import { createScratch } from '../archive/scratch.ts';
import type { RandomAccess } from '../boltdb/random-access.ts';
import type { Backup } from '../catalog/types.ts';
import { WardenError } from '../errors.ts';
import { dataKey } from '../format/keys.ts';
import { isComparable } from '../format/proof.ts';
import type { Manifest, Proof } from '../format/types.ts';
import type { Examination, Examined } from '../mvcc/examination/types.ts';
import { newerSchema } from '../mvcc/schema.ts';
import type { Store } from '../store/types.ts';
import { scratchFolder } from './scratch-folder.ts';
import type { JobContext } from './types.ts';

export type VerifyLevel = 'stored' | 'content' | 'proved';

export type RereadContext = Pick<JobContext, 'config' | 'signal' | 'progress'>;

/** What a reading found beyond "as it was written". */
export interface Reread {
  /** `content` when `proved` was asked for and no member's hash is recorded. */
  readonly level: VerifyLevel;
  /** Why it is less than was asked for. */
  readonly shallow?: WardenError;
  readonly keyCount?: number;
  /** Of the file at its own revision, with the compact revision that was compared (or the file's own). */
  readonly hash?: Omit<Proof, 'members'>;
}

/**
 * Reads one copy.
 * @param identities for encrypted backups, at levels above `stored`
 * @throws WardenError `verification-failed`, `object-missing`, `not-seekable`, `not-bolt`, `not-etcd`, `bolt-damaged` when the copy is not sound: the first fault with its place.
 *   `key-missing`, `changed-meanwhile` and whatever stores and disks throw say nothing about it
 */
export async function reread(
  backup: Backup,
  store: Store,
  level: VerifyLevel,
  identities: readonly string[] | undefined,
  context: RereadContext,
): Promise<Reread> {
  const copy = { backup, store, identities, key: dataKey(backup.cluster, backup.id, backup.manifest.stored.encryption), context };
  if (level === 'stored') {
    compareStored(copy.key, backup.manifest, await hashStored(store, copy.key, readOptions(copy)));
    return { level };
  }
  if (level === 'content') {
    const options = { ...readOptions(copy), expectedBytes: backup.manifest.plain.bytes };
    compareContent(copy.key, backup.manifest, await hashContent(store, copy.key, options));
    return { level };
  }
  try {
    return await prove(copy);
  } catch (error) {
    // Keys are told apart by seeded digests: an alarm is raised only when another seed says the same.
    if (!(error instanceof HashDiffers)) throw error;
    return await prove(copy);
  }
}

interface CopyToRead {
  readonly backup: Backup;
  readonly store: Store;
  readonly identities: readonly string[] | undefined;
  readonly key: string;
  readonly context: RereadContext;
}

function readOptions({ backup, store, identities, context }: CopyToRead): Parameters<typeof hashStored>[2] {
  const { id, manifest } = backup;
  const message = `reading ${id} on ${store.name}`;
  return {
    signal: context.signal,
    identities,
    onProgress: (bytes) => context.progress({ step: 'read', message, bytes, totalBytes: manifest.stored.bytes, subject: store.name }),
  };
}

function prove(copy: CopyToRead): Promise<Reread> {
  return examine(copy, (examined) => judge(copy, examined));
}

/**
 * Reads one copy as `proved` does, without comparing its hash.
 * @param use gets what the examination found, and the plain bytes, while they can still be read; whatever it throws is thrown
 * @throws WardenError as {@link reread}
 */
export function examineCopy<Result>(
  backup: Backup,
  store: Store,
  identities: readonly string[] | undefined,
  context: RereadContext,
  use: (examined: Examined, file: RandomAccess) => Promise<Result>,
): Promise<Result> {
  const key = dataKey(backup.cluster, backup.id, backup.manifest.stored.encryption);
  return examine({ backup, store, identities, key, context }, use);
}

type UseExamined<Result> = (examined: Examined, file: RandomAccess) => Promise<Result>;

async function examine<Result>(copy: CopyToRead, use: UseExamined<Result>): Promise<Result> {
  const { backup, store, key, context } = copy;
  const encrypted = backup.manifest.stored.encryption !== 'none';
  const { createExamination } = await import('../mvcc/examination/examination.ts');
  const examination = await createExamination({
    scratch: createScratch(scratchFolder(context.config), { encrypted }),
    seed: randomInt(2 ** 32),
  });
  try {
    const pin = createPin();
    const expectedBytes = backup.manifest.plain.bytes;
    const options = {
      ...readOptions(copy),
      expectedBytes,
      onStored: (chunk: Buffer) => pin.add(chunk),
      onPlain: (block: Buffer) => examination.write(block),
    };
    compareContent(key, backup.manifest, await hashContent(store, key, options));
    context.progress({ step: 'check', message: `proving ${backup.id} on ${store.name}`, subject: store.name });
    return await finish(copy, examination, { pin, use });
  } finally {
    await examination.close();
  }
}

/** From here on the object is what the manifest says, so whatever is wrong was wrong when it was taken, unless the object changed since the pass. */
async function finish<Result>(
  copy: CopyToRead,
  examination: Examination,
  { pin, use }: { readonly pin: Pin; readonly use: UseExamined<Result> },
): Promise<Result> {
  const { store, key, identities, context } = copy;
  try {
    const file = await openObject(store, key, { signal: context.signal, identities, pin });
    try {
      return await use(await examination.finish(file, context.signal), file);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!(error instanceof WardenError) || (error.code !== 'verification-failed' && error.code !== 'object-missing')) throw error;
    if (error instanceof OfTheContent) throw error;
    throw new WardenError('changed-meanwhile', `${key} was changed while it was read: ${error.message}`, {
      hint: 'something else writes to this store; find it, and verify again',
      cause: error,
    });
  }
}

async function judge({ backup, key, context }: CopyToRead, examined: Examined): Promise<Reread> {
  const { manifest, proof } = backup;
  const { head, keyCount } = examined;
  if (String(head.revision) !== manifest.revision)
    throw new OfTheContent(`${key} holds revision ${head.revision}, its manifest says ${manifest.revision}`);
  // Before a number or a hash is called wrong that a later etcd may count in another way.
  const newer = newerSchema(head);
  if (newer !== undefined) return { level: 'content', shallow: new WardenError('newer-schema', `its proof would be a guess: ${newer}`) };
  if (manifest.keyCount !== undefined && keyCount !== manifest.keyCount)
    throw new OfTheContent(`${key} holds ${keyCount} keys, its manifest says ${manifest.keyCount}`);
  if (proof === undefined) {
    const why = manifest.unproved?.reason ?? 'no member was asked';
    const shallow = new WardenError('unproved', `structure and records are sound, but there is no member's hash to compare with: ${why}`);
    return { level: 'content', shallow, keyCount };
  }
  const { revision, compactRevision } = proof;
  if (!isComparable(proof, head)) {
    const sentence = `the recorded hash is of revision ${revision} at compact revision ${compactRevision}, the file holds ${head.revision} and ${head.compactRevision}`;
    return { level: 'content', shallow: new WardenError('unproved', sentence), keyCount };
  }
  const hash = await examined.hashKv(BigInt(compactRevision), context.signal);
  if (hash !== proof.hash)
    throw new HashDiffers(
      `HashKV of ${key} at revision ${revision} with compact revision ${compactRevision} is ${hash}, ${proof.members.join(', ')} answered ${proof.hash}`,
    );
  return { level: 'proved', keyCount, hash: { revision, compactRevision, hash } };
}

/** A fault of the data although every byte is the one that was written. */
export class OfTheContent extends WardenError {
  constructor(sentence: string) {
    super('verification-failed', sentence, { hint: HINT });
  }
}

class HashDiffers extends OfTheContent {}

/** @throws WardenError `verification-failed` when an object that was read to its end is not the one that the manifest describes */
export function compareContent(key: string, manifest: Manifest, read: ContentFigures): void {
  compareStored(key, manifest, read);
  comparePlain(key, manifest, read);
}

/** @throws WardenError `verification-failed` when the plain bytes are not those that the manifest describes */
export function comparePlain(key: string, manifest: Manifest, read: PlainFigures): void {
  compare(`content of ${key}`, { bytes: read.plainBytes, sha256: read.plainSha256 }, manifest.plain);
}

/** @throws WardenError `verification-failed` when the object, decoded on the way, is not the one that the manifest describes */
export function compareSealed(key: string, manifest: Manifest, read: DecodedFigures): void {
  compareStored(key, manifest, read);
  if (read.plainBytes !== manifest.plain.bytes)
    throw new WardenError('verification-failed', `content of ${key}: ${read.plainBytes} bytes, ${manifest.plain.bytes} were written`, {
      hint: HINT,
    });
}

function compareStored(key: string, { stored }: Manifest, read: Pick<StoredFigures, 'storedBytes' | 'storedSha256'>): void {
  compare(`stored bytes of ${key}`, { bytes: read.storedBytes, sha256: read.storedSha256 }, stored);
}

type Figures = Pick<Manifest['stored'], 'bytes' | 'sha256'>;

function compare(what: string, read: Figures, written: Figures): void {
  if (read.bytes !== written.bytes)
    throw new WardenError('verification-failed', `${what}: ${read.bytes} bytes, ${written.bytes} were written`, { hint: HINT });
  if (read.sha256 !== written.sha256)
    throw new WardenError('verification-failed', `${what}: SHA-256 ${read.sha256}, ${written.sha256} was written`, { hint: HINT });
}

const HINT = 'this copy cannot be trusted; `etcd-warden copy` completes it from another store after it was deleted';
