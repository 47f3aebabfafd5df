/** What a call works on: which cluster, which stores. */
import type { LoadedConfig } from '../config/load.ts';
import type { ClusterConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { clusterToRead } from '../jobs/catalog.ts';
import { withStores } from '../jobs/stores.ts';
import type { Store } from '../store/types.ts';
import type { Answer, Invocation } from './verb.ts';

/**
 * The configured cluster of a verb that talks to etcd.
 * @throws WardenError `usage` when there are several and none was named, or no store to write to
 */
export function chosenCluster(loaded: LoadedConfig): string {
  const names = Object.keys(loaded.config.clusters);
  const name = loaded.selected.cluster ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined)
    throw new WardenError('usage', `several clusters are configured: ${names.join(', ')}`, { hint: 'choose one with --cluster' });
  return name;
}

/** Settings of a cluster by name; without a file the settings of the call count for whatever cluster was found. */
export function clusterSettings(loaded: LoadedConfig, name: string): ClusterConfig | undefined {
  return loaded.config.clusters[name] ?? (loaded.config.file === undefined ? Object.values(loaded.config.clusters)[0] : undefined);
}

/** The stores of a reading verb: `--from` or `--to`, else those of the chosen cluster, else all that are configured. */
export async function withReadStores(invocation: Invocation, work: (stores: Store[]) => Promise<Answer>): Promise<Answer> {
  const { loaded, context } = invocation;
  return withStores(loaded.config, storeNames(loaded), context.logger, work);
}

/** The stores of `copy`, where the two flags mean two things. `explicit` = the destination was named, so everything may go there. */
export async function withCopyStores(
  invocation: Invocation,
  work: (sources: Store[], destinations: Store[], explicit: boolean) => Promise<Answer>,
): Promise<Answer> {
  const { loaded, context } = invocation;
  const { from, to } = loaded.selected;
  const configured = configuredStores(loaded);
  const destinations = to.length > 0 ? to : configured;
  const sources = from.length > 0 ? from : [...new Set([...configured, ...destinations])];
  if (destinations.length === 0 || sources.length === 0) throw noStore();
  return withStores(loaded.config, [...new Set([...sources, ...destinations])], context.logger, (stores) =>
    work(
      stores.filter((store) => sources.includes(store.name)),
      stores.filter((store) => destinations.includes(store.name)),
      to.length > 0,
    ),
  );
}

/** The cluster whose backups are read. */
export async function readCluster(invocation: Invocation, stores: readonly Store[]): Promise<string> {
  const { loaded, context } = invocation;
  return clusterToRead(loaded.config, loaded.selected.cluster, stores, context.signal);
}

function storeNames(loaded: LoadedConfig): readonly string[] {
  if (loaded.selected.from.length > 0) return loaded.selected.from;
  const names = configuredStores(loaded);
  if (names.length === 0) throw noStore();
  return names;
}

function configuredStores(loaded: LoadedConfig): readonly string[] {
  const { config, selected } = loaded;
  const names = Object.keys(config.clusters);
  const cluster = config.clusters[selected.cluster ?? (names.length === 1 ? (names[0] ?? '') : '')];
  return cluster !== undefined && cluster.backup.stores.length > 0 ? cluster.backup.stores : Object.keys(config.stores);
}

/** @throws WardenError `usage` before anything is asked, when a backup would have nowhere to go */
export function requireStore(loaded: LoadedConfig, cluster: string): void {
  if ((loaded.config.clusters[cluster]?.backup.stores.length ?? 0) === 0) throw noStore();
}

function noStore(): WardenError {
  return new WardenError('usage', 'no store is named', {
    hint: 'give --to or --from with a path such as /var/backups/etcd or s3://bucket/prefix, or a configuration file with --config',
  });
}
