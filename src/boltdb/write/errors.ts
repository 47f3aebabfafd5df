import { WardenError } from '../../errors.ts';

/** Entries that no database can hold: a fault of whoever gave them, or of what they were read from. */
export function writeError(why: string): WardenError {
  return new WardenError('failed', `cannot write a database: ${why}`);
}
