/** The SELinux label of what takes the place of something else: a new one has that of the folder around it, with which etcd may not be let in. */
import { readdir } from 'node:fs/promises';
import { asError, WardenError } from '../../../errors.ts';
import { command } from './command.ts';

const SELINUX = '/sys/fs/selinux';

/** Gives a file or an empty folder the label of another one. Does nothing where the kernel has no SELinux. @throws WardenError `refused` */
export async function labelLike(reference: string, path: string, signal: AbortSignal): Promise<void> {
  // An empty folder is the mount point without the file system.
  if ((await readdir(SELINUX).catch(() => [])).length === 0) return;
  try {
    await command('chcon', [`--reference=${reference}`, path], signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new WardenError('refused', `${path} cannot have the SELinux label of ${reference}: ${asError(error).message}`, {
      hint: 'nothing was moved or changed; run it as root in a domain that may relabel files',
      cause: error,
    });
  }
}
