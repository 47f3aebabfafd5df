/** The flags of the option table, ready for commander, and the few that choose what a call works on. */
import { envName, envNameOfFlag, flagName, type Option } from './option.ts';
import { OPTIONS } from './options.ts';
import { FORMATS } from './formats.ts';

export type FlagScope = 'call' | 'daemon' | 'cluster' | 'store';

export interface FlagOption {
  /** Without dashes. */
  readonly name: string;
  /** Attribute of commander's `opts()`. */
  readonly key: string;
  /** For commander's `option()`: `--schedule <cron>`, `--no-discover`. */
  readonly flags: string;
  readonly description: string;
  /** May be given more than once; the values make a list. */
  readonly repeatable: boolean;
  readonly env: string | undefined;
}

/** What a call works on; not options of the configuration, so not in the table, but named like them. */
const CALL_FLAGS: readonly { name: string; argument: string; description: string; repeatable?: true }[] = [
  { name: 'config', argument: 'path', description: 'configuration file (default: /etc/etcd-warden/config.yaml if it is there)' },
  {
    name: 'cluster',
    argument: 'name',
    description: 'cluster of the configuration; without a file, the name to give it (default: default)',
  },
  {
    name: 'to',
    argument: 'store',
    description: "store to use: a configured store's name, a path, or s3://bucket/prefix",
    repeatable: true,
  },
  { name: 'from', argument: 'store', description: 'the same as --to, except in copy: the store to copy from', repeatable: true },
];

/** Every flag of one scope. Those of `cluster` and `store` count only without a configuration file, but for those of maintenance by hand. */
export function flagOptions(scope: FlagScope): readonly FlagOption[] {
  if (scope === 'call') {
    return CALL_FLAGS.map(({ name, argument, description, repeatable }) => ({
      name,
      key: camelCase(name),
      flags: `--${name} <${argument}>`,
      description,
      repeatable: repeatable === true,
      env: envNameOfFlag(name),
    }));
  }
  const options = scope === 'store' ? OPTIONS.s3 : OPTIONS[scope];
  return options.flatMap((option) => {
    const name = flagName(option);
    return name === undefined
      ? []
      : [
          {
            name,
            key: camelCase(name),
            flags: spelling(name, option),
            description: description(option),
            repeatable: isList(option),
            env: envName(option),
          },
        ];
  });
}

/** commander's own rule for attribute names. */
export function camelCase(flag: string): string {
  return flag.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function spelling(name: string, option: Option): string {
  if (option.format !== 'boolean' || option.default === undefined) return `--${name} <${option.argument ?? 'value'}>`;
  return option.default === true ? `--no-${name}` : `--${name}`;
}

/** The table's sentence, without Markdown, and the default. */
function description(option: Option): string {
  const doc = (option.negated ?? option.doc).replaceAll('`', '');
  const fallback =
    option.computed?.replaceAll('`', '') ??
    (option.default === undefined || option.format === 'boolean' || isList(option) ? undefined : String(option.default));
  const end = fallback === undefined || fallback === '' ? '' : ` (default: ${fallback})`;
  return `${doc.replace(/\.$/, '')}${end}`;
}

function isList(option: Option): boolean {
  return Array.isArray(FORMATS[option.format].coerce?.('a,b'));
}
