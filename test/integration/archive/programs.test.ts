import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeBytes, hashContent } from '../../../src/archive/decode.ts';
import { openPath } from '../../../src/archive/open.ts';
import { createSealer } from '../../../src/archive/sealer.ts';
import { parseIdentities } from '../../../src/archive/age.ts';
import { program } from '../../../tools/programs.ts';
import { memoryStore } from '../../support/memory-store.ts';
import { run } from '../../support/processes.ts';
import { seeded } from '../../support/random.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const { signal } = new AbortController();
const age = program('age');
const zstd = program('zstd');
let folder: string;
let keyFile: string;
let recipient: string;
let identities: string[];
let plainFile: string;
let plain: Buffer;

beforeAll(async () => {
  folder = temporaryFolder('archive');
  keyFile = join(folder, 'key.txt');
  await run(program('age-keygen'), ['-o', keyFile]);
  identities = await parseIdentities(readFileSync(keyFile, 'utf8'), keyFile);
  recipient = (await run(program('age-keygen'), ['-y', keyFile])).trim();
  plain = seeded(8).fill(Buffer.alloc(5 * 2 ** 20 + 777));
  for (let at = 0; at < plain.length; at += 4096) plain.fill('json', at, Math.min(plain.length, at + 3400));
  plainFile = join(folder, 'plain');
  writeFileSync(plainFile, plain);
});
afterAll(() => removeFolder(folder));

async function seal(name: string, recipients: readonly string[]): Promise<string> {
  const path = join(folder, name);
  const sealer = await createSealer({ spoolPath: path, maxPlainBytes: plain.length, recipients, signal });
  await sealer.write(plain);
  await sealer.finish();
  return path;
}

async function decode(path: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  async function* once(): AsyncGenerator<Buffer> {
    yield readFileSync(path);
  }
  for await (const part of decodeBytes(once(), path, { signal, identities })) parts.push(part);
  return Buffer.concat(parts);
}

describe('archives and the programs of others', () => {
  test('nobody is locked in: age -d and zstd -d give the plain file back, and find nothing wrong', async () => {
    const sealed = await seal('ours.db.zst.age', [recipient]);
    await run(age, ['-d', '-i', keyFile, '-o', join(folder, 'ours.db.zst'), sealed]);
    await run(zstd, ['-q', '-t', join(folder, 'ours.db.zst')]);
    await run(zstd, ['-q', '-d', join(folder, 'ours.db.zst')]);
    expect(readFileSync(join(folder, 'ours.db')).equals(plain)).toBe(true);
  });

  test('zstd lists the frames with their sizes and checksums, and the seek table as a skippable frame', async () => {
    const sealed = await seal('listed.db.zst', []);
    expect(await run(zstd, ['-l', '-v', sealed])).toMatch(
      /Skippable Frames: 1[\s\S]*Decompressed Size: .*\(5243657 B\)[\s\S]*Check: XXH64/,
    );
  });

  test('what age encrypts, to several recipients too, we decrypt', async () => {
    const otherKey = join(folder, 'other.txt');
    await run(program('age-keygen'), ['-o', otherKey]);
    const other = (await run(program('age-keygen'), ['-y', otherKey])).trim();
    await run(age, ['-r', other, '-r', recipient, '-o', join(folder, 'theirs.age'), plainFile]);
    expect((await decode(join(folder, 'theirs.age'))).equals(plain)).toBe(true);
    const open = await openPath(join(folder, 'theirs.age'), { signal, identities });
    expect((await open.read(1_000_000, 200_000)).equals(plain.subarray(1_000_000, 1_200_000))).toBe(true);
    await open.close();
    writeFileSync(join(folder, 'empty'), '');
    await run(age, ['-r', recipient, '-o', join(folder, 'empty.age'), join(folder, 'empty')]);
    expect((await decode(join(folder, 'empty.age'))).length).toBe(0);
  });

  test('the same objects through a store tell the hash of the plain file', async () => {
    const store = memoryStore('copy');
    await store.put('x.db.zst.age', readFileSync(await seal('stored.db.zst.age', [recipient])), { signal });
    expect((await hashContent(store, 'x.db.zst.age', { signal, identities })).plainSha256).toBe(
      createHash('sha256').update(plain).digest('hex'),
    );
  });

  test('files of the zstd command are decoded: one frame, many, with long windows, from a pipe', async () => {
    for (const [name, flags] of Object.entries({
      one: ['-3'],
      threads: ['-T2', '-B1M', '-1'],
      long: ['--long=27', '-1'],
      raw: ['--no-check', '--fast=5'],
    })) {
      const path = join(folder, `${name}.zst`);
      await run(zstd, ['-q', ...flags, '-o', path, plainFile]);
      expect((await decode(path)).equals(plain), name).toBe(true);
    }
    await run('/bin/sh', ['-c', `${zstd} -q -c < ${plainFile} > ${folder}/piped.zst; ${zstd} -q -c < ${plainFile} >> ${folder}/piped.zst`]);
    expect((await decode(join(folder, 'piped.zst'))).equals(Buffer.concat([plain, plain]))).toBe(true);
  });

  test('a file with a window beyond 128 MiB is refused instead of taking the memory', async () => {
    const path = join(folder, 'window.zst');
    await run('/bin/sh', ['-c', `head -c 300000000 /dev/zero | ${zstd} -q --ultra --long=28 -c > ${path}`]);
    await expect(decode(path)).rejects.toThrow(/declares more than 128 MiB/);
  });
});
