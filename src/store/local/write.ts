/** Writing objects: everything happens under a temporary name until the bytes are on the disk. */
import { constants } from 'node:fs';
import { lstat, open, realpath, unlink, type FileHandle } from 'node:fs/promises';
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

/** Writes a large object from an open spool: by a hard link where the spool lies in our own folder, else by a copy. The caller closes `spool`. */
export async function writeSpool(
  root: string,
  folder: string,
  key: string,
  source: GrowingFile,
  spool: FileHandle,
  options: UploadOptions,
): Promise<StoredObject> {
  await refuseExisting(root, key);
  if (await isOwnSpool(folder, source.path, spool)) return linkSpool(root, key, source, spool, options);
  const temporary = join(folder, temporaryName());
  return withTemporary(temporary, async (handle) => {
    const stored = await follow(spool, key, source, options, handle);
    await publish(root, temporary, key);
    return stored;
  });
}

/** No byte is copied. The spool is read back while it grows, so that what is confirmed is what the disk holds. */
async function linkSpool(root: string, key: string, source: GrowingFile, spool: FileHandle, options: UploadOptions): Promise<StoredObject> {
  const stored = await follow(spool, key, source, options, undefined);
  await publish(root, source.path, key);
  return stored;
}

/** Whether the spool can be linked: it lies in our own temporary folder, and nobody mounted anything in between. */
async function isOwnSpool(folder: string, path: string, spool: FileHandle): Promise<boolean> {
  const holder = await realpath(dirname(path)).catch(() => undefined);
  if (holder !== folder) return false;
  const [own, opened] = await Promise.all([lstat(folder), spool.stat()]);
  return own.dev === opened.dev && opened.isFile();
}

/** Reads the spool to its end, copies it if `to` is given, and returns when the bytes are durable and accepted. */
async function follow(
  from: FileHandle,
  key: string,
  source: GrowingFile,
  options: UploadOptions,
  to: FileHandle | undefined,
): Promise<StoredObject> {
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
  await sync(to ?? from);
  await confirmLength(to ?? from, key, state.length);
  await acceptance(options.accepted, options.signal);
  return { key, size: state.length, crc32: crcHex(state.crc32), confirmed: 'checksum' };
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
