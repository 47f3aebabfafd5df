/** What the kernel says about a local file, as errors that name the path and what to do. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asError, WardenError } from '../errors.ts';

/** ENOSPC: the disk; EDQUOT: the user's share of it; EFBIG: the process's limit (ulimit -f) or the file system's. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * @param verb what was tried, e.g. `write`.
 * @param neededBytes how much more was to be written, as far as known.
 */
export async function diskError(thrown: unknown, verb: string, path: string, neededBytes: number): Promise<WardenError> {
  if (thrown instanceof WardenError) return thrown;
  const error = asError(thrown);
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (FULL.has(code)) {
    const free = await freeBytes(dirname(path));
    return new WardenError(
      'disk-full',
      `cannot ${verb} ${path}: ${reasonOf(code)}, ${free ?? 'unknown'} bytes free, about ${neededBytes} more needed`,
      {
        hint: 'free space there, or keep the spool on a larger disk',
        cause: error,
      },
    );
  }
  return new WardenError('disk-failed', `cannot ${verb} ${path}: ${code === '' ? error.message : reasonOf(code)}`, {
    hint: hintOf(code),
    cause: error,
  });
}

/** Bytes that an ordinary user can still write in a folder; undefined when the system does not tell. */
async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return undefined; // only decorates the error that is being made
  }
}

function reasonOf(code: string): string {
  return REASONS[code] ?? code;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device (ENOSPC)',
  EDQUOT: 'disk quota used up (EDQUOT)',
  EFBIG: 'the file would be larger than allowed (EFBIG)',
  EIO: 'the device failed (EIO)',
  EROFS: 'the file system is read-only (EROFS)',
  EACCES: 'permission denied (EACCES)',
  EPERM: 'not permitted (EPERM)',
  ENOENT: 'no such folder (ENOENT)',
  ENOTDIR: 'a part of the path is not a folder (ENOTDIR)',
  EEXIST: 'it exists already (EEXIST)',
  ELOOP: 'it is a symbolic link (ELOOP)',
};

function hintOf(code: string): string | undefined {
  if (code === 'EIO') return 'what was written may be lost: look at the kernel log, do not trust this disk';
  if (code === 'EROFS') return 'a file system that turned read-only has usually met an error: look at the kernel log';
  if (code === 'EACCES' || code === 'EPERM') return 'the user that runs etcd-warden needs rights to it and to the folders around it';
  return undefined;
}
