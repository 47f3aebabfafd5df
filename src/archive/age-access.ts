/** Positional reads of the plain bytes of an age file, chunk by chunk. */
import type { RandomAccess } from '../boltdb/random-access.ts';
import { type AgeKey, MAX_HEADER_LENGTH, openHeader } from './age.ts';
import { CHUNK_LENGTH, openChunk, payloadPlainLength, SEALED_LENGTH } from './age-payload.ts';
import { outOfFile } from './file-access.ts';

/** Covers the header of some fifteen recipients; the rest is read only when there are more. */
const FIRST_READ = 4096;

/** Opens the header of an age file with the first identity that fits. @throws WardenError as {@link openHeader} */
export async function unlock(inner: RandomAccess, identities: readonly string[], signal?: AbortSignal): Promise<AgeKey> {
  const first = await inner.read(0, Math.min(inner.size, FIRST_READ), signal);
  const whole = first.includes('\n--- ', 0, 'latin1') || first.length === inner.size;
  return openHeader(whole ? first : await inner.read(0, Math.min(inner.size, MAX_HEADER_LENGTH), signal), identities);
}

/** The decrypted view of `inner`. @throws WardenError `verification-failed` when no age file has that length */
export function ageAccess(inner: RandomAccess, key: AgeKey): RandomAccess {
  const stored = inner.size - key.headerLength;
  const size = payloadPlainLength(stored);
  const chunks = Math.ceil(stored / SEALED_LENGTH);
  return {
    size,
    async read(offset, length, signal) {
      if (offset < 0 || length < 0 || offset + length > size) throw outOfFile('the decrypted file', size, offset, length);
      if (length === 0) return Buffer.alloc(0);
      const first = Math.floor(offset / CHUNK_LENGTH);
      const last = Math.floor((offset + length - 1) / CHUNK_LENGTH);
      const start = first * SEALED_LENGTH;
      const sealed = await inner.read(key.headerLength + start, Math.min(stored, (last + 1) * SEALED_LENGTH) - start, signal);
      const opened: Buffer[] = [];
      for (let chunk = first; chunk <= last; chunk += 1) {
        const at = (chunk - first) * SEALED_LENGTH;
        opened.push(openChunk(key.payloadKey, chunk, chunk === chunks - 1, sealed.subarray(at, at + SEALED_LENGTH)));
      }
      const plain = opened.length === 1 ? opened[0]! : Buffer.concat(opened);
      const from = offset - first * CHUNK_LENGTH;
      return plain.subarray(from, from + length);
    },
  };
}
