/** Small files of ours outside the stores: what the daemon and the verbs remember in the state folder. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces a file as a whole: a crash, and a reader in between, find the old one or the new one, and a failure leaves the old one. The folder is made (0700), the file
 * is 0600. Written beside under a name of this process, since a verb may run beside the daemon.
 * @param synced before it gets its name: without, a power cut may leave an empty one, which is right where a look at the stores or the cluster makes up for it
 * @throws whatever the file system says
 */
export async function replaceSmallFile(path: string, text: string, { synced }: { readonly synced: boolean }): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.${process.pid}.next`;
  try {
    const file = await open(next, 'w', 0o600);
    try {
      await file.writeFile(text);
      if (synced) await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
}
