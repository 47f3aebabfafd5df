import { createHash } from 'node:crypto';
import type { SnapshotMessage } from '../../../src/etcd/types.ts';

export interface Drained {
  /** Bytes of the database and its trailer. */
  readonly bytes: number;
  /** What the first message announced: the database without its trailer. */
  readonly announced: number;
  readonly version: string | undefined;
  /** The last 32 bytes are the SHA-256 of all others. */
  readonly whole: boolean;
}

/** Reads a snapshot to its end and compares it with its own trailer. */
export async function drain(batches: AsyncIterable<readonly SnapshotMessage[]>, onBytes?: (bytes: number) => void): Promise<Drained> {
  const hash = createHash('sha256');
  let last = Buffer.alloc(0);
  let bytes = 0;
  let announced: number | undefined;
  let version: string | undefined;
  for await (const batch of batches) {
    for (const message of batch) {
      announced ??= message.blob.length + message.remaining;
      version = message.version ?? version;
      bytes += message.blob.length;
      const both = Buffer.concat([last, message.blob]);
      hash.update(both.subarray(0, -32));
      last = Buffer.from(both.subarray(-32));
    }
    onBytes?.(bytes);
  }
  return { bytes, announced: announced ?? 0, version, whole: last.length === 32 && hash.digest().equals(last) };
}
