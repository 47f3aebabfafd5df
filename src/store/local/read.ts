/** Reading objects from a folder. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { missing, tooShort } from '../object-errors.ts';
import type { Range } from '../types.ts';
import { isErrno } from './errors.ts';
import { pathOf } from './folders.ts';

/** Bytes per read; each block that is handed out is a buffer of its own, because the reader may keep it. */
const BLOCK = 1 << 20;

/** The bytes of an object or range in order; @throws WardenError `object-missing`, or `verification-failed` when it ends too early */
export async function* readBlocks(root: string, key: string, range: Range | undefined, signal: AbortSignal): AsyncGenerator<Buffer> {
  const handle = await openObject(root, key);
  try {
    const { size } = await handle.stat();
    const end = range === undefined ? size : range.offset + range.length;
    if (end > size) throw tooShort(root, key, size, end);
    for (let at = range?.offset ?? 0; at < end;) {
      signal.throwIfAborted();
      const block = Buffer.allocUnsafeSlow(Math.min(BLOCK, end - at));
      // oxlint-disable-next-line no-await-in-loop -- in the order of the file
      const { bytesRead } = await handle.read(block, 0, block.length, at);
      if (bytesRead === 0) throw tooShort(root, key, at, end);
      at += bytesRead;
      yield block.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

async function openObject(root: string, key: string): Promise<FileHandle> {
  const path = await pathOf(root, key);
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw missing(root, key, error);
    throw error;
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw missing(root, key);
}
