/** Which layers an archive has: told by its name, because a damaged first byte must not turn a compressed file into a plain one. */
import { WardenError } from '../errors.ts';
import { isAge } from './age.ts';
import { skippableLength, ZSTD_MAGIC } from './frame-header.ts';

/** Bytes needed to tell. */
export const MAGIC_LENGTH = 22;

/** True when the bytes are, or must be, an age file. @throws WardenError `verification-failed` when the name says so and the bytes do not */
export function isEncrypted(name: string, start: Buffer): boolean {
  if (isAge(start)) return true;
  if (name.endsWith('.age')) throw new WardenError('verification-failed', `${name} does not begin as an age file does`);
  return false;
}

/** True when the bytes below any encryption are, or must be, zstd. @throws WardenError `verification-failed` */
export function isCompressed(name: string, start: Buffer): boolean {
  if (skippableLength(start) !== undefined || (start.length >= 4 && start.readUInt32LE(0) === ZSTD_MAGIC)) return true;
  if (/\.zst(\.age)?$/u.test(name)) throw new WardenError('verification-failed', `${name} does not begin as a zstd file does`);
  return false;
}
