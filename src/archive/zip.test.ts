import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { seeded } from '../../test/support/random.ts';
import { zipFile, type ZipContent, type ZipOptions } from '../../test/support/zip-file.ts';
import { WardenError } from '../errors.ts';
import { isZip, readZip, unzip } from './zip.ts';

const folder = mkdtempSync(join(tmpdir(), 'zip-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'x.zip');
const { signal } = new AbortController();
const random = seeded(23);
const plain = Buffer.concat([random.fill(Buffer.alloc(300_000)), Buffer.alloc(700_000, 'etcd')]);

async function read(bytes: Buffer): Promise<Buffer> {
  writeFileSync(path, bytes);
  const blocks: Buffer[] = [];
  for await (const block of unzip(path, await readZip(path), signal)) blocks.push(Buffer.from(block));
  return Buffer.concat(blocks);
}

const one = (options: ZipOptions = {}, more: readonly ZipContent[] = []): Buffer =>
  zipFile([{ name: 'etcd-snapshot-a-1763805600', plain }, ...more], options);

describe('a zip archive with one file', () => {
  test.each<[string, Buffer]>([
    ['deflated, sizes behind the data', one()],
    ['stored', one({ method: 0 })],
    ['with zip64 sizes', one({ zip64: true })],
    ['with a comment at its end', one({ comment: 'made by k3s' })],
    ['beside its folder', one({}, [{ name: 'snapshots/', plain: Buffer.alloc(0) }])],
  ])('%s is read', async (_how, bytes) => {
    expect(isZip(bytes.subarray(0, 4))).toBe(true);
    expect((await read(bytes)).equals(plain)).toBe(true);
  });

  test.each<[string, Buffer, string, RegExp]>([
    ['two files', one({}, [{ name: 'b', plain }]), 'usage', /exactly one file/],
    ['no file', zipFile([{ name: 'a/', plain: Buffer.alloc(0) }]), 'usage', /exactly one file/],
    ['an encrypted file', one({ flags: 9 }), 'usage', /is encrypted/],
    ['another compression', one({ method: 93 }), 'usage', /by method 93/],
    ['an end that was cut off', one().subarray(0, -30), 'verification-failed', /no end record/],
    ['a wrong CRC32', one({ lie: { crc32: 1 } }), 'verification-failed', /CRC32 of etcd-snapshot-a-1763805600 is wrong/],
    ['more than it declares', one({ lie: { plainBytes: 1000 } }), 'verification-failed', /longer than the 1000 bytes/],
    [
      'less than it declares',
      one({ lie: { plainBytes: 2_000_000 } }),
      'verification-failed',
      /has 1000000 bytes, the archive says 2000000/,
    ],
    ['a claim of a terabyte', one({ zip64: true, lie: { plainBytes: 2 ** 40 } }), 'verification-failed', /claims 1099511627776 bytes/],
    ['an empty file', zipFile([{ name: 'a', plain: Buffer.alloc(0) }], { method: 0 }), 'verification-failed', /is empty/],
  ])('%s is refused', async (_what, bytes, code, sentence) => {
    await expect(read(bytes)).rejects.toMatchObject({ code, message: expect.stringMatching(sentence) });
  });

  test('whatever byte is flipped, it is the same file or an error with a name', async () => {
    const bytes = zipFile([{ name: 'a', plain: plain.subarray(299_000, 301_000) }], { zip64: true });
    for (let at = 0; at < bytes.length; at += at < 1100 ? 37 : 1) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 1 << (at % 8);
      const outcome = await read(damaged).catch((error: unknown) => error);
      if (outcome instanceof Buffer) expect(outcome.equals(plain.subarray(299_000, 301_000))).toBe(true);
      else expect(outcome).toBeInstanceOf(WardenError);
    }
  });
});
