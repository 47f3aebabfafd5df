import type { Random } from './random.ts';
import { encodeKeyValue } from '../../src/mvcc/key-value.ts';
import { encodeRevision } from '../../src/mvcc/revision.ts';

/** One change as a test wants it in a database. */
export interface Change {
  readonly key: Buffer;
  readonly main: bigint;
  readonly sub: bigint;
  readonly tombstone: boolean;
  readonly createRevision: bigint;
  readonly version: bigint;
  readonly lease: bigint;
  readonly value: Buffer;
}

export interface HistoryOptions {
  readonly keys: readonly Buffer[];
  readonly transactions: number;
  /** Values are at most this long. */
  readonly valueBytes?: number;
}

/** A history as etcd makes one: transactions with several changes, deletes and new creations, leases, values without bytes. */
export function randomHistory(random: Random, { keys, transactions, valueBytes = 40 }: HistoryOptions): Change[] {
  const alive = new Map<string, { readonly createRevision: bigint; readonly version: bigint }>();
  const changes: Change[] = [];
  for (let main = 2n; main < 2n + BigInt(transactions); main += 1n) {
    const touched = new Set<string>();
    for (let i = random.below(4); i >= 0; i -= 1) {
      const key = keys[random.below(keys.length)]!;
      const name = key.toString('latin1');
      if (touched.has(name)) continue; // etcd refuses a key twice in one transaction
      touched.add(name);
      const before = alive.get(name);
      const sub = BigInt(touched.size - 1);
      if (before !== undefined && random.below(4) === 0) {
        alive.delete(name);
        changes.push({ key, main, sub, tombstone: true, createRevision: 0n, version: 0n, lease: 0n, value: Buffer.alloc(0) });
        continue;
      }
      const now = { createRevision: before?.createRevision ?? main, version: (before?.version ?? 0n) + 1n };
      alive.set(name, now);
      const lease = random.below(5) === 0 ? BigInt(random.below(2 ** 31)) * 4294967296n + BigInt(random.below(2 ** 32 - 1)) + 1n : 0n;
      changes.push({ key, main, sub, tombstone: false, ...now, lease, value: random.fill(Buffer.alloc(random.below(valueBytes + 1))) });
    }
  }
  return changes;
}

/** Entries of bucket `key`. */
export function recordsOf(changes: readonly Change[]): (readonly [Buffer, Buffer])[] {
  return changes.map((change) => [
    encodeRevision(change),
    change.tombstone
      ? encodeKeyValue({
          key: change.key,
          createRevision: 0n,
          modRevision: 0n,
          version: 0n,
          value: Buffer.alloc(0),
          lease: 0n,
          unknown: [],
        })
      : encodeKeyValue({ ...change, modRevision: change.main, unknown: [] }),
  ]);
}
