/** What is wrong with a configuration: every mistake at once, each with its place, and never a secret. */
import { WardenError } from '../errors.ts';
import type { Origin } from './types.ts';

export interface ConfigProblem {
  /** `clusters.prod.backup.maxAge`, `--endpoints`, or '' for the file as a whole. */
  readonly path: string;
  /** The value as it was written, shown to people; absent for secrets, unknown keys and whatever could hold one. */
  readonly value?: string | undefined;
  readonly origin: Origin;
  /** What would have been right, to be read after "expected". */
  readonly expected: string;
  /** What was probably meant, or what to do. */
  readonly suggestion?: string | undefined;
}

/** All problems of one configuration. The message is the whole list, ready to print. */
export class ConfigError extends WardenError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const usage = problems.every((problem) => problem.origin.kind === 'flag');
    const subject = usage ? 'the command line' : 'the configuration';
    const lines = problems.map(describeProblem);
    const message =
      lines.length === 1
        ? `${subject} has an error: ${lines[0]}`
        : `${subject} has ${lines.length} errors:\n${lines.map((line) => `  - ${line}`).join('\n')}`;
    super(usage ? 'usage' : 'config-invalid', message, {
      hint: usage
        ? 'see `etcd-warden VERB --help`'
        : '`etcd-warden config docs` describes every option; `etcd-warden config check` tries a file without starting anything',
    });
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** One line for one problem: path, place, what was expected, what was found, what may have been meant. */
export function describeProblem(problem: ConfigProblem): string {
  const place = describeOrigin(problem.origin);
  const where = problem.path === '' ? place : place === problem.path ? place : `${problem.path} (${place})`;
  const found = problem.value === undefined ? '' : `, got ${problem.value}`;
  const suggestion = problem.suggestion === undefined ? '' : `; ${problem.suggestion}`;
  return `${where}: expected ${problem.expected}${found}${suggestion}`;
}

/** `/etc/etcd-warden/config.yaml:12:5`, `environment ETCDCTL_USER`, `--to`, `default`. */
export function describeOrigin(origin: Origin): string {
  switch (origin.kind) {
    case 'default':
      return 'default';
    case 'file':
      return origin.line === 0 ? origin.path : `${origin.path}:${origin.line}${origin.column === undefined ? '' : `:${origin.column}`}`;
    case 'environment':
      return `environment ${origin.name}`;
    case 'credential':
      return `credential ${origin.name}`;
    case 'flag':
      return `--${origin.name}`;
  }
}

/**
 * A value as it may be shown: quoted, cut, user names and passwords in addresses and age identities blotted out.
 * Lists show their elements only; a map is never shown, because a secret could be anywhere in it.
 */
export function showValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return `[${value.slice(0, 5).map(showValue).join(', ')}${value.length > 5 ? ', …' : ''}]`;
  if (typeof value === 'object') return 'a map';
  if (typeof value !== 'string') return JSON.stringify(value) ?? 'something else';
  const masked = maskText(value);
  const text = masked.length > 80 ? `${masked.slice(0, 80)}…` : masked;
  return JSON.stringify(text);
}

/** Blots out what is secret inside a text that as a whole is none. */
export function maskText(text: string): string {
  return text.replaceAll(/AGE-SECRET-KEY-[^\s,"']*/gi, 'AGE-SECRET-KEY-********').replaceAll(/(\/\/)[^\s/]*@/g, '$1********@');
}
