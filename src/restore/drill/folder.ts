/**
 * The folder of one drill: 0700, named after the process that made it, gone with the drill. What a killed one leaves, an etcd that outlived it above all, is swept by
 * the next drill and by the daemon. Where the folder is shared with another container or machine, nobody there can look for that process: so the time of the
 * folder is set now and then while it lives, and whatever `daemon.sweepAge` says, nobody takes it away before that is long ago.
 */
import { mkdir, lstat, readdir, readFile, rm, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { WardenError } from '../../errors.ts';
import { isLeftBehind, temporaryName } from '../../store/temporary.ts';

/** Below the folder that is configured, so that only what lies in a folder of ours is ever removed. */
const INSIDE = 'drill';
/** In the folder of a drill: the pid of its etcd, written by the guard that started it. */
export const PID_FILE = 'etcd.pid';
/** Two WAL files that etcd fills with zeros before it uses them, 64 MB each, and what its own writes take. */
const BESIDE_DATABASE = 256 * 2 ** 20;

/** ms between two signs of life. */
const ALIVE_EVERY_MS = 30_000;
/** Without one a drill is dead, ms: time enough for a machine that swaps, and for clocks that differ. */
const DEAD_AFTER_MS = 10 * 60_000;

export interface DrillFolder {
  readonly path: string;
  /** With all that is in it; what still runs on it is ended first. */
  remove(): Promise<void>;
}

/**
 * @param aliveEveryMs between two signs of life; tests do not wait so long
 * @throws WardenError `disk-full` when there is no room for it, `disk-failed`
 */
export async function makeDrillFolder(parent: string, databaseBytes: number, aliveEveryMs: number = ALIVE_EVERY_MS): Promise<DrillFolder> {
  const folder = join(parent, INSIDE);
  const path = join(folder, temporaryName());
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(folder);
    const needed = 2 * databaseBytes + BESIDE_DATABASE;
    if (bavail * bsize < needed)
      throw new WardenError('disk-full', `a drill needs ${needed} bytes in ${folder}, ${bavail * bsize} are free`, {
        hint: 'room for the database and as much again; drill.folder names another disk',
      });
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (error instanceof WardenError) throw error;
    throw new WardenError('disk-failed', `a drill cannot make its folder: ${(error as Error).message}`, {
      hint: 'drill.folder (else stateDir) must be a folder that this process may write to',
      cause: error,
    });
  }
  const alive = setInterval(() => {
    utimes(path, new Date(), new Date()).catch(() => {}); // whoever works in there hears of it
  }, aliveEveryMs);
  alive.unref();
  return {
    path,
    remove: async () => {
      clearInterval(alive);
      await removeFolder(path);
    },
  };
}

async function removeFolder(path: string): Promise<void> {
  await endEtcdOf(path);
  // An etcd that was killed a moment ago may still have written a file while its folder was emptied.
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

export interface DrillSweep {
  /** Without a sign of life; never less than some minutes. */
  readonly olderThanMs: number;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** Ends what is left of drills whose process is dead, and removes their folders. @returns their paths */
export async function sweepDrills(parent: string, { olderThanMs, now, signal }: DrillSweep): Promise<readonly string[]> {
  const folder = join(parent, INSIDE);
  const names = await readdir(folder).catch(() => []); // never made, or not ours to see
  const removed: string[] = [];
  for (const name of names) {
    signal.throwIfAborted();
    const path = join(folder, name);
    const stat = await lstat(path).catch(() => undefined);
    if (stat?.isDirectory() !== true || stat.uid !== process.getuid?.()) continue;
    if (isLeftBehind(name, now.getTime() - stat.mtimeMs, Math.max(olderThanMs, DEAD_AFTER_MS)) !== true) continue;
    await removeFolder(path);
    removed.push(path);
  }
  return removed;
}

/** Only a process that was started on this very folder: pids are used again, the path in its arguments is not. */
async function endEtcdOf(path: string): Promise<void> {
  const pid = Number(await readFile(join(path, PID_FILE), 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 1) return;
  const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  if (!words.split('\0').some((word) => word.includes(path))) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}
