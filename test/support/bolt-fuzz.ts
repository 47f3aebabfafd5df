import { type BucketParent, openBolt } from '../../src/boltdb/bolt.ts';
import { check } from '../../src/boltdb/check.ts';
import { WardenError } from '../../src/errors.ts';
import { inMemory } from './bolt-file.ts';
import type { Random } from './random.ts';

/** How much a database holds. */
export interface Contents {
  readonly buckets: number;
  readonly entries: number;
}

/** What a file that was changed is called: damaged, or sound with what it then holds. */
export type Outcome = { readonly code: string } | { readonly code: undefined; readonly contents: Contents };

const HEADER = 16;

/** Changes a file as disks, transfers and people do: flips bits, cuts it, moves pages about, mixes it with an older one of its own. */
export function spoil(bytes: Buffer, pageSize: number, random: Random): Buffer {
  const spoiled = Buffer.from(bytes);
  const pages = Math.floor(bytes.length / pageSize);
  const kind = random.below(8);
  if (kind === 0) return spoiled.subarray(0, random.below(bytes.length));
  if (kind === 1) {
    const [to, from] = [random.below(pages) * pageSize, random.below(pages) * pageSize];
    spoiled.copyWithin(to, from, from + pageSize * (1 + random.below(3)));
    return spoiled;
  }
  if (kind === 2) {
    const at = random.below(pages) * pageSize;
    spoiled.fill(random.below(2) * 0xff, at, at + pageSize);
    return spoiled;
  }
  for (let i = random.below(3); i >= 0; i -= 1) {
    // Headers and tables of elements rather than values: that is where the format can lie.
    const within = kind < 6 ? random.below(HEADER * 5) : random.below(pageSize);
    const at = random.below(pages) * pageSize + within;
    spoiled[at]! ^= 1 << random.below(8);
  }
  return spoiled;
}

/**
 * Checks a file and reads all of it. Fails on whatever is no documented error, on reads outside of the file or larger than it, and on work without end: a tree
 * is read as often as it has pages, not more.
 */
export async function examine(bytes: Buffer): Promise<Outcome> {
  const inner = inMemory(bytes);
  let reads = 0;
  const file = {
    size: inner.size,
    read(offset: number, length: number) {
      reads += 1;
      if (reads > 200_000) throw new Error('it reads without end');
      return inner.read(offset, length);
    },
  };
  const read = await outcomeOf(async () => await contentsOf(await openBolt(file), 0));
  const checked = await outcomeOf(() => check(file));
  if (checked.code !== undefined) return { code: checked.code };
  if (read.code !== undefined) throw new Error(`it is called sound, and cannot be read: ${read.code}`);
  return { code: undefined, contents: read.value! };
}

async function outcomeOf<T>(work: () => Promise<T>): Promise<{ readonly code?: string; readonly value?: T }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!(error instanceof WardenError)) throw error;
    return { code: error.code };
  }
}

async function contentsOf(parent: BucketParent, depth: number): Promise<Contents> {
  let [buckets, entries] = [0, 0];
  for (const name of await parent.bucketKeys()) {
    // A tree that leads back into itself is endless for a reader, and for `check` to see; a real one is a few deep.
    const bucket = depth > 8 ? undefined : await parent.bucket(name);
    if (bucket === undefined) continue;
    const below = await contentsOf(bucket, depth + 1);
    buckets += 1 + below.buckets;
    entries += below.entries;
    for await (const batch of bucket.batches()) entries += batch.length;
  }
  return { buckets, entries };
}
