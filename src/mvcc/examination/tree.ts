/** From pages as they lie in the file to leaves in the order of keys: the tree is walked by its branches, and a leaf that the pass has summed up is not read again. */
import type { Bolt } from '../../boltdb/bolt.ts';
import { check } from '../../boltdb/check.ts';
import type { Claims } from '../../boltdb/claims.ts';
import { type Children, ELEMENT_LENGTH, HEADER_LENGTH, type Page } from '../../boltdb/page.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import type { TreeVisitor } from '../../boltdb/walk.ts';
import { updateCrc32c } from '../crc32c/crc32c.ts';
import { notEtcd } from '../errors.ts';
import { type LeafReader, MAIN_HIGH_LIMIT, word } from './leaf.ts';
import type { Leaves } from './leaves.ts';
import { PageIndex } from './page-index.ts';
import type { Scan } from './scan.ts';

/** The walk leaves some 100 bytes of dead objects for each leaf, half of which V8 takes for long-lived. */
const LEAVES_BETWEEN = 2 ** 15;

/**
 * Checks the whole structure, and each record of the leaves that the pass did not keep.
 * @returns the leaves of bucket `key` by their numbers in `scan.leaves`, in the order of keys
 * @throws WardenError `bolt-damaged`, `not-etcd`
 */
export async function leavesInOrder(
  db: Bolt,
  scan: Scan,
  reader: LeafReader,
  { signal, relieve }: { readonly signal: AbortSignal; readonly relieve?: (() => void) | undefined },
): Promise<Uint32Array> {
  const { leaves, records } = scan;
  const { pageSize, order, highWater } = db.meta;
  const littleEndian = order.name === 'little-endian';
  const { layout } = scan;
  const same = layout?.pageSize === pageSize && layout.littleEndian === littleEndian && layout.pages === Number(highWater);
  const index = new PageIndex(leaves, same ? leaves.count : 0, same ? layout.pages : 0);
  let inOrder = new Uint32Array(1024);
  let count = 0;

  function append(leaf: number): void {
    if (count === inOrder.length) {
      const larger = new Uint32Array(count * 2);
      larger.set(inOrder);
      inOrder = larger;
    }
    inOrder[count] = leaf;
    count += 1;
    if (count % LEAVES_BETWEEN === 0) relieve?.();
  }

  function isRight(leaf: number, branch: Children, i: number, upper: Buffer | undefined): boolean {
    const content = HEADER_LENGTH + leaves.size(leaf) * ELEMENT_LENGTH + leaves.length(leaf);
    // As boltdb/strict.ts says of a run.
    if (leaves.pages(leaf) > Math.floor(content / pageSize) + 1) return false;
    const { bytes, keys, count: children } = branch;
    const at = 2 * i;
    if (!isAtLeast(leaves, leaf, bytes, keys[at]!, keys[at + 1]!)) return false;
    if (i + 1 < children) return isBelow(leaves, leaf, bytes, keys[at + 2]!, keys[at + 3]!);
    return upper === undefined || isBelow(leaves, leaf, upper, 0, upper.length);
  }

  function visitor(claims: Claims): TreeVisitor {
    return {
      // Whatever is not as it should be is read again by the walk, which says what it is.
      knows(branch, i, upper, path) {
        if (path.length !== 1 || path[0] !== 'key') return false;
        const id = branch.ids[i]!;
        const leaf = index.find(id);
        if (leaf === -1 || !isRight(leaf, branch, i, upper) || claims.claim(id, leaves.pages(leaf)) !== undefined) return false;
        append(leaf);
        return true;
      },
      leaf(page) {
        if (page.path?.length !== 1 || page.path[0] !== 'key' || page.count === 0) return;
        readAgain(page);
      },
    };
  }

  function readAgain(page: Page): void {
    const { bytes } = page;
    const place = {
      bytes,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      start: 0,
      end: bytes.length,
      littleEndian,
      crc: (at: number, length: number, before: number) => updateCrc32c(before, bytes.subarray(at, at + length)),
    };
    if (!reader.read(place)) throw notEtcd(`page ${page.id} (bucket key), ${reader.problem}`);
    append(leaves.add(page.id ?? 0, 1, reader, records.count));
    records.add(reader.records, reader.count);
  }

  await check(db, { signal, visitor });
  return inOrder.slice(0, count);
}

/**
 * Whether the first key of a leaf is not less than a branch's, and whether the last one is less. Both false for one that is no revision which numbers hold
 * exactly. They make no objects: they are asked for each leaf.
 */
function isAtLeast(leaves: Leaves, leaf: number, key: Buffer, at: number, end: number): boolean {
  return (
    isExact(key, at, end) && compareToKey(leaves.firstMain(leaf), leaves.firstSub(leaf), leaves.firstTombstone(leaf), key, at, end) >= 0
  );
}

function isBelow(leaves: Leaves, leaf: number, key: Buffer, at: number, end: number): boolean {
  return isExact(key, at, end) && compareToKey(leaves.lastMain(leaf), leaves.lastSub(leaf), leaves.lastTombstone(leaf), key, at, end) < 0;
}

function isExact(key: Buffer, at: number, end: number): boolean {
  const length = end - at;
  const tombstone = length === 18 && key[at + 17] === 0x74;
  return (length === 17 || tombstone) && key[at + 8] === 0x5f && word(key, at) < MAIN_HIGH_LIMIT && word(key, at + 9) === 0;
}

function compareToKey(main: number, sub: number, tombstone: boolean, key: Buffer, at: number, end: number): number {
  return main - (word(key, at) * 2 ** 32 + word(key, at + 4)) || sub - word(key, at + 13) || Number(tombstone) - (end - at - 17);
}

/** The file, with the branches that the pass has kept: on a churned database they lie in as many frames as there are. */
export function withBranches(file: RandomAccess, scan: Scan): RandomAccess {
  const pageSize = scan.layout?.pageSize ?? 0;
  const page = Buffer.alloc(pageSize);
  return {
    size: file.size,
    async read(offset, length, signal) {
      const kept = length === pageSize && offset % pageSize === 0 ? scan.branches.get(offset / pageSize) : undefined;
      if (kept === undefined) return await file.read(offset, length, signal);
      page.set(kept);
      page.fill(0, kept.length);
      return page;
    },
  };
}
