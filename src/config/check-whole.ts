/** What only the whole can have wrong: places, names, flags and variables that do not count, who may read the file. */
import { DEFAULT_FILE, type ChosenFile } from './choose-file.ts';
import type { FileAccess } from './files.ts';
import { didYouMean } from './formats.ts';
import { givenNames, type Environment, type Flags } from './given.ts';
import { envName, envNameOfFlag, flagName, type Option } from './option.ts';
import { OPTIONS } from './options.ts';
import type { ConfigProblem } from './problems.ts';
import type { Entry } from './schema.ts';
import { closest } from './suggest.ts';
import type { Config, Origin } from './types.ts';
import type { FileContent } from './yaml-file.ts';

/** The part of loading that the checks use. */
interface Loading {
  readonly flags: Flags;
  /** Options whose flags count beside a file as well. */
  readonly overFile: readonly Option[];
  readonly env: Environment;
  readonly files: FileAccess;
  readonly problems: ConfigProblem[];
  readonly warnings: string[];
}

/** What only a file as a whole can have wrong. */
export function checkWhole(
  loading: Loading,
  content: FileContent,
  file: ChosenFile,
  clusters: Config['clusters'],
  stores: Config['stores'],
  cluster: { name: string; origin: Origin } | undefined,
): void {
  const { problems, flags, env, warnings } = loading;
  const origin: Origin = { kind: 'file', path: file.path, line: 0 };
  if (content.clusters.size === 0)
    problems.push({ path: 'clusters', origin, expected: 'at least one cluster, such as "main: {endpoints: [https://10.0.0.1:2379]}"' });
  if (content.stores.size === 0 && Object.keys(stores).length === 0)
    problems.push({ path: 'stores', origin, expected: 'at least one store, such as "local: {type: local, path: /var/backups/etcd}"' });
  if (cluster !== undefined && !Object.hasOwn(clusters, cluster.name)) {
    const names = Object.keys(clusters);
    problems.push({
      path: '--cluster',
      origin: cluster.origin,
      value: JSON.stringify(cluster.name),
      expected: `one of ${names.join(', ')}`,
      suggestion: didYouMean(closest(cluster.name, names)),
    });
  }
  checkPlaces(content, stores, problems);
  const made = Object.values(stores).some((store) => store.type === 's3' && !content.stores.has(store.name));
  for (const [scope, meant] of [
    ['cluster', false],
    ['s3', made],
  ] as const) {
    if (meant) continue;
    const names = givenNames(OPTIONS[scope], env, flags);
    const allowed = loading.overFile.map(flagName);
    for (const name of names.flags) {
      if (allowed.includes(name)) continue;
      problems.push({
        path: `--${name}`,
        origin: { kind: 'flag', name },
        expected: `no --${name} beside a configuration file (${file.path})`,
        suggestion:
          file.path === DEFAULT_FILE ? 'set it there, or name --endpoints, --to or --from to do without the file' : 'set it there',
      });
    }
    for (const name of names.variables) warnings.push(`${name} counts only without a configuration file; it is ignored`);
  }
  for (const name of ['to', 'from'].map(envNameOfFlag)) {
    if ((env[name] ?? '') !== '') warnings.push(`${name} counts only without a configuration file; it is ignored`);
  }
}

/** A flag that changes nothing was meant for something. */
export function checkStoreFlags(loading: Loading, stores: Config['stores']): void {
  if (Object.values(stores).some((store) => store.type === 's3')) return;
  for (const name of givenNames(OPTIONS.s3, {}, loading.flags).flags) {
    loading.problems.push({ path: `--${name}`, origin: { kind: 'flag', name }, expected: `--to s3://bucket/prefix beside --${name}` });
  }
}

/** Two names for one place would count one copy as two. */
function checkPlaces(content: FileContent, stores: Config['stores'], problems: ConfigProblem[]): void {
  const seen = new Map<string, string>();
  for (const store of Object.values(stores)) {
    const place = store.type === 'local' ? store.path : `${store.endpoint ?? ''} ${store.bucket}/${store.prefix}`;
    const other = seen.get(place);
    const element = content.stores.get(store.name);
    if (other !== undefined && element !== undefined)
      problems.push({ path: `stores.${store.name}`, origin: element.origin, expected: `another place than that of stores.${other}` });
    seen.set(place, store.name);
  }
}

export function refuseReadable(loading: Loading, path: string, plain: readonly Entry[]): void {
  const facts = loading.files.stat(path);
  if (facts === undefined || (facts.mode & 0o004) === 0) return;
  const names = plain.map((entry) => entry.path).join(', ');
  loading.problems.push({
    path: '',
    origin: { kind: 'file', path, line: 0 },
    expected: `a file that others cannot read, because it holds ${names} in plain text`,
    suggestion: `\`chmod 600 ${path}\`, or put the secret into a file of its own (${plain[0]!.option.path}File)`,
  });
}

/** A mistyped variable would be silence otherwise. Only near misses are named: other programs of this project have variables of their own. */
export function warnOfTypos(loading: Loading): void {
  const prefix = envNameOfFlag('');
  const known = new Set([
    ...Object.values(OPTIONS).flatMap((options) => options.flatMap((option) => envName(option) ?? [])),
    ...['config', 'cluster', 'to', 'from'].map(envNameOfFlag),
  ]);
  const words = [...known].map((name) => name.slice(prefix.length));
  for (const name of Object.keys(loading.env)) {
    if (!name.startsWith(prefix) || known.has(name)) continue;
    const meant = closest(name.slice(prefix.length), words);
    if (meant !== undefined) loading.warnings.push(`${name} is not known; did you mean ${prefix}${meant}?`);
  }
}
