/**
 * The file of an export: `<path>.part` (0600, as etcdctl names it) until every byte is on the disk and compared, then `<path>` at once. Whatever ends it before,
 * nothing stands under the final name that was not there.
 */
import { constants } from 'node:fs';
import { link, lstat, open, rename, statfs, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { diskError } from '../archive/disk-errors.ts';
import { WardenError } from '../errors.ts';
import { syncFolder } from '../store/local/folders.ts';
import type { ExportSink } from './export.ts';

export interface ExportFile extends ExportSink {
  /** Syncs and gives it its name. @throws WardenError `refused` when that was taken meanwhile */
  commit(): Promise<void>;
  /** Removes what was written, unless it was committed. */
  close(): Promise<void>;
}

const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/**
 * @param expectedBytes what it will take; compared with what is free before the first byte
 * @throws WardenError `refused` when the file exists and `force` is not set, `usage` for a folder, `disk-full`, `disk-failed`
 */
export async function createExportFile(
  path: string,
  options: { readonly force: boolean; readonly expectedBytes: number },
): Promise<ExportFile> {
  await look(path, options.force);
  await checkRoom(path, options.expectedBytes);
  const part = `${path}.part`;
  let handle: FileHandle | undefined = await create(part);
  let written = 0;
  let committed = false;

  async function guard<T>(verb: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw await diskError(error, verb, part, Math.max(0, options.expectedBytes - written));
    }
  }

  return {
    async write(block) {
      for (let at = 0; at < block.length;) {
        const { bytesWritten } = await guard('write', () => handle!.write(block, at, block.length - at, written));
        at += bytesWritten;
        written += bytesWritten;
      }
    },
    async restart() {
      await guard('truncate', () => handle!.truncate(0));
      written = 0;
      return true;
    },
    async commit() {
      await guard('sync', () => handle!.sync());
      await guard('close', () => handle!.close());
      handle = undefined;
      await publish(part, path, options.force);
      committed = true;
      await syncFolder(dirname(path));
    },
    async close() {
      await handle?.close().catch(() => undefined); // it is removed next
      handle = undefined;
      if (!committed) await unlink(part).catch(() => undefined); // gone already, or its folder is
    },
  };
}

async function look(path: string, force: boolean): Promise<void> {
  const there = await lstat(path).catch(() => undefined);
  if (there?.isDirectory() === true)
    throw new WardenError('usage', `${path} is a folder`, { hint: `name a file, such as ${path}/snapshot.db` });
  if (there !== undefined && !force) throw exists(path);
}

/** What a killed export left is taken away; a link that somebody put there is not followed. */
async function create(part: string): Promise<FileHandle> {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;
  try {
    await unlink(part).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    return await open(part, flags, 0o600);
  } catch (error) {
    throw await diskError(error, 'create', part, 0);
  }
}

async function checkRoom(path: string, expectedBytes: number): Promise<void> {
  const folder = dirname(path);
  const { bavail, bsize } = await statfs(folder).catch(async (error: unknown) => {
    throw await diskError(error, 'use', folder, expectedBytes);
  });
  if (bavail * bsize >= expectedBytes) return;
  throw new WardenError('disk-full', `${folder} has ${bavail * bsize} bytes free, ${expectedBytes} are needed`, {
    hint: 'free space there, or name a file on a larger disk',
  });
}

/** link(2) fails where a file of that name appeared meanwhile, rename(2) would replace it. */
async function publish(part: string, path: string, force: boolean): Promise<void> {
  try {
    if (force) return await rename(part, path);
    await link(part, path);
    await unlink(part);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code === 'EEXIST' && !force) throw exists(path);
    if (force || !NO_LINKS.has(code)) throw await diskError(error, 'rename', part, 0);
    if ((await lstat(path).catch(() => undefined)) !== undefined) throw exists(path);
    await rename(part, path);
  }
}

function exists(path: string): WardenError {
  return new WardenError('refused', `${path} exists`, { hint: 'name another file, or replace it with --force' });
}
