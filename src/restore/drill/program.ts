/** Which etcd a drill starts. */
import { execFile } from 'node:child_process';
import { ETCD_MINORS, type EtcdMinor } from '../types.ts';

export interface EtcdProgram {
  readonly path: string;
  /** As it says itself, `3.6.16`. */
  readonly version: string;
  readonly minor: EtcdMinor;
}

/** Asked for its version; nothing else of it runs. */
const ANSWERS_WITHIN_MS = 10_000;

/**
 * @param configured path or name; undefined = `etcd` on the PATH
 * @returns the program, or the sentence that says why none can be started
 */
export async function findEtcd(configured: string | undefined, signal: AbortSignal): Promise<EtcdProgram | string> {
  const path = configured ?? 'etcd';
  const answer = await versionOf(path, signal);
  signal.throwIfAborted();
  if (answer === undefined)
    return configured === undefined ? 'there is no etcd on the PATH of this process' : `${configured} cannot be run as an etcd`;
  const minor = ETCD_MINORS.find((each) => answer.startsWith(`${each}.`));
  if (minor === undefined) return `${path} is etcd ${answer}, which this version does not know how to restore for`;
  return { path, version: answer, minor };
}

/** Nothing of our environment: ETCD_* variables would be flags, and credentials are none of its business. */
export function quietEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LANG: 'C' };
}

/** As it says itself, `3.6.16` or with what stands behind that; undefined when it cannot be run, or does not say. */
export function versionOf(path: string, signal: AbortSignal): Promise<string | undefined> {
  const options = { env: quietEnvironment(), timeout: ANSWERS_WITHIN_MS, maxBuffer: 64 * 1024, signal };
  return new Promise((resolve) => {
    execFile(path, ['--version'], options, (error, stdout) =>
      resolve(error === null ? /^etcd Version: (\d+\.\d+\.\d+\S*)/m.exec(stdout)?.[1] : undefined),
    );
  });
}
