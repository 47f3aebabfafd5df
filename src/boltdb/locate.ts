/** Where a bucket's tree begins, for passes in file order, which do not walk it but pick its pages out of all. */
import { BUCKET_HEADER_LENGTH, bucketTree, rootTree } from './bucket-header.ts';
import { damaged } from './errors.ts';
import type { Meta } from './meta.ts';
import type { RandomAccess } from './random-access.ts';
import { find } from './tree.ts';

export type BucketPlace =
  | { readonly kind: 'pages'; readonly root: number }
  /** One small leaf inside its parent's: offset and length of its image in the file. */
  | { readonly kind: 'inline'; readonly offset: number; readonly length: number };

/** @returns undefined when there is no such bucket. @throws WardenError `bolt-damaged` */
export async function locateBucket(file: RandomAccess, meta: Meta, name: string, signal?: AbortSignal): Promise<BucketPlace | undefined> {
  const tree = rootTree(file, meta);
  const found = await find(tree, Buffer.from(name), signal);
  if (found === undefined) return undefined;
  const { page, entry } = found;
  if (!entry.isBucket) throw damaged(page, `${name} is not a bucket`);
  const { root } = bucketTree(tree, page, name, entry.value);
  if (typeof root === 'number') return { kind: 'pages', root };
  const offset = page.id * meta.pageSize + (entry.value.byteOffset - page.bytes.byteOffset) + BUCKET_HEADER_LENGTH;
  return { kind: 'inline', offset, length: entry.value.length - BUCKET_HEADER_LENGTH };
}
