/** A plain snapshot read once from its beginning to its end: length and trailer are judged on the way, and whoever wants the bytes gets them. */
import { createHash } from 'node:crypto';
import { TRAILER_LENGTH } from '../archive/intake.ts';
import { createSweeper, release } from '../archive/young-garbage.ts';
import { openBolt } from '../boltdb/bolt.ts';
import type { RandomAccess } from '../boltdb/random-access.ts';
import { WardenError } from '../errors.ts';
import type { JobContext } from './types.ts';

/** By what etcd's own tools tell a file with a trailer from one without: pages are multiples of it. */
const SMALLEST_PAGE = 512;

const STEP = 2 ** 20;

/** A file that is read: compressed ones hand out views of a cache, others a buffer for each read that nobody else knows. */
export interface PlainFile extends RandomAccess {
  readonly compressed: boolean;
}

export interface PlainSnapshot {
  /** Bytes of the database: its pages up to the highest that was ever used. */
  readonly databaseBytes: number;
  readonly databaseSha256: Buffer;
  /** Whether the file carries that hash itself. A copy of member/snap/db does not, and is longer than its pages. */
  readonly trailer: boolean;
}

/** The database without what follows it, for reads anywhere. */
export function databaseOf(file: RandomAccess, { databaseBytes }: Pick<PlainSnapshot, 'databaseBytes'>): RandomAccess {
  return { size: databaseBytes, read: (offset, length, signal) => file.read(offset, length, signal) };
}

/**
 * @param take gets the bytes of the database in order, without the trailer; they may be used again when it resolves
 * @throws WardenError `not-bolt`, `bolt-damaged`, `snapshot-wrong-length`, `snapshot-hash-mismatch`, and what reading and `take` throw
 */
export async function passOver(
  file: PlainFile,
  name: string,
  take: (block: Buffer) => void | Promise<void>,
  { signal, progress }: Pick<JobContext, 'signal' | 'progress'>,
): Promise<PlainSnapshot> {
  const { length } = await openBolt(file, signal);
  const trailer = hasTrailer(file.size, length, name);
  const sha256 = createHash('sha256');
  const sweep = createSweeper();
  for (let at = 0; at < length; at += STEP) {
    signal.throwIfAborted();
    const block = await file.read(at, Math.min(STEP, length - at), signal);
    sha256.update(block);
    const taken = take(block);
    if (taken !== undefined) await taken;
    sweep(block.length);
    if (!file.compressed) release(block);
    progress({ step: 'read', message: `reading ${name}`, bytes: at + block.length, totalBytes: length });
  }
  const databaseSha256 = sha256.digest();
  if (trailer) {
    const written = await file.read(length, TRAILER_LENGTH, signal);
    if (!written.equals(databaseSha256)) {
      throw new WardenError(
        'snapshot-hash-mismatch',
        `the SHA-256 of the database in ${name} is ${databaseSha256.toString('hex')}, its trailer says ${written.toString('hex')}`,
        { hint: 'the file was damaged after it was written; look for another copy of it' },
      );
    }
  }
  return { databaseBytes: length, databaseSha256, trailer };
}

/**
 * Whether the database is followed by its SHA-256.
 * @throws WardenError `snapshot-wrong-length`: a file that is torn, or two files in one, has a length that no tool of etcd writes
 */
export function hasTrailer(size: number, length: number, name: string): boolean {
  if (size === length + TRAILER_LENGTH) return true;
  if (size % SMALLEST_PAGE === 0) return false;
  throw new WardenError(
    'snapshot-wrong-length',
    `${name} has ${size} bytes, its database says ${length}: that is neither a snapshot (${length + TRAILER_LENGTH} bytes with its trailer) nor a copy of member/snap/db`,
    { hint: 'it was cut, or something was added to it; look for another copy of it' },
  );
}
