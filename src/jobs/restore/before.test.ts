import { expect, test } from 'vitest';
import { seedAcceptance, seedBackup } from '../../../test/support/backups.ts';
import { sampleRestore } from '../../../test/support/manifests.ts';
import { memoryStore } from '../../../test/support/memory-store.ts';
import { readCatalog } from '../../catalog/read.ts';
import type { Catalog } from '../../catalog/types.ts';
import { madeBefore, type BeforeOptions } from './before.ts';

const { signal } = new AbortController();
const restore = sampleRestore();
const { clusterId } = restore;
const usual: BeforeOptions = { clusterId, attempt: 1, running: false, tokenGiven: false, now: new Date('2026-11-22T13:00:00.000Z') };

async function catalog(...what: readonly ('restored' | 'backed-up')[]): Promise<Catalog> {
  const store = memoryStore('local');
  seedBackup([store], { time: '2026-11-22T10:00:00.000Z' });
  if (what.includes('restored')) seedAcceptance([store], { kind: 'restore', time: restore.time, clusterId, restore });
  if (what.includes('backed-up')) seedBackup([store], { time: '2026-11-22T12:00:00.000Z', clusterId, clusterIdAtEnd: clusterId });
  return await readCatalog([store], 'prod', { signal });
}

test('a first restore is none that was made before', async () => {
  expect(madeBefore(await catalog(), usual)).toEqual({ notes: [] });
});

test('nor is that of the next machine, a moment later', async () => {
  expect(madeBefore(await catalog('restored'), { ...usual, now: new Date('2026-11-22T11:40:00.000Z') })).toEqual({ notes: [] });
});

test('the same again hours later is worth a word', async () => {
  expect(madeBefore(await catalog('restored'), usual).notes).toEqual([
    expect.stringContaining(
      `this restore was made before, at ${restore.time}: if any member of that cluster was ever started, --attempt 2`,
    ),
  ]);
});

test('after that cluster was backed up it is refused, unless it runs now or its token was given', async () => {
  const all = await catalog('restored', 'backed-up');
  const { refusal } = madeBefore(all, { ...usual, attempt: 4 });
  expect(refusal).toMatchObject({
    code: 'refused',
    message: expect.stringContaining(all.backups[1]!.id),
    hint: expect.stringContaining('--attempt 5'),
  });
  expect(madeBefore(all, { ...usual, running: true })).toEqual({ notes: [] });
  expect(madeBefore(all, { ...usual, tokenGiven: true })).toEqual({ notes: [] });
});
