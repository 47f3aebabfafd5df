/**
 * The keys of a file that has no key index. Each question makes an index of what it asks for, in one pass over the file in file order (its tree may lie in any
 * order, and a compressed file is decoded once), and throws it away: memory stays bounded, and what was found has its place in the file for reads of values.
 */
import { WardenError } from '../errors.ts';
import type { Scratch, ScratchFile } from '../mvcc/scratch.ts';
import { buildKeyIndex } from './index/build.ts';
import type { IndexSubject } from './index/format.ts';
import { readKeyIndex } from './index/reader.ts';
import type { KeyDirectory, KeyEntry, KeyRange, OpenedSnapshot, InspectProgress } from './types.ts';
import { wholeSnapshot } from './whole.ts';

export interface ScanOptions {
  /** For what does not fit into memory. */
  readonly scratch: Scratch;
  /** `AGE-SECRET-KEY-1...`; needed only for what is encrypted. */
  readonly identities?: readonly string[] | undefined;
  readonly progress?: InspectProgress | undefined;
  /** Bytes of a run of the sort; tests make it small. */
  readonly runLength?: number | undefined;
}

/** Nothing is read before the first question. */
export function scanDirectory(snapshot: OpenedSnapshot, options: ScanOptions): KeyDirectory {
  const { file } = snapshot;
  // Ours alone and never published: it only has to agree with itself.
  const subject: IndexSubject = { id: 'scan', sha256: '0'.repeat(64), plainBytes: file.size };
  const made: Made[] = [];

  async function directoryOf(range: KeyRange, signal: AbortSignal): Promise<KeyDirectory> {
    const sink = await options.scratch.create();
    try {
      await buildKeyIndex({
        subject,
        file,
        stream: () => wholeSnapshot(snapshot, { identities: options.identities, signal }),
        sink: { write: (bytes) => sink.append(bytes) },
        scratch: options.scratch,
        range,
        runLength: options.runLength,
        signal,
        onProgress: (bytes) =>
          options.progress?.({ step: 'scan', message: `no key index: reading all of ${snapshot.name}`, bytes, totalBytes: file.size }),
      });
      const index = { size: sink.size, read: (offset: number, length: number) => sink.read(offset, length), close: () => sink.close() };
      const directory = await readKeyIndex({ index, snapshot: file, subject, signal });
      made.push({ directory, sink });
      return directory;
    } catch (error) {
      await sink.close();
      throw error;
    }
  }

  return {
    async *entries(range, signal) {
      yield* (await directoryOf(range, signal)).entries(range, signal);
    },
    async find(key, signal): Promise<KeyEntry | undefined> {
      // The byte 0 is the least that a longer key can go on with.
      const directory = await directoryOf({ from: key, to: Buffer.concat([key, Buffer.alloc(1)]) }, signal);
      return directory.find(key, signal);
    },
    async value(entry, revision, signal) {
      const reader = made[0]?.directory;
      // Entries come from this directory, so there was a question before.
      if (reader === undefined) throw new Error('a revision of another directory');
      try {
        return await reader.value(entry, revision, signal);
      } catch (error) {
        if (!(error instanceof WardenError) || error.code !== 'index-invalid') throw error;
        // What was read a moment ago is not there any more; nobody who names a file should hear of an index.
        throw new WardenError('changed-meanwhile', `${snapshot.name} was changed while it was read`, { cause: error });
      }
    },
    async close() {
      for (const { sink } of made.splice(0)) await sink.close();
    },
  };
}

interface Made {
  readonly directory: KeyDirectory;
  readonly sink: ScratchFile;
}
