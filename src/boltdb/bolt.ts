/**
 * A bbolt database, read through positional reads alone: buckets, a bucket's entries in order, its last entry. Memory is one page per
 * level of the tree. Whatever the bytes are, it ends, and with an error that names the page: ids are held to the database's length, a page to
 * its own place and bounds, keys to their order, and a tree to a depth that no real one has.
 *
 * First cut: what a whole check adds (every page reachable once, keys inside their parent's range) comes with the structural verification.
 */
import { damaged } from './errors.ts';
import { type Meta, readMeta } from './meta.ts';
import { branchChild, type Entry, HEADER_LENGTH, leafEntry, type Page, parsePage } from './page.ts';
import type { RandomAccess } from './random-access.ts';

/** 512-byte pages with two children each would need this many levels for more data than there is. */
const MAX_DEPTH = 64;

/** A run of pages holds at most four values (node.go, split), and etcd's largest request is far below this. */
const MAX_RUN_LENGTH = 512 * 2 ** 20;

/** Header of a bucket in its parent's leaf: root page u64, sequence u64. */
const BUCKET_HEADER_LENGTH = 16;

export interface Bolt {
  readonly meta: Meta;
  /** Bytes of the database: what follows, such as the 32-byte trailer of a snapshot, does not belong to it. */
  readonly length: number;
  /** @throws WardenError `bolt-damaged` */
  bucket(name: string, signal?: AbortSignal): Promise<Bucket | undefined>;
  /** Names of all buckets, in order. @throws WardenError `bolt-damaged` */
  bucketNames(signal?: AbortSignal): Promise<string[]>;
}

export interface Bucket {
  /** Entries in ascending order of their keys. The views are valid until the next one is asked for. @throws WardenError `bolt-damaged` */
  entries(signal?: AbortSignal): AsyncGenerator<Entry, void, undefined>;
  /** @throws WardenError `bolt-damaged` */
  last(signal?: AbortSignal): Promise<Entry | undefined>;
  /** @throws WardenError `bolt-damaged` */
  get(key: Buffer, signal?: AbortSignal): Promise<Buffer | undefined>;
}

/** @throws WardenError `not-bolt` when it is something else, `bolt-damaged` when it is shorter than it says */
export async function openBolt(file: RandomAccess, signal?: AbortSignal): Promise<Bolt> {
  const meta = await readMeta(file, signal);
  const length = Number(meta.highWater) * meta.pageSize;
  if (length > file.size)
    throw damaged('the end', `it has ${meta.highWater} pages of ${meta.pageSize} bytes, the file has ${file.size} bytes`);
  const root = treeAt(file, meta, meta.root);
  return {
    meta,
    length,
    async bucket(name, signal) {
      const entry = await find(root, Buffer.from(name), signal);
      if (entry === undefined) return undefined;
      if (!entry.isBucket) throw damaged('the root tree', `${name} is not a bucket`);
      return openBucket(file, meta, name, Buffer.from(entry.value));
    },
    async bucketNames(signal) {
      const names: string[] = [];
      for await (const entry of walk(root, signal)) if (entry.isBucket) names.push(entry.key.toString());
      return names;
    },
  };
}

/** A tree of pages; `page` reads one below `path`, the ids from the root to its parent. */
interface Tree {
  readonly root: Page | bigint;
  page(id: bigint, path: readonly bigint[], signal?: AbortSignal): Promise<Page>;
}

function openBucket(file: RandomAccess, meta: Meta, name: string, value: Buffer): Bucket {
  const where = `the inline page of bucket ${name}`;
  if (value.length < BUCKET_HEADER_LENGTH) throw damaged(`bucket ${name}`, `its header has ${value.length} bytes`);
  const rootId = meta.order.u64(value, 0);
  // A bucket of one small leaf lies inside its parent: root 0, and the page's image behind the header.
  if (rootId === 0n && value.length < BUCKET_HEADER_LENGTH + HEADER_LENGTH) throw damaged(where, `it has ${value.length} bytes`);
  const tree = treeAt(file, meta, rootId === 0n ? parsePage(value.subarray(BUCKET_HEADER_LENGTH), where, meta.order) : rootId);
  return {
    entries: (signal) => walk(tree, signal),
    last: (signal) => lastOf(tree, signal),
    get: async (key, signal) => (await find(tree, key, signal))?.value,
  };
}

function treeAt(file: RandomAccess, meta: Meta, root: Page | bigint): Tree {
  return {
    root,
    async page(id, path, signal) {
      const where = `page ${id}`;
      if (id < 2n || id >= meta.highWater)
        throw damaged(where, `a tree points to it, but only 2 to ${meta.highWater - 1n} can belong to one`);
      if (path.includes(id) || path.length > MAX_DEPTH) throw damaged(where, `it lies below itself, or below ${MAX_DEPTH} others`);
      const offset = Number(id) * meta.pageSize;
      const first = await file.read(offset, meta.pageSize, signal);
      const ownId = meta.order.u64(first, 0);
      if (ownId !== id) throw damaged(where, `it says that it is page ${ownId}`);
      const overflow = meta.order.u32(first, 12);
      if (id + BigInt(overflow) >= meta.highWater)
        throw damaged(where, `${overflow} pages are to follow it, the database ends at ${meta.highWater}`);
      const length = (overflow + 1) * meta.pageSize;
      if (length > MAX_RUN_LENGTH) throw damaged(where, `${length} bytes are to belong to it`);
      return parsePage(overflow === 0 ? first : await file.read(offset, length, signal), where, meta.order);
    },
  };
}

async function rootOf(tree: Tree, signal?: AbortSignal): Promise<{ readonly page: Page; readonly path: readonly bigint[] }> {
  if (typeof tree.root !== 'bigint') return { page: tree.root, path: [] };
  return { page: await tree.page(tree.root, [], signal), path: [tree.root] };
}

/** Depth first, left to right. */
async function* walk(tree: Tree, signal?: AbortSignal): AsyncGenerator<Entry, void, undefined> {
  let previous: Buffer | undefined;
  async function* below(page: Page, path: readonly bigint[]): AsyncGenerator<Entry, void, undefined> {
    // The next read may overwrite this page's buffer (RandomAccess), and a branch is come back to after its children were read.
    const stable = page.kind === 'branch' ? { ...page, bytes: Buffer.from(page.bytes) } : page;
    for (let i = 0; i < stable.count; i += 1) {
      if (stable.kind === 'branch') {
        const { child } = branchChild(stable, i);
        yield* below(await tree.page(child, path, signal), [...path, child]);
        continue;
      }
      const entry = leafEntry(stable, i);
      if (previous !== undefined && Buffer.compare(previous, entry.key) >= 0)
        throw damaged(stable.where, `the key of element ${i} is not greater than the one before it`);
      previous = Buffer.from(entry.key);
      yield entry;
    }
  }
  const { page, path } = await rootOf(tree, signal);
  yield* below(page, path);
}

async function lastOf(tree: Tree, signal?: AbortSignal): Promise<Entry | undefined> {
  let { page, path } = await rootOf(tree, signal);
  const root = page;
  while (page.kind === 'branch') {
    if (page.count === 0) throw damaged(page.where, 'a branch without children');
    const { child } = branchChild(page, page.count - 1);
    page = await tree.page(child, path, signal);
    path = [...path, child];
  }
  if (page.count > 0) return leafEntry(page, page.count - 1);
  if (page !== root) throw damaged(page.where, 'an empty leaf below a branch');
  return undefined;
}

/** Bisects each page on the way down, as bbolt's cursor does. */
async function find(tree: Tree, key: Buffer, signal?: AbortSignal): Promise<Entry | undefined> {
  let { page, path } = await rootOf(tree, signal);
  while (page.kind === 'branch') {
    const current = page;
    const index = countWhile(current.count, (i) => Buffer.compare(branchChild(current, i).key, key) <= 0);
    // A key below the first separator can lie in the first child: a branch's first key may be greater than what was put there later.
    if (current.count === 0) throw damaged(current.where, 'a branch without children');
    const { child } = branchChild(current, Math.max(0, index - 1));
    page = await tree.page(child, path, signal);
    path = [...path, child];
  }
  const leaf = page;
  const index = countWhile(leaf.count, (i) => Buffer.compare(leafEntry(leaf, i).key, key) < 0);
  if (index === leaf.count) return undefined;
  const entry = leafEntry(leaf, index);
  return entry.key.equals(key) ? entry : undefined;
}

/** How many of the first indices satisfy a condition that, once false, stays so. */
function countWhile(count: number, condition: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (condition(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
