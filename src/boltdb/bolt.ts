/**
 * A bbolt database, read through positional reads alone: buckets and buckets inside of them, their entries in order, single ones, the last one. Memory is
 * one page per level of the tree. What is read is checked on the way (tree.ts); that every page has exactly one place is `check`'s to say.
 */
import { type BucketName, bucketTree, displayName, rootTree } from './bucket-header.ts';
import { damaged } from './errors.ts';
import { type Meta, type Metas, readMetas } from './meta.ts';
import type { Entry } from './page.ts';
import type { RandomAccess } from './random-access.ts';
import { batchesOf, find, lastOf, type Tree } from './tree.ts';

export interface Bolt extends BucketParent {
  readonly file: RandomAccess;
  /** The current meta page. */
  readonly meta: Meta;
  /** Both of them: a snapshot has two that are valid and agree (`disagreement` of meta.ts). */
  readonly metas: Metas;
  /** Bytes of the database: what follows, such as the 32-byte trailer of a snapshot, does not belong to it. */
  readonly length: number;
}

/** What has buckets: the database, and each bucket. */
export interface BucketParent {
  /** @param name bytes where it need not be UTF-8. @throws WardenError `bolt-damaged` */
  bucket(name: BucketName, signal?: AbortSignal): Promise<Bucket | undefined>;
  /** Names of all buckets, in order. @throws WardenError `bolt-damaged` */
  bucketNames(signal?: AbortSignal): Promise<string[]>;
  /** The same as the bytes that they are, for names that are not UTF-8. @throws WardenError `bolt-damaged` */
  bucketKeys(signal?: AbortSignal): Promise<Buffer[]>;
}

export interface Bucket extends BucketParent {
  /**
   * Entries in ascending order of their keys, those of one leaf at a time: the fast way through many. The views are valid until the next batch is asked for.
   * @param options.from first key that is wanted, whether it exists or not; all when absent
   * @throws WardenError `bolt-damaged`
   */
  batches(options?: {
    readonly from?: Buffer | undefined;
    readonly signal?: AbortSignal | undefined;
  }): AsyncGenerator<readonly Entry[], void, undefined>;
  /** Entries in ascending order of their keys. The views are valid until the next one is asked for. @throws WardenError `bolt-damaged` */
  entries(signal?: AbortSignal): AsyncGenerator<Entry, void, undefined>;
  /** The one with the greatest key. @throws WardenError `bolt-damaged` */
  last(signal?: AbortSignal): Promise<Entry | undefined>;
  /** @throws WardenError `bolt-damaged` */
  get(key: Buffer, signal?: AbortSignal): Promise<Buffer | undefined>;
}

/** @throws WardenError `not-bolt` when it is something else, `bolt-damaged` when it is shorter than it says */
export async function openBolt(file: RandomAccess, signal?: AbortSignal): Promise<Bolt> {
  const metas = await readMetas(file, signal);
  const meta = metas.current;
  const length = Number(meta.highWater) * meta.pageSize;
  if (length > file.size)
    throw damaged('the end', `it has ${meta.highWater} pages of ${meta.pageSize} bytes, the file has ${file.size} bytes`);
  return { file, meta, metas, length, ...parentOf(rootTree(file, meta)) };
}

function parentOf(tree: Tree): BucketParent {
  return {
    async bucket(name, signal) {
      const key = Buffer.from(name);
      const found = await find(tree, key, signal);
      if (found === undefined) return undefined;
      if (!found.entry.isBucket) throw damaged(found.page, `${displayName(key)} is not a bucket`);
      // A copy, because the tree of an inline bucket lies in it.
      return openBucket(bucketTree(tree, found.page, displayName(key), Buffer.from(found.entry.value)));
    },
    bucketKeys: (signal) => bucketKeys(tree, signal),
    bucketNames: async (signal) => (await bucketKeys(tree, signal)).map((key) => key.toString()),
  };
}

async function bucketKeys(tree: Tree, signal?: AbortSignal): Promise<Buffer[]> {
  const keys: Buffer[] = [];
  for await (const batch of batchesOf(tree, { signal })) for (const { key, isBucket } of batch) if (isBucket) keys.push(Buffer.from(key));
  return keys;
}

function openBucket(tree: Tree): Bucket {
  return {
    ...parentOf(tree),
    batches: (options) => batchesOf(tree, options),
    async *entries(signal) {
      for await (const batch of batchesOf(tree, { signal })) yield* batch;
    },
    last: (signal) => lastOf(tree, signal),
    get: async (key, signal) => (await find(tree, key, signal))?.entry.value,
  };
}
