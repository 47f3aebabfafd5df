import { describe, expect, test } from 'vitest';
import { keyOfData, keyOfManifest, seedAcceptance, seedBackup, seedCheck } from '../../test/support/backups.ts';
import { LINEAGE_ONE, LINEAGE_TWO, sampleManifest } from '../../test/support/manifests.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { encodeManifest } from '../format/manifest.ts';
import { listClusters, readCatalog } from './read.ts';
import { retentionView } from './retention-view.ts';
import type { Check, Manifest } from '../format/types.ts';
import type { Backup, Catalog } from './types.ts';

const { signal } = new AbortController();
const AT_TEN = '2026-11-22T10:00:00.000Z';
const PROOF = { revision: '41', compactRevision: '12', hash: 6, members: ['m2'] };
const NO_ROOT = { code: 'permission-denied', reason: 'the user lacks the role root' };
const AT_ELEVEN = '2026-11-22T11:00:00.000Z';

function read(...stores: MemoryStore[]): Promise<Catalog> {
  return readCatalog(stores, 'prod', { signal });
}

async function readOne(...stores: MemoryStore[]): Promise<Backup> {
  const { backups } = await read(...stores);
  expect(backups).toHaveLength(1);
  return backups[0]!;
}

function setBody(store: MemoryStore, key: string, body: Buffer | string): void {
  store.objects.set(key, { body: Buffer.from(body), modified: new Date(AT_TEN) });
}

describe('the catalog', () => {
  test('a backup that all its stores hold is complete and verified on each', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup([local, s3]);
    const backup = await readOne(local, s3);
    expect(backup).toMatchObject({
      id: manifest.id,
      cluster: 'prod',
      timeMs: Date.parse(manifest.time),
      manifest,
      state: 'complete',
      unasked: [],
      held: undefined,
    });
    expect(backup.copies).toEqual([
      { store: 'local', manifest: 'present', data: 'present', check: undefined, soundMs: {}, verified: true },
      { store: 's3', manifest: 'present', data: 'present', check: undefined, soundMs: {}, verified: true },
    ]);
  });

  test('backups come oldest first, whatever their revisions', async () => {
    const store = memoryStore('local');
    seedBackup([store], { time: AT_ELEVEN, revision: '3' });
    seedBackup([store], { time: AT_TEN, revision: '900' });
    expect((await read(store)).backups.map(({ manifest }) => manifest.revision)).toEqual(['900', '3']);
  });

  test('a backup that one of its stores lacks is partial', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    seedBackup([local], { stores: ['local', 's3'] });
    const backup = await readOne(local, s3);
    expect(backup.state).toBe('partial');
    expect(backup.copies[1]).toEqual({ store: 's3', manifest: 'missing', data: 'missing', check: undefined, soundMs: {}, verified: false });
  });

  test('a store that cannot be listed is named, holds up nobody, and lets nothing count as complete', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    seedBackup([local, s3]);
    s3.fail('list', new Error('connection refused'));
    const catalog = await read(local, s3);
    expect(catalog.unreachable).toMatchObject([{ store: 's3', error: { message: 'connection refused' } }]);
    expect(catalog.backups[0]).toMatchObject({ state: 'partial', unasked: [] });
    expect(catalog.backups[0]!.copies.map(({ store }) => store)).toEqual(['local']);
  });

  test('a store that was not asked is named and does not make a backup partial', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    seedBackup([local, s3]);
    expect(await readOne(local)).toMatchObject({ state: 'complete', unasked: ['s3'] });
  });

  test('a copy on a store that the backup was not meant for counts as a copy', async () => {
    const [local, other] = [memoryStore('local'), memoryStore('other')];
    const manifest = seedBackup([local]);
    for (const [key, object] of local.objects) other.objects.set(key, object);
    const backup = await readOne(local, other);
    expect(backup.manifest).toEqual(manifest);
    expect(backup.copies.map(({ store, verified }) => [store, verified])).toEqual([
      ['local', true],
      ['other', true],
    ]);
    expect(await readOne(other)).toMatchObject({ state: 'complete', unasked: ['local'] });
  });

  test('a suspect backup is whole but not verified', async () => {
    const store = memoryStore('local');
    seedBackup([store], { suspect: 'alarm CORRUPT on m2' });
    expect(await readOne(store)).toMatchObject({ suspect: 'alarm CORRUPT on m2', state: 'complete', copies: [{ verified: false }] });
  });

  test('a later suspicion makes a backup suspect', async () => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    seedCheck([store], { id, kind: 'suspect', reason: 'all members differ from it' });
    expect(await readOne(store)).toMatchObject({ suspect: 'all members differ from it', copies: [{ verified: false }] });
  });

  test('each store is listed once, and nothing but small objects is read', async () => {
    const store = memoryStore('local');
    for (let minute = 10; minute < 40; minute += 1) seedBackup([store], { time: `2026-11-22T10:${minute}:00.000Z` });
    await read(store);
    expect(store.calls.filter((call) => call.startsWith('list'))).toEqual(['list prod/']);
    expect(store.calls.filter((call) => call.startsWith('get') && call.includes('.db.'))).toEqual([]);
    expect(store.calls).toHaveLength(31);
  });

  test('an abort ends the reading', async () => {
    const store = memoryStore('local');
    seedBackup([store]);
    await expect(readCatalog([store], 'prod', { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
  });

  test('an object that vanishes between listing and reading is as if it had not been there', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    const check = seedCheck([store], { id: manifest.id, kind: 'hold' });
    const list = store.list.bind(store);
    store.list = async function* (prefix, options) {
      yield* list(prefix, options);
      store.objects.delete(keyOfManifest(manifest));
      store.objects.delete(check);
    };
    const catalog = await read(store);
    expect(catalog.backups).toEqual([]);
    expect(catalog.oddities.map(({ kind }) => kind)).toEqual(['data-without-manifest']);
  });
});

describe('checks', () => {
  test('a copy whose newest check failed is not verified, on that store alone', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const { id } = seedBackup([local, s3]);
    seedCheck([s3], { id, kind: 'verify', store: 's3', outcome: 'failed', reason: 'SHA-256 differs' });
    const backup = await readOne(local, s3);
    expect(backup.state).toBe('partial');
    expect(backup.copies).toMatchObject([{ verified: true }, { verified: false, check: { reason: 'SHA-256 differs' } }]);
  });

  test('a backup of which every copy failed is damaged', async () => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    seedCheck([store], { id, kind: 'verify', outcome: 'failed' });
    expect(await readOne(store)).toMatchObject({ state: 'damaged', copies: [{ verified: false }] });
  });

  test.each([
    ['a later success as deep clears a failure', 'content', 'content', true],
    ['a later success at a deeper level clears a failure', 'stored', 'content', true],
    ['a later success that looked less deep does not clear a failure', 'content', 'stored', false],
  ] as const)('%s', async (_, failed, ok, verified) => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    seedCheck([store], { id, kind: 'verify', level: failed, outcome: 'failed', time: AT_TEN });
    seedCheck([store], { id, kind: 'verify', level: ok, outcome: 'ok', time: AT_ELEVEN });
    expect((await readOne(store)).copies[0]).toMatchObject({ verified, check: { outcome: verified ? 'ok' : 'failed' } });
  });

  test('an inconclusive check changes nothing, and is shown only where there is no other', async () => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    seedCheck([store], { id, kind: 'verify', level: 'content', outcome: 'inconclusive', time: AT_ELEVEN });
    expect((await readOne(store)).copies[0]).toMatchObject({ verified: true, check: { outcome: 'inconclusive' } });
    seedCheck([store], { id, kind: 'verify', outcome: 'ok', time: AT_TEN });
    expect((await readOne(store)).copies[0]).toMatchObject({ verified: true, check: { outcome: 'ok' } });
  });

  test('of two checks of the same millisecond the failure counts', async () => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    for (const outcome of ['ok', 'failed', 'ok'] as const) seedCheck([store], { id, kind: 'verify', outcome });
    expect((await readOne(store)).copies[0]).toMatchObject({ verified: false, check: { outcome: 'failed' } });
  });

  test('the newest of hold and release counts, on whichever store it lies', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const { id } = seedBackup([local, s3]);
    seedCheck([local], { id, kind: 'hold', reason: 'before upgrade', time: AT_TEN });
    expect((await readOne(local, s3)).held).toBe('before upgrade');
    seedCheck([s3], { id, kind: 'release', time: AT_ELEVEN });
    expect((await readOne(local, s3)).held).toBeUndefined();
    seedCheck([s3], { id, kind: 'hold', time: AT_ELEVEN });
    expect((await readOne(local, s3)).held).toBe('no reason given');
  });

  test('of a check that cannot be read the worst is assumed: held, failed, suspect', async () => {
    for (const kind of ['hold', 'verify', 'suspect'] as const) {
      const store = memoryStore('local');
      const { id } = seedBackup([store]);
      const key = seedCheck([store], { id, kind });
      setBody(store, key, '{"schema":');
      const catalog = await read(store);
      expect(catalog.oddities).toMatchObject([{ key, kind: 'unreadable-check' }]);
      const backup = catalog.backups[0]!;
      if (kind === 'hold') expect(backup.held).toBe(`${key} cannot be read`);
      if (kind === 'verify') expect(backup).toMatchObject({ state: 'damaged', copies: [{ verified: false, check: undefined }] });
      if (kind === 'suspect') expect(backup.suspect).toBe(`${key} gives no reason`);
    }
  });

  test('a verify check that cannot be read is overruled by a later one', async () => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    setBody(store, seedCheck([store], { id, kind: 'verify', time: AT_TEN }), '');
    seedCheck([store], { id, kind: 'verify', time: AT_ELEVEN });
    expect((await readOne(store)).copies[0]).toMatchObject({ verified: true });
  });
});

describe('objects that are not as they should be', () => {
  test('fault 36: data truncated, missing or without its manifest is called by its name', async () => {
    const [a, b, c] = [memoryStore('a'), memoryStore('b'), memoryStore('c')];
    const manifest = seedBackup([a, b, c], {});
    setBody(a, keyOfData(manifest), 'four');
    b.objects.delete(keyOfData(manifest));
    c.objects.delete(keyOfManifest(manifest));
    const catalog = await read(a, b, c);
    expect(catalog.backups[0]).toMatchObject({
      state: 'damaged',
      copies: [
        { store: 'a', manifest: 'present', data: 'wrong-size', verified: false },
        { store: 'b', manifest: 'present', data: 'missing', verified: false },
        { store: 'c', manifest: 'missing', data: 'present', verified: false },
      ],
    });
    expect(catalog.oddities).toMatchObject([{ store: 'c', key: keyOfData(manifest), kind: 'data-without-manifest' }]);
  });

  test('fault 36: a manifest of another cluster copied in is no backup of this one', async () => {
    const store = memoryStore('local');
    const manifest = sampleManifest({ cluster: 'other' });
    const key = keyOfManifest({ ...manifest, cluster: 'prod' });
    setBody(store, key, encodeManifest(manifest));
    expect(await read(store)).toMatchObject({ backups: [], oddities: [{ key, kind: 'manifest-of-another-cluster' }] });
  });

  test('fault 36: a manifest under the name of another backup, or replaced by one, is not believed', async () => {
    const store = memoryStore('local');
    const older = seedBackup([store], { time: AT_TEN });
    const newer = seedBackup([store], { time: AT_ELEVEN });
    setBody(store, keyOfManifest(newer), encodeManifest(older));
    const catalog = await read(store);
    expect(catalog.backups.map(({ id }) => id)).toEqual([older.id]);
    expect(catalog.oddities).toMatchObject([{ key: keyOfManifest(newer), kind: 'unreadable-manifest' }]);
  });

  test('fault 36: a manifest with a flipped bit or of a newer schema is shown, its data is not called an orphan', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    const body = encodeManifest(manifest);
    body[0]! ^= 1;
    setBody(store, keyOfManifest(manifest), body);
    expect(await read(store)).toMatchObject({ backups: [], oddities: [{ kind: 'unreadable-manifest' }] });
    setBody(store, keyOfManifest(manifest), '{"schema":2}');
    expect(await read(store)).toMatchObject({ backups: [], oddities: [{ kind: 'newer-schema' }] });
    setBody(store, keyOfManifest(manifest), Buffer.alloc(70_000, 0x20));
    expect(await read(store)).toMatchObject({ backups: [], oddities: [{ kind: 'unreadable-manifest' }] });
  });

  test('a manifest that is unreadable on one store is made up for by another', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup([local, s3]);
    setBody(local, keyOfManifest(manifest), 'x');
    expect(await readOne(local, s3)).toMatchObject({
      state: 'partial',
      manifest,
      copies: [{ manifest: 'unreadable', verified: false }, { verified: true }],
    });
  });

  test('two stores that tell different stories of one backup are both not believed', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup([local, s3]);
    setBody(s3, keyOfManifest(manifest), encodeManifest({ ...manifest, compactRevision: '13' }));
    const catalog = await read(local, s3);
    expect(catalog.backups[0]).toMatchObject({ manifest, state: 'partial', copies: [{ verified: false }, { verified: false }] });
    expect(catalog.oddities).toMatchObject([{ store: 's3', kind: 'manifests-differ' }]);
  });

  test('two manifests of one backup on one store make it unreadable there', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup([local, s3]);
    const forged = { ...manifest, revision: '42' };
    setBody(local, keyOfManifest(forged), encodeManifest(forged));
    const catalog = await read(local, s3);
    expect(catalog.backups[0]!.copies[0]).toMatchObject({ manifest: 'unreadable', verified: false });
    expect(catalog.oddities).toMatchObject([{ kind: 'unreadable-manifest' }]);
  });

  test('a manifest that the store fails to give is unreadable there', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    store.fail('get', new Error('EIO: i/o error'), keyOfManifest(manifest));
    expect((await read(store)).oddities).toMatchObject([{ kind: 'unreadable-manifest', detail: 'EIO: i/o error' }]);
  });

  test('foreign objects are shown and nothing else happens to them', async () => {
    const store = memoryStore('local');
    setBody(store, 'prod/notes.txt', 'mine');
    setBody(store, 'prod/changes/00000001.zst', 'of a later version');
    expect(await read(store)).toMatchObject({ backups: [], oddities: [{ key: 'prod/notes.txt', kind: 'foreign' }] });
    expect(store.calls).toEqual(['list prod/']);
  });

  test.each<[string, Partial<Manifest>, Partial<Check> | undefined, boolean]>([
    ['proved as it was taken', { proof: PROOF }, undefined, true],
    ['opened as it was taken, although no member could be asked', { keyCount: 3, unproved: NO_ROOT }, undefined, true],
    ['opened as it was taken, and failed since', { keyCount: 3 }, { level: 'stored', outcome: 'failed' }, false],
    ['never opened', {}, undefined, false],
    ['never opened, only compared as it lies there', {}, { level: 'stored', outcome: 'ok' }, false],
    ['opened later', {}, { level: 'content', outcome: 'ok' }, true],
    ['proved later', {}, { level: 'proved', outcome: 'ok', proof: PROOF }, true],
    ['opened later, without a result', {}, { level: 'content', outcome: 'inconclusive' }, false],
  ])('a backup %s counts as verified as the promise says', async (_how, fields, check, verified) => {
    const store = memoryStore('local');
    const manifest = seedBackup([store], { keyCount: undefined, ...fields });
    if (check !== undefined) seedCheck([store], { id: manifest.id, kind: 'verify', ...check });
    expect((await readOne(store)).copies[0]!.verified).toBe(verified);
  });

  test('opening one copy says nothing of the other', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const manifest = seedBackup([local, s3], { keyCount: undefined });
    seedCheck([local], { id: manifest.id, kind: 'verify', level: 'content', outcome: 'ok' });
    expect((await readOne(local, s3)).copies.map(({ verified }) => verified)).toEqual([true, false]);
  });

  test('a look that was less deep takes nothing from an earlier one', async () => {
    const store = memoryStore('local');
    const manifest = seedBackup([store], { keyCount: undefined });
    seedCheck([store], { id: manifest.id, kind: 'verify', level: 'content', outcome: 'ok', time: AT_ELEVEN });
    seedCheck([store], { id: manifest.id, kind: 'verify', level: 'stored', outcome: 'ok', time: '2026-11-22T12:00:00.000Z' });
    expect((await readOne(store)).copies[0]!.verified).toBe(true);
  });

  test('the proof of a backup is the one that was taken with it, else the newest that was asked for later', async () => {
    const store = memoryStore('local');
    const [with_, without] = [seedBackup([store], { time: AT_TEN, proof: PROOF }), seedBackup([store], { time: AT_ELEVEN })];
    for (const { id } of [with_, without])
      for (const [minute, hash] of [
        ['10', 7],
        ['20', 8],
      ] as const)
        seedCheck([store], { id, kind: 'verify', level: 'proved', time: `2026-11-22T12:${minute}:00.000Z`, proof: { ...PROOF, hash } });
    expect((await read(store)).backups.map(({ proof }) => proof?.hash)).toEqual([PROOF.hash, 8]);
  });

  test('an acceptance that cannot be read accepts nothing', async () => {
    const store = memoryStore('local');
    seedBackup([store], { time: AT_TEN });
    seedBackup([store], { time: AT_ELEVEN, lineage: LINEAGE_TWO });
    const key = seedAcceptance([store]);
    expect((await read(store)).generations.map(({ accepted }) => accepted)).toEqual([true, true]);
    setBody(store, key, 'x');
    const catalog = await read(store);
    expect(catalog.generations.map(({ accepted }) => accepted)).toEqual([true, false]);
    expect(catalog.oddities).toMatchObject([{ key, kind: 'unreadable-check' }]);
  });

  test('the same acceptance on several stores is one', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    seedBackup([local, s3]);
    seedAcceptance([local, s3]);
    seedAcceptance([s3], { time: AT_TEN });
    expect((await read(local, s3)).acceptances.map(({ time }) => time)).toEqual([AT_TEN, '2026-11-22T12:00:00.000Z']);
  });
});

describe('names of clusters', () => {
  test('regression: clusters whose names begin alike do not see each other', async () => {
    const store = memoryStore('local');
    for (const cluster of ['prod', 'prod-2', 'prod2', 'v1', 'env1']) seedBackup([store], { cluster });
    expect((await read(store)).backups).toHaveLength(1);
    expect((await readCatalog([store], 'prod-2', { signal })).backups[0]!.cluster).toBe('prod-2');
    expect(await listClusters([store], { signal })).toEqual({ clusters: ['env1', 'prod', 'prod-2', 'prod2', 'v1'], unreachable: [] });
  });

  test('folders without an object of ours are not clusters', async () => {
    const store = memoryStore('local');
    seedBackup([store]);
    setBody(store, 'README', '');
    setBody(store, 'Photos/1.jpg', '');
    setBody(store, 'empty/notes.txt', '');
    for (let index = 0; index < 120; index += 1) setBody(store, `pictures/${index}.jpg`, '');
    expect((await listClusters([store], { signal })).clusters).toEqual(['prod']);
  });

  test('a store that cannot be listed is named', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    seedBackup([local]);
    s3.fail('list', new Error('403'));
    expect(await listClusters([local, s3], { signal })).toMatchObject({ clusters: ['prod'], unreachable: [{ store: 's3' }] });
    await expect(listClusters([local], { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
  });
});

describe('what retention is asked about', () => {
  test('one store at a time, with holds as pins, and only what that store has a readable manifest of', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const both = seedBackup([local, s3], { time: AT_TEN });
    const one = seedBackup([local], { time: AT_ELEVEN, stores: ['local', 's3'], suspect: 'x' });
    seedCheck([local], { id: both.id, kind: 'hold', reason: 'audit' });
    const catalog = await read(local, s3);
    expect(retentionView(catalog, 's3').backups).toEqual([
      { id: both.id, timeMs: Date.parse(AT_TEN), lineage: LINEAGE_ONE, verified: true, suspect: false },
    ]);
    expect(retentionView(catalog, 'local')).toMatchObject({
      backups: [{ id: both.id }, { id: one.id, verified: false, suspect: true }],
      pins: [{ id: both.id, reason: 'held: audit' }],
      generations: [{ lineage: LINEAGE_ONE, accepted: true }],
    });
  });
});
