/**
 * Adopts a snapshot that another tool wrote: sealed, uploaded and published as a backup is, after it was looked through from end to end. What only a
 * member could tell stays open: which cluster it is of, and a proof.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { diskError } from '../archive/disk-errors.ts';
import { openSealed, type OpenArchive } from '../archive/open.ts';
import { createScratch } from '../archive/scratch.ts';
import { createSealer, type SealedFigures } from '../archive/sealer.ts';
import { collectAll, createSweeper } from '../archive/young-garbage.ts';
import { openBolt } from '../boltdb/bolt.ts';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Catalog } from '../catalog/types.ts';
import { asError, errorDetails, WardenError } from '../errors.ts';
import { IMPORTED_LINEAGE, newId } from '../format/ids.ts';
import { dataKey } from '../format/keys.ts';
import { tidyText } from '../format/manifest.ts';
import { MANIFEST_SCHEMA, type Manifest } from '../format/types.ts';
import type { Examination, Examined } from '../mvcc/examination/types.ts';
import { readHead } from '../mvcc/head.ts';
import { requireKnownSchema } from '../mvcc/schema.ts';
import { membersOf } from '../mvcc/members.ts';
import { temporaryName } from '../store/temporary.ts';
import type { Store } from '../store/types.ts';
import { toolName } from '../version.ts';
import type { UploadResult } from './backup/attempt.ts';
import { Destinations } from './backup/destinations.ts';
import { publishEach } from './backup/publish.ts';
import { neededBytes } from './backup/space.ts';
import { checkSpool, spoolFolder } from './backup/spool-folder.ts';
import { openImportFile } from './import-file.ts';
import { timeOfSnapshot } from './import-time.ts';
import { passOver } from './plain-pass.ts';
import { scratchFolder } from './scratch-folder.ts';
import type { JobContext, StoreResult } from './types.ts';

export interface ImportRequest {
  readonly cluster: string;
  /** When it was taken; else what its name or its last change says. */
  readonly time?: Date | undefined;
  readonly label?: string | undefined;
  readonly recipients: readonly string[];
  /** For files that are encrypted themselves. */
  readonly identities: readonly string[] | undefined;
}

export interface ImportLine {
  readonly file: string;
  /** `present`: these very bytes were imported, or backed up, before. */
  readonly outcome: 'imported' | 'partial' | 'present';
  readonly id: string;
  readonly time: string;
  readonly revision: string;
  readonly keyCount: number;
  readonly plainBytes: number;
  readonly storedBytes: number;
  readonly stores: readonly StoreResult[];
}

/**
 * @throws WardenError `nothing-found`, `not-bolt`, `not-etcd`, `bolt-damaged`, `snapshot-wrong-length`, `snapshot-hash-mismatch`, `verification-failed` when it is no sound
 *   snapshot; `usage` when its time cannot be; what stores and disks throw when none took it
 */
export async function importSnapshot(
  path: string,
  stores: readonly Store[],
  request: ImportRequest,
  context: JobContext,
): Promise<ImportLine> {
  const { signal, logger, config, progress } = context;
  const started = performance.now();
  const { mtime, size } = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new WardenError('nothing-found', `there is no file ${path}`, { cause: error });
  });
  const time = request.time ?? timeOfSnapshot(basename(path), mtime, context.now());
  const destinations = new Destinations(stores, logger);
  const catalog = await readCatalog(stores, request.cluster, { signal });
  destinations.dropUnreachable(catalog);
  const encrypted = request.recipients.length > 0;
  const scratch = createScratch(scratchFolder(config), { encrypted });
  const file = await openImportFile(path, {
    identities: request.identities,
    signal,
    progress,
    scratchFolder: scratchFolder(config),
    scratch,
  });
  try {
    requireKnownSchema(await readHead(await openBolt(file, signal), signal), `importing ${path}`);
    await destinations.check(neededBytes(file.size, undefined), signal);
    const folder = await spoolFolder(destinations.ready, config.stateDir);
    await checkSpool(folder, neededBytes(file.size, undefined));
    const { createExamination } = await import('../mvcc/examination/examination.ts');
    let examination: Examination | undefined = await createExamination({ scratch, seed: randomInt(2 ** 32) });
    const sealer = await createSealer({
      spoolPath: join(folder, temporaryName()),
      maxPlainBytes: file.size,
      recipients: request.recipients,
      signal,
      onPlain: (block) => examination?.write(block),
    });
    let opened: OpenArchive | undefined;
    try {
      const plain = await passOver(file, path, (block) => sealer.write(block), context);
      // With its trailer, whether it came with one or not: what lies in a store is what etcdctl would have written.
      await sealer.write(plain.databaseSha256);
      const sealed = await sealer.finish();
      progress({ step: 'check', message: `looking through ${path}` });
      // Open until the end: a local store makes the spool its own object, under another name.
      opened = await openSealed(sealer.sealed());
      let examined: Examined | undefined = await examination.finish(opened, signal);
      const { members } = await membersOf(await openBolt(opened, signal), signal);
      const databaseSha256 = plain.databaseSha256.toString('hex');
      const before = importedBefore(catalog, databaseSha256, destinations.ready);
      if (before !== undefined) return present(path, before, examined);
      const manifest = compose({
        request,
        time,
        examined,
        sealed,
        databaseSha256,
        members: members.length,
        stores: stores.map((store) => store.name),
        name: basename(path),
        // In no wrapping at all (which always adds some bytes) and with its trailer, it is what was hashed already.
        sha256: plain.trailer && file.size === size ? sealed.plainSha256 : await sha256Of(path, signal),
        modified: mtime,
        totalMs: performance.now() - started,
      });
      const { keyCount } = examined;
      const results = destinations.results(await publish(manifest, sealer.spool, destinations.ready, context));
      const holding = stores.filter(({ name }) => results.some(({ store, outcome }) => store === name && outcome === 'stored'));
      // Nobody asks for a hash of it, and the sort of the index needs the room.
      await examination.close();
      examination = examined = undefined;
      collectAll();
      await addIndex(manifest, opened, holding, request, context);
      const outcome = results.every((result) => result.outcome === 'stored') ? 'imported' : 'partial';
      logger.info({ id: manifest.id, file: path, revision: manifest.revision, outcome }, 'snapshot imported');
      return { ...lineOf(path, manifest), keyCount, outcome, stores: results };
    } finally {
      await examination?.close();
      await opened?.close();
      await sealer.abort();
    }
  } finally {
    await file.close();
  }
}

/** As beside a backup: an old snapshot is imported to look into it. A failure is logged, and costs nothing but time later. */
async function addIndex(
  manifest: Manifest,
  file: RandomAccess,
  stores: readonly Store[],
  { recipients }: ImportRequest,
  context: JobContext,
): Promise<void> {
  if (context.config.clusters[manifest.cluster]?.index.enabled !== true) return;
  const { indexPublished } = await import('./index.ts');
  await indexPublished(manifest, file, stores, recipients, context);
}

type Spool = Parameters<Store['upload']>[1];

/** Nothing of it is anywhere before it was found sound, so the uploads begin here and not, as those of a backup do, while it is still read. */
async function publish(manifest: Manifest, spool: Spool, stores: readonly Store[], context: JobContext): Promise<StoreResult[]> {
  const { signal, logger, progress } = context;
  const key = dataKey(manifest.cluster, manifest.id, manifest.stored.encryption);
  const uploads = stores.map(async (store): Promise<UploadResult> => {
    const message = `sending ${manifest.id} to ${store.name}`;
    const onProgress = (bytes: number): void =>
      progress({ step: 'upload', message, bytes, totalBytes: manifest.stored.bytes, subject: store.name });
    try {
      return { store: store.name, outcome: 'stored', object: await store.upload(key, spool, { signal, onProgress }) };
    } catch (thrown) {
      const error = errorDetails(thrown);
      logger.error({ store: store.name, code: error.code, err: asError(thrown) }, 'the store did not take the snapshot');
      return { store: store.name, outcome: 'failed', error };
    }
  });
  return publishEach(uploads, { manifest, key, stores, logger, signal, progress });
}

interface Facts {
  readonly request: ImportRequest;
  readonly time: Date;
  readonly examined: Examined;
  readonly sealed: SealedFigures;
  readonly databaseSha256: string;
  readonly members: number;
  readonly stores: readonly string[];
  readonly name: string;
  readonly sha256: string;
  readonly modified: Date;
  readonly totalMs: number;
}

function compose({ request, time, examined, sealed, databaseSha256, members, stores, name, sha256, modified, totalMs }: Facts): Manifest {
  const { head, keyCount } = examined;
  const ms = Math.round(totalMs);
  return {
    schema: MANIFEST_SCHEMA,
    tool: toolName,
    id: newId(time, randomBytes),
    cluster: request.cluster,
    time: time.toISOString(),
    ...(request.label === undefined ? {} : { label: request.label }),
    clusterId: '0',
    clusterIdAtEnd: '0',
    lineage: IMPORTED_LINEAGE,
    // The server's own version is not in the file; what wrote this schema is.
    etcdVersion: head.storageVersion ?? head.etcdSchema,
    ...(head.storageVersion === undefined ? {} : { storageVersion: head.storageVersion }),
    raftTerm: String(head.term ?? 0n),
    revision: String(head.revision),
    compactRevision: String(head.compactRevision),
    marks: [],
    plain: { bytes: sealed.plainBytes, sha256: sealed.plainSha256, databaseSha256 },
    stored: {
      bytes: sealed.storedBytes,
      sha256: sealed.storedSha256,
      crc32: sealed.storedCrc32,
      compression: 'zstd-seekable',
      encryption: sealed.encryption,
    },
    keyCount,
    unproved: { code: 'imported', reason: 'it was not taken by etcd-warden, so no member could be asked' },
    timings: { streamMs: ms, totalMs: ms },
    stores,
    warnings: [],
    imported: { name: tidyText(name), sha256, modified: modified.toISOString(), members },
  };
}

/** The same database, whole on every store: whoever imports a folder again wants only what is new. */
function importedBefore(catalog: Catalog, databaseSha256: string, stores: readonly Store[]): Manifest | undefined {
  return catalog.backups.find(
    ({ manifest, copies }) =>
      manifest.plain.databaseSha256 === databaseSha256 &&
      stores.every((store) => copies.some((copy) => copy.store === store.name && copy.manifest === 'present' && copy.data === 'present')),
  )?.manifest;
}

function present(file: string, manifest: Manifest, { keyCount }: Examined): ImportLine {
  return { ...lineOf(file, manifest), keyCount, outcome: 'present', stores: [] };
}

function lineOf(file: string, manifest: Manifest): Omit<ImportLine, 'outcome' | 'stores' | 'keyCount'> {
  const { id, time, revision, plain, stored } = manifest;
  return { file, id, time, revision, plainBytes: plain.bytes, storedBytes: stored.bytes };
}

/** Of the file as it lies there, in whatever wrapping. */
async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const sha256 = createHash('sha256');
  try {
    const sweep = createSweeper();
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 18, signal })) {
      sha256.update(chunk as Buffer);
      sweep((chunk as Buffer).length);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw await diskError(error, 'read', path, 0);
  }
  return sha256.digest('hex');
}
