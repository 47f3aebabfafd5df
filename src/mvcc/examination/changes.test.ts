import { describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../../test/support/bolt-file.ts';
import { memoryScratch, sourceOf } from '../../../test/support/history.ts';
import { seeded } from '../../../test/support/random.ts';
import { scatter } from '../../../test/support/scatter.ts';
import { hashKv } from '../hash-kv.ts';
import { encodeKeyValue } from '../key-value.ts';
import { encodeRevision } from '../revision.ts';
import type { RawRecord } from '../source.ts';
import { createExamination } from './examination.ts';

const { signal } = new AbortController();

function put(main: number, key: string, created: number, version: number): RawRecord {
  const [createRevision, modRevision] = [BigInt(created), BigInt(main)];
  return {
    key: encodeRevision({ main: BigInt(main), sub: 0n, tombstone: false }),
    value: encodeKeyValue({
      key: Buffer.from(key),
      createRevision,
      modRevision,
      version: BigInt(version),
      value: Buffer.from('v'),
      lease: 0n,
      unknown: [],
    }),
  };
}

function remove(main: number, key: string): RawRecord {
  const none = { createRevision: 0n, modRevision: 0n, version: 0n, value: Buffer.alloc(0), lease: 0n, unknown: [] };
  return {
    key: encodeRevision({ main: BigInt(main), sub: 0n, tombstone: true }),
    value: encodeKeyValue({ key: Buffer.from(key), ...none }),
  };
}

/** @returns keys that live, or the error: the same with tables in memory and in scratch files */
async function verdict(records: readonly RawRecord[], compacted: number): Promise<number | Error> {
  const mark = encodeRevision({ main: BigInt(compacted), sub: 0n, tombstone: false });
  const { bytes } = boltFile(
    {
      key: records.map(({ key, value }) => [key, value] as const),
      meta: compacted === 0 ? [] : [['finishedCompactRev', mark] as const, ['scheduledCompactRev', mark] as const],
    },
    { inlineBytes: 0, fanout: 2 },
  );
  const found: (number | Error)[] = [];
  for (const foldBytes of [undefined, 0]) {
    const scratch = memoryScratch();
    const examination = await createExamination({ scratch, foldBytes, seed: 4 });
    examination.write(bytes);
    found.push(
      await examination.finish(inMemory(bytes), signal).then(
        ({ keyCount }) => keyCount,
        (error: unknown) => error as Error,
      ),
    );
    await examination.close();
    expect(scratch.open()).toBe(0);
  }
  expect(found[1]).toEqual(found[0]);
  return found[0]!;
}

test('what was kept of records is read from scratch where it is too much for memory', async () => {
  const [keys, half] = [11_200, 5600];
  const created = Array.from({ length: keys }, (_, i) => put(2 + i, `k${i}`, 2 + i, 1));
  const changed = Array.from({ length: half }, (_, i) => put(2 + keys + i, `k${2 * i}`, 2 + 2 * i, 2));
  const records = [...created, ...changed];
  const compactRevision = BigInt(1 + keys);
  const mark = encodeRevision({ main: compactRevision, sub: 0n, tombstone: false });
  const content = { key: records.map(({ key, value }) => [key, value] as const), meta: [['finishedCompactRev', mark] as const] };
  const { bytes } = scatter(boltFile(content, { inlineBytes: 0, fanout: 50, pageSize: 4096 }), seeded(8), 3);
  const scratch = memoryScratch();
  const examination = await createExamination({ scratch, heldBytes: 0 });
  examination.write(bytes);
  const examined = await examination.finish(inMemory(bytes), signal);
  expect(scratch.made()).toBe(1);
  expect([examined.recordCount, examined.keyCount]).toEqual([keys + half, keys]);
  // Of two records beside each other one was changed later: each leaf below the compact revision is summed up record by record.
  const revision = BigInt(1 + keys + half);
  expect(await examined.hashKv(compactRevision, signal)).toBe(await hashKv(sourceOf(records), { revision, compactRevision }));
  await examination.close();
  expect(scratch.open()).toBe(0);
});

describe('what became of each key', () => {
  test.each<[string, readonly RawRecord[], number, number]>([
    [
      'keys that changed, went and came back',
      [put(2, 'a', 2, 1), put(3, 'a', 2, 2), remove(4, 'a'), put(5, 'a', 5, 1), put(6, 'b', 6, 1)],
      0,
      2,
    ],
    ['keys that are gone', [put(2, 'a', 2, 1), remove(3, 'a'), put(4, 'b', 4, 1)], 0, 1],
    ['a change of what a compaction left', [put(2, 'a', 2, 1), put(3, 'c', 3, 1), put(5, 'a', 2, 2)], 4, 2],
    ['a deletion of what a compaction left', [put(3, 'a', 2, 2), put(4, 'b', 4, 1), remove(5, 'a')], 4, 1],
    ['a tombstone that a compaction left, and the key again', [remove(4, 'a'), put(5, 'a', 5, 1)], 4, 1],
    ['a tombstone that a compaction left', [put(3, 'b', 3, 1), remove(4, 'a'), put(5, 'c', 5, 1)], 4, 2],
  ])('%s', async (_, records, compacted, living) => {
    expect(await verdict(records, compacted)).toBe(living);
  });

  test.each<[string, readonly RawRecord[], number]>([
    ['a version that is skipped', [put(2, 'a', 2, 1), put(3, 'a', 2, 3)], 0],
    ['a key that is created while it lives', [put(2, 'a', 2, 1), put(3, 'a', 3, 1)], 0],
    ['a key that goes on after its deletion', [put(2, 'a', 2, 1), remove(3, 'a'), put(4, 'a', 2, 3)], 0],
    ['another creation', [put(2, 'a', 2, 1), put(3, 'b', 3, 1), put(4, 'b', 2, 2)], 0],
    ['a key deleted twice', [put(2, 'a', 2, 1), remove(3, 'a'), remove(4, 'a')], 0],
    ['another creation than a compaction left', [put(2, 'a', 2, 1), put(5, 'a', 3, 2)], 4],
    ['a key that a compaction removed although it lived', [put(5, 'a', 2, 3)], 4],
    ['the deletion of a key that a compaction removed', [remove(5, 'a')], 4],
    ['the deletion of a key that was deleted before the compaction', [remove(4, 'a'), remove(5, 'a')], 4],
  ])('%s is found', async (_, records, compacted) => {
    expect(await verdict(records, compacted)).toMatchObject({ code: 'history-broken' });
  });
});
