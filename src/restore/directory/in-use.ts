/**
 * Whether a process has files of a directory open. etcd locks its database (flock) and the WAL files it may write to (OFD locks) as long as it runs. Seen three ways,
 * because each is blind somewhere: /proc/locks shows no flock of a process in another PID namespace, /proc/PID/fd only processes that we may look at, and flock(1)
 * may be missing.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { formatDevice, isWithin, mountOf, readMounts } from './mounts.ts';

const FLOCK_WITHIN_MS = 5_000;
/** What flock(1) ends with when the lock is held; other codes tell nothing. */
const HELD = 1;

/**
 * @param folders absolute, without links
 * @returns a sentence's end that says what uses them, e.g. `process 123 has …/db open`; undefined when nothing is seen to
 */
export async function whoUses(folders: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  const files = (await Promise.all(folders.map(lockedByEtcd))).flat();
  return (await openFileIn(folders, signal)) ?? (await lockOn(files)) ?? (await heldByFlock(files, signal));
}

/** Files in it that a running etcd holds locks on. */
async function lockedByEtcd(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => name === 'db' || name.endsWith('/db') || name.endsWith('.wal')).map((name) => join(folder, name));
}

/** A line of /proc/locks, proc(5): `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`; the pid is -1 for a lock that belongs to an open file. */
export function parseLocks(text: string): readonly { readonly pid: string; readonly file: string }[] {
  return text.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/);
    if (words[1] === '->') return []; // waits for it
    const [pid, file] = words.slice(4);
    return pid === undefined || file === undefined ? [] : [{ pid, file }];
  });
}

async function lockOn(files: readonly string[]): Promise<string | undefined> {
  const locks = parseLocks(await readFile('/proc/locks', 'utf8').catch(() => ''));
  if (locks.length === 0) return undefined;
  const mounts = await readMounts();
  for (const path of files) {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    // On btrfs and overlays stat tells another device than locks do, which name the one of the mount.
    const names = [deviceOf(found.dev), mountOf(path, mounts)?.device].map((device) => `${device}:${found.ino}`);
    const lock = locks.find(({ file }) => names.includes(file));
    if (lock !== undefined) return `${Number(lock.pid) > 0 ? `process ${lock.pid}` : 'a process'} holds a lock on ${path}`;
  }
  return undefined;
}

/** As glibc splits it, gnu_dev_major and gnu_dev_minor. */
function deviceOf(dev: number): string {
  const bits = BigInt(dev);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & ~0xfffn);
  const minor = (bits & 0xffn) | ((bits >> 12n) & ~0xffn);
  return formatDevice(Number(major), Number(minor & 0xffffffffn));
}

async function openFileIn(folders: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  for (const pid of pids) {
    signal.throwIfAborted();
    const links = await openFilesOf(pid);
    const path = links.find((link) => folders.some((folder) => isWithin(link, folder)));
    if (path !== undefined) return `process ${pid} (${await nameOf(pid)}) has ${path} open`;
  }
  return undefined;
}

/** None when it is not ours to look at, or gone meanwhile. */
async function openFilesOf(pid: string): Promise<readonly string[]> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder).catch(() => []);
  return Promise.all(names.map((name) => readlink(join(folder, name)).catch(() => '')));
}

async function nameOf(pid: string): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
}

/** Asks the kernel itself, for a shared lock that is let go at once. */
async function heldByFlock(files: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  for (const path of files.filter((file) => file.endsWith('db'))) {
    const code = await new Promise<number | undefined>((resolve) => {
      const options = { env: { PATH: process.env['PATH'] }, timeout: FLOCK_WITHIN_MS, signal };
      execFile('flock', ['-n', '-s', path, 'true'], options, (error) => resolve(error === null ? 0 : Number(error.code)));
    });
    if (code === HELD) return `a process that cannot be seen from here holds the lock on ${path}`;
  }
  return undefined;
}
