import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** A source file of ours: its path below src, as in `store/local/store.ts`, and its text. */
export interface SourceFile {
  path: string;
  text: string;
}

// One idea per folder, and one direction: a folder may import from any line below its own, never from its own line or above.
const LAYERS: readonly (readonly string[])[] = [
  ['cli'],
  ['daemon'],
  ['http'],
  ['jobs'],
  ['restore', 'inspect', 'maintenance', 'member', 'doctor', 'changes'],
  ['catalog', 'etcd', 'retention'],
  ['archive'],
  ['store'],
  ['format', 'mvcc'],
  ['boltdb'],
];
// Importable by every folder that is not pure; they import neither each other nor any other folder.
const COMMON = ['config', 'telemetry'];
// Bytes or plain objects in, bytes or plain objects out: no clock, no disk, no network. One inside of a folder imports nothing of the rest of it either.
const PURE = ['boltdb', 'mvcc', 'format', 'retention', 'maintenance/planner'];
const HARMLESS = new Set(['node:buffer', 'node:crypto', 'node:zlib', 'node:util', 'hash-wasm']);
// Files directly in src that pure folders may import: plain tables and types.
const PLAIN_ROOT_FILES = new Set(['errors.ts']);
// A statement at the start of a line, as oxfmt leaves them, or a call anywhere.
const IMPORT = /^(?:import|export)\b(?:[\w\s{},*$]*\bfrom)?\s*'([^'\s]+)'|\bimport\(\s*'([^'\s]+)'/gm;
const IMPURE = /\b(?:Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|setImmediate|fetch)\b|\bprocess\./;

/** Every file of the program under `folder`; tests are no part of the graph. */
export function readSources(folder: string): SourceFile[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
    .map((path) => ({ path: path.replaceAll('\\', '/'), text: readFileSync(join(folder, path), 'utf8') }));
}

/** What a file imports, statically or not, as values or as types: paths below src for files of ours, else the name as it is written. */
export function importsOf(file: SourceFile): string[] {
  const code = withoutComments(file.text);
  const names = [...code.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? '');
  return names.map((name) => (name.startsWith('.') ? posix.join(posix.dirname(file.path), name) : name));
}

// As above, but for what goes with the types.
const VALUE_IMPORT = /^(?:import|export)\b(?!\s+type\b)(?:[\w\s{},*$]*\bfrom)?\s*'([^'\s]+)'/gm;

/** Packages and modules of Node that are loaded as soon as these files are: what their `import` statements reach, not what `import()` would. */
export function loadedWith(files: readonly SourceFile[], entries: readonly string[]): ReadonlySet<string> {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  const reached = new Set(entries);
  for (const path of reached)
    for (const [, name = ''] of withoutComments(texts.get(path) ?? '').matchAll(VALUE_IMPORT))
      reached.add(name.startsWith('.') ? posix.join(posix.dirname(path), name) : name);
  return new Set([...reached].filter((name) => !name.endsWith('.ts')));
}

/** Each broken arrow as one sentence. */
export function brokenArrows(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    return importsOf(file)
      .filter((target) => target.endsWith('.ts'))
      .flatMap((target) => {
        const reason = whyNot(file.path, target);
        return reason === undefined ? [] : [`${file.path} imports ${target}: ${reason}`];
      });
  });
}

/** What pure folders use that they must not. */
export function impurities(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const pure = pureFolderOf(file.path);
    if (pure === undefined) return [];
    const foreign = importsOf(file).filter((name) => !name.endsWith('.ts') && !HARMLESS.has(name));
    const used = IMPURE.exec(withoutComments(file.text));
    return [
      ...foreign.map((name) => `${file.path} imports ${name}, but ${pure} is pure`),
      ...(used === null ? [] : [`${file.path} uses ${used[0]}, but ${pure} is pure`]),
    ];
  });
}

/** Packages that are imported by the program without being among its runtime dependencies. */
export function undeclared(files: readonly SourceFile[], dependencies: readonly string[]): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((name) => !name.endsWith('.ts') && !name.startsWith('node:'))
      .filter((name) => !dependencies.some((each) => name === each || name.startsWith(`${each}/`)))
      .map((name) => `${file.path} imports ${name}, which a production install does not have`),
  );
}

/** Rings of files that import each other, each as its path around. */
export function cycles(files: readonly SourceFile[]): string[] {
  const graph = new Map(files.map((file) => [file.path, importsOf(file).filter((target) => target.endsWith('.ts'))]));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start !== -1) {
      found.push([...way.slice(start), path].join(' -> '));
      return;
    }
    if (done.has(path)) return;
    for (const target of graph.get(path) ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

function whyNot(path: string, target: string): string | undefined {
  const [from, to] = [folderOf(path), folderOf(target)];
  const pure = pureFolderOf(path);
  if (to === '..' || target.startsWith('../')) return 'it lies outside of src';
  if (to === '') return pure !== undefined && !PLAIN_ROOT_FILES.has(target) ? `${pure} is pure` : undefined;
  if (pure !== undefined && pure !== from) return target.startsWith(`${pure}/`) ? undefined : `${pure} is pure`;
  if (from === to) return undefined;
  if (from === '') return 'a file beside the folders imports from none of them';
  if (COMMON.includes(from)) return `${from} imports no other folder`;
  if (COMMON.includes(to)) return pure === undefined ? undefined : `${pure} is pure`;
  const [upper, lower] = [layerOf(from), layerOf(to)];
  if (upper === -1 || lower === -1) return `${upper === -1 ? from : to} has no place among the layers`;
  return upper < lower ? undefined : `arrows go from ${to} to ${from} or not at all`;
}

function pureFolderOf(path: string): string | undefined {
  return PURE.find((folder) => path.startsWith(`${folder}/`));
}

function layerOf(folder: string): number {
  return LAYERS.findIndex((layer) => layer.includes(folder));
}

/** The first folder of a path below src; empty for a file directly in it. */
function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
}
