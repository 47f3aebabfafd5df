import { describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../../test/support/bolt-file.ts';
import { type Random, seeded } from '../../../test/support/random.ts';
import { openBolt } from '../bolt.ts';
import { check } from '../check.ts';
import type { Entry } from '../page.ts';
import { editBuckets } from './edit.ts';
import type { NewEntry, PageSink } from './sink.ts';
import { createBoltWriter } from './writer.ts';

interface MemorySink extends PageSink {
  readonly bytes: Buffer;
  readonly offsets: number[];
}

/** Like a disk it has nothing of a buffer once the write is over, and takes its time. */
function memorySink(start: Buffer = Buffer.alloc(0)): MemorySink {
  let bytes = Buffer.from(start);
  const offsets: number[] = [];
  return {
    offsets,
    get bytes() {
      return bytes;
    },
    async write(offset, part) {
      offsets.push(offset);
      await Promise.resolve();
      if (offset + part.length > bytes.length) bytes = Buffer.concat([bytes, Buffer.alloc(offset + part.length - bytes.length)]);
      part.copy(bytes, offset);
      part.fill(0xdd);
    },
  };
}

function randomEntries(random: Random, count: number, sizes: { readonly key: number; readonly value: number }): NewEntry[] {
  const keys = new Map<string, Buffer>();
  while (keys.size < count) {
    const key = random.fill(Buffer.alloc(1 + random.below(sizes.key)));
    keys.set(key.toString('latin1'), key);
  }
  return [...keys.values()]
    .toSorted((a, b) => Buffer.compare(a, b))
    .map((key) => ({
      key,
      value: random.fill(Buffer.alloc(random.below(10) === 0 ? random.below(sizes.value * 20) : random.below(sizes.value))),
    }));
}

async function contentOf(bytes: Buffer): Promise<Record<string, (readonly [string, string])[]>> {
  const db = await openBolt(inMemory(bytes));
  const content: Record<string, (readonly [string, string])[]> = {};
  for (const name of await db.bucketNames()) {
    const entries: (readonly [string, string])[] = [];
    for await (const { key, value } of (await db.bucket(name))!.entries()) entries.push([key.toString('hex'), value.toString('hex')]);
    content[name] = entries;
  }
  return content;
}

const asHex = (entries: readonly (NewEntry | Entry)[]): (readonly [string, string])[] =>
  entries.map(({ key, value }) => [key.toString('hex'), value.toString('hex')]);

async function write(
  buckets: Readonly<Record<string, readonly NewEntry[]>>,
  options: { readonly pageSize: number; readonly order?: 'little-endian' | 'big-endian' },
): Promise<Buffer> {
  const sink = memorySink();
  const writer = createBoltWriter(sink, options);
  for (const [name, entries] of Object.entries(buckets)) {
    const bucket = writer.bucket(name);
    for (const { key, value } of entries) {
      const both = Buffer.concat([Buffer.from('before'), key, value]);
      const added = bucket.add(both, 6, key.length, value.length);
      both.fill(0xdd);
      await added;
    }
    await bucket.end();
  }
  expect(await writer.finish()).toBe(sink.bytes.length);
  return sink.bytes;
}

describe('a written database', () => {
  test('property: it is sound, and holds what was put in, whatever the sizes', async () => {
    const random = seeded(6);
    for (let round = 0; round < 3; round += 1) {
      const pageSize = [1024, 4096, 16_384, 65_536][random.below(4)]!;
      const order = random.below(4) === 0 ? 'big-endian' : 'little-endian';
      const buckets: Record<string, NewEntry[]> = {};
      for (let i = random.below(4); i >= 0; i -= 1)
        buckets[`bucket-${i}-${round}`] = randomEntries(random, random.below(150), {
          key: 1 + random.below(80),
          value: 1 + random.below(400),
        });
      const bytes = await write(buckets, { pageSize, order });
      await check(inMemory(bytes), { snapshot: true });
      const expected = Object.fromEntries(Object.entries(buckets).map(([name, entries]) => [name, asHex(entries)]));
      expect(await contentOf(bytes), `round ${round}`).toEqual(expected);
    }
  });

  test('keys as long as bbolt allows make branches of several pages, each with two children or more', async () => {
    const entries = Array.from({ length: 30 }, (_, i) => ({
      key: Buffer.concat([Buffer.from([i]), Buffer.alloc(32_767, 0x61)]),
      value: Buffer.from('v'),
    }));
    const bytes = await write({ key: entries }, { pageSize: 1024 });
    await check(inMemory(bytes), { snapshot: true });
    expect((await contentOf(bytes))['key']).toEqual(asHex(entries));
    const branches = Array.from({ length: bytes.length / 1024 }, (_, id) => id).filter(
      (id) => bytes.readBigUInt64LE(id * 1024) === BigInt(id) && bytes.readUInt16LE(id * 1024 + 8) === 1,
    );
    expect(branches.length).toBeGreaterThan(2);
    for (const id of branches) expect(bytes.readUInt16LE(id * 1024 + 10)).toBeGreaterThanOrEqual(2);
  });

  test('small records fill nine tenths of their pages', async () => {
    const entries = Array.from({ length: 8000 }, (_, i) => ({ key: Buffer.from(String(i).padStart(8, '0')), value: Buffer.alloc(40) }));
    const bytes = await write({ key: entries }, { pageSize: 4096 });
    expect((entries.length * (16 + 48)) / bytes.length).toBeGreaterThan(0.85);
  });

  test('its pages go out in order and in few writes, the meta pages last', async () => {
    const sink = memorySink();
    const writer = createBoltWriter(sink, { pageSize: 4096 });
    const bucket = writer.bucket('key');
    const record = Buffer.alloc(3000);
    for (let i = 0; i < 1500; i += 1) {
      record.writeUInt32BE(i, 0);
      await bucket.add(record, 0, 4, 2996);
    }
    await bucket.end();
    await writer.finish();
    expect(sink.offsets.length).toBeLessThan(12);
    expect(sink.offsets.slice(-2)).toEqual([4096, 0]);
    expect(sink.offsets.slice(0, -2)).toEqual(sink.offsets.slice(0, -2).toSorted((a, b) => a - b));
  });

  test('a small bucket lies inside of the tree of buckets, a large one beside it', async () => {
    const sink = memorySink();
    const writer = createBoltWriter(sink, { pageSize: 1024 });
    const small = [{ key: Buffer.from('a'), value: Buffer.from('b') }];
    const large = Array.from({ length: 100 }, (_, i) => ({ key: Buffer.from([i]), value: Buffer.alloc(30, i) }));
    await writer.smallBucket('small', small);
    await writer.smallBucket('large', large);
    await writer.smallBucket('empty', []);
    await writer.finish();
    await check(inMemory(sink.bytes), { snapshot: true });
    expect(await contentOf(sink.bytes)).toEqual({ empty: [], large: asHex(large), small: asHex(small) });
  });

  test.each([
    ['a key that is not greater', ['b', 'a'], /not greater/],
    ['a key twice', ['a', 'a'], /not greater/],
    ['the beginning of the key before it', ['ab', 'a'], /not greater/],
    ['an empty key', [''], /0 bytes/],
    ['a key that is too long', ['x'.repeat(32_769)], /32769 bytes/],
  ])('refuses %s', (_, keys, sentence) => {
    const bucket = createBoltWriter(memorySink(), { pageSize: 1024 }).bucket('key');
    const add = (key: string): void | Promise<void> => bucket.add(Buffer.from(key), 0, key.length, 0);
    for (const key of keys.slice(0, -1)) void add(key);
    expect(() => add(keys.at(-1)!)).toThrow(sentence);
  });

  test('refuses two buckets of one name, and one before the last has ended', async () => {
    const writer = createBoltWriter(memorySink(), { pageSize: 1024 });
    const first = writer.bucket('first');
    expect(() => writer.bucket('second')).toThrow(/has not ended/);
    await expect(writer.finish()).rejects.toThrow(/has not ended/);
    await first.end();
    expect(() => writer.bucket('first')).toThrow(/there already/);
  });

  test('a disk that fails ends it, and nothing more is written', async () => {
    const written: number[] = [];
    const writer = createBoltWriter(
      {
        write(offset) {
          written.push(offset);
          throw new Error('no space left');
        },
      },
      { pageSize: 4096 },
    );
    const bucket = writer.bucket('key');
    const record = Buffer.alloc(2 ** 20);
    async function fill(): Promise<void> {
      for (let i = 0; i < 20; i += 1) {
        record.writeUInt32BE(i, 0);
        await bucket.add(record, 0, 4, 2 ** 19);
      }
      await bucket.end();
      await writer.finish();
    }
    await expect(fill()).rejects.toThrow('no space left');
    await writer.settle();
    expect(written).toHaveLength(1);
  });
});

describe('an edited database', () => {
  const random = seeded(61);
  const records = randomEntries(random, 200, { key: 20, value: 60 });
  const old = [{ key: Buffer.from('old'), value: Buffer.from('1') }];
  const fresh = [{ key: Buffer.from('new'), value: Buffer.from('2') }];
  const tuple = (entries: readonly NewEntry[]): [Buffer, Buffer][] => entries.map(({ key, value }) => [key, value]);

  test.each([
    ['none stored', 'absent', false],
    ['a stored list of free pages', 'stored', false],
    ['a large one', 'large', false],
    ['numbers of another machine', 'stored', true],
  ] as const)('has the new buckets and the old others: %s', async (_, freelist, bigEndian) => {
    const source = boltFile(
      { key: tuple(records), members: tuple(old), gone: tuple(old), alarm: tuple(old) },
      { freelist, bigEndian, gap: () => random.below(2) },
    );
    const sink = memorySink(source.bytes);
    const large = randomEntries(random, 60, { key: 20, value: 30 });
    const { bytes } = await editBuckets(
      inMemory(source.bytes),
      [
        { name: 'members', entries: fresh },
        { name: 'gone', entries: undefined },
        { name: 'added', entries: large },
        { name: 'alarm', entries: [] },
      ],
      sink,
    );
    expect(bytes).toBe(sink.bytes.length);
    await check(inMemory(sink.bytes), { snapshot: true });
    expect(await contentOf(sink.bytes)).toEqual({ added: asHex(large), alarm: [], key: asHex(records), members: asHex(fresh) });
    expect((await openBolt(inMemory(sink.bytes))).meta.freelist).toBeUndefined();
  });

  test('a crash after any write leaves the old or the new one', async () => {
    const source = boltFile({ key: tuple(records), members: tuple(old) }, { freelist: 'stored' });
    const before = await contentOf(source.bytes);
    const sink = memorySink(source.bytes);
    const states: Buffer[] = [Buffer.from(source.bytes)];
    const steps: string[] = [];
    await editBuckets(inMemory(source.bytes), [{ name: 'members', entries: fresh }], {
      async write(offset, part) {
        steps.push(offset < 2048 ? 'meta' : 'pages');
        await sink.write(offset, part);
        states.push(Buffer.from(sink.bytes));
      },
      barrier() {
        steps.push('barrier');
        return Promise.resolve();
      },
    });
    expect(steps).toEqual(['pages', 'barrier', 'meta', 'meta']);
    const after = { ...before, members: asHex(fresh) };
    const seen = await Promise.all(states.map((state) => contentOf(state)));
    expect(seen).toEqual([before, before, after, after]);
  });

  test('can be edited again', async () => {
    const source = boltFile({ key: tuple(records), members: tuple(old) });
    let bytes = source.bytes;
    for (let i = 0; i < 3; i += 1) {
      const sink = memorySink(bytes);
      await editBuckets(inMemory(bytes), [{ name: 'members', entries: [{ key: Buffer.from([i + 1]), value: Buffer.alloc(i) }] }], sink);
      ({ bytes } = sink);
      await check(inMemory(bytes), { snapshot: true });
    }
    expect((await contentOf(bytes))['members']).toEqual([['03', '0000']]);
  });
});
