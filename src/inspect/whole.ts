/** A snapshot from its beginning to its end, in bounded memory: what a compressed one holds is decoded as a stream, not frame by frame through a cache. */
import { createReadStream } from 'node:fs';
import { decodeBytes, decodeStream } from '../archive/decode.ts';
import { createSweeper, release } from '../archive/young-garbage.ts';
import { dataKey } from '../format/keys.ts';
import type { OpenedSnapshot } from './types.ts';

const STEP = 2 ** 20;

export interface WholeOptions {
  readonly identities: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/** The plain bytes in file order; each buffer is valid until the next one is asked for. */
export async function* wholeSnapshot(snapshot: OpenedSnapshot, options: WholeOptions): AsyncGenerator<Buffer, void, undefined> {
  const swept = createSweeper();
  let at = 0;
  if (snapshot.file.compressed) {
    try {
      for await (const bytes of decoded(snapshot, options)) {
        yield bytes;
        at += bytes.length;
        swept(bytes.length);
      }
      return;
    } catch (error) {
      options.signal.throwIfAborted();
      // Another copy may go on where this one broke off: reads of the file know of it. Of a file there is none.
      if (snapshot.backup === undefined) throw error;
    }
  }
  for (; at < snapshot.file.size; at += STEP) {
    const bytes = await snapshot.file.read(at, Math.min(STEP, snapshot.file.size - at), options.signal);
    yield bytes;
    swept(STEP);
    // Reads of a plain file answer in buffers of their own.
    if (!snapshot.file.compressed) release(bytes);
  }
}

function decoded({ backup, store, name }: OpenedSnapshot, options: WholeOptions): AsyncIterable<Buffer> {
  if (backup === undefined || store === undefined) return decodeBytes(createReadStream(name, { signal: options.signal }), name, options);
  return decodeStream(store, dataKey(backup.cluster, backup.id, backup.manifest.stored.encryption), options);
}
