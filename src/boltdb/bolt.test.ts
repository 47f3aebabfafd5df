import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { boltFile, type BoltFile, type Entries, inMemory } from '../../test/support/bolt-file.ts';
import { seeded } from '../../test/support/random.ts';
import { openBolt, type Bucket } from './bolt.ts';
import { disagreement, type Metas, parseMeta, readMeta } from './meta.ts';

function numbered(count: number, valueLength = 10): [string, string][] {
  return Array.from({ length: count }, (_, i) => [`key-${String(i).padStart(6, '0')}`, `${i}`.padEnd(valueLength, '.')]);
}

async function read(bucket: Bucket | undefined): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for await (const entry of bucket!.entries()) found.push([entry.key.toString(), entry.value.toString()]);
  return found;
}

const at = (file: BoltFile, page: number, offset: number): number => page * file.pageSize + offset;

const three: Record<string, Entries> = { alarm: [], key: numbered(300), meta: numbered(3) };

describe('bolt', () => {
  test.each([
    ['inline and paged buckets', {}],
    ['big-endian machines', { bigEndian: true }],
    ['no inline bucket', { inlineBytes: 0 }],
    ['pages of 4 KiB', { pageSize: 4096, fanout: 20 }],
    ['pages of 64 KiB', { pageSize: 65_536, fanout: 200 }],
    ['a deep tree', { fanout: 2, inlineBytes: 0 }],
    ['a leaf of many pages', { fanout: 5000 }],
  ])('%s: names, entries in order, single keys and the last key are read', async (_, options) => {
    const { bytes } = boltFile(three, options);
    const db = await openBolt(inMemory(Buffer.concat([bytes, Buffer.alloc(32)])));
    expect(db.length).toBe(bytes.length);
    expect(await db.bucketNames()).toEqual(['alarm', 'key', 'meta']);
    expect(await db.bucket('none')).toBeUndefined();
    expect(await db.bucket('zzz')).toBeUndefined();
    const bucket = await db.bucket('key');
    expect(await read(bucket)).toEqual(numbered(300));
    expect((await bucket!.last())?.key.toString()).toBe('key-000299');
    for (const i of [0, 1, 150, 299])
      expect((await bucket!.get(Buffer.from(`key-${String(i).padStart(6, '0')}`)))?.toString().startsWith(`${i}`)).toBe(true);
    for (const missing of ['a', 'key-000150x', 'z']) expect(await bucket!.get(Buffer.from(missing))).toBeUndefined();
    const empty = await db.bucket('alarm');
    expect(await empty!.last()).toBeUndefined();
    expect(await empty!.get(Buffer.from('x'))).toBeUndefined();
    expect(await read(empty)).toEqual([]);
  });

  test('property: any set of entries comes back, in order, from trees of any shape', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { maxLength: 80 }),
        fc.integer({ min: 2, max: 9 }),
        fc.integer({ min: 0, max: 3000 }),
        fc.boolean(),
        async (keys, fanout, valueLength, bigEndian) => {
          const entries = keys.map((key): [string, string] => [key, key.slice(0, 1).repeat(valueLength)]);
          const { bytes } = boltFile({ data: entries }, { fanout, bigEndian });
          const sorted = [...entries].sort((a, b) => Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])));
          const bucket = (await (await openBolt(inMemory(bytes))).bucket('data'))!;
          expect(await read(bucket)).toEqual(sorted);
          expect((await bucket.last())?.key.toString()).toBe(sorted.at(-1)?.[0]);
          for (const [key, value] of sorted) expect((await bucket.get(Buffer.from(key)))?.toString()).toBe(value);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('values that need several pages are read whole', async () => {
    const big: Entries = [['big', 'x'.repeat(10_000)]];
    const db = await openBolt(inMemory(boltFile({ data: big }).bytes));
    expect((await (await db.bucket('data'))!.get(Buffer.from('big')))?.length).toBe(10_000);
  });
});

describe('batches', () => {
  const names = fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 5 }), {
    maxLength: 120,
    selector: (key) => Buffer.from(key).toString('hex'),
  });

  test('property: from any key, they are the entries that are not less, a leaf at a time', async () => {
    await fc.assert(
      fc.asyncProperty(names, fc.uint8Array({ maxLength: 5 }), fc.integer({ min: 2, max: 9 }), async (keys, from, fanout) => {
        const { bytes } = boltFile({ data: keys.map((key) => [Buffer.from(key), Buffer.from('v')] as const) }, { fanout, inlineBytes: 0 });
        const bucket = (await (await openBolt(inMemory(bytes))).bucket('data'))!;
        const found: string[] = [];
        for await (const batch of bucket.batches({ from: Buffer.from(from) })) {
          expect(batch.length).toBeGreaterThan(0);
          expect(batch.length).toBeLessThanOrEqual(fanout);
          found.push(...batch.map(({ key }) => key.toString('hex')));
        }
        const sorted = keys.map((key) => Buffer.from(key)).sort((a, b) => Buffer.compare(a, b));
        expect(found).toEqual(sorted.filter((key) => Buffer.compare(key, Buffer.from(from)) >= 0).map((key) => key.toString('hex')));
      }),
      { numRuns: 30, seed: 6 },
    );
  });

  test('leaves before the first key are not read', async () => {
    const file = boltFile({ key: numbered(4000) }, { fanout: 20 });
    const inner = inMemory(file.bytes);
    let reads = 0;
    const db = await openBolt({ size: inner.size, read: (offset, length) => (reads++, inner.read(offset, length)) });
    const bucket = (await db.bucket('key'))!;
    reads = 0;
    for await (const batch of bucket.batches({ from: Buffer.from('key-003990') })) expect(batch[0]!.key.toString()).toBe('key-003990');
    expect(reads).toBe(3);
  });

  test('a signal reaches the reads', async () => {
    const { bytes } = boltFile(three);
    const inner = inMemory(bytes);
    const file = {
      size: inner.size,
      read: (offset: number, length: number, signal?: AbortSignal) => (signal?.throwIfAborted(), inner.read(offset, length)),
    };
    const bucket = (await (await openBolt(file)).bucket('key'))!;
    const controller = new AbortController();
    const batches = bucket.batches({ signal: controller.signal });
    await batches.next();
    controller.abort();
    await expect(batches.next()).rejects.toThrow('aborted');
    await expect(bucket.get(Buffer.from('key-000001'), controller.signal)).rejects.toThrow('aborted');
    await expect(bucket.last(controller.signal)).rejects.toThrow('aborted');
  });
});

describe('buckets inside of buckets', () => {
  const latin = Buffer.from([0xe9, 0x74, 0xe9]);
  const nested = {
    outer: {
      entries: [['a', 'b']] as const,
      buckets: { inline: [['k', 'v']] as const, paged: { entries: numbered(90), buckets: { deep: numbered(5) } } },
    },
  };

  test('are found by their names, and are entries of the outer one', async () => {
    const db = await openBolt(inMemory(boltFile(nested).bytes));
    const outer = (await db.bucket('outer'))!;
    expect(await outer.bucketNames()).toEqual(['inline', 'paged']);
    expect((await read(outer)).map(([key]) => key)).toEqual(['a', 'inline', 'paged']);
    expect(await read(await outer.bucket('inline'))).toEqual([['k', 'v']]);
    const paged = (await outer.bucket('paged'))!;
    expect((await read(paged)).length).toBe(91);
    expect(await read(await paged.bucket('deep'))).toEqual(numbered(5));
    await expect(outer.bucket('a')).rejects.toThrow(/page \d+ \(bucket outer\) .*a is not a bucket/);
  });

  test('names that are not UTF-8 are found by their bytes, and shown as hex', async () => {
    const file = boltFile({ xyz: [['k', 'v']] });
    latin.copy(file.bytes, file.bytes.lastIndexOf('xyz'));
    const db = await openBolt(inMemory(file.bytes));
    expect(await db.bucketKeys()).toEqual([latin]);
    expect(await read(await db.bucket(latin))).toEqual([['k', 'v']]);
    file.bytes.writeUInt32LE(17, at(file, file.root, 28)); // the value's length
    await expect(db.bucket(latin)).rejects.toThrow(/inline page of bucket 0xe974e9 in page \d+/);
    const control = boltFile({ '\u001b[2J': [] });
    control.bytes.writeUInt32LE(17, at(control, control.root, 28));
    await expect((await openBolt(inMemory(control.bytes))).bucket('\u001b[2J')).rejects.toThrow(/bucket 0x1b5b324a/);
  });
});

describe('meta pages', () => {
  test('both are shown, and in a snapshot they must be there and agree', async () => {
    const file = boltFile(three);
    const metas = async (): Promise<Metas> => (await openBolt(inMemory(file.bytes))).metas;
    expect(disagreement(await metas())).toBeUndefined();
    expect((await metas()).pages.map((meta) => meta?.txid)).toEqual([2n, 1n]);
    file.bytes.writeBigUInt64LE(9n, 64);
    file.seal(0);
    expect(disagreement(await metas())).toMatch(/copies of one/);
    file.bytes[70]! ^= 1;
    expect(disagreement(await metas())).toBe('meta page 0 is not valid');
    file.seal(0);
    file.bytes[file.pageSize + 70]! ^= 1;
    expect(disagreement(await metas())).toBe('meta page 1 is not valid');
    expect((await readMeta(inMemory(file.bytes))).highWater).toBe((await metas()).current.highWater);
  });

  test('the valid one with the higher transaction counts; one of them is enough', async () => {
    const file = boltFile(three);
    file.bytes.writeBigUInt64LE(9n, file.pageSize + 64); // txid of page 1
    file.seal(1);
    expect((await openBolt(inMemory(file.bytes))).meta.txid).toBe(9n);
    file.bytes[file.pageSize + 70]! ^= 1; // its checksum no longer fits
    expect((await openBolt(inMemory(file.bytes))).meta.txid).toBe(2n);
    file.seal(1);
    file.bytes.fill(0, 0, 100);
    expect((await openBolt(inMemory(file.bytes))).meta.pageSize).toBe(1024);
  });

  test('what is no database is refused, with a hint', async () => {
    await expect(openBolt(inMemory(Buffer.alloc(100_000)))).rejects.toMatchObject({
      code: 'not-bolt',
      hint: expect.stringContaining('decompressed') as string,
    });
    await expect(openBolt(inMemory(Buffer.alloc(0)))).rejects.toMatchObject({ code: 'not-bolt' });
    const { bytes, pageSize } = boltFile(three);
    bytes.fill(0, 0, 100);
    bytes.fill(0, pageSize, pageSize + 100);
    await expect(openBolt(inMemory(bytes))).rejects.toMatchObject({ code: 'not-bolt' });
  });

  test('other versions, impossible page sizes and any flipped bit of the 64 bytes make a meta invalid', () => {
    const file = boltFile(three);
    const meta = file.bytes.subarray(16, 80);
    expect(parseMeta(meta)).toMatchObject({ pageSize: 1024, txid: 2n });
    for (let bit = 0; bit < 64 * 8; bit += 1) {
      const bad = Buffer.from(meta);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      expect(parseMeta(bad), `bit ${bit}`).toBeUndefined();
    }
    file.bytes.writeUInt32LE(3, 20);
    file.seal(0);
    expect(parseMeta(meta)).toBeUndefined();
    file.bytes.writeUInt32LE(2, 20);
    file.bytes.writeUInt32LE(1000, 24);
    file.seal(0);
    expect(parseMeta(meta)).toBeUndefined();
  });

  test('a file that is shorter than its pages is damaged at the end', async () => {
    const { bytes } = boltFile(three);
    await expect(openBolt(inMemory(bytes.subarray(0, -1)))).rejects.toMatchObject({
      code: 'bolt-damaged',
      message: expect.stringContaining('the end') as string,
    });
  });
});

describe('damaged pages are named', () => {
  /** Damages a file and reads all of it. */
  async function damage(change: (file: BoltFile) => void, options = {}): Promise<unknown> {
    const file = boltFile(three, options);
    change(file);
    try {
      const db = await openBolt(inMemory(file.bytes));
      const bucket = await db.bucket('key');
      await read(bucket);
      await read(await db.bucket('meta'));
      return undefined;
    } catch (error) {
      return error;
    }
  }

  const firstOf = (file: BoltFile, kind: 'branch' | 'leaf'): number => [...file.kinds].find(([, each]) => each === kind)![0];

  test.each<[string, (file: BoltFile) => void, RegExp]>([
    ['another id', (f) => f.bytes.writeBigUInt64LE(99n, at(f, f.bucketRoots.get('key')!, 0)), /page \d+ .*says that it is page 99/],
    ['flags of a free page', (f) => f.bytes.writeUInt16LE(0x10, at(f, f.bucketRoots.get('key')!, 8)), /flags are 0x10/],
    ['two flags', (f) => f.bytes.writeUInt16LE(3, at(f, firstOf(f, 'leaf'), 8)), /flags are 0x3/],
    ['more elements than fit', (f) => f.bytes.writeUInt16LE(65_000, at(f, firstOf(f, 'leaf'), 10)), /65000 elements do not fit/],
    ['overflow beyond the end', (f) => f.bytes.writeUInt32LE(1_000_000, at(f, firstOf(f, 'leaf'), 12)), /1000000 pages are to follow/],
    ['a child beyond the end', (f) => f.bytes.writeBigUInt64LE(1_000_000n, at(f, firstOf(f, 'branch'), 24)), /page 1000000 .*points to it/],
    ['a child that is a meta page', (f) => f.bytes.writeBigUInt64LE(1n, at(f, firstOf(f, 'branch'), 24)), /page 1 .*points to it/],
    [
      'a child that is its parent',
      (f) => f.bytes.writeBigUInt64LE(BigInt(f.bucketRoots.get('key')!), at(f, f.bucketRoots.get('key')!, 24)),
      /below itself/,
    ],
    ['a leaf element outside', (f) => f.bytes.writeUInt32LE(0xfffff, at(f, firstOf(f, 'leaf'), 20)), /element 0 reaches beyond/],
    ['a value that is too long', (f) => f.bytes.writeUInt32LE(0x7fffffff, at(f, firstOf(f, 'leaf'), 28)), /element 0 reaches beyond/],
    ['an empty key', (f) => f.bytes.writeUInt32LE(0, at(f, firstOf(f, 'leaf'), 24)), /no key/],
    ['keys out of order', (f) => f.bytes.write('zzz', at(f, firstOf(f, 'leaf'), 16 + 8 * 16)), /not greater than the one before/],
    [
      'the same child twice',
      (f) => f.bytes.copyWithin(at(f, firstOf(f, 'branch'), 40), at(f, firstOf(f, 'branch'), 24), at(f, firstOf(f, 'branch'), 32)),
      /less than its parent says/,
    ],
    ['a root beyond the end', (f) => [f.bytes.writeBigUInt64LE(77_777n, 32), f.seal(0)], /page 77777/],
  ])('%s', async (_, change, expected) => {
    const error = await damage(change);
    expect(error).toMatchObject({ code: 'bolt-damaged', exitCode: 13 });
    expect((error as Error).message).toMatch(expected);
  });

  test('a branch element outside its page, and a branch without children', async () => {
    expect(await damage((f) => f.bytes.writeUInt32LE(0xfffff, at(f, firstOf(f, 'branch'), 16)))).toMatchObject({
      message: expect.stringContaining('reaches beyond') as string,
    });
    const file = boltFile(three);
    const root = file.bucketRoots.get('key')!;
    file.bytes.writeUInt16LE(0, at(file, root, 10));
    const bucket = (await (await openBolt(inMemory(file.bytes))).bucket('key'))!;
    await expect(bucket.last()).rejects.toThrow(/without children/);
    await expect(bucket.get(Buffer.from('key-000001'))).rejects.toThrow(/without children/);
  });

  test('an empty leaf below a branch', async () => {
    const file = boltFile({ key: numbered(16) }, { fanout: 8 });
    const leaves = [...file.kinds].filter(([, kind]) => kind === 'leaf').map(([id]) => id);
    file.bytes.writeUInt16LE(0, at(file, leaves[1]!, 10));
    await expect((await (await openBolt(inMemory(file.bytes))).bucket('key'))!.last()).rejects.toThrow(/empty leaf/);
  });

  test('a bucket whose header is cut, or whose inline page is, or which is none', async () => {
    const file = boltFile({ a: [] }, { plainRootKey: 'plain' });
    await expect((await openBolt(inMemory(file.bytes))).bucket('plain')).rejects.toThrow(/plain is not a bucket/);
    expect(await (await openBolt(inMemory(file.bytes))).bucketNames()).toEqual(['a']);
    const length = at(file, file.root, 28);
    for (const [bytes, expected] of [
      [20, /inline page of bucket a.* 4 bytes/],
      [8, /bucket a.* header .*has 8 bytes/],
    ] as const) {
      file.bytes.writeUInt32LE(bytes, length);
      await expect((await openBolt(inMemory(file.bytes))).bucket('a')).rejects.toThrow(expected);
    }
  });

  test('a tree that is deeper than any real one', async () => {
    const { bytes, pageSize, root, seal } = boltFile({ key: [] });
    const first = bytes.length / pageSize;
    const chain = Array.from({ length: 70 }, (_, i) => {
      const page = Buffer.alloc(pageSize);
      page.writeBigUInt64LE(BigInt(first + i), 0);
      page.writeUInt16LE(1, 8);
      page.writeUInt16LE(1, 10);
      page.writeUInt32LE(16, 16);
      page.writeBigUInt64LE(BigInt(i === 69 ? root : first + i + 1), 24);
      return page;
    });
    bytes.writeBigUInt64LE(BigInt(first), 32);
    bytes.writeBigUInt64LE(BigInt(first + 70), 56);
    seal(0);
    const db = await openBolt(inMemory(Buffer.concat([bytes, ...chain])));
    await expect(db.bucketNames()).rejects.toThrow(/below 64 others/);
    await expect(db.bucket('key')).rejects.toThrow(/below 64 others/);
  });

  test('a run that claims half a gigabyte costs no more than its elements need, unless they claim as much', async () => {
    const file = boltFile(three);
    const sparse = 2 ** 21; // pages of 1 KiB: 2 GiB that nobody has to hold
    for (const page of [0, 1] as const) {
      file.bytes.writeBigUInt64LE(BigInt(sparse), page * file.pageSize + 56);
      file.seal(page);
    }
    file.bytes.writeUInt32LE(2 ** 20, at(file, file.root, 12));
    const inner = inMemory(file.bytes);
    let longest = 0;
    const db = await openBolt({
      size: sparse * 1024,
      read(offset, length) {
        longest = Math.max(longest, length);
        return inner.read(offset, length);
      },
    });
    expect(await db.bucketNames()).toEqual(['alarm', 'key', 'meta']);
    expect(longest).toBe(1024);
    file.bytes.writeUInt32LE(2 ** 29, at(file, file.root, 28));
    await expect(db.bucketNames()).rejects.toThrow(/536\d+ bytes are to belong to it/);
    file.bytes.writeUInt32LE(2 ** 31, at(file, file.root, 28));
    await expect(db.bucketNames()).rejects.toThrow(/element reaches beyond its 1073742848 bytes/);
    file.bytes.writeUInt32LE(0, at(file, file.root, 12));
    file.bytes.writeUInt32LE(10, at(file, file.root, 28));

    const branch = file.bucketRoots.get('key')!;
    file.bytes.writeUInt32LE(2 ** 13, at(file, branch, 12));
    file.bytes.writeUInt32LE(5 * 2 ** 20, at(file, branch, 16 + 4));
    await expect((await db.bucket('key'))!.last()).rejects.toThrow(/5242\d+ bytes are to belong to it/);
    file.bytes.writeUInt32LE(1, at(file, branch, 12));
    file.bytes.writeUInt16LE(5000, at(file, branch, 10));
    await expect((await db.bucket('key'))!.last()).rejects.toThrow(/5000 elements do not fit into 2048 bytes/);
  });

  test('property: fault 9: whatever bytes are changed, reading ends, with the documented error or with entries', async () => {
    const random = seeded(21);
    for (let round = 0; round < 50; round += 1) {
      const error = await damage((file) => {
        for (let i = 0; i <= round % 4; i += 1) {
          // Headers and elements rather than values: that is where the format can lie.
          const page = 2 + random.below(file.bytes.length / file.pageSize - 2);
          file.bytes[at(file, page, random.below(i === 0 ? 32 : file.pageSize))] = random.below(256);
        }
      });
      if (error !== undefined) expect(error).toMatchObject({ code: 'bolt-damaged' });
    }
  });
});
