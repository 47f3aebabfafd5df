/**
 * Histories of a store as etcd would keep them, by a model that is naive on purpose: everything in memory, every definition word for word. What
 * src/mvcc computes in bounded memory is held against it.
 */
import { encodeKeyValue, type KeyValue } from '../../src/mvcc/key-value.ts';
import { encodeRevision, parseRevision } from '../../src/mvcc/revision.ts';
import type { Scratch } from '../../src/mvcc/scratch.ts';
import type { RawRecord, RecordSource } from '../../src/mvcc/source.ts';
import type { Random } from './random.ts';

/** One change as the model holds it. */
export interface ModelChange {
  readonly main: bigint;
  readonly sub: bigint;
  readonly key: string;
  /** Undefined for a tombstone. */
  readonly record: KeyValue | undefined;
}

export interface ModelHistory {
  /** Current revision. */
  readonly revision: bigint;
  /** 0n when nothing was compacted. */
  readonly compactRevision: bigint;
  readonly compactionFinished: bigint;
  /** Everything that ever happened, compacted or not. */
  readonly changes: readonly ModelChange[];
  /** What the bucket `key` holds. */
  readonly records: readonly RawRecord[];
}

export interface HistoryOptions {
  readonly random: Random;
  readonly steps: number;
  readonly keys?: number;
  /** None, one that has finished, or one that a stop interrupted. */
  readonly compaction?: 'none' | 'finished' | 'unfinished';
}

/** Puts, deletes, deletes of ranges, transactions, leases and keys that come back, then perhaps a compaction. */
export function randomHistory({ random, steps, keys = 6, compaction = 'none' }: HistoryOptions): ModelHistory {
  const names = Array.from({ length: keys }, (_, i) => (i === 0 ? '\u0000ÿ' : `key-${'x'.repeat(i)}`));
  const live = new Map<string, KeyValue>();
  const changes: ModelChange[] = [];
  let main = 1n;

  function put(key: string, sub: bigint): void {
    const before = live.get(key);
    const record: KeyValue = {
      key: latin1(key),
      createRevision: before?.createRevision ?? main,
      modRevision: main,
      version: (before?.version ?? 0n) + 1n,
      value: random.fill(Buffer.alloc([0, 1, 5, 40][random.below(4)]!)),
      lease: random.below(4) === 0 ? 2n ** 60n + BigInt(random.below(1000)) : 0n,
      unknown: [],
    };
    live.set(key, record);
    changes.push({ main, sub, key, record });
  }
  function remove(key: string, sub: bigint): void {
    live.delete(key);
    changes.push({ main, sub, key, record: undefined });
  }

  for (let step = 0; step < steps; step += 1) {
    main += 1n;
    const kind = random.below(10);
    const present = [...live.keys()];
    if (kind < 2 && present.length > 0) {
      remove(present[random.below(present.length)]!, 0n);
    } else if (kind === 2 && present.length > 1) {
      // A deleted range or a revoked lease: several keys in one revision.
      present.slice(random.below(present.length)).forEach((key, i) => remove(key, BigInt(i)));
    } else if (kind < 5) {
      const touched = names.filter(() => random.below(3) === 0);
      if (touched.length === 0) touched.push(names[random.below(keys)]!);
      touched.forEach((key, i) => (live.has(key) && random.below(3) === 0 ? remove(key, BigInt(i)) : put(key, BigInt(i))));
    } else put(names[random.below(keys)]!, 0n);
  }

  const compactRevision = compaction === 'none' ? 0n : 1n + BigInt(random.below(steps + 1));
  const compactionFinished = compaction === 'unfinished' ? BigInt(random.below(Number(compactRevision) + 1)) : compactRevision;
  let held = compacted(changes, compactionFinished);
  if (compaction === 'unfinished') {
    // The compaction had removed the first of what it was to remove.
    const after = new Set(compacted(held, compactRevision));
    const doomed = held.filter((change) => !after.has(change));
    const done = new Set(doomed.slice(0, random.below(doomed.length + 1)));
    held = held.filter((change) => !done.has(change));
  }
  return { revision: main, compactRevision, compactionFinished, changes, records: held.map(rawOf) };
}

/** What etcd keeps: of each key the last change up to `revision`, tombstones only when they are exactly there (3.4.34, 3.5.16 and later), and all above. */
export function compacted(changes: readonly ModelChange[], revision: bigint): ModelChange[] {
  const last = new Map<string, ModelChange>();
  for (const change of changes) if (change.main <= revision) last.set(change.key, change);
  return changes.filter(
    (change) => change.main > revision || (last.get(change.key) === change && (change.record !== undefined || change.main === revision)),
  );
}

export function rawOf({ main, sub, key, record }: ModelChange): RawRecord {
  const tombstone = record === undefined;
  const none = { createRevision: 0n, modRevision: 0n, version: 0n, value: Buffer.alloc(0), lease: 0n, unknown: [] };
  return { key: encodeRevision({ main, sub, tombstone }), value: encodeKeyValue(record ?? { ...none, key: latin1(key) }) };
}

/** The keys that live at a revision, from all that ever happened. */
export function stateAt(changes: readonly ModelChange[], revision: bigint): Map<string, ModelChange> {
  const state = new Map<string, ModelChange>();
  for (const change of changes) {
    if (change.main > revision) break;
    if (change.record === undefined) state.delete(change.key);
    else state.set(change.key, change);
  }
  return state;
}

/** HashKV by the letter of its definition. */
export function naiveHashKv(records: readonly RawRecord[], revision: bigint, compactRevision: bigint): number {
  const keep = new Map<string, string>();
  const revisionOf = (record: RawRecord): string => record.key.subarray(0, 17).toString('hex');
  const keyOf = (record: RawRecord): string => keyField(record.value).toString('latin1');
  for (const record of records) {
    const { main, tombstone } = parseRevision(record.key)!;
    if (main > revision) break;
    if (tombstone) keep.delete(keyOf(record));
    else keep.set(keyOf(record), revisionOf(record));
  }
  const kept = new Set(keep.values());
  const hashed = records.filter((record) => {
    const { main, tombstone } = parseRevision(record.key)!;
    if (main > revision) return false;
    if (main <= compactRevision && kept.size > 0 && !kept.has(revisionOf(record))) return false;
    return !(main === compactRevision && tombstone);
  });
  return naiveCrc32c(Buffer.concat([Buffer.from('key'), ...hashed.flatMap(({ key, value }) => [key, value])]));
}

export function naiveCrc32c(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ ((sum & 1) === 1 ? 0x82f63b78 : 0);
  }
  return ~sum >>> 0;
}

/** Records as a source. As the contract allows, the views of a batch are destroyed when the next one is asked for. */
export function sourceOf(records: readonly RawRecord[], batchLength = 4): RecordSource {
  return {
    async *records({ from = 0n, signal } = {}) {
      const wanted = records.filter(({ key }) => key.readBigInt64BE(0) >= from);
      for (let at = 0; at < wanted.length; at += batchLength) {
        signal?.throwIfAborted();
        const batch = wanted.slice(at, at + batchLength).map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
        yield batch;
        for (const { key, value } of batch) {
          key.fill(0xdd);
          value.fill(0xdd);
        }
      }
    },
  };
}

/** Scratch files in memory, and how many are open. */
export function memoryScratch(): Scratch & { readonly open: () => number; readonly made: () => number } {
  let open = 0;
  let made = 0;
  return {
    open: () => open,
    made: () => made,
    async create() {
      open += 1;
      made += 1;
      let bytes = Buffer.alloc(0);
      return {
        get size() {
          return bytes.length;
        },
        async append(more) {
          bytes = Buffer.concat([bytes, more]);
        },
        async read(offset, length) {
          if (offset + length > bytes.length) throw new Error('read behind the end');
          return Buffer.from(bytes.subarray(offset, offset + length));
        },
        async close() {
          open -= 1;
        },
      };
    },
  };
}

/** The first field, read with nothing of the code under test; keys of the model are short. */
function keyField(value: Buffer): Buffer {
  return value.length === 0 ? value : value.subarray(2, 2 + value[1]!);
}

function latin1(key: string): Buffer {
  return Buffer.from(key, 'latin1');
}
