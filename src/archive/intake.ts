/**
 * A snapshot stream, checked as it passes: the exact length that the first message announced, and the SHA-256 that closes it.
 * What comes out is the file that `etcdctl snapshot save` writes: the database and its 32-byte trailer.
 *
 * The server's side is api/v3rpc/maintenance.go: messages of up to 32 KiB with the bytes still to come, then one more with the SHA-256 and
 * remaining 0. When the length is a multiple of 32 KiB the last data message already says 0, so only the end of the stream is the end.
 */
import { asError, WardenError } from '../errors.ts';
import type { Sealer } from './sealer.ts';

/** SHA-256 of the database, which closes what `etcdctl snapshot save` writes. */
export const TRAILER_LENGTH = 32;

/** bbolt's smallest page. etcdctl and etcdutl tell a file with a trailer from one without by size % 512. */
const SMALLEST_PAGE = 512;

/** One message of the stream. */
export interface SnapshotPiece {
  readonly blob: Buffer;
  /** Bytes of the database still to come. */
  readonly remaining: number;
  readonly version?: string | undefined;
}

export interface IntakeOptions {
  readonly signal: AbortSignal;
  /** Once, before the first byte is written: the length of the database. May refuse, for instance when the disk is too small. */
  readonly onTotal?: ((databaseBytes: number) => void | Promise<void>) | undefined;
  /** After each batch: bytes of the database so far. */
  readonly onProgress?: ((databaseBytes: number, totalBytes: number) => void) | undefined;
}

export interface Intake {
  readonly databaseBytes: number;
  /** The trailer, hex: what the member and we agree on. */
  readonly databaseSha256: string;
  /** 3.6+. */
  readonly storageVersion: string | undefined;
}

/**
 * Writes the stream into the sealer, which the caller then finishes, or aborts when this throws.
 * @throws WardenError `snapshot-incomplete`, `snapshot-missing-hash`, `snapshot-hash-mismatch`, `snapshot-wrong-length`, and what the sealer throws
 */
export async function takeSnapshot(
  batches: AsyncIterable<readonly SnapshotPiece[]>,
  sealer: Sealer,
  options: IntakeOptions,
): Promise<Intake> {
  const trailer = Buffer.alloc(TRAILER_LENGTH);
  let total: number | undefined;
  let received = 0; // database and trailer
  let storageVersion: string | undefined;
  for await (const batch of batches) {
    if (options.signal.aborted) throw asError(options.signal.reason);
    for (const { blob, remaining, version } of batch) {
      if (total === undefined) {
        total = blob.length + remaining;
        if (total === 0 || total % SMALLEST_PAGE !== 0) throw wrongLength(`it announced ${total} bytes, which no bbolt database has`);
        await options.onTotal?.(total);
      }
      storageVersion = nonEmpty(version) ?? storageVersion;
      const ofDatabase = Math.min(blob.length, Math.max(0, total - received));
      if (ofDatabase > 0) {
        const promised = received + blob.length + remaining;
        // Told apart from a stream that ends early: here a message is short, or one before it is lost.
        if (promised !== total)
          throw wrongLength(`${total} bytes were announced, then ${promised} (size % 512 is ${promised % SMALLEST_PAGE})`);
        const full = sealer.write(ofDatabase === blob.length ? blob : blob.subarray(0, ofDatabase));
        if (full !== undefined) await full;
      }
      if (ofDatabase < blob.length) {
        const at = received + ofDatabase - total;
        if (at + blob.length - ofDatabase > TRAILER_LENGTH)
          throw wrongLength(`more than the announced ${total} bytes and their hash arrived`);
        blob.copy(trailer, at, ofDatabase);
      }
      received += blob.length;
    }
    options.onProgress?.(Math.min(received, total ?? 0), total ?? 0);
  }
  if (options.signal.aborted) throw asError(options.signal.reason);
  return { ...(await close(sealer, total, received, trailer)), storageVersion };
}

async function close(
  sealer: Sealer,
  total: number | undefined,
  received: number,
  trailer: Buffer,
): Promise<{ databaseBytes: number; databaseSha256: string }> {
  if (total === undefined || received < total) {
    const sentence =
      total === undefined
        ? 'the snapshot stream ended before its first byte'
        : `the snapshot stream ended after ${received} of ${total} bytes`;
    throw new WardenError('snapshot-incomplete', sentence, {
      hint: 'the member was probably stopped; another one is tried when there is one',
    });
  }
  if (received === total) {
    throw new WardenError(
      'snapshot-missing-hash',
      `snapshot missing hash: the stream ended after all ${total} bytes without the SHA-256 of the member`,
      {
        hint: 'whether these bytes are right cannot be told; the member was probably stopped at the last moment',
      },
    );
  }
  if (received !== total + TRAILER_LENGTH) {
    throw wrongLength(
      `${received} bytes arrived, ${total} and a hash of ${TRAILER_LENGTH} were announced (size % 512 is ${received % SMALLEST_PAGE}, not 32)`,
    );
  }
  const ours = sealer.digest();
  if (!ours.equals(trailer)) {
    throw new WardenError(
      'snapshot-hash-mismatch',
      `the SHA-256 of the snapshot is ${ours.toString('hex')}, the member sent ${trailer.toString('hex')}`,
      {
        hint: 'bytes changed on the way or in the memory of one of the two machines',
      },
    );
  }
  const full = sealer.write(trailer);
  if (full !== undefined) await full;
  return { databaseBytes: total, databaseSha256: trailer.toString('hex') };
}

function wrongLength(sentence: string): WardenError {
  return new WardenError('snapshot-wrong-length', `the snapshot has a wrong length: ${sentence}`);
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
