/**
 * Which records are the last change of a key that lives at a revision: what HashKV calls `keep`, and what a state consists of.
 *
 * A record survives when its key does not change again up to that revision, so only keys that change are remembered, and only above `floor`: a
 * compaction that has finished leaves at most one record of each key at or below its revision.
 */
import { digestKey, type KeyDigest } from './digest.ts';
import { keyOf } from './key-value.ts';
import { createKeyFold } from './key-fold.ts';
import type { KeyTable } from './key-table.ts';
import { isTombstone, mainOf } from './revision.ts';
import type { Scratch } from './scratch.ts';
import type { RawRecord, RecordSource } from './source.ts';

export interface DigestOptions {
  /** Where digests go that do not fit into memory; without it memory is not bounded. */
  readonly scratch?: Scratch | undefined;
  /** 32 bits. The result does not depend on it unless two keys share a digest. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** For tests: a weaker digest, and a smaller bound of memory than FOLD_BYTES. */
  readonly digest?: KeyDigest | undefined;
  readonly limitBytes?: number | undefined;
}

export interface SurvivorQuestion {
  readonly revision: bigint;
  /** Records up to here are asked about; at most `revision`. */
  readonly upTo: bigint;
  /** No two records at or below it have the same key; at most `upTo`. */
  readonly floor: bigint;
}

export interface Survivors {
  /**
   * A judge for one pass. It must be shown every record with main <= upTo, in order, and says whether it survives.
   */
  judge(): (record: RawRecord, main: bigint) => boolean;
  /** Keys that live at `revision` and whose last change is above `upTo`. */
  readonly beyond: number;
  /** Frees memory and scratch files. */
  close(): Promise<void>;
}

const NOTE = 0;
const ASK = 1;

/** @throws WardenError what `source` throws, `not-etcd` for a value without a key, `disk-full` of scratch */
export async function findSurvivors(source: RecordSource, question: SurvivorQuestion, options: DigestOptions = {}): Promise<Survivors> {
  const { revision, upTo, floor } = question;
  const { seed = 0, digest = digestKey, signal, scratch, limitBytes } = options;
  const out = new Uint32Array(2);
  const kept = growingBits();
  let beyond = 0;
  let ordinalAtUpTo = 0;

  // Per key: the number of its last record above the floor, counted from 1, negative for a tombstone; 0 and no entry are the same.
  const fold = createKeyFold(
    {
      columns: 1,
      apply(table, high, low, what, ordinal, index) {
        if (what === NOTE) {
          // Two steps: `claim` may replace the values, and what is left of an assignment is looked up first.
          const slot = table.claim(high, low);
          table.values[slot] = ordinal;
        } else if (lastOf(table, high, low) === ordinal) kept.set(index);
      },
      finish(table) {
        for (let slot = 0; slot < table.slots; slot += 1) if (table.values[slot]! > ordinalAtUpTo) beyond += 1;
      },
    },
    { scratch, limitBytes },
  );

  try {
    let ordinal = 0;
    notes: for await (const batch of source.records({ from: floor + 1n, signal })) {
      for (const { key, value } of batch) {
        const main = mainOf(key);
        if (main > revision) break notes;
        ordinal += 1;
        if (main <= upTo) ordinalAtUpTo = ordinal;
        digest(keyOf(value), seed, out);
        fold.push(out[0]!, out[1]!, NOTE, isTombstone(key) ? -ordinal : ordinal);
      }
      await fold.settle();
    }
    if (fold.spilled) await askAll();
    await fold.finish();
  } catch (error) {
    await fold.close();
    throw error;
  }

  /** What does not fit into memory cannot be looked up as records go by: all questions are asked ahead, and the answers kept as bits. */
  async function askAll(): Promise<void> {
    const next = counter(floor);
    let index = -1;
    questions: for await (const batch of source.records({ signal })) {
      for (const { key, value } of batch) {
        const main = mainOf(key);
        if (main > upTo) break questions;
        index += 1;
        const ordinal = next(main);
        if (isTombstone(key)) continue;
        digest(keyOf(value), seed, out);
        fold.push(out[0]!, out[1]!, ASK, ordinal, index);
      }
      await fold.settle();
    }
  }

  return {
    beyond,
    judge() {
      const next = counter(floor);
      let index = -1;
      return ({ key, value }, main) => {
        index += 1;
        const ordinal = next(main);
        if (isTombstone(key)) return false;
        if (fold.spilled) return kept.has(index);
        digest(keyOf(value), seed, out);
        return lastOf(fold.table(out[0]!), out[0]!, out[1]!) === ordinal;
      };
    },
    close: () => fold.close(),
  };
}

function lastOf(table: KeyTable, high: number, low: number): number {
  const slot = table.find(high, low);
  return slot === -1 ? 0 : table.values[slot]!;
}

/** The ordinals that the first pass gave: those of records above the floor, 0 below. */
function counter(floor: bigint): (main: bigint) => number {
  let ordinal = 0;
  return (main) => (main > floor ? (ordinal += 1) : 0);
}

function growingBits(): { set(index: number): void; has(index: number): boolean } {
  let bytes = new Uint8Array(128);
  return {
    set(index) {
      const at = index >>> 3;
      if (at >= bytes.length) {
        const larger = new Uint8Array(Math.max(bytes.length * 2, at + 1));
        larger.set(bytes);
        bytes = larger;
      }
      bytes[at]! |= 1 << (index & 7);
    },
    has: (index) => ((bytes[index >>> 3] ?? 0) & (1 << (index & 7))) !== 0,
  };
}
