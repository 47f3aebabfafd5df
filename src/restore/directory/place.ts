/**
 * Where the directories of one member come to lie, and by which renames. A directory is built beside its place and renamed; where the place is a mount point, which
 * nothing can be renamed onto, it is built inside and its one entry that etcd looks at is renamed.
 */
import { constants, type Stats } from 'node:fs';
import { access, lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { WardenError } from '../../errors.ts';
import type { BuildTarget } from '../types.ts';
import { isWithin, readMounts, type Mount } from './mounts.ts';

/** One directory that etcd is given. */
export interface Spot {
  /** Without links. */
  readonly folder: string;
  readonly way: 'beside' | 'inside';
  /** The folder in which it is built: same file system. */
  readonly around: string;
  /** What is there now. */
  readonly present: Stats | undefined;
  /** Names in it that stand in the way of a restore; not what file systems, and restores before this one, leave there. */
  readonly occupants: readonly string[];
}

export interface Place {
  readonly target: BuildTarget;
  readonly data: Spot;
  /** Undefined: it lies inside of what is renamed for the data directory. */
  readonly wal: Spot | undefined;
  /** Where the WAL lies in the data directory when `wal` is undefined, `member/wal` unless told. */
  readonly walInside: string;
  /** Beside the data directory; inside of it where that folder cannot be written to, as in a container with a volume. */
  readonly recordPath: string;
}

/** What the record's name ends in. */
export const RECORD = '.restore.json';
/** What a name gets that is moved out of the way. */
export const KEPT = '.before-restore-';
/** Lies in a WAL directory that is not complete: see publish.ts. */
export const BLOCKER = 'unfinished-restore.wal';

const STAGING = /^\..*\.restore-(?=warden-)/;
/** At the top of an ext file system. */
const OF_FILE_SYSTEMS: ReadonlySet<string> = new Set(['lost+found']);

/** Of the folder in which the directory is built. */
export function stagingName(folder: string, writer: string): string {
  return `.${basename(folder).slice(0, 100)}.restore-${writer}`;
}

/** Looks, and makes nothing. @throws WardenError `refused` for what can never be a place */
export async function findPlace(target: BuildTarget): Promise<Place> {
  const mounts = await readMounts();
  const dataFolder = await resolveFolder(target.dataDir, 'data directory');
  const walFolder = target.walDir === undefined ? undefined : await resolveWal(target.walDir, target.dataDir, dataFolder);
  if (walFolder === dataFolder)
    throw refused(`the WAL directory ${walFolder} is the data directory itself`, 'without --wal-dir it is member/wal in there');
  if (walFolder !== undefined && isWithin(dataFolder, walFolder))
    throw refused(
      `the data directory ${dataFolder} lies inside of the WAL directory ${walFolder}`,
      'etcd wants a WAL directory of its own',
    );
  const data = await findSpot(dataFolder, 'data directory', mounts, walFolder);
  // What is renamed as one must hold it: the whole data directory, or `member` in it where that is a mount point.
  const unit = data.way === 'beside' ? dataFolder : join(dataFolder, 'member');
  const within = walFolder === undefined || isWithin(walFolder, unit);
  return {
    target,
    data,
    wal: within ? undefined : await findSpot(walFolder, 'WAL directory', mounts, undefined),
    walInside: walFolder === undefined ? join('member', 'wal') : relative(dataFolder, walFolder),
    recordPath: await findRecordPath(dataFolder),
  };
}

async function findRecordPath(dataFolder: string): Promise<string> {
  const name = `${basename(dataFolder)}${RECORD}`;
  const writable = await canWrite(dirname(dataFolder));
  return join(writable ? dirname(dataFolder) : dataFolder, name);
}

async function findSpot(folder: string, what: string, mounts: readonly Mount[], walFolder: string | undefined): Promise<Spot> {
  const present = await stat(folder).catch(() => undefined);
  if (present !== undefined && !present.isDirectory()) throw refused(`the ${what} ${folder} is a file`, 'etcd wants a directory');
  const inside = present !== undefined && mounts.some(({ path }) => isWithin(path, folder));
  const around = inside ? folder : dirname(folder);
  return {
    folder,
    way: inside ? 'inside' : 'beside',
    around,
    present,
    occupants: present === undefined ? [] : await occupantsOf(folder, inside, what, walFolder),
  };
}

async function occupantsOf(folder: string, inside: boolean, what: string, walFolder: string | undefined): Promise<readonly string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw refused(
      `the ${what} ${folder} cannot be looked into: ${(error as Error).message}`,
      'run this as the user that etcd runs as, or as root',
    );
  }
  const isWal = what.startsWith('WAL');
  if (!inside && !isWal) return names;
  return names.filter((name) => {
    if (OF_FILE_SYSTEMS.has(name) || STAGING.test(name) || name.includes(KEPT)) return false;
    if (name === `${basename(folder)}${RECORD}`) return false;
    return walFolder === undefined || !isWithin(walFolder, join(folder, name));
  });
}

/** One inside of the data directory comes and goes with it. */
async function resolveWal(path: string, dataDir: string, dataFolder: string): Promise<string> {
  if (!isWithin(resolve(path), resolve(dataDir))) return resolveFolder(path, 'WAL directory');
  const inside = join(dataFolder, relative(resolve(dataDir), resolve(path)));
  const real = await realpath(inside).catch(() => inside);
  if (real === inside) return inside;
  // With the data directory the link would go, and etcd would start without its log on data that is there: as a new cluster.
  throw refused(
    `the WAL directory ${path} is a link in the data directory to ${real}, and would be lost with it`,
    `start etcd with --wal-dir ${real} and restore with the same`,
  );
}

/** A link is followed: what it names is what etcd uses. */
async function resolveFolder(path: string, what: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw refused(
        `the ${what} ${path} cannot be looked at: ${(error as Error).message}`,
        'run this as the user that etcd runs as, or as root',
      );
  }
  if ((await lstat(path).catch(() => undefined)) !== undefined)
    throw refused(`the ${what} ${path} is a symbolic link that leads nowhere`, 'make the directory that it names, or remove the link');
  let parent: string;
  try {
    parent = await realpath(dirname(path));
  } catch (error) {
    throw refused(`there is no folder ${dirname(path)} for the ${what} ${path}: ${(error as Error).message}`, `mkdir -p ${dirname(path)}`);
  }
  return join(parent, basename(path));
}

export async function canWrite(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}

export function refused(sentence: string, hint: string): WardenError {
  return new WardenError('refused', sentence, { hint });
}

export function occupiedMeanwhile(path: string): WardenError {
  return refused(
    `${path} came to hold something while the restore was being built`,
    'etcd was started meanwhile, or another restore ran: stop it and restore again',
  );
}
