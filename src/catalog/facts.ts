/** Writing later facts: the same object under the same name to every store given, so that each store alone tells the whole story. */
import { asError } from '../errors.ts';
import { encodeAcceptance, encodeCheck, FACT_SCHEMA } from '../format/facts.ts';
import { IMPORTED_LINEAGE, type RandomBytes } from '../format/ids.ts';
import { acceptanceKey, checkKey } from '../format/keys.ts';
import type { RestoreRecord } from '../format/restore-record.ts';
import type { Acceptance, Check } from '../format/types.ts';
import type { Store } from '../store/types.ts';
import type { Backup, Catalog } from './types.ts';

export interface FactContext {
  /** `etcd-warden <version>`. */
  readonly tool: string;
  readonly now: Date;
  readonly random: RandomBytes;
  readonly signal: AbortSignal;
}

export interface FactOutcome {
  readonly store: string;
  /** Why it is not on this store. */
  readonly error: Error | undefined;
}

/**
 * Records something about a backup. A `verify` goes to the store that was read; holds, releases, drills and suspicions go to all stores of the cluster.
 * @throws the first store's error when no store took it
 */
export async function writeCheck(
  stores: readonly Store[],
  cluster: string,
  fields: Pick<Check, 'kind' | 'id'> & Partial<Pick<Check, 'store' | 'level' | 'outcome' | 'proof' | 'drill' | 'reason'>>,
  context: FactContext,
): Promise<readonly FactOutcome[]> {
  const check: Check = { schema: FACT_SCHEMA, time: context.now.toISOString(), tool: context.tool, ...fields };
  return await putEverywhere(
    stores,
    checkKey(cluster, check.id, context.now, check.kind, context.random),
    encodeCheck(check),
    context.signal,
  );
}

/** Pins a backup: retention keeps it until it is released. @throws the first store's error when no store took it */
export async function holdBackup(
  stores: readonly Store[],
  { cluster, id }: Pick<Backup, 'cluster' | 'id'>,
  reason: string,
  context: FactContext,
): Promise<readonly FactOutcome[]> {
  return await writeCheck(stores, cluster, { kind: 'hold', id, ...(reason === '' ? {} : { reason }) }, context);
}

/**
 * Unpins a backup. When it is the newest verified one of an earlier generation, which is protected without being held, its generation is released with
 * it: that is what keeps it.
 * @throws the first store's error when no store took it
 */
export async function releaseBackup(
  stores: readonly Store[],
  catalog: Catalog,
  { id, manifest }: Backup,
  context: FactContext,
): Promise<{ readonly outcomes: readonly FactOutcome[]; readonly releasedGeneration: string | undefined }> {
  const outcomes = await writeCheck(stores, catalog.cluster, { kind: 'release', id }, context);
  const { lineage, clusterId } = manifest;
  if (lineage === catalog.generations.at(-1)?.lineage || newestVerified(catalog, lineage)?.id !== id)
    return { outcomes, releasedGeneration: undefined };
  const released = await writeAcceptance(stores, catalog.cluster, { kind: 'release', lineage, clusterId, reason: `with ${id}` }, context);
  return { outcomes: [...outcomes, ...released], releasedGeneration: lineage };
}

/** Records a fact about a generation; `accept` lets retention work across it. @throws the first store's error when no store took it */
export async function writeAcceptance(
  stores: readonly Store[],
  cluster: string,
  fields: Pick<Acceptance, 'kind' | 'lineage' | 'clusterId'> & Partial<Pick<Acceptance, 'reason' | 'restore'>>,
  context: FactContext,
): Promise<readonly FactOutcome[]> {
  const acceptance: Acceptance = { schema: FACT_SCHEMA, time: context.now.toISOString(), tool: context.tool, ...fields };
  return await putEverywhere(
    stores,
    acceptanceKey(cluster, context.now, acceptance.kind, context.random),
    encodeAcceptance(acceptance),
    context.signal,
  );
}

/**
 * Tells the stores of what a restore made: the next generation that begins with its cluster id is accepted by that, and `restore --check` finds the record.
 * `cluster` is the name under which backups of the restored cluster will lie; nothing is written when there is none (the source was a file).
 * @throws the first store's error when no store took it
 */
export async function announceRestore(
  stores: readonly Store[],
  restore: RestoreRecord,
  context: FactContext,
  cluster: string | undefined = restore.source.cluster,
): Promise<readonly FactOutcome[]> {
  if (cluster === undefined) return [];
  // A file is of no history that is known, like everything that was imported.
  const { clusterId, source } = restore;
  const lineage = source.lineage ?? IMPORTED_LINEAGE;
  return await writeAcceptance(stores, cluster, { kind: 'restore', lineage, clusterId, restore }, context);
}

function newestVerified({ backups }: Catalog, lineage: string): Backup | undefined {
  return backups.findLast(({ manifest, copies }) => manifest.lineage === lineage && copies.some(({ verified }) => verified));
}

async function putEverywhere(stores: readonly Store[], key: string, body: Buffer, signal: AbortSignal): Promise<readonly FactOutcome[]> {
  const outcomes = await Promise.all(
    stores.map(async (store): Promise<FactOutcome> => {
      try {
        await store.put(key, body, { signal });
        return { store: store.name, error: undefined };
      } catch (thrown) {
        signal.throwIfAborted();
        return { store: store.name, error: asError(thrown) };
      }
    }),
  );
  const failed = outcomes.find(({ error }) => error !== undefined);
  if (failed?.error !== undefined && outcomes.every(({ error }) => error !== undefined)) throw failed.error;
  return outcomes;
}
