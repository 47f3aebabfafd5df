/**
 * A snapshot in a plain file: of etcdctl with its trailer, a copy of member/snap/db without one, compressed, encrypted. What is none is named for what it is.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { AGE_MAGIC, isAge } from '../archive/age.ts';
import { decodeBytes } from '../archive/decode.ts';
import { diskError } from '../archive/disk-errors.ts';
import { openFile } from '../archive/file-access.ts';
import { openPath, type OpenArchive } from '../archive/open.ts';
import { readMetas } from '../boltdb/meta.ts';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { WardenError } from '../errors.ts';
import { foreignKind } from './foreign.ts';
import { inspectScratch } from './scratch.ts';
import type { OpenedSnapshot, OpenSnapshotOptions } from './types.ts';

type FileOptions = Pick<OpenSnapshotOptions, 'identities' | 'signal' | 'scratchFolder' | 'note' | 'progress'>;

/** Where data of etcd lies below its data directory: people name that at 3 a.m. */
const DATABASE_BELOW = 'member/snap/db';

/** Enough for every kind of file that is told by its first bytes; `ustar` is the furthest. */
const START_LENGTH = 512;

/** @throws WardenError `nothing-found`, `usage`, `not-bolt`, `key-missing`, `verification-failed`, `disk-failed`, `disk-full` */
export async function openSnapshotFile(path: string, options: FileOptions): Promise<OpenedSnapshot> {
  await refuseFolders(path);
  await refuseForeign(path);
  const file = await openAnyArchive(path, options);
  try {
    await refuseOther(file, path, options.signal);
    return { name: path, file, backup: undefined, store: undefined, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function refuseFolders(path: string): Promise<void> {
  const found = await stat(path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw await diskError(error, 'open', path, 0);
    throw new WardenError('nothing-found', `there is no file ${path}`, {
      hint: 'an object in a store is named by its id, and the store with --from',
    });
  });
  if (found.isDirectory()) {
    const below = await stat(`${path}/${DATABASE_BELOW}`).catch(() => undefined);
    throw new WardenError('usage', `${path} is a folder, not a snapshot`, {
      hint:
        below === undefined
          ? `to read a backup that lies in it: etcd-warden list --from ${path}`
          : `it is a data directory of etcd: name ${path}/${DATABASE_BELOW}, best of a member that is stopped`,
    });
  }
  if (!found.isFile())
    throw new WardenError('usage', `${path} is not a regular file`, { hint: 'save it to a file first: it is read from many places' });
}

async function refuseForeign(path: string): Promise<void> {
  const file = await openFile(path);
  try {
    const kind = foreignKind(path, await file.read(0, Math.min(START_LENGTH, file.size)));
    if (kind !== undefined) throw new WardenError('not-bolt', `${path} is ${kind.what}, not a snapshot of etcd 3`, { hint: kind.hint });
  } finally {
    await file.close();
  }
}

/** The same for what was inside, and the meta pages: said with the file's name here, because later on nobody knows it. */
async function refuseOther(file: OpenArchive, path: string, signal: AbortSignal): Promise<void> {
  const inside = foreignKind('', await file.read(0, Math.min(START_LENGTH, file.size), signal));
  if (inside !== undefined)
    throw new WardenError('not-bolt', `${path} holds ${inside.what}, not a snapshot of etcd 3`, { hint: inside.hint });
  try {
    await readMetas(file, signal);
  } catch (error) {
    if (!(error instanceof WardenError && error.code === 'not-bolt')) throw error;
    throw new WardenError('not-bolt', `${path} is not a snapshot of etcd: ${error.message}`, { hint: error.hint, cause: error });
  }
}

/** Read in place when that is possible; a compressed file without a seek table is decompressed into a scratch file first. */
async function openAnyArchive(path: string, options: FileOptions): Promise<OpenArchive> {
  try {
    return await openPath(path, options);
  } catch (error) {
    if (!(error instanceof WardenError && error.code === 'not-seekable')) throw error;
    return decompressed(path, options);
  }
}

async function decompressed(path: string, options: FileOptions): Promise<OpenArchive> {
  const { signal, progress } = options;
  const totalBytes = (await stat(path)).size;
  const encrypted = await beginsAsAge(path);
  const scratch = await inspectScratch(options.scratchFolder, { encrypted }).create();
  let bytes = 0;
  async function* stored(): AsyncGenerator<Buffer, void, undefined> {
    try {
      for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20, signal })) {
        bytes += (chunk as Buffer).length;
        progress?.({ step: 'read', message: `decompressing ${path}, which has no seek table`, bytes, totalBytes });
        yield chunk as Buffer;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw await diskError(error, 'read', path, 0);
    }
  }
  try {
    for await (const plain of decodeBytes(stored(), path, options)) await scratch.append(plain);
  } catch (error) {
    await scratch.close();
    throw error;
  }
  const view: RandomAccess = {
    size: scratch.size,
    async read(offset, length, own) {
      (own ?? signal).throwIfAborted();
      if (offset < 0 || length < 0 || offset + length > scratch.size)
        throw new WardenError(
          'verification-failed',
          `${path} ends too early: ${length} bytes at ${offset} were asked for, it has ${scratch.size}`,
        );
      return scratch.read(offset, length);
    },
  };
  return { ...view, encrypted, compressed: true, close: () => scratch.close() };
}

async function beginsAsAge(path: string): Promise<boolean> {
  const file = await openFile(path);
  try {
    return isAge(await file.read(0, Math.min(file.size, AGE_MAGIC.length)));
  } finally {
    await file.close();
  }
}
