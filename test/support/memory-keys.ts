/** A small etcd of the tests: keys with mod revisions, transactions on conditions, answers that get lost. And a directory of keys in memory. */
import { keyText, type ConditionalPut, type KeysClient, type LiveKey, type PutOutcome } from '../../src/etcd/keys.ts';
import type { KeyDirectory, KeyEntry } from '../../src/inspect/types.ts';

export interface MemoryKeys extends Pick<KeysClient, 'read' | 'put' | 'leaseLives'> {
  readonly keys: Map<string, LiveKey>;
  readonly leases: Set<bigint>;
  /** Transactions that were asked for, in their order. */
  readonly transactions: (readonly ConditionalPut[])[];
  revision: bigint;
  set(key: string, value: string, lease?: bigint): void;
  remove(key: string): void;
  /** Instead of each further transaction; what it does not answer is carried out as always. */
  before: ((puts: readonly ConditionalPut[], carryOut: () => PutOutcome) => PutOutcome | undefined) | undefined;
}

export function memoryKeys(): MemoryKeys {
  const keys = new Map<string, LiveKey>();
  const self: MemoryKeys = {
    keys,
    leases: new Set(),
    transactions: [],
    revision: 1n,
    before: undefined,
    set(key, value, lease = 0n) {
      keys.set(key, { modRevision: ++self.revision, value: Buffer.from(value), lease });
    },
    remove(key) {
      self.revision++;
      keys.delete(key);
    },
    async read(wanted) {
      return new Map(wanted.flatMap((key) => [...present(key)]));
    },
    async put(puts) {
      self.transactions.push(puts);
      return self.before?.(puts, () => carryOut(puts)) ?? carryOut(puts);
    },
    async leaseLives(lease) {
      return self.leases.has(lease);
    },
  };
  function* present(key: Buffer): Generator<[string, LiveKey]> {
    const found = keys.get(keyText(key));
    if (found !== undefined) yield [keyText(key), found];
  }
  function carryOut(puts: readonly ConditionalPut[]): PutOutcome {
    if (puts.some(({ key, modRevision }) => (keys.get(keyText(key))?.modRevision ?? 0n) !== modRevision)) return { outcome: 'changed' };
    self.revision++;
    for (const { key, value, lease } of puts) {
      const before = keys.get(keyText(key));
      keys.set(keyText(key), { modRevision: self.revision, value, lease: lease === 'keep' ? (before?.lease ?? 0n) : lease });
    }
    return { outcome: 'put' };
  }
  return self;
}

export interface MemoryRecord {
  readonly key: string;
  readonly main: number;
  /** Undefined = a tombstone. */
  readonly value: string | undefined;
  readonly lease?: bigint;
}

/** The records in any order of keys; those of one key oldest first. */
export function memoryDirectory(records: readonly MemoryRecord[]): KeyDirectory {
  const values = new Map<string, Buffer>();
  const grouped = new Map<string, MemoryRecord[]>();
  for (const record of records) {
    grouped.set(record.key, [...(grouped.get(record.key) ?? []), record]);
    if (record.value !== undefined) values.set(`${record.key} ${record.main}`, Buffer.from(record.value));
  }
  const entries = [...grouped]
    .map(([key, all]): KeyEntry => ({
      key: Buffer.from(key, 'latin1'),
      revisions: all.map(({ main, value, lease }, index) => ({
        main: BigInt(main),
        sub: 0n,
        tombstone: value === undefined,
        createRevision: value === undefined ? 0n : BigInt(all[0]?.main ?? main),
        version: value === undefined ? 0n : BigInt(index + 1),
        lease: lease ?? 0n,
        valueBytes: value === undefined ? 0 : Buffer.byteLength(value),
      })),
    }))
    .sort((one, other) => one.key.compare(other.key));
  return {
    async *entries({ from, to }) {
      for (const entry of entries) {
        if (from !== undefined && entry.key.compare(from) < 0) continue;
        if (to !== undefined && entry.key.compare(to) >= 0) continue;
        yield entry;
      }
    },
    find: async (key) => entries.find((entry) => entry.key.equals(key)),
    async value(entry, { main }) {
      const value = values.get(`${keyText(entry.key)} ${main}`);
      if (value === undefined) throw new Error('no such value');
      return value;
    },
    close: async () => undefined,
  };
}
