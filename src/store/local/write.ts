/** Writing objects: everything happens under a temporary name until the bytes are on the disk. */
import { constants } from 'node:fs';
import { lstat, open, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { crashPoint } from '../../crash-points.ts';
import { WardenError } from '../../errors.ts';
import { acceptance, confirmWhole, crcHex, fill, nothingFollowed } from '../follow.ts';
import { exists } from '../object-errors.ts';
import { startPace } from '../pace.ts';
import { temporaryName } from '../temporary.ts';
import type { GrowingFile, StoredObject, UploadOptions } from '../types.ts';
import { pathOf } from './folders.ts';
import { publish } from './publish.ts';

/** Bytes per read and write; the one buffer of an upload. */
const BLOCK = 1 << 20;
/** Written bytes are pushed to the disk in steps of this many, so that the last sync is short and an etcd beside us never waits for a long one. */
const SYNC_STEP = 64 << 20;

/** Writes a small object whole. */
export async function writeSmall(root: string, folder: string, key: string, body: Buffer, signal: AbortSignal): Promise<StoredObject> {
  await refuseExisting(root, key);
  const temporary = join(folder, temporaryName());
  await withTemporary(temporary, async (handle) => {
    await handle.writeFile(body);
    signal.throwIfAborted();
    await sync(handle);
    await confirmLength(handle, key, body.length);
    await publish(root, temporary, key);
  });
  return { key, size: body.length, crc32: crcHex(crc32(body)), confirmed: 'checksum' };
}

/** Publishes a spool that lies in our own folder by a hard link: no byte is copied. It is read back while it grows, so that what is counted is what the disk holds. */
export async function linkSpool(root: string, key: string, source: GrowingFile, options: UploadOptions): Promise<StoredObject> {
  await refuseExisting(root, key);
  const handle = await open(source.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { length, crc } = await follow(handle, source, options, undefined);
    await sync(handle);
    await confirmLength(handle, key, length);
    await acceptance(options.accepted, options.signal);
    await publish(root, source.path, key);
    return { key, size: length, crc32: crc, confirmed: 'checksum' };
  } finally {
    await handle.close();
  }
}

/** Copies a spool from another file system while it grows. */
export async function copySpool(
  root: string,
  folder: string,
  key: string,
  source: GrowingFile,
  options: UploadOptions,
): Promise<StoredObject> {
  await refuseExisting(root, key);
  const from = await open(source.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const temporary = join(folder, temporaryName());
    return await withTemporary(temporary, async (handle) => {
      const { length, crc } = await follow(from, source, options, handle);
      await sync(handle);
      await confirmLength(handle, key, length);
      await acceptance(options.accepted, options.signal);
      await publish(root, temporary, key);
      return { key, size: length, crc32: crc, confirmed: 'checksum' as const };
    });
  } finally {
    await from.close();
  }
}

/** Whether the spool can be linked: it lies in our own temporary folder, and nobody mounted anything in between. */
export async function isOwnSpool(folder: string, path: string): Promise<boolean> {
  if (dirname(path) !== folder) return false;
  const [own, spool] = await Promise.all([lstat(folder), lstat(path)]);
  return own.dev === spool.dev && spool.isFile();
}

async function follow(
  from: FileHandle,
  source: GrowingFile,
  options: UploadOptions,
  to: FileHandle | undefined,
): Promise<{ length: number; crc: string }> {
  const buffer = Buffer.allocUnsafeSlow(BLOCK);
  const state = nothingFollowed();
  const pace = startPace(options.maxRate ?? 0);
  let synced = 0;
  for (let blocks = 0; ; blocks++) {
    // oxlint-disable-next-line no-await-in-loop -- in the order of the file
    const bytes = await fill(from, source, state, buffer, { signal: options.signal, eager: blocks === 0 });
    if (bytes === 0) break;
    // oxlint-disable-next-line no-await-in-loop -- in the order of the file
    if (to !== undefined) await writeAll(to, buffer.subarray(0, bytes));
    crashPoint(blocks === 0 ? 'first-byte' : 'mid');
    options.onProgress?.(state.length);
    if (state.length - synced >= SYNC_STEP) {
      // oxlint-disable-next-line no-await-in-loop -- a failed sync must end the write, so it is waited for
      await (to ?? from).datasync();
      synced = state.length;
    }
    // oxlint-disable-next-line no-await-in-loop -- in the order of the file
    await pace(bytes, options.signal);
  }
  await confirmWhole(source, state, options.signal);
  return { length: state.length, crc: crcHex(state.crc32) };
}

async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    // oxlint-disable-next-line no-await-in-loop -- in the order of the file
    at += (await handle.write(bytes, at)).bytesWritten;
  }
}

/** Once, and never again after a failure: the kernel forgets dirty pages that it could not write, so a second fsync lies (fsyncgate). */
async function sync(handle: FileHandle): Promise<void> {
  crashPoint('before-fsync');
  await handle.sync();
  crashPoint('after-fsync');
}

async function confirmLength(handle: FileHandle, key: string, length: number): Promise<void> {
  const { size } = await handle.stat();
  if (size !== length) throw new WardenError('verification-failed', `${key} holds ${size} bytes on disk, but ${length} were written`);
}

/** Before any work: a late refusal by link(2) is the guard, this is for the reader of the error. */
async function refuseExisting(root: string, key: string): Promise<void> {
  const path = await pathOf(root, key);
  if ((await lstat(path).catch(() => undefined)) !== undefined) throw exists(root, key);
}

async function withTemporary<T>(path: string, write: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    crashPoint('open-tmp');
    await handle.chmod(0o600); // whatever the umask was
    return await write(handle);
  } catch (error) {
    await unlink(path).catch(() => {}); // the first error is the one to show; the sweep takes what stays
    throw error;
  } finally {
    await handle.close();
  }
}
