/** Builds a key index: one pass over the snapshot in file order, an external sort, one pass over the result. Memory does not depend on the size of either. */
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { locateBucket } from '../../boltdb/locate.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import { notEtcd } from '../../mvcc/errors.ts';
import type { Scratch } from '../../mvcc/scratch.ts';
import type { IndexSubject } from './format.ts';
import { scanInline, scanPages, type PageScanOptions } from './pages.ts';
import type { KeyRange } from '../types.ts';
import type { RecordFields } from './record.ts';
import { itemPage } from './run.ts';
import { Runs } from './runs.ts';
import { IndexWriter, type IndexCounts, type IndexSink } from './writer.ts';

export interface BuildOptions {
  readonly subject: IndexSubject;
  /** The plain snapshot. */
  readonly file: RandomAccess;
  /** Its bytes in file order; the views may end with the next one. */
  readonly stream: () => AsyncIterable<Buffer>;
  readonly sink: IndexSink;
  /** For runs beyond the bound of memory. */
  readonly scratch: Scratch;
  readonly signal: AbortSignal;
  /** Plain bytes that were looked at. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
  /** Only keys in this range; all when absent: for an index that is made for one question and thrown away. */
  readonly range?: KeyRange | undefined;
  /** Bytes of a run in memory; tests make it small. */
  readonly runLength?: number | undefined;
  /** Children of branches in memory; tests make it small. */
  readonly heldChildren?: number | undefined;
}

/**
 * @returns what was written; the sink is not finished
 * @throws WardenError `not-bolt`, `not-etcd`, `bolt-damaged`, `history-broken`, `refused`, `disk-full`, and what stream and sink throw
 */
export async function buildKeyIndex(options: BuildOptions): Promise<IndexCounts> {
  const { file, signal, subject, range } = options;
  const { meta } = await openBolt(file, signal);
  const place = await locateBucket(file, meta, 'key', signal);
  if (place === undefined) throw notEtcd('it has no bucket key');
  const runs = new Runs({ scratch: options.scratch, runLength: options.runLength });
  try {
    const scanOptions: PageScanOptions = {
      file,
      meta,
      scratch: options.scratch,
      heldChildren: options.heldChildren,
      take: (leaf, at, fields) => (range === undefined || isWithin(leaf, fields, range) ? runs.take(leaf, at, fields) : undefined),
      signal,
      onProgress: options.onProgress,
    };
    const tree =
      place.kind === 'inline'
        ? await scanInline(place.offset, place.length, scanOptions)
        : await scanPages(options.stream(), place.root, scanOptions);
    const writer = new IndexWriter(options.sink, subject, meta.pageSize);
    let seen = 0;
    await runs.merge((item, at) => {
      seen += 1;
      if (seen % 4096 === 0) signal.throwIfAborted();
      return tree.has(itemPage(item, at)) ? writer.add(item, at) : undefined;
    });
    return await writer.finish();
  } finally {
    await runs.close();
  }
}

function isWithin(leaf: Buffer, { keyAt, keyEnd }: RecordFields, { from, to }: KeyRange): boolean {
  if (from !== undefined && leaf.compare(from, 0, from.length, keyAt, keyEnd) < 0) return false;
  return to === undefined || leaf.compare(to, 0, to.length, keyAt, keyEnd) < 0;
}
