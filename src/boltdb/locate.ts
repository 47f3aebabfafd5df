/** Where a bucket's tree begins, for passes in file order, which do not walk it but pick its pages out of all. */
import { BUCKET_HEADER_LENGTH, rootTree } from './bucket-header.ts';
import { damaged } from './errors.ts';
import type { Meta } from './meta.ts';
import type { RandomAccess } from './random-access.ts';
import { find } from './tree.ts';

export type BucketPlace =
  | { readonly kind: 'pages'; readonly root: number }
  /** One small leaf inside its parent's: offset and length of its image in the file. */
  | { readonly kind: 'inline'; readonly offset: number; readonly length: number };

/** @returns undefined when there is no such bucket in the outermost tree. @throws WardenError `bolt-damaged` */
export async function locateBucket(file: RandomAccess, meta: Meta, name: string, signal?: AbortSignal): Promise<BucketPlace | undefined> {
  const found = await find(rootTree(file, meta), Buffer.from(name), signal);
  if (found === undefined) return undefined;
  const { entry, page } = found;
  if (!entry.isBucket || entry.value.length < BUCKET_HEADER_LENGTH) throw damaged(page, `${name} is not a bucket`);
  const root = meta.order.id(entry.value, 0);
  if (root !== 0) return { kind: 'pages', root };
  const offset = page.id * meta.pageSize + (entry.value.byteOffset - page.bytes.byteOffset) + BUCKET_HEADER_LENGTH;
  return { kind: 'inline', offset, length: entry.value.length - BUCKET_HEADER_LENGTH };
}
