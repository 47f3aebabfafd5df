import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSpool, Spool, type SpoolHandle } from './spool.ts';

const never = new AbortController().signal;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spool-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A disk that takes `room` bytes, and whose fsync fails when told. */
function disk(options: { room?: number; code?: string; sync?: string; step?: number }): { handle: SpoolHandle; calls: string[] } {
  let room = options.room ?? Infinity;
  const calls: string[] = [];
  const failure = (code: string): Error => Object.assign(new Error(`${code}: told to fail`), { code });
  const handle: SpoolHandle = {
    writev<T extends readonly NodeJS.ArrayBufferView[]>(buffers: T) {
      const length = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
      const bytesWritten = Math.min(length, room, options.step ?? Infinity);
      calls.push(`write ${bytesWritten}`);
      if (bytesWritten === 0 && length > 0) return Promise.reject(failure(options.code ?? 'ENOSPC'));
      room -= bytesWritten;
      return Promise.resolve({ bytesWritten, buffers });
    },
    datasync() {
      calls.push('sync');
      return options.sync === undefined ? Promise.resolve() : Promise.reject(failure(options.sync));
    },
    close() {
      calls.push('close');
      return Promise.resolve();
    },
  };
  return { handle, calls };
}

describe('spool', () => {
  test('readers follow it while it grows, and learn length and checksums at its end', async () => {
    const path = join(folder, 'a.tmp');
    const spool = await createSpool(path, 1000);
    const seen: number[] = [];
    const reader = (async () => {
      for (;;) {
        const before = seen.at(-1) ?? 0;
        await spool.waitBeyond(before, never);
        seen.push(spool.available);
        if (spool.available === before) return;
      }
    })();
    await spool.append([Buffer.from('one '), Buffer.alloc(0), Buffer.from('two ')]);
    await spool.append([]);
    await spool.append([Buffer.from('three')]);
    const figures = spool.end();
    await reader;
    await spool.sync();
    await spool.close();
    const bytes = readFileSync(path);
    expect(bytes.toString()).toBe('one two three');
    expect(figures).toEqual({
      length: 13,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      crc32: crc32(bytes).toString(16).padStart(8, '0'),
    });
    expect(await spool.finished).toEqual(figures);
    expect(seen.at(-1)).toBe(13);
  });

  test.each([0o000, 0o077, 0o777])('fault 25: whatever the umask (%o), the file is 0600', async (mask) => {
    const before = process.umask(mask);
    try {
      const path = join(folder, 'masked.tmp');
      const spool = await createSpool(path, 10);
      expect(statSync(path).mode & 0o7777).toBe(0o600);
      await spool.remove();
    } finally {
      process.umask(before);
    }
  });

  test('fault 22: an existing file, a symbolic link and a missing folder are refused by name', async () => {
    const taken = join(folder, 'taken');
    writeFileSync(taken, 'mine');
    symlinkSync('/etc/hostname', join(folder, 'link'));
    await expect(createSpool(taken, 10)).rejects.toMatchObject({
      code: 'disk-failed',
      message: expect.stringContaining('exists already') as string,
    });
    await expect(createSpool(join(folder, 'link'), 10)).rejects.toMatchObject({ code: 'disk-failed' });
    await expect(createSpool(join(folder, 'none', 'x'), 10)).rejects.toThrow(/no such folder/);
    await expect(createSpool(join(taken, 'x'), 10)).rejects.toThrow(/not a folder/);
    expect(readFileSync(taken, 'utf8')).toBe('mine');
  });

  test.each([0, 7, 11])('fault 20: a disk that is full at byte %i is told with path, free and needed bytes', async (room) => {
    const { handle } = disk({ room });
    const spool = new Spool(handle, join(folder, 'x.tmp'), 12);
    const waiting = spool.waitBeyond(11, never);
    waiting.catch(() => undefined);
    await expect(spool.append([Buffer.from('0123'), Buffer.from('45678901')])).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringMatching(new RegExp(`${folder}/x.tmp.*ENOSPC.*\\d+ bytes free, about ${12 - room} more`)) as string,
    });
    await expect(waiting).rejects.toMatchObject({ code: 'disk-full' });
    await expect(spool.finished).rejects.toMatchObject({ code: 'disk-full' });
    await expect(spool.append([Buffer.from('x')])).rejects.toMatchObject({ code: 'disk-full' });
    expect(() => spool.end()).toThrow(/ENOSPC/);
  });

  test('a quota counts as a full disk', async () => {
    const spool = new Spool(disk({ room: 0, code: 'EDQUOT' }).handle, join(folder, 'x'), 12);
    await expect(spool.append([Buffer.from('x')])).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('quota') as string,
    });
  });

  test('fault 21: EIO on write ends the spool', async () => {
    const spool = new Spool(disk({ room: 3, code: 'EIO' }).handle, join(folder, 'x'), 12);
    await expect(spool.append([Buffer.from('12345')])).rejects.toMatchObject({
      code: 'disk-failed',
      message: expect.stringContaining('EIO') as string,
    });
  });

  test('fault 21: after a failed fsync there is no second one', async () => {
    const { handle, calls } = disk({ sync: 'EIO' });
    const spool = new Spool(handle, join(folder, 'x'), 12);
    await spool.append([Buffer.from('12345')]);
    spool.end();
    await expect(spool.sync()).rejects.toMatchObject({ code: 'disk-failed', message: expect.stringContaining('sync') as string });
    await expect(spool.sync()).rejects.toMatchObject({ code: 'disk-failed' });
    expect(calls).toEqual(['write 5', 'sync']);
  });

  test('what is written is pushed to the disk in steps of 32 MiB, and a failure there ends the spool', async () => {
    const block = Buffer.alloc(8 * 2 ** 20);
    const good = disk({});
    const spool = new Spool(good.handle, join(folder, 'x'), 12);
    for (let i = 0; i < 9; i += 1) await spool.append([block]);
    spool.end();
    await spool.sync();
    await spool.close();
    await spool.close();
    expect(good.calls.filter((call) => call === 'sync').length).toBe(3); // after 32, after 64, at the end
    expect(good.calls.filter((call) => call === 'close').length).toBe(1);
    const bad = disk({ sync: 'EIO' });
    const failing = new Spool(bad.handle, join(folder, 'x'), 12);
    for (let i = 0; i < 4; i += 1) await failing.append([block]);
    await expect(failing.sync()).rejects.toMatchObject({ code: 'disk-failed' });
    expect(bad.calls.filter((call) => call === 'sync').length).toBe(1);
  });

  test('a disk that takes a few bytes at a time gets them all', async () => {
    const { handle, calls } = disk({ step: 3 });
    const spool = new Spool(handle, join(folder, 'x'), 12);
    await spool.append([Buffer.from('12'), Buffer.from('3456'), Buffer.from('7')]);
    expect(spool.available).toBe(7);
    expect(calls).toEqual(['write 3', 'write 3', 'write 1']);
  });

  test('a reader that is told to stop, stops', async () => {
    const spool = new Spool(disk({}).handle, join(folder, 'x'), 12);
    const stop = new AbortController();
    const waiting = spool.waitBeyond(0, stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(spool.waitBeyond(0, stop.signal)).rejects.toThrow('enough');
  });

  test('giving up removes the file and tells readers, once or many times', async () => {
    const path = join(folder, 'gone');
    const spool = await createSpool(path, 10);
    const waiting = spool.waitBeyond(0, never);
    waiting.catch(() => undefined);
    await spool.remove();
    await spool.remove();
    expect(() => statSync(path)).toThrow(/ENOENT/);
    await expect(waiting).rejects.toMatchObject({ code: 'interrupted' });
  });
});
