import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seeded } from '../../test/support/random.ts';
import { createScratch, scratchOver, type ScratchHandle } from './scratch.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'scratch-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What the kernel says of our own descriptors that point into the folder. */
function openFiles(): { readonly target: string; readonly mode: number; readonly fd: string }[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(folder) ? [{ fd, target, mode: statSync(`/proc/self/fd/${fd}`).mode & 0o7777 }] : [];
    } catch {
      return []; // the descriptor of this very listing
    }
  });
}

/** A disk in memory that takes `room` bytes, at most `step` in one call. */
function disk(options: { room?: number; step?: number; readError?: string; short?: boolean } = {}): {
  handle: ScratchHandle;
  bytes: Buffer;
  closed: () => boolean;
} {
  const bytes = Buffer.alloc(1 << 16);
  let room = options.room ?? Infinity;
  let closed = false;
  const handle = {
    write(source: Buffer, at: number, length: number, position: number) {
      const bytesWritten = Math.min(length, room, options.step ?? Infinity);
      if (bytesWritten === 0) return Promise.reject(Object.assign(new Error('ENOSPC: told to fail'), { code: 'ENOSPC' }));
      room -= bytesWritten;
      source.copy(bytes, position, at, at + bytesWritten);
      return Promise.resolve({ bytesWritten, buffer: source });
    },
    read(target: Buffer, at: number, length: number, position: number) {
      if (options.readError !== undefined) return Promise.reject(Object.assign(new Error('told to fail'), { code: options.readError }));
      const bytesRead = options.short === true ? 0 : Math.min(length, options.step ?? Infinity);
      bytes.copy(target, at, position, position + bytesRead);
      return Promise.resolve({ bytesRead, buffer: target });
    },
    close() {
      closed = true;
      return Promise.resolve();
    },
  } as unknown as ScratchHandle;
  return { handle, bytes, closed: () => closed };
}

describe('scratch files', () => {
  test.each([false, true])('what was appended in pieces is read anywhere (encrypted: %s)', async (encrypted) => {
    const random = seeded(7);
    const scratch = createScratch(join(folder, 'made', 'here'), { encrypted });
    const file = await scratch.create();
    const whole = random.fill(Buffer.alloc(700_000));
    for (let at = 0; at < whole.length;) {
      const length = random.below(8) === 0 ? 300_001 : random.below(5000);
      const piece = Buffer.from(whole.subarray(at, at + length));
      await file.append(piece);
      piece.fill(0); // may be used again
      at += length;
    }
    expect(file.size).toBe(whole.length);
    for (let i = 0; i < 50; i += 1) {
      const offset = random.below(whole.length);
      const length = random.below(Math.min(70_000, whole.length - offset) + 1);
      expect((await file.read(offset, length)).equals(whole.subarray(offset, offset + length))).toBe(true);
    }
    expect((await file.read(whole.length, 0)).length).toBe(0);
    await file.close();
  });

  test('a file has no name and mode 0600, its folder 0700, and its space is free when it is closed', async () => {
    const inside = join(folder, 'tmp');
    const scratch = createScratch(inside, { encrypted: false });
    const files = [await scratch.create(), await scratch.create()];
    expect(readdirSync(inside)).toEqual([]);
    expect(statSync(inside).mode & 0o7777).toBe(0o700);
    expect(openFiles().map(({ mode }) => mode)).toEqual([0o600, 0o600]);
    expect(openFiles().every(({ target }) => target.endsWith('(deleted)'))).toBe(true);
    for (const file of files) await file.close();
    expect(openFiles()).toEqual([]);
  });

  test('beside an encrypted backup no plain byte reaches the disk, and two files have different keys', async () => {
    const secret = Buffer.from('password: correct horse battery staple'.repeat(20));
    const [one, other] = [disk(), disk()];
    await scratchOver(one.handle, '/x', { encrypted: true }).append(secret);
    await scratchOver(other.handle, '/x', { encrypted: true }).append(secret);
    expect(one.bytes.includes('correct')).toBe(false);
    expect(one.bytes.subarray(0, secret.length).equals(other.bytes.subarray(0, secret.length))).toBe(false);
    const plain = disk();
    await scratchOver(plain.handle, '/x', { encrypted: false }).append(secret);
    expect(plain.bytes.subarray(0, secret.length).equals(secret)).toBe(true);
  });

  test('a kernel that takes and gives less than it was asked is asked again', async () => {
    const file = scratchOver(disk({ step: 7 }).handle, '/x', { encrypted: true });
    const bytes = Buffer.from('thirty-three bytes of some content');
    await file.append(bytes);
    expect((await file.read(3, 20)).equals(bytes.subarray(3, 23))).toBe(true);
  });

  test('a full disk is named with path, free and needed bytes', async () => {
    const path = join(folder, 'warden-x');
    const file = scratchOver(disk({ room: 100 }).handle, path, { encrypted: false });
    await expect(file.append(Buffer.alloc(300))).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringMatching(
        new RegExp(`^cannot write ${path}: no space left on the device \\(ENOSPC\\), \\d+ bytes free, about 200 more needed$`, 'u'),
      ),
    });
    expect(file.size).toBe(100);
  });

  test('a failing disk is named, and a read outside the file refused', async () => {
    const broken = scratchOver(disk({ readError: 'EIO' }).handle, '/x/y', { encrypted: false });
    await broken.append(Buffer.alloc(10));
    await expect(broken.read(0, 5)).rejects.toMatchObject({ code: 'disk-failed', message: 'cannot read /x/y: the device failed (EIO)' });
    for (const [offset, length] of [
      [-1, 1],
      [0, -1],
      [6, 5],
    ] as const) {
      await expect(broken.read(offset, length)).rejects.toMatchObject({ code: 'verification-failed' });
    }
    const cut = disk({ short: true });
    const short = scratchOver(cut.handle, '/x/y', { encrypted: false });
    await short.append(Buffer.alloc(10));
    await expect(short.read(0, 5)).rejects.toMatchObject({ code: 'verification-failed' });
    await short.close();
    expect(cut.closed()).toBe(true);
  });

  test('a folder that cannot be made is named', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(createScratch(join(folder, 'file', 'below'), { encrypted: false }).create()).rejects.toMatchObject({
      code: 'disk-failed',
    });
  });
});
