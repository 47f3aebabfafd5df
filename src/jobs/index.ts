/**
 * Key indexes of backups (inspect/index): built beside a backup when it is published, later from a store that holds it, or again when one is damaged. An
 * index makes questions cheap and is no part of a backup: nothing here ever fails one, and what is missing is made up for later.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { decodeStream } from '../archive/decode.ts';
import { openObject } from '../archive/open.ts';
import { createScratch } from '../archive/scratch.ts';
import { createSealer, type SealedFigures } from '../archive/sealer.ts';
import { createSpool } from '../archive/spool.ts';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Backup } from '../catalog/types.ts';
import type { ClusterConfig, Config } from '../config/types.ts';
import { asError, errorDetails, WardenError, type ErrorDetails } from '../errors.ts';
import { collectAll, createSweeper } from '../archive/young-garbage.ts';
import { dataKey, indexKey } from '../format/keys.ts';
import type { Manifest } from '../format/types.ts';
import { buildKeyIndex } from '../inspect/index/build.ts';
import { subjectOf } from '../inspect/index/open.ts';
import { temporaryName } from '../store/temporary.ts';
import type { GrowingFile, Store } from '../store/types.ts';
import { confirmStored } from './backup/confirm.ts';
import { spoolFolder } from './backup/spool-folder.ts';
import { catalogCache } from './catalog.ts';
import { scratchFolder } from './scratch-folder.ts';
import { isWhole, sourcesOf } from './sources.ts';
import type { JobContext, StoreResult } from './types.ts';

export interface IndexLine {
  readonly id: string;
  readonly store: string;
  readonly outcome: 'built' | 'copied' | 'present' | 'failed';
  /** Of the index as it is stored. */
  readonly bytes: number;
  readonly error?: ErrorDetails;
}

export type IndexContext = Pick<JobContext, 'config' | 'signal' | 'logger' | 'progress'>;

/** Newest backups that are looked at for a missing index: whoever asks at 3 a.m. asks one of these. */
const NEWEST = 3;

/** Below it a process of its own takes more memory than it spares. */
const LARGE = 128 * 2 ** 20;

/** Plain bytes that are read at once, a frame. */
const STEP = 2 ** 20;

/** Blocks between two collections: some 15 ms for each 32 MiB. */
const COLLECT_EVERY = 32;

/**
 * Whether the index of a backup that was just taken is left to an `index` job in a process of its own: it must be able to read the backup again, and without
 * bringing it back from S3.
 */
export function indexedApart(
  { plainBytes, stores }: { readonly plainBytes: number; readonly stores: readonly StoreResult[] },
  { encryption, index }: Pick<ClusterConfig, 'encryption' | 'index'>,
  config: Pick<Config, 'stores'>,
): boolean {
  const readable = encryption.recipients.length === 0 || encryption.identity !== undefined;
  const here = stores.some(({ store, outcome }) => outcome === 'stored' && config.stores[store]?.type === 'local');
  return index.enabled && readable && here && plainBytes >= LARGE;
}

/** Where the plain snapshot is read: anywhere for a few pages, and once from its beginning. */
interface PlainSource {
  readonly file: RandomAccess;
  stream(): AsyncIterable<Buffer>;
}

/**
 * Builds the index of a backup that was just published, out of its spool, and puts it beside the backup on each of the stores. Without an identity this is
 * the only time when the index of an encrypted backup can be built.
 * @returns one line for each store; never throws, because the backup stands
 */
export async function indexPublished(
  manifest: Manifest,
  file: RandomAccess,
  stores: readonly Store[],
  recipients: readonly string[],
  context: IndexContext,
): Promise<IndexLine[]> {
  try {
    const source = { file, stream: () => inOrder(file, context.signal) };
    return await withIndex(manifest, source, { stores, recipients }, context, (index) => sendAll(manifest, index, stores, context));
  } catch (error) {
    context.logger.warn({ id: manifest.id, err: asError(error) }, 'the key index was not built');
    return stores.map((store) => failed(manifest.id, store.name, error));
  }
}

/**
 * Makes up for indexes that the newest backups lack on a store: a copy of another store's where there is one, else it is built from the backup.
 * @returns one line for each index that was missing; a failure is a line of its own
 */
export async function indexNewest(
  stores: readonly Store[],
  cluster: ClusterConfig,
  identities: readonly string[] | undefined,
  context: IndexContext,
): Promise<IndexLine[]> {
  const { signal } = context;
  context.progress({ step: 'index', message: 'looking for key indexes' });
  const catalog = await readCatalog(stores, cluster.name, { signal, cache: catalogCache(context.config) });
  // Whether the index of a suspect backup can be built is as doubtful as its data, and it would be tried for ever.
  const newest = catalog.backups.filter(({ state, suspect }) => state !== 'damaged' && suspect === undefined).slice(-NEWEST);
  const lines: IndexLine[] = [];
  for (const backup of newest.toReversed()) {
    const holding: Store[] = [];
    const lacking: Store[] = [];
    for (const store of stores.filter(({ name }) => isWhole(backup, name))) {
      const there = await store.head(keyOf(backup.manifest), { signal });
      (there === undefined ? lacking : holding).push(store);
    }
    if (lacking.length === 0) continue;
    lines.push(...(await makeUp(backup, holding, lacking, { cluster, identities }, context)));
  }
  return lines;
}

/**
 * Builds the index of one backup again out of the same store's copy, and puts it in the place of what is there.
 * @throws WardenError `key-missing` for an encrypted backup without an identity, `verification-failed` when the data is not what the manifest says, and what stores throw
 */
export async function repairIndex(
  backup: Backup,
  store: Store,
  identities: readonly string[] | undefined,
  context: IndexContext,
): Promise<IndexLine> {
  const { manifest } = backup;
  const recipients = context.config.clusters[manifest.cluster]?.encryption.recipients ?? [];
  return fromStore(manifest, store, identities, context, (source) =>
    withIndex(manifest, source, { stores: [store], recipients }, context, async (index) => {
      // Stores overwrite nothing. Between the two there is no index, which every reader can do with.
      const removal = await store.delete(keyOf(manifest), { signal: context.signal });
      if (removal.outcome === 'kept') {
        const until = removal.until === undefined ? '' : ` until ${removal.until.toISOString()}`;
        throw new WardenError('refused', `${store.name} keeps the key index of ${manifest.id}${until}: ${removal.reason}`);
      }
      await send(manifest, index, store, context);
      return { id: manifest.id, store: store.name, outcome: 'built', bytes: index.stored.bytes };
    }),
  );
}

/** Copies the index that another store holds. @returns undefined when it holds none */
export async function copyIndex(manifest: Manifest, from: Store, to: Store, context: IndexContext): Promise<IndexLine | undefined> {
  const { signal } = context;
  const key = keyOf(manifest);
  const there = await from.head(key, { signal });
  if (there === undefined) return undefined;
  if ((await to.head(key, { signal })) !== undefined) return { id: manifest.id, store: to.name, outcome: 'present', bytes: there.size };
  const folder = await spoolFolder([to], context.config.stateDir);
  const spool = await createSpool(join(folder, temporaryName()), there.size);
  try {
    for await (const block of from.stream(key, { signal })) await spool.append([block]);
    const { length, sha256, crc32 } = spool.end();
    await spool.sync();
    await send(manifest, { spool, stored: { ...manifest.stored, bytes: length, sha256, crc32 } }, to, context);
    return { id: manifest.id, store: to.name, outcome: 'copied', bytes: length };
  } finally {
    await spool.remove();
  }
}

async function makeUp(
  backup: Backup,
  holding: readonly Store[],
  lacking: readonly Store[],
  { cluster, identities }: { readonly cluster: ClusterConfig; readonly identities: readonly string[] | undefined },
  context: IndexContext,
): Promise<IndexLine[]> {
  const { manifest } = backup;
  const lines: IndexLine[] = [];
  let missing = lacking;
  for (const from of holding) {
    for (const to of missing) {
      const line = await copyIndex(manifest, from, to, context).catch((error: unknown) => {
        context.signal.throwIfAborted();
        context.logger.warn({ id: manifest.id, from: from.name, to: to.name, err: asError(error) }, 'the key index was not copied');
        return undefined;
      });
      if (line !== undefined) lines.push(line);
    }
    missing = missing.filter(({ name }) => !lines.some((line) => line.store === name));
  }
  if (missing.length === 0) return lines;
  const source = bestOf(backup, [...lacking, ...holding]);
  const build = { stores: missing, recipients: cluster.encryption.recipients };
  try {
    const built = await fromStore(manifest, source, identities, context, (plain) =>
      withIndex(manifest, plain, build, context, (index) => sendAll(manifest, index, missing, context)),
    );
    return [...lines, ...built];
  } catch (error) {
    context.signal.throwIfAborted();
    context.logger.warn({ id: manifest.id, store: source.name, err: asError(error) }, 'the key index was not built');
    return [...lines, ...missing.map((store) => failed(manifest.id, store.name, error))];
  }
}

/** A local copy, if it is one of those that can be counted on. */
function bestOf(backup: Backup, stores: readonly Store[]): Store {
  const sources = sourcesOf(backup);
  const known = stores.filter(({ name }) => sources.includes(name));
  return known.find(({ kind }) => kind === 'local') ?? known[0] ?? stores[0]!;
}

/** Reads the backup out of a store. What passes by is summed up: an index of other data than the manifest's would answer wrongly for ever. */
async function fromStore<Result>(
  manifest: Manifest,
  store: Store,
  identities: readonly string[] | undefined,
  { signal }: IndexContext,
  use: (source: PlainSource) => Promise<Result>,
): Promise<Result> {
  const { encryption } = manifest.stored;
  if (encryption === 'age' && identities === undefined) {
    throw new WardenError(
      'key-missing',
      `the key index of ${manifest.id} cannot be built: the backup is encrypted, and no identity is configured`,
      {
        hint: 'the backup is as good without; name the identity with encryption.identity, or run this where it is',
      },
    );
  }
  const key = dataKey(manifest.cluster, manifest.id, encryption);
  const file = await openObject(store, key, { signal, identities });
  try {
    return await use({
      file,
      async *stream() {
        const sha256 = createHash('sha256');
        const sweep = createSweeper();
        for await (const block of decodeStream(store, key, { signal, identities })) {
          sha256.update(block);
          yield block;
          sweep(block.length);
        }
        const found = sha256.digest('hex');
        if (found === manifest.plain.sha256) return;
        throw new WardenError('verification-failed', `content of ${key}: SHA-256 ${found}, ${manifest.plain.sha256} was written`, {
          hint: `verify the copies: etcd-warden verify ${manifest.id}`,
        });
      },
    });
  } finally {
    await file.close();
  }
}

/** Frame by frame: one is decoded while nothing else is, which this job can afford. */
async function* inOrder(file: RandomAccess, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < file.size; at += STEP) {
    yield await file.read(at, Math.min(STEP, file.size - at), signal);
    // Frames in the cache of the file live long enough to escape the small collections.
    if ((at / STEP) % COLLECT_EVERY === COLLECT_EVERY - 1) collectAll();
  }
}

/** An index that is whole in a spool. */
interface SealedIndex {
  readonly spool: GrowingFile;
  /** As a manifest would describe it. */
  readonly stored: Manifest['stored'];
}

async function withIndex<Result>(
  manifest: Manifest,
  source: PlainSource,
  to: { readonly stores: readonly Store[]; readonly recipients: readonly string[] },
  context: IndexContext,
  use: (index: SealedIndex) => Promise<Result>,
): Promise<Result> {
  const { id, plain, stored } = manifest;
  const encrypted = stored.encryption === 'age';
  if (encrypted && to.recipients.length === 0) {
    throw new WardenError('refused', `the key index of ${id} cannot be built: the backup is encrypted, and no recipients are configured`, {
      hint: 'an index in plain text would show every key; set encryption.recipients',
    });
  }
  const sealer = await createSealer({
    spoolPath: join(await spoolFolder(to.stores, context.config.stateDir), temporaryName()),
    // Each record takes more room in the database than in its index.
    maxPlainBytes: plain.bytes,
    recipients: encrypted ? to.recipients : [],
    signal: context.signal,
  });
  try {
    const message = `building the key index of ${id}`;
    const counts = await buildKeyIndex({
      subject: subjectOf(manifest),
      ...source,
      sink: sealer,
      scratch: createScratch(scratchFolder(context.config), { encrypted }),
      signal: context.signal,
      onProgress: (bytes) => context.progress({ step: 'index', message, bytes, totalBytes: plain.bytes }),
    });
    const figures = await sealer.finish();
    context.logger.info({ id, keys: counts.keys, revisions: counts.revisions, bytes: figures.storedBytes }, 'key index built');
    return await use({ spool: sealer.spool, stored: storedOf(figures) });
  } finally {
    await sealer.abort();
  }
}

async function sendAll(manifest: Manifest, index: SealedIndex, stores: readonly Store[], context: IndexContext): Promise<IndexLine[]> {
  const lines: IndexLine[] = [];
  // The store that the spool lies in takes it by a link, and its name away: it comes last.
  for (const store of [...stores].sort((a, b) => Number(owns(a, index)) - Number(owns(b, index)))) {
    try {
      const outcome = await send(manifest, index, store, context);
      lines.push({ id: manifest.id, store: store.name, outcome, bytes: index.stored.bytes });
    } catch (error) {
      context.signal.throwIfAborted();
      context.logger.warn({ id: manifest.id, store: store.name, err: asError(error) }, 'the store did not take the key index');
      lines.push(failed(manifest.id, store.name, error));
    }
  }
  return stores.flatMap(({ name }) => lines.filter((line) => line.store === name));
}

function owns({ spoolFolder: folder }: Store, { spool }: SealedIndex): boolean {
  return folder !== undefined && spool.path.startsWith(`${folder}/`);
}

async function send(manifest: Manifest, { spool, stored }: SealedIndex, store: Store, context: IndexContext): Promise<'built' | 'present'> {
  const { signal, progress } = context;
  const key = keyOf(manifest);
  try {
    const object = await store.upload(key, spool, { signal });
    await confirmStored(object, key, stored, store, { signal, progress });
    return 'built';
  } catch (error) {
    // Somebody else was quicker, another daemon perhaps.
    if (error instanceof WardenError && error.code === 'object-exists') return 'present';
    if (error instanceof WardenError && error.code === 'verification-failed') await store.delete(key, { signal }).catch(() => undefined);
    throw error;
  }
}

function keyOf({ cluster, id, stored }: Manifest): string {
  return indexKey(cluster, id, stored.encryption);
}

function storedOf({ storedBytes, storedSha256, storedCrc32, encryption }: SealedFigures): Manifest['stored'] {
  return { bytes: storedBytes, sha256: storedSha256, crc32: storedCrc32, compression: 'zstd-seekable', encryption };
}

function failed(id: string, store: string, error: unknown): IndexLine {
  return { id, store, outcome: 'failed', bytes: 0, error: errorDetails(error) };
}
