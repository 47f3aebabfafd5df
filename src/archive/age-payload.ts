/**
 * The payload of an age file: STREAM over ChaCha20-Poly1305 in chunks of 64 KiB. The nonce is an 11-byte big-endian counter and a byte that
 * is 1 on the last chunk, so that a cut, a swap or a chunk of another file fails the tag. Only an empty payload may end in an empty chunk.
 *
 * Format: C2SP age.md, "Payload". Each chunk opens alone, which is what reads from the middle of an encrypted object rest on.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { WardenError } from '../errors.ts';
import type { ByteQueue } from './byte-queue.ts';

/** Plain bytes in each chunk but the last. */
export const CHUNK_LENGTH = 2 ** 16;
export const TAG_LENGTH = 16;
/** Stored bytes of a full chunk. */
export const SEALED_LENGTH = CHUNK_LENGTH + TAG_LENGTH;

export interface PayloadSealer {
  /** Takes all of `plain` (it may change afterwards) and gives the chunks that are complete. */
  seal(plain: Buffer): Buffer[];
  /** The last chunk. Nothing can follow. */
  end(): Buffer[];
}

/** Encrypts in file order. The last bytes wait until it is known whether they are the last. */
export function createPayloadSealer(payloadKey: Buffer): PayloadSealer {
  const pending = Buffer.alloc(CHUNK_LENGTH);
  let filled = 0;
  let counter = 0;
  function chunk(last: boolean): Buffer[] {
    const cipher = createCipheriv('chacha20-poly1305', payloadKey, nonceOf(counter, last), { authTagLength: TAG_LENGTH });
    const body = cipher.update(pending.subarray(0, filled));
    cipher.final();
    counter += 1;
    filled = 0;
    return [body, cipher.getAuthTag()];
  }
  return {
    seal(plain) {
      const sealed: Buffer[] = [];
      for (let at = 0; at < plain.length;) {
        if (filled === CHUNK_LENGTH) sealed.push(...chunk(false));
        const copied = plain.copy(pending, filled, at);
        filled += copied;
        at += copied;
      }
      return sealed;
    },
    end() {
      return chunk(true);
    },
  };
}

/**
 * The plain bytes of chunk `index`.
 * @param sealed the chunk with its tag.
 * @throws WardenError `verification-failed`
 */
export function openChunk(payloadKey: Buffer, index: number, last: boolean, sealed: Buffer): Buffer {
  const empty = sealed.length === TAG_LENGTH;
  if (sealed.length < TAG_LENGTH || (empty && index > 0)) throw chunkDamaged(index, 'it is cut');
  const decipher = createDecipheriv('chacha20-poly1305', payloadKey, nonceOf(index, last), { authTagLength: TAG_LENGTH });
  decipher.setAuthTag(sealed.subarray(-TAG_LENGTH));
  const plain = decipher.update(sealed.subarray(0, -TAG_LENGTH));
  try {
    decipher.final();
  } catch (error) {
    throw chunkDamaged(index, 'its tag does not fit: changed, cut, out of order, or from another file', error);
  }
  return plain;
}

/** Decrypts a payload in file order, from the byte after the header and nonce. Nothing unauthenticated is ever given out. */
export async function* openPayload(payloadKey: Buffer, queue: ByteQueue): AsyncGenerator<Buffer, void, undefined> {
  for (let index = 0; ; index += 1) {
    const more = await queue.fill(SEALED_LENGTH + 1);
    yield openChunk(payloadKey, index, !more, queue.take(SEALED_LENGTH));
    if (!more) return;
  }
}

/** Plain length of a payload of `stored` bytes. @throws WardenError `verification-failed` when no payload has that length. */
export function payloadPlainLength(stored: number): number {
  const chunks = Math.ceil(stored / SEALED_LENGTH);
  const last = stored - (chunks - 1) * SEALED_LENGTH;
  if (chunks === 0 || last < TAG_LENGTH || (last === TAG_LENGTH && chunks > 1)) throw chunkDamaged(Math.max(0, chunks - 1), 'it is cut');
  return stored - chunks * TAG_LENGTH;
}

/** Stored length of a payload of `plain` bytes. */
export function payloadStoredLength(plain: number): number {
  return plain + Math.max(1, Math.ceil(plain / CHUNK_LENGTH)) * TAG_LENGTH;
}

function nonceOf(counter: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(counter, 5, 6); // 48 bits of the counter's 88: 18 EiB
  nonce.writeUInt8(last ? 1 : 0, 11);
  return nonce;
}

function chunkDamaged(index: number, why: string, cause?: unknown): WardenError {
  return new WardenError('verification-failed', `chunk ${index} of the age payload is damaged: ${why}`, { cause });
}
