import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';

/**
 * Nothing outlives the tests, not even when the test process is killed with SIGKILL: a shell in a session of its own holds the reading end of a
 * pipe. When the writing end is gone, so is the test process; the shell then kills every process and removes every folder that it was told of.
 */
const WATCHDOG = `
pids=
while read -r verb what; do
  case $verb in
    kill) pids="$pids $what" ;;
    forget) kept=; for pid in $pids; do [ "$pid" = "$what" ] || kept="$kept $pid"; done; pids=$kept ;;
    remove) set -- "$@" "$what" ;;
  esac
done
[ -z "$pids" ] || kill -9 $pids 2>/dev/null
# A process that is being killed may still create files.
for folder; do rm -rf "$folder" 2>/dev/null || { sleep 0.2; rm -rf "$folder"; }; done
`;

let orders: Writable | undefined;

/** Sees to it that the process is killed when this one ends, in whatever way. */
export function guardProcess(child: ChildProcess): void {
  const { pid } = child;
  if (pid === undefined) return;
  tell(`kill ${pid}`);
  // The id may be given to a stranger once the process has been waited for.
  child.once('exit', () => tell(`forget ${pid}`));
}

/** A new empty folder, in memory where the machine has /dev/shm, that is removed when this process ends at the latest. */
export function temporaryFolder(purpose: string, root: string = memoryFolder()): string {
  const folder = mkdtempSync(join(root, `etcd-warden-${purpose}-`));
  guardFolder(folder);
  return folder;
}

export function guardFolder(folder: string): void {
  tell(`remove ${folder}`);
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

/** Where files cost no disk write. */
export function memoryFolder(): string {
  return statSync('/dev/shm', { throwIfNoEntry: false })?.isDirectory() === true ? '/dev/shm' : tmpdir();
}

function tell(order: string): void {
  orders ??= startWatchdog();
  orders.write(`${order}\n`);
}

function startWatchdog(): Writable {
  // Detached: Ctrl-C goes to the whole foreground group, and the watchdog must see the end of the others.
  const shell = spawn('/bin/sh', ['-c', WATCHDOG, 'etcd-warden-watchdog'], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  shell.unref();
  // The pipe must not keep the test process alive.
  (shell.stdin as unknown as { unref(): void }).unref();
  shell.stdin.on('error', () => {
    // The shell is gone only when somebody killed it; the tests still clean up after themselves.
  });
  return shell.stdin;
}
