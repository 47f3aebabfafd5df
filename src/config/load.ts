/**
 * From files, environment and flags to one {@link Config}: file < environment < flags, each value with its origin, every error at once.
 * Nothing is started and nothing is changed here.
 */
import { dirname, join } from 'node:path';
import { NAME, NAME_EXPECTED } from './address.ts';
import { buildCluster } from './build-cluster.ts';
import { buildDaemon } from './build-daemon.ts';
import { buildStore } from './build-store.ts';
import { checkStoreFlags, checkWhole, refuseReadable, warnOfTypos } from './check-whole.ts';
import { chooseFile } from './choose-file.ts';
import { setDefault, type BuildContext, type Entries } from './entries.ts';
import { realFiles, type FileAccess } from './files.ts';
import type { FormatContext } from './formats.ts';
import { etcdctlForcesTls, etcdctlGiven, mergeGiven, type Environment, type Flags } from './given.ts';
import { envNameOfFlag, type Option } from './option.ts';
import { OPTIONS } from './options.ts';
import { ConfigError, type ConfigProblem } from './problems.ts';
import { resolveElement, type Entry, type Given, type GivenValue } from './schema.ts';
import { isPlain } from './secret.ts';
import { nameFor, readWishes, storeAt, type Wish } from './selection.ts';
import type { ClusterConfig, Config, Origin, StoreConfig } from './types.ts';
import { readYaml, type FileContent, type FileElement } from './yaml-file.ts';

/** systemd's place for the credentials of our unit: what its files are called to a verb that is run outside of it. */
const UNIT_CREDENTIALS = '/run/credentials/etcd-warden.service';

/** Parts of the configuration whose files and secrets a verb will use; those of other parts need not be there. */
export type Use = 'etcd' | 'stores' | 'daemon';

export interface LoadInput {
  /** commander's `opts()`; flags of verbs that are no options are ignored. */
  readonly flags?: Flags;
  readonly env?: Environment;
  readonly cwd?: string;
  readonly files?: FileAccess;
  readonly now?: Date;
  readonly uid?: number;
  /** `--from` and `--to` are two things; only in `copy`. */
  readonly apart?: boolean;
  /** What works on the quota by hand is told how on the command line, beside a file too; see {@link OVER_A_FILE}. */
  readonly byHand?: boolean;
  /** All by default. A verb that only reads backups must work where the certificates of the cluster are gone: that is when it is needed. */
  readonly uses?: readonly Use[];
}

export interface LoadedConfig {
  readonly config: Config;
  /** Every option of every element, in the order of the table, for `config print`. */
  readonly entries: readonly Entry[];
  /** Origin by full path, such as `clusters.prod.endpoints`. */
  readonly origins: Readonly<Record<string, Origin>>;
  readonly warnings: readonly string[];
  readonly selected: {
    /** `--cluster`; undefined when none was named. */
    readonly cluster: string | undefined;
    /** Names of the stores that `--from` and `--to` ask for; the same list twice except in `copy`; empty when neither was given. */
    readonly from: readonly string[];
    readonly to: readonly string[];
  };
}

/**
 * Options whose flags go over what a file says of the cluster that is meant: how a cluster is cured at night depends on the night, and the daemon reads
 * the same file.
 */
const OVER_A_FILE: readonly Option[] = OPTIONS.cluster.filter(({ path }) => path.startsWith('maintenance.') || path === 'coordinate');

/** Everything that the steps below share. */
interface Loading {
  readonly flags: Flags;
  readonly overFile: readonly Option[];
  readonly env: Environment;
  readonly cwd: string;
  readonly files: FileAccess;
  readonly now: Date;
  readonly uses: readonly Use[];
  readonly problems: ConfigProblem[];
  readonly warnings: string[];
  readonly entries: Entry[];
}

/** @throws ConfigError with every problem of the configuration; nothing else. */
export function loadConfig(input: LoadInput = {}): LoadedConfig {
  const loading: Loading = {
    flags: input.flags ?? {},
    overFile: input.byHand === true ? OVER_A_FILE : [],
    env: input.env ?? process.env,
    cwd: input.cwd ?? process.cwd(),
    files: input.files ?? realFiles,
    now: input.now ?? new Date(),
    uses: input.uses ?? ['etcd', 'stores', 'daemon'],
    problems: [],
    warnings: [],
    entries: [],
  };
  const { flags, env, cwd, problems } = loading;
  const file = chooseFile(flags, env, cwd, loading.files, problems);
  const content = file === undefined ? undefined : readYaml(file.text ?? '', file.path, problems);
  const daemon = loadDaemon(loading, content, input.uid ?? process.getuid?.() ?? 0);
  // Without its content, whatever else could be said of clusters and stores would only hide the one thing to mend.
  if (file !== undefined && (file.text === undefined || content?.readable === false)) throw new ConfigError(problems);
  const wishes = readWishes(
    flags,
    env,
    cwd,
    content === undefined ? undefined : [...content.stores.keys()],
    input.apart === true,
    problems,
  );
  const stores = loadStores(loading, content);
  const from = wishes.from.map((wish) => chosenStore(loading, wish, stores, content));
  const to = input.apart === true ? wishes.to.map((wish) => chosenStore(loading, wish, stores, content)) : from;
  const cluster = clusterName(loading);
  const names = from.length + to.length > 0 ? unique([...from, ...to]) : Object.keys(stores);
  const chosen = input.apart !== true && from.length > 0 ? { value: from, origin: wishes.from[0]!.origin } : undefined;
  const clusters = loadClusters(loading, content, cluster?.name, chosen, names);
  warnOfTypos(loading);
  if (content === undefined) checkStoreFlags(loading, stores);
  else checkWhole(loading, content, file!, clusters, stores, cluster);
  const plain = loading.entries.filter(isPlain);
  if (file !== undefined && plain.length > 0) refuseReadable(loading, file.path, plain);
  if (problems.length > 0) throw new ConfigError(dropRepeated(problems));
  return {
    config: { file: file?.path, clusters, stores, ...daemon },
    entries: loading.entries,
    origins: Object.fromEntries(loading.entries.map((entry) => [entry.path, entry.origin])),
    warnings: unique(loading.warnings),
    selected: { cluster: cluster?.name, from, to },
  };
}

function loadDaemon(loading: Loading, content: FileContent | undefined, uid: number): ReturnType<typeof buildDaemon> {
  const { env, flags } = loading;
  const given = mergeGiven(OPTIONS.daemon, { ...(content === undefined ? {} : { file: content.daemon.given }), env, flags });
  const state = (env['STATE_DIRECTORY'] ?? '').split(':')[0]!;
  // systemd's word for where this unit's state lies, in the place of a default.
  if (state !== '' && !given.has('stateDir'))
    given.set('stateDir', { value: state, origin: { kind: 'environment', name: 'STATE_DIRECTORY' } });
  const entries = resolve(loading, 'daemon', '', given);
  setDefault(entries, 'stateDir', defaultStateDir(env, uid));
  const daemon = buildDaemon(entries, buildContext(loading, 'daemon', content === undefined, []));
  loading.entries.push(...entries.values());
  return daemon;
}

/** Where `backup --endpoints … --to …` of an ordinary user may write, and where a packaged daemon does. */
function defaultStateDir(env: Environment, uid: number): string {
  const home = env['XDG_STATE_HOME'] ?? (env['HOME'] === undefined ? undefined : join(env['HOME'], '.local/state'));
  return uid === 0 || home === undefined || !home.startsWith('/') ? '/var/lib/etcd-warden' : join(home, 'etcd-warden');
}

function loadStores(loading: Loading, content: FileContent | undefined): Record<string, StoreConfig> {
  const stores: Record<string, StoreConfig> = {};
  for (const [name, element] of content?.stores ?? []) {
    if (element.scope === 'local' || element.scope === 's3') stores[name] = loadStore(loading, name, element.scope, element.given, false);
  }
  return stores;
}

function loadStore(loading: Loading, name: string, scope: 'local' | 's3', given: Given, fileless: boolean): StoreConfig {
  const entries = resolve(loading, scope, `stores.${name}.`, given);
  const store = buildStore(name, entries, buildContext(loading, 'stores', fileless, []));
  loading.entries.push(...entries.values());
  return store;
}

/** The store that a wish names, made up and added to `stores` when it is not configured. */
function chosenStore(loading: Loading, wish: Wish, stores: Record<string, StoreConfig>, content: FileContent | undefined): string {
  const { address, origin } = wish;
  if (address.kind === 'name') return address.name;
  const known = storeAt(address, stores);
  if (known !== undefined) return known.name;
  const name = nameFor(address, { ...stores, ...Object.fromEntries(content?.stores ?? []) });
  const place: [string, string][] =
    address.kind === 'local'
      ? [['path', address.path]]
      : [
          ['bucket', address.bucket],
          ['prefix', address.prefix],
        ];
  const file = new Map<string, GivenValue>([['type', address.kind], ...place].map(([path, value]) => [path!, { value: value!, origin }]));
  // Flags and variables of stores are meant for exactly these.
  const given = address.kind === 's3' ? mergeGiven(OPTIONS.s3, { file, env: loading.env, flags: loading.flags }) : file;
  stores[name] = loadStore(loading, name, address.kind, given, true);
  return name;
}

function loadClusters(
  loading: Loading,
  content: FileContent | undefined,
  named: string | undefined,
  chosen: { value: readonly string[]; origin: Origin } | undefined,
  stores: readonly string[],
): Record<string, ClusterConfig> {
  const clusters: Record<string, ClusterConfig> = {};
  for (const [name, element] of content?.clusters ?? [[named ?? 'default', filelessCluster(loading)]]) {
    const given = new Map(element.given);
    if (chosen !== undefined) given.set('backup.stores', chosen);
    const meant = content !== undefined && (name === named || content.clusters.size === 1);
    if (meant) for (const [path, value] of mergeGiven(loading.overFile, { env: {}, flags: loading.flags })) given.set(path, value);
    const entries = resolve(loading, 'cluster', `clusters.${name}.`, given);
    // A store made up for the destination of `copy` is none that backups go to.
    const usual = chosen?.value ?? (content === undefined ? stores : [...content.stores.keys()]);
    const build = buildContext(loading, 'etcd', content === undefined, usual);
    clusters[name] = buildCluster(name, entries, build);
    loading.entries.push(...entries.values());
  }
  return clusters;
}

/** etcdctl's variables are what people have in their shells; they count only here. */
function filelessCluster(loading: Loading): FileElement {
  const { env, flags, problems } = loading;
  const etcdctl = etcdctlGiven(OPTIONS.cluster, env, flags['endpoints'] === undefined ? problems : []);
  const given = mergeGiven(OPTIONS.cluster, { etcdctl, env, flags });
  if (!given.has('endpoints')) given.set('endpoints', { value: '127.0.0.1:2379', origin: { kind: 'default' } });
  return { scope: 'cluster', given, origin: { kind: 'default' } };
}

function clusterName(loading: Loading): { name: string; origin: Origin } | undefined {
  const variable = envNameOfFlag('cluster');
  const flag = loading.flags['cluster'];
  const name = typeof flag === 'string' ? flag : (loading.env[variable] ?? '');
  if (name === '' && typeof flag !== 'string') return undefined;
  const origin: Origin = typeof flag === 'string' ? { kind: 'flag', name: 'cluster' } : { kind: 'environment', name: variable };
  if (NAME.test(name)) return { name, origin };
  loading.problems.push({ path: '--cluster', origin, value: JSON.stringify(name), expected: NAME_EXPECTED });
  return undefined;
}

function resolve(loading: Loading, scope: keyof typeof OPTIONS, prefix: string, given: Given): Entries {
  const context = (origin: Origin): FormatContext => ({
    now: loading.now,
    folder: origin.kind === 'file' ? dirname(origin.path) : loading.cwd,
    credentials: loading.env['CREDENTIALS_DIRECTORY'] ?? UNIT_CREDENTIALS,
  });
  return resolveElement(OPTIONS[scope], prefix, given, context, loading.problems);
}

function buildContext(loading: Loading, use: Use, fileless: boolean, stores: readonly string[]): BuildContext {
  return {
    env: loading.env,
    files: loading.files,
    problems: loading.problems,
    warnings: loading.warnings,
    check: loading.uses.includes(use),
    checkIdentity: loading.uses.includes('stores'),
    now: loading.now,
    stores,
    forceTls: fileless && etcdctlForcesTls(loading.env),
    fileless,
  };
}

/** One mistake can be met twice, such as a wrong value that a check of two options also stumbles over. */
function dropRepeated(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const seen = new Set<string>();
  return problems.filter((problem) => {
    const key = JSON.stringify(problem);
    return seen.has(key) ? false : seen.add(key).size > 0;
  });
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)];
}
