/** What the verbs that look inside a snapshot share: opening it with its keys, their options, and how keys and snapshots look in JSON. */
import { isUtf8 } from 'node:buffer';
import type { Catalog } from '../catalog/types.ts';
import { WardenError } from '../errors.ts';
import { directoryOf } from '../inspect/directory.ts';
import { isFileReference, openSnapshot } from '../inspect/open.ts';
import { heldRevisions, type HeldRevisions } from '../inspect/state.ts';
import type { KeyDirectory, OpenedSnapshot, OpenSnapshotOptions } from '../inspect/types.ts';
import { loadCatalog } from '../jobs/catalog.ts';
import { identityFor } from '../jobs/identity.ts';
import { scratchFolder } from '../jobs/scratch-folder.ts';
import type { Store } from '../store/types.ts';
import { given } from './option-values.ts';
import { noteTo } from './output/note.ts';
import { clusterSettings, readCluster, withReadStores } from './selection.ts';
import type { Answer, Invocation } from './verb.ts';

/** Everything that a reference may need, loaded once for all references of a call. */
export interface Sources {
  /** Name of the cluster; undefined when only files are read. */
  readonly cluster: string | undefined;
  readonly catalog: Catalog | undefined;
  readonly stores: readonly Store[];
  readonly identities: readonly string[] | undefined;
}

export interface Opened {
  readonly snapshot: OpenedSnapshot;
  readonly directory: KeyDirectory;
  readonly indexed: boolean;
  readonly held: HeldRevisions;
}

/** Loads the catalogue unless all references are files, which need no store and no configuration. */
export async function withSources(
  invocation: Invocation,
  references: readonly string[],
  work: (sources: Sources) => Promise<Answer>,
): Promise<Answer> {
  const { loaded, context, options } = invocation;
  if (references.every(isFileReference)) {
    if (options['store'] !== undefined)
      throw new WardenError('usage', '--store does not go with a file', { hint: 'a file is read where it lies' });
    const names = Object.keys(loaded.config.clusters);
    const name = loaded.selected.cluster ?? names[0];
    const identities = await identityFor(name === undefined ? undefined : clusterSettings(loaded, name));
    return work({ cluster: undefined, catalog: undefined, stores: [], identities });
  }
  return withReadStores(invocation, async (stores) => {
    const only = given(invocation, 'store');
    if (only !== undefined && !stores.some(({ name }) => name === only))
      throw new WardenError('usage', `there is no store named ${only}`, {
        hint: `there are: ${stores.map(({ name }) => name).join(', ')}`,
      });
    const cluster = await readCluster(invocation, stores);
    const catalog = await loadCatalog(stores, cluster, context.signal);
    return work({ cluster, catalog, stores, identities: await identityFor(clusterSettings(loaded, cluster)) });
  });
}

/** Opens one snapshot with its keys, and closes both whatever happens. */
export async function withSnapshot<Result>(
  invocation: Invocation,
  sources: Sources,
  reference: string,
  work: (opened: Opened) => Promise<Result>,
): Promise<Result> {
  const { context } = invocation;
  const { signal, progress } = context;
  const note = (sentence: string): void => noteTo(invocation, sentence);
  const folder = scratchFolder(context.config);
  const wanted: OpenSnapshotOptions = {
    ...sources,
    signal,
    note,
    progress,
    scratchFolder: folder,
    store: given(invocation, 'store'),
  };
  const snapshot = await openSnapshot(reference, wanted);
  try {
    const held = await heldRevisions(snapshot, signal);
    if (held.newer !== undefined) note(`${snapshot.name} may hold more than is shown: ${held.newer}`);
    const { directory, indexed } = await directoryOf(snapshot, {
      identities: sources.identities,
      signal,
      note,
      progress,
      scratchFolder: folder,
    });
    try {
      return await work({ snapshot, directory, indexed, held });
    } finally {
      await directory.close();
    }
  } finally {
    await snapshot.close();
  }
}

/** The usual case: one snapshot, named by the first argument. */
export async function inspect(invocation: Invocation, work: (opened: Opened, sources: Sources) => Promise<Answer>): Promise<Answer> {
  const [reference = ''] = invocation.arguments;
  return withSources(invocation, [reference], (sources) => withSnapshot(invocation, sources, reference, (opened) => work(opened, sources)));
}

/** The bytes of a key that was typed. @throws WardenError `usage` */
export function keyArgument({ options }: Pick<Invocation, 'options'>, text: string): Buffer {
  if (options['base64Key'] !== true) return Buffer.from(text);
  const key = Buffer.from(text, 'base64');
  // Node forgives what is no base64, and would look for another key.
  if (key.toString('base64').replace(/=+$/u, '') !== text.replace(/=+$/u, ''))
    throw new WardenError('usage', `--base64-key was given, and ${JSON.stringify(text)} is no base64`);
  return key;
}

/** A key in JSON: as text where it is UTF-8, else in base64. */
export function keyJson(key: Buffer): { readonly key: string; readonly keyEncoding: 'utf8' | 'base64' } {
  return isUtf8(key) ? { key: key.toString(), keyEncoding: 'utf8' } : { key: key.toString('base64'), keyEncoding: 'base64' };
}

/** Which snapshot an answer is from. */
export function snapshotJson({ snapshot, held, indexed }: Opened): Record<string, unknown> {
  return {
    name: snapshot.name,
    store: snapshot.store?.name ?? null,
    time: snapshot.backup?.manifest.time ?? null,
    firstRevision: String(held.first),
    revision: String(held.last),
    indexed,
  };
}

/** A lease as etcdctl prints it; `-` for none. */
export function leaseText(lease: bigint): string {
  return lease === 0n ? '-' : BigInt.asUintN(64, lease).toString(16);
}

export function leaseJson(lease: bigint): string | null {
  return lease === 0n ? null : BigInt.asUintN(64, lease).toString(16);
}
