/**
 * A bucket as its parent's leaf holds it: root page u64, sequence u64. A bucket of one small leaf lies there itself: root 0, and the page's image behind
 * the header (bucket.go, `inlineable`).
 */
import { damaged } from './errors.ts';
import { HEADER_LENGTH, type Page, parsePage } from './page.ts';
import type { Meta } from './meta.ts';
import type { RandomAccess } from './random-access.ts';
import type { Tree } from './tree.ts';

export const BUCKET_HEADER_LENGTH = 16;

export type BucketName = string | Buffer;

/** Names go into errors and onto terminals, and are bytes: those that are not plain text are shown as hex. */
export function displayName(name: Buffer): string {
  const text = name.toString();
  return /^[^\p{C}]*$/u.test(text) && !text.includes('\uFFFD') ? text : `0x${name.toString('hex', 0, 64)}`;
}

/** The tree that holds the buckets. */
export function rootTree(file: RandomAccess, meta: Meta): Tree {
  return { file, meta, path: [], root: Number(meta.root) };
}

/**
 * The tree of a bucket.
 * @param leaf the page that its entry is in
 * @param name as `displayName` shows it
 * @param value of the entry; the tree of an inline bucket is a view of it
 * @throws WardenError `bolt-damaged` when it is too short
 */
export function bucketTree(parent: Tree, leaf: Page, name: string, value: Buffer): Tree {
  const { file, meta } = parent;
  const path = [...parent.path, name];
  const { id } = leaf;
  const root = value.length < BUCKET_HEADER_LENGTH ? 0 : meta.order.id(value, 0);
  if (value.length < BUCKET_HEADER_LENGTH || (root !== 0 && value.length > BUCKET_HEADER_LENGTH))
    throw damaged({ id, path }, `the header of a bucket in it has ${value.length} bytes instead of ${BUCKET_HEADER_LENGTH}`);
  if (root !== 0) return { file, meta, path, root };
  const image = value.subarray(BUCKET_HEADER_LENGTH);
  const place = { id, inline: true, path };
  if (image.length < HEADER_LENGTH) throw damaged(place, `it has ${image.length} bytes`);
  const page = parsePage(image, place, meta.order);
  if (page.kind !== 'leaf') throw damaged(place, 'it is a branch, and only a leaf can lie inside of another page');
  if (meta.order.id(image, 0) !== 0 || meta.order.u32(image, 12) !== 0)
    throw damaged(place, 'it says that it is a page of its own, or that pages follow it');
  return { file, meta, path, root: page };
}
