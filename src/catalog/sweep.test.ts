import { describe, expect, test } from 'vitest';
import { keyOfData, keyOfManifest, seedAcceptance, seedBackup, seedCheck } from '../../test/support/backups.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { encodeManifest } from '../format/manifest.ts';
import { readCatalog } from './read.ts';
import { sweepCluster, type SweepResult } from './sweep.ts';

const { signal } = new AbortController();
const now = new Date('2026-11-24T00:00:00.000Z');
const graceMs = 86_400_000;
const OLD = '2026-11-22T08:00:00.000Z';
const LATER = '2026-11-22T10:00:00.000Z';
const YOUNG = '2026-11-23T10:00:00.000Z';

async function sweep(store: MemoryStore, others: readonly MemoryStore[] = []): Promise<SweepResult> {
  const catalog = await readCatalog([store, ...others], 'prod', { signal });
  return await sweepCluster(store, { catalog, graceMs, now, signal });
}

/** A backup whose manifest never came, or was taken away first. */
function seedLeftover(store: MemoryStore, time: string): string {
  const manifest = seedBackup([store], { time });
  store.objects.delete(keyOfManifest(manifest));
  return keyOfData(manifest);
}

describe('the sweep', () => {
  test('removes data without a manifest and checks without a backup, and reports what the store swept', async () => {
    const store = memoryStore('local');
    const leftover = seedLeftover(store, OLD);
    const index = leftover.replace('.db.', '.index.');
    store.objects.set(index, { body: Buffer.from('x'), modified: new Date(OLD) });
    const check = seedCheck([store], { id: '20261122T070000000Z-k3f9qa', kind: 'hold', time: OLD });
    seedBackup([store], { time: LATER });
    store.leftovers = [{ what: 'temporary-file', name: '.tmp/1' }];
    const before = store.objects.size;
    expect(await sweep(store)).toEqual({
      removed: [leftover, index, check],
      kept: [],
      store: { removed: [{ what: 'temporary-file', name: '.tmp/1' }] },
    });
    expect(store.objects.size).toBe(before - 3);
    expect((await sweep(store)).removed).toEqual([]);
  });

  test('a key index that is all that is left goes, one beside its backup stays, and so does one that was just built', async () => {
    const store = memoryStore('local');
    const indexOf = (data: string): string => data.replace('.db.', '.index.');
    const put = (key: string, time: string): string => (store.objects.set(key, { body: Buffer.from('x'), modified: new Date(time) }), key);
    const leftover = seedLeftover(store, OLD);
    store.objects.delete(leftover);
    const orphan = put(indexOf(leftover), OLD);
    const young = put(indexOf(leftover).replace(/\d{9}Z/, '080000001Z'), YOUNG);
    const own = put(indexOf(keyOfData(seedBackup([store], { time: LATER }))), LATER);
    expect((await sweep(store)).removed).toEqual([orphan]);
    for (const key of [young, own]) expect(store.objects.has(key)).toBe(true);
  });

  test('leaves alone what is younger than the grace period, by its name or by its time', async () => {
    const store = memoryStore('local');
    seedBackup([store], { time: '2026-11-23T23:00:00.000Z' });
    seedLeftover(store, YOUNG);
    store.objects.set(seedLeftover(store, OLD), { body: Buffer.from('still copied'), modified: new Date(YOUNG) });
    seedCheck([store], { id: '20261122T070000000Z-k3f9qa', kind: 'hold', time: YOUNG });
    expect((await sweep(store)).removed).toEqual([]);
  });

  test('never removes what it did not make', async () => {
    const store = memoryStore('local');
    seedBackup([store], { time: LATER });
    seedAcceptance([store], { time: OLD });
    for (const key of [
      'prod/20261122T080000000Z-k3f9qa.db',
      'prod/notes.txt',
      'prod/changes/1.zst',
      'prod/checks/x.json',
      'other/20261122T080000000Z-k3f9qa.db.zst',
      'snap.db',
    ]) {
      store.objects.set(key, { body: Buffer.from('x'), modified: new Date(0) });
    }
    expect((await sweep(store)).removed).toEqual([]);
  });

  test('data whose manifest cannot be read, or is of a newer schema, is spoken for, and so are its checks', async () => {
    const store = memoryStore('local');
    seedBackup([store], { time: LATER });
    for (const [time, body] of [
      [OLD, 'x'],
      ['2026-11-22T08:30:00.000Z', '{"schema":9}'],
    ] as const) {
      const manifest = seedBackup([store], { time });
      store.objects.set(keyOfManifest(manifest), { body: Buffer.from(body), modified: new Date(time) });
      seedCheck([store], { id: manifest.id, kind: 'hold', time });
    }
    expect((await sweep(store)).removed).toEqual([]);
  });

  test('data without a manifest goes only when a newer verified backup lies on the same store', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    seedLeftover(local, OLD);
    seedBackup([s3], { time: LATER });
    expect((await sweep(local, [s3])).removed).toEqual([]);
    const { id } = seedBackup([local], { time: LATER });
    seedCheck([local], { id, kind: 'verify', outcome: 'failed' });
    expect((await sweep(local, [s3])).removed).toEqual([]);
  });

  test('checks stay while their backup is on any store, or a store does not answer', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const elsewhere = seedBackup([s3], { time: OLD });
    const unreadable = seedBackup([s3], { time: LATER });
    s3.objects.set(keyOfManifest(unreadable), { body: Buffer.from('x'), modified: new Date(OLD) });
    s3.objects.set('prod/notes.txt', { body: Buffer.from('foreign'), modified: new Date(OLD) });
    for (const { id } of [elsewhere, unreadable]) seedCheck([local], { id, kind: 'hold', time: OLD });
    expect((await sweep(local, [s3])).removed).toEqual([]);
    s3.fail('list', new Error('timeout'));
    expect((await sweep(local, [s3])).removed).toEqual([]);
    s3.heal();
    s3.objects.clear();
    expect((await sweep(local, [s3])).removed).toHaveLength(2);
  });

  test('a backup that is published while the sweep runs keeps its data', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store], { time: OLD });
    store.objects.delete(keyOfManifest(manifest));
    seedBackup([store], { time: LATER });
    const catalog = await readCatalog([store], 'prod', { signal });
    const list = store.list.bind(store);
    store.list = async function* (prefix, options) {
      yield* list(prefix, options);
      store.objects.set(keyOfManifest(manifest), { body: encodeManifest(manifest), modified: now });
    };
    expect((await sweepCluster(store, { catalog, graceMs, now, signal })).removed).toEqual([]);
    expect(store.objects.has(keyOfData(manifest))).toBe(true);
  });

  test('what the store keeps by object lock is reported', async () => {
    const store = memoryStore('local');
    const leftover = seedLeftover(store, OLD);
    seedBackup([store], { time: LATER });
    store.lock(leftover);
    expect(await sweep(store)).toMatchObject({ removed: [], kept: [{ key: leftover, reason: 'object lock' }] });
  });
});
