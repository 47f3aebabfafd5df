import { describe, expect, test } from 'vitest';
import { memoryScratch, type ModelHistory, naiveHashKv, randomHistory, sourceOf } from '../../test/support/history.ts';
import { type Random, seeded } from '../../test/support/random.ts';
import { digestKey, type KeyDigest } from './digest.ts';
import { hashKv } from './hash-kv.ts';
import { encodeKeyValue } from './key-value.ts';
import { encodeRevision } from './revision.ts';
import type { RawRecord } from './source.ts';

const compactions = ['none', 'finished', 'unfinished'] as const;

/** Pairs (R, C) that a member could answer with, C = -1 where nothing was compacted: the outermost and some between. */
function pairs(history: ModelHistory, random: Random): [bigint, bigint][] {
  const all: [bigint, bigint][] = [];
  for (let r = history.compactRevision; r <= history.revision; r += 1n)
    for (let c = history.compactRevision === 0n ? -1n : history.compactRevision; c <= r; c += 1n) all.push([r, c]);
  return all.filter((_, i) => i === 0 || i === all.length - 1 || random.below(all.length) < 10);
}

describe.each(compactions)('HashKV, compaction: %s', (compaction) => {
  test('property: what the definition says, at revisions and compact revisions of random histories', async () => {
    const random = seeded(40);
    for (let round = 0; round < 8; round += 1) {
      const history = randomHistory({ random, steps: 4 + random.below(16), keys: 1 + random.below(6), compaction });
      const source = sourceOf(history.records, 1 + random.below(9));
      for (const [revision, compactRevision] of pairs(history, random)) {
        const expected = naiveHashKv(history.records, revision, compactRevision);
        const options = { revision, compactRevision, compactionFinished: history.compactionFinished };
        expect(await hashKv(source, options), `round ${round}, R=${revision} C=${compactRevision}`).toBe(expected);
      }
      // Without knowing what the source's own compaction left behind, more is remembered and the same comes out.
      const last = { revision: history.revision, compactRevision: history.compactRevision };
      expect(await hashKv(source, last)).toBe(naiveHashKv(history.records, last.revision, last.compactRevision));
    }
  });

  test('property: the same through scratch files, when nothing fits into memory', async () => {
    const random = seeded(41);
    for (let round = 0; round < 4; round += 1) {
      const history = randomHistory({ random, steps: 10 + random.below(40), keys: 1 + random.below(20), compaction });
      const { revision, compactionFinished } = history;
      const middle = revision - (revision - history.compactRevision) / 2n;
      for (const compactRevision of [history.compactRevision, middle, revision]) {
        const scratch = memoryScratch();
        const options = { revision, compactRevision, compactionFinished, scratch, limitBytes: 0, seed: round };
        expect(await hashKv(sourceOf(history.records), options)).toBe(naiveHashKv(history.records, revision, compactRevision));
        expect(scratch.open()).toBe(0);
        if (compactRevision > 0n && compactRevision < revision) expect(scratch.made()).toBeGreaterThan(0);
      }
    }
  });
});

describe('HashKV', () => {
  const history = randomHistory({ random: seeded(42), steps: 60, keys: 30 });
  const source = sourceOf(history.records);
  const at = { revision: history.revision, compactRevision: history.revision - 4n };
  const expected = naiveHashKv(history.records, at.revision, at.compactRevision);

  test('of more changed keys than the first tables hold', async () => {
    const put = (main: number, key: string, created: number, version: bigint): RawRecord => ({
      key: encodeRevision({ main: BigInt(main), sub: 0n, tombstone: false }),
      value: encodeKeyValue({
        key: Buffer.from(key),
        createRevision: BigInt(created),
        modRevision: BigInt(main),
        version,
        value: Buffer.alloc(0),
        lease: 0n,
        unknown: [],
      }),
    });
    const keys = 2000;
    const records = Array.from({ length: keys }, (_, i) => put(2 + i, `k${i}`, 2 + i, 1n));
    for (let i = 0; i < keys; i += 2) records.push(put(2 + records.length, `k${i}`, 2 + i, 2n));
    const [revision, compactRevision] = [BigInt(1 + records.length), BigInt(1 + keys)];
    const whole = naiveHashKv(records, revision, compactRevision);
    for (const compactionFinished of [0n, compactRevision])
      expect(await hashKv(sourceOf(records, 100), { revision, compactRevision, compactionFinished })).toBe(whole);
  });

  test('another seed gives the same hash', async () => {
    for (const seed of [0, 1, 0xffffffff, 0x12345678]) expect(await hashKv(source, { ...at, seed })).toBe(expected);
  });

  test('keys that share a digest spoil it, and a second seed heals it', async () => {
    // With seed 1 all keys are one; with another they are what they are.
    const weak: KeyDigest = (key, seed, out) => (seed === 1 ? out.fill(7) : digestKey(key, seed, out));
    expect(await hashKv(source, { ...at, seed: 1, digest: weak })).not.toBe(expected);
    expect(await hashKv(source, { ...at, seed: 2, digest: weak })).toBe(expected);
    for (const limitBytes of [0, undefined])
      expect(await hashKv(source, { ...at, seed: 2, digest: weak, limitBytes, scratch: memoryScratch() })).toBe(expected);
  });

  test('a compaction that left more than it says spoils it, and assuming none of it heals it', async () => {
    const random = seeded(45);
    let spoiled = 0;
    for (let round = 0; round < 12; round += 1) {
      const { records, revision, compactRevision } = randomHistory({ random, steps: 30, keys: 12, compaction: 'unfinished' });
      const expected = naiveHashKv(records, revision, compactRevision);
      const lied = await hashKv(sourceOf(records), { revision, compactRevision, compactionFinished: compactRevision });
      if (lied !== expected) spoiled += 1;
      expect(await hashKv(sourceOf(records), { revision, compactRevision })).toBe(expected);
    }
    expect(spoiled).toBeGreaterThan(5);
  });

  test('without a live key, leftovers of a compaction count, but no tombstone at its revision', async () => {
    const random = seeded(43);
    let met = 0;
    for (let round = 0; round < 60 && met < 5; round += 1) {
      const small = randomHistory({ random, steps: 6, keys: 1, compaction: 'unfinished' });
      if (small.changes.at(-1)!.record !== undefined) continue;
      const compactRevision = small.revision; // on the tombstone itself
      const options = { revision: small.revision, compactRevision, compactionFinished: small.compactionFinished };
      expect(await hashKv(sourceOf(small.records), options)).toBe(naiveHashKv(small.records, small.revision, compactRevision));
      met += 1;
    }
    expect(met).toBe(5);
  });

  test('more records than the first bits hold, through scratch', async () => {
    const long = randomHistory({ random: seeded(44), steps: 800, keys: 12 });
    expect(long.records.length).toBeGreaterThan(1300);
    const question = { revision: long.revision, compactRevision: long.revision - 10n };
    const hash = await hashKv(sourceOf(long.records, 50), { ...question, scratch: memoryScratch(), limitBytes: 0 });
    expect(hash).toBe(naiveHashKv(long.records, question.revision, question.compactRevision));
  });

  test('an empty store has the hash of the three letters', async () => {
    expect(await hashKv(sourceOf([]), { revision: 1n, compactRevision: -1n })).toBe(naiveHashKv([], 1n, -1n));
    expect(await hashKv(sourceOf([]), { revision: 9n, compactRevision: 9n })).toBe(naiveHashKv([], 9n, 9n));
  });

  test('no member has a hash from before its compaction', async () => {
    await expect(hashKv(source, { revision: 5n, compactRevision: 6n })).rejects.toMatchObject({ code: 'revision-compacted', exitCode: 10 });
  });

  test('a broken source or an abort leaves no scratch file behind', async () => {
    for (const [limitBytes, pass] of [
      [0, 1],
      [0, 2],
      [undefined, 1],
      [undefined, 2],
    ] as const) {
      const scratch = memoryScratch();
      let passes = 0;
      const broken = {
        async *records(options?: Parameters<typeof source.records>[0]) {
          passes += 1;
          let batches = 0;
          for await (const batch of source.records(options)) {
            if (passes === pass && (batches += 1) === 3) throw new Error('gone');
            yield batch;
          }
        },
      };
      await expect(hashKv(broken, { ...at, scratch, limitBytes })).rejects.toThrow('gone');
      expect(scratch.open()).toBe(0);
    }
    const aborted = { ...at, signal: AbortSignal.abort(new Error('enough')) };
    await expect(hashKv(source, aborted)).rejects.toThrow('enough');
    await expect(hashKv(source, { ...aborted, compactRevision: 0n })).rejects.toThrow('enough');
  });
});
