/** Objects below a folder in the order of their keys, one folder's names in memory at a time. */
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { compareKeys, TEMPORARY_FOLDER } from '../keys.ts';
import type { ObjectInfo } from '../types.ts';
import { isErrno } from './errors.ts';

export interface ListWindow {
  readonly prefix: string;
  /** Only keys after this one; empty = all. */
  readonly startAfter: string;
  readonly signal: AbortSignal;
}

/** Walks `root`; links and everything that is no plain file are passed over. */
export async function* walk(root: string, window: ListWindow, below = ''): AsyncGenerator<ObjectInfo> {
  for (const { key, isFolder } of await entries(root, below)) {
    window.signal.throwIfAborted();
    if (isFolder) {
      // `key` ends with a slash here; all keys below start with it.
      const mayMatch = key.startsWith(window.prefix) || window.prefix.startsWith(key);
      const mayFollow = window.startAfter.startsWith(key) || compareKeys(key, window.startAfter) > 0;
      if (mayMatch && mayFollow) yield* walk(root, window, key);
    } else if (key.startsWith(window.prefix) && compareKeys(key, window.startAfter) > 0) {
      // oxlint-disable-next-line no-await-in-loop -- a stream: the reader may stop at any object
      const info = await infoOf(join(root, key), key);
      if (info !== undefined) yield info;
    }
  }
}

/** Undefined when it is gone meanwhile, or no plain file. */
export async function infoOf(path: string, key: string): Promise<ObjectInfo | undefined> {
  try {
    const stat = await lstat(path);
    return stat.isFile() ? { key, size: stat.size, modified: stat.mtime } : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

async function entries(root: string, below: string): Promise<{ key: string; isFolder: boolean }[]> {
  let names: Dirent[];
  try {
    names = await readdir(join(root, below), { withFileTypes: true });
  } catch (error) {
    if (below !== '' && isErrno(error, 'ENOENT')) return []; // removed while we walked: it was empty
    throw error;
  }
  return names
    .filter((entry) => (entry.isFile() || entry.isDirectory()) && !(below === '' && entry.name === TEMPORARY_FOLDER))
    .map((entry) => ({ key: below + entry.name + (entry.isDirectory() ? '/' : ''), isFolder: entry.isDirectory() }))
    .sort((a, b) => compareKeys(a.key, b.key));
}
