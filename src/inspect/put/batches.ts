/** How many keys go into one transaction. Pure. */

/** etcd takes 128 operations (--max-txn-ops); conditions are counted apart. */
export const MAX_OPERATIONS = 100;
/** etcd takes 1.5 MiB (--max-request-bytes), everything counted. */
export const MAX_BYTES = 1024 * 1024;
/** Tags, lengths, revision and lease of one condition and one put: at most 62 bytes. */
const OVERHEAD = 64;

export interface Sized {
  readonly keyBytes: number;
  readonly valueBytes: number;
}

/** Bytes of a change in a request: its key stands in the condition and in the put. */
export function requestBytes({ keyBytes, valueBytes }: Sized): number {
  return 2 * keyBytes + valueBytes + OVERHEAD;
}

/** The items in their order, cut into batches of at most {@link MAX_OPERATIONS} and {@link MAX_BYTES}; one that is larger by itself goes alone. */
export function batchesOf<Item>(items: readonly Item[], sizeOf: (item: Item) => Sized): Item[][] {
  const batches: Item[][] = [];
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const more = requestBytes(sizeOf(item));
    if (batch.length > 0 && (batch.length >= MAX_OPERATIONS || bytes + more > MAX_BYTES)) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += more;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
