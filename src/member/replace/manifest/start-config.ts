/** What an etcd would be started with, as far as joining a cluster depends on it, and what is wrong with that. Pure. */
import type { StartWith } from '../../join.ts';

/** Values as etcd would see them: undefined = not given, so that its default counts. */
export interface StartConfig {
  /** Where it is said, for sentences. */
  readonly where: string;
  readonly name: string | undefined;
  readonly initialCluster: string | undefined;
  /** etcd's default is `new`. */
  readonly initialClusterState: string | undefined;
}

/** A flag of etcd and the variable that stands for it; the flag goes first. */
const SETTINGS = [
  ['name', 'name', 'ETCD_NAME'],
  ['initialCluster', 'initial-cluster', 'ETCD_INITIAL_CLUSTER'],
  ['initialClusterState', 'initial-cluster-state', 'ETCD_INITIAL_CLUSTER_STATE'],
] as const;

/** As etcd reads its command line: `-flag value`, `--flag=value`, the last one counts; and its environment behind that. */
export function startConfig(where: string, words: readonly string[], environment: Readonly<Record<string, string>>): StartConfig {
  const value = (flag: string, variable: string): string | undefined => flagValue(words, flag) ?? environment[variable];
  const [name, initialCluster, initialClusterState] = SETTINGS.map(([, flag, variable]) => value(flag, variable));
  return { where, name, initialCluster, initialClusterState };
}

/** The last one on the line; undefined when it is not there. */
export function flagValue(words: readonly string[], flag: string): string | undefined {
  let found: string | undefined;
  for (const [index, word] of words.entries()) {
    const match = /^--?([a-z0-9-]+)(?:=([^]*))?$/i.exec(word);
    if (match?.[1] === flag) found = match[2] ?? words[index + 1];
  }
  return found;
}

/** One sentence for each thing with which etcd would not join, or would start a cluster of its own; with the line as it must be. */
export function faultsOf(config: StartConfig, joined: Pick<StartWith, 'name' | 'initialCluster'>): string[] {
  const found: string[] = [];
  const { where, name, initialCluster, initialClusterState } = config;
  if (initialClusterState !== 'existing') {
    found.push(
      `${where} says initial-cluster-state ${initialClusterState ?? 'nothing, which means new'}: it would start a cluster of its own; it must be existing`,
    );
  }
  if (initialCluster === undefined || listOf(initialCluster) !== listOf(joined.initialCluster)) {
    const given = initialCluster === undefined ? 'no initial-cluster' : `initial-cluster ${initialCluster}`;
    found.push(`${where} says ${given}, and etcd joins only with exactly the members there are: initial-cluster=${joined.initialCluster}`);
  }
  if (name !== undefined && name !== joined.name)
    found.push(`${where} calls the member ${name}, and initial-cluster has it as ${joined.name}`);
  return found;
}

/** `name=url` pairs in one order, to compare two lists by. */
function listOf(initialCluster: string): string {
  return initialCluster
    .split(',')
    .map((pair) => pair.trim())
    .filter((pair) => pair !== '')
    .toSorted()
    .join(',');
}
