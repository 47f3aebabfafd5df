/** Files of configuration that are changed in place: a copy first, then a whole new file in the place of the old one. */
import { copyFile, open, rename, rm, stat } from 'node:fs/promises';
import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { labelLike } from './label.ts';

/** A copy beside nothing that anybody reads; never over an existing file. @returns its path */
export async function keepCopy(path: string, wanted: string): Promise<string> {
  for (let number = 1; ; number++) {
    const to = number === 1 ? wanted : `${wanted}-${number}`;
    try {
      await copyFile(path, to, constants.COPYFILE_EXCL);
      return to;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** With owner, mode and SELinux label of the old one; a crash leaves the one or the other. The name on the way begins with a dot, which the kubelet passes over. */
export async function replaceFile(path: string, text: string, signal: AbortSignal): Promise<void> {
  const before = await stat(path);
  const next = join(dirname(path), `.${basename(path)}.${process.pid}.next`);
  try {
    const file = await open(next, 'wx', before.mode & 0o7777);
    try {
      await file.writeFile(text);
      await file.chmod(before.mode & 0o7777);
      await file.chown(before.uid, before.gid).catch((error: NodeJS.ErrnoException) => {
        // Only root may give a file away; whoever may not owns the old one too, or could not replace it.
        if (error.code !== 'EPERM') throw error;
      });
      await file.sync();
    } finally {
      await file.close();
    }
    await labelLike(path, next, signal);
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
}

/** From one folder to another, over file systems too; under its own name only when it is whole. */
export async function moveFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    const next = join(dirname(to), `.${basename(to)}.${process.pid}.next`);
    const { mode, uid, gid } = await stat(from);
    await copyFile(from, next);
    const file = await open(next, 'r+');
    try {
      await file.chmod(mode & 0o7777);
      await file.chown(uid, gid);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, to);
    await rm(from);
  }
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
      throw error;
    },
  );
}
