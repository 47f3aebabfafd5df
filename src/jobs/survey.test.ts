import { describe, expect, test } from 'vitest';
import { readCatalog } from '../catalog/read.ts';
import type { RetentionConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { seedBackup, seedCheck } from '../../test/support/backups.ts';
import { LINEAGE_TWO } from '../../test/support/manifests.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { owedTo } from './copy.ts';
import { surveyOf } from './survey.ts';

const signal = new AbortController().signal;
const now = new Date('2026-11-22T12:00:00.000Z');
const keepAll: RetentionConfig = {
  keepLast: 0,
  keepHourly: 0,
  keepDaily: 0,
  keepWeekly: 0,
  keepMonthly: 0,
  keepYearly: 0,
  keepWithinMs: 0,
  timeZone: 'UTC',
  maxRemovals: 10,
};

async function survey(stores: readonly MemoryStore[], policy = keepAll): Promise<ReturnType<typeof surveyOf>> {
  return surveyOf(
    await readCatalog(stores, 'prod', { signal }),
    stores.map(({ name }) => name),
    { policy, now },
  );
}

describe('the survey', () => {
  test('what has no proof yet and may still get one, what is proved, and who disagrees', async () => {
    const local = memoryStore('local');
    const proof = { revision: '41', compactRevision: '12', hash: 7, members: ['m2'] };
    seedBackup([local], { time: '2026-11-22T08:00:00.000Z', proof, disagreement: { members: ['m3'], reason: 'm3 differs' } });
    seedBackup([local], { time: '2026-11-22T09:00:00.000Z', unproved: { code: 'disabled', reason: 'why' } });
    const wanting = seedBackup([local], { time: '2026-11-22T10:00:00.000Z', unproved: { code: 'timeout', reason: 'why' } });
    const before = await survey([local]);
    expect(before.proof).toEqual({
      newestProvedMs: Date.parse('2026-11-22T08:00:00.000Z'),
      wanting: [{ id: wanting.id, code: 'timeout' }],
      disagreement: { members: ['m3'], reason: 'm3 differs' },
    });
    seedCheck([local], { id: wanting.id, kind: 'verify', level: 'proved', outcome: 'ok', proof });
    expect((await survey([local])).proof).toMatchObject({ newestProvedMs: Date.parse('2026-11-22T10:00:00.000Z'), wanting: [] });
  });

  test('nothing is protected where there is no backup', async () => {
    expect(await survey([memoryStore('local')])).toMatchObject({
      backups: { complete: 0, partial: 0, damaged: 0 },
      newest: undefined,
      newestComplete: undefined,
      unaccepted: undefined,
    });
  });

  test('the newest backup may be partial while an older one is the newest that is complete', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    const old = seedBackup([a, b], { time: '2026-11-22T09:00:00.000Z' });
    const young = seedBackup([a], { time: '2026-11-22T10:00:00.000Z', stores: ['a', 'b'] });
    expect(await survey([a, b])).toMatchObject({
      backups: { complete: 1, partial: 1 },
      newest: { id: young.id },
      newestComplete: { id: old.id },
      stores: [
        { store: 'a', missing: 0 },
        { store: 'b', missing: 1, newestVerifiedMs: Date.parse(old.time) },
      ],
    });
  });

  test('a copy whose check failed is verified no more', async () => {
    const a = memoryStore('a');
    const { id } = seedBackup([a]);
    seedCheck([a], { id, kind: 'verify', store: 'a', outcome: 'failed' });
    expect(await survey([a])).toMatchObject({ newestComplete: undefined, stores: [{ newestVerifiedMs: undefined }] });
  });

  test('a store that cannot be listed is named, and nothing is said to be missing there', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    seedBackup([a, b]);
    b.fail('list', new WardenError('timeout', 'no answer'));
    expect((await survey([a, b])).stores[1]).toMatchObject({ missing: 0, error: { code: 'timeout', message: 'no answer' } });
  });

  test('a generation that nobody accepted is named', async () => {
    const a = memoryStore('a');
    seedBackup([a], { time: '2026-11-22T09:00:00.000Z' });
    seedBackup([a], { time: '2026-11-22T10:00:00.000Z', lineage: LINEAGE_TWO, clusterId: 'abc', clusterIdAtEnd: 'abc' });
    expect(await survey([a])).toMatchObject({ unaccepted: { lineage: LINEAGE_TWO, clusterId: 'abc' } });
  });
});

test('what retention would remove again is not owed to a store, so copy and prune never go round in circles', async () => {
  const [a, b] = [memoryStore('a'), memoryStore('b')];
  seedBackup([a], { time: '2026-11-22T09:00:00.000Z', stores: ['a', 'b'] });
  const young = seedBackup([a, b], { time: '2026-11-22T10:00:00.000Z' });
  const catalog = await readCatalog([a, b], 'prod', { signal });
  expect(owedTo(catalog, 'b', keepAll, now)).toHaveLength(1);
  expect(owedTo(catalog, 'b', { ...keepAll, keepLast: 1 }, now)).toEqual([]);
  expect(young.id).toBe(catalog.backups.at(-1)?.id);
});
