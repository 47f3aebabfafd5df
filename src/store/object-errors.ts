/** Errors about objects that read the same whatever kind of store they come from. `where`: the store's location, or empty. */
import { WardenError } from '../errors.ts';

export function missing(where: string, key: string, cause?: unknown): WardenError {
  return new WardenError('object-missing', `${where}: there is no ${key}`, { cause });
}

export function exists(where: string, key: string): WardenError {
  return new WardenError('object-exists', `${where}: ${key} exists already, and nothing is ever overwritten`);
}

/** Less than was asked for. */
export function tooShort(where: string, key: string, size: number, end: number): WardenError {
  return new WardenError('verification-failed', `${where}: ${key} ends at byte ${size} or before, but bytes up to ${end} belong to it`, {
    hint: 'the object was cut or replaced; verify this backup and look at its other copies',
  });
}

/** More than may be held in memory. */
export function tooLong(where: string, key: string, length: number, limit: number): WardenError {
  return new WardenError('refused', `${where}: ${key} holds ${length} bytes, more than the ${limit} that are read at once`);
}
