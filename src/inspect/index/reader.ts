/**
 * Reads a key index: footer and list of blocks when it is opened, then only the blocks that can hold what is asked for. What it says is used to find
 * records; each is looked at before it is given out, so an index that lies leads to an error and never to a wrong value.
 */
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { parseKeyValue } from '../../mvcc/key-value.ts';
import { encodeRevision } from '../../mvcc/revision.ts';
import { WardenError } from '../../errors.ts';
import type { KeyDirectory, KeyEntry, KeyRange, KeyRevision } from '../types.ts';
import {
  type Block,
  decodeBlock,
  decodeFooter,
  decodeList,
  FOOTER_LENGTH,
  indexInvalid,
  type IndexSubject,
  isBefore,
  type PlacedEntry,
  type PlacedRevision,
} from './format.ts';

/** Longer than any record: a request of etcd is at most 1.5 MiB unless it was configured otherwise. An index that says more must not decide how much memory we take. */
const MAX_RECORD_LENGTH = 256 * 2 ** 20;

export interface ReadIndexOptions {
  /** The plain bytes of the index, and how to let go of it. */
  readonly index: RandomAccess & { close(): Promise<void> };
  /** The plain snapshot. */
  readonly snapshot: RandomAccess;
  /** What the index must be of. */
  readonly subject: IndexSubject;
  readonly signal: AbortSignal;
}

/** @throws WardenError `index-invalid` */
export async function readKeyIndex(options: ReadIndexOptions): Promise<KeyDirectory> {
  const { index, subject, signal } = options;
  if (index.size < FOOTER_LENGTH) throw indexInvalid(`it has ${index.size} bytes: it is cut short`, subject.id);
  const footer = named(subject.id, decodeFooter, await index.read(index.size - FOOTER_LENGTH, FOOTER_LENGTH, signal), index.size);
  if (footer.id !== subject.id || footer.sha256 !== subject.sha256 || footer.plainBytes !== subject.plainBytes) {
    const whose = footer.id === subject.id ? `of ${footer.plainBytes} bytes with SHA-256 ${footer.sha256}` : `of ${footer.id}`;
    throw indexInvalid(`it is of another backup, ${whose}`, subject.id);
  }
  const list = await index.read(footer.listOffset, footer.listLength, signal);
  return new IndexDirectory(options, named(subject.id, decodeList, list, footer));
}

class IndexDirectory implements KeyDirectory {
  readonly #options: ReadIndexOptions;
  readonly #blocks: readonly Block[];

  constructor(options: ReadIndexOptions, blocks: readonly Block[]) {
    this.#options = options;
    this.#blocks = blocks;
  }

  async *entries(range: KeyRange, signal: AbortSignal): AsyncGenerator<KeyEntry, void, undefined> {
    const { from, to } = range;
    // The key that a block ends with may go on in the next: it is kept back until its successor is seen.
    let last: PlacedEntry | undefined;
    for (let i = from === undefined ? 0 : this.#blockFor(from); i < this.#blocks.length; i += 1) {
      const { lower, continues } = this.#blocks[i]!;
      if (to !== undefined && Buffer.compare(lower, to) >= 0) break;
      for (const entry of await this.#entriesOf(i, signal)) {
        if (from !== undefined && Buffer.compare(entry.key, from) < 0) continue;
        if (to !== undefined && Buffer.compare(entry.key, to) >= 0) break;
        const order = last === undefined ? 1 : Buffer.compare(entry.key, last.key);
        if (order > 0) {
          if (last !== undefined) yield last;
          last = entry;
        } else last = this.#joined(last!, entry, order === 0 && continues);
      }
    }
    if (last !== undefined) yield last;
  }

  async find(key: Buffer, signal: AbortSignal): Promise<KeyEntry | undefined> {
    // The byte 0 is the least that a longer key can go on with: nothing lies between the two.
    for await (const entry of this.entries({ from: key, to: Buffer.concat([key, Buffer.alloc(1)]) }, signal)) return entry;
    return undefined;
  }

  async value(entry: KeyEntry, revision: KeyRevision, signal: AbortSignal): Promise<Buffer> {
    const { snapshot, subject } = this.#options;
    if (!isPlaced(revision)) throw new Error('a revision of another directory');
    if (revision.tombstone) return Buffer.alloc(0);
    if (revision.recordBytes > MAX_RECORD_LENGTH) throw indexInvalid(`it says that a record has ${revision.recordBytes} bytes`, subject.id);
    const name = encodeRevision(revision);
    const bytes = await snapshot.read(revision.at, name.length + revision.recordBytes, signal);
    const value = recordAt(bytes, name, entry.key, revision);
    if (value === undefined) throw indexInvalid(`the record at ${revision.at} is not the one that it says`, subject.id);
    return value;
  }

  close(): Promise<void> {
    return this.#options.index.close();
  }

  /** The first block that can hold `key`, or keys after it. */
  #blockFor(key: Buffer): number {
    const blocks = this.#blocks;
    let [low, high] = [0, blocks.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(blocks[middle]!.lower, key) <= 0) low = middle + 1;
      else high = middle;
    }
    let block = Math.max(0, low - 1);
    while (block > 0 && blocks[block]!.continues && blocks[block]!.lower.equals(key)) block -= 1;
    return block;
  }

  async #entriesOf(index: number, signal: AbortSignal): Promise<PlacedEntry[]> {
    const { index: file, subject } = this.#options;
    const block = this.#blocks[index]!;
    const bytes = await file.read(block.offset, block.length, signal);
    const entries = named(subject.id, (given: Buffer) => [...decodeBlock(given, subject.plainBytes)], bytes);
    if (entries.length === 0 || Buffer.compare(entries[0]!.key, block.lower) < 0)
      throw indexInvalid(`block ${index} does not hold the keys that its list says`, subject.id);
    return entries;
  }

  #joined(last: PlacedEntry, next: PlacedEntry, expected: boolean): PlacedEntry {
    if (!expected || !isBefore(last.revisions.at(-1)!, next.revisions[0]!))
      throw indexInvalid('its blocks are not in order', this.#options.subject.id);
    return { key: last.key, revisions: [...last.revisions, ...next.revisions] };
  }
}

/** The value, when the bytes are a record of that revision of that key. */
function recordAt(bytes: Buffer, name: Buffer, key: Buffer, revision: PlacedRevision): Buffer | undefined {
  if (!bytes.subarray(0, name.length).equals(name)) return undefined;
  try {
    const record = parseKeyValue(bytes.subarray(name.length));
    return record.key.equals(key) && record.value.length === revision.valueBytes ? record.value : undefined;
  } catch {
    return undefined; // no record: the index is wrong, and the snapshot's own state is for `verify` to tell
  }
}

function isPlaced(revision: KeyRevision): revision is PlacedRevision {
  return 'at' in revision && 'recordBytes' in revision;
}

/** Runs a decoder, whose errors do not know which index it is. */
function named<Arguments extends readonly unknown[], Result>(
  id: string,
  decode: (...given: Arguments) => Result,
  ...given: Arguments
): Result {
  try {
    return decode(...given);
  } catch (error) {
    if (error instanceof WardenError && error.code === 'index-invalid') {
      throw new WardenError(error.code, error.message.replace('the key index', `the key index of ${id}`), {
        hint: error.hint?.replace('verify ID', `verify ${id}`),
        cause: error,
      });
    }
    throw error;
  }
}
