/**
 * All records of a database in one pass in file order. A walk of the tree jumps about in a file that was written over for long, and each jump fetches and
 * decodes a frame of 1 MiB; a sort does not care for the order. Which pages belong to the tree is known only when all branches were seen, so the records of
 * every page that looks like a leaf are handed out with their page, and the free ones dropped at the end.
 *
 * Free pages hold whatever was there before: nothing in them may stop the pass, and the run of pages that one claims may overlap pages in use. So
 * each page is looked at on its own, wherever the one before it says that it ends.
 */
import { ByteQueue } from '../../archive/byte-queue.ts';
import type { Meta } from '../../boltdb/meta.ts';
import { damaged } from '../../boltdb/errors.ts';
import {
  BRANCH,
  contentLength,
  ELEMENT_LENGTH,
  HEADER_LENGTH,
  LEAF,
  leafOffsets,
  OFFSETS_PER_ELEMENT,
  parsePage,
  tableLength,
} from '../../boltdb/page.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { readPage, type Tree } from '../../boltdb/tree.ts';
import type { Scratch } from '../../mvcc/scratch.ts';
import { Branches } from './branches.ts';
import { noFields, readFields, type RecordFields } from './record.ts';
import type { ItemPlace } from './run.ts';

/** The bucket whose records these are. */
const PATH = ['key'];

/** The largest leaf that is looked at in passing, four values of 1.5 MiB and more; of a larger one only if it belongs to the tree. */
const MAX_IN_PASSING = 8 * 2 ** 20;

/** What a page was found to be. */
const NOTHING = 0;
const IS_BRANCH = 1;
const IS_LEAF = 2;
const IS_LARGE_LEAF = 3;
const IN_TREE = 0x80;

/** Takes a record of a leaf; a promise when it has to make room first, and then the record was taken. */
export type TakeRecord = (leaf: Buffer, place: ItemPlace, fields: RecordFields) => void | Promise<void>;

export interface PageScanOptions {
  readonly file: RandomAccess;
  readonly meta: Meta;
  readonly take: TakeRecord;
  /** For the children of branches beyond the bound of memory. */
  readonly scratch: Scratch;
  /** How many of them are held in memory; tests make it small. */
  readonly heldChildren?: number | undefined;
  readonly signal: AbortSignal;
  /** Plain bytes seen so far. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface PagesInTree {
  has(page: number): boolean;
}

/**
 * Hands out the records of every leaf, those of the tree below `root` among them, each once.
 * @param stream the plain bytes of `file` in file order
 * @returns which pages belong to the tree
 * @throws WardenError `bolt-damaged` with the first page of the tree that cannot be read
 */
export async function scanPages(stream: AsyncIterable<Buffer>, root: number, options: PageScanOptions): Promise<PagesInTree> {
  const { meta, signal } = options;
  const scan = new PageScan(options);
  const window = new ByteQueue(stream);
  try {
    const pages = Number(meta.highWater);
    for (let id = 0; id < pages; id += 1) {
      if (window.length < meta.pageSize && !(await window.fill(meta.pageSize))) throw damaged({ id }, 'the file ends before it');
      const waiting = scan.look(window, id);
      if (waiting !== undefined) await waiting;
      window.skip(meta.pageSize);
      if (id % 256 === 0) {
        signal.throwIfAborted();
        options.onProgress?.(id * meta.pageSize);
      }
    }
    await window.drain();
    return await scan.tree(root);
  } finally {
    await window.close();
    await scan.close();
  }
}

/** The records of a leaf that lies inside its parent's. @param offset of its image in the file */
export async function scanInline(offset: number, length: number, options: PageScanOptions): Promise<PagesInTree> {
  const { file, meta, signal } = options;
  const page = Math.floor(offset / meta.pageSize);
  const scan = new PageScan(options);
  const leaf = await file.read(offset, length, signal);
  await scan.takeLeaf(leaf, page, offset - page * meta.pageSize);
  return { has: (each) => each === page };
}

class PageScan {
  readonly #options: PageScanOptions;
  readonly #kinds: Uint8Array;
  readonly #branches: Branches;
  #offsets: Uint32Array = new Uint32Array(1024 * OFFSETS_PER_ELEMENT);
  readonly #fields = noFields();
  readonly #place: ItemPlace = { keyAt: 0, recordAt: 0, recordEnd: 0, page: 0, base: 0 };

  constructor(options: PageScanOptions) {
    this.#options = options;
    this.#kinds = new Uint8Array(Number(options.meta.highWater));
    this.#branches = new Branches(options.scratch, options.heldChildren);
  }

  /** Looks at the page at the beginning of the window. */
  look(window: ByteQueue, id: number): undefined | Promise<void> {
    const { order } = this.#options.meta;
    const head = window.peek(HEADER_LENGTH);
    if (order.id(head, 0) !== id) return undefined;
    const flags = order.u16(head, 8);
    if (flags !== BRANCH && flags !== LEAF) return undefined;
    const needed = tableLength(order.u16(head, 10));
    if (flags === BRANCH) return this.#takeBranch(window, id, needed);
    if (needed <= window.length) return this.#lookAtLeaf(window, id, needed);
    return window.fill(needed).then((there) => (there ? this.#lookAtLeaf(window, id, needed) : undefined));
  }

  #takeBranch(window: ByteQueue, id: number, needed: number): undefined | Promise<void> {
    const { order, pageSize } = this.#options.meta;
    // bbolt splits a branch that is larger than a page unless it has four children or less, and keys of records are short (node.go, `splitTwo`).
    if (needed > pageSize) return undefined;
    const table = window.peek(needed);
    this.#kinds[id] = IS_BRANCH;
    return this.#branches.add(id, order.u16(table, 10), (i) => {
      const child = order.id(table, HEADER_LENGTH + i * ELEMENT_LENGTH + 8);
      // What no page can have becomes page 0, which is never part of a tree.
      return child < this.#kinds.length ? child : 0;
    });
  }

  #lookAtLeaf(window: ByteQueue, id: number, table: number): undefined | Promise<void> {
    const { order, pageSize } = this.#options.meta;
    const bytes = window.peek(table);
    const runLength = (order.u32(bytes, 12) + 1) * pageSize;
    const content = Math.max(table, contentLength(parsePage(bytes, { id, inline: false, path: PATH }, order)));
    if (content > runLength) return undefined;
    if (content > MAX_IN_PASSING) {
      this.#kinds[id] = IS_LARGE_LEAF;
      return undefined;
    }
    if (content <= window.length) return this.#takeInPassing(window.peek(content), id);
    return window.fill(content).then((there) => (there ? this.#takeInPassing(window.peek(content), id) : undefined));
  }

  /** A page that may be free: what is wrong with it is told only when the tree needs it. */
  #takeInPassing(leaf: Buffer, id: number): undefined | Promise<void> {
    const page = parsePage(leaf, { id, inline: false, path: PATH }, this.#options.meta.order);
    try {
      this.#offsets = leafOffsets(page, {}, this.#offsets);
    } catch {
      return undefined;
    }
    this.#kinds[id] = IS_LEAF;
    return this.#takeRecords(leaf, id, 0, 0, page.count);
  }

  /** A leaf that belongs to the tree. @throws WardenError `bolt-damaged` */
  async takeLeaf(leaf: Buffer, id: number, base: number): Promise<void> {
    const page = parsePage(leaf, { id, inline: base !== 0, path: PATH }, this.#options.meta.order);
    this.#offsets = leafOffsets(page, {}, this.#offsets);
    this.#kinds[id] = IS_LEAF;
    await this.#takeRecords(leaf, id, base, 0, page.count);
    if (this.#kinds[id] !== IS_LEAF) throw noRecord(id);
  }

  /** Up to the first element that is no record: then the page is none of the tree, and what was taken of it is dropped with it at the end. */
  #takeRecords(leaf: Buffer, id: number, base: number, from: number, count: number): undefined | Promise<void> {
    const [place, offsets, fields] = [this.#place, this.#offsets, this.#fields];
    place.page = id;
    place.base = base;
    for (let i = from; i < count; i += 1) {
      const keyAt = offsets[i * OFFSETS_PER_ELEMENT]!;
      const recordAt = offsets[i * OFFSETS_PER_ELEMENT + 1]!;
      const recordEnd = offsets[i * OFFSETS_PER_ELEMENT + 2]!;
      if (!isRevisionAt(leaf, keyAt, recordAt) || !readFields(leaf, recordAt, recordEnd, fields)) {
        this.#kinds[id] = NOTHING;
        return undefined;
      }
      place.keyAt = keyAt;
      place.recordAt = recordAt;
      place.recordEnd = recordEnd;
      const waiting = this.#options.take(leaf, place, fields);
      if (waiting !== undefined) return waiting.then(() => this.#takeRecords(leaf, id, base, i + 1, count));
    }
    return undefined;
  }

  /** Marks what is below `root`, and takes the leaves that were too large to look at in passing. */
  async tree(root: number): Promise<PagesInTree> {
    const kinds = this.#kinds;
    const large: number[] = [];
    const open = [root];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const kind = kinds[id] ?? NOTHING;
      if (kind === NOTHING) await this.#explain(id);
      if ((kind & IN_TREE) !== 0) throw damaged({ id, path: PATH }, 'the tree comes to it twice');
      kinds[id] = kind | IN_TREE;
      if (kind === IS_LARGE_LEAF) large.push(id);
      if (kind === IS_BRANCH) for (const child of (await this.#branches.childrenOf(id)).toReversed()) open.push(child);
    }
    for (const id of large) {
      const leaf = await readPage(this.#asTree(id), id, this.#options.signal);
      await this.takeLeaf(Buffer.from(leaf.bytes), id, 0);
      kinds[id] = IS_LARGE_LEAF | IN_TREE;
    }
    return { has: (page) => (kinds[page]! & IN_TREE) !== 0 };
  }

  /** The page once more by itself, for the error that names what is wrong with it. */
  async #explain(id: number): Promise<never> {
    const page = await readPage(this.#asTree(id), id, this.#options.signal);
    if (page.kind === 'branch') throw damaged(page, 'a branch of more than a page, which bbolt does not make');
    leafOffsets(page);
    throw noRecord(id);
  }

  close(): Promise<void> {
    return this.#branches.close();
  }

  #asTree(root: number): Tree {
    const { file, meta } = this.#options;
    return { file, meta, path: PATH, root };
  }
}

/** As `isRevision` of mvcc/revision.ts, without a view for each record: main, `_`, sub, and `t` for a tombstone. */
function isRevisionAt(bytes: Buffer, at: number, end: number): boolean {
  const length = end - at;
  if (length !== 17 && (length !== 18 || bytes[at + 17] !== 0x74)) return false;
  return bytes[at + 8] === 0x5f && bytes[at]! < 0x80 && bytes[at + 9]! < 0x80;
}

function noRecord(id: number): Error {
  return damaged({ id, path: PATH }, 'not every element of it is a record of etcd');
}
