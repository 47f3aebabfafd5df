/** The keys of a snapshot: from its key index where there is one, else by reading the file. */
import { openBolt } from '../boltdb/bolt.ts';
import { WardenError } from '../errors.ts';
import { readHead } from '../mvcc/head.ts';
import { openKeyIndex } from './index/open.ts';
import { scanDirectory } from './scan.ts';
import { inspectScratch } from './scratch.ts';
import type { KeyDirectory, OpenedSnapshot, InspectProgress } from './types.ts';

export interface DirectoryOptions {
  readonly identities?: readonly string[] | undefined;
  readonly signal: AbortSignal;
  /** For snapshots without an index; the system's temporary folder by default. */
  readonly scratchFolder?: string | undefined;
  /** Told when an index cannot be used, which costs time but not the answer. */
  readonly note?: ((sentence: string) => void) | undefined;
  readonly progress?: InspectProgress | undefined;
}

export interface FoundDirectory {
  readonly directory: KeyDirectory;
  /** Questions are cheap: a few blocks are read, and not the whole file. */
  readonly indexed: boolean;
}

/** Whoever gets it closes the directory, before the snapshot. @throws what the store throws */
export async function directoryOf(snapshot: OpenedSnapshot, options: DirectoryOptions): Promise<FoundDirectory> {
  const { identities, signal, note } = options;
  try {
    const directory = await openKeyIndex(snapshot, { identities, signal });
    if (directory !== undefined) return { directory, indexed: true };
  } catch (error) {
    // The index is a convenience: the file itself answers as well. A key that opens the one opens the other.
    signal.throwIfAborted();
    if (!(error instanceof WardenError) || error.code === 'key-missing') throw error;
    const hint = error.code === 'index-invalid' && error.hint !== undefined ? ` (${error.hint})` : '';
    note?.(`${error.message}; reading the whole file instead${hint}`);
  }
  await requireItsRevision(snapshot, signal);
  const scratch = inspectScratch(options.scratchFolder, { encrypted: snapshot.file.encrypted });
  return { directory: scanDirectory(snapshot, { scratch, identities, progress: options.progress }), indexed: false };
}

/**
 * The index carries the hash of the snapshot that it is of; without it an older object under the name of a newer one would answer for it.
 * @throws WardenError `verification-failed`
 */
async function requireItsRevision({ backup, name, file }: OpenedSnapshot, signal: AbortSignal): Promise<void> {
  if (backup === undefined) return;
  const { revision } = await readHead(await openBolt(file, signal), signal);
  if (String(revision) === backup.manifest.revision) return;
  throw new WardenError('verification-failed', `${name} holds revision ${revision}, its manifest says ${backup.manifest.revision}`, {
    hint: `verify the copies: etcd-warden verify ${name}`,
  });
}
