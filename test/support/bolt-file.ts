import type { RandomAccess } from '../../src/boltdb/random-access.ts';
import { fnv1a64 } from '../../src/boltdb/meta.ts';

export interface BoltFileOptions {
  readonly pageSize?: number;
  readonly bigEndian?: boolean;
  /** Buckets of at most this many bytes lie inside the root leaf, as in files of etcd; 0 = none does. */
  readonly inlineBytes?: number;
  /** Entries in a leaf and children in a branch, at most; 2 or more. */
  readonly fanout?: number;
  /** A key of the root tree that is no bucket. */
  readonly plainRootKey?: string;
  /** The list of free pages: not stored, as etcd does on Linux; stored; or stored with its count in the form that more than 65 534 ids need. */
  readonly freelist?: 'absent' | 'stored' | 'large';
  /** How many free pages come before each page. They hold what free pages of real files hold: a page of a tree that was. */
  readonly gap?: () => number;
}

/** Page ids of what was written, so that a test can damage it by name. */
export interface BoltFile {
  readonly bytes: Buffer;
  readonly pageSize: number;
  readonly root: number;
  /** By name, or by path: `outer/inner`. */
  readonly bucketRoots: ReadonlyMap<string, number>;
  readonly kinds: ReadonlyMap<number, 'branch' | 'leaf'>;
  /** Undefined when none is stored. */
  readonly freelist: number | undefined;
  readonly free: readonly number[];
  /** Rewrites the checksum of a meta page after a test has changed it. */
  seal(page: 0 | 1): void;
}

export type Entries = readonly (readonly [string | Buffer, string | Buffer])[];

/** A bucket that holds others besides its entries. */
export interface BucketContent {
  readonly entries: Entries;
  readonly buckets: BucketContents;
}

export type BucketContents = Readonly<Record<string, Entries | BucketContent>>;

/** A bbolt file written by hand: sorted entries, leaves first, then branches, as bbolt lays out a new file. For unit tests of readers. */
export function boltFile(buckets: BucketContents, options: BoltFileOptions = {}): BoltFile {
  const { pageSize = 1024, bigEndian = false, inlineBytes = pageSize / 4, fanout = 8, freelist = 'absent', gap = () => 0 } = options;
  // Where a new file has its list of free pages.
  const free: number[] = [2];
  const pages: (Buffer | undefined)[] = [Buffer.alloc(pageSize), Buffer.alloc(pageSize), Buffer.alloc(pageSize)];
  const kinds = new Map<number, 'branch' | 'leaf'>();
  const bucketRoots = new Map<string, number>();
  const u16 = (b: Buffer, v: number, at: number): number => (bigEndian ? b.writeUInt16BE(v, at) : b.writeUInt16LE(v, at));
  const u32 = (b: Buffer, v: number, at: number): number => (bigEndian ? b.writeUInt32BE(v, at) : b.writeUInt32LE(v, at));
  const u64 = (b: Buffer, v: bigint, at: number): number => (bigEndian ? b.writeBigUInt64BE(v, at) : b.writeBigUInt64LE(v, at));

  interface Item {
    readonly key: Buffer;
    readonly value: Buffer;
    readonly flags?: number;
    readonly child?: number;
  }

  function image(kind: 'branch' | 'leaf', items: readonly Item[]): Buffer {
    const elements = Buffer.alloc(16 + items.length * 16);
    u16(elements, kind === 'branch' ? 1 : 2, 8);
    u16(elements, items.length, 10);
    let at = elements.length;
    for (const [i, item] of items.entries()) {
      const element = 16 + i * 16;
      if (kind === 'leaf') {
        u32(elements, item.flags ?? 0, element);
        u32(elements, at - element, element + 4);
        u32(elements, item.key.length, element + 8);
        u32(elements, item.value.length, element + 12);
      } else {
        u32(elements, at - element, element);
        u32(elements, item.key.length, element + 4);
        u64(elements, BigInt(item.child!), element + 8);
      }
      at += item.key.length + item.value.length;
    }
    return Buffer.concat([elements, ...items.flatMap((item) => [item.key, item.value])]);
  }

  function place(kind: 'branch' | 'leaf', items: readonly Item[]): number {
    const body = image(kind, items);
    for (let left = gap(); left > 0; left -= 1) {
      const stale = Buffer.alloc(pageSize, body.subarray(0, pageSize));
      u64(stale, BigInt(pages.length), 0);
      free.push(pages.length);
      pages.push(stale);
    }
    const id = placeBody(body);
    kinds.set(id, kind);
    return id;
  }

  function placeBody(body: Buffer): number {
    const id = pages.length;
    const run = Math.ceil(body.length / pageSize);
    const bytes = Buffer.concat([body, Buffer.alloc(run * pageSize - body.length)]);
    u64(bytes, BigInt(id), 0);
    u32(bytes, run - 1, 12);
    pages.push(bytes, ...Array.from({ length: run - 1 }, () => undefined)); // the run's bytes stand in its first slot
    return id;
  }

  function placeFreelist(): number | undefined {
    if (freelist === 'absent') return undefined;
    const ids = freelist === 'large' ? [free.length, ...free] : free;
    const body = Buffer.alloc(16 + ids.length * 8);
    u16(body, 0x10, 8);
    u16(body, freelist === 'large' ? 0xffff : ids.length, 10);
    for (const [i, id] of ids.entries()) u64(body, BigInt(id), 16 + i * 8);
    return placeBody(body);
  }

  function tree(items: readonly Item[]): number {
    let level = chunk(items, fanout).map((part): Item => ({
      key: part[0]?.key ?? Buffer.alloc(0),
      value: Buffer.alloc(0),
      child: place('leaf', part),
    }));
    while (level.length > 1)
      level = chunk(level, fanout).map((part) => ({ key: part[0]!.key, value: Buffer.alloc(0), child: place('branch', part) }));
    return level[0]!.child!;
  }

  function sorted(items: Item[]): Item[] {
    return items.sort((a, b) => Buffer.compare(a.key, b.key));
  }

  function itemsOf(content: BucketContents, path: readonly string[]): Item[] {
    return Object.entries(content).map(([name, each]): Item => {
      const { entries, buckets: nested } =
        'entries' in each && !Array.isArray(each) ? (each as BucketContent) : { entries: each as Entries, buckets: {} };
      const inner = [...path, name];
      const items = sorted([
        ...entries.map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) })),
        ...itemsOf(nested, inner),
      ]);
      const header = Buffer.alloc(16);
      const inlineLength = items.reduce((sum, { key, value }) => sum + 16 + key.length + value.length, 16);
      const hasBuckets = items.some((item) => item.flags === 1);
      if (inlineLength <= inlineBytes && !hasBuckets)
        return { key: Buffer.from(name), value: Buffer.concat([header, image('leaf', items)]), flags: 1 };
      const id = tree(items);
      bucketRoots.set(inner.join('/'), id);
      u64(header, BigInt(id), 0);
      return { key: Buffer.from(name), value: header, flags: 1 };
    });
  }

  const root = itemsOf(buckets, []);
  if (options.plainRootKey !== undefined) root.push({ key: Buffer.from(options.plainRootKey), value: Buffer.from('plain') });
  const rootId = tree(sorted(root));
  const freelistId = placeFreelist();
  const highWater = pages.length;
  const bytes = Buffer.concat(pages.filter((page) => page !== undefined));

  function seal(page: 0 | 1): void {
    const at = page * pageSize + 16;
    u64(bytes, fnv1a64(bytes.subarray(at, at + 56)), at + 56);
  }
  for (const page of [0, 1] as const) {
    const at = page * pageSize;
    u64(bytes, BigInt(page), at);
    u16(bytes, 4, at + 8);
    u32(bytes, 0xed0cdaed, at + 16);
    u32(bytes, 2, at + 20);
    u32(bytes, pageSize, at + 24);
    u64(bytes, BigInt(rootId), at + 32);
    u64(bytes, freelistId === undefined ? 0xffffffffffffffffn : BigInt(freelistId), at + 48);
    u64(bytes, BigInt(highWater), at + 56);
    u64(bytes, BigInt(page === 0 ? 2 : 1), at + 64);
    seal(page);
  }
  return { bytes, pageSize, root: rootId, bucketRoots, kinds, freelist: freelistId, free, seal };
}

/** The bytes as a file; like the contract allows, each read destroys what the one before it returned. */
export function inMemory(bytes: Buffer): RandomAccess {
  let last: Buffer | undefined;
  return {
    size: bytes.length,
    read(offset, length) {
      last?.fill(0xdd);
      if (offset < 0 || offset + length > bytes.length)
        return Promise.reject(new Error(`read outside: ${offset}+${length} of ${bytes.length}`));
      last = Buffer.from(bytes.subarray(offset, offset + length));
      return Promise.resolve(last);
    },
  };
}

function chunk<T>(items: readonly T[], length: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += length) parts.push(items.slice(at, at + length));
  return parts.length === 0 ? [[]] : parts;
}
