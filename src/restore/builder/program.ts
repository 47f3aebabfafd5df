/** etcd's own tool that makes a data directory of a snapshot: etcdutl, and before 3.5 etcdctl. */
import { spawn } from 'node:child_process';
import { execFile } from 'node:child_process';
import { asError, WardenError } from '../../errors.ts';
import { ETCD_MINORS, type EtcdMinor } from '../types.ts';

export interface RestoreTool {
  readonly path: string;
  /** As it says itself, `3.6.16`. */
  readonly version: string;
  readonly minor: EtcdMinor | undefined;
}

const ANSWERS_WITHIN_MS = 10_000;
/** What is kept of the last that it says. */
const KEPT_BYTES = 16 * 1024;
/** Slowest that it may be, bytes per second, and what it may take besides: it copies the file, sums it, and opens it three times. */
const SLOWEST = 2 * 2 ** 20;
const BESIDES_MS = 5 * 60_000;

/** `etcdutl version` first says `etcdutl version: 3.6.16`. */
const VERSION = /^etcd(?:utl|ctl) version: (\d+\.\d+\.\d+)/m;

export function toolName(minor: EtcdMinor): string {
  return minor === '3.4' ? 'etcdctl' : 'etcdutl';
}

/** @returns the tool, or the sentence that says why there is none */
export async function findTool(path: string, signal: AbortSignal): Promise<RestoreTool | string> {
  const options = { env: quietEnvironment(), timeout: ANSWERS_WITHIN_MS, killSignal: 'SIGKILL', maxBuffer: 64 * 1024, signal } as const;
  const answer = await new Promise<{ said: string } | { error: Error }>((resolve) => {
    execFile(path, ['version'], options, (error, said) => resolve(error === null ? { said } : { error }));
  });
  signal.throwIfAborted();
  if ('error' in answer) return whyNot(path, answer.error);
  const version = VERSION.exec(answer.said)?.[1];
  if (version === undefined) return `${path} does not tell its version as etcdutl does`;
  return { path, version, minor: ETCD_MINORS.find((each) => version.startsWith(`${each}.`)) };
}

function whyNot(path: string, error: Error & { code?: unknown }): string {
  if (error.code === 'ENOENT') return path.includes('/') ? `there is no ${path}` : `there is no ${path} on the PATH`;
  return `${path} cannot be run: ${error.message.split('\n')[0]}`;
}

/**
 * Runs it to its end, or until the signal; what it does is bounded in time and its output in length. Nothing of our environment: ETCDUTL_* and ETCDCTL_* variables
 * would be flags, and credentials are none of its business.
 * @param bytes of the file that it restores
 * @throws WardenError `failed` with the last that it said, `timeout`
 */
export async function runTool(
  path: string,
  args: readonly string[],
  { bytes, signal }: { bytes: number; signal: AbortSignal },
): Promise<void> {
  const deadlineMs = BESIDES_MS + Math.ceil((bytes / SLOWEST) * 1000);
  const timeout = AbortSignal.timeout(deadlineMs);
  const child = spawn(path, args, {
    env: quietEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    killSignal: 'SIGKILL',
    signal: AbortSignal.any([signal, timeout]),
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-KEPT_BYTES);
    });
  let failure: Error | undefined;
  child.on('error', (error) => {
    failure = error;
  });
  // After `error` of a killed child, `close` still follows: only then does nothing write to our folder any more.
  const code = await new Promise<number | string>((resolve) => {
    child.once('close', (exit, killed) => resolve(exit ?? killed ?? 'an unknown signal'));
  });
  if (signal.aborted) throw asError(signal.reason);
  if (timeout.aborted)
    throw new WardenError('timeout', `${path} did not end within ${deadlineMs} ms and was killed`, {
      hint: '--builder native does without it',
    });
  if (code === 0 && failure === undefined) return;
  throw new WardenError('failed', `${path} could not restore: ${failure?.message ?? lastLine(said)} (${code})`, {
    hint: '--builder native does without it',
    cause: failure,
  });
}

function lastLine(said: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  return lines.findLast((line) => line.startsWith('Error')) ?? lines.at(-1) ?? 'it said nothing';
}

/** ETCDCTL_API: etcdctl of 3.3 and some distributions of 3.4 speak the API of etcd 2 unless told. */
function quietEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LANG: 'C', ETCDCTL_API: '3' };
}
