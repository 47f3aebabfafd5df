import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { wholeSpool } from '../../../test/integration/store/growing.ts';
import type { Store } from '../types.ts';
import { openLocalStore } from './store.ts';

const { signal } = new AbortController();
let folder: string;
let path: string;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'local-store-'));
  path = join(folder, 'backups');
  store = openLocalStore({ type: 'local', name: 'local', path });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const at = (root: string): Store => openLocalStore({ type: 'local', name: 'local', path: root });
const put = (key = 'a/b'): Promise<unknown> => store.put(key, Buffer.from('content'), { signal });

/** Lets a call on every open file fail, as a broken disk would. */
async function failing(method: 'sync' | 'writeFile' | 'write' | 'read', code: string): Promise<ReturnType<typeof vi.spyOn>> {
  const handle = await open(folder);
  await handle.close();
  const prototype = Object.getPrototypeOf(handle) as Record<typeof method, () => Promise<never>>;
  return vi.spyOn(prototype, method).mockRejectedValue(Object.assign(new Error(`${code}: injected`), { code }));
}

async function names(prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, { signal })) keys.push(key);
  return keys;
}

describe('the root of a local store', () => {
  test('it is made by the first check or write with all that is missing above it, and not by reading', async () => {
    store = at(join(folder, 'x/y/z'));
    expect(await names()).toEqual([]);
    expect(await store.head('a', { signal })).toBeUndefined();
    expect(await store.delete('a', { signal })).toEqual({ outcome: 'absent' });
    expect(await store.sweep({ signal, olderThanMs: 0, now: new Date() })).toEqual({ removed: [] });
    expect(existsSync(join(folder, 'x'))).toBe(false);
    await store.check(0, { signal });
    expect(statSync(join(folder, 'x/y/z/.tmp')).mode & 0o777).toBe(0o700);
  });

  test('fault 22: a path that is a file is refused', async () => {
    writeFileSync(path, 'a file');
    await expect(store.check(0, { signal })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: `${path} is a file, not a folder`,
    });
    store = at(join(path, 'below'));
    await expect(store.check(0, { signal })).rejects.toMatchObject({ code: 'store-unavailable' });
  });

  test.each(['/etc', '/etc/backups', '/usr/local', '/', '/var', '/proc/self', '/dev'])(
    'fault 22: %s belongs to the system and is refused, directly and behind a link',
    async (target) => {
      await expect(at(target).check(0, { signal })).rejects.toMatchObject({ code: 'refused' });
      if (existsSync(target)) {
        symlinkSync(target, path);
        await expect(store.check(0, { signal })).rejects.toMatchObject({ code: 'refused' });
        await expect(put()).rejects.toMatchObject({ code: 'refused' });
      }
    },
  );

  test('a link to a folder of ours is followed, a dangling one is refused', async () => {
    symlinkSync(join(folder, 'real'), path);
    await expect(put()).rejects.toMatchObject({ code: 'store-unavailable', message: expect.stringContaining('leads nowhere') });
    mkdirSync(join(folder, 'real'));
    await put();
    expect(existsSync(join(folder, 'real/a/b'))).toBe(true);
    await store.upload('a/c', wholeSpool(join(store.spoolFolder!, 'spool'), Buffer.from('linked')), { signal });
    expect(existsSync(join(store.spoolFolder!, 'spool'))).toBe(false);
  });

  test('fault 22: a folder that is removed while in use is a clear error, not an empty store', async () => {
    await put();
    renameSync(path, `${path}-unmounted`);
    const calls = [put('c'), names(), store.head('a/b', { signal }), store.delete('a/b', { signal }), store.check(0, { signal })];
    for (const { status, reason } of (await Promise.allSettled(calls)) as PromiseRejectedResult[]) {
      expect(status).toBe('rejected');
      expect(reason).toMatchObject({ code: 'store-unavailable', message: `${path} was removed while it was in use` });
    }
    renameSync(`${path}-unmounted`, path);
    expect(await names()).toEqual(['a/b']);
  });

  test('too little room is told with path, free and needed bytes', async () => {
    await expect(store.check(2 ** 52, { signal })).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringMatching(/backups has no room: \d+ bytes free, \d+ needed/),
    });
  });
});

describe('links and strangers below the root', () => {
  test('a folder that is a link is neither written through nor read nor listed', async () => {
    await put();
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'x');
    symlinkSync(outside, join(path, 'link'));
    symlinkSync(join(outside, 'secret'), join(path, 'a/secret'));
    await expect(put('link/new')).rejects.toMatchObject({ code: 'refused' });
    await expect(store.get('link/secret', { signal })).rejects.toMatchObject({ code: 'refused' });
    await expect(store.get('a/secret', { signal })).rejects.toMatchObject({ code: 'refused' });
    await expect(store.delete('link/secret', { signal })).rejects.toMatchObject({ code: 'refused' });
    expect(await store.head('a/secret', { signal })).toBeUndefined();
    expect(await names()).toEqual(['a/b']);
    expect(readdirSync(outside)).toEqual(['secret']);
  });

  test('a temporary folder that is a link is refused', async () => {
    mkdirSync(path);
    symlinkSync(folder, join(path, '.tmp'));
    await expect(put()).rejects.toMatchObject({ code: 'refused' });
  });

  test('a file where a folder is needed is an error, and a folder is no object', async () => {
    await put('a');
    await expect(put('a/b')).rejects.toMatchObject({ code: 'refused' });
    await put('c/d');
    await expect(store.get('c', { signal })).rejects.toMatchObject({ code: 'object-missing' });
    expect(await store.head('c', { signal })).toBeUndefined();
  });

  test('names that are no UTF-8 are passed over', async () => {
    await put();
    writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.of(0xff, 0xfe)]), 'x');
    expect(await names()).toEqual(['a/b']);
  });
});

describe('writing to a broken disk', () => {
  test.each(['EIO', 'ENOSPC', 'EDQUOT'] as const)('fault 21: %s on write ends the write, and nothing stays', async (code) => {
    await store.check(0, { signal });
    await failing('writeFile', code);
    await expect(put()).rejects.toMatchObject({ code: code === 'EIO' ? 'disk-failed' : 'disk-full' });
    expect(readdirSync(join(path, '.tmp'))).toEqual([]);
    expect(await names()).toEqual([]);
  });

  test('fault 21: EIO on fsync ends the write, and fsync is not tried again', async () => {
    await put('first');
    const sync = await failing('sync', 'EIO');
    await expect(put()).rejects.toMatchObject({ code: 'disk-failed' });
    expect(sync).toHaveBeenCalledTimes(1);
    const spool = wholeSpool(join(store.spoolFolder!, 'spool'), Buffer.from('x'));
    sync.mockClear();
    await expect(store.upload('second', spool, { signal })).rejects.toMatchObject({ code: 'disk-failed' });
    await expect(store.upload('third', wholeSpool(join(folder, 'elsewhere'), Buffer.from('x')), { signal })).rejects.toMatchObject({
      code: 'disk-failed',
    });
    expect(sync).toHaveBeenCalledTimes(2);
    expect(await names()).toEqual(['first']);
    expect(readdirSync(join(path, '.tmp'))).toEqual(['spool']);
  });

  test('EIO on read is told as what it is', async () => {
    await put();
    await failing('read', 'EIO');
    await expect(store.get('a/b', { signal })).rejects.toMatchObject({
      code: 'disk-failed',
      message: expect.stringContaining('input/output'),
    });
  });
});

describe('deleting', () => {
  test('folders that become empty go, others stay', async () => {
    await put('checks/one/x');
    await put('checks/two/x');
    await store.delete('checks/one/x', { signal });
    expect(readdirSync(join(path, 'checks'))).toEqual(['two']);
  });

  test('what is gone behind our back is absent', async () => {
    await put();
    unlinkSync(join(path, 'a/b'));
    expect(await store.delete('a/b', { signal })).toEqual({ outcome: 'absent' });
  });
});

describe('the sweep of temporary files', () => {
  /** Names as processes give them: pid, start, place, random. */
  const own = `warden-${process.pid}`;

  test('fault 24: only our own names, of dead writers, are removed', async () => {
    await put();
    const temporary = store.spoolFolder!;
    const { temporaryName } = await import('../temporary.ts');
    const living = temporaryName();
    const [, pid, start, place] = /^warden-(\d+)-(\d+)-([0-9a-f]+)-/.exec(living)!;
    const dead = `warden-${pid}-${Number(start) - 1}-${place}-000000000000`; // the number was used again
    const gone = `warden-4194999-1-${place}-000000000000`; // above the highest pid there is
    const elsewhere = `${own}-${start}-00000000-000000000000`; // another machine or container
    const foreign = ['x', 'tmp-1', 'warden-1', `${dead}.bak`, '.nfs0001'];
    const old = new Date(Date.now() - 7_200_000);
    for (const name of [living, dead, gone, elsewhere, `${elsewhere.slice(0, -1)}1`, ...foreign]) {
      writeFileSync(join(temporary, name), 'x');
      utimesSync(join(temporary, name), old, old);
    }
    utimesSync(join(temporary, elsewhere), new Date(), new Date());
    mkdirSync(join(temporary, `warden-1-1-${place}-00000000000d`));
    symlinkSync('/etc/passwd', join(temporary, `warden-1-1-${place}-00000000000e`));

    const { removed } = await store.sweep({ signal, olderThanMs: 3_600_000, now: new Date() });
    expect(removed.map(({ name }) => name.slice(temporary.length + 1)).sort()).toEqual([`${elsewhere.slice(0, -1)}1`, dead, gone].sort());
    expect(readdirSync(temporary)).toHaveLength(foreign.length + 4);
    expect(await names()).toEqual(['a/b']);
  });

  test.runIf(process.getuid?.() === 0)('fault 24: a temporary file of another user is left alone', async () => {
    await put();
    const { temporaryName } = await import('../temporary.ts');
    const name = temporaryName().replace(/-\d+-/, '-1-');
    const { chownSync } = await import('node:fs');
    writeFileSync(join(store.spoolFolder!, name), 'x');
    chownSync(join(store.spoolFolder!, name), 65_534, 65_534);
    expect(await store.sweep({ signal, olderThanMs: 0, now: new Date(Date.now() + 1e9) })).toEqual({ removed: [] });
  });

  test('an unreadable temporary folder is an error, not an empty one', async () => {
    await put();
    rmSync(store.spoolFolder!, { recursive: true });
    expect(await store.sweep({ signal, olderThanMs: 0, now: new Date() })).toEqual({ removed: [] });
    writeFileSync(store.spoolFolder!, 'a file');
    await expect(store.sweep({ signal, olderThanMs: 0, now: new Date() })).rejects.toMatchObject({ code: 'store-unavailable' });
    chmodSync(store.spoolFolder!, 0o600);
  });
});
