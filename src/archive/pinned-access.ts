/**
 * Reads anywhere in an object that has just been read from beginning to end, and only as long as it still holds the same bytes: a store may
 * change under its reader (a sync that replaces a folder, a bucket that is rolled back), and parts of two files would pass as one.
 *
 * The pass notes a CRC32 for each piece of {@link PIECE_LENGTH} stored bytes; later reads fetch whole pieces and compare. No store is asked
 * for anything special: sizes and times of files do not tell when only content changed, and not every S3 server honours If-Match.
 */
import { crc32 } from 'node:zlib';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { WardenError } from '../errors.ts';
import { outOfFile } from './file-access.ts';

/** 4 bytes of memory for each: 128 KiB for 2 GiB. A read of a frame (some 300 KiB compressed) fetches at most two pieces more. */
export const PIECE_LENGTH = 64 * 1024;

export interface Pin {
  /** The next bytes of the object as it is stored, in order. */
  add(stored: Buffer): void;
  /** Reads through `inner`, which must hold what was added. @throws WardenError `changed-meanwhile` on reads, or at once when the length differs */
  access(inner: RandomAccess, name: string): RandomAccess;
}

export function createPin(): Pin {
  let sums = new Uint32Array(256);
  let size = 0;
  let current = 0;

  function note(): void {
    const piece = Math.ceil(size / PIECE_LENGTH) - 1;
    if (piece >= sums.length) {
      const longer = new Uint32Array(sums.length * 2);
      longer.set(sums);
      sums = longer;
    }
    sums[piece] = current;
  }

  return {
    add(stored) {
      for (let at = 0; at < stored.length;) {
        const room = PIECE_LENGTH - (size % PIECE_LENGTH);
        const part = stored.subarray(at, at + room);
        current = crc32(part, size % PIECE_LENGTH === 0 ? 0 : current);
        size += part.length;
        at += part.length;
        note();
      }
    },
    access(inner, name) {
      if (inner.size !== size) throw changed(name, `it had ${size} bytes and has ${inner.size}`);
      return {
        size,
        async read(offset, length, signal) {
          if (offset < 0 || length < 0 || offset + length > size) throw outOfFile(name, size, offset, length);
          if (length === 0) return Buffer.alloc(0);
          const first = Math.floor(offset / PIECE_LENGTH);
          const end = Math.min(size, Math.ceil((offset + length) / PIECE_LENGTH) * PIECE_LENGTH);
          const start = first * PIECE_LENGTH;
          const bytes = await inner.read(start, end - start, signal);
          for (let at = 0; at < bytes.length; at += PIECE_LENGTH) {
            if (crc32(bytes.subarray(at, at + PIECE_LENGTH)) !== sums[first + at / PIECE_LENGTH])
              throw changed(name, `the bytes from ${start + at} on are not what they were`);
          }
          return bytes.subarray(offset - start, offset - start + length);
        },
      };
    },
  };
}

function changed(name: string, how: string): WardenError {
  return new WardenError('changed-meanwhile', `${name} was changed while it was read: ${how}`, {
    hint: 'something else writes to this store; find it, and verify again',
  });
}
