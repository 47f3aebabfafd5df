/**
 * Convict, wrapped: one schema for the top level and one for each cluster and store, built from the option table. Convict fills in defaults,
 * coerces texts and runs the checks; merging file, environment and flags, and origins, are ours (`given`), because convict knows neither
 * maps of elements nor where a value came from, and would print a whole parent, secrets included, when one of its values is wrong.
 */
import convict from 'convict';
import { BadValue, FORMATS, type FormatContext } from './formats.ts';
import type { FormatName, Option, RawValue } from './option.ts';
import { showValue, type ConfigProblem } from './problems.ts';
import type { Origin } from './types.ts';

/** A value somebody gave, and where. */
export interface GivenValue {
  readonly value: RawValue;
  readonly origin: Origin;
}

/** By option path, after merging file < environment < flags. */
export type Given = ReadonlyMap<string, GivenValue>;

/** One option of one element with its final value. */
export interface Entry {
  readonly option: Option;
  /** With the element: `clusters.prod.backup.maxAge`. */
  readonly path: string;
  /** In its final form; undefined when unset. */
  readonly value: unknown;
  readonly origin: Origin;
}

/** What convict carries beside its own fields; its deep copy of the schema keeps functions as they are. */
interface Leaf {
  format: FormatName;
  default: RawValue | null;
  nullable: boolean;
  sensitive: boolean;
  report: (value: unknown) => void;
}

type SchemaTree = { [key: string]: SchemaTree | Leaf };

for (const [name, format] of Object.entries(FORMATS)) {
  convict.addFormat({
    name,
    validate: (value: unknown, leaf: convict.SchemaObj) => (leaf as unknown as Leaf).report(value),
    coerce: (value: string) => (format.coerce === undefined ? value : format.coerce(value)),
  });
}

/**
 * Values of one element, defaults included. A bad one is added to `problems` and left out.
 * @param prefix path of the element, with its final dot, or ''.
 */
export function resolveElement(
  options: readonly Option[],
  prefix: string,
  given: Given,
  context: (origin: Origin) => FormatContext,
  problems: ConfigProblem[],
): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const tree: SchemaTree = {};
  const unexpected: unknown[] = [];
  for (const option of options) {
    const from = given.get(option.path);
    const origin: Origin = from?.origin ?? { kind: 'default' };
    const path = prefix + option.path;
    entries.set(option.path, { option, path, value: undefined, origin });
    if (option.required === true && from === undefined) {
      problems.push({ path, origin, expected: FORMATS[option.format].expected, suggestion: 'it must be set' });
    }
    place(tree, option.path, {
      format: option.format,
      default: option.default ?? null,
      nullable: true,
      sensitive: option.format === 'secret',
      report: (value) => {
        try {
          entries.set(option.path, { option, path, value: FORMATS[option.format].check(value, option, context(origin)), origin });
        } catch (error) {
          if (!(error instanceof BadValue)) {
            unexpected.push(error);
            throw error;
          }
          const value = hidden(option) || from === undefined ? undefined : showValue(from.value);
          problems.push({ path: describePath(path, origin), value, origin, expected: error.expected, suggestion: error.suggestion });
          throw error;
        }
      },
    });
  }
  const before = problems.length;
  try {
    // `args` and `env` are empty: convict must not look at the process by itself.
    const config = convict(tree as convict.Schema<Record<string, unknown>>, { args: [], env: {} });
    config.load(unflatten(given)).validate({ allowed: 'strict' });
  } catch (error) {
    // Convict gathers all errors into one text; ours, with places and without secrets, are in `problems` already.
    if (unexpected.length > 0) throw unexpected[0];
    if (problems.length === before) throw error;
  }
  return entries;
}

/** Neither the value of a secret nor of a `user`, which may hold `user:password`, is ever shown. */
export function hidden(option: Option): boolean {
  return option.format === 'secret' || option.format === 'user';
}

/** A flag is known to its user by its own name, not by a path in a file that does not exist. */
function describePath(path: string, origin: Origin): string {
  return origin.kind === 'flag' ? `--${origin.name}` : path;
}

function place(tree: SchemaTree, path: string, leaf: Leaf): void {
  const keys = path.split('.');
  const last = keys.pop()!;
  let node = tree;
  for (const key of keys) node = (node[key] ??= {}) as SchemaTree;
  node[last] = leaf;
}

function unflatten(given: Given): Record<string, unknown> {
  const tree: Record<string, unknown> = {};
  for (const [path, { value }] of given) {
    const keys = path.split('.');
    const last = keys.pop()!;
    let node = tree;
    for (const key of keys) node = (node[key] ??= {}) as Record<string, unknown>;
    // Numbers of durations and sizes have no unit: as texts they meet the same checks as if they had been quoted.
    node[last] = typeof value === 'number' ? String(value) : value;
  }
  return tree;
}
