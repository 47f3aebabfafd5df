import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { keyOfManifest, seedBackup, seedCheck } from '../../test/support/backups.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { encodeManifest } from '../format/manifest.ts';
import { fileCache } from './cache.ts';
import { readCatalog } from './read.ts';

const { signal } = new AbortController();
const root = mkdtempSync(join(tmpdir(), 'catalog-cache-'));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
function newFolder(): string {
  folders += 1;
  return join(root, String(folders), 'state');
}

function gets(calls: readonly string[]): number {
  return calls.filter((call) => call.startsWith('get')).length;
}

describe('the cache of the catalog', () => {
  test('what was read once is not fetched again, by this process or the next', async () => {
    const folder = newFolder();
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    seedCheck([store], { id, kind: 'hold' });
    const first = await readCatalog([store], 'prod', { signal, cache: fileCache(folder) });
    expect(gets(store.calls)).toBe(2);
    expect(await readCatalog([store], 'prod', { signal, cache: fileCache(folder) })).toEqual(first);
    expect(gets(store.calls)).toBe(2);
    expect(statSync(join(folder, 'catalog.local.prod')).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['catalog.local.prod']);
  });

  test('an object that was replaced in the store is read anew', async () => {
    const cache = fileCache(newFolder());
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    await readCatalog([store], 'prod', { signal, cache });
    store.objects.set(keyOfManifest(manifest), { body: encodeManifest({ ...manifest, label: 'other' }), modified: new Date(0) });
    expect((await readCatalog([store], 'prod', { signal, cache })).backups[0]!.manifest.label).toBe('other');
  });

  test('what is no longer in the store is forgotten', async () => {
    const folder = newFolder();
    const cache = fileCache(folder);
    const store = memoryStore('local');
    seedBackup([store]);
    await readCatalog([store], 'prod', { signal, cache });
    store.objects.clear();
    await readCatalog([store], 'prod', { signal, cache });
    expect(readFileSync(join(folder, 'catalog.local.prod'), 'utf8').split('\n')[2]).toBe('[]');
  });

  test('a state folder that cannot be written costs nothing but time', async () => {
    const file = join(root, 'file');
    writeFileSync(file, '');
    const store = memoryStore('local');
    seedBackup([store]);
    expect((await readCatalog([store], 'prod', { signal, cache: fileCache(join(file, 'below')) })).backups).toHaveLength(1);
    expect(existsSync(join(file, 'below'))).toBe(false);
  });

  const digested = (body: string): string => `etcd-warden catalog cache 1\n${createHash('sha256').update(body).digest('hex')}\n${body}`;
  test.each([
    ['truncated', (good: Buffer) => good.subarray(0, good.length / 2)],
    ['empty', () => Buffer.alloc(0)],
    ['random bytes', () => randomBytes(500)],
    ['a flipped bit', (good: Buffer) => Buffer.from(good.map((byte, index) => (index === good.length - 20 ? byte ^ 1 : byte)))],
    ['JSON of another shape', () => Buffer.from(digested('{"a":[1]}'))],
    ['entries of another shape', () => Buffer.from(digested('[[1,2,3,4],null]'))],
    ['of a newer version', (good: Buffer) => Buffer.from(good.toString().replace('cache 1', 'cache 2'))],
    ['without lines', () => Buffer.from('etcd-warden catalog cache 1')],
  ])('fault 26: a cache file that is %s is ignored and made anew', async (_, spoil) => {
    const folder = newFolder();
    const store = memoryStore('local');
    seedBackup([store]);
    const good = await readCatalog([store], 'prod', { signal, cache: fileCache(folder) });
    const file = join(folder, 'catalog.local.prod');
    const bytes = readFileSync(file);
    writeFileSync(file, spoil(bytes));
    expect(await readCatalog([store], 'prod', { signal, cache: fileCache(folder) })).toEqual(good);
    expect(gets(store.calls)).toBe(2);
    expect(readFileSync(file)).toEqual(bytes);
  });

  test('fault 26: an entry whose checksum is right and whose content is not is read from the store', async () => {
    const folder = newFolder();
    const store = memoryStore('local');
    const manifest = seedBackup([store]);
    const { size, modified } = { size: store.objects.get(keyOfManifest(manifest))!.body.length, modified: new Date(manifest.time) };
    await fileCache(folder).save(
      'local',
      'prod',
      new Map([[keyOfManifest(manifest), { size, modifiedMs: modified.getTime(), body: Buffer.from('{}') }]]),
    );
    expect((await readCatalog([store], 'prod', { signal, cache: fileCache(folder) })).backups[0]!.manifest).toEqual(manifest);
  });
});
