import { describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../../test/support/bolt-file.ts';
import { memoryScratch, type ModelHistory, naiveHashKv, randomHistory, sourceOf, stateAt } from '../../../test/support/history.ts';
import { type Random, seeded } from '../../../test/support/random.ts';
import { scatter } from '../../../test/support/scatter.ts';
import { fnv1a64 } from '../../boltdb/meta.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { WardenError } from '../../errors.ts';
import { hashKv } from '../hash-kv.ts';
import { varintBytes } from '../protobuf.ts';
import { encodeRevision, isRevision } from '../revision.ts';
import { createExamination, type ExaminationOptions } from './examination.ts';
import type { Examined } from './types.ts';

const signal = new AbortController().signal;

function metaOf(history: ModelHistory): [string, Buffer][] {
  const mark = (main: bigint): Buffer => encodeRevision({ main, sub: 0n, tombstone: false });
  const meta: [string, Buffer][] = [];
  if (history.compactionFinished > 0n) meta.push(['finishedCompactRev', mark(history.compactionFinished)]);
  if (history.compactRevision > 0n) meta.push(['scheduledCompactRev', mark(history.compactRevision)]);
  return meta;
}

interface Layout {
  readonly pageSize?: number;
  readonly fanout?: number;
  readonly free?: number;
  readonly inlineBytes?: number;
}

function fileOf(history: ModelHistory, random: Random, layout: Layout = {}): ReturnType<typeof scatter> {
  const entries = history.records.map(({ key, value }) => [key, value] as const);
  const { free = 2, ...options } = layout;
  return scatter(boltFile({ key: entries, meta: metaOf(history), alarm: [] }, { fanout: 4, inlineBytes: 0, ...options }), random, free);
}

/** @param pieces lengths of what `write` gets, in turn */
async function examine(
  bytes: Buffer,
  options: Partial<ExaminationOptions> & { readonly pieces?: readonly number[]; readonly file?: RandomAccess } = {},
): Promise<Examined> {
  const { pieces = [bytes.length], file = inMemory(bytes), ...rest } = options;
  const examination = await createExamination({ scratch: memoryScratch(), ...rest });
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const piece = Buffer.from(bytes.subarray(at, at + pieces[turn % pieces.length]!));
    examination.write(piece);
    at += piece.length;
    piece.fill(0xdd);
  }
  return await examination.finish(file, signal);
}

/** Where the elements of a page of a tree end; its pages are of 1 KiB, and no run is longer. */
function usedOf(bytes: Buffer, page: number): number {
  const at = page * 1024;
  let end = 16;
  for (let i = 0; i < bytes.readUInt16LE(at + 10); i += 1) {
    const element = 16 + 16 * i;
    const branch = bytes.readUInt16LE(at + 8) === 1;
    const [position, key, value] = branch ? [0, 4, undefined] : [4, 8, 12];
    end =
      element +
      [position, key, value].reduce<number>((sum, each) => sum + (each === undefined ? 0 : bytes.readUInt32LE(at + element + each)), 0);
  }
  return end;
}

function isRecords(bytes: Buffer, page: number): boolean {
  const at = page * 1024;
  const key = at + 16 + bytes.readUInt32LE(at + 20);
  return (
    bytes.readUInt16LE(at + 8) === 2 &&
    isRevision(bytes.subarray(key, key + bytes.readUInt32LE(at + 24))) &&
    bytes.readUInt32LE(at + 16) === 0
  );
}

/** Everything but the pages that a pass must read again. */
function watched(bytes: Buffer): { readonly file: RandomAccess; readonly offsets: number[] } {
  const inner = inMemory(bytes);
  const offsets: number[] = [];
  return {
    offsets,
    file: {
      size: inner.size,
      read(offset, length, each) {
        offsets.push(offset);
        return inner.read(offset, length, each);
      },
    },
  };
}

describe.each(['none', 'finished', 'unfinished'] as const)('an examination, compaction: %s', (compaction) => {
  test('property: counts and hashes are those of the definition, however the pages lie and the bytes come', async () => {
    const random = seeded(compaction.length);
    for (let round = 0; round < 8; round += 1) {
      const history = randomHistory({ random, steps: 3 + random.below(60), keys: 1 + random.below(12), compaction });
      const { bytes } = fileOf(history, random, {
        pageSize: [1024, 2048, 4096][random.below(3)]!,
        fanout: 2 + random.below(6),
        inlineBytes: random.below(4) === 0 ? 4096 : 0,
      });
      const examined = await examine(bytes, {
        pieces: Array.from({ length: 5 }, () => 1 + random.below(bytes.length)),
        seed: round,
        heldBytes: 0,
        eagerRecords: random.below(2) === 0 ? 0 : 1000,
        foldBytes: random.below(2) === 0 ? 0 : undefined,
      });
      expect(examined.recordCount, `round ${round}`).toBe(history.records.length);
      expect(examined.keyCount, `round ${round}`).toBe(stateAt(history.changes, history.revision).size);
      expect(examined.head).toMatchObject({ revision: history.revision, compactRevision: history.compactRevision });
      for (let c = history.compactRevision === 0n ? -1n : history.compactRevision; c <= history.revision; c += 1n + BigInt(random.below(4)))
        expect(await examined.hashKv(c, signal), `round ${round}, C=${c}`).toBe(naiveHashKv(history.records, history.revision, c));
    }
  });
});

describe('an examination', () => {
  const random = seeded(77);
  const history = randomHistory({ random, steps: 150, keys: 12, compaction: 'finished' });
  const { bytes } = fileOf(history, random);

  test('reads no leaf again that went by', async () => {
    const whole = fileOf(randomHistory({ random, steps: 120, keys: 12 }), random);
    const { file, offsets } = watched(whole.bytes);
    await examine(whole.bytes, { file });
    const leaves = whole.live.filter((page) => whole.bytes.readUInt16LE(page * 1024 + 8) === 2).length;
    expect(leaves).toBeGreaterThan(30);
    // The metas, the tree of buckets with what lies in it, the last leaf for the head, the one with the compact revision inside.
    expect(new Set(offsets.map((offset) => Math.floor(offset / 1024))).size).toBeLessThan(12);
  });

  test('gives the same when it saw nothing go by, or only the end, and reads then', async () => {
    const expected = await examine(bytes);
    for (const seen of [Buffer.alloc(0), bytes.subarray(0, 3000), bytes.subarray(10 * 1024)]) {
      const examined = await examine(seen, { file: inMemory(bytes) });
      expect([examined.recordCount, examined.keyCount]).toEqual([expected.recordCount, expected.keyCount]);
      for (const c of [history.compactRevision, history.revision - 1n])
        expect(await examined.hashKv(c, signal)).toBe(await expected.hashKv(c, signal));
    }
  });

  test('believes what it reads now where the bytes that went by were others', async () => {
    const other = fileOf(randomHistory({ random, steps: 150, keys: 12, compaction: 'finished' }), seeded(3)).bytes;
    const examined = await examine(other, { file: inMemory(bytes) }).catch((error: unknown) => error);
    // The pass and the file are of one snapshot by contract; of two, it must still end with figures or an error of ours.
    expect(examined instanceof WardenError || typeof (examined as Examined).keyCount === 'number').toBe(true);
  });

  test('values longer than a page, up to runs too long to wait for, count like others', async () => {
    const big = randomHistory({ random, steps: 3, keys: 1 });
    const { key } = big.records.at(-1)!;
    const main = key.readBigInt64BE(0) + 1n;
    const value = (length: number): Buffer =>
      Buffer.concat([
        Buffer.from([0x0a, 1, 0x7a, 0x10, Number(main), 0x18, Number(main), 0x20, 1, 0x2a]),
        Buffer.from(varintBytes(BigInt(length))),
        Buffer.alloc(length, 0x61),
      ]);
    for (const length of [5_000, 9_000_000]) {
      const records = [...big.records, { key: encodeRevision({ main, sub: 0n, tombstone: false }), value: value(length) }];
      const file = boltFile({ key: records.map((each) => [each.key, each.value] as const), meta: [] }, { pageSize: 4096 });
      const examined = await examine(file.bytes, { pieces: [2 ** 20] });
      expect(examined.recordCount).toBe(records.length);
      expect(await examined.hashKv(-1n, signal)).toBe(await hashKv(sourceOf(records), { revision: main, compactRevision: -1n }));
    }
  });

  test('an empty store is sound', async () => {
    const file = boltFile({ key: [], meta: [] }, { inlineBytes: 0 });
    const examined = await examine(file.bytes);
    expect([examined.recordCount, examined.keyCount]).toEqual([0, 0]);
    expect(await examined.hashKv(-1n, signal)).toBe(naiveHashKv([], 1n, -1n));
  });

  test('files of the other byte order are read', async () => {
    const entries = history.records.map(({ key, value }) => [key, value] as const);
    const file = boltFile({ key: entries, meta: metaOf(history) }, { bigEndian: true, inlineBytes: 0 });
    const examined = await examine(file.bytes);
    expect(examined.recordCount).toBe(history.records.length);
    expect(await examined.hashKv(history.compactRevision, signal)).toBe(
      naiveHashKv(history.records, history.revision, history.compactRevision),
    );
  });

  test('the mark of a raised revision is one more key, and what lies below it counts as before', async () => {
    const mark = { key: encodeRevision({ main: 1000n, sub: 0n, tombstone: false }), value: Buffer.alloc(0) };
    const records = [...history.records, mark];
    // A restore schedules the compaction that is to remove what it raised.
    const meta = [...metaOf(history).filter(([name]) => name === 'finishedCompactRev'), ['scheduledCompactRev', mark.key] as const];
    const file = boltFile({ key: records.map((each) => [each.key, each.value] as const), meta }, { inlineBytes: 0 });
    const examined = await examine(file.bytes);
    expect(examined.keyCount).toBe(stateAt(history.changes, history.revision).size + 1);
    expect(await examined.hashKv(1000n, signal)).toBe(naiveHashKv(records, 1000n, 1000n));
    // Above the compact revision such a record is none that etcd writes.
    const alone = boltFile({ key: records.map((each) => [each.key, each.value] as const), meta: metaOf(history) }, { inlineBytes: 0 });
    await expect(examine(alone.bytes)).rejects.toMatchObject({ code: 'history-broken' });
  });
});

describe('damage', () => {
  const random = seeded(5);
  const history = randomHistory({ random, steps: 120, keys: 8, compaction: 'finished' });
  const { bytes, live } = fileOf(history, random);
  /** Of all records: those that do not count any more may be damaged without changing the hash of a cluster that compacted. */
  const sound = naiveHashKv(history.records, history.revision, -1n);

  test('fuzz: a flipped bit in a page that is in use is found, or changes the hash', async () => {
    for (let round = 0; round < 100; round += 1) {
      const damaged = Buffer.from(bytes);
      const page = live[random.below(live.length)]!;
      // Of what is used of the page: the rest means nothing.
      const offset = random.below(Math.min(1024, usedOf(bytes, page)));
      damaged[page * 1024 + offset]! ^= 1 << random.below(8);
      const outcome = await examine(damaged)
        .then((examined) => examined.hashKv(-1n, signal))
        .catch((error: unknown) => error);
      if (outcome instanceof WardenError) continue;
      expect(outcome, `round ${round}: page ${page}, byte ${offset}`).not.toBeInstanceOf(Error);
      if (isRecords(bytes, page)) expect(outcome, `round ${round}: page ${page}, byte ${offset}`).not.toBe(sound);
    }
  });

  test('fuzz: cut, spliced and scrambled files end with an error of ours or with figures', async () => {
    for (let round = 0; round < 40; round += 1) {
      const damaged = Buffer.from(bytes);
      const [from, to, length] = [random.below(bytes.length), random.below(bytes.length), random.below(3000)];
      if (round % 3 === 0) damaged.copyWithin(to, from, from + length);
      else if (round % 3 === 1) random.fill(damaged.subarray(from, from + length));
      const cut = round % 5 === 0 ? damaged.subarray(0, from) : damaged;
      const outcome = await examine(cut)
        .then((examined) => examined.hashKv(-1n, signal))
        .catch((error: unknown) => error);
      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(WardenError);
    }
  });

  test('pages that all claim the whole file cost no more than a few passes over it', async () => {
    const pageSize = 4096;
    const pages = 1500;
    const hostile = Buffer.alloc(pages * pageSize);
    const file = boltFile({ key: [], meta: [] }, { pageSize });
    file.bytes.copy(hostile);
    for (let page = file.bytes.length / pageSize; page < pages; page += 1) {
      const at = page * pageSize;
      hostile.writeUInt32LE(page, at);
      hostile.writeUInt16LE(2, at + 8);
      hostile.writeUInt16LE(1, at + 10);
      hostile.writeUInt32LE(pages - page - 1, at + 12);
    }
    for (const meta of [0, 1]) {
      hostile.writeBigUInt64LE(BigInt(pages), meta * pageSize + 16 + 40);
      hostile.writeBigUInt64LE(fnv1a64(hostile.subarray(meta * pageSize + 16, meta * pageSize + 16 + 56)), meta * pageSize + 16 + 56);
    }
    expect((await examine(hostile)).recordCount).toBe(0);
  });
});
