/** The shape of one line of the option table. */

export type FormatName =
  | 'text'
  | 'secret'
  | 'choice'
  | 'boolean'
  | 'count'
  | 'percent'
  | 'history'
  | 'duration'
  | 'size'
  | 'cron'
  | 'timezone'
  | 'listen'
  | 'endpoints'
  | 'member'
  | 'url'
  | 'file'
  | 'folder'
  | 'names'
  | 'hosts'
  | 'recipients'
  | 'bucket'
  | 'prefix'
  | 'key-prefix'
  | 'user';

/** A value as it stands in a file, a variable or a flag, before its format has read it. */
export type RawValue = string | number | boolean | readonly string[];

export interface Option {
  /** Place below its element (the top level, one cluster, one store), dots between groups: `backup.maxAge`. */
  readonly path: string;
  readonly format: FormatName;
  /** As a user would write it. Absent = unset, or computed (then `computed` says how). */
  readonly default?: RawValue;
  readonly computed?: string;
  readonly choices?: readonly string[];
  /** Bounds, inclusive, written as a user would. */
  readonly min?: string;
  readonly max?: string;
  readonly doc: string;
  /** What the flag `--no-…` of a boolean that is true by default does. */
  readonly negated?: string;
  readonly example?: string;
  /** Long flag without dashes; the name in the environment follows from it. Absent = only in a file. */
  readonly flag?: string;
  /** Overrides the environment name that follows from the flag; alone, it gives a variable to what has no flag. */
  readonly env?: string;
  /** Word that stands for the value in --help. */
  readonly argument?: string;
  /** Variable of etcdctl that is understood when there is no file. */
  readonly etcdctl?: string;
  /** Must be set for the element to make sense. */
  readonly required?: true;
}

/** Every variable of ours starts so. */
const ENV_PREFIX = 'ETCD_WARDEN_';

/** Name of the environment variable that sets an option, if any. */
export function envName(option: Option): string | undefined {
  if (option.env !== undefined) return option.env;
  return option.flag === undefined ? undefined : envNameOfFlag(option.flag);
}

export function envNameOfFlag(flag: string): string {
  return ENV_PREFIX + flag.toUpperCase().replaceAll('-', '_');
}

/** The flag that carries an option, if any. A secret has none: only the path of its file travels through argv. */
export function flagName(option: Option): string | undefined {
  return option.format === 'secret' ? undefined : option.flag;
}

/**
 * A secret is one line in the table and two keys in a file: `password` (the text itself, or `env:NAME`, `file:PATH`, `credential:NAME`)
 * and `passwordFile`.
 */
export function withSecretFiles(options: readonly Option[]): readonly Option[] {
  return options.flatMap((option): readonly Option[] => {
    if (option.format !== 'secret') return [option];
    return [
      option,
      {
        path: `${option.path}File`,
        format: 'file',
        doc: `File that holds \`${option.path}\`. Read when it is needed, so that a rotated file counts.`,
        ...(option.flag === undefined ? {} : { flag: `${option.flag}-file` }),
        argument: 'path',
      },
    ];
  });
}
