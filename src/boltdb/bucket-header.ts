/**
 * A bucket as its parent's leaf holds it: root page u64, sequence u64. A bucket of one small leaf lies there itself: root 0, and the page's image behind
 * the header (bucket.go, `inlineable`).
 */
import { damaged } from './errors.ts';
import { HEADER_LENGTH, parsePage } from './page.ts';
import type { Tree } from './tree.ts';

export const BUCKET_HEADER_LENGTH = 16;

export type BucketName = string | Buffer;

/** Names go into errors and onto terminals, and are bytes: those that are not plain text are shown as hex. */
export function displayName(name: Buffer): string {
  const text = name.toString();
  return /^[^\p{C}]*$/u.test(text) && !text.includes('\uFFFD') ? text : `0x${name.toString('hex', 0, 64)}`;
}

/** What a page belongs to, for errors. @param path names from the outermost bucket to the innermost; none for the tree that holds the buckets */
export function bucketOwner(path: readonly string[]): string {
  return path.length === 0 ? 'the tree of buckets' : `bucket ${path.join('/')}`;
}

/**
 * The tree of a bucket.
 * @param value of its entry in the parent's leaf; the tree of an inline bucket is a view of it
 * @throws WardenError `bolt-damaged` when it is too short
 */
export function bucketTree(parent: Tree, path: readonly string[], value: Buffer): Tree {
  const { file, meta } = parent;
  const owner = bucketOwner(path);
  if (value.length < BUCKET_HEADER_LENGTH) throw damaged(owner, `its header has ${value.length} bytes`);
  const root = meta.order.id(value, 0);
  if (root !== 0) return { file, meta, owner, root };
  const image = value.subarray(BUCKET_HEADER_LENGTH);
  if (image.length < HEADER_LENGTH) throw damaged(`the inline page of ${owner}`, `it has ${image.length} bytes`);
  return { file, meta, owner, root: parsePage(image, 0, owner, meta.order) };
}
