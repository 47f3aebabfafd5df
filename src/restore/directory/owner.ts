/** Who owns what a restore makes: whoever owned what it replaces, or else the folder around it. etcd runs as a user of its own on most machines. */
import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import { chmod, lchown, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError } from '../../archive/disk-errors.ts';
import { WardenError } from '../../errors.ts';
import { refused, type Spot } from './place.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const LABEL_WITHIN_MS = 60_000;

/** Only whoever may give files away follows the folder around: in /tmp, say, all of it is root's. */
export async function ownerOf({ present, around }: Spot, wanted: Owner | undefined): Promise<Owner> {
  if (wanted !== undefined) return wanted;
  const model = present ?? (isRoot() ? await stat(around) : undefined);
  return model === undefined ? ourselves() : { uid: model.uid, gid: model.gid };
}

/** @throws WardenError `refused` when this process may not give files to that owner */
export function checkOwner(folder: string, { uid, gid }: Owner): void {
  if (isRoot()) return;
  const groups = [process.getgid?.(), ...(process.getgroups?.() ?? [])];
  if (uid === process.getuid?.() && groups.includes(gid)) return;
  throw refused(
    `${folder} is to belong to user ${uid} and group ${gid}, and this process, of user ${process.getuid?.()}, may not give files away`,
    `run it as root, or as that user: sudo -u '#${uid}' etcd-warden restore ...`,
  );
}

/** Gives a folder with all below it away, its own mode last. @throws WardenError `disk-failed`, `disk-full` */
export async function giveTo(folder: string, { uid, gid }: Owner, like: Stats | undefined): Promise<void> {
  try {
    const us = ourselves();
    if (uid !== us.uid || gid !== us.gid) {
      const names = await readdir(folder, { recursive: true });
      for (const name of names) await lchown(join(folder, name), uid, gid);
      await lchown(folder, uid, gid);
    }
    if (like !== undefined) await chmod(folder, like.mode & 0o7777);
  } catch (error) {
    throw await diskError(error, 'give away', folder, 0);
  }
}

/**
 * Gives a folder with all below it the SELinux label of another one. Does nothing where the kernel has no SELinux: new files have the label of the folder around
 * them then as now, which is right where nothing is replaced.
 * @throws WardenError `refused`: with another label etcd would not be let in
 */
export async function labelLike(
  reference: string,
  folder: string,
  signal: AbortSignal,
  { selinux, chcon }: { selinux: string; chcon: string } = { selinux: '/sys/fs/selinux', chcon: 'chcon' },
): Promise<void> {
  // An empty folder is the mount point without the file system.
  if ((await readdir(selinux).catch(() => [])).length === 0) return;
  const args = ['--recursive', `--reference=${reference}`, folder];
  const failure = await new Promise<string | undefined>((resolve) => {
    execFile(chcon, args, { env: { PATH: process.env['PATH'], LANG: 'C' }, timeout: LABEL_WITHIN_MS, signal }, (error, _, said) =>
      resolve(error === null ? undefined : said.trim() || error.message),
    );
  });
  signal.throwIfAborted();
  if (failure === undefined) return;
  throw new WardenError('refused', `${folder} cannot have the SELinux label of ${reference}: ${failure}`, {
    hint: 'run it as root in a domain that may relabel files, or restore to a new directory and use restorecon on it',
  });
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

function ourselves(): Owner {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}
