/** HashKV (hash-kv.ts has the rule) out of the sums of leaves; where only some records of a leaf count, out of those that were kept of its records. */
import { combineCrc32c, updateCrc32c } from '../crc32c/crc32c.ts';
import type { Changes } from './changes.ts';
import { RECORD, RECORD_WORDS, TOMBSTONE_BIT } from './leaf.ts';
import type { Leaves } from './leaves.ts';
import type { Records } from './records.ts';

export interface SumInput {
  readonly leaves: Leaves;
  readonly records: Records;
  /** The leaves of the tree, in the order of keys. */
  readonly order: Uint32Array;
  readonly compacted: number;
  /** Undefined when no record lies at or below `compacted`, or nothing was ever compacted. */
  readonly changes: Changes | undefined;
  readonly signal: AbortSignal;
}

export async function sumLeaves({ leaves, records, order, compacted, changes, signal }: SumInput): Promise<number> {
  let sum = updateCrc32c(0, Buffer.from('key'));
  for (const leaf of order) {
    const filtered = changes !== undefined && leaves.firstMain(leaf) <= compacted && !allSurvive(leaves, leaf, compacted, changes);
    if (!filtered) {
      sum = combineCrc32c(sum, leaves.crc(leaf), leaves.length(leaf));
      continue;
    }
    signal.throwIfAborted();
    const first = leaves.record(leaf);
    const size = leaves.size(leaf);
    const held = records.held(first);
    const whole = held !== undefined && first + size <= held.first + held.words.length / RECORD_WORDS;
    const words = whole ? held.words : await records.read(first, size);
    const from = whole ? first - held.first : 0;
    let before = 0;
    for (let i = 0; i < size; i += 1) {
      const at = (from + i) * RECORD_WORDS;
      const crc = words[at + RECORD.crc]!;
      const length = words[at + RECORD.length]!;
      // The sum of a piece is that of it and all before it, without what those become over its length.
      if (counts(words, at, first + i, compacted, changes)) sum = combineCrc32c(sum, combineCrc32c(before, crc, length), length);
      before = crc;
    }
  }
  return sum;
}

function allSurvive(leaves: Leaves, leaf: number, compacted: number, changes: Changes): boolean {
  if (leaves.lastMain(leaf) > compacted || leaves.tombstones(leaf) > 0) return false;
  const first = leaves.record(leaf);
  for (let i = leaves.size(leaf) - 1; i >= 0; i -= 1) if (!changes.survives(first + i)) return false;
  return true;
}

function counts(words: Uint32Array, at: number, record: number, compacted: number, changes: Changes): boolean {
  const mainHigh = words[at + RECORD.mainHigh]!;
  const main = (mainHigh & ~TOMBSTONE_BIT) * 2 ** 32 + words[at + RECORD.mainLow]!;
  if (main > compacted) return true;
  const tombstone = (mainHigh & TOMBSTONE_BIT) !== 0;
  // No key lives at all: etcd's filter falls away, and only tombstones at the compact revision are left out.
  if (changes.living === 0) return main < compacted || !tombstone;
  return changes.survives(record);
}
