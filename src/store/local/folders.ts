/** The folders of a local store: made 0700, their names synced, and never behind a symbolic link. */
import { lstat, mkdir, open, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WardenError } from '../../errors.ts';
import { isErrno } from './errors.ts';

/**
 * Where no backup is ever written, whatever the path in the configuration resolves to: system folders with all below them, and
 * folders that only hold other folders. A root that is a symbolic link is followed once, and then judged by where it leads.
 */
const SYSTEM = ['/bin', '/boot', '/dev', '/etc', '/lib', '/lib32', '/lib64', '/proc', '/sbin', '/sys', '/usr'];
const NEVER_THEMSELVES = ['/', '/home', '/media', '/mnt', '/opt', '/root', '/run', '/srv', '/tmp', '/var', '/var/lib', '/var/tmp'];

/** Looks at the root without making anything. Undefined when it is not there yet. @throws WardenError when it can never be a store */
export async function resolveRoot(path: string): Promise<string | undefined> {
  let resolved: string;
  try {
    resolved = await realpath(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    refuseSystem(path, path);
    // A dangling link is not "not there yet": making its target would write to a place nobody named.
    if ((await lstat(path).catch(() => undefined)) !== undefined)
      throw new WardenError('store-unavailable', `${path} is a symbolic link that leads nowhere`);
    return undefined;
  }
  refuseSystem(path, resolved);
  if (!(await stat(resolved)).isDirectory()) {
    throw new WardenError('store-unavailable', `${path} is a file, not a folder`, { hint: 'a local store needs a folder of its own' });
  }
  return resolved;
}

function refuseSystem(path: string, resolved: string): void {
  const shared = resolved === '/dev/shm' ? false : !resolved.startsWith('/dev/shm/');
  const below = SYSTEM.some((folder) => resolved === folder || (resolved.startsWith(`${folder}/`) && shared));
  if (!below && !NEVER_THEMSELVES.includes(resolved)) return;
  const leads = resolved === path ? '' : ` leads to ${resolved}, which`;
  throw new WardenError('refused', `${path}${leads} belongs to the system`, {
    hint: 'name a folder of its own, for example /var/backups/etcd',
  });
}

/** Makes `folder` and what is missing above it, 0700. Its names are on the disk only after {@link anchor}. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return refuseLink(folder);
    if (!isErrno(error, 'ENOENT')) throw error;
    await makeFolder(dirname(folder));
    return makeFolder(folder);
  }
}

/**
 * Sees to it that no loss of power takes the folder's own name away, nor one above it up to where its file system is mounted. Also for folders that
 * were there already: who made them, an earlier run that was killed, or this one for its spool, may not have come to sync them.
 */
export async function anchor(folder: string): Promise<void> {
  const { dev } = await stat(folder);
  for (let at = folder; at !== '/'; at = dirname(at)) {
    const parent = dirname(at);
    // oxlint-disable-next-line no-await-in-loop -- upwards
    if ((await stat(parent)).dev !== dev) return;
    // oxlint-disable-next-line no-await-in-loop -- upwards
    const above = await open(parent, 'r').catch((error: unknown) => {
      // Whoever may not even list it has made nothing there.
      if (isErrno(error, 'EACCES') || isErrno(error, 'EPERM')) return undefined;
      throw error;
    });
    if (above === undefined) return;
    try {
      // oxlint-disable-next-line no-await-in-loop -- upwards
      await above.sync();
    } finally {
      // oxlint-disable-next-line no-await-in-loop -- upwards
      await above.close();
    }
  }
}

/** Makes the folders between root and the object's name. The root itself must be there: it may be a disk that was unmounted. */
export async function makeFoldersOf(root: string, key: string): Promise<void> {
  const names = key.split('/').slice(0, -1);
  let folder = root;
  for (const name of names) {
    const parent = folder;
    folder = join(folder, name);
    try {
      // oxlint-disable-next-line no-await-in-loop -- from the root downwards
      await mkdir(folder, { mode: 0o700 });
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      // oxlint-disable-next-line no-await-in-loop -- from the root downwards
      await refuseLink(folder);
    }
    // Also when it was there: who made it may have been killed before it came to this.
    // oxlint-disable-next-line no-await-in-loop -- from the root downwards
    await syncFolder(parent);
  }
}

/** Path of the object, when no folder on the way is a link to elsewhere. Missing folders are left to the call that follows. */
export async function pathOf(root: string, key: string): Promise<string> {
  const names = key.split('/');
  let path = root;
  for (const name of names.slice(0, -1)) {
    path = join(path, name);
    // oxlint-disable-next-line no-await-in-loop -- from the root downwards
    await refuseLink(path);
  }
  return join(path, names.at(-1) ?? '');
}

/** A new or removed name survives a power loss only when its folder is synced. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function refuseLink(folder: string): Promise<void> {
  const found = await lstat(folder).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (found === undefined || found.isDirectory()) return;
  const what = found.isSymbolicLink()
    ? 'is a symbolic link; a store follows no links below its own folder'
    : 'is a file where a folder is needed';
  throw new WardenError('refused', `${folder} ${what}`);
}
