/**
 * A tree of pages, built from entries that come in the order of their keys: leaves one behind the other, and above them each branch as soon as it is full.
 * Memory: one open node per level.
 */
import { writeError } from './errors.ts';
import type { Blocks } from './blocks.ts';
import { bucketHeader, inlineBucket, type IntegerWriter, leafLength, writeHeader } from './image.ts';
import type { NewEntry } from './sink.ts';
import { ELEMENT_LENGTH, HEADER_LENGTH } from '../page.ts';

/** As bbolt's `DefaultFillPercent` is overridden by a defragmentation of etcd (server/storage/backend/backend.go, `defragdb`), the same from 3.4 to 3.7. */
export const FILL = 0.9;

/** bucket.go, `MaxKeySize` and `MaxValueSize`. */
const MAX_KEY_LENGTH = 32_768;
const MAX_VALUE_LENGTH = 2 ** 31 - 2;

/** 0xffff elements mean something else in a list of free pages, and no page of a tree may have them (node.go, `write`). */
const MOST_ELEMENTS = 0xfffe;

/** Fewer elements are never split by bbolt (node.go, `minKeysPerPage`). */
const LEAST_ELEMENTS = 2;

export interface Pages {
  readonly blocks: Blocks;
  readonly integers: IntegerWriter;
  readonly pageSize: number;
  /** The page that is handed out next. */
  next: number;
}

export class TreeWriter {
  /** Entries that were added. */
  count = 0;
  readonly #pages: Pages;
  readonly #most: number;
  /** Keys and values of the open leaf, one behind the other. */
  #data: Buffer = Buffer.allocUnsafeSlow(2 ** 16);
  #used = 0;
  /** Three numbers for each of its elements: flags, length of key, length of value. */
  #elements: Uint32Array = new Uint32Array(3 * 256);
  #size = 0;
  /** Where its last key begins, and how long it is. */
  #lastAt = 0;
  #lastLength = 0;
  /** The last key of the leaf before it. */
  #lastKey: Buffer = Buffer.alloc(0);
  readonly #branches: Branch[] = [];

  constructor(pages: Pages) {
    this.#pages = pages;
    this.#most = Math.floor(pages.pageSize * FILL);
  }

  /**
   * The next entry. What it returns is to be awaited before anything else is added.
   * @param bytes hold the key at `at`, and the value behind it
   * @param flags of the element: 0, or 1 for a bucket
   * @throws WardenError `failed` for a key that is empty, too long or not greater than the one before it
   */
  add(bytes: Buffer, at: number, keyLength: number, valueLength: number, flags = 0): void | Promise<void> {
    if (keyLength === 0 || keyLength > MAX_KEY_LENGTH) throw writeError(`a key has ${keyLength} bytes, 1 to ${MAX_KEY_LENGTH} are allowed`);
    if (valueLength > MAX_VALUE_LENGTH) throw writeError(`a value has ${valueLength} bytes, at most ${MAX_VALUE_LENGTH} are allowed`);
    if (this.count > 0 && !this.#ascends(bytes, at, keyLength)) throw writeError('a key is not greater than the one before it');
    const length = keyLength + valueLength;
    const used = HEADER_LENGTH + this.#size * ELEMENT_LENGTH + this.#used;
    const full = used + ELEMENT_LENGTH + length > this.#most && this.#size >= LEAST_ELEMENTS;
    if (full || this.#size === MOST_ELEMENTS) this.#closeLeaf();
    if (this.#used + length > this.#data.length) this.#grow(length);
    bytes.copy(this.#data, this.#used, at, at + length);
    const element = 3 * this.#size;
    if (element === this.#elements.length) this.#elements = doubled(this.#elements);
    this.#elements[element] = flags;
    this.#elements[element + 1] = keyLength;
    this.#elements[element + 2] = valueLength;
    this.#lastAt = this.#used;
    this.#lastLength = keyLength;
    this.#used += length;
    this.#size += 1;
    this.count += 1;
    return this.#pages.blocks.pressure();
  }

  /** After the last entry. @returns the page that the tree begins at: an empty leaf when there was none */
  async end(): Promise<number> {
    let root = this.#writeLeaf();
    await this.#pages.blocks.pressure();
    for (let level = 0; level < this.#branches.length; level += 1) {
      // Its last child; that can fill it, and then there is one more level.
      this.#attach(level, root);
      const branch = this.#branches[level]!;
      root = this.#writeBranch(branch, branch.size);
      await this.#pages.blocks.pressure();
    }
    return root.id;
  }

  #ascends(bytes: Buffer, at: number, length: number): boolean {
    const before = this.#size === 0 ? this.#lastKey : this.#data;
    const from = this.#size === 0 ? 0 : this.#lastAt;
    const beforeLength = this.#size === 0 ? this.#lastKey.length : this.#lastLength;
    const shorter = Math.min(length, beforeLength);
    for (let i = 0; i < shorter; i += 1) {
      const difference = bytes[at + i]! - before[from + i]!;
      if (difference !== 0) return difference > 0;
    }
    return length > beforeLength;
  }

  /** The open leaf becomes a child of the branch above it. */
  #closeLeaf(): void {
    this.#attach(0, this.#writeLeaf());
  }

  #attach(level: number, child: Child): void {
    const branch = (this.#branches[level] ??= new Branch());
    if (branch.size > LEAST_ELEMENTS && branch.length + ELEMENT_LENGTH + child.key.length > this.#most) {
      // One stays behind, so that the next branch has two children whatever comes.
      this.#attach(level + 1, this.#writeBranch(branch, branch.size - 1));
    }
    branch.add(child.key, child.id);
  }

  #writeLeaf(): Child {
    const { blocks, integers, pageSize } = this.#pages;
    const [size, elements] = [this.#size, this.#elements];
    const table = HEADER_LENGTH + size * ELEMENT_LENGTH;
    const content = table + this.#used;
    const pages = Math.ceil(content / pageSize);
    const id = this.#pages.next;
    this.#pages.next += pages;
    const page = blocks.take(pages * pageSize);
    writeHeader(page, integers, { id, kind: 'leaf', count: size, overflow: pages - 1 });
    let at = table;
    for (let i = 0; i < size; i += 1) {
      const element = HEADER_LENGTH + i * ELEMENT_LENGTH;
      integers.u32(page, elements[3 * i]!, element);
      integers.u32(page, at - element, element + 4);
      integers.u32(page, elements[3 * i + 1]!, element + 8);
      integers.u32(page, elements[3 * i + 2]!, element + 12);
      at += elements[3 * i + 1]! + elements[3 * i + 2]!;
    }
    this.#data.copy(page, table, 0, this.#used);
    page.fill(0, content);
    this.#lastKey = Buffer.from(this.#data.subarray(this.#lastAt, this.#lastAt + this.#lastLength));
    const key = size === 0 ? Buffer.alloc(0) : Buffer.from(this.#data.subarray(0, elements[1]));
    this.#used = 0;
    this.#size = 0;
    return { key, id };
  }

  /** Writes the first `count` children, and keeps the others. */
  #writeBranch(branch: Branch, count: number): Child {
    const { blocks, integers, pageSize } = this.#pages;
    const children = branch.take(count);
    const table = HEADER_LENGTH + count * ELEMENT_LENGTH;
    const content = children.reduce((sum, { key }) => sum + key.length, table);
    const pages = Math.ceil(content / pageSize);
    const id = this.#pages.next;
    this.#pages.next += pages;
    const page = blocks.take(pages * pageSize);
    writeHeader(page, integers, { id, kind: 'branch', count, overflow: pages - 1 });
    let at = table;
    for (const [i, child] of children.entries()) {
      const element = HEADER_LENGTH + i * ELEMENT_LENGTH;
      integers.u32(page, at - element, element);
      integers.u32(page, child.key.length, element + 4);
      integers.u64(page, BigInt(child.id), element + 8);
      at += child.key.copy(page, at);
    }
    page.fill(0, content);
    return { key: children[0]!.key, id };
  }

  #grow(length: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#data.length, this.#used + length));
    this.#data.copy(larger, 0, 0, this.#used);
    this.#data = larger;
  }
}

interface Child {
  /** The first below it. */
  readonly key: Buffer;
  readonly id: number;
}

/** An open node above the leaves. */
class Branch {
  length = HEADER_LENGTH;
  #children: Child[] = [];

  get size(): number {
    return this.#children.length;
  }

  add(key: Buffer, id: number): void {
    this.#children.push({ key, id });
    this.length += ELEMENT_LENGTH + key.length;
  }

  take(count: number): readonly Child[] {
    const taken = this.#children.slice(0, count);
    const kept = this.#children.slice(count);
    this.#children = [];
    this.length = HEADER_LENGTH;
    for (const { key, id } of kept) this.add(key, id);
    return taken;
  }
}

/**
 * A few entries as a tree of their own.
 * @param entries in the order of their keys; buckets marked
 * @returns the page that it begins at
 */
export async function writeTree(pages: Pages, entries: readonly (NewEntry & { readonly isBucket?: boolean })[]): Promise<number> {
  const tree = new TreeWriter(pages);
  for (const { key, value, isBucket } of entries)
    await tree.add(Buffer.concat([key, value]), 0, key.length, value.length, isBucket === true ? 1 : 0);
  return await tree.end();
}

/** The value under which a parent holds a bucket with these entries: a small one lies in it (bucket.go, `inlineable`). */
export async function bucketValue(pages: Pages, entries: readonly NewEntry[]): Promise<Buffer> {
  const { integers, pageSize } = pages;
  if (leafLength(entries) <= pageSize / 4) return inlineBucket(entries, integers);
  return bucketHeader(await writeTree(pages, entries), integers);
}

function doubled(elements: Uint32Array): Uint32Array {
  const larger = new Uint32Array(2 * elements.length);
  larger.set(elements);
  return larger;
}
