/** The stores of a call: opened together, closed together, and one that cannot be opened never hides the others. */
import type { ClusterConfig, Config } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { openStore } from '../store/open.ts';
import type { Store } from '../store/types.ts';
import type { Logger } from '../telemetry/logger.ts';

/**
 * Opens stores by name, in the order given.
 * @throws WardenError `usage` for a name that is not configured
 */
export async function openStores(config: Config, names: readonly string[], logger: Logger): Promise<Store[]> {
  const stores: Store[] = [];
  for (const name of names) {
    const settings = config.stores[name];
    if (settings === undefined) {
      throw new WardenError('usage', `there is no store named ${name}`, {
        hint: `configured are: ${Object.keys(config.stores).join(', ') || 'none'}`,
      });
    }
    stores.push(await openStore(settings, { logger }));
  }
  return stores;
}

/** Runs `work` with the stores and closes them whatever happens. */
export async function withStores<Result>(
  config: Config,
  names: readonly string[],
  logger: Logger,
  work: (stores: Store[]) => Promise<Result>,
): Promise<Result> {
  const stores = await openStores(config, names, logger);
  try {
    return await work(stores);
  } finally {
    await Promise.allSettled(stores.map((store) => store.close()));
  }
}

/**
 * The cluster that a call is about.
 * @throws WardenError `usage` when it is not configured
 */
export function clusterOf(config: Config, name: string): ClusterConfig {
  const cluster = config.clusters[name];
  if (cluster === undefined) {
    throw new WardenError('usage', `there is no cluster named ${name}`, {
      hint: `configured are: ${Object.keys(config.clusters).join(', ') || 'none'}`,
    });
  }
  return cluster;
}
