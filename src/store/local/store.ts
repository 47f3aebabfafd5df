/**
 * A store in a folder. Bytes are synced before they get their name, the name is synced before anyone is told, and nothing is ever
 * overwritten. The root is made when the first thing is written to it, never by reading.
 */
import { access, constants, open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { LocalStoreConfig } from '../../config/types.ts';
import { WardenError } from '../../errors.ts';
import { validKey, validPrefix, TEMPORARY_FOLDER } from '../keys.ts';
import { missing, tooLong } from '../object-errors.ts';
import { sweepTemporaryFiles } from '../temporary.ts';
import type { Range, Store } from '../types.ts';
import { deleteObject } from './delete.ts';
import { diskFull, freeBytes, localError } from './errors.ts';
import { anchor, makeFolder, pathOf, resolveRoot } from './folders.ts';
import { infoOf, walk } from './list.ts';
import { readBlocks } from './read.ts';
import { writeSmall, writeSpool } from './write.ts';

/** The store of that configuration; touches nothing yet. */
export function openLocalStore(config: LocalStoreConfig): Store {
  const path = resolve(config.path);
  const root = startRoot(path);

  async function guarded<T>(needed: number | undefined, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw await localError(error, path, needed);
    }
  }

  async function* guardedStream<T>(stream: () => AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* stream();
    } catch (error) {
      throw await localError(error, path);
    }
  }

  return {
    name: config.name,
    kind: 'local',
    location: path,
    spoolFolder: join(path, TEMPORARY_FOLDER),

    check: (neededBytes) =>
      guarded(neededBytes, async () => {
        const folder = join(await root.forWriting(), TEMPORARY_FOLDER);
        // The kernel's own answer, which knows read-only mounts, access lists and security modules.
        await access(folder, constants.W_OK | constants.X_OK);
        const free = await freeBytes(folder);
        if (free !== undefined && free < neededBytes) throw diskFull(path, free, neededBytes);
      }),

    put: (key, body, { signal }) =>
      guarded(body.length, async () => {
        signal.throwIfAborted();
        const at = await root.forWriting();
        return writeSmall(at, join(at, TEMPORARY_FOLDER), validKey(key), body, signal);
      }),

    upload: (key, source, options) =>
      guarded(source.maxLength, async () => {
        // Nobody else may be listening yet when it fails early; whoever started it learns of it here all the same.
        options.accepted?.catch(() => {});
        source.finished.catch(() => {});
        options.signal.throwIfAborted();
        validKey(key);
        // Opened before anything else: another store may publish this spool by a link and take its name away.
        const spool = await open(source.path, constants.O_RDONLY | constants.O_NOFOLLOW);
        try {
          const at = await root.forWriting();
          return await writeSpool(at, join(at, TEMPORARY_FOLDER), key, source, spool, options);
        } finally {
          await spool.close();
        }
      }),

    get: (key, options) =>
      guarded(undefined, async () => {
        const at = await root.forReading();
        if (at === undefined) throw missing(path, key);
        await limit(at, validKey(key), options);
        const blocks: Buffer[] = [];
        for await (const block of readBlocks(at, key, options.range, options.signal)) blocks.push(block);
        return blocks.length === 1 && blocks[0] !== undefined ? blocks[0] : Buffer.concat(blocks);
      }),

    stream: (key, options) =>
      guardedStream(async function* () {
        const at = await root.forReading();
        if (at === undefined) throw missing(path, key);
        yield* readBlocks(at, validKey(key), options.range, options.signal);
      }),

    head: (key, { signal }) =>
      guarded(undefined, async () => {
        signal.throwIfAborted();
        const at = await root.forReading();
        return at === undefined ? undefined : infoOf(await pathOf(at, validKey(key)), key);
      }),

    list: (prefix, options) =>
      guardedStream(async function* () {
        const at = await root.forReading();
        if (at === undefined) return;
        yield* walk(at, { prefix: validPrefix(prefix), startAfter: options.startAfter ?? '', signal: options.signal });
      }),

    delete: (key, { signal }) =>
      guarded(undefined, async () => {
        signal.throwIfAborted();
        const at = await root.forReading();
        return at === undefined ? { outcome: 'absent' } : deleteObject(at, validKey(key));
      }),

    sweep: (options) =>
      guarded(undefined, async () => {
        const at = await root.forReading();
        return at === undefined ? { removed: [] } : sweepTemporaryFiles(join(at, TEMPORARY_FOLDER), options);
      }),

    close: () => Promise.resolve(),
  };
}

/** Where the root really lies. Once it was there, its absence is an error: an unmounted disk must not look like an empty store. */
function startRoot(path: string): { forReading(): Promise<string | undefined>; forWriting(): Promise<string> } {
  let seen = false;
  let anchored = false;

  async function forReading(): Promise<string | undefined> {
    const resolved = await resolveRoot(path);
    if (resolved === undefined && seen) {
      throw new WardenError('store-unavailable', `${path} was removed while it was in use`, {
        hint: 'bring the folder back, or mount its disk',
      });
    }
    seen ||= resolved !== undefined;
    return resolved;
  }

  async function forWriting(): Promise<string> {
    const resolved = await forReading();
    await makeFolder(join(resolved ?? path, TEMPORARY_FOLDER));
    seen = true;
    const root = resolved ?? (await resolveRoot(path)) ?? path;
    if (!anchored) await anchor(root);
    anchored = true;
    return root;
  }

  return { forReading, forWriting };
}

/** Refuses what is too long to be held in memory, before any byte of it is read. */
async function limit(root: string, key: string, options: { readonly maxLength?: number; readonly range?: Range }): Promise<void> {
  if (options.maxLength === undefined) return;
  const asked = options.range?.length ?? (await infoOf(await pathOf(root, key), key))?.size ?? 0;
  if (asked > options.maxLength) throw tooLong(root, key, asked, options.maxLength);
}
