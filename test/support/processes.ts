import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { guardProcess } from './watchdog.ts';

export { freePorts } from './ports.ts';

/** How much of a program's output is kept for messages of failed tests. */
const KEPT_OUTPUT_BYTES = 256 * 1024;

export interface Running {
  readonly pid: number;
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Undefined while it runs. */
  result(): { code: number | null; signal: NodeJS.Signals | null } | undefined;
  /** The last 256 KiB of standard output and error, in the order of arrival. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL after the grace period; resolves when it is gone. */
  stop(graceMs?: number): Promise<void>;
}

/** Starts a server of the tests; it dies with the test process. */
export function startProcess(command: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  guardProcess(child);
  let kept = '';
  let result: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      kept = (kept + text).slice(-KEPT_OUTPUT_BYTES);
    });
  }
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve((result = { code, signal })));
  });
  // Whoever waits gets the error; nobody waiting must not end the test process.
  exited.catch(() => undefined);
  function kill(signal: NodeJS.Signals): void {
    if (result === undefined) child.kill(signal);
  }
  async function stop(graceMs = 5_000): Promise<void> {
    if (child.pid === undefined) return;
    kill('SIGTERM');
    const forced = setTimeout(() => kill('SIGKILL'), graceMs);
    await exited;
    clearTimeout(forced);
  }
  return { pid: child.pid ?? 0, exited, result: () => result, output: () => kept, kill, stop };
}

/** Runs a command to its end. @throws Error with its standard error when the exit code is not 0. */
export async function run(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; input?: string | Buffer; timeoutMs?: number } = {},
): Promise<string> {
  const child = spawn(command, args, {
    env: options.env,
    cwd: options.cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 120_000,
  });
  guardProcess(child);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  const stdout = Buffer.concat(out).toString();
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? code}: ${Buffer.concat(err).toString()}${stdout}`);
  return stdout;
}

/** Polls until the condition holds, and fails with the given words when it does not in time: by far more than it takes, since machines may be busy. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  failure: string | (() => string),
  { timeoutMs = 60_000, everyMs = 25 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${typeof failure === 'string' ? failure : failure()} (waited ${timeoutMs} ms)`);
    await delay(everyMs);
  }
}
