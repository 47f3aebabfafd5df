/**
 * Temporary files of ours, which only a crash leaves behind. The name tells who writes it, so that a sweep can tell a dead writer
 * from a living one: `warden-<pid>-<start of the process>-<where that pid counts>-<random>`.
 *
 * A pid alone tells nothing: numbers are used again, and on a shared disk they may belong to another machine or container. So the start
 * time in clock ticks since boot (field 22 of /proc/<pid>/stat, proc(5)) stands beside it, and a hash of boot id and pid namespace.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { lstat, readdir, unlink } from 'node:fs/promises';
import { hostname, uptime } from 'node:os';
import { join } from 'node:path';
import type { SweepOptions, SweepReport } from './types.ts';

const NAME = /^warden-(?<pid>[1-9]\d{0,9})-(?<start>\d{1,20})-(?<place>[0-9a-f]{8})-[0-9a-f]{12}$/;

/** A new name for a temporary file (spools too) of this process. */
export function temporaryName(): string {
  return `warden-${process.pid}-${startOf(process.pid) ?? '0'}-${placeOfPids()}-${randomBytes(6).toString('hex')}`;
}

/**
 * Removes temporary files of ours in `folder` whose writer is dead: at once when that is certain, else (another machine, another
 * container, an earlier boot) when nothing was written to them for `olderThanMs`. Names that are not ours, other owners' files and anything
 * that is no plain file stay.
 */
export async function sweepTemporaryFiles(folder: string, options: SweepOptions): Promise<SweepReport> {
  const removed: { what: 'temporary-file'; name: string }[] = [];
  for (const name of await namesIn(folder)) {
    options.signal.throwIfAborted();
    const match = NAME.exec(name)?.groups;
    if (match === undefined) continue;
    const path = join(folder, name);
    // oxlint-disable-next-line no-await-in-loop -- a handful of files
    const stat = await lstat(path).catch(() => undefined); // gone meanwhile: its writer ended well
    if (stat === undefined || !stat.isFile() || stat.uid !== process.getuid?.()) continue;
    if (!isAbandoned(match, options.now.getTime() - stat.mtimeMs, options.olderThanMs)) continue;
    // oxlint-disable-next-line no-await-in-loop -- a handful of files
    await unlink(path);
    removed.push({ what: 'temporary-file', name: path });
  }
  return { removed };
}

/**
 * Whether what bears this name was left behind: undefined when the name is none of ours.
 * @param ageMs since it was last written to; counts where its writer cannot be looked for
 */
export function isLeftBehind(name: string, ageMs: number, olderThanMs: number): boolean | undefined {
  const match = NAME.exec(name)?.groups;
  return match === undefined ? undefined : isAbandoned(match, ageMs, olderThanMs);
}

function isAbandoned(writer: Record<string, string>, ageMs: number, olderThanMs: number): boolean {
  const { pid = '', start = '', place = '' } = writer;
  if (place === placeOfPids()) return startOf(Number(pid)) !== start;
  return ageMs > olderThanMs;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Undefined when no such process lives. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

let place: string | undefined;

function placeOfPids(): string {
  place ??= createHash('sha256')
    .update(bootOf((path) => readFileSync(path, 'latin1').trim(), Date.now() / 1000 - uptime()))
    .update(pidNamespace())
    .digest('hex')
    .slice(0, 8);
  return place;
}

/** Coarse, because the wall clock is set a little now and then. A boot that seems to be two costs only that age decides. */
const BOOT_STEP_S = 100;

/**
 * What tells this boot of this machine from all others. Where /proc shows processes alone (systemd's ProcSubset=pid, which our units set)
 * there is no boot id: then it is the machine and when it started, or else the spool of every crashed job would stay until it is old.
 */
export function bootOf(read: (path: string) => string, bootedAtS: number): string {
  try {
    return read('/proc/sys/kernel/random/boot_id');
  } catch {
    try {
      return `${read('/etc/machine-id')} ${hostname()} ${Math.round(bootedAtS / BOOT_STEP_S)}`;
    } catch {
      return randomBytes(16).toString('hex'); // then no process can be recognised, and only age counts
    }
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return randomBytes(16).toString('hex');
  }
}
