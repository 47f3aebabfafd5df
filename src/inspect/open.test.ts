import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keyOfData, seedBackup, seedCheck } from '../../test/support/backups.ts';
import { boltFile } from '../../test/support/bolt-file.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Catalog } from '../catalog/types.ts';
import { WardenError } from '../errors.ts';
import { foreignKind } from './foreign.ts';
import { isFileReference, openSnapshot } from './open.ts';
import { wholeSnapshot } from './whole.ts';

const { signal } = new AbortController();
/** What lies in the stores: not compressed, which opens all the same when the name does not say otherwise. */
const PLAIN = boltFile({ key: [], meta: [] }).bytes;
const BODY = zstdSeekable(PLAIN);

/** One frame and its seek table, by hand. */
function zstdSeekable(plain: Buffer): Buffer {
  const frame = zstdCompressSync(plain);
  const table = Buffer.alloc(8 + 8 + 9);
  [0x184d2a5e, 17, frame.length, plain.length, 1].forEach((word, i) => table.writeUInt32LE(word, i * 4));
  table.writeUInt32LE(0x8f92eab1, 21);
  return Buffer.concat([frame, table]);
}

async function seeded(
  names: readonly string[],
  prepare?: (stores: MemoryStore[], id: string) => void,
): Promise<{ stores: MemoryStore[]; catalog: Catalog; id: string; key: string }> {
  const stores = names.map((name) => memoryStore(name));
  const manifest = seedBackup(stores, {
    plain: { bytes: PLAIN.length, sha256: 'a'.repeat(64), databaseSha256: 'b'.repeat(64) },
    stored: { bytes: BODY.length, sha256: 'c'.repeat(64), crc32: '0123abcd', compression: 'zstd-seekable', encryption: 'none' },
  });
  const key = keyOfData(manifest);
  for (const store of stores) store.objects.set(key, { body: BODY, modified: new Date(manifest.time) });
  prepare?.(stores, manifest.id);
  return { stores, catalog: await readCatalog(stores, 'prod', { signal }), id: manifest.id, key };
}

describe('what is named', () => {
  test.each(['./snapshot.db', '/var/x', 'snapshot.db', 'a/b', 'x.db.zst.age', '../x', '2026.db'])('%s is a file', (text) =>
    expect(isFileReference(text)).toBe(true),
  );
  test.each([
    'latest',
    '20261122T100000123Z-k3f9qa',
    '2026',
    '2026-11-22',
    '2026-11-22T10:00:00.5Z',
    '2026-11-22 10:00:00.123',
    'snapshot',
  ])('%s is a backup', (text) => expect(isFileReference(text)).toBe(false));

  test('a backup without a store to look in is a wrong use', async () => {
    await expect(openSnapshot('latest', { stores: [], signal })).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('copies of a backup', () => {
  test('reads go on with the next copy when one fails in the middle, and say so', async () => {
    const { stores, catalog, id, key } = await seeded(['one', 'two']);
    const notes: string[] = [];
    const opened = await openSnapshot(id, { catalog, stores, signal, note: (sentence) => notes.push(sentence) });
    expect(opened).toMatchObject({ name: id, store: { name: 'one' }, file: { size: PLAIN.length, compressed: true, encrypted: false } });
    stores[0]!.objects.set(key, { body: Buffer.alloc(BODY.length), modified: new Date() });
    const all = await Promise.all([0, 1024, 2048].map(async (at) => Buffer.from(await opened.file.read(at, 1024))));
    expect(Buffer.concat(all).equals(PLAIN.subarray(0, 3072))).toBe(true);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/^one: .*; reading .* from two instead$/u);
    await opened.close();
  });

  test('the last error counts when no copy is left, and a range outside is nobody’s fault', async () => {
    const { stores, catalog, id, key } = await seeded(['one']);
    const opened = await openSnapshot(id, { catalog, stores, signal });
    await expect(opened.file.read(PLAIN.length, 1)).rejects.toThrow('were asked for');
    stores[0]!.objects.delete(key);
    await expect(opened.file.read(0, 1024)).rejects.toMatchObject({ code: 'object-missing' });
  });

  test('a pass over the whole goes on with the next copy where a stream breaks off', async () => {
    const { stores, catalog, id } = await seeded(['one', 'two']);
    const opened = await openSnapshot(id, { catalog, stores, signal });
    stores[0]!.fail('stream', new WardenError('store-unavailable', 'gone'));
    stores[0]!.fail('get', new WardenError('store-unavailable', 'gone'));
    const parts: Buffer[] = [];
    for await (const bytes of wholeSnapshot(opened, { identities: undefined, signal })) parts.push(Buffer.from(bytes));
    expect(Buffer.concat(parts).equals(PLAIN)).toBe(true);
  });

  test('a copy of another length is passed over', async () => {
    const longer = zstdSeekable(Buffer.concat([PLAIN, Buffer.alloc(512)]));
    const { stores, catalog, id, key } = await seeded(['one', 'two']);
    stores[0]!.objects.set(key, { body: longer, modified: new Date() });
    expect((await openSnapshot(id, { catalog, stores, signal })).store?.name).toBe('two');
    await expect(openSnapshot(id, { catalog, stores, signal, store: 'one' })).rejects.toMatchObject({ code: 'verification-failed' });
  });

  test('those whose verification failed come last, the store that is named is the only one, and suspicion is told', async () => {
    const { stores, catalog, id } = await seeded(['one', 'two'], (all, backup) => {
      seedCheck(all, { kind: 'verify', id: backup, store: 'one', outcome: 'failed', level: 'content' });
      seedCheck(all, { kind: 'suspect', id: backup, reason: 'members disagree' });
    });
    const notes: string[] = [];
    expect((await openSnapshot(id, { catalog, stores, signal, note: (sentence) => notes.push(sentence) })).store?.name).toBe('two');
    expect(notes).toEqual([`${id} is suspect: members disagree`]);
    expect((await openSnapshot(id, { catalog, stores, signal, store: 'one' })).store?.name).toBe('one');
    await expect(openSnapshot(id, { catalog, stores, signal, store: 'three' })).rejects.toMatchObject({ code: 'nothing-found' });
  });

  test('a missing identity is told at once: it is the same on every copy', async () => {
    const stores = [memoryStore('one'), memoryStore('two')];
    const body = Buffer.from('age-encryption.org/v1\n-> X25519 a\n--- b\n');
    const manifest = seedBackup(stores, {
      stored: { bytes: body.length, sha256: 'c'.repeat(64), crc32: '0123abcd', compression: 'zstd-seekable', encryption: 'age' },
    });
    for (const store of stores) store.objects.set(keyOfData(manifest), { body, modified: new Date() });
    const catalog = await readCatalog(stores, 'prod', { signal });
    await expect(openSnapshot(manifest.id, { catalog, stores, signal })).rejects.toMatchObject({ code: 'key-missing' });
    expect(stores[1]!.calls.some((call) => call.startsWith('head'))).toBe(false);
  });
});

describe('plain files', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'open-'))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each([
    ['as it is', PLAIN],
    ['with a trailer', Buffer.concat([PLAIN, Buffer.alloc(32)])],
    ['longer than its pages', Buffer.concat([PLAIN, Buffer.alloc(4096)])],
    ['seekable', BODY],
    ['in one frame without a table', zstdCompressSync(PLAIN)],
    ['in two frames', Buffer.concat([zstdCompressSync(PLAIN.subarray(0, 1000)), zstdCompressSync(PLAIN.subarray(1000))])],
  ])('a snapshot %s', async (name, bytes) => {
    const path = join(folder, `${name}.x`);
    writeFileSync(path, bytes);
    const events: number[] = [];
    const opened = await openSnapshot(path, { stores: [], signal, progress: ({ bytes: done }) => events.push(done ?? 0) });
    expect(opened).toMatchObject({ name: path, backup: undefined, store: undefined });
    expect((await opened.file.read(0, PLAIN.length)).equals(PLAIN)).toBe(true);
    const parts: Buffer[] = [];
    for await (const part of wholeSnapshot(opened, { identities: undefined, signal })) parts.push(Buffer.from(part));
    expect(Buffer.concat(parts).subarray(0, PLAIN.length).equals(PLAIN)).toBe(true);
    await expect(opened.file.read(bytes.length * 100, 1)).rejects.toBeInstanceOf(WardenError);
    await opened.close();
  });

  test('a data directory is told from any other folder', async () => {
    await expect(openSnapshot(`${folder}/`, { stores: [], signal })).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('--from'),
    });
    await expect(openSnapshot('/dev/null', { stores: [], signal })).rejects.toThrow('not a regular file');
    await expect(openSnapshot(`${folder}/none.db`, { stores: [], signal })).rejects.toMatchObject({ code: 'nothing-found' });
  });
});

describe('files that are mistaken for snapshots', () => {
  test.each([
    ['a.db', '\x1f\x8b\x08', 'gzip'],
    ['a.db', '\xfd7zXZ\0', 'xz'],
    ['a.db', 'BZh9', 'bzip2'],
    ['a.db', '\x04\x22\x4d\x18', 'lz4'],
    ['a.db', 'PK\x03\x04', 'zip'],
    ['a.db', '-----BEGIN AGE ENCRYPTED FILE', 'armour'],
    ['a.db', 'SQLite format 3\0', 'SQLite'],
    ['a.db', `${'\0'.repeat(257)}ustar`, 'tar'],
    ['a.db', '\x08\0\0\0\0\0\0\0\x08\x04\x10\0', 'write-ahead log'],
    ['a.wal', 'x', 'write-ahead log'],
    ['a.snap', 'x', 'etcd 2'],
    ['a.db', '\x08\x01{"Root":{"Path":"/"', 'etcd 2'],
    ['a.db', ' {"action":"get"}', 'JSON'],
    ['a.db', '', 'empty'],
  ])('%s with %j', (name, start, what) => expect(foreignKind(name, Buffer.from(start, 'latin1'))?.what).toContain(what));

  test('a database is one whatever it is called, and what nobody knows is left to the reader', () => {
    expect(foreignKind('backup.snap', PLAIN.subarray(0, 512))).toBeUndefined();
    expect(foreignKind('x', boltFile({}, { bigEndian: true }).bytes)).toBeUndefined();
    expect(foreignKind('x', Buffer.from('hello'))).toBeUndefined();
  });
});
