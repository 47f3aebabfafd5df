/** A configuration file: YAML to values with their places, and every mistake of spelling and structure. Values are judged later (schema.ts). */
import type { Document, ErrorCode, LineCounter, Node, YAMLMap } from 'yaml';
import { NAME, NAME_EXPECTED } from './address.ts';
import { didYouMean } from './formats.ts';
import type { Option, RawValue } from './option.ts';
import { OPTIONS, type Scope } from './options.ts';
import { STORE_TYPES } from './options-store.ts';
import type { ConfigProblem } from './problems.ts';
import type { GivenValue } from './schema.ts';
import { closest } from './suggest.ts';
import type { Origin } from './types.ts';
import { yaml } from './yaml.ts';

export interface FileElement {
  /** Undefined when the type of a store was not understood; that is reported already. */
  readonly scope: Scope | undefined;
  readonly given: ReadonlyMap<string, GivenValue>;
  readonly origin: Origin;
}

export interface FileContent {
  /** False when the file is no YAML: then nothing else here means anything. */
  readonly readable: boolean;
  readonly daemon: FileElement;
  readonly clusters: ReadonlyMap<string, FileElement>;
  readonly stores: ReadonlyMap<string, FileElement>;
}

/** The library's own sentences quote the file, and so possibly a password: these do not. */
const YAML_ERRORS: Partial<Record<ErrorCode, string>> = {
  DUPLICATE_KEY: 'each key only once',
  TAB_AS_INDENT: 'spaces instead of tabs at the start of a line',
  BAD_INDENT: 'lines of one map or list to start in the same column',
  BAD_ALIAS: 'the name of an anchor after *; put quotes around a text that starts with *',
  BAD_SCALAR_START: 'quotes around a text that starts with @, ` or %',
  TAG_RESOLVE_FAILED: 'no tag; put quotes around a text that starts with !',
  MISSING_CHAR: 'the other half of a pair of quotes or brackets, or a space or comma',
  MULTIPLE_DOCS: 'one document, without --- in the middle',
  BAD_DQ_ESCAPE: 'a valid escape after \\ in double quotes; single quotes take \\ as it is',
  BLOCK_AS_IMPLICIT_KEY: 'one "key: value" per line; put quotes around a text with ": " in it',
  MULTILINE_IMPLICIT_KEY: '"key: value" on one line',
};

interface Reader {
  readonly path: string;
  readonly lines: LineCounter;
  readonly document: Document;
  readonly problems: ConfigProblem[];
}

/** A file without any content is a file without any option. */
export function readYaml(text: string, path: string, problems: ConfigProblem[]): FileContent {
  const { LineCounter, parseDocument } = yaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, strict: true, version: '1.2' });
  const reader: Reader = { path, lines, document, problems };
  let structure = true;
  for (const error of [...document.errors, ...document.warnings]) {
    problems.push({
      path: error.code === 'DUPLICATE_KEY' ? (/^[\w-]{1,40}/.exec(text.slice(error.pos[0]))?.[0] ?? '') : '',
      origin: at(reader, error.pos[0]),
      expected: YAML_ERRORS[error.code] ?? `valid YAML (${error.code.toLowerCase().replaceAll('_', ' ')})`,
    });
    // A duplicate key leaves the rest readable; after anything else what follows may be a misunderstanding.
    if (error.code !== 'DUPLICATE_KEY') structure = false;
  }
  const daemon = new Map<string, GivenValue>();
  const clusters = new Map<string, FileElement>();
  const stores = new Map<string, FileElement>();
  const whole: Origin = { kind: 'file', path, line: 0 };
  const content: FileContent = { readable: structure, daemon: { scope: 'daemon', given: daemon, origin: whole }, clusters, stores };
  if (!structure) return content;
  const root = asMap(reader, document.contents, '', 'a map of options', whole);
  if (root === undefined) return content;
  readGroup(reader, root, '', '', OPTIONS.daemon, daemon, {
    clusters: (node, origin) => readElements(reader, node, origin, 'clusters', clusters, () => 'cluster'),
    stores: (node, origin) => readElements(reader, node, origin, 'stores', stores, (map) => storeScope(reader, map)),
  });
  return content;
}

type Nested = Readonly<Record<string, (node: Node | null, origin: Origin) => void>>;

/** One map of the file against the options below `group`: leaves are taken, groups entered, everything else is unknown. */
function readGroup(
  reader: Reader,
  map: YAMLMap,
  prefix: string,
  group: string,
  options: readonly Option[],
  given: Map<string, GivenValue>,
  nested: Nested,
): void {
  const known = new Set(
    options.filter((option) => option.path.startsWith(group)).map((option) => option.path.slice(group.length).split('.')[0]!),
  );
  for (const pair of map.items) {
    const key = keyText(pair.key);
    const origin = at(reader, startOf(pair.key) ?? startOf(pair.value) ?? 0);
    const path = prefix + group + key;
    const node = resolveAlias(reader, pair.value as Node | null);
    if (Object.hasOwn(nested, key)) {
      nested[key]!(node, origin);
      continue;
    }
    const option = options.find((candidate) => candidate.path === group + key);
    if (option !== undefined) {
      const value = readLeaf(reader, node, option, path, at(reader, startOf(pair.value) ?? startOf(pair.key) ?? 0));
      if (value !== undefined) given.set(option.path, value);
    } else if (known.has(key)) {
      const child = asMap(reader, node, path, 'a map of options', origin);
      if (child !== undefined) readGroup(reader, child, prefix, `${group}${key}.`, options, given, {});
    } else {
      const names = [...known, ...Object.keys(nested)];
      // Its value is not shown: a mistyped `passwrod` has a password behind it.
      const meant = didYouMean(elsewhere(key, names, options));
      reader.problems.push({
        path,
        origin,
        expected: meant === undefined ? `one of ${names.toSorted().join(', ')}` : 'a known key',
        suggestion: meant,
      });
    }
  }
}

/** The nearest known key of this group, else the same key in another group. */
function elsewhere(key: string, names: readonly string[], options: readonly Option[]): string | undefined {
  return closest(key, names) ?? options.find((option) => option.path.split('.').at(-1) === key)?.path;
}

function readElements(
  reader: Reader,
  node: Node | null,
  origin: Origin,
  prefix: string,
  elements: Map<string, FileElement>,
  scopeOf: (map: YAMLMap) => Scope | undefined,
): void {
  if (yaml().isSeq(node)) {
    reader.problems.push({ path: prefix, origin, expected: `a map by name, such as "${prefix}: {main: {…}}"`, value: 'a list' });
    return;
  }
  const map = asMap(reader, node, prefix, `a map of ${prefix} by name`, origin);
  for (const pair of map?.items ?? []) {
    const name = keyText(pair.key);
    const place = at(reader, startOf(pair.key) ?? 0);
    const path = `${prefix}.${name}`;
    if (!NAME.test(name)) {
      reader.problems.push({ path, origin: place, expected: NAME_EXPECTED });
      continue;
    }
    const child = asMap(reader, resolveAlias(reader, pair.value as Node | null), path, 'a map of options', place);
    // An element that is not understood is still known by name, so that references to it are not reported as well.
    const given = new Map<string, GivenValue>();
    const scope = child === undefined ? undefined : scopeOf(child);
    elements.set(name, { scope, given, origin: place });
    if (child === undefined) continue;
    if (scope === undefined) {
      const type = child.items.find((item) => keyText(item.key) === 'type');
      const value = yaml().isScalar(type?.value) && typeof type.value.value === 'string' ? JSON.stringify(type.value.value) : undefined;
      reader.problems.push({
        path: `${path}.type`,
        origin: type === undefined ? place : at(reader, startOf(type.value) ?? 0),
        value,
        expected: STORE_TYPES.join(' or '),
        suggestion: value === undefined ? undefined : didYouMean(closest(value.slice(1, -1), STORE_TYPES)),
      });
      continue;
    }
    readGroup(reader, child, `${path}.`, '', OPTIONS[scope], given, {});
  }
}

function storeScope(reader: Reader, map: YAMLMap): Scope | undefined {
  const type = resolveAlias(reader, map.get('type', true) as Node | null);
  return yaml().isScalar(type) ? STORE_TYPES.find((name) => name === type.value) : undefined;
}

function readLeaf(reader: Reader, node: Node | null, option: Option, path: string, origin: Origin): GivenValue | undefined {
  const value = rawValue(reader, node, option);
  if (value !== undefined) return { value, origin };
  const kind = yaml().isMap(node) ? 'a map' : yaml().isSeq(node) ? 'a list of something else' : 'nothing';
  reader.problems.push({
    path,
    origin,
    value: kind,
    expected: expectedKind(option),
    suggestion: kind === 'nothing' ? 'leave the key out to get its default' : undefined,
  });
  return undefined;
}

function expectedKind(option: Option): string {
  return ['endpoints', 'names', 'hosts', 'recipients'].includes(option.format) ? 'a list of texts' : 'a single value';
}

function rawValue(reader: Reader, node: Node | null, option: Option): RawValue | undefined {
  if (yaml().isSeq(node)) {
    if (expectedKind(option) === 'a single value') return undefined;
    const items = node.items.map((item) => scalarValue(resolveAlias(reader, item as Node | null)));
    return items.every((item) => typeof item === 'string') ? items : undefined;
  }
  return scalarValue(node);
}

/** A number stays the text it was written as: a password `007` is not 7, and `1e3` is no whole number to anyone who reads it. */
function scalarValue(node: Node | null): string | boolean | undefined {
  if (!yaml().isScalar(node)) return undefined;
  if (typeof node.value === 'number' || typeof node.value === 'bigint') return node.source ?? String(node.value);
  return typeof node.value === 'string' || typeof node.value === 'boolean' ? node.value : undefined;
}

/** Nothing at all (`tls:` with every line below commented out) is an empty map. */
function asMap(reader: Reader, node: Node | null, path: string, expected: string, origin: Origin): YAMLMap | undefined {
  if (yaml().isMap(node)) return node;
  const empty = node === null || node === undefined || (yaml().isScalar(node) && node.value === null);
  // What was found is not shown: it stands where a map with secrets may have been meant.
  if (!empty) reader.problems.push({ path, origin, expected, value: yaml().isSeq(node) ? 'a list' : 'a single value' });
  return undefined;
}

function resolveAlias(reader: Reader, node: Node | null): Node | null {
  return yaml().isAlias(node) ? ((node.resolve(reader.document) as Node | undefined) ?? null) : node;
}

function keyText(key: unknown): string {
  if (!yaml().isScalar(key)) return '(a key that is no text)';
  return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value));
}

function startOf(node: unknown): number | undefined {
  return (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range?.[0];
}

function at(reader: Reader, offset: number): Origin {
  const { line, col } = reader.lines.linePos(offset);
  return { kind: 'file', path: reader.path, line, column: col };
}
