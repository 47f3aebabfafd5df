/** Positional reads of a local file. */
import { open } from 'node:fs/promises';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { WardenError } from '../errors.ts';
import { diskError } from './disk-errors.ts';

export interface OpenFile extends RandomAccess {
  close(): Promise<void>;
}

/** @throws WardenError `disk-failed` when it cannot be opened, or is not a file */
export async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path, 'r').catch(async (error: unknown) => {
    throw await diskError(error, 'open', path, 0);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new WardenError('disk-failed', `cannot read ${path}: it is not a file`);
    return {
      size: stat.size,
      async read(offset, length, signal) {
        signal?.throwIfAborted();
        const buffer = Buffer.allocUnsafeSlow(length);
        for (let at = 0; at < length;) {
          const { bytesRead } = await handle.read(buffer, at, length - at, offset + at).catch(async (error: unknown) => {
            throw await diskError(error, 'read', path, 0);
          });
          if (bytesRead === 0) throw outOfFile(path, stat.size, offset, length);
          at += bytesRead;
        }
        return buffer;
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The refusal of a read past the end. */
export function outOfFile(name: string, size: number, offset: number, length: number): WardenError {
  return new WardenError('verification-failed', `${name} ends too early: ${length} bytes at ${offset} were asked for, it has ${size}`);
}
