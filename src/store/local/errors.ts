/** What the system's error numbers mean for a folder that holds backups. */
import { statfs } from 'node:fs/promises';
import { asError, type ErrorCode, WardenError } from '../../errors.ts';

const MEANINGS: Readonly<Record<string, { code: ErrorCode; text: string; hint?: string }>> = {
  ENOENT: { code: 'store-unavailable', text: 'is not there', hint: 'was the folder removed, or its disk unmounted?' },
  ENOTDIR: { code: 'store-unavailable', text: 'is no folder, or lies below something that is none' },
  EROFS: { code: 'store-unavailable', text: 'lies on a read-only file system' },
  EACCES: { code: 'store-denied', text: 'may not be used by this user' },
  EPERM: { code: 'store-denied', text: 'may not be changed by this user' },
  ELOOP: { code: 'refused', text: 'is a symbolic link', hint: 'a store follows no links below its own folder' },
  EIO: { code: 'disk-failed', text: 'failed with an input/output error', hint: 'check the disk (dmesg); nothing of this write is used' },
};

/** Whether the file system has no room: no space, or no quota. */
export function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
}

/** True when the error carries that number, for example `ENOENT`. */
export function isErrno(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === code;
}

/** What a call on the folder `path` threw, as an error to show; what is no error of the system stays what it is. `needed`: bytes that were to be written. */
export async function localError(error: unknown, path: string, needed?: number): Promise<unknown> {
  const errno = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof WardenError || typeof errno !== 'string' || !/^E[A-Z0-9]+$/.test(errno)) return error;
  if (isFull(error)) return diskFull(path, await freeBytes(path), needed, error);
  const meaning = MEANINGS[errno];
  if (meaning === undefined) return new WardenError('disk-failed', `${path} failed: ${asError(error).message}`, { cause: error });
  return new WardenError(meaning.code, `${path} ${meaning.text} (${errno})`, { hint: meaning.hint, cause: error });
}

/** The one sentence about a full disk: path, free and needed bytes. */
export function diskFull(path: string, free: number | undefined, needed: number | undefined, cause?: unknown): WardenError {
  const figures = `${free ?? 'unknown'} bytes free, ${needed ?? 'more'} needed`;
  return new WardenError('disk-full', `${path} has no room: ${figures}`, { hint: 'make room, prune, or name another folder', cause });
}

/** Bytes that this user may still write at `path` or, where that is not there, at the nearest folder above. */
export async function freeBytes(path: string): Promise<number | undefined> {
  for (let at = path; ; at = at.slice(0, at.lastIndexOf('/')) || '/') {
    try {
      // oxlint-disable-next-line no-await-in-loop -- upwards until there is something
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch {
      if (at === '/') return undefined;
    }
  }
}
