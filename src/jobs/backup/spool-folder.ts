/**
 * Where the spool of a running backup lies: in the first local store's own temporary folder, so that publishing is a hard link and
 * not a copy; else in the state folder.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { asError, WardenError } from '../../errors.ts';
import type { Store } from '../../store/types.ts';

/** @throws WardenError `refused` when the state folder cannot be made */
export async function spoolFolder(stores: readonly Store[], stateDir: string): Promise<string> {
  const local = stores.find((store) => store.spoolFolder !== undefined)?.spoolFolder;
  const folder = local ?? join(stateDir, 'spool');
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new WardenError('refused', `the spool folder ${folder} cannot be made: ${asError(error).message}`, {
      hint: 'name a folder that can be written with stateDir, --state-dir or ETCD_WARDEN_STATE_DIR',
      cause: error,
    });
  }
  return folder;
}

/** @throws WardenError `disk-full` when the spool would not fit, before its first byte is written; `disk-failed` when the folder is gone */
export async function checkSpool(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder).catch((error: unknown) => {
    // By its name: no other member would do better.
    throw new WardenError('disk-failed', `the spool folder ${folder} cannot be used: ${asError(error).message}`, {
      hint: 'was the folder removed, or its disk unmounted?',
      cause: error,
    });
  });
  const free = bavail * bsize;
  if (free >= neededBytes) return;
  throw new WardenError('disk-full', `the spool folder ${folder} has ${free} bytes free, about ${neededBytes} are needed`, {
    hint: 'free space there, or put the spool on a larger disk with stateDir or a local store',
  });
}
