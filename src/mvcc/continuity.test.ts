import { describe, expect, test } from 'vitest';
import { memoryScratch, randomHistory, sourceOf } from '../../test/support/history.ts';
import { seeded } from '../../test/support/random.ts';
import { checkContinuity } from './continuity.ts';
import { encodeKeyValue, type KeyValue } from './key-value.ts';
import { encodeRevision, parseRevision } from './revision.ts';
import type { RawRecord } from './source.ts';

function put(main: number, key: string, create: number, version: number, changes: Partial<KeyValue> = {}, sub = 0): RawRecord {
  const record = {
    createRevision: BigInt(create),
    modRevision: BigInt(main),
    version: BigInt(version),
    value: Buffer.from('v'),
    lease: 0n,
    unknown: [],
  };
  return {
    key: encodeRevision({ main: BigInt(main), sub: BigInt(sub), tombstone: false }),
    value: encodeKeyValue({ key: Buffer.from(key), ...record, ...changes }),
  };
}

function remove(main: number, key: string, sub = 0): RawRecord {
  const none = { createRevision: 0n, modRevision: 0n, version: 0n, value: Buffer.alloc(0), lease: 0n, unknown: [] };
  return {
    key: encodeRevision({ main: BigInt(main), sub: BigInt(sub), tombstone: true }),
    value: encodeKeyValue({ key: Buffer.from(key), ...none }),
  };
}

/** In memory and through scratch: the verdict is the same, and nothing stays open. */
async function verdict(records: readonly RawRecord[], compactRevision = 0): Promise<number | Error> {
  const scratch = memoryScratch();
  const check = (options: object): Promise<number | Error> =>
    checkContinuity(sourceOf(records, 3), BigInt(compactRevision), options).catch((error: Error) => error);
  const [inMemory, spilled] = [await check({}), await check({ scratch, limitBytes: 0, seed: 9 })];
  expect(spilled).toEqual(inMemory);
  expect(scratch.open()).toBe(0);
  return inMemory;
}

describe('continuity', () => {
  test.each(['none', 'finished', 'unfinished'] as const)(
    'property: histories of a sound store follow, compaction: %s',
    async (compaction) => {
      const random = seeded(60);
      for (let round = 0; round < 8; round += 1) {
        const history = randomHistory({ random, steps: 5 + random.below(60), keys: 1 + random.below(9), compaction });
        expect(await verdict(history.records, Number(history.compactRevision)), `round ${round}`).toBe(history.records.length);
      }
    },
  );

  test('property: above the compact revision no record can be missing', async () => {
    const random = seeded(61);
    for (let round = 0; round < 18; round += 1) {
      const history = randomHistory({ random, steps: 20, keys: 4, compaction: round % 2 === 0 ? 'none' : 'finished' });
      const above = history.records.filter(({ key }) => parseRevision(key)!.main > history.compactRevision);
      if (above.length < 2) continue;
      // The very last one leaves no trace: that the file reaches its revision is what the head says.
      const missing = above[random.below(above.length - 1)]!;
      const error = await verdict(
        history.records.filter((each) => each !== missing),
        Number(history.compactRevision),
      );
      const last = parseRevision(missing.key)!.main === history.revision;
      if (!last) expect(error).toMatchObject({ code: 'history-broken', exitCode: 13 });
    }
  });

  test('a key that a compaction removed although it lived is missed', async () => {
    expect(await verdict([put(3, 'a', 2, 2), put(5, 'a', 2, 3)], 4)).toBe(2);
    expect(await verdict([put(5, 'a', 2, 3)], 4)).toMatchObject({
      message: expect.stringContaining('version 3 of its key follows nothing') as string,
    });
    expect(await verdict([remove(5, 'a')], 4)).toMatchObject({
      message: expect.stringContaining('deletes a key that does not live') as string,
    });
  });

  test('a tombstone at the compact revision, a key that came back after it, and the mark of a raised revision are sound', async () => {
    expect(await verdict([remove(4, 'a'), put(5, 'a', 5, 1)], 4)).toBe(2);
    expect(
      await verdict([put(3, 'a', 3, 1), { key: encodeRevision({ main: 9n, sub: 0n, tombstone: false }), value: Buffer.alloc(0) }], 9),
    ).toBe(2);
    const far = 2 ** 60;
    const raised = { key: encodeRevision({ main: BigInt(far), sub: 0n, tombstone: false }), value: Buffer.alloc(0) };
    const next = { createRevision: 3n, modRevision: BigInt(far) + 1n };
    const after = { ...put(0, 'a', 3, 2, next), key: encodeRevision({ main: BigInt(far) + 1n, sub: 0n, tombstone: false }) };
    expect(await checkContinuity(sourceOf([put(3, 'a', 3, 1), raised]), BigInt(far))).toBe(2);
    expect(await checkContinuity(sourceOf([put(3, 'a', 3, 1), raised, after]), BigInt(far))).toBe(3);
  });

  test.each<[string, RawRecord[], number, RegExp]>([
    ['a revision that is missing', [put(2, 'a', 2, 1), put(4, 'b', 4, 1)], 0, /revision 4 .* the revision before it is 2/],
    ['a first revision that is missing', [put(3, 'a', 3, 1)], 0, /revision 3 .* the revision before it is 1/],
    ['a first revision after the compaction that is missing', [put(3, 'a', 3, 1), put(9, 'b', 9, 1)], 7, /before it is 7/],
    ['a first change that is missing', [put(2, 'a', 2, 1, {}, 1)], 0, /its first change is 1/],
    ['a change inside that is missing', [put(2, 'a', 2, 1), put(2, 'b', 2, 1, {}, 2)], 0, /change 2 of it follows change 0/],
    ['a change that stands there twice', [put(2, 'a', 2, 1), remove(2, 'b')], 0, /change 0 of it follows change 0/],
    ['one below the compaction that stands there twice', [put(2, 'a', 2, 1), remove(2, 'b')], 2, /another record of this very change/],
    ['a version that is skipped', [put(2, 'a', 2, 1), put(3, 'a', 2, 3)], 0, /version 3 of its key follows version 1/],
    ['a key that is created while it lives', [put(2, 'a', 2, 1), put(3, 'a', 3, 1)], 0, /version 1 of its key follows version 1/],
    ['a key that goes on after its deletion', [put(2, 'a', 2, 1), remove(3, 'a'), put(4, 'a', 2, 3)], 0, /version 3 .* follows nothing/],
    ['another creation', [put(2, 'a', 2, 1), put(3, 'b', 3, 1), put(4, 'b', 2, 2)], 0, /created at revision 2, the version before it at 3/],
    [
      'another creation than the compaction left',
      [put(2, 'a', 2, 1), put(5, 'a', 3, 2)],
      4,
      /created at revision 3, the version before it at 2/,
    ],
    ['a key deleted twice', [put(2, 'a', 2, 1), remove(3, 'a'), remove(4, 'a')], 0, /deletes a key that does not live/],
    ['another mod_revision', [put(2, 'a', 2, 1, { modRevision: 3n })], 0, /says that it is of revision 3/],
    ['a creation after the change', [put(2, 'a', 3, 2)], 0, /created at revision 3/],
    ['no creation', [put(2, 'a', 0, 2)], 0, /created at revision 0/],
    ['no version', [put(2, 'a', 2, 0)], 0, /version 0/],
    ['version 1 of an older key', [put(2, 'b', 2, 1), put(3, 'a', 2, 1)], 0, /version 1 of a key that was created at revision 2/],
    ['version 2 of a new key', [put(2, 'a', 2, 2)], 0, /version 2 of a key that was created at revision 2/],
    ['no key', [put(2, '', 2, 1)], 0, /no key/],
    ['a deletion without a key', [remove(2, '')], 0, /no key/],
    ['an empty value above the compact revision', [{ key: put(2, 'a', 2, 1).key, value: Buffer.alloc(0) }], 0, /no key/],
    ['a deletion with a value', [put(2, 'a', 2, 1), { key: remove(3, 'a').key, value: put(3, 'a', 2, 2).value }], 0, /more than its name/],
  ])('%s is found', async (_, records, compactRevision, why) => {
    const error = await verdict(records, compactRevision);
    expect(error).toMatchObject({ code: 'history-broken' });
    expect((error as Error).message).toMatch(why);
  });

  test('no byte of a key stands in an error', async () => {
    const error = (await verdict([put(2, 'topsecret', 2, 1), put(3, 'topsecret', 3, 1)])) as Error & { hint?: string };
    expect(`${error.message}${error.hint}`).not.toContain('topsecret');
  });

  test('a record that cannot be read, and an abort, end it', async () => {
    expect(await verdict([{ key: put(2, 'a', 2, 1).key, value: Buffer.from('ff', 'hex') }])).toMatchObject({ code: 'not-etcd' });
    await expect(checkContinuity(sourceOf([remove(2, 'a')]), 0n, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    );
  });

  test('property: whatever bit of a record is turned, only errors of ours come out', async () => {
    const random = seeded(62);
    for (let round = 0; round < 50; round += 1) {
      const history = randomHistory({ random, steps: 8, keys: 3 });
      const records = history.records.map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
      const { value } = records[random.below(records.length)]!;
      if (value.length === 0) continue;
      value[random.below(value.length)]! ^= 1 << random.below(8);
      try {
        await checkContinuity(sourceOf(records), 0n);
      } catch (error) {
        expect(['history-broken', 'not-etcd']).toContain((error as { code?: string }).code);
      }
    }
  });
});
