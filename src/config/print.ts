/** `config print`: what counts after merging, with the origin of each value and without secrets. */
import { FORMATS } from './formats.ts';
import type { LoadedConfig } from './load.ts';
import { describeOrigin, maskText } from './problems.ts';
import type { Entry } from './schema.ts';
import { yaml } from './yaml.ts';

const MASK = '********';

export interface PrintedConfig {
  /** Path of the file, or null without one. */
  readonly file: string | null;
  /** As in a file: groups nested, durations and sizes as text, secrets masked. */
  readonly values: Readonly<Record<string, unknown>>;
  /** By full path: `default`, `/etc/etcd-warden/config.yaml:12:5`, `environment NAME`, `credential NAME`, `--flag`. */
  readonly origins: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** For `--json`. */
export function printedConfig(loaded: LoadedConfig): PrintedConfig {
  const set = loaded.entries.filter((entry) => entry.value !== undefined);
  const values: Record<string, unknown> = {};
  for (const entry of set) put(values, entry.path, printedValue(entry));
  return {
    file: loaded.config.file ?? null,
    values,
    origins: Object.fromEntries(set.map((entry) => [entry.path, describeOrigin(entry.origin)])),
    warnings: loaded.warnings,
  };
}

/** YAML that can be loaded again (but for secrets written in plain text), each line with its origin behind it. */
export function printConfig(loaded: LoadedConfig): string {
  const printed = printedConfig(loaded);
  const head = printed.file === null ? '# no configuration file' : `# ${printed.file}`;
  const lines: { text: string; origin?: string }[] = [];
  write(printed.values, '', 0);
  const width = Math.min(60, Math.max(0, ...lines.filter((line) => line.origin !== undefined).map((line) => line.text.length)));
  return `${[head, ...lines.map((line) => (line.origin === undefined ? line.text : `${line.text.padEnd(width)}  # ${line.origin}`))].join('\n')}\n`;

  function write(group: Readonly<Record<string, unknown>>, prefix: string, depth: number): void {
    for (const [key, value] of Object.entries(group)) {
      const indent = '  '.repeat(depth);
      const path = prefix + key;
      const origin = printed.origins[path];
      if (origin === undefined) {
        lines.push({ text: `${indent}${key}:` });
        write(value as Record<string, unknown>, `${path}.`, depth + 1);
      } else {
        lines.push({ text: `${indent}${key}: ${scalar(value)}`, origin });
      }
    }
  }
}

/** A value of the table as a user would write it, safe to show. */
function printedValue(entry: Entry): unknown {
  const { value, option, origin } = entry;
  if (option.format === 'secret') {
    const place = origin.kind === 'file' || origin.kind === 'credential' ? /^(env|file|credential):.+$/s.test(value as string) : false;
    return place ? value : MASK;
  }
  const printed = FORMATS[option.format].print?.(value) ?? value;
  return typeof printed === 'string' ? maskText(printed) : printed;
}

/** One line, quoted where YAML needs it. */
function scalar(value: unknown): string {
  return yaml()
    .stringify(value, {
      collectionStyle: 'flow',
      lineWidth: 0,
      defaultStringType: typeof value === 'string' && value.includes('\n') ? 'QUOTE_DOUBLE' : 'PLAIN',
      flowCollectionPadding: false,
    })
    .trimEnd();
}

function put(tree: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop()!;
  let node = tree;
  for (const key of keys) node = (node[key] ??= {}) as Record<string, unknown>;
  node[last] = value;
}
