import { describe, expect, test } from 'vitest';
import { boltFile, type Entries, inMemory } from '../../test/support/bolt-file.ts';
import { openBolt } from '../boltdb/bolt.ts';
import { recordsOf } from './records.ts';
import { encodeRevision, isRevision, isTombstone, mainOf } from './revision.ts';
import type { RecordSource } from './source.ts';

const revision = (main: number, sub = 0, tombstone = false): Buffer => encodeRevision({ main: BigInt(main), sub: BigInt(sub), tombstone });

async function sourceOf(buckets: Record<string, Entries>): Promise<RecordSource> {
  return recordsOf(await openBolt(inMemory(boltFile(buckets).bytes)));
}

async function mains(source: RecordSource, from?: bigint): Promise<bigint[]> {
  const found: bigint[] = [];
  for await (const batch of source.records({ from })) found.push(...batch.map(({ key }) => mainOf(key)));
  return found;
}

describe('the records of a database', () => {
  const entries: Entries = Array.from({ length: 100 }, (_, i) => [revision(2 + (i >> 1), i & 1, i % 5 === 0), `value ${i}`] as const);

  test('come in the order of their revisions, from where one wants them, as often as one wants', async () => {
    const source = await sourceOf({ key: entries, meta: [] });
    const all = entries.map((_, i) => BigInt(2 + (i >> 1)));
    expect(await mains(source)).toEqual(all);
    expect(await mains(source, 30n)).toEqual(all.filter((main) => main >= 30n));
    expect(await mains(source, 0n)).toEqual(all);
    expect(await mains(source, 52n)).toEqual([]);
  });

  test('a pass ends with its signal', async () => {
    const source = await sourceOf({ key: entries, meta: [] });
    const pass = source.records({ signal: AbortSignal.abort(new Error('enough')) })[Symbol.asyncIterator]();
    await expect(pass.next()).rejects.toThrow('enough');
  });

  test('a database without them, and one whose keys are no revisions, are refused by name', async () => {
    await expect(sourceOf({ meta: [] })).rejects.toThrow(/no bucket key/);
    const bad = await sourceOf({ key: [...entries, ['hello', 'x']], meta: [] });
    await expect(mains(bad)).rejects.toMatchObject({
      code: 'not-etcd',
      message: expect.stringContaining('of 5 bytes, is not a revision') as string,
    });
  });
});

test('a revision is recognised without being read', () => {
  expect(isRevision(revision(7, 3))).toBe(true);
  expect(isRevision(revision(7, 3, true))).toBe(true);
  expect([isTombstone(revision(7)), isTombstone(revision(7, 0, true))]).toEqual([false, true]);
  const negativeMain = Buffer.from(revision(7)).fill(0xff, 0, 1);
  const negativeSub = Buffer.from(revision(7)).fill(0xff, 9, 10);
  const wrongMark = Buffer.concat([revision(7), Buffer.from('x')]);
  const noSeparator = revision(7).fill(0, 8, 9);
  for (const bad of [Buffer.alloc(0), Buffer.alloc(19), negativeMain, negativeSub, wrongMark, noSeparator])
    expect(isRevision(bad)).toBe(false);
});
