/**
 * What a restore leaves that was killed: folders in which it was building, and, where the WAL has a directory of its own, a pair of directories on which etcd does not
 * start (publish.ts says why). Both are recognised by the process that made them, and removed by the next restore to the same place.
 */
import { lstat, readdir, readFile, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../../store/local/folders.ts';
import { isLeftBehind } from '../../store/temporary.ts';
import { BLOCKER, stagingName, type Place, type Spot } from './place.ts';

/** What the file says that keeps etcd from starting on an unfinished pair. */
export interface Blocker {
  /** `temporaryName()` of whoever makes the pair. */
  readonly writer: string;
  /** What belongs to it: its path once it is in its place, and the inode that it has from the beginning, both numbers decimal. */
  readonly data: { readonly path: string; readonly dev: string; readonly ino: string };
}

export interface Leftovers {
  /** Folders that were built in. */
  readonly staging: readonly string[];
  /** The half of an unfinished pair that lies in the place of the data directory, if it came so far. */
  readonly data: string | undefined;
  /** The WAL directory holds the file that says so. */
  readonly blocked: boolean;
}

/** The ones of another machine or container count as left behind when nothing was written there for so long, ms. */
const ABANDONED_AFTER_MS = 3_600_000;

/** Looks only. */
export async function findLeftovers({ data, wal }: Place): Promise<Leftovers> {
  const staging = [...(await stagingOf(data)), ...(wal === undefined ? [] : await stagingOf(wal))];
  const blocker = wal === undefined ? undefined : await readBlocker(wal);
  if (blocker === undefined) return { staging, data: undefined, blocked: false };
  const { path, dev, ino } = blocker.data;
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  if (found === undefined || `${found.dev}:${found.ino}` !== `${dev}:${ino}`) return { staging, data: undefined, blocked: true };
  // Whoever may write to the WAL directory may have written this: what it names is removed only where it can be nothing else.
  const ours = (path === data.folder || path === join(data.folder, 'member')) && !(await hasLog(path));
  return { staging, data: ours ? path : undefined, blocked: ours };
}

/** An etcd that was started on it without its WAL directory made a log of its own, and it is somebody's data since. */
async function hasLog(path: string): Promise<boolean> {
  const found = await Promise.all([join(path, 'wal'), join(path, 'member', 'wal')].map((log) => lstat(log).catch(() => undefined)));
  return found.some((each) => each !== undefined);
}

export async function removeLeftovers({ data, wal }: Place, leftovers: Leftovers): Promise<void> {
  for (const path of leftovers.staging) await removeTree(path);
  // While the file is there, etcd starts on neither half: it goes last.
  if (leftovers.data !== undefined) {
    await removeTree(leftovers.data);
    await syncFolder(data.around);
  }
  if (!leftovers.blocked || wal === undefined) return;
  await rm(join(wal.folder, BLOCKER), { force: true });
  // What is left in it is an old log that was moved away.
  if (wal.way === 'beside') await rmdir(wal.folder).catch(() => undefined);
  await syncFolder(wal.around);
}

/** A killed etcdutl may still write for a moment. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

async function stagingOf({ folder, around }: Spot): Promise<readonly string[]> {
  const prefix = stagingName(folder, '');
  const names = await readdir(around).catch(() => []); // not ours to see: then nothing of ours is in there
  const found: string[] = [];
  for (const name of names.filter((each) => each.startsWith(prefix))) {
    const path = join(around, name);
    if (isLeftBehind(name.slice(prefix.length), Date.now() - (await youngestMs(path)), ABANDONED_AFTER_MS) === true) found.push(path);
  }
  return found;
}

/** Of an unfinished pair whose maker is dead. With a log in there, the pair is whole. */
async function readBlocker({ folder, present, occupants }: Spot): Promise<Blocker | undefined> {
  if (present === undefined || occupants.some((name) => name !== BLOCKER)) return undefined;
  try {
    const path = join(folder, BLOCKER);
    const blocker = JSON.parse(await readFile(path, 'utf8')) as Blocker;
    const { mtimeMs } = await stat(path);
    return isLeftBehind(blocker.writer, Date.now() - mtimeMs, ABANDONED_AFTER_MS) === true ? blocker : undefined;
  } catch {
    return undefined; // none, or none of ours: then the directory is not empty, which is said
  }
}

/** When anything in it was last written to, ms since 1970. */
async function youngestMs(path: string): Promise<number> {
  const names = await readdir(path, { recursive: true }).catch(() => []);
  const times = await Promise.all(
    ['', ...names].map((name) =>
      stat(join(path, name)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  return Math.max(...times);
}
