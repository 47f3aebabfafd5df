/**
 * The pages of a database in another order, as churn leaves them: trees scattered over the file, and between their pages free ones that were pages of a tree
 * once, claim to be some longer run, or hold anything.
 */
import type { BoltFile } from './bolt-file.ts';
import { fnv1a64 } from '../../src/boltdb/meta.ts';
import type { Random } from './random.ts';

export interface Scattered {
  readonly bytes: Buffer;
  /** Pages that belong to a tree, overflow included, in either place. */
  readonly live: readonly number[];
}

/** Little-endian, without a stored list of free pages. @param free at most so many free pages before each page */
export function scatter(file: BoltFile, random: Random, free = 2): Scattered {
  const { pageSize } = file;
  const runs = [...file.kinds.keys()].map((id) => ({ id, pages: file.bytes.readUInt32LE(id * pageSize + 12) + 1 }));
  for (let i = runs.length - 1; i > 0; i -= 1) {
    const j = random.below(i + 1);
    [runs[i], runs[j]] = [runs[j]!, runs[i]!];
  }
  const moved = new Map<number, number>();
  const gaps: number[] = [];
  let next = 2;
  for (const { id, pages } of runs) {
    for (let count = random.below(free + 1); count > 0; count -= 1) gaps.push(next++);
    moved.set(id, next);
    next += pages;
  }
  const bytes = Buffer.alloc(next * pageSize);
  file.bytes.copy(bytes, 0, 0, 2 * pageSize);
  const live: number[] = [];
  for (const { id, pages } of runs) {
    const to = moved.get(id)!;
    for (let i = 0; i < pages; i += 1) live.push(to + i);
    const page = bytes.subarray(to * pageSize, (to + pages) * pageSize);
    file.bytes.copy(page, 0, id * pageSize, (id + pages) * pageSize);
    page.writeBigUInt64LE(BigInt(to), 0);
    const branch = page.readUInt16LE(8) === 1;
    for (let i = 0; i < page.readUInt16LE(10); i += 1) {
      const element = 16 + 16 * i;
      if (branch) page.writeBigUInt64LE(BigInt(moved.get(Number(page.readBigUInt64LE(element + 8)))!), element + 8);
      else if (page.readUInt32LE(element) === 1) {
        const header = element + page.readUInt32LE(element + 4) + page.readUInt32LE(element + 8);
        const root = Number(page.readBigUInt64LE(header));
        if (root !== 0) page.writeBigUInt64LE(BigInt(moved.get(root)!), header);
      }
    }
  }
  for (const gap of gaps) {
    const page = bytes.subarray(gap * pageSize, (gap + 1) * pageSize);
    const { id } = runs[random.below(runs.length)]!;
    const kind = random.below(4);
    if (kind === 0) random.fill(page);
    else file.bytes.copy(page, 0, id * pageSize, (id + 1) * pageSize);
    if (kind > 0) page.writeBigUInt64LE(BigInt(gap), 0);
    // What follows it may be in use by another page now.
    if (kind === 2) page.writeUInt32LE(random.below(Math.min(5, next - gap)), 12);
  }
  for (const meta of [0, 1]) {
    const at = meta * pageSize + 16;
    bytes.writeBigUInt64LE(BigInt(moved.get(Number(bytes.readBigUInt64LE(at + 16)))!), at + 16);
    bytes.writeBigUInt64LE(BigInt(next), at + 40);
    bytes.writeBigUInt64LE(fnv1a64(bytes.subarray(at, at + 56)), at + 56);
  }
  return { bytes, live };
}
