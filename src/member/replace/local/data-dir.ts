/** The data directory of a member on this machine: what is in it, whose it is, and moving it out of the way. Nothing is ever deleted. */
import { chmod, chown, lstat, mkdir, open, readdir, rename, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from '../../../store/local/folders.ts';
import { asError, WardenError } from '../../../errors.ts';
import type { DataSight, Identity } from '../types.ts';
import { exists } from './files.ts';
import { labelLike } from './label.ts';
import { isLocked } from './locks.ts';
import { identityIn, WAL_HEAD_BYTES } from './wal-head.ts';

export interface DataPlace {
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute; undefined = `member/wal` in the data directory. */
  readonly walDir: string | undefined;
}

/** @throws WardenError `disk-failed` when it cannot be looked at: then nobody knows */
export async function lookAtData({ dataDir, walDir }: DataPlace): Promise<DataSight> {
  try {
    const walFolder = walDir ?? join(dataDir, 'member', 'wal');
    const wal = await walFiles(walFolder);
    const present = (await filled(join(dataDir, 'member'))) || wal.length > 0;
    const database = join(dataDir, 'member', 'snap', 'db');
    return {
      dataDir,
      walDir,
      exists: await exists(dataDir),
      data: present || (await interrupted(dataDir, walDir)) ? 'present' : 'none',
      identity: present ? await identityOf(walFolder, wal) : undefined,
      inUse: await isLocked(database),
      damage: present ? await damageOf(database, wal.length > 0) : [],
    };
  } catch (error) {
    throw new WardenError('disk-failed', `${dataDir} cannot be looked at: ${asError(error).message}`, {
      hint: 'run this as the user that etcd runs as, or as root',
      cause: error,
    });
  }
}

/**
 * Moves data and write-ahead log to `NAME.replaced-STAMP` beside them, and leaves an empty directory with owner, mode and SELinux label of the old one. Called
 * again after an interruption it moves what is left. Where the directory is a mount point, what is in it goes to a folder inside.
 * @param stamp `20261123T010203Z`
 * @returns where the old data is now
 * @throws WardenError `refused` while a process has the database open, `disk-failed`
 */
export async function moveData({ dataDir, walDir }: DataPlace, stamp: string, signal: AbortSignal): Promise<string[]> {
  if (await isLocked(join(dataDir, 'member', 'snap', 'db')))
    throw new WardenError('refused', `a process still has the database in ${dataDir} open`, { hint: 'stop that etcd first' });
  const moved: string[] = [];
  try {
    // The log last: while it is there, what is left can still be told from new data.
    for (const [folder, what] of [[dataDir, 'member'] as const, ...(walDir === undefined ? [] : [[walDir, undefined] as const])]) {
      const to = await moveFolder(folder, what, stamp, signal);
      if (to !== undefined) moved.push(to);
    }
    return moved;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof WardenError) throw error;
    throw new WardenError('disk-failed', `the old data in ${dataDir} could not be moved: ${asError(error).message}`, {
      hint: 'nothing was deleted; move it by hand, and run the same command again',
      cause: error,
    });
  }
}

/** @param what the entry that counts; undefined = the files of a log */
async function moveFolder(folder: string, what: string | undefined, stamp: string, signal: AbortSignal): Promise<string | undefined> {
  const next = nextOf(folder);
  if (await interrupted(folder)) await rename(next, folder);
  const full = what === undefined ? (await walFiles(folder)).length > 0 : await filled(join(folder, what));
  if (!full) return undefined;
  const to = await freeName(`${folder}.replaced-${stamp}`);
  try {
    // A link to the folder stays, what it leads to moves.
    if ((await lstat(folder)).isSymbolicLink()) throw Object.assign(new Error('a symbolic link'), { code: 'EXDEV' });
    // Before anything is moved: whoever may not give it all that the old one has moves nothing.
    await makeLike(folder, next, signal);
    try {
      await rename(folder, to);
    } catch (error) {
      await rmdir(next);
      throw error;
    }
    await rename(next, folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EBUSY' && code !== 'EXDEV' && code !== 'EACCES' && code !== 'EPERM') throw error;
    return moveInside(folder, what, stamp);
  }
  await syncFolder(dirname(folder));
  return to;
}

/** What takes the place of a folder. */
function nextOf(folder: string): string {
  return `${folder}.next-by-etcd-warden`;
}

/** Whether one was moved away and the empty one is not in its place yet: without it an etcd that is no root could not start, so this counts as data to be moved. */
async function interrupted(...folders: readonly (string | undefined)[]): Promise<boolean> {
  for (const folder of folders) if (folder !== undefined && !(await exists(folder)) && (await exists(nextOf(folder)))) return true;
  return false;
}

/** An empty folder with owner, mode and label of another one. */
async function makeLike(folder: string, next: string, signal: AbortSignal): Promise<void> {
  const { mode, uid, gid } = await stat(folder);
  await rmdir(next).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await mkdir(next, { mode: mode & 0o7777 });
  try {
    await chmod(next, mode & 0o7777);
    await chown(next, uid, gid).catch((error: NodeJS.ErrnoException) => {
      // Only root may give a folder away; whoever may not has made it as himself.
      if (error.code !== 'EPERM') throw error;
    });
    await labelLike(folder, next, signal);
  } catch (error) {
    await rmdir(next);
    throw error;
  }
}

/** A mount point cannot be renamed, nor a folder whose parent is not ours. */
async function moveInside(folder: string, what: string | undefined, stamp: string): Promise<string> {
  const to = await freeName(join(folder, `${basename(folder)}.replaced-${stamp}`));
  await mkdir(to, { mode: 0o700 });
  const entries = what === undefined ? await walFiles(folder) : [what];
  for (const entry of entries) await rename(join(folder, entry), join(to, entry));
  await syncFolder(to);
  await syncFolder(folder);
  return to;
}

/** Every file of a log begins with it; the newest is the last that can be damaged or preallocated, so the oldest is read. */
async function identityOf(folder: string, [first]: readonly string[]): Promise<Identity> {
  if (first === undefined) return { kind: 'unknown', reason: 'there is no write-ahead log' };
  return identityIn(await headOf(join(folder, first), WAL_HEAD_BYTES));
}

const BOLT_MAGIC = 0xed0cdaed;
/** Magic of the first meta page, behind the page header; of the second on systems with pages of 4 KiB. */
const META_AT = [16, 4096 + 16] as const;

/** What etcd would stumble over at once; it is no proof of health. */
async function damageOf(database: string, log: boolean): Promise<string[]> {
  const found: string[] = [];
  if (!log) found.push('its write-ahead log is missing');
  const head = await headOf(database, 2 * 4096).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (head === undefined) found.push(`${database} is missing`);
  else if (!META_AT.some((at) => head.length >= at + 4 && head.readUInt32LE(at) === BOLT_MAGIC))
    found.push(`${database} is no bbolt database any more`);
  return found;
}

async function headOf(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function freeName(wanted: string): Promise<string> {
  for (let number = 1; ; number++) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    const taken = await lstat(name).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return false;
        throw error;
      },
    );
    if (!taken) return name;
  }
}

async function filled(folder: string): Promise<boolean> {
  return (await list(folder)).length > 0;
}

async function walFiles(folder: string): Promise<string[]> {
  return (await list(folder)).filter((name) => name.endsWith('.wal')).toSorted();
}

async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
}
