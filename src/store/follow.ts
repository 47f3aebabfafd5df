/** Reading a spool while it still grows. */
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { WardenError } from '../errors.ts';
import type { GrowingFile } from './types.ts';

/** What was read so far. */
export interface Followed {
  length: number;
  crc32: number;
}

/** Nothing read. */
export function nothingFollowed(): Followed {
  return { length: 0, crc32: 0 };
}

/** Eight lower-case hex digits. */
export function crcHex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}

/**
 * Fills `buffer` from where `state` stands, waiting for the writer; returns the bytes read: less than the buffer holds only at the
 * end of the file, 0 after it. With `eager` it returns as soon as there is anything.
 */
export async function fill(
  handle: FileHandle,
  source: GrowingFile,
  state: Followed,
  buffer: Buffer,
  options: { readonly signal: AbortSignal; readonly eager?: boolean },
): Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    if (source.available <= state.length) {
      if (options.eager === true && filled > 0) break;
      // oxlint-disable-next-line no-await-in-loop -- in the order of the file
      await source.waitBeyond(options.eager === true ? state.length : state.length + buffer.length - filled - 1, options.signal);
      if (source.available <= state.length) break; // finished
    }
    const wanted = Math.min(buffer.length - filled, source.available - state.length);
    // oxlint-disable-next-line no-await-in-loop -- in the order of the file
    const { bytesRead } = await handle.read(buffer, filled, wanted, state.length);
    if (bytesRead === 0)
      throw new WardenError(
        'disk-failed',
        `${source.path} ends at byte ${state.length}, although ${source.available} bytes were written to it`,
      );
    state.crc32 = crc32(buffer.subarray(filled, filled + bytesRead), state.crc32);
    state.length += bytesRead;
    filled += bytesRead;
  }
  return filled;
}

/**
 * What was read is what was written: the writer's figures, once it has ended.
 * @throws WardenError `verification-failed` when the disk gave other bytes back than it was given
 */
export async function confirmWhole(source: GrowingFile, state: Followed, signal: AbortSignal): Promise<void> {
  const written = await orAbort(source.finished, signal);
  if (written.length !== state.length || written.crc32 !== crcHex(state.crc32)) {
    throw new WardenError(
      'verification-failed',
      `${source.path} gives back ${state.length} bytes with CRC32 ${crcHex(state.crc32)}, but ${written.length} with ${written.crc32} were written`,
      { hint: 'the disk under the spool returns other bytes than it was given; check it before anything else' },
    );
  }
}

/** The last wait before an object becomes visible: until the caller has accepted the content, or gives up. */
export async function acceptance(accepted: Promise<void> | undefined, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (accepted !== undefined) await orAbort(accepted, signal);
}

/** The promise's outcome, or the signal's reason if that comes first. */
export async function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
