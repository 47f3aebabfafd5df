/**
 * What a page of bbolt's own making fulfils beyond what reading it needs. The library writes a page anew from its elements each time (internal/common/inode.go,
 * `WriteInodeToPage`, the same since boltdb 1.0): keys and values lie behind the table without gaps, in order, and a run is as long as that takes.
 * A flipped bit in a position, a length or a count shows here where it still stays inside of the page.
 */
import { BUCKET_FLAG, ELEMENT_LENGTH, HEADER_LENGTH, OFFSETS_PER_ELEMENT, type Page, tableLength } from './page.ts';
import type { PlacedPage } from './tree.ts';

/** bucket.go, `MaxKeySize`; values are held to much less than theirs by what a page may take up (tree.ts). */
const MAX_KEY_LENGTH = 32_768;

/** 0xffff says in a freelist that the count is elsewhere, and no page of a tree has as many (node.go: "too many inodes"). */
const COUNT_LIMIT = 0xffff;

/**
 * @param offsets of the page's elements, as `leafOffsets` found them
 * @returns the first thing that bbolt would not have written, as a sentence without its page; undefined for a sound page
 */
export function leafFault(page: Page, offsets: Uint32Array): string | undefined {
  const { bytes, count, order } = page;
  if (count === COUNT_LIMIT) return `it has ${count} elements, bbolt writes less`;
  let end = tableLength(count);
  for (let i = 0; i < count; i += 1) {
    const flags = order.u32(bytes, HEADER_LENGTH + i * ELEMENT_LENGTH);
    if (flags > BUCKET_FLAG) return `element ${i} has the flags 0x${flags.toString(16)}, known are 0 and 0x1`;
    // The library puts nothing else there (tx.go, `Cursor`), and a lost flag would lose the whole bucket without a word.
    if (flags !== BUCKET_FLAG && page.path.length === 0) return `element ${i} is not a bucket, and only buckets lie in the tree of them`;
    const at = i * OFFSETS_PER_ELEMENT;
    const [keyAt, valueAt] = [offsets[at]!, offsets[at + 1]!];
    if (keyAt !== end) return `element ${i} lies at ${keyAt}, the one before it ends at ${end}`;
    if (valueAt - keyAt > MAX_KEY_LENGTH) return `the key of element ${i} has ${valueAt - keyAt} bytes, bbolt allows ${MAX_KEY_LENGTH}`;
    end = offsets[at + 2]!;
  }
  if (page.inline && end !== bytes.length) return `its elements take up ${end} bytes, it has ${bytes.length}`;
  // Nobody's below a branch, so a root: a count that was lost would make it an empty bucket.
  if (count === 0 && bytes.subarray(end, end + ELEMENT_LENGTH).some((byte) => byte !== 0))
    return 'it says that it has no elements, and holds some';
  return undefined;
}

/** The same of a branch whose children `branchPlaces` has found in order. */
export function branchFault(page: Page): string | undefined {
  const { bytes, count, order } = page;
  if (count === COUNT_LIMIT) return `it has ${count} elements, bbolt writes less`;
  let end = tableLength(count);
  for (let i = 0; i < count; i += 1) {
    const at = HEADER_LENGTH + i * ELEMENT_LENGTH;
    const keyAt = at + order.u32(bytes, at);
    const keyLength = order.u32(bytes, at + 4);
    if (keyAt !== end) return `element ${i} lies at ${keyAt}, the one before it ends at ${end}`;
    if (keyLength === 0) return `element ${i} has no key`;
    if (keyLength > MAX_KEY_LENGTH) return `the key of element ${i} has ${keyLength} bytes, bbolt allows ${MAX_KEY_LENGTH}`;
    end = keyAt + keyLength;
  }
  return undefined;
}

/** Whether a run is longer than its elements need. @param content bytes that they take up */
export function runFault(page: PlacedPage, pageSize: number, content: number): string | undefined {
  // bbolt 1.3.0 to 1.3.3 divided and added one, later versions round up: an exact fit got a page more (node.go, `spill`).
  const most = Math.floor(content / pageSize) + 1;
  return page.pages > most ? `${page.pages} pages belong to it, its ${content} bytes need ${most} at most` : undefined;
}
