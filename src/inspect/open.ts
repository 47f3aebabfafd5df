/**
 * From what somebody typed to a snapshot that can be read: a backup by id, beginning of one, `latest` or time, or a plain file.
 * A backup is read from whichever store has a good copy, and from the next one when that fails in the middle: the bytes are the same.
 */
import { findBackup } from '../catalog/find.ts';
import { WardenError } from '../errors.ts';
import { openCopies } from './copies.ts';
import { openSnapshotFile } from './file.ts';
import type { OpenedSnapshot, OpenSnapshotOptions } from './types.ts';

/**
 * Whether a reference means a file: anything with a slash, or with a dot that is not the fraction of a time. Ids have neither, so a file in the current
 * folder without a suffix is named `./snapshot`.
 */
export function isFileReference(reference: string): boolean {
  if (reference.includes('/')) return true;
  return reference.includes('.') && !/^\d{4}-\d{2}-\d{2}[T ]/u.test(reference);
}

/**
 * Opens what `reference` names. Whoever gets it closes it.
 * @throws WardenError `nothing-found`, `ambiguous`, `usage` for a reference that names none; `key-missing`, `object-missing`, `verification-failed`, `not-bolt` and
 *   what stores and disks throw when it cannot be read
 */
export async function openSnapshot(reference: string, options: OpenSnapshotOptions): Promise<OpenedSnapshot> {
  if (isFileReference(reference)) return openSnapshotFile(reference, options);
  if (options.catalog === undefined)
    throw new WardenError('usage', `${JSON.stringify(reference)} is no file, and no store is named to look for a backup in`, {
      hint: 'name a file with a path such as ./snapshot.db, or a store with --from',
    });
  return openCopies(findBackup(options.catalog, reference), options);
}
