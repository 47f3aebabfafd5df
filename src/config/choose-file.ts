/** Which configuration file counts, if any. */
import { resolve } from 'node:path';
import { readFailure, type FileAccess } from './files.ts';
import type { Environment, Flags } from './given.ts';
import { envNameOfFlag } from './option.ts';
import type { ConfigProblem } from './problems.ts';
import type { Origin } from './types.ts';

export const DEFAULT_FILE = '/etc/etcd-warden/config.yaml';

export interface ChosenFile {
  /** Absolute. */
  readonly path: string;
  /** Undefined when it could not be read; the reason is among the problems. */
  readonly text: string | undefined;
}

/** `--config`, else `ETCD_WARDEN_CONFIG`, else the usual place, if a file is there and no flag says what to work on. */
export function chooseFile(
  flags: Flags,
  env: Environment,
  cwd: string,
  files: FileAccess,
  problems: ConfigProblem[],
): ChosenFile | undefined {
  const named = namedFile(flags, env);
  if (named === undefined) {
    const direct = ['endpoints', 'to', 'from'].some((flag) => flags[flag] !== undefined);
    if (direct || files.stat(DEFAULT_FILE) === undefined) return undefined;
  }
  const path = named === undefined ? DEFAULT_FILE : resolve(cwd, named.path);
  const origin: Origin = named?.origin ?? { kind: 'file', path, line: 0 };
  try {
    return { path, text: files.read(path) };
  } catch (error) {
    problems.push({
      path: '',
      origin,
      value: JSON.stringify(path),
      expected: 'a configuration file that can be read',
      suggestion: readFailure(error),
    });
    return { path, text: undefined };
  }
}

function namedFile(flags: Flags, env: Environment): { path: string; origin: Origin } | undefined {
  if (typeof flags['config'] === 'string') return { path: flags['config'], origin: { kind: 'flag', name: 'config' } };
  const name = envNameOfFlag('config');
  const variable = env[name];
  return variable === undefined || variable === '' ? undefined : { path: variable, origin: { kind: 'environment', name } };
}
