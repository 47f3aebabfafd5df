/**
 * Down a tree, page by page in the order of keys, with what each page must be: at its place, a branch or a leaf, its keys in order and inside of what its
 * parents say, and not reached before. `check` looks at all pages this way; a pass that has summed up the leaves in file order goes down the branches
 * alone and asks for no leaf again.
 */
import { bucketTree, displayName } from './bucket-header.ts';
import type { Claims } from './claims.ts';
import { Damage, damaged } from './errors.ts';
import type { KeyRange } from './key-range.ts';
import {
  branchPlaces,
  BUCKET_FLAG,
  type Children,
  contentLength,
  ELEMENT_LENGTH,
  HEADER_LENGTH,
  leafOffsets,
  OFFSETS_PER_ELEMENT,
  type Page,
} from './page.ts';
import { branchFault, leafFault, runFault } from './strict.ts';
import { MAX_DEPTH, type PlacedPage, readPage, type Tree } from './tree.ts';

export interface TreeVisitor {
  /**
   * Asked before a child of a branch is read, in the order of keys. It costs no object, because a database has as many leaves as this is called.
   * @param index which child of the branch; all that is handed over is valid until this returns
   * @param upper all keys below the last child are less; undefined where that side is open
   * @param path names of the buckets around it, from the outermost; none in the tree that holds the buckets
   * @returns true for a leaf without buckets that is known: the walk does not read it, and its keys, its range and the pages it takes up (`claims`) are the
   * visitor's to check
   */
  knows?(branch: Children, index: number, upper: Buffer | undefined, path: readonly string[]): boolean;
  /** A sound leaf that was read, and its elements' offsets, both valid until this returns. Those of inline buckets too, after the leaf they are in. */
  leaf?(page: Page, offsets: Uint32Array, range: KeyRange): void;
}

export interface WalkOptions {
  /** Of the whole database, pages 0 and 1 taken: what is reached twice is damage. */
  readonly claims: Claims;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Goes down a whole tree, `rootTree` that of the buckets, and into the buckets that it holds, each after the leaf that it is in. It goes on beside what is
 * damaged; what is below a damaged page is left out. Memory: the branches from the root to where it is, and one leaf.
 * @returns each fault, its own or a `Damage` that the visitor throws
 */
export async function* damageBelow(tree: Tree, visitor: TreeVisitor, options: WalkOptions): AsyncGenerator<Damage, void, undefined> {
  const { claims, signal } = options;
  let scratch: Uint32Array = new Uint32Array(512);

  function lookAt(page: PlacedPage, range: KeyRange, depth: number): Further {
    const content = contentLength(page);
    if (!page.inline) {
      const taken = claims.claim(page.id, page.pages);
      if (taken !== undefined) throw damaged(page, taken === page.id ? 'it is reached twice' : `page ${taken} of its run is reached twice`);
      const tooLong = runFault(page, tree.meta.pageSize, content);
      if (tooLong !== undefined) throw damaged(page, tooLong);
    }
    if (page.kind === 'branch') {
      // The next read may overwrite the page's buffer, and a branch is come back to after its children were read.
      const branch = { ...page, bytes: Buffer.from(page.bytes.subarray(0, content)) };
      const children = branchPlaces(branch, range);
      const fault = branchFault(branch);
      if (fault !== undefined) throw damaged(page, fault);
      return { children, buckets: [] };
    }
    scratch = leafOffsets(page, range, scratch);
    if (page.count === 0 && depth > 0) throw damaged(page, 'an empty leaf below a branch');
    const fault = leafFault(page, scratch);
    if (fault !== undefined) throw damaged(page, fault);
    visitor.leaf?.(page, scratch, range);
    return { children: undefined, buckets: bucketsIn(page, scratch) };
  }

  async function* visit(id: number | Page, range: KeyRange, depth: number): AsyncGenerator<Damage, void, undefined> {
    let page: PlacedPage;
    let further: Further;
    try {
      if (depth > MAX_DEPTH || tree.path.length > MAX_DEPTH)
        throw damaged({ id: typeof id === 'number' ? id : id.id, path: tree.path }, `it lies below ${MAX_DEPTH} others`);
      page = typeof id === 'number' ? await readPage(tree, id, signal) : { ...id, pages: 1 };
      further = lookAt(page, range, depth);
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      yield error;
      return;
    }
    const { children } = further;
    for (let i = 0; i < (children?.count ?? 0); i += 1) {
      if (visitor.knows?.(children!, i, range.upper, tree.path) !== true)
        yield* visit(children!.ids[i]!, rangeOf(children!, i, range), depth + 1);
    }
    for (const bucket of further.buckets) yield* inside(page, bucket);
  }

  async function* inside(leaf: Page, { name, value }: StoredBucket): AsyncGenerator<Damage, void, undefined> {
    let inner: Tree;
    try {
      inner = bucketTree(tree, leaf, name, value);
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      yield error;
      return;
    }
    yield* damageBelow(inner, visitor, options);
  }

  yield* visit(tree.root, {}, 0);
}

/** What the branch says of the keys below its child `index`. */
function rangeOf({ count, bytes, keys }: Children, index: number, own: KeyRange): KeyRange {
  const at = 2 * index;
  return {
    lower: bytes.subarray(keys[at], keys[at + 1]),
    upper: index + 1 < count ? bytes.subarray(keys[at + 2], keys[at + 3]) : own.upper,
  };
}

/** What a walk goes on with below a page. */
interface Further {
  /** Undefined of a leaf. */
  readonly children: Children | undefined;
  readonly buckets: readonly StoredBucket[];
}

interface StoredBucket {
  readonly name: string;
  readonly value: Buffer;
}

/** Copies, because the leaf is gone with the first page that is read. */
function bucketsIn(leaf: Page, offsets: Uint32Array): StoredBucket[] {
  const found: StoredBucket[] = [];
  for (let i = 0; i < leaf.count; i += 1) {
    if ((leaf.order.u32(leaf.bytes, HEADER_LENGTH + i * ELEMENT_LENGTH) & BUCKET_FLAG) === 0) continue;
    const at = i * OFFSETS_PER_ELEMENT;
    const value = Buffer.from(leaf.bytes.subarray(offsets[at + 1], offsets[at + 2]));
    found.push({ name: displayName(leaf.bytes.subarray(offsets[at], offsets[at + 1])), value });
  }
  return found;
}
