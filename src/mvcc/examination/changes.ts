/**
 * What became of each key, from the words that were kept of every record: which records are the last change of a key that lives, and whether the changes
 * above the compact revision follow from each other. A finished compaction leaves at most one record of a key at or below its revision, so only keys that
 * changed above it need be remembered.
 */
import { createKeyFold, type KeyFold } from '../key-fold.ts';
import type { Scratch } from '../scratch.ts';
import { RECORD, RECORD_WORDS, TOMBSTONE_BIT } from './leaf.ts';
import type { Leaves } from './leaves.ts';
import type { Records } from './records.ts';

/** Tables of keys beyond this go to scratch files: 390 000 keys that changed since the last compaction. */
const FOLD_BYTES = 16 * 2 ** 20;
/** Records between two looks at how much memory the tables take, and at the signal. */
const SETTLE_RECORDS = 8192;

/** Words per key: its last record above the floor (counted from 1), what that says, what the first says. */
const LAST = 0;
const LAST_VERSION = 1;
const LAST_CREATED = 2;
const FIRST_VERSION = 3;
const FIRST_CREATED = 4;
const FLAGS = 5;
const COLUMNS = 6;

const FIRST_DELETES = 1;
/** The first is above the compact revision: it must follow what is below the floor. */
const FIRST_CHECKED = 2;
const LAST_DELETES = 4;
const BASE_SEEN = 8;

/** Stands for the version of a deletion. */
const DELETED = -1;

export interface ChangesInput {
  readonly leaves: Leaves;
  readonly records: Records;
  /** The leaves of the tree, in the order of keys. */
  readonly order: Uint32Array;
  /** At most one record of each key is at or below it: the last finished compaction. */
  readonly floor: number;
  /** History is complete above it. */
  readonly compactRevision: number;
  readonly scratch: Scratch;
  /** At most so many keys changed above the floor. */
  readonly keys: number;
  readonly foldBytes?: number | undefined;
  readonly signal: AbortSignal;
}

export interface Changes {
  /** Whether a record is the last change of a key that lives. */
  survives(record: number): boolean;
  /** How many do. */
  readonly living: number;
  /** A change does not follow from those before it; which one, and why, is continuity.ts's to say. */
  readonly broken: boolean;
}

export async function foldChanges(input: ChangesInput): Promise<Changes> {
  const { leaves, records, order, floor, signal } = input;
  const surviving = new Uint8Array(Math.ceil(records.count / 8));
  let living = 0;
  let broken = false;
  function survivor(record: number): void {
    living += 1;
    surviving[record >>> 3]! |= 1 << (record & 7);
  }

  // A row: its record counted from 1, negative for one at or below the floor; twice its version, and one more when it must follow the one before; its creation.
  const fold = createKeyFold(
    {
      columns: COLUMNS,
      words: true,
      apply(table, high, low, number, twice, created) {
        const checked = twice & 1;
        const version = (twice - checked) / 2;
        if (number < 0) {
          const slot = table.find(high, low);
          if (slot === -1) {
            if (version !== DELETED) survivor(-number - 1);
            return;
          }
          const at = slot * COLUMNS;
          const { values } = table;
          const flags = values[at + FLAGS]!;
          values[at + FLAGS] = flags | BASE_SEEN;
          if ((flags & FIRST_CHECKED) === 0) return;
          const first = (flags & FIRST_DELETES) === 0 ? values[at + FIRST_VERSION]! : DELETED;
          if (!follows(first, values[at + FIRST_CREATED]!, version, created)) broken = true;
          return;
        }
        const at = table.claim(high, low) * COLUMNS;
        const { values } = table;
        let flags = values[at + FLAGS]!;
        if (values[at + LAST] === 0) {
          values[at + FIRST_VERSION] = version;
          values[at + FIRST_CREATED] = created;
          flags |= (version === DELETED ? FIRST_DELETES : 0) | (checked === 0 ? 0 : FIRST_CHECKED);
        } else if (checked === 1) {
          const before = (flags & LAST_DELETES) === 0 ? values[at + LAST_VERSION]! : DELETED;
          if (!follows(version, created, before, values[at + LAST_CREATED]!)) broken = true;
        }
        values[at + FLAGS] = version === DELETED ? flags | LAST_DELETES : flags & ~LAST_DELETES;
        values[at + LAST] = number;
        values[at + LAST_VERSION] = version;
        values[at + LAST_CREATED] = created;
      },
      finish({ values, slots }) {
        for (let at = 0; at < slots * COLUMNS; at += COLUMNS) {
          if (values[at + LAST] === 0) continue;
          const flags = values[at + FLAGS]!;
          if ((flags & LAST_DELETES) === 0) survivor(values[at + LAST]! - 1);
          // Nothing below: only a creation can come first.
          if (
            (flags & (FIRST_CHECKED | BASE_SEEN)) === FIRST_CHECKED &&
            ((flags & FIRST_DELETES) !== 0 || values[at + FIRST_VERSION] !== 1)
          )
            broken = true;
        }
      },
    },
    { scratch: input.scratch, limitBytes: input.foldBytes ?? FOLD_BYTES, keys: input.keys },
  );

  async function push(among: Uint32Array, above: boolean): Promise<void> {
    let unsettled = 0;
    for (const leaf of among) {
      if (above ? leaves.lastMain(leaf) <= floor : leaves.firstMain(leaf) > floor) continue;
      const first = leaves.record(leaf);
      const end = first + leaves.size(leaf);
      for (let record = first; record < end;) {
        const chunk = records.held(record) ?? (await records.chunkAt(record));
        const last = Math.min(end, chunk.first + chunk.words.length / RECORD_WORDS);
        for (; record < last; record += 1) pushRecord(fold, chunk.words, (record - chunk.first) * RECORD_WORDS, record, above, input);
      }
      unsettled += end - first;
      if (unsettled < SETTLE_RECORDS) continue;
      unsettled = 0;
      signal.throwIfAborted();
      await fold.settle();
    }
    await fold.settle();
  }

  try {
    await push(order, true);
    // Their order means nothing, and in that of the file each chunk is read once.
    await push(inFileOrder(order, leaves.count), false);
    await fold.finish();
  } finally {
    await fold.close();
  }
  return { survives: (record) => (surviving[record >>> 3]! & (1 << (record & 7))) !== 0, living, broken };
}

/** Sorted: numbers of leaves count from the first page on. */
function inFileOrder(order: Uint32Array, count: number): Uint32Array {
  const among = new Uint8Array(count);
  for (const leaf of order) among[leaf] = 1;
  const sorted = new Uint32Array(order.length);
  for (let leaf = 0, to = 0; leaf < count; leaf += 1) if (among[leaf] === 1) sorted[to++] = leaf;
  return sorted;
}

function pushRecord(
  fold: KeyFold,
  words: Uint32Array,
  at: number,
  record: number,
  above: boolean,
  { floor, compactRevision }: ChangesInput,
): void {
  const mainHigh = words[at + RECORD.mainHigh]!;
  const main = (mainHigh & ~TOMBSTONE_BIT) * 2 ** 32 + words[at + RECORD.mainLow]!;
  if (above !== main > floor) return;
  const version = (mainHigh & TOMBSTONE_BIT) === 0 ? words[at + RECORD.version]! : DELETED;
  const twice = 2 * version + (main > compactRevision ? 1 : 0);
  // Small integers all of them, but for revisions beyond 2^31: nothing is allocated.
  fold.push(words[at + RECORD.high]! | 0, words[at + RECORD.low]! | 0, above ? record + 1 : -record - 1, twice, words[at + RECORD.created]);
}

/** Whether a change may come right after another of the same key. Versions and creations are compared by their lowest 32 bits, which is all that is kept. */
function follows(version: number, created: number, before: number, createdBefore: number): boolean {
  if (version === DELETED) return before !== DELETED;
  if (version === 1) return before === DELETED;
  return before !== DELETED && version === (before + 1) % 2 ** 32 && created === createdBefore;
}
