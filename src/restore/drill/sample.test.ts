import { describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../../test/support/bolt-file.ts';
import { seeded } from '../../../test/support/random.ts';
import { randomHistory, recordsOf, type Change } from '../../../test/support/records.ts';
import type { KeyValue } from '../../mvcc/key-value.ts';
import { sampleRecords } from './sample.ts';

const signal = new AbortController().signal;

async function sample(changes: readonly Change[], count: number): Promise<KeyValue[]> {
  return Array.fromAsync(sampleRecords(inMemory(boltFile({ key: recordsOf(changes) }).bytes), count, signal));
}

const put = (main: number, sub = 0, tombstone = false): Change => ({
  key: Buffer.from(`k${main}.${sub}`),
  main: BigInt(main),
  sub: BigInt(sub),
  tombstone,
  createRevision: BigInt(main),
  version: 1n,
  lease: 0n,
  value: Buffer.from(`v${main}.${sub}`),
});

describe('a sample of a backup', () => {
  test('holds no record twice, none that is not there and none that deletes; and is the same each time', async () => {
    const keys = Array.from({ length: 40 }, (_, i) => Buffer.from(`key-${i}`));
    const changes = randomHistory(seeded(3), { keys, transactions: 150 });
    const found = await sample(changes, 30);
    expect(found).toHaveLength(30);
    const name = ({ key, modRevision }: KeyValue): string => `${key.toString()} ${modRevision}`;
    expect(new Set(found.map(name)).size).toBe(30);
    const puts = new Map(
      changes.filter(({ tombstone }) => !tombstone).map((change) => [`${change.key.toString()} ${change.main}`, change]),
    );
    for (const record of found) expect(puts.get(name(record))?.value.equals(record.value)).toBe(true);
    expect(await sample(changes, 30)).toEqual(found);
  });

  test('lies over the whole of it, and a larger one contains the smaller', async () => {
    const changes = Array.from({ length: 800 }, (_, i) => put(2 + i));
    const [few, many] = [await sample(changes, 16), await sample(changes, 64)];
    expect(many.slice(0, 16)).toEqual(few);
    const eighths = new Set(few.map(({ modRevision }) => Math.floor(Number(modRevision) / 101)));
    expect(eighths.size).toBe(8);
  });

  test('of one transaction takes every change when asked for as many', async () => {
    const changes = Array.from({ length: 50 }, (_, sub) => put(5, sub));
    expect(await sample(changes, 50)).toHaveLength(50);
  });

  test('passes over deletions, wherever it lands', async () => {
    const changes = [put(2), ...Array.from({ length: 300 }, (_, i) => put(3 + i, 0, true)), put(303)];
    expect((await sample(changes, 9)).map(({ modRevision }) => modRevision)).toEqual([2n, 303n]);
  });

  test('is empty where there is nothing, or nothing was asked for', async () => {
    expect(await sample([], 5)).toEqual([]);
    expect(await sample([put(2, 0, true)], 5)).toEqual([]);
    expect(await sample([put(2)], 0)).toEqual([]);
    await expect(Array.fromAsync(sampleRecords(inMemory(boltFile({ meta: [] }).bytes), 1, signal))).rejects.toThrow('no bucket key');
    const foreign = inMemory(boltFile({ key: [['x', 'y']] }).bytes);
    await expect(Array.fromAsync(sampleRecords(foreign, 1, signal))).rejects.toThrow('not a revision');
  });

  test('leaves out the empty record of etcdutl --bump-revision', async () => {
    const [key, value] = recordsOf([put(2)])[0]!;
    const bumped = boltFile({
      key: [
        [key, value],
        [recordsOf([put(1_000_000_002)])[0]![0], Buffer.alloc(0)],
      ],
    });
    expect(await Array.fromAsync(sampleRecords(inMemory(bumped.bytes), 5, signal))).toHaveLength(1);
  });
});
