/**
 * Whole small buckets of a database replaced in place: their new pages, and a new tree of buckets, go behind its end, and only then do the meta pages point
 * there. Nothing that was in use is overwritten, so that a crash at any moment leaves the old database or the new one.
 */
import { openBolt } from '../bolt.ts';
import { displayName, rootTree } from '../bucket-header.ts';
import { damaged } from '../errors.ts';
import type { RandomAccess } from '../random-access.ts';
import { batchesOf } from '../tree.ts';
import { Blocks } from './blocks.ts';
import { integersOf, metaPage } from './image.ts';
import type { Name, NewEntry, PageSink } from './sink.ts';
import { bucketValue, type Pages, writeTree } from './tree-writer.ts';

export interface BucketEdit {
  readonly name: Name;
  /** All that is to be in it, in the order of keys; undefined = there is to be no such bucket. */
  readonly entries: readonly NewEntry[] | undefined;
}

export interface EditSink extends PageSink {
  /** What was written before is on the disk when it resolves: the pages, before the meta pages that name them. */
  barrier?(): Promise<void>;
}

export interface Edited {
  /** Length of the database now: what follows it in the file is to be cut off. */
  readonly bytes: number;
}

/** etcd has about a dozen buckets, the small ones inside of the tree of them. */
const MAX_ROOT_BYTES = 16 * 2 ** 20;

/**
 * The other buckets stay as they are, byte for byte. A stored list of free pages is given up, since it would tell of pages that are in use now: whoever opens
 * the database next finds the free ones by itself, as etcd on Linux always does.
 * @param file reads what the sink writes to
 * @throws WardenError `not-bolt`, `bolt-damaged`, `failed` for entries that are not in order, and what the sink throws
 */
export async function editBuckets(file: RandomAccess, edits: readonly BucketEdit[], sink: EditSink, signal?: AbortSignal): Promise<Edited> {
  const db = await openBolt(file, signal);
  const { meta, metas } = db;
  const integers = integersOf(meta.order.name);
  const { pageSize } = meta;
  const first = Number(meta.highWater);
  const pages: Pages = { blocks: new Blocks(sink, first * pageSize), integers, pageSize, next: first };
  const changed = new Map(edits.map((edit) => [Buffer.from(edit.name).toString('latin1'), edit]));
  const root: { readonly key: Buffer; readonly value: Buffer; readonly isBucket: true }[] = [];
  let bytes = 0;
  for await (const batch of batchesOf(rootTree(file, meta), { signal })) {
    for (const { key, value, isBucket } of batch) {
      if (!isBucket) throw damaged('the tree of buckets', `${displayName(key)} in it is not a bucket`);
      if (changed.has(key.toString('latin1'))) continue;
      bytes += key.length + value.length;
      if (bytes > MAX_ROOT_BYTES) throw damaged('the tree of buckets', `it is larger than ${MAX_ROOT_BYTES} bytes`);
      root.push({ key: Buffer.from(key), value: Buffer.from(value), isBucket: true });
    }
  }
  try {
    for (const { name, entries } of edits)
      if (entries !== undefined) root.push({ key: Buffer.from(name), value: await bucketValue(pages, entries), isBucket: true });
    const id = await writeTree(
      pages,
      root.toSorted((a, b) => Buffer.compare(a.key, b.key)),
    );
    await pages.blocks.flush();
    await sink.barrier?.();
    signal?.throwIfAborted();
    // Both are newer than the old ones, and page 1 comes first: once it is there it counts, and page 0 with the next number says the same.
    const highest = metas.pages.reduce((most, each) => (each !== undefined && each.txid > most ? each.txid : most), meta.txid);
    const txid = highest + 2n + (highest % 2n);
    for (const page of [1, 0] as const)
      await sink.write(page * pageSize, metaPage({ id: page, pageSize, root: id, pages: pages.next, txid: txid - BigInt(page) }, integers));
  } catch (error) {
    await pages.blocks.settle();
    throw error;
  }
  return { bytes: pages.next * pageSize };
}
