/**
 * Making a durable file visible under its final name, only if that name is free.
 *
 * A hard link does both in one call: link(2) fails with EEXIST, where rename(2) would replace. File systems without hard links
 * (some network and FUSE ones) get a look and a rename; there two writers of one key could race, but keys hold random ids.
 */
import { link, lstat, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crashPoint } from '../../crash-points.ts';
import { exists } from '../object-errors.ts';
import { isErrno } from './errors.ts';
import { makeFoldersOf, pathOf, syncFolder } from './folders.ts';

const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** Publishes the synced file `temporary` as `key`; the temporary name is gone afterwards. */
export async function publish(root: string, temporary: string, key: string): Promise<void> {
  const target = await pathOf(root, key);
  crashPoint('before-rename');
  for (let attempt = 0; ; attempt++) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- again only when another delete removed the empty folder meanwhile
      await makeFoldersOf(root, key);
      // oxlint-disable-next-line no-await-in-loop -- see above
      await linkOrRename(root, temporary, target, key);
      break;
    } catch (error) {
      if (attempt === 3 || !isErrno(error, 'ENOENT')) throw error;
      // oxlint-disable-next-line no-await-in-loop -- see above
      await lstat(temporary); // the spool itself is gone: that does not heal
    }
  }
  crashPoint('after-rename');
  crashPoint('before-dir-fsync');
  await syncFolder(dirname(target));
  crashPoint('after-dir-fsync');
  await unlink(temporary).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error; // renamed, or its owner was quicker
  });
}

async function linkOrRename(root: string, temporary: string, target: string, key: string): Promise<void> {
  try {
    await link(temporary, target);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw exists(root, key);
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    if ((await lstat(target).catch(() => undefined)) !== undefined) throw exists(root, key);
    await rename(temporary, target);
  }
}
