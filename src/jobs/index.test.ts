import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../test/support/bolt-file.ts';
import { clusterConfig, daemonConfig, recordingLogger } from '../../test/support/daemon-fakes.ts';
import { sampleManifest } from '../../test/support/manifests.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { seeded } from '../../test/support/random.ts';
import { randomHistory, recordsOf, type Change } from '../../test/support/records.ts';
import { createSealer } from '../archive/sealer.ts';
import { openObject } from '../archive/open.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Backup } from '../catalog/types.ts';
import { WardenError } from '../errors.ts';
import { dataKey, indexKey, manifestKey } from '../format/keys.ts';
import { encodeManifest } from '../format/manifest.ts';
import type { Manifest } from '../format/types.ts';
import { openKeyIndex } from '../inspect/index/open.ts';
import type { KeyDirectory, OpenedSnapshot } from '../inspect/types.ts';
import { copyIndex, indexNewest, indexPublished, repairIndex, type IndexContext } from './index.ts';

const IDENTITY = await generateIdentity();
const RECIPIENT = await identityToRecipient(IDENTITY);
const signal = new AbortController().signal;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'index-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Made {
  readonly manifest: Manifest;
  readonly changes: readonly Change[];
  readonly plain: Buffer;
  readonly stores: readonly MemoryStore[];
}

/** A whole backup on stores `local` and `s3`, without an index. */
async function backup(options: { encrypted?: boolean; time?: string; stores?: readonly MemoryStore[] } = {}): Promise<Made> {
  const stores = options.stores ?? [memoryStore('local'), memoryStore('s3')];
  const keys = Array.from({ length: 30 }, (_, i) => Buffer.from(`/registry/pods/p${i}`));
  const changes = randomHistory(seeded(3), { keys, transactions: 100 });
  const database = boltFile({ key: recordsOf(changes), meta: [['consistent_index', Buffer.alloc(8, 1)]] }, { inlineBytes: 0 }).bytes;
  const plain = Buffer.concat([database, createHash('sha256').update(database).digest()]);
  const spoolPath = join(folder, `data-${options.time ?? ''}`);
  const sealer = await createSealer({
    spoolPath,
    maxPlainBytes: plain.length,
    recipients: options.encrypted === true ? [RECIPIENT] : [],
    signal,
  });
  await sealer.write(plain);
  const sealed = await sealer.finish();
  const body = readFileSync(spoolPath);
  await sealer.abort();
  const manifest = sampleManifest({
    ...(options.time === undefined ? {} : { time: options.time }),
    stores: stores.map(({ name }) => name),
    plain: { bytes: plain.length, sha256: sealed.plainSha256, databaseSha256: 'b'.repeat(64) },
    stored: {
      bytes: body.length,
      sha256: sealed.storedSha256,
      crc32: sealed.storedCrc32,
      compression: 'zstd-seekable',
      encryption: sealed.encryption,
    },
  });
  for (const store of stores) {
    await store.put(dataKey('prod', manifest.id, sealed.encryption), body, { signal });
    await store.put(manifestKey('prod', manifest.id, manifest.revision), encodeManifest(manifest), { signal });
  }
  return { manifest, changes, plain, stores };
}

function contextFor(recipients: readonly string[] = []): IndexContext & { said(part: string): boolean; steps: string[] } {
  const { logger, said } = recordingLogger();
  const steps: string[] = [];
  const config = daemonConfig(folder, [clusterConfig({ encryption: { recipients, identity: undefined } })]);
  return { config, signal, logger, said, steps, progress: ({ step }) => void steps.push(step) };
}

async function backupOf({ manifest, stores }: Made): Promise<Backup> {
  const { backups } = await readCatalog(stores, 'prod', { signal });
  return backups.find(({ id }) => id === manifest.id)!;
}

async function directoryOn(made: Made, store: MemoryStore, identities?: readonly string[]): Promise<KeyDirectory | undefined> {
  const file = await openObject(store, dataKey('prod', made.manifest.id, made.manifest.stored.encryption), { signal, identities });
  const snapshot: OpenedSnapshot = { name: made.manifest.id, file, backup: await backupOf(made), store, close: () => file.close() };
  return openKeyIndex(snapshot, { identities, signal });
}

/** Whether the index on a store gives the newest value of a key. */
async function answers(made: Made, store: MemoryStore, identities?: readonly string[]): Promise<boolean> {
  const directory = await directoryOn(made, store, identities);
  const wanted = made.changes.findLast(({ tombstone }) => !tombstone)!;
  const entry = await directory?.find(wanted.key, signal);
  const revision = entry?.revisions.find(({ main, sub }) => main === wanted.main && sub === wanted.sub);
  return revision !== undefined && (await directory!.value(entry!, revision, signal)).equals(wanted.value);
}

function has(store: MemoryStore, { manifest }: Made): boolean {
  return store.objects.has(indexKey('prod', manifest.id, manifest.stored.encryption));
}

describe('the index of a published backup', () => {
  test.each([false, true])('lies on every store, and nothing is left beside it (encrypted: %s)', async (encrypted) => {
    const made = await backup({ encrypted });
    const context = contextFor();
    const lines = await indexPublished(made.manifest, inMemory(made.plain), made.stores, encrypted ? [RECIPIENT] : [], context);
    expect(lines).toEqual(made.stores.map(({ name }) => ({ id: made.manifest.id, store: name, outcome: 'built', bytes: lines[0]!.bytes })));
    for (const store of made.stores) expect(await answers(made, store, encrypted ? [IDENTITY] : undefined)).toBe(true);
    expect(context.steps).toContain('index');
    expect(readdirSync(join(folder, 'spool'))).toEqual([]);
    if (encrypted) {
      const key = indexKey('prod', made.manifest.id, 'age');
      expect(made.stores[0]!.objects.get(key)!.body.toString('latin1', 0, 21)).toBe('age-encryption.org/v1');
      await expect(directoryOn(made, made.stores[0]!, undefined)).rejects.toMatchObject({ code: 'key-missing' });
    }
  });

  test('a store that does not take it costs the other nothing, and the backup neither', async () => {
    const made = await backup();
    const [local, s3] = made.stores as [MemoryStore, MemoryStore];
    local.fail('upload', new WardenError('store-denied', 'no'), '.index.');
    const context = contextFor();
    const lines = await indexPublished(made.manifest, inMemory(made.plain), made.stores, [], context);
    expect(lines).toMatchObject([
      { store: 'local', outcome: 'failed', error: { code: 'store-denied' } },
      { store: 's3', outcome: 'built' },
    ]);
    expect(has(s3, made)).toBe(true);
    expect(context.said('did not take the key index')).toBe(true);
  });

  test('what stops the build is told for each store and thrown by none', async () => {
    const made = await backup({ encrypted: true });
    const damaged = Buffer.from(made.plain);
    damaged.fill(0xff, 3 * 1024, 20 * 1024);
    for (const [file, recipients, code] of [
      [made.plain, [], 'refused'],
      [damaged, [RECIPIENT], 'bolt-damaged'],
    ] as const) {
      const lines = await indexPublished(made.manifest, inMemory(file), made.stores, recipients, contextFor());
      expect(lines.map(({ outcome, error }) => [outcome, error?.code])).toEqual([
        ['failed', code],
        ['failed', code],
      ]);
    }
    expect(readdirSync(join(folder, 'spool'))).toEqual([]);
  });
});

describe('indexes that are missing', () => {
  test('are built for the newest backups, out of a store that holds them', async () => {
    const stores = [memoryStore('local'), memoryStore('s3')];
    const made = [];
    for (const hour of [10, 11, 12, 13]) made.push(await backup({ stores, time: `2026-11-22T${hour}:00:00.123Z` }));
    const lines = await indexNewest(stores, clusterConfig(), undefined, contextFor());
    expect(lines.map(({ id, store, outcome }) => [id, store, outcome])).toEqual(
      made
        .slice(1)
        .toReversed()
        .flatMap(({ manifest: { id } }) => [
          [id, 'local', 'built'],
          [id, 's3', 'built'],
        ]),
    );
    expect(await answers(made[3]!, stores[1]!)).toBe(true);
    expect(has(stores[0]!, made[0]!)).toBe(false);
    expect(await indexNewest(stores, clusterConfig(), undefined, contextFor())).toEqual([]);
  });

  test('are copied where another store has one, which needs no identity', async () => {
    const made = await backup({ encrypted: true });
    const [local, s3] = made.stores as [MemoryStore, MemoryStore];
    await indexPublished(made.manifest, inMemory(made.plain), [s3], [RECIPIENT], contextFor());
    const lines = await indexNewest(
      made.stores,
      clusterConfig({ encryption: { recipients: [RECIPIENT], identity: undefined } }),
      undefined,
      contextFor(),
    );
    expect(lines).toMatchObject([{ store: 'local', outcome: 'copied' }]);
    expect(await answers(made, local, [IDENTITY])).toBe(true);
    expect(await copyIndex(made.manifest, s3, local, contextFor())).toMatchObject({ outcome: 'present' });
  });

  test('of an encrypted backup cannot be built without an identity, and it is said so', async () => {
    const made = await backup({ encrypted: true });
    const cluster = clusterConfig({ encryption: { recipients: [RECIPIENT], identity: undefined } });
    expect(await indexNewest(made.stores, cluster, undefined, contextFor())).toMatchObject([
      { store: 'local', outcome: 'failed', error: { code: 'key-missing' } },
      { store: 's3', outcome: 'failed', error: { code: 'key-missing' } },
    ]);
    expect(await indexNewest(made.stores, cluster, [IDENTITY], contextFor([RECIPIENT]))).toMatchObject([
      { outcome: 'built' },
      { outcome: 'built' },
    ]);
    expect(await answers(made, made.stores[1]!, [IDENTITY])).toBe(true);
  });

  test('of a suspect backup are not tried again and again', async () => {
    const made = await backup();
    const suspect = { ...made.manifest, suspect: 'CORRUPT' };
    for (const store of made.stores) {
      const key = manifestKey('prod', suspect.id, suspect.revision);
      store.objects.set(key, { body: encodeManifest(suspect), modified: store.now });
    }
    expect(await indexNewest(made.stores, clusterConfig(), undefined, contextFor())).toEqual([]);
  });

  test('a copy that fails is made good by a build', async () => {
    const made = await backup();
    const [local, s3] = made.stores as [MemoryStore, MemoryStore];
    await indexPublished(made.manifest, inMemory(made.plain), [s3], [], contextFor());
    s3.fail('stream', new WardenError('store-unavailable', 'gone'), '.index.');
    const context = contextFor();
    expect(await indexNewest(made.stores, clusterConfig(), undefined, context)).toMatchObject([{ store: 'local', outcome: 'built' }]);
    expect(context.said('was not copied')).toBe(true);
    expect(await answers(made, local)).toBe(true);
  });
});

describe('the repair of an index', () => {
  test('puts a new one in the place of one that is damaged', async () => {
    const made = await backup();
    const [local] = made.stores as [MemoryStore];
    await indexPublished(made.manifest, inMemory(made.plain), made.stores, [], contextFor());
    const key = indexKey('prod', made.manifest.id, 'none');
    const body = Buffer.from(local.objects.get(key)!.body);
    body[20]! ^= 0xff;
    local.objects.set(key, { body, modified: local.now });
    await expect(answers(made, local)).rejects.toMatchObject({
      code: 'index-invalid',
      hint: expect.stringContaining(`verify ${made.manifest.id} --repair-index`),
    });
    expect(await repairIndex(await backupOf(made), local, undefined, contextFor())).toMatchObject({ store: 'local', outcome: 'built' });
    expect(await answers(made, local)).toBe(true);
  });

  test('index cut short, and index of another backup: named, and repaired', async () => {
    const stores = [memoryStore('local')];
    const one = await backup({ stores, time: '2026-11-22T10:00:00.123Z' });
    const other = await backup({ stores, time: '2026-11-22T11:00:00.123Z' });
    const [local] = stores as [MemoryStore];
    for (const made of [one, other]) await indexPublished(made.manifest, inMemory(made.plain), stores, [], contextFor());
    const key = indexKey('prod', one.manifest.id, 'none');
    local.objects.set(key, local.objects.get(indexKey('prod', other.manifest.id, 'none'))!);
    await expect(directoryOn(one, local)).rejects.toMatchObject({
      code: 'index-invalid',
      message: `the key index of ${one.manifest.id} cannot be used: it is of another backup, of ${other.manifest.id}`,
    });
    const { body } = local.objects.get(key)!;
    for (const length of [0, 5, 40, body.length - 1]) {
      local.objects.set(key, { body: body.subarray(0, length), modified: local.now });
      await expect(directoryOn(one, local)).rejects.toMatchObject({ code: 'index-invalid' });
    }
    await repairIndex(await backupOf(one), local, undefined, contextFor());
    expect(await answers(one, local)).toBe(true);
  });

  test('is refused without a key, without recipients, and where the store keeps what it has', async () => {
    const made = await backup({ encrypted: true });
    const [local] = made.stores as [MemoryStore];
    const known = await backupOf(made);
    await expect(repairIndex(known, local, undefined, contextFor([RECIPIENT]))).rejects.toMatchObject({ code: 'key-missing' });
    await expect(repairIndex(known, local, [IDENTITY], contextFor())).rejects.toMatchObject({ code: 'refused' });
    await indexPublished(made.manifest, inMemory(made.plain), [local], [RECIPIENT], contextFor());
    local.lock(indexKey('prod', made.manifest.id, 'age'), new Date('2027-01-01T00:00:00.000Z'));
    await expect(repairIndex(known, local, [IDENTITY], contextFor([RECIPIENT]))).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('until 2027-01-01T00:00:00.000Z: object lock'),
    });
  });

  test('data that is not what the manifest says gets no index', async () => {
    const made = await backup();
    const [local] = made.stores as [MemoryStore];
    const known = await backupOf(made);
    const wrong = { ...known, manifest: { ...known.manifest, plain: { ...known.manifest.plain, sha256: 'd'.repeat(64) } } };
    await expect(repairIndex(wrong, local, undefined, contextFor())).rejects.toMatchObject({ code: 'verification-failed' });
    expect(has(local, made)).toBe(false);
  });
});
