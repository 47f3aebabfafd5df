/** Who holds a lock on a file: bbolt takes flock(2) on the database for as long as it is open, so that a lock means a running etcd. */
import { readFile, stat } from 'node:fs/promises';

/**
 * @returns whether any process holds a lock on the file; false when there is no such file. Processes in other containers are seen from the host only; inside of
 *   a container with a process namespace of its own the kernel hides them.
 * @throws whatever the file system says, but for a missing file
 */
export async function isLocked(path: string): Promise<boolean> {
  const file = await stat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (file === undefined) return false;
  return lockedInodes(await readFile('/proc/locks', 'utf8')).has(`${file.ino}`);
}

/** Inodes of all locks that are held, as `/proc/locks` lists them; device numbers there are not those of stat on btrfs and overlayfs, so the inode alone counts. */
export function lockedInodes(text: string): ReadonlySet<string> {
  const inodes = text.split('\n').flatMap((line) => {
    // `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`; lines with `->` wait for a lock and hold none.
    const match = /^\d+: (?!->)\w+\s+\w+\s+\w+\s+-?\d+\s+[0-9a-f]+:[0-9a-f]+:(\d+)\s/.exec(line);
    return match === null ? [] : [match[1]!];
  });
  return new Set(inodes);
}
