import { describe, expect, test } from 'vitest';
import { keyOfData, keyOfManifest, seedBackup, seedCheck } from '../../test/support/backups.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { readCatalog } from './read.ts';
import { removeBackup } from './remove.ts';

const { signal } = new AbortController();

describe('removing a backup from a store', () => {
  test('takes the manifest first, then the data, then the checks, and nothing of its neighbours', async () => {
    const store = memoryStore('local');
    const neighbour = seedBackup([store], { time: '2026-11-22T10:00:00.000Z' });
    const manifest = seedBackup([store], { time: '2026-11-22T11:00:00.000Z' });
    const check = seedCheck([store], { id: manifest.id, kind: 'hold' });
    store.objects.set(`prod/${manifest.id}.txt`, { body: Buffer.from('foreign'), modified: new Date() });
    const before = store.objects.size;
    const removal = await removeBackup(store, 'prod', manifest.id, { signal });
    expect(removal).toEqual({ outcome: 'removed', removed: [keyOfManifest(manifest), keyOfData(manifest), check], kept: [] });
    expect(store.objects.size).toBe(before - 3);
    expect((await readCatalog([store], 'prod', { signal })).backups.map(({ id }) => id)).toEqual([neighbour.id]);
  });

  test('a failure after the manifest leaves a backup that is not listed any more', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    store.fail('delete', new Error('503'), '.db.zst');
    await expect(removeBackup(store, 'prod', manifest.id, { signal })).rejects.toThrow('503');
    expect(await readCatalog([store], 'prod', { signal })).toMatchObject({ backups: [], oddities: [{ kind: 'data-without-manifest' }] });
    store.heal();
    expect(await removeBackup(store, 'prod', manifest.id, { signal })).toMatchObject({ outcome: 'absent', removed: [keyOfData(manifest)] });
    expect(await removeBackup(store, 'prod', manifest.id, { signal })).toEqual({ outcome: 'absent', removed: [], kept: [] });
  });

  test('fault 38: what the store keeps by object lock stays whole, with its date', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    const until = new Date('2027-01-01T00:00:00.000Z');
    store.lock(keyOfManifest(manifest), until);
    expect(await removeBackup(store, 'prod', manifest.id, { signal })).toEqual({
      outcome: 'kept',
      removed: [],
      kept: [{ key: keyOfManifest(manifest), until, reason: 'object lock' }],
    });
    expect((await readCatalog([store], 'prod', { signal })).backups[0]!.state).toBe('complete');
  });

  test('data that alone is locked is reported and left to a later sweep', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    store.lock(keyOfData(manifest));
    expect(await removeBackup(store, 'prod', manifest.id, { signal })).toMatchObject({
      outcome: 'removed',
      kept: [{ key: keyOfData(manifest), until: undefined }],
    });
  });
});
