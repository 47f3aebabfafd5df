import { boltFile, type BoltFile } from './bolt-file.ts';

/** A file with all that can be damaged: paged, inline and nested buckets, a run of pages, free pages and their list. Little-endian, pages of 1 KiB. */
export function fileToDamage(): BoltFile {
  const numbered = (count: number, length: number): [string, string][] =>
    Array.from({ length: count }, (_, i) => [`key-${String(i).padStart(4, '0')}`, `${i}`.padEnd(length, '.')]);
  let turn = 0;
  return boltFile(
    {
      alarm: [],
      key: [...numbered(300, 10), ['key-big', 'x'.repeat(3000)]],
      meta: numbered(3, 10),
      outer: { entries: numbered(2, 5), buckets: { inner: numbered(40, 10) } },
    },
    { freelist: 'stored', gap: () => (turn++ % 7 === 3 ? 2 : 0) },
  );
}

/** Faults of a sound file, one at a time. */
export interface PlantedDamage {
  readonly what: string;
  readonly plant: (file: BoltFile) => void;
  /** What is said of it. */
  readonly reason: RegExp;
  readonly page: (file: BoltFile) => number | undefined;
  readonly bucket: readonly string[];
  /** Whether `bbolt check` finds it too; absent where it reads what is no longer its own memory, or never ends. */
  readonly bbolt?: 'finds' | 'overlooks';
}

const KEY = ['key'];

export function leavesOf(file: BoltFile, root: number): number[] {
  if (file.kinds.get(root) === 'leaf') return [root];
  return childrenOf(file, root).flatMap((child) => leavesOf(file, child));
}

export function childrenOf({ bytes, pageSize }: BoltFile, branch: number): number[] {
  const at = branch * pageSize;
  return Array.from({ length: bytes.readUInt16LE(at + 10) }, (_, i) => Number(bytes.readBigUInt64LE(at + 16 + i * 16 + 8)));
}

const keyRoot = (file: BoltFile): number => file.bucketRoots.get('key')!;
/** Some leaf in the middle of bucket `key`. */
const leaf = (file: BoltFile): number => leavesOf(file, keyRoot(file))[17]!;
/** A branch of bucket `key` above leaves. */
const branch = (file: BoltFile): number => childrenOf(file, keyRoot(file))[0]!;
/** Where a page begins, or an offset in it. */
const at = (file: BoltFile, page: number, offset = 0): number => page * file.pageSize + offset;
const element = (index: number, offset: number): number => 16 + index * 16 + offset;
const big = (file: BoltFile): number => leavesOf(file, keyRoot(file)).at(-1)!;

/** Where the key of a leaf's element lies in the file. */
function keyAt(file: BoltFile, page: number, index: number): number {
  const start = at(file, page, element(index, 0));
  return start + file.bytes.readUInt32LE(start + 4);
}

export const PLANTED: readonly PlantedDamage[] = [
  {
    what: 'a page with another id',
    plant: (f) => f.bytes.writeBigUInt64LE(99n, at(f, leaf(f))),
    reason: /says that it is page 99/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a page of a tree with the flags of a list of free pages',
    plant: (f) => f.bytes.writeUInt16LE(0x10, at(f, leaf(f), 8)),
    reason: /flags are 0x10/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a page with two flags',
    plant: (f) => f.bytes.writeUInt16LE(3, at(f, leaf(f), 8)),
    reason: /flags are 0x3/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a page with an unknown flag beside its own',
    plant: (f) => f.bytes.writeUInt16LE(0x42, at(f, leaf(f), 8)),
    reason: /flags are 0x42/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'more elements than fit',
    plant: (f) => f.bytes.writeUInt16LE(65_000, at(f, leaf(f), 10)),
    reason: /65000 elements do not fit/,
    page: leaf,
    bucket: KEY,
  },
  {
    what: 'a run beyond the end',
    plant: (f) => f.bytes.writeUInt32LE(1_000_000, at(f, leaf(f), 12)),
    reason: /1000000 pages are to follow/,
    page: leaf,
    bucket: KEY,
  },
  {
    what: 'a run that overlaps the next page',
    plant: (f) => f.bytes.writeUInt32LE(1, at(f, childrenOf(f, branch(f))[0]!, 12)),
    reason: /reached twice|need 1 at most/,
    page: (f) => childrenOf(f, branch(f))[0]!,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a run that is too short for its value',
    plant: (f) => f.bytes.writeUInt32LE(1, at(f, big(f), 12)),
    reason: /reaches beyond its 2048 bytes/,
    page: big,
    bucket: KEY,
    bbolt: 'finds', // as pages that nothing uses
  },
  {
    what: 'a child beyond the end',
    plant: (f) => f.bytes.writeBigUInt64LE(1_000_000n, at(f, branch(f), element(2, 8))),
    reason: /points to it, but only 2 to \d+/,
    page: () => 1_000_000,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a child that is a meta page',
    plant: (f) => f.bytes.writeBigUInt64LE(1n, at(f, branch(f), element(2, 8))),
    reason: /points to it, but only 2 to \d+/,
    page: () => 1,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a child that is its parent',
    plant: (f) => f.bytes.writeBigUInt64LE(BigInt(branch(f)), at(f, branch(f), element(0, 8))),
    reason: /reached twice/,
    page: branch,
    bucket: KEY,
  },
  {
    what: 'the same child twice',
    plant: (f) => f.bytes.writeBigUInt64LE(BigInt(childrenOf(f, branch(f))[1]!), at(f, branch(f), element(2, 8))),
    reason: /reached twice/,
    page: (f) => childrenOf(f, branch(f))[1]!,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a child that is the list of free pages',
    plant: (f) => f.bytes.writeBigUInt64LE(BigInt(f.freelist!), at(f, branch(f), element(2, 8))),
    reason: /flags are 0x10/,
    page: (f) => f.freelist,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'two buckets with one tree',
    plant: (f) => f.bytes.writeBigUInt64LE(BigInt(keyRoot(f)), f.bytes.lastIndexOf('outer') + 5),
    reason: /reached twice/,
    page: keyRoot,
    bucket: ['outer'],
    bbolt: 'finds',
  },
  {
    what: 'a bucket whose tree is a page beyond the end',
    plant: (f) => f.bytes.writeBigUInt64LE(77_777n, f.bytes.lastIndexOf('outer') + 5),
    reason: /points to it, but only 2 to/,
    page: () => 77_777,
    bucket: ['outer'],
    bbolt: 'finds',
  },
  {
    what: 'an element outside of its page',
    plant: (f) => f.bytes.writeUInt32LE(0xfffff, at(f, leaf(f), element(0, 4))),
    reason: /element 0 reaches beyond/,
    page: leaf,
    bucket: KEY,
  },
  {
    what: 'a value longer than its page',
    plant: (f) => f.bytes.writeUInt32LE(0x7fffffff, at(f, leaf(f), element(3, 12))),
    reason: /element 3 reaches beyond/,
    page: leaf,
    bucket: KEY,
  },
  {
    what: 'an element without a key',
    plant: (f) => f.bytes.writeUInt32LE(0, at(f, leaf(f), element(0, 8))),
    reason: /element 0 .*has no key/,
    page: leaf,
    bucket: KEY,
  },
  {
    what: 'an element in the table of elements',
    plant: (f) => f.bytes.writeUInt32LE(16, at(f, leaf(f), element(0, 4))),
    reason: /lies in the table/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds', // as a key out of order
  },
  {
    what: 'a gap between two elements',
    plant: (f) => f.bytes.writeUInt32LE(9, at(f, leaf(f), element(6, 12))),
    reason: /element 7 lies at \d+, the one before it ends at/,
    page: leaf,
    bucket: KEY,
    bbolt: 'overlooks',
  },
  {
    what: 'flags of an element that no version knows',
    plant: (f) => f.bytes.writeUInt32LE(0x100, at(f, leaf(f), element(4, 0))),
    reason: /element 4 has the flags 0x100/,
    page: leaf,
    bucket: KEY,
    bbolt: 'overlooks',
  },
  {
    what: 'keys out of order',
    plant: (f) => f.bytes.write('kez', keyAt(f, leaf(f), 3)),
    reason: /key of element 4 is not greater/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'the same key twice',
    plant: (f) => f.bytes.copyWithin(keyAt(f, leaf(f), 3), keyAt(f, leaf(f), 2), keyAt(f, leaf(f), 2) + 8),
    reason: /key of element 3 is not greater/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a first key below what the parent says',
    plant: (f) => f.bytes.write('a', keyAt(f, leaf(f), 0)),
    reason: /first key is less than its parent says/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a last key that belongs to the next page',
    plant: (f) => f.bytes.write('z', keyAt(f, leaf(f), 7)),
    reason: /last key belongs to the page after it/,
    page: leaf,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'keys of a branch out of order',
    plant(f) {
      const start = at(f, branch(f), element(3, 0));
      f.bytes.write('z', start + f.bytes.readUInt32LE(start));
    },
    reason: /key of element 4 is not greater/,
    page: branch,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a first key of a branch below what its parent says',
    plant(f) {
      const second = childrenOf(f, keyRoot(f))[1]!;
      const start = at(f, second, element(0, 0));
      f.bytes.write('a', start + f.bytes.readUInt32LE(start));
    },
    reason: /first key is less than its parent says/,
    page: (f) => childrenOf(f, keyRoot(f))[1],
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a last key of a branch that belongs to the next',
    plant(f) {
      const start = at(f, branch(f), element(7, 0));
      f.bytes.write('z', start + f.bytes.readUInt32LE(start));
    },
    reason: /last key belongs to the page after it/,
    page: branch,
    bucket: KEY,
    bbolt: 'finds',
  },
  {
    what: 'a gap between two elements of a branch',
    plant: (f) => f.bytes.writeUInt32LE(7, at(f, branch(f), element(3, 4))),
    reason: /element 4 lies at \d+, the one before it ends at/,
    page: branch,
    bucket: KEY,
    bbolt: 'finds', // as a key out of range
  },
  {
    what: 'a branch element outside of its page',
    plant: (f) => f.bytes.writeUInt32LE(0xfffff, at(f, branch(f), element(1, 0))),
    reason: /element 1 reaches beyond/,
    page: branch,
    bucket: KEY,
  },
  {
    what: 'a branch without children',
    plant: (f) => f.bytes.writeUInt16LE(0, at(f, branch(f), 10)),
    reason: /without children/,
    page: branch,
    bucket: KEY,
    bbolt: 'finds', // as pages that nothing uses
  },
  {
    what: 'an empty leaf below a branch',
    plant: (f) => f.bytes.writeUInt16LE(0, at(f, leaf(f), 10)),
    reason: /empty leaf below a branch/,
    page: leaf,
    bucket: KEY,
    bbolt: 'overlooks',
  },
  {
    what: 'keys out of order in a bucket inside of another',
    plant: (f) => f.bytes.write('z', keyAt(f, leavesOf(f, f.bucketRoots.get('outer/inner')!)[1]!, 2)),
    reason: /key of element 3 is not greater/,
    page: (f) => leavesOf(f, f.bucketRoots.get('outer/inner')!)[1]!,
    bucket: ['outer', 'inner'],
    bbolt: 'finds',
  },
  {
    what: 'keys out of order in an inline bucket',
    plant: (f) => f.bytes.write('z', f.bytes.indexOf('key-0000', at(f, f.root))),
    reason: /key of element 1 is not greater/,
    page: (f) => f.root,
    bucket: ['meta'],
    bbolt: 'overlooks',
  },
  {
    what: 'a page listed as free twice',
    plant: (f) => f.bytes.copyWithin(at(f, f.freelist!, 24), at(f, f.freelist!, 16), at(f, f.freelist!, 24)),
    reason: /as free twice/,
    page: (f) => f.freelist,
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'a page in use that is listed as free',
    plant(f) {
      f.bytes.writeUInt16LE(f.free.length + 1, at(f, f.freelist!, 10));
      f.bytes.writeBigUInt64LE(BigInt(leaf(f)), at(f, f.freelist!, 16 + f.free.length * 8));
    },
    reason: /in use, and listed as free/,
    page: leaf,
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'a page that is neither in use nor listed as free',
    plant: (f) => f.bytes.writeUInt16LE(f.free.length - 1, at(f, f.freelist!, 10)),
    reason: /nothing uses it/,
    page: (f) => f.free.at(-1),
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'a listed page beyond the end',
    plant: (f) => f.bytes.writeBigUInt64LE(1_000_000n, at(f, f.freelist!, 16)),
    reason: /lists page 1000000 as free, which the database does not have/,
    page: (f) => f.freelist,
    bucket: [],
    bbolt: 'finds', // as a page that nothing uses
  },
  {
    what: 'a list of free pages with other flags',
    plant: (f) => f.bytes.writeUInt16LE(2, at(f, f.freelist!, 8)),
    reason: /flags are 0x2, the list of free pages has 0x10/,
    page: (f) => f.freelist,
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'a list of free pages with another id',
    plant: (f) => f.bytes.writeBigUInt64LE(5n, at(f, f.freelist!)),
    reason: /says that it is page 5/,
    page: (f) => f.freelist,
    bucket: [],
  },
  {
    what: 'a list of free pages beyond the end',
    plant: (f) => f.bytes.writeUInt32LE(1_000_000, at(f, f.freelist!, 12)),
    reason: /1000000 pages are to follow it/,
    page: (f) => f.freelist,
    bucket: [],
  },
  {
    what: 'more free pages than the list has room for',
    plant: (f) => f.bytes.writeUInt16LE(5000, at(f, f.freelist!, 10)),
    reason: /5000 free pages do not fit/,
    page: (f) => f.freelist,
    bucket: [],
  },
  {
    what: 'a list of free pages that is no page of the database',
    plant(f) {
      for (const page of [0, 1] as const) {
        f.bytes.writeBigUInt64LE(1n, at(f, page, 48));
        f.seal(page);
      }
    },
    reason: /list of free pages, which can be one of 2 to/,
    page: () => 1,
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'the older meta page invalid',
    plant: (f) => f.bytes.writeUInt8(1, at(f, 1, 72)),
    reason: /no valid meta page/,
    page: () => 1,
    bucket: [],
    bbolt: 'overlooks',
  },
  {
    what: 'a meta page with another id',
    plant: (f) => f.bytes.writeUInt8(7, at(f, 1, 0)),
    reason: /says that it is page 7/,
    page: () => 1,
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'a meta page with other flags',
    plant: (f) => f.bytes.writeUInt16LE(2, at(f, 0, 8)),
    reason: /a meta page has 0x4/,
    page: () => 0,
    bucket: [],
    bbolt: 'overlooks',
  },
  {
    what: 'flags of the database, which has none',
    plant(f) {
      f.bytes.writeUInt32LE(1, at(f, 0, 28));
      f.seal(0);
    },
    reason: /flags of the database are 0x1/,
    page: () => 0,
    bucket: [],
    bbolt: 'overlooks',
  },
  {
    what: 'a tree of buckets beyond the end',
    plant(f) {
      for (const page of [0, 1] as const) {
        f.bytes.writeBigUInt64LE(77_777n, at(f, page, 32));
        f.seal(page);
      }
    },
    reason: /points to it, but only 2 to/,
    page: () => 77_777,
    bucket: [],
    bbolt: 'finds',
  },
  {
    what: 'a bucket that is none any more',
    plant: (f) => f.bytes.writeUInt32LE(0, at(f, f.root, element(1, 0))),
    reason: /element 1 is not a bucket/,
    page: (f) => f.root,
    bucket: [],
    bbolt: 'finds', // as pages that nothing uses
  },
  {
    what: 'a tree of buckets that has lost its count',
    plant: (f) => f.bytes.writeUInt16LE(0, at(f, f.root, 10)),
    reason: /no elements, and holds some/,
    page: (f) => f.root,
    bucket: [],
    bbolt: 'finds', // as pages that nothing uses
  },
  {
    what: 'an inline bucket that has lost its count',
    plant: (f) => f.bytes.writeUInt16LE(0, f.bytes.indexOf('key-0000', at(f, f.root)) - 3 * 16 - 6),
    reason: /its elements take up 16 bytes, it has \d+/,
    page: (f) => f.root,
    bucket: ['meta'],
    bbolt: 'overlooks',
  },
];
