/** Files and folders that survive a loss of power: each is synced, and so is the folder that holds its name. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError } from '../../archive/disk-errors.ts';
import { syncFolder } from '../../store/local/folders.ts';

/** Writes a file that must not exist, 0600. `length`: zeros follow up to there, which take no room yet. @throws WardenError `disk-full`, `disk-failed` */
export async function writeNew(path: string, bytes: Uint8Array, length = bytes.length): Promise<void> {
  try {
    await using handle = await open(path, 'wx', 0o600);
    await handle.chmod(0o600); // the umask may have taken the owner's bits
    await handle.writeFile(bytes);
    if (length > bytes.length) await handle.truncate(length);
    await handle.sync();
  } catch (error) {
    throw await diskError(error, 'write', path, bytes.length);
  }
}

/** Every file and folder below and including `folder`. @throws WardenError `disk-failed` */
export async function syncTree(folder: string): Promise<void> {
  try {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await syncTree(path);
      else await syncFile(path);
    }
    await syncFolder(folder);
  } catch (error) {
    throw await diskError(error, 'sync', folder, 0);
  }
}

async function syncFile(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}
