/** Deleting objects from a folder, and the folders that become empty by it. */
import { rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DeleteResult } from '../types.ts';
import { isErrno } from './errors.ts';
import { pathOf, syncFolder } from './folders.ts';

/** Deletes durably; what the file system refuses to let go (chattr +i, +a) is kept, not an error: it would only come again. */
export async function deleteObject(root: string, key: string): Promise<DeleteResult> {
  const path = await pathOf(root, key);
  try {
    await unlink(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { outcome: 'absent' };
    if (isErrno(error, 'EPERM'))
      return { outcome: 'kept', until: undefined, reason: 'the file system refuses to remove it (immutable or append-only)' };
    throw error;
  }
  await syncFolder(dirname(path));
  await removeEmptyFolders(root, dirname(path));
  return { outcome: 'deleted' };
}

/** Best effort and not synced: an empty folder that stays, or comes back after a power loss, holds no object and harms nobody. */
async function removeEmptyFolders(root: string, folder: string): Promise<void> {
  for (let at = folder; at !== root && at.startsWith(`${root}/`); at = dirname(at)) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- upwards
      await rmdir(at);
    } catch {
      return;
    }
  }
}
