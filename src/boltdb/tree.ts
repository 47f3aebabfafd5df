/**
 * One tree of pages, and the ways through it. Whatever the bytes are, each of them ends: ids are held to the database's length, a page to its own place
 * and bounds, keys to their order and to what the branches above say, and a tree to a depth that no real one has.
 */
import { damaged } from './errors.ts';
import type { KeyRange } from './key-range.ts';
import type { Meta } from './meta.ts';
import { branchChildren, type Child, contentLength, type Entry, leafEntries, type Page, parsePage, tableLength } from './page.ts';
import type { RandomAccess } from './random-access.ts';

/** 512-byte pages with two children each would need this many levels for more data than there is. */
export const MAX_DEPTH = 64;

/** A run of pages holds at most four values (node.go, split), and etcd's largest request is far below this. */
const MAX_CONTENT_LENGTH = 256 * 2 ** 20;

/** A branch that needs more than a page has four keys, of at most 32 KiB each. Branches are held for as long as what is below them is read. */
const MAX_BRANCH_LENGTH = 4 * 2 ** 20;

export interface Tree {
  readonly file: RandomAccess;
  readonly meta: Meta;
  /** Names of the buckets around it, from the outermost; none for the tree that holds the buckets. */
  readonly path: readonly string[];
  /** The page's id, or the page of an inline bucket. */
  readonly root: number | Page;
}

/** A page of a tree as it lies in the file. */
export interface PlacedPage extends Page {
  /** How many pages it takes up, itself included. */
  readonly pages: number;
}

/**
 * Reads a page, and of its run as much as its elements need, so that a run's length that lies costs no memory.
 * The bytes are valid until the next read of the file.
 * @throws WardenError `bolt-damaged`
 */
export async function readPage(tree: Tree, id: number, signal?: AbortSignal): Promise<PlacedPage> {
  // Reads that are answered from memory never look at it, and a pass over 8 GiB must end all the same.
  signal?.throwIfAborted();
  const { file, meta, path } = tree;
  const { order, pageSize } = meta;
  const highWater = Number(meta.highWater);
  const place = { id, inline: false, path };
  if (id < 2 || id >= highWater) throw damaged(place, `a tree points to it, but only 2 to ${highWater - 1} can belong to one`);
  const offset = id * pageSize;
  const first = await file.read(offset, pageSize, signal);
  const ownId = order.id(first, 0);
  if (ownId !== id) throw damaged(place, `it says that it is page ${order.u64(first, 0)}`);
  const pages = order.u32(first, 12) + 1;
  if (id + pages > highWater) throw damaged(place, `${pages - 1} pages are to follow it, the database ends at ${highWater}`);
  const page = parsePage(first, place, order);
  if (pages === 1) return { ...page, pages };
  const table = tableLength(page.count);
  const runLength = pages * pageSize;
  if (table > runLength) throw damaged(place, `${page.count} elements do not fit into ${runLength} bytes`);
  const content = contentLength(table <= pageSize ? page : { ...page, bytes: await file.read(offset, table, signal) });
  if (content > runLength) throw damaged(place, `an element reaches beyond its ${runLength} bytes`);
  if (content > (page.kind === 'leaf' ? MAX_CONTENT_LENGTH : MAX_BRANCH_LENGTH))
    throw damaged(place, `${content} bytes are to belong to it`);
  return { ...page, pages, bytes: await file.read(offset, Math.max(content, pageSize), signal) };
}

/** A branch on the way to where a walk is: its children, and the next one to go to. */
interface Level {
  readonly id: number;
  readonly children: readonly Child[];
  readonly range: KeyRange;
  next: number;
}

/**
 * The entries of one leaf after the other, from the first key that is not less than `from`. The views are valid until the next batch is asked for.
 * @throws WardenError `bolt-damaged`
 */
export async function* batchesOf(
  tree: Tree,
  options: { readonly from?: Buffer | undefined; readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<readonly Entry[], void, undefined> {
  const { from, signal } = options;
  const levels: Level[] = [];
  let seeking = from;
  let page = await rootOf(tree, signal);
  let range: KeyRange = {};
  for (;;) {
    if (page.kind === 'branch') levels.push(levelOf(page, range, seeking));
    else {
      const entries = leafEntries(page, range);
      if (entries.length === 0 && levels.length > 0) throw damaged(page, 'an empty leaf below a branch');
      const skipped = seeking === undefined ? 0 : countWhile(entries.length, (i) => Buffer.compare(entries[i]!.key, seeking!) < 0);
      if (skipped < entries.length) yield skipped === 0 ? entries : entries.slice(skipped);
      seeking = undefined;
    }
    let level = levels.at(-1);
    while (level !== undefined && level.next === level.children.length) {
      levels.pop();
      level = levels.at(-1);
    }
    if (level === undefined) return;
    range = rangeOf(level.children, level.next, level.range);
    const { id } = level.children[level.next]!;
    level.next += 1;
    page = await below(tree, id, levels, signal);
  }
}

/** @throws WardenError `bolt-damaged` */
export async function lastOf(tree: Tree, signal?: AbortSignal): Promise<Entry | undefined> {
  const { entries } = await descend(tree, (children) => children.length - 1, signal);
  return entries.at(-1);
}

export interface Found {
  readonly entry: Entry;
  /** The leaf that it is in. */
  readonly page: Page;
}

/** Bisects each page on the way down, as bbolt's cursor does. @throws WardenError `bolt-damaged` */
export async function find(tree: Tree, key: Buffer, signal?: AbortSignal): Promise<Found | undefined> {
  const { page, entries } = await descend(tree, (children) => childFor(children, key), signal);
  const entry = entries[countWhile(entries.length, (i) => Buffer.compare(entries[i]!.key, key) < 0)];
  return entry?.key.equals(key) === true ? { page, entry } : undefined;
}

/** What the branch says of the keys below its child `index`. */
function rangeOf(children: readonly Child[], index: number, own: KeyRange): KeyRange {
  return { lower: children[index]!.key, upper: children[index + 1]?.key ?? own.upper };
}

async function descend(
  tree: Tree,
  choose: (children: readonly Child[]) => number,
  signal?: AbortSignal,
): Promise<{ readonly page: Page; readonly entries: readonly Entry[] }> {
  let page = await rootOf(tree, signal);
  let range: KeyRange = {};
  const levels: Level[] = [];
  while (page.kind === 'branch') {
    const level = levelOf(page, range);
    levels.push(level);
    const index = choose(level.children);
    range = rangeOf(level.children, index, range);
    page = await below(tree, level.children[index]!.id, levels, signal);
  }
  const entries = leafEntries(page, range);
  if (entries.length === 0 && levels.length > 0) throw damaged(page, 'an empty leaf below a branch');
  return { page, entries };
}

async function rootOf(tree: Tree, signal?: AbortSignal): Promise<Page> {
  return typeof tree.root === 'number' ? await readPage(tree, tree.root, signal) : tree.root;
}

async function below(tree: Tree, id: number, levels: readonly Level[], signal?: AbortSignal): Promise<Page> {
  if (levels.length > MAX_DEPTH || levels.some((level) => level.id === id))
    throw damaged({ id, path: tree.path }, `it lies below itself, or below ${MAX_DEPTH} others`);
  return await readPage(tree, id, signal);
}

function levelOf(page: Page, range: KeyRange, seeking?: Buffer): Level {
  // The next read may overwrite the page's buffer (RandomAccess), and a branch is come back to after its children were read.
  const children = branchChildren({ ...page, bytes: Buffer.from(page.bytes) }, range);
  return { id: page.id, children, range, next: seeking === undefined ? 0 : childFor(children, seeking) };
}

/** The child below which a key would be; the first one also for a key that is less than all. */
function childFor(children: readonly Child[], key: Buffer): number {
  return Math.max(0, countWhile(children.length, (i) => Buffer.compare(children[i]!.key, key) <= 0) - 1);
}

/** How many of the first indices satisfy a condition that, once false, stays so. */
export function countWhile(count: number, condition: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (condition(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
