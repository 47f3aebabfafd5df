import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { seeded } from '../../test/support/random.ts';
import { WardenError } from '../errors.ts';
import { decodeBytes } from './decode.ts';
import { FRAME_LENGTH } from './frames.ts';
import { openSealed } from './open.ts';
import { createSealer, sealInto, type Sealer } from './sealer.ts';
import { Spool } from './spool.ts';

const never = new AbortController().signal;
let folder: string;
let identity: string;
let recipient: string;
let made = 0;

beforeAll(async () => {
  identity = await generateIdentity();
  recipient = await identityToRecipient(identity);
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealer-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function seal(options: { recipients?: string[]; signal?: AbortSignal } = {}): Promise<Sealer> {
  made += 1;
  return createSealer({
    spoolPath: join(folder, `${made}.tmp`),
    maxPlainBytes: 2 ** 24,
    recipients: options.recipients ?? [],
    signal: options.signal ?? never,
  });
}

async function feed(sealer: Sealer, plain: Buffer, cuts: () => number): Promise<void> {
  for (let at = 0; at < plain.length;) {
    const length = Math.min(plain.length - at, cuts());
    const scratch = Buffer.from(plain.subarray(at, at + length));
    const full = sealer.write(scratch);
    if (full !== undefined) await full;
    scratch.fill(0xee); // the sealer must have copied it
    at += length;
  }
}

async function decode(path: string, name: string, identities: readonly string[] = []): Promise<Buffer> {
  const parts: Buffer[] = [];
  async function* once(): AsyncGenerator<Buffer> {
    yield readFileSync(path);
  }
  for await (const part of decodeBytes(once(), name, { signal: never, identities })) parts.push(part);
  return Buffer.concat(parts);
}

function sampleOf(length: number, seed: number): Buffer {
  const plain = seeded(seed).fill(Buffer.alloc(length));
  for (let at = 0; at < length; at += 4096) plain.fill(0x61, at, Math.min(length, at + 3000)); // compresses, but not to nothing
  return plain;
}

describe('sealer', () => {
  test('property: however a stream is cut, the same plain bytes come out, and every figure is true', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 0, max: 2 * FRAME_LENGTH + 5 }),
        fc.integer({ min: 1, max: 2_000_000 }),
        fc.boolean(),
        async (seed, length, most, encrypted) => {
          const plain = sampleOf(length, seed);
          const random = seeded(seed);
          const sealer = await seal({ recipients: encrypted ? [recipient] : [] });
          await feed(sealer, plain, () => 1 + random.below(most));
          const figures = await sealer.finish();
          const stored = readFileSync(sealer.spool.path);
          expect(figures).toEqual({
            plainBytes: length,
            plainSha256: createHash('sha256').update(plain).digest('hex'),
            storedBytes: stored.length,
            storedSha256: createHash('sha256').update(stored).digest('hex'),
            storedCrc32: crc32(stored).toString(16).padStart(8, '0'),
            encryption: encrypted ? 'age' : 'none',
          });
          expect(sealer.spool.maxLength).toBeGreaterThanOrEqual(stored.length);
          expect(await sealer.spool.finished).toEqual({ length: stored.length, sha256: figures.storedSha256, crc32: figures.storedCrc32 });
          expect((await decode(sealer.spool.path, encrypted ? 'x.zst.age' : 'x.zst', [identity])).equals(plain)).toBe(true);
          const open = await openSealed(sealer.sealed());
          expect(open.size).toBe(length);
          const from = random.below(length + 1);
          const count = random.below(length - from + 1);
          expect((await open.read(from, count)).equals(plain.subarray(from, from + count))).toBe(true);
          await open.close();
          await sealer.abort();
          expect(existsSync(sealer.spool.path)).toBe(false);
        },
      ),
      { numRuns: 12, seed: 7 },
    );
  });

  test('a digest in between counts everything so far and changes nothing', async () => {
    const sealer = await seal();
    await sealer.write(Buffer.from('data'));
    expect(sealer.digest().equals(createHash('sha256').update('data').digest())).toBe(true);
    await sealer.write(Buffer.from(' and more'));
    expect((await sealer.finish()).plainSha256).toBe(createHash('sha256').update('data and more').digest('hex'));
    await sealer.abort();
  });

  test('memory stays flat: a writer that is faster than the disk has to wait', async () => {
    const release: (() => void)[] = [];
    const spool = new Spool(
      {
        writev: (buffers) =>
          new Promise((resolve) =>
            release.push(() => resolve({ bytesWritten: buffers.reduce((sum, each) => sum + each.byteLength, 0), buffers })),
          ),
        datasync: () => Promise.resolve(),
        close: () => Promise.resolve(),
      },
      join(folder, 'slow'),
      1,
    );
    const sealer = sealInto(spool, { signal: never });
    const block = Buffer.alloc(FRAME_LENGTH);
    let taken = 0;
    let full: void | Promise<void> = undefined;
    while (full === undefined) {
      full = sealer.write(block);
      taken += 1;
    }
    expect(taken).toBe(9); // eight blocks are in use, the ninth waits
    let through = false;
    const waiting = full.then(() => (through = true));
    const drain = setInterval(() => release.splice(0).forEach((each) => each()), 1);
    await waiting;
    expect(through).toBe(true);
    expect((await sealer.finish()).plainBytes).toBe(9 * FRAME_LENGTH);
    clearInterval(drain);
  });

  test('a failing disk reaches the writer, also one that waits', async () => {
    const failure = Object.assign(new Error('EIO'), { code: 'EIO' });
    const spool = new Spool(
      { writev: () => Promise.reject(failure), datasync: () => Promise.resolve(), close: () => Promise.resolve() },
      join(folder, 'bad'),
      1,
    );
    const sealer = sealInto(spool, { signal: never });
    await expect(async () => {
      for (let i = 0; i < 20; i += 1) await sealer.write(Buffer.alloc(FRAME_LENGTH));
    }).rejects.toMatchObject({ code: 'disk-failed' });
    await expect(sealer.finish()).rejects.toMatchObject({ code: 'disk-failed' });
    await expect(sealer.spool.finished).rejects.toMatchObject({ code: 'disk-failed' });
  });

  test('an aborted run writes no more, tells readers why, and leaves no file', async () => {
    const stop = new AbortController();
    const sealer = await seal({ signal: stop.signal });
    await sealer.write(Buffer.alloc(100));
    const reader = sealer.spool.waitBeyond(2 ** 30, never);
    reader.catch(() => undefined);
    stop.abort(new WardenError('interrupted', 'stopped by SIGTERM'));
    expect(() => sealer.write(Buffer.alloc(1))).toThrow('stopped by SIGTERM');
    await expect(reader).rejects.toThrow('stopped by SIGTERM');
    await expect(sealer.finish()).rejects.toThrow('stopped by SIGTERM');
    await sealer.abort();
    await sealer.abort();
    expect(existsSync(sealer.spool.path)).toBe(false);
    await expect(seal({ signal: stop.signal })).rejects.toThrow('stopped by SIGTERM');
  });

  test('a reason given to abort is what readers are told', async () => {
    const sealer = await seal();
    const finished = sealer.spool.finished;
    finished.catch(() => undefined);
    await sealer.abort(new WardenError('snapshot-hash-mismatch', 'wrong'));
    await expect(finished).rejects.toMatchObject({ code: 'snapshot-hash-mismatch' });
  });

  test('a spool that is not finished cannot be opened', async () => {
    const sealer = await seal();
    expect(() => sealer.sealed()).toThrow(/not finished/);
    await sealer.abort();
  });

  test('recipients are checked before a file is made', async () => {
    await expect(seal({ recipients: ['age1wrong'] })).rejects.toMatchObject({ code: 'config-invalid' });
    expect(existsSync(join(folder, `${made}.tmp`))).toBe(false);
  });
});
