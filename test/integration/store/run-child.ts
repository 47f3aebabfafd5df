/** Runs `child.ts`, alone, up to a crash point, or on a small disk that only it sees. */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { join } from 'node:path';
import type { CrashPoint } from '../../../src/crash-points.ts';
import type { Order, Report } from './child.ts';

const CHILD = join(import.meta.dirname, 'child.ts');

/** Runs the order to its end. */
export function carryOut(order: Order): Report {
  return reportOf(start([process.execPath, CHILD, JSON.stringify(order)], {}));
}

/** Runs it until the crash point; false when it ended without ever coming there. */
export function crashAt(point: CrashPoint, order: Order): boolean {
  const { signal, stderr, status } = start([process.execPath, CHILD, JSON.stringify(order)], {
    ETCD_WARDEN_TEST: '1',
    ETCD_WARDEN_CRASH_AT: point,
  });
  if (signal !== 'SIGKILL' && status !== 0) throw new Error(`the child ended with ${status ?? signal}: ${stderr}`);
  return signal === 'SIGKILL';
}

/** Whether this user may mount file systems in a namespace of its own. */
export const canMount = spawnSync('unshare', ['-rm', 'true']).status === 0;

/**
 * Runs the order with a file system of its own at `mountPoint`, seen by nobody else; what is below it is gone afterwards, so the listing of
 * the folder is part of the answer.
 */
export function carryOutMounted(order: Order, mountPoint: string, options: string, prepare = ''): { report: Report; names: string[] } {
  const script = `mount -t tmpfs -o "$1" tmpfs "$2" && ${prepare === '' ? '' : `${prepare} && `}"$3" "$4" "$5"; echo; find "$2" -type f`;
  const result = start(
    ['unshare', '-rm', 'sh', '-c', script, 'sh', options, mountPoint, process.execPath, CHILD, JSON.stringify(order)],
    {},
  );
  const [report = '', ...names] = result.stdout.split('\n').filter((line) => line !== '');
  return { report: reportOf({ ...result, stdout: report }), names };
}

/** Runs the order with a limit on the length of files, which is what a quota looks like (EFBIG instead of EDQUOT). */
export function carryOutLimited(order: Order, kibibytes: number): Report {
  // ulimit -f counts in units of 512 bytes in POSIX shells.
  const script = `ulimit -f ${kibibytes * 2} && exec "$@"`;
  return reportOf(start(['sh', '-c', script, 'sh', process.execPath, CHILD, JSON.stringify(order)], {}));
}

/** Runs the order as another user; undefined when that user cannot even read the program. */
export function carryOutAs(uid: number, order: Order): Report | undefined {
  const result = spawnSync(process.execPath, [CHILD, JSON.stringify(order)], { encoding: 'utf8', uid, env: {}, timeout: 60_000 });
  return result.stdout === '' || result.stdout === null ? undefined : reportOf(result);
}

function start(command: readonly [string, ...string[]], environment: Record<string, string>): SpawnSyncReturns<string> {
  const [program, ...args] = command;
  return spawnSync(program, args, { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', ...environment }, timeout: 60_000 });
}

function reportOf(result: SpawnSyncReturns<string>): Report {
  if (result.stdout === '') throw new Error(`the child ended with ${result.status ?? result.signal}: ${result.stderr}`);
  return JSON.parse(result.stdout) as Report;
}
