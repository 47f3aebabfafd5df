/**
 * A new database, written from one end to the other while its entries come in order: no page is written twice but the two meta pages, which come last and
 * without which the file is no database. Memory does not grow with what is written.
 */
import type { ByteOrder } from '../byte-order.ts';
import { Blocks } from './blocks.ts';
import { writeError } from './errors.ts';
import { bucketHeader, integersOf, metaPage } from './image.ts';
import type { Name, NewEntry, PageSink } from './sink.ts';
import { bucketValue, type Pages, TreeWriter, writeTree } from './tree-writer.ts';

export interface BoltWriterOptions {
  /** A power of two, 1 KiB to 64 KiB: bbolt takes what the file says, whatever the machine's own is. */
  readonly pageSize: number;
  /** Of the machine that will open it; little-endian when absent. */
  readonly order?: ByteOrder['name'] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface BoltWriter {
  /** Begins a bucket of any size; the one before it must have ended. @throws WardenError `failed` */
  bucket(name: Name): BucketWriter;
  /** A bucket that is known whole, its entries in the order of their keys. */
  smallBucket(name: Name, entries: readonly NewEntry[]): Promise<void>;
  /** @returns length of the database in bytes, all of which are with the sink */
  finish(): Promise<number>;
  /** Waits for what the sink still does, for those that give up. */
  settle(): Promise<void>;
}

export interface BucketWriter {
  /**
   * The next entry, its key greater than all before. What it returns is to be awaited before anything else is asked for.
   * @param bytes hold the key at `at`, and right behind it the value; they may be used again when this returns
   * @throws WardenError `failed`
   */
  add(bytes: Buffer, at: number, keyLength: number, valueLength: number): void | Promise<void>;
  end(): Promise<void>;
}

/** Pages 0 and 1 are the meta pages. bbolt begins with a list of free pages behind them; where none is stored, data can. */
const FIRST_PAGE = 2;

/** As bbolt's own new database: the meta page with the higher number counts. */
const TXID = 2n;

export function createBoltWriter(sink: PageSink, options: BoltWriterOptions): BoltWriter {
  const { pageSize, order = 'little-endian', signal } = options;
  const integers = integersOf(order);
  const blocks = new Blocks(sink, FIRST_PAGE * pageSize);
  const pages: Pages = { blocks, integers, pageSize, next: FIRST_PAGE };
  const buckets: { readonly key: Buffer; readonly value: Buffer; readonly isBucket: true }[] = [];
  let open: string | undefined;

  function begin(name: Name): Buffer {
    signal?.throwIfAborted();
    const key = Buffer.from(name);
    if (open !== undefined) throw writeError(`bucket ${open} has not ended`);
    if (buckets.some((each) => each.key.equals(key))) throw writeError(`bucket ${key.toString()} is there already`);
    return key;
  }

  return {
    bucket(name) {
      const key = begin(name);
      const tree = new TreeWriter(pages);
      open = key.toString();
      return {
        add: (bytes, at, keyLength, valueLength) => tree.add(bytes, at, keyLength, valueLength),
        async end() {
          signal?.throwIfAborted();
          buckets.push({ key, value: bucketHeader(await tree.end(), integers), isBucket: true });
          open = undefined;
        },
      };
    },
    async smallBucket(name, entries) {
      const key = begin(name);
      buckets.push({ key, value: await bucketValue(pages, entries), isBucket: true });
    },
    async finish() {
      if (open !== undefined) throw writeError(`bucket ${open} has not ended`);
      const root = await writeTree(
        pages,
        buckets.toSorted((a, b) => Buffer.compare(a.key, b.key)),
      );
      await blocks.flush();
      signal?.throwIfAborted();
      for (const id of [1, 0] as const)
        await sink.write(id * pageSize, metaPage({ id, pageSize, root, pages: pages.next, txid: TXID - BigInt(id) }, integers));
      return pages.next * pageSize;
    },
    settle: () => blocks.settle(),
  };
}
