/** What every store must do; run against a folder and against a real S3 server. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compareKeys } from '../../../src/store/keys.ts';
import { temporaryName } from '../../../src/store/temporary.ts';
import type { ObjectInfo, Store } from '../../../src/store/types.ts';
import { seeded } from '../../support/random.ts';
import { createSpool, wholeSpool } from './growing.ts';

export interface StoreUnderTest {
  readonly store: Store;
  /** What is in it beyond objects: temporary files or unfinished uploads. */
  leftovers(): Promise<string[]>;
}

/** Bytes of the large objects: more than two parts of an S3 upload. */
const LARGE = 20 * 1024 * 1024 + 12_345;
const signal = new AbortController().signal;

export function describeStore(kind: string, open: () => Promise<StoreUnderTest>): void {
  describe(`a ${kind} store`, () => {
    let store: Store;
    let leftovers: () => Promise<string[]>;
    let scratch: string;
    // Spools belong to whoever writes them until they are published, so those of failed uploads stay.
    const spools = new Set<string>();

    beforeAll(async () => {
      ({ store, leftovers } = await open());
      scratch = mkdtempSync(join(tmpdir(), 'spool-'));
      await store.check(1, { signal });
    });
    afterAll(async () => {
      rmSync(scratch, { recursive: true, force: true });
      await store?.close();
    });

    /** Where a job would put its spool for this store. */
    const spoolPath = (): string => {
      const name = temporaryName();
      spools.add(name);
      return join(store.spoolFolder ?? scratch, name);
    };

    test('what was put is read back, whole and in ranges', async () => {
      const body = Buffer.from('0123456789');
      const stored = await store.put('basic/one', body, { signal });
      expect(stored).toEqual({ key: 'basic/one', size: 10, crc32: crc32(body).toString(16).padStart(8, '0'), confirmed: 'checksum' });
      expect(await store.get('basic/one', { signal })).toEqual(body);
      expect(await store.get('basic/one', { signal, range: { offset: 3, length: 4 } })).toEqual(Buffer.from('3456'));
      expect(await store.get('basic/one', { signal, range: { offset: 9, length: 1 } })).toEqual(Buffer.from('9'));
      expect(await store.get('basic/one', { signal, range: { offset: 9, length: 0 } })).toEqual(Buffer.alloc(0));
    });

    test('a range beyond the end is an error, never silently shorter', async () => {
      await store.put('basic/short', Buffer.from('0123456789'), { signal });
      for (const range of [
        { offset: 8, length: 3 },
        { offset: 10, length: 1 },
        { offset: 99, length: 1 },
      ]) {
        await expect(store.get('basic/short', { signal, range })).rejects.toMatchObject({ code: 'verification-failed' });
      }
    });

    test('more than may be held in memory is refused before it is read', async () => {
      await store.put('basic/limit', Buffer.alloc(100), { signal });
      await expect(store.get('basic/limit', { signal, maxLength: 99 })).rejects.toMatchObject({ code: 'refused' });
      expect(await store.get('basic/limit', { signal, maxLength: 100 })).toHaveLength(100);
    });

    test('an empty object is an object', async () => {
      await store.put('basic/empty', Buffer.alloc(0), { signal });
      expect(await store.get('basic/empty', { signal })).toHaveLength(0);
      expect(await store.head('basic/empty', { signal })).toMatchObject({ size: 0 });
    });

    test('an object is never overwritten', async () => {
      await store.put('basic/once', Buffer.from('first'), { signal });
      await expect(store.put('basic/once', Buffer.from('second'), { signal })).rejects.toMatchObject({ code: 'object-exists' });
      const again = wholeSpool(spoolPath(), Buffer.from('third'));
      await expect(store.upload('basic/once', again, { signal })).rejects.toMatchObject({ code: 'object-exists' });
      expect((await store.get('basic/once', { signal })).toString()).toBe('first');
    });

    test('of two writers of one key exactly one succeeds', async () => {
      const outcomes = await Promise.allSettled(['a', 'b'].map((text) => store.put('basic/race', Buffer.from(text), { signal })));
      expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1);
    });

    test('head tells size and time, and nothing of what is absent', async () => {
      const before = Date.now() - 2000;
      await store.put('basic/head', Buffer.from('12345'), { signal });
      const head = await store.head('basic/head', { signal });
      expect(head).toMatchObject({ key: 'basic/head', size: 5 });
      expect(head!.modified.getTime()).toBeGreaterThan(before);
      expect(await store.head('basic/absent', { signal })).toBeUndefined();
    });

    test('what is absent cannot be read', async () => {
      await expect(store.get('basic/absent', { signal })).rejects.toMatchObject({ code: 'object-missing' });
      await expect(store.get('absent/absent', { signal, range: { offset: 0, length: 1 } })).rejects.toMatchObject({
        code: 'object-missing',
      });
      await expect(collect(store.stream('basic/absent', { signal }))).rejects.toMatchObject({ code: 'object-missing' });
    });

    test('delete says what it did, twice', async () => {
      await store.put('gone/deep/er', Buffer.from('x'), { signal });
      expect(await store.delete('gone/deep/er', { signal })).toEqual({ outcome: 'deleted' });
      expect(await store.delete('gone/deep/er', { signal })).toEqual({ outcome: 'absent' });
      expect(await keys(store.list('gone/', { signal }))).toEqual([]);
      await store.put('gone/deep/er', Buffer.from('y'), { signal });
    });

    test.each([
      'odd/a b',
      'odd/größe/ü',
      'odd/+plus',
      'odd/100%',
      'odd/%2F',
      'odd/#hash?q=1&r=2',
      "odd/quo'te(s)!*",
      'odd/🦊',
      'odd/..dots..',
    ])('the key %j works in every call', async (key) => {
      await store.put(key, Buffer.from(key), { signal });
      expect((await store.get(key, { signal })).toString()).toBe(key);
      expect(await store.head(key, { signal })).toMatchObject({ key });
      expect(await keys(store.list(key, { signal }))).toEqual([key]);
      expect(await store.delete(key, { signal })).toEqual({ outcome: 'deleted' });
    });

    test.each(['', '/abs', '../up', 'a/../../up', 'a//b', 'a\0b', '.tmp/x'])('the key %j is refused in every call', async (key) => {
      const refused = { code: 'refused' };
      await expect(store.put(key, Buffer.alloc(1), { signal })).rejects.toMatchObject(refused);
      await expect(store.upload(key, wholeSpool(spoolPath(), Buffer.alloc(1)), { signal })).rejects.toMatchObject(refused);
      await expect(store.get(key, { signal })).rejects.toMatchObject(refused);
      await expect(store.head(key, { signal })).rejects.toMatchObject(refused);
      await expect(store.delete(key, { signal })).rejects.toMatchObject(refused);
    });

    test('a listing is in the order of UTF-8 bytes, over folders, each once, from any key on', async () => {
      const names = ['l/a-b', 'l/a.b', 'l/a/b', 'l/a/c/d', 'l/a0', 'l/b', 'l/ﾮ', 'l/🦊', 'l/Z', 'la/x', 'l!'];
      for (const name of names) await store.put(name, Buffer.from(name), { signal });
      const sorted = names.filter((name) => name.startsWith('l/')).sort(compareKeys);
      expect(await keys(store.list('l/', { signal }))).toEqual(sorted);
      expect(await keys(store.list('l/a', { signal }))).toEqual(sorted.filter((name) => name.startsWith('l/a')));
      for (const startAfter of [...sorted, 'l/', 'l/a/', 'l/a/b0', 'k', 'm']) {
        expect(await keys(store.list('l/', { signal, startAfter })), startAfter).toEqual(
          sorted.filter((name) => compareKeys(name, startAfter) > 0),
        );
      }
      expect(await keys(store.list('nothing/', { signal }))).toEqual([]);
    });

    test('a listing of more than 1000 objects is whole', async () => {
      const names = Array.from({ length: 1101 }, (_, i) => `many/${String(i).padStart(5, '0')}`);
      for (let i = 0; i < names.length; i += 50) {
        // oxlint-disable-next-line no-await-in-loop -- fifty at a time
        await Promise.all(names.slice(i, i + 50).map((name) => store.put(name, Buffer.alloc(1), { signal })));
      }
      expect(await keys(store.list('many/', { signal }))).toEqual(names);
      expect(await keys(store.list('many/', { signal, startAfter: 'many/00999' }))).toHaveLength(101);
    });

    test('a file is uploaded while it grows, and visible only when it is whole and accepted', async () => {
      const content = seeded(1).fill(Buffer.alloc(LARGE));
      const spool = createSpool(spoolPath(), LARGE + 1000);
      const accepted = Promise.withResolvers<void>();
      let progress = 0;
      const done = store.upload('up/large', spool.source, {
        signal,
        accepted: accepted.promise,
        onProgress: (bytes) => (progress = bytes),
      });
      for (let at = 0; at < LARGE; at += 3_000_000) {
        spool.write(content.subarray(at, at + 3_000_000));
        await new Promise(setImmediate);
      }
      spool.finish();
      expect(await store.head('up/large', { signal })).toBeUndefined();
      accepted.resolve();
      expect(await done).toEqual({
        key: 'up/large',
        size: LARGE,
        crc32: crc32(content).toString(16).padStart(8, '0'),
        confirmed: 'checksum',
      });
      expect(progress).toBe(LARGE);
      expect(sha256(await store.get('up/large', { signal }))).toBe(sha256(content));
      const range = { offset: 9_999_999, length: 3_000_001 };
      const part = Buffer.concat(await collect(store.stream('up/large', { signal, range })));
      expect(part.equals(content.subarray(range.offset, range.offset + range.length))).toBe(true);
      expect(await leftovers()).not.toContain(basename(spool.source.path));
    });

    test.each([1, 8 * 1024 * 1024, 16 * 1024 * 1024])('a file of %i bytes arrives whole', async (length) => {
      const content = seeded(length).fill(Buffer.alloc(length));
      const key = `up/exact-${length}`;
      await store.upload(key, wholeSpool(spoolPath(), content), { signal });
      expect(sha256(await store.get(key, { signal }))).toBe(sha256(content));
    });

    test('an upload that is stopped leaves nothing', async () => {
      const stop = new AbortController();
      const spool = createSpool(spoolPath(), LARGE);
      const done = store.upload('up/stopped', spool.source, { signal: stop.signal, onProgress: () => stop.abort(new Error('stopped')) });
      spool.write(Buffer.alloc(LARGE - 1));
      await expect(done).rejects.toThrow('stopped');
      spool.fail(new Error('stopped'));
      await expectNothing('up/stopped');
    });

    test('an upload whose writer fails leaves nothing', async () => {
      const spool = createSpool(spoolPath(), LARGE);
      const done = store.upload('up/failed', spool.source, { signal });
      spool.write(Buffer.alloc(LARGE - 1));
      spool.fail(new Error('the stream broke off'));
      await expect(done).rejects.toThrow('the stream broke off');
      await expectNothing('up/failed');
    });

    test.each([100, LARGE])('an upload of %i bytes that is not accepted leaves nothing', async (length) => {
      const source = wholeSpool(spoolPath(), Buffer.alloc(length));
      const accepted = Promise.reject(new Error('wrong trailer'));
      await expect(store.upload('up/refused', source, { signal, accepted })).rejects.toThrow('wrong trailer');
      await expectNothing('up/refused');
    });

    test('an upload waits for acceptance no longer than its signal', async () => {
      const stop = new AbortController();
      const source = wholeSpool(spoolPath(), Buffer.alloc(10));
      const done = store.upload('up/waits', source, { signal: stop.signal, accepted: new Promise(() => {}) });
      setImmediate(() => stop.abort(new Error('enough')));
      await expect(done).rejects.toThrow('enough');
    });

    test('bytes that the spool gives back differently are noticed', async () => {
      const source = wholeSpool(spoolPath(), Buffer.alloc(LARGE));
      const lying = { ...source, available: LARGE, finished: Promise.resolve({ length: LARGE, sha256: '', crc32: 'deadbeef' }) };
      await expect(store.upload('up/rotten', lying, { signal })).rejects.toMatchObject({ code: 'verification-failed' });
      await expectNothing('up/rotten');
    });

    test('an upload keeps to its rate', async () => {
      const start = performance.now();
      await store.upload('up/slow', wholeSpool(spoolPath(), Buffer.alloc(500_000)), { signal, maxRate: 1_000_000 });
      expect(performance.now() - start).toBeGreaterThan(450);
    });

    test('nothing is done with a signal that is aborted already', async () => {
      const aborted = AbortSignal.abort(new Error('too late'));
      await expect(store.put('late/put', Buffer.alloc(1), { signal: aborted })).rejects.toThrow('too late');
      await expect(store.get('basic/one', { signal: aborted })).rejects.toThrow('too late');
      await expect(store.delete('basic/one', { signal: aborted })).rejects.toThrow('too late');
      await expect(collect(store.list('', { signal: aborted }))).rejects.toThrow('too late');
      expect(await store.head('late/put', { signal })).toBeUndefined();
    });

    test('a sweep leaves objects alone', async () => {
      const before = await keys(store.list('', { signal }));
      await store.sweep({ signal, olderThanMs: 0, now: new Date() });
      expect(await keys(store.list('', { signal }))).toEqual(before);
    });

    async function expectNothing(key: string): Promise<void> {
      expect(await store.head(key, { signal })).toBeUndefined();
      expect((await leftovers()).filter((name) => !spools.has(name))).toEqual([]);
    }
  });
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

async function keys(list: AsyncIterable<ObjectInfo>): Promise<string[]> {
  return (await collect(list)).map(({ key }) => key);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
