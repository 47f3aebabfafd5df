import { describe, expect, test } from 'vitest';
import { seedBackup } from '../../test/support/backups.ts';
import { LINEAGE_ONE, LINEAGE_TWO, sampleRestore, seededBytes } from '../../test/support/manifests.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { announceRestore, holdBackup, releaseBackup, writeAcceptance, writeCheck, type FactContext } from './facts.ts';
import { readCatalog } from './read.ts';

const { signal } = new AbortController();
const random = seededBytes(11);

function at(time: string): FactContext {
  return { tool: 'etcd-warden 0.1.0', now: new Date(`2026-11-22T${time}:00.000Z`), random, signal };
}

describe('facts', () => {
  test('a hold pins a backup and a release unpins it, on every store under the same name', async () => {
    const stores = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup(stores);
    await holdBackup(stores, manifest, 'before upgrade', at('11:00'));
    const held = await readCatalog(stores, 'prod', { signal });
    expect(held.backups[0]!.held).toBe('before upgrade');
    expect([...stores[0]!.objects.keys()]).toEqual([...stores[1]!.objects.keys()]);
    const released = await releaseBackup(stores, held, held.backups[0]!, at('11:01'));
    expect(released).toMatchObject({ outcomes: [{ error: undefined }, { error: undefined }], releasedGeneration: undefined });
    expect((await readCatalog(stores, 'prod', { signal })).backups[0]!.held).toBeUndefined();
  });

  test('a hold needs no reason', async () => {
    const stores = [memoryStore('local')];
    await holdBackup(stores, seedBackup(stores), '', at('11:00'));
    expect((await readCatalog(stores, 'prod', { signal })).backups[0]!.held).toBe('no reason given');
  });

  test('two checks of the same millisecond lie side by side', async () => {
    const stores = [memoryStore('local')];
    const { id } = seedBackup(stores);
    for (const outcome of ['ok', 'failed'] as const)
      await writeCheck(stores, 'prod', { kind: 'verify', id, store: 'local', level: 'stored', outcome }, at('11:00'));
    expect((await readCatalog(stores, 'prod', { signal })).backups[0]!.copies[0]).toMatchObject({ check: { outcome: 'failed' } });
  });

  test('one store that fails does not keep the fact from the others; all of them do', async () => {
    const stores = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup(stores);
    stores[1]!.fail('put', new Error('403'));
    expect(await holdBackup(stores, manifest, '', at('11:00'))).toMatchObject([
      { error: undefined },
      { store: 's3', error: { message: '403' } },
    ]);
    stores[0]!.fail('put', new Error('disk full'));
    await expect(holdBackup(stores, manifest, '', at('11:01'))).rejects.toThrow('disk full');
    await expect(holdBackup(stores, manifest, '', { ...at('11:01'), signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow(
      'stop',
    );
  });

  test('releasing the newest verified backup of an earlier generation releases that generation', async () => {
    const stores = [memoryStore('local')];
    seedBackup(stores, { time: '2026-11-22T08:00:00.000Z' });
    seedBackup(stores, { time: '2026-11-22T09:00:00.000Z' });
    seedBackup(stores, { time: '2026-11-22T10:00:00.000Z', lineage: LINEAGE_TWO });
    const catalog = await readCatalog(stores, 'prod', { signal });
    expect((await releaseBackup(stores, catalog, catalog.backups[0]!, at('11:00'))).releasedGeneration).toBeUndefined();
    expect((await releaseBackup(stores, catalog, catalog.backups[1]!, at('11:00'))).releasedGeneration).toBe(LINEAGE_ONE);
    expect((await readCatalog(stores, 'prod', { signal })).generations).toMatchObject([
      { released: true },
      { released: false, accepted: false },
    ]);
  });

  test('the record of a restore lies in every store, and accepts the generation that begins with its cluster', async () => {
    const stores = [memoryStore('local'), memoryStore('s3')];
    seedBackup(stores, { time: '2026-11-22T09:00:00.000Z' });
    const restore = sampleRestore({ clusterId: 'b' });
    expect(await announceRestore(stores, restore, at('10:00'))).toMatchObject([{ store: 'local' }, { store: 's3' }]);
    seedBackup(stores, { time: '2026-11-22T11:00:00.000Z', lineage: LINEAGE_TWO, clusterId: 'b' });
    const catalog = await readCatalog([stores[1]!], 'prod', { signal });
    expect(catalog.acceptances).toMatchObject([{ kind: 'restore', lineage: LINEAGE_ONE, restore }]);
    expect(catalog.generations.map(({ accepted }) => accepted)).toEqual([true, true]);
  });

  test('a restore from a file is announced only where somebody names the cluster', async () => {
    const stores = [memoryStore('local')];
    const restore = sampleRestore({ source: { databaseSha256: 'b'.repeat(64) } });
    expect(await announceRestore(stores, restore, at('10:00'))).toEqual([]);
    expect(stores[0]!.objects.size).toBe(0);
    await announceRestore(stores, restore, at('10:00'), 'prod');
    expect((await readCatalog(stores, 'prod', { signal })).acceptances).toMatchObject([{ lineage: '0'.repeat(16), restore }]);
  });

  test('accepting a generation is seen by the next reading', async () => {
    const stores = [memoryStore('local')];
    seedBackup(stores, { time: '2026-11-22T09:00:00.000Z' });
    seedBackup(stores, { time: '2026-11-22T10:00:00.000Z', lineage: LINEAGE_TWO, clusterId: 'b' });
    await writeAcceptance(stores, 'prod', { kind: 'accept', lineage: LINEAGE_TWO, clusterId: 'b', reason: 'moved' }, at('11:00'));
    const catalog = await readCatalog(stores, 'prod', { signal });
    expect(catalog.generations.map(({ accepted }) => accepted)).toEqual([true, true]);
    expect(catalog.acceptances).toMatchObject([{ kind: 'accept', reason: 'moved' }]);
  });
});
