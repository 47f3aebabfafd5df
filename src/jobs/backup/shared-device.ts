/**
 * Notices when the backup is written to the disk that an etcd of this machine writes its log to: spool and local store beside
 * etcd's WAL have cost leader elections (hazards H29; ionice does not govern fsync). It warns, it never refuses.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** One sentence when `folder` shares a device with etcd's data directory, else undefined. Unreadable places count as not shared. */
export async function sharedDeviceWarning(folder: string, configured: string | undefined): Promise<string | undefined> {
  const device = await deviceOf(folder);
  if (device === undefined) return undefined;
  for (const dataDir of configured === undefined ? await localDataDirs() : [configured]) {
    if ((await deviceOf(dataDir)) === device) {
      return `${folder} is on the same device as etcd's data directory ${dataDir}: writing backups there can delay etcd's own fsync; another disk, or backup.maxRate, spares it`;
    }
  }
  return undefined;
}

/** Device of the nearest existing folder: the store itself may not have been made yet. */
async function deviceOf(path: string): Promise<number | undefined> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      return (await stat(at)).dev;
    } catch {
      // Absent or not ours to see: look at its parent. The warning is a courtesy, no backup depends on it.
      if (at === dirname(at)) return undefined;
    }
  }
}

/** Data directories of the etcd processes that this user may look at. Linux only; elsewhere none are found. */
async function localDataDirs(): Promise<string[]> {
  const found = new Set<string>();
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const dataDir = await dataDirOf(pid).catch(() => undefined);
    if (dataDir !== undefined) found.add(dataDir);
  }
  return [...found];
}

async function dataDirOf(pid: string): Promise<string | undefined> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  return /(^|\/)etcd$/.test(words[0] ?? '') ? dataDirFromArguments(words) : undefined;
}

/** `--data-dir X`, `--data-dir=X`, with one or two dashes as Go's flag package takes them. */
export function dataDirFromArguments(words: readonly string[]): string | undefined {
  for (const [index, word] of words.entries()) {
    const match = /^--?data-dir(?:=(.*))?$/s.exec(word);
    if (match) return match[1] ?? words[index + 1];
  }
  return undefined;
}
