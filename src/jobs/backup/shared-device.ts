/**
 * Notices when the backup is written to the disk that an etcd of this machine writes its log to: spool and local store beside
 * etcd's WAL have cost leader elections (hazards H29; ionice does not govern fsync). It warns, it never refuses.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * One sentence when `folder` shares a device with etcd's data directory, else undefined. Unreadable places count as not shared.
 * @param endpoints of the members: an etcd of another cluster on this machine is none of this backup's business
 */
export async function sharedDeviceWarning(
  folder: string,
  configured: string | undefined,
  endpoints: readonly string[],
): Promise<string | undefined> {
  const dataDir = await dataDirBeside(folder, configured, endpoints);
  return dataDir === undefined
    ? undefined
    : `${folder} is on the same device as etcd's data directory ${dataDir}: writing backups there can delay etcd's own fsync; another disk, or backup.maxRate, spares it`;
}

/** The data directory of an etcd on the device of `folder`, else undefined. Unreadable places count as elsewhere. */
export async function dataDirBeside(
  folder: string,
  configured: string | undefined,
  endpoints: readonly string[],
): Promise<string | undefined> {
  const device = await deviceOf(folder);
  if (device === undefined) return undefined;
  for (const dataDir of configured === undefined ? await localDataDirs(endpoints) : [configured])
    if ((await deviceOf(dataDir)) === device) return dataDir;
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

/** Data directories of the members' processes that this user may look at. Linux only; elsewhere none are found. */
async function localDataDirs(endpoints: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const dataDir = await dataDirOf(pid, endpoints).catch(() => undefined);
    if (dataDir !== undefined) found.add(dataDir);
  }
  return [...found];
}

async function dataDirOf(pid: string, endpoints: readonly string[]): Promise<string | undefined> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  return /(^|\/)etcd$/.test(words[0] ?? '') && servesAny(words, endpoints) ? flagOf(words, 'data-dir') : undefined;
}

/** By the port of its client URLs, 2379 when none are given: the addresses themselves may be written in many ways. */
export function servesAny(words: readonly string[], endpoints: readonly string[]): boolean {
  const urls = [flagOf(words, 'listen-client-urls'), flagOf(words, 'advertise-client-urls')].filter((url) => url !== undefined);
  const ports = (urls.length === 0 ? [DEFAULT_URL] : urls).flatMap((list) => list.split(',').map(portOf));
  return endpoints.some((endpoint) => ports.includes(portOf(endpoint)));
}

const DEFAULT_URL = 'http://localhost:2379';

function portOf(url: string): string {
  return /:(\d+)\/?$/.exec(url.trim())?.[1] ?? '2379';
}

/** `--data-dir X`, `--data-dir=X`, with one or two dashes as Go's flag package takes them. */
export function flagOf(words: readonly string[], flag: string): string | undefined {
  for (const [index, word] of words.entries()) {
    const [name, value] = splitOnce(word);
    if (name === `--${flag}` || name === `-${flag}`) return value ?? words[index + 1];
  }
  return undefined;
}

function splitOnce(word: string): [string, string | undefined] {
  const equals = word.indexOf('=');
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}
