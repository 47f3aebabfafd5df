/**
 * A program that dies with us, whatever we die of. Node can set no parent-death signal, so a shell stands between: it waits at the other end of a pipe that only
 * we hold, and kills the program when that closes: when we let go of it, crash, or are killed. Builtins of POSIX sh only.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { WardenError } from '../../errors.ts';
import { quietEnvironment } from './program.ts';

/**
 * It begins when it is told to, by when it has its low priority, which its children inherit. `setsid` gave it a session, and with it an autogroup of its own, within
 * which niceness would say nothing: so the group is made nice too, but less so, because one that gets nothing while others are busy would never end (sched(7)). Where memory
 * runs out it is the first to go (proc(5), oom_score_adj). In the background, sh gives a program /dev/null to read from.
 */
const SCRIPT = `pidfile=$1; shift
{ echo 10 >/proc/self/autogroup; echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
IFS= read -r go || exit 0
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
echo "$child" >"$pidfile"
{ IFS= read -r over <&3; kill -9 "$child"; } 2>/dev/null >&2 &
guard=$!
exec 3<&-
wait "$child"
code=$?
kill "$guard" 2>/dev/null
wait "$guard" 2>/dev/null
exit "$code"`;

const SHELL = '/bin/sh';
/** What is kept of the last that the program said on stderr. */
const KEPT = 64 * 1024;
/** SIGKILL is at once, but a machine that is busy writes large files back first. */
const DEAD_WITHIN_MS = 10_000;

export interface Guarded {
  /** The end of its stderr so far. */
  said(): string;
  /** Undefined while it runs; 128 + the signal when it was killed. */
  code(): number | undefined;
  /** Resolves when it has ended. */
  readonly ended: Promise<number>;
  /** Kills it, and resolves when it is gone. */
  end(): Promise<void>;
}

/** @throws WardenError `refused` where there is no shell, `failed` when no process could be made */
export async function startGuarded(command: string, args: readonly string[], pidFile: string): Promise<Guarded> {
  const child = spawn(SHELL, ['-c', SCRIPT, 'sh', pidFile, command, ...args], {
    // A session of its own: Ctrl-C reaches us, and we end it in order.
    detached: true,
    env: quietEnvironment(),
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  child.stdin.on('error', () => {}); // it ended before it was told to begin
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-KEPT)));
  let code: number | undefined;
  const ended = new Promise<number>((resolve) => {
    child.once('exit', (exit, signal) => resolve((code = exit ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 0))));
  });
  try {
    await once(child, 'spawn');
  } catch (error) {
    throw noShell(error);
  }
  await lower(child);
  child.stdin.write('begin\n');
  return { said: () => said, code: () => code, ended, end: () => end(child, ended, () => code) };
}

async function end(child: ChildProcess, ended: Promise<number>, code: () => number | undefined): Promise<void> {
  child.stdin?.destroy();
  if (code() !== undefined) return;
  let late: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => (late = setTimeout(resolve, DEAD_WITHIN_MS)));
  await Promise.race([ended, patience]);
  clearTimeout(late);
  if (code() !== undefined || child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Gone in this very moment.
  }
}

/** Processor and disk: whatever the machine is there for goes first. */
async function lower({ pid }: ChildProcess): Promise<void> {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // Not allowed in here: then it runs as it is.
  }
  // Where there is no ionice, the kernel derives the lowest best-effort class from the niceness.
  await new Promise<void>((resolve) => {
    execFile('ionice', ['-c', '3', '-p', String(pid)], { env: quietEnvironment(), timeout: 2_000 }, () => resolve());
  });
}

function noShell(error: unknown): WardenError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT')
    return new WardenError('refused', `there is no ${SHELL}, and without it nothing would end an etcd that outlives us`);
  return new WardenError('failed', `no process could be started: ${message}`, { cause: error });
}
