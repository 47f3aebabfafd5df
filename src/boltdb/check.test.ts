import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fileToDamage, PLANTED } from '../../test/support/bolt-damage.ts';
import { boltFile, type BucketContent, type BucketContents, type Entries, inMemory } from '../../test/support/bolt-file.ts';
import { seeded } from '../../test/support/random.ts';
import { type Bucket, type BucketParent, openBolt } from './bolt.ts';
import { check, type CheckOptions, findProblems } from './check.ts';
import type { Finding } from './errors.ts';
import type { RandomAccess } from './random-access.ts';

async function problems(file: RandomAccess, options?: CheckOptions): Promise<Finding[]> {
  return await Array.fromAsync(findProblems(file, options));
}

describe('a damaged database', () => {
  test('the file that is damaged here is sound before', async () => {
    const { bytes } = fileToDamage();
    expect(await problems(inMemory(bytes), { snapshot: true })).toEqual([]);
    await check(await openBolt(inMemory(bytes)));
  });

  test.each(PLANTED.map((each) => [each.what, each] as const))('fault 9: %s', async (_, { plant, reason, page, bucket }) => {
    const file = fileToDamage();
    plant(file);
    const [first] = await problems(inMemory(file.bytes));
    const id = page(file);
    expect(first).toEqual({ page: id, bucket, reason: expect.stringMatching(reason) as string });
    const error = await check(inMemory(file.bytes)).then(
      () => undefined,
      (thrown: unknown) => thrown as Error,
    );
    expect(error).toMatchObject({ code: 'bolt-damaged', exitCode: 13, finding: first });
    expect(error!.message).toContain(first!.reason);
    expect(error!.message).toContain(`page ${id}`);
    if (bucket.length > 0) expect(error!.message).toContain(`bucket ${bucket.join('/')}`);
  });

  test('faults in several places are all found, and what lies below a damaged page is not called lost', async () => {
    const file = fileToDamage();
    for (const what of ['a page with another id', 'keys out of order in a bucket inside of another', 'a page listed as free twice'])
      PLANTED.find((each) => each.what === what)!.plant(file);
    expect((await problems(inMemory(file.bytes))).map(({ bucket, reason }) => [bucket.join('/'), reason])).toEqual([
      ['', expect.stringMatching(/as free twice/)],
      ['key', expect.stringMatching(/says that it is page 99/)],
      ['outer/inner', expect.stringMatching(/not greater/)],
    ]);
  });

  test('a run whose later page belongs to another tree', async () => {
    const file = boltFile({ a: [['x', 'y'.repeat(2500)]], b: [['k', 'v'.repeat(600)]] });
    const [a, b] = [file.bucketRoots.get('a')!, file.bucketRoots.get('b')!];
    // As long as three pages, so that only the claim on the other's page tells.
    file.bytes.writeUInt32LE(3, a * file.pageSize + 12);
    file.bytes.writeUInt32LE(3700, a * file.pageSize + 16 + 12);
    expect(b).toBe(a + 3);
    expect(await problems(inMemory(file.bytes))).toEqual([{ page: b, bucket: ['b'], reason: 'it is reached twice' }]);
    // The other way round: the run is reached after the page in it.
    const later = boltFile({ a: [['k', 'v'.repeat(600)]], b: [['x', 'y'.repeat(2500)]] });
    const [first, run] = [later.bucketRoots.get('a')!, later.bucketRoots.get('b')!];
    later.bytes.copyWithin(first * 1024, run * 1024, run * 1024 + 1024); // the run's first page, one earlier
    later.bytes.writeBigUInt64LE(BigInt(first), first * 1024);
    later.bytes.writeBigUInt64LE(BigInt(run), later.bytes.lastIndexOf('a') + 1);
    later.bytes.writeUInt32LE(3, first * 1024 + 12);
    later.bytes.writeBigUInt64LE(BigInt(first), later.bytes.lastIndexOf('b') + 1);
    later.bytes.writeUInt32LE(3700, first * 1024 + 16 + 12);
    expect(await problems(inMemory(later.bytes))).toEqual([
      { page: first, bucket: ['b'], reason: `page ${run} of its run is reached twice` },
    ]);
  });

  test.each<[string, number, RegExp]>([
    ['another id', 0, /a page of its own/],
    ['an overflow', 12, /a page of its own/],
    ['the flags of a branch', 8, /it is a branch/],
  ])('an inline page with %s', async (_, offset, reason) => {
    const file = boltFile({ a: [['key', 'value']] });
    file.bytes.writeUInt8(1, file.bytes.lastIndexOf('key') - 32 + offset);
    expect(await problems(inMemory(file.bytes))).toEqual([
      { page: file.root, bucket: ['a'], reason: expect.stringMatching(reason) as string },
    ]);
  });

  test('elements that bbolt does not write: too many, keys too long, branches without keys or with gaps', async () => {
    const tooLong = boltFile({ a: [['k'.repeat(32_769), 'v']] });
    expect(await problems(inMemory(tooLong.bytes))).toEqual([
      expect.objectContaining({ reason: expect.stringMatching(/has 32769 bytes/) as string }),
    ]);
    const longBranch = boltFile(
      {
        a: [
          ['a', ''],
          ['k'.repeat(32_769), 'v'],
        ],
      },
      { fanout: 2, inlineBytes: 0 },
    );
    expect(await problems(inMemory(longBranch.bytes))).toEqual([
      expect.objectContaining({ reason: expect.stringMatching(/key of element 1 has 32769 bytes/) as string }),
    ]);
    const many = boltFile({ a: Array.from({ length: 65_535 }, (_, i) => [String(i).padStart(5, '0'), ''] as const) }, { fanout: 65_535 });
    expect(await problems(inMemory(many.bytes))).toEqual([
      expect.objectContaining({ reason: expect.stringMatching(/65535 elements/) as string }),
    ]);
    const manyChildren = boltFile({ a: Array.from({ length: 4 }, (_, i) => [`key-${i}`, ''] as const) }, { fanout: 2, inlineBytes: 0 });
    manyChildren.bytes.writeUInt32LE(0, manyChildren.bucketRoots.get('a')! * 1024 + 16 + 4);
    expect(await problems(inMemory(manyChildren.bytes))).toEqual([expect.objectContaining({ reason: 'element 0 has no key' })]);
    const gap = boltFile({ a: Array.from({ length: 4 }, (_, i) => [`key-${i}`, ''] as const) }, { fanout: 2, inlineBytes: 0 });
    gap.bytes.writeUInt32LE(4, gap.bucketRoots.get('a')! * 1024 + 32 + 4);
    expect((await problems(inMemory(gap.bytes)))[0]!.reason).toMatch(/not greater|lies at/);
  });

  test('pages below 64 others, and buckets inside of 64 others', async () => {
    let content: BucketContents = { last: [['k', 'v']] };
    for (let i = 0; i < 66; i += 1) content = { b: { entries: [], buckets: content } };
    expect(await problems(inMemory(boltFile(content).bytes))).toEqual([
      expect.objectContaining({ reason: expect.stringMatching(/below 64 others/) as string }),
    ]);
  });

  test('a database that is cut, and bytes that are none', async () => {
    const { bytes } = fileToDamage();
    expect(await problems(inMemory(bytes.subarray(0, -1)))).toEqual([
      { page: undefined, bucket: [], reason: expect.stringMatching(/the file has \d+ bytes/) as string },
    ]);
    await expect(check(inMemory(Buffer.alloc(5000)))).rejects.toMatchObject({ code: 'not-bolt' });
  });

  test('a failing disk is not called damage', async () => {
    const { bytes } = fileToDamage();
    const inner = inMemory(bytes);
    for (const at of [2, 3, 6, 9]) {
      let reads = 0;
      const failing = {
        size: inner.size,
        read: (offset: number, length: number) => (reads++ < at ? inner.read(offset, length) : Promise.reject(new Error('EIO'))),
      };
      await expect(problems(failing)).rejects.toThrow('EIO');
    }
  });

  test('in a snapshot the meta pages must agree; in a database that lived on each is of another transaction', async () => {
    const file = fileToDamage();
    file.bytes.writeBigUInt64LE(5n, 64);
    file.seal(0);
    expect(await problems(inMemory(file.bytes))).toEqual([]);
    expect(await problems(inMemory(file.bytes), { snapshot: true })).toEqual([
      { page: undefined, bucket: [], reason: expect.stringMatching(/two meta pages of a snapshot/) as string },
    ]);
  });
});

describe('a sound database', () => {
  test('leaves are shown in the order of keys, with progress', async () => {
    const { bytes, free } = fileToDamage();
    const keys: string[] = [];
    let last: [number, number] | undefined;
    await check(inMemory(bytes), {
      onLeaf: ({ path }, entries) => keys.push(...entries().map(({ key }) => [...path, key.toString()].join('/'))),
      onProgress: (pages, of) => (last = [pages, of]),
    });
    expect(keys.filter((key) => key.startsWith('key/')).length).toBe(301);
    expect(keys.filter((key) => key.startsWith('outer/inner/')).length).toBe(40);
    expect(keys.filter((key) => !key.includes('/'))).toEqual(['alarm', 'key', 'meta', 'outer']);
    const [seen, of] = last!;
    // All but the meta pages, free ones, and the list of those.
    expect(of - seen).toBe(2 + free.length + 1);
  });

  const names = fc.string({ unit: 'binary', minLength: 1, maxLength: 6 });
  const entries = fc.uniqueArray(fc.tuple(names, fc.integer({ min: 0, max: 3000 })), { maxLength: 40, selector: ([key]) => key });
  /** Buckets inside of buckets inside of buckets. */
  const content = [0, 1].reduce<fc.Arbitrary<Plain>>(
    (inner) => fc.record({ entries, buckets: fc.dictionary(names, inner, { maxKeys: 3, noNullPrototype: true }) }),
    fc.record({ entries, buckets: fc.constant({}) }),
  );

  interface Plain {
    readonly entries: readonly (readonly [string, number])[];
    readonly buckets: Readonly<Record<string, Plain>>;
  }

  /** A name belongs to an entry or to a bucket, not to both. */
  function filled({ entries: plain, buckets }: Plain): BucketContent {
    const values: Entries = plain.filter(([key]) => !Object.hasOwn(buckets, key)).map(([key, length]) => [key, 'v'.repeat(length)]);
    return { entries: values, buckets: Object.fromEntries(Object.entries(buckets).map(([name, inner]) => [name, filled(inner)])) };
  }

  async function compare(parent: BucketParent, expected: BucketContents): Promise<void> {
    const ordered = Object.keys(expected).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await parent.bucketNames()).toEqual(ordered);
    for (const name of ordered) {
      const bucket: Bucket = (await parent.bucket(name))!;
      const { entries: own, buckets } = expected[name] as BucketContent;
      const found: [string, string][] = [];
      for await (const entry of bucket.entries()) if (!entry.isBucket) found.push([entry.key.toString('hex'), entry.value.toString()]);
      const sorted = own
        .map(([key, value]): [string, string] => [Buffer.from(key).toString('hex'), value.toString()])
        .sort(([a], [b]) => (a < b ? -1 : 1));
      expect(found).toEqual(sorted);
      await compare(bucket, buckets);
    }
  }

  test('property: whatever the sizes of pages, the order of bytes, the shape of trees and the list of free pages, it is read back and sound', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(names, content, { maxKeys: 4, noNullPrototype: true }),
        fc.constantFrom(1024, 2048, 4096, 16_384, 65_536),
        fc.integer({ min: 2, max: 12 }),
        fc.boolean(),
        fc.constantFrom('absent' as const, 'stored' as const, 'large' as const),
        fc.nat(),
        async (plain, pageSize, fanout, bigEndian, freelist, seed) => {
          const random = seeded(seed);
          const buckets = Object.fromEntries(Object.entries(plain).map(([name, each]) => [name, filled(each)]));
          const { bytes } = boltFile(buckets, { pageSize, fanout, bigEndian, freelist, gap: () => Math.max(0, random.below(6) - 3) });
          expect(await problems(inMemory(bytes), { snapshot: true })).toEqual([]);
          await compare(await openBolt(inMemory(bytes)), buckets);
        },
      ),
      { numRuns: 12, seed: 4 },
    );
  });
});
