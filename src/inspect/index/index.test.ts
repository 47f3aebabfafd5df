import { beforeEach, describe, expect, test } from 'vitest';
import { boltFile, inMemory, type BoltFile, type BoltFileOptions } from '../../../test/support/bolt-file.ts';
import { seeded } from '../../../test/support/random.ts';
import { randomHistory, recordsOf, type Change } from '../../../test/support/records.ts';
import type { Scratch } from '../../mvcc/scratch.ts';
import { encodeKeyValue } from '../../mvcc/key-value.ts';
import type { KeyDirectory, KeyEntry, KeyRange } from '../types.ts';
import { buildKeyIndex } from './build.ts';
import { encodeFooter, FOOTER_LENGTH, type IndexSubject } from './format.ts';
import { readKeyIndex } from './reader.ts';
import type { IndexCounts } from './writer.ts';

const never = new AbortController().signal;
const ID = '20261122T100000123Z-k3f9qa';

let scratchBytes = 0;
let openScratch = 0;
beforeEach(() => {
  scratchBytes = 0;
  openScratch = 0;
});

const memoryScratch: Scratch = {
  create() {
    let bytes = Buffer.alloc(0);
    openScratch += 1;
    return Promise.resolve({
      get size() {
        return bytes.length;
      },
      append(more: Buffer) {
        bytes = Buffer.concat([bytes, more]);
        scratchBytes += more.length;
        return Promise.resolve();
      },
      read: (offset: number, length: number) => Promise.resolve(Buffer.from(bytes.subarray(offset, offset + length))),
      close() {
        openScratch -= 1;
        return Promise.resolve();
      },
    });
  },
};

interface Built {
  readonly file: Buffer;
  readonly index: Buffer;
  readonly counts: IndexCounts;
  readonly subject: IndexSubject;
}

/** The database as a file that is read in pieces of an odd length, and its index. */
async function build(
  file: Buffer,
  options: { runLength?: number; heldChildren?: number; subject?: Partial<IndexSubject>; waits?: boolean } = {},
): Promise<Built> {
  const parts: Buffer[] = [];
  const subject = { id: ID, sha256: 'ab'.repeat(32), plainBytes: file.length, ...options.subject };
  const counts = await buildKeyIndex({
    subject,
    file: inMemory(file),
    async *stream() {
      for (let at = 0; at < file.length; at += 5003) yield Buffer.from(file.subarray(at, at + 5003));
    },
    sink: {
      write(bytes) {
        parts.push(Buffer.from(bytes));
        return options.waits === true ? new Promise((resolve) => setImmediate(resolve)) : undefined;
      },
    },
    scratch: memoryScratch,
    signal: never,
    ...(options.runLength === undefined ? {} : { runLength: options.runLength }),
    ...(options.heldChildren === undefined ? {} : { heldChildren: options.heldChildren }),
  });
  const index = Buffer.concat(parts);
  expect(counts.bytes).toBe(index.length);
  expect(openScratch).toBe(0);
  return { file, index, counts, subject };
}

function open({ file, index, subject }: Omit<Built, 'counts'>): Promise<KeyDirectory> {
  return readKeyIndex({ index: { ...inMemory(index), close: () => Promise.resolve() }, snapshot: inMemory(file), subject, signal: never });
}

function database(changes: readonly Change[], options: BoltFileOptions = {}): BoltFile {
  return boltFile({ key: recordsOf(changes), meta: [['consistent_index', Buffer.alloc(8, 1)]], lease: [] }, { inlineBytes: 0, ...options });
}

async function list(directory: KeyDirectory, range: KeyRange = {}): Promise<KeyEntry[]> {
  const entries: KeyEntry[] = [];
  for await (const entry of directory.entries(range, never)) entries.push(entry);
  return entries;
}

/** What an index must answer, made the plain way. */
function expected(changes: readonly Change[], { from, to }: KeyRange = {}): { key: string; revisions: unknown[] }[] {
  const byKey = new Map<string, Change[]>();
  for (const change of changes) {
    const name = change.key.toString('hex');
    const own = byKey.get(name);
    if (own === undefined) byKey.set(name, [change]);
    else own.push(change);
  }
  return [...byKey]
    .map(([key, own]) => ({ key, bytes: Buffer.from(key, 'hex'), own }))
    .filter(({ bytes }) => (from === undefined || bytes.compare(from) >= 0) && (to === undefined || bytes.compare(to) < 0))
    .sort((a, b) => a.bytes.compare(b.bytes))
    .map(({ key, own }) => ({
      key,
      revisions: own
        .toSorted((a, b) => Number(a.main - b.main) || Number(a.sub - b.sub))
        .map((change) => ({ ...revisionOf(change), valueBytes: change.value.length })),
    }));
}

function revisionOf({
  main,
  sub,
  tombstone,
  createRevision,
  version,
  lease,
}: Omit<Change, 'key' | 'value'>): Omit<Change, 'key' | 'value'> {
  return { main, sub, tombstone, createRevision, version, lease };
}

function shown(entries: readonly KeyEntry[]): { key: string; revisions: unknown[] }[] {
  return entries.map(({ key, revisions }) => ({
    key: key.toString('hex'),
    revisions: revisions.map((revision) => ({ ...revisionOf(revision), valueBytes: revision.valueBytes })),
  }));
}

/** Keys with long common beginnings, some that begin others, and bytes that are no UTF-8. */
function manyKeys(seed: number, count: number): Buffer[] {
  const random = seeded(seed);
  const stems = ['/registry/pods/kube-system/', '/registry/pods/', '/', '', '\u{ff}\u{fe}'].map((stem) => Buffer.from(stem, 'latin1'));
  return Array.from({ length: count }, () =>
    Buffer.concat([stems[random.below(stems.length)]!, random.fill(Buffer.alloc(1 + random.below(9)))]),
  );
}

describe('a key index', () => {
  test.each([
    { seed: 1, options: {}, runLength: undefined },
    { seed: 2, options: { fanout: 3 }, runLength: 10_000 },
    { seed: 3, options: { bigEndian: true, pageSize: 4096 }, runLength: 8192 },
    { seed: 4, options: { fanout: 60, pageSize: 1024 }, runLength: 10_000 }, // leaves that take several pages
  ])('holds every revision of every key, whatever the order on the disk (seed $seed)', async ({ seed, options, runLength }) => {
    const random = seeded(seed);
    const changes = randomHistory(random, { keys: manyKeys(seed, 150), transactions: 500 });
    const built = await build(database(changes, options).bytes, {
      ...(runLength === undefined ? {} : { runLength }),
      waits: seed === 2,
      heldChildren: seed === 2 ? 7 : 2 ** 18,
    });
    if (runLength !== undefined) expect(scratchBytes).toBeGreaterThan(runLength);
    const directory = await open(built);
    const all = await list(directory);
    expect(shown(all)).toEqual(expected(changes));
    expect(built.counts).toMatchObject({ keys: all.length, revisions: changes.length });
    for (let i = 0; i < 8; i += 1) {
      const change = changes[random.below(changes.length)]!;
      const entry = await directory.find(change.key, never);
      const revision = entry!.revisions.find(({ main, sub }) => main === change.main && sub === change.sub)!;
      expect((await directory.value(entry!, revision, never)).equals(change.value)).toBe(true);
      const from = changes[random.below(changes.length)]!.key;
      const to = random.below(3) === 0 ? undefined : Buffer.concat([from.subarray(0, random.below(from.length + 1)), Buffer.from([0x70])]);
      expect(shown(await list(directory, { from, to }))).toEqual(expected(changes, { from, to }));
    }
    expect(await directory.find(Buffer.from('not there'), never)).toBeUndefined();
    await directory.close();
  });

  test('is right for a bucket of a few records, which lies inside another page', async () => {
    const changes = randomHistory(seeded(5), { keys: [Buffer.from('a'), Buffer.from('b')], transactions: 3, valueBytes: 5 });
    const built = await build(database(changes, { inlineBytes: 4096, pageSize: 4096 }).bytes);
    const directory = await open(built);
    const entries = await list(directory);
    expect(shown(entries)).toEqual(expected(changes));
    for (const entry of entries)
      for (const revision of entry.revisions) {
        const change = changes.find(({ main, sub }) => main === revision.main && sub === revision.sub)!;
        expect((await directory.value(entry, revision, never)).equals(change.value)).toBe(true);
      }
  });

  test('of an empty store is empty', async () => {
    for (const inlineBytes of [0, 4096]) {
      const built = await build(boltFile({ key: [], meta: [['a', 'b']] }, { inlineBytes, pageSize: 4096 }).bytes);
      expect(built.counts).toEqual({ keys: 0, revisions: 0, blocks: 0, bytes: FOOTER_LENGTH });
      expect(await list(await open(built))).toEqual([]);
      expect(await (await open(built)).find(Buffer.from('a'), never)).toBeUndefined();
    }
  });

  test('holds values of 1.5 MiB and of 0 bytes, and the record without any bytes that a raised revision leaves', async () => {
    const big = seeded(6).fill(Buffer.alloc(1.5 * 2 ** 20));
    const change = { sub: 0n, tombstone: false, version: 1n, lease: 0n };
    const changes: Change[] = [
      { ...change, key: Buffer.from('big'), main: 2n, createRevision: 2n, value: big },
      { ...change, key: Buffer.from('empty'), main: 3n, createRevision: 3n, value: Buffer.alloc(0) },
    ];
    const entries = [...recordsOf(changes), [Buffer.from('00000000000000045f0000000000000000', 'hex'), Buffer.alloc(0)] as const];
    const built = await build(boltFile({ key: entries, meta: [['a', 'b']] }, { inlineBytes: 0, pageSize: 4096, fanout: 2 }).bytes);
    const directory = await open(built);
    const [none, ...others] = await list(directory);
    expect(none).toMatchObject({ key: Buffer.alloc(0), revisions: [{ main: 4n, createRevision: 0n, version: 0n, valueBytes: 0 }] });
    expect(await directory.value(none!, none!.revisions[0]!, never)).toEqual(Buffer.alloc(0));
    expect(shown(others)).toEqual(expected(changes));
    expect((await directory.value(others[0]!, others[0]!.revisions[0]!, never)).equals(big)).toBe(true);
  });

  test('a leaf that is too large to look at in passing is read when the tree needs it', async () => {
    const change = { sub: 0n, tombstone: false, version: 1n, lease: 0n };
    const changes = [2n, 3n, 4n].map((main): Change => ({
      ...change,
      key: Buffer.from(`k${main}`),
      main,
      createRevision: main,
      value: Buffer.alloc(2.8 * 2 ** 20, Number(main)),
    }));
    const built = await build(database(changes, { pageSize: 4096 }).bytes);
    const directory = await open(built);
    const entries = await list(directory);
    expect(shown(entries)).toEqual(expected(changes));
    expect((await directory.value(entries[1]!, entries[1]!.revisions[0]!, never)).equals(changes[1]!.value)).toBe(true);
  });

  test('a key with more revisions than a block holds goes on in the next', async () => {
    const keys = [Buffer.from('leader'), Buffer.from('leaders'), Buffer.from('a')];
    // Each revision of the first takes 20 bytes of its block.
    const first = { key: keys[0]!, sub: 0n, tombstone: false, createRevision: 200n, lease: 2n ** 62n, value: Buffer.alloc(0) };
    const changes = [
      ...randomHistory(seeded(8), { keys: keys.slice(1), transactions: 100, valueBytes: 3 }),
      ...Array.from({ length: 3700 }, (_, i): Change => ({ ...first, main: BigInt(200 + i), version: BigInt(1 + i) })),
    ];
    const built = await build(database(changes, { fanout: 20, pageSize: 4096 }).bytes, { runLength: 300_000 });
    expect(built.counts.blocks).toBeGreaterThan(1);
    const directory = await open(built);
    expect(shown(await list(directory))).toEqual(expected(changes));
    for (const key of keys)
      expect(shown([(await directory.find(key, never))!])).toEqual(expected(changes.filter((each) => each.key.equals(key))));
  });

  test('free pages with old records, and with anything else, are not part of it', async () => {
    const changes = randomHistory(seeded(9), { keys: manyKeys(9, 50), transactions: 300 });
    const live = database(changes, { fanout: 5 });
    const { pageSize } = live;
    const old = database(randomHistory(seeded(10), { keys: manyKeys(10, 50), transactions: 100 }), { fanout: 5 });
    const pages = live.bytes.length / pageSize;
    // Old leaves and branches at places of their own, then pages that only look like some.
    const stale = Buffer.from(old.bytes.subarray(3 * pageSize, 23 * pageSize));
    for (let i = 0; i < 20; i += 1) stale.writeBigUInt64LE(BigInt(pages + i), i * pageSize);
    // The same records as in use, many times over.
    const leaf = [...live.kinds].find(([, kind]) => kind === 'leaf')![0];
    const again = Array.from({ length: 40 }, () => live.bytes.subarray(leaf * pageSize, (leaf + 1) * pageSize));
    const copies = Buffer.concat(again);
    for (let i = 0; i < 40; i += 1) copies.writeBigUInt64LE(BigInt(pages + 26 + i), i * pageSize);
    const garbage = Buffer.alloc(6 * pageSize, 0xff);
    for (const [i, flags] of [1, 2, 2, 2, 1, 2].entries()) {
      garbage.writeBigUInt64LE(BigInt(pages + 20 + i), i * pageSize);
      garbage.writeUInt16LE(flags, i * pageSize + 8);
      garbage.writeUInt16LE([0xffff, 0xffff, 3, 0, 2, 1][i]!, i * pageSize + 10);
    }
    // The last one is an orderly leaf, but of another bucket.
    garbage.fill(0, 5 * pageSize + 12);
    garbage.writeUInt32LE(16, 5 * pageSize + 20);
    garbage.writeUInt32LE(5, 5 * pageSize + 24);
    const file = { ...live, bytes: Buffer.concat([live.bytes, stale, garbage, copies]) };
    for (const page of [0, 1] as const) {
      live.bytes.writeBigUInt64LE(BigInt(pages + 66), page * pageSize + 56);
      live.seal(page);
      live.bytes.copy(file.bytes, page * pageSize, page * pageSize, (page + 1) * pageSize);
    }
    expect(shown(await list(await open(await build(file.bytes))))).toEqual(expected(changes));
  });

  test('a database whose tree is damaged has none: the page is named', async () => {
    const changes = randomHistory(seeded(11), { keys: manyKeys(11, 50), transactions: 300 });
    const sound = database(changes, { fanout: 5 });
    const leaf = [...sound.kinds].find(([, kind]) => kind === 'leaf')![0];
    const branch = [...sound.kinds].find(([, kind]) => kind === 'branch')![0];
    const at = leaf * sound.pageSize;
    const damage: [(bytes: Buffer) => void, RegExp][] = [
      [(bytes) => bytes.writeUInt16LE(0x10, at + 8), new RegExp(`page ${leaf} \\(bucket key\\).*flags`)],
      [(bytes) => bytes.writeBigUInt64LE(1n, at), new RegExp(`page ${leaf} \\(bucket key\\).*says that it is page 1`)],
      [(bytes) => bytes.writeUInt32LE(2 ** 31, at + 20), new RegExp(`page ${leaf} \\(bucket key\\)`)],
      [(bytes) => bytes.fill(0, at + 16 + 5 * 16, at + 16 + 5 * 16 + 17), new RegExp(`page ${leaf} \\(bucket key\\)`)],
      [
        (bytes) => bytes.copy(bytes, branch * sound.pageSize + 16 + 8, branch * sound.pageSize + 32 + 8, branch * sound.pageSize + 32 + 16),
        /comes to it twice/,
      ],
      [(bytes) => bytes.writeBigUInt64LE(2n ** 60n, branch * sound.pageSize + 16 + 8), /page 0 \(bucket key\)/],
    ];
    for (const [spoil, message] of damage) {
      const bytes = Buffer.from(sound.bytes);
      spoil(bytes);
      await expect(build(bytes)).rejects.toMatchObject({ code: 'bolt-damaged', message: expect.stringMatching(message) });
      expect(openScratch).toBe(0);
    }
    await expect(build(boltFile({ meta: [['a', 'b']] }).bytes)).rejects.toMatchObject({ code: 'not-etcd' });
  });

  test('index of another backup: refused, and its own backup is named', async () => {
    const changes = randomHistory(seeded(12), { keys: manyKeys(12, 20), transactions: 50 });
    const built = await build(database(changes).bytes);
    await expect(open({ ...built, subject: { ...built.subject, id: '20261123T100000123Z-k3f9qa' } })).rejects.toMatchObject({
      code: 'index-invalid',
      message: `the key index of 20261123T100000123Z-k3f9qa cannot be used: it is of another backup, of ${ID}`,
      hint: expect.stringContaining('verify 20261123T100000123Z-k3f9qa --repair-index'),
    });
    await expect(open({ ...built, subject: { ...built.subject, sha256: 'cd'.repeat(32) } })).rejects.toMatchObject({
      code: 'index-invalid',
    });
    await expect(open({ ...built, subject: { ...built.subject, plainBytes: 1 } })).rejects.toMatchObject({ code: 'index-invalid' });
  });

  test('index cut short: refused wherever it was cut', async () => {
    const changes = randomHistory(seeded(13), { keys: manyKeys(13, 20), transactions: 50 });
    const built = await build(database(changes).bytes);
    for (const length of [0, 1, FOOTER_LENGTH - 1, FOOTER_LENGTH, built.index.length - 1, built.index.length - FOOTER_LENGTH])
      await expect(open({ ...built, index: built.index.subarray(0, length) })).rejects.toMatchObject({
        code: 'index-invalid',
        message: expect.stringMatching(/cut short/u),
      });
    // Its end is right, bytes before it are gone.
    await expect(open({ ...built, index: built.index.subarray(10) })).rejects.toMatchObject({ code: 'index-invalid' });
  });

  test('an index of a newer version is called that', async () => {
    const built = await build(database(randomHistory(seeded(14), { keys: manyKeys(14, 20), transactions: 50 })).bytes);
    built.index.writeUInt32LE(2, built.index.length - 12);
    await expect(open(built)).rejects.toMatchObject({ code: 'index-invalid', message: expect.stringMatching(/version 2.*newer/u) });
  });

  test('a record that is not where the index says is no answer', async () => {
    const changes = randomHistory(seeded(15), { keys: manyKeys(15, 20), transactions: 80 });
    const built = await build(database(changes).bytes);
    const directory = await open(built);
    for (const entry of await list(directory)) {
      const revision = entry.revisions[0]! as (typeof entry.revisions)[number] & { at: number; recordBytes: number };
      if (revision.tombstone) continue;
      for (const wrong of [
        { ...revision, at: revision.at + 1 },
        { ...revision, main: revision.main + 1n },
        { ...revision, recordBytes: revision.recordBytes - 1 },
        { ...revision, valueBytes: revision.valueBytes + 1 },
        { ...revision, recordBytes: 2 ** 31 },
      ])
        await expect(directory.value(entry, wrong, never)).rejects.toMatchObject({ code: 'index-invalid' });
      await expect(directory.value({ ...entry, key: Buffer.from('other') }, revision, never)).rejects.toMatchObject({
        code: 'index-invalid',
      });
      const foreign = { ...revisionOf(revision), valueBytes: revision.valueBytes };
      await expect(directory.value(entry, foreign, never)).rejects.toThrow(/another directory/u);
    }
  });

  test('an index with any byte changed gives an error or answers that were looked at, and never hangs', async () => {
    const changes = randomHistory(seeded(16), { keys: manyKeys(16, 40), transactions: 120 });
    const built = await build(database(changes).bytes);
    const random = seeded(17);
    for (let i = 0; i < 100; i += 1) {
      const index = Buffer.from(built.index);
      index[random.below(index.length)]! ^= 1 << random.below(8);
      try {
        const directory = await open({ ...built, index });
        for (const entry of await list(directory))
          for (const revision of entry.revisions) {
            const value = await directory.value(entry, revision, never);
            const change = changes.find(({ key, main, sub }) => key.equals(entry.key) && main === revision.main && sub === revision.sub);
            if (!revision.tombstone) expect(change!.value.equals(value)).toBe(true);
          }
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^index-invalid$/u) });
      }
    }
  });

  test('a footer or list that lies about lengths is refused before anything is read by it', async () => {
    const built = await build(database(randomHistory(seeded(18), { keys: manyKeys(18, 20), transactions: 50 })).bytes);
    const { subject } = built;
    const size = built.index.length;
    const counts = { blocks: 1, keys: 1, revisions: 1 };
    for (const lie of [
      { listOffset: size, listLength: 0 },
      { listOffset: 0, listLength: 2 ** 50 },
      { listOffset: size - FOOTER_LENGTH, listLength: 0 },
      { listOffset: 0, listLength: size - FOOTER_LENGTH },
    ]) {
      const index = Buffer.concat([built.index.subarray(0, -FOOTER_LENGTH), encodeFooter({ ...subject, ...counts, ...lie })]);
      await expect(open({ ...built, index })).rejects.toMatchObject({ code: 'index-invalid' });
    }
    // A list of more than 64 MiB, in a file that is long enough.
    const footer = encodeFooter({ ...subject, ...counts, listOffset: 0, listLength: 2 ** 30 });
    const reads: number[] = [];
    const index = {
      size: 2 ** 30 + FOOTER_LENGTH,
      read: (_: number, length: number) => (reads.push(length), Promise.resolve(footer)),
      close: () => Promise.resolve(),
    };
    await expect(readKeyIndex({ index, snapshot: inMemory(built.file), subject, signal: never })).rejects.toMatchObject({
      code: 'index-invalid',
    });
    expect(reads).toEqual([FOOTER_LENGTH]);
  });

  test('two records of one revision, and revisions above 2^53, are refused when it is built', async () => {
    const value = (key: string): Buffer =>
      encodeKeyValue({
        key: Buffer.from(key),
        createRevision: 2n,
        modRevision: 2n,
        version: 1n,
        value: Buffer.from('v'),
        lease: 0n,
        unknown: [],
      });
    const name = (main: string, tombstone = ''): Buffer => Buffer.from(`${main}5f0000000000000000${tombstone}`, 'hex');
    const twice = boltFile({
      key: [
        [name('0000000000000002'), value('a')],
        [name('0000000000000002', '74'), value('a')],
      ],
      meta: [['a', 'b']],
    });
    await expect(build(twice.bytes)).rejects.toMatchObject({ code: 'history-broken', message: expect.stringMatching(/same revision/u) });
    const far = boltFile({ key: [[name('0020000000000000'), value('a')]], meta: [['a', 'b']] });
    await expect(build(far.bytes)).rejects.toMatchObject({ code: 'refused', message: expect.stringMatching(/2\^53/u) });
  });

  test('it ends when the caller does', async () => {
    const file = database(randomHistory(seeded(19), { keys: manyKeys(19, 20), transactions: 50 })).bytes;
    const stop = new AbortController();
    let closed = false;
    async function* stream(): AsyncGenerator<Buffer> {
      try {
        stop.abort(new Error('enough'));
        yield file;
      } finally {
        closed = true;
      }
    }
    const subject = { id: ID, sha256: 'ab'.repeat(32), plainBytes: file.length };
    const sink = { write: () => undefined };
    await expect(
      buildKeyIndex({ subject, file: inMemory(file), stream, sink, scratch: memoryScratch, signal: stop.signal }),
    ).rejects.toThrow('enough');
    expect(closed).toBe(true);
  });
});
