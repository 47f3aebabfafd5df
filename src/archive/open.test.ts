import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { seeded } from '../../test/support/random.ts';
import { decodeBytes, decodeStream, hashContent, hashStored } from './decode.ts';
import { FRAME_LENGTH } from './frames.ts';
import { openObject, openPath } from './open.ts';
import { createSealer } from './sealer.ts';
import { encodeSeekTable } from './seek-table.ts';

const { signal } = new AbortController();
const LENGTH = 5 * FRAME_LENGTH + 12_345;
let folder: string;
let identity: string;
let identities: string[];
let plain: Buffer;
let store: MemoryStore;

async function sealed(bytes: Buffer, recipients: readonly string[]): Promise<Buffer> {
  const sealer = await createSealer({ spoolPath: join(folder, `${Math.random()}`), maxPlainBytes: bytes.length, recipients, signal });
  await sealer.write(bytes);
  await sealer.finish();
  const stored = readFileSync(sealer.spool.path);
  await sealer.abort();
  return stored;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'open-'));
  identity = await generateIdentity();
  identities = [identity];
  plain = seeded(4).fill(Buffer.alloc(LENGTH));
  for (let at = 0; at < LENGTH; at += 4096) plain.fill(0, at, Math.min(LENGTH, at + 3500));
  store = memoryStore('memory');
  await store.put('a.db.zst', await sealed(plain, []), { signal });
  await store.put('b.db.zst.age', await sealed(plain, [await identityToRecipient(identity)]), { signal });
  await store.put('c.db', plain, { signal });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

async function* inChunks(bytes: Buffer, length = 65_536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

describe('reading archives', () => {
  test.each(['a.db.zst', 'b.db.zst.age', 'c.db'])('random reads of %s give what the plain file has there', async (key) => {
    const random = seeded(6);
    const path = join(folder, key);
    writeFileSync(path, store.objects.get(key)!.body);
    for (const open of [await openObject(store, key, { signal, identities }), await openPath(path, { signal, identities })]) {
      expect(open.size).toBe(LENGTH);
      expect({ encrypted: open.encrypted, compressed: open.compressed }).toEqual({
        encrypted: key.endsWith('.age'),
        compressed: key !== 'c.db',
      });
      const ranges: [number, number][] = [
        [0, 0],
        [0, 1],
        [LENGTH - 1, 1],
        [LENGTH, 0],
        [FRAME_LENGTH - 1, 2],
        [0, LENGTH],
        ...Array.from({ length: 60 }, (): [number, number] => {
          const at = random.below(LENGTH);
          return [at, random.below(Math.min(LENGTH - at, random.below(3) === 0 ? 3 * FRAME_LENGTH : 5000))];
        }),
      ];
      for (const [at, length] of ranges)
        expect((await open.read(at, length)).equals(plain.subarray(at, at + length)), `${at}+${length}`).toBe(true);
      await expect(open.read(LENGTH - 1, 2)).rejects.toMatchObject({ code: 'verification-failed' });
      await open.close();
    }
  });

  test('a point read of an object fetches a few hundred KiB, and a neighbour none', async () => {
    const open = await openObject(store, 'b.db.zst.age', { signal, identities });
    store.calls.length = 0;
    await open.read(3 * FRAME_LENGTH + 100, 16);
    await open.read(3 * FRAME_LENGTH + 5000, 4096);
    expect(store.calls).toEqual(['get b.db.zst.age']);
  });

  test('decoding in file order gives the plain bytes, whatever the chunks', async () => {
    for (const key of ['a.db.zst', 'b.db.zst.age', 'c.db']) {
      expect((await collect(decodeStream(store, key, { signal, identities }))).equals(plain)).toBe(true);
      const { body } = store.objects.get(key)!;
      for (const cut of [977, 2 ** 20, body.length])
        expect((await collect(decodeBytes(inChunks(body, cut), key, { signal, identities }))).equals(plain)).toBe(true);
      expect((await collect(decodeBytes(inChunks(body), 'no suffix', { signal, identities }))).equals(plain)).toBe(true);
    }
  });

  test('the levels "stored" and "content" tell the figures that the sealer told', async () => {
    const { body } = store.objects.get('b.db.zst.age')!;
    const stored = await hashStored(store, 'b.db.zst.age', { signal });
    expect(stored).toMatchObject({ storedBytes: body.length, storedSha256: createHash('sha256').update(body).digest('hex') });
    const seen: number[] = [];
    const content = await hashContent(store, 'b.db.zst.age', { signal, identities, onProgress: (bytes) => void seen.push(bytes) });
    expect(content).toEqual({ ...stored, plainBytes: LENGTH, plainSha256: createHash('sha256').update(plain).digest('hex') });
    expect(seen.at(-1)).toBe(body.length);
  });

  test('a missing object, a missing file, a folder: told by name', async () => {
    await expect(openObject(store, 'none', { signal })).rejects.toMatchObject({ code: 'object-missing' });
    await expect(openPath(join(folder, 'none'), { signal })).rejects.toMatchObject({ code: 'disk-failed' });
    await expect(openPath(folder, { signal })).rejects.toThrow(/not a file/);
  });

  test('an encrypted object without identity: exit code 12', async () => {
    await expect(openObject(store, 'b.db.zst.age', { signal })).rejects.toMatchObject({ code: 'key-missing', exitCode: 12 });
    await expect(hashContent(store, 'b.db.zst.age', { signal, identities: [await generateIdentity()] })).rejects.toMatchObject({
      code: 'key-missing',
    });
  });

  test('a file cut shorter after it was opened is found by the read', async () => {
    const path = join(folder, 'cut.db');
    writeFileSync(path, plain.subarray(0, 10_000));
    const open = await openPath(path, { signal });
    writeFileSync(path, plain.subarray(0, 100));
    await expect(open.read(50, 100)).rejects.toMatchObject({ code: 'verification-failed' });
    await open.close();
  });
});

describe('damage', () => {
  test('property: fault 36: any flipped byte and any cut of a stored object is an error, or changes nothing', async () => {
    const random = seeded(11);
    const small = plain.subarray(0, FRAME_LENGTH + 40_000);
    const recipient = await identityToRecipient(identity);
    for (const [name, body] of [
      ['x.zst', await sealed(small, [])],
      ['x.zst.age', await sealed(small, [recipient])],
    ] as const) {
      for (let i = 0; i < 60; i += 1) {
        const bad = Buffer.from(body);
        // Beginning, end and middle: headers and tables are short and matter most.
        const at = [random.below(300), body.length - 1 - random.below(60), random.below(body.length)][i % 3]!;
        bad[at]! ^= 1 << random.below(8);
        const outcome = await collect(decodeBytes(inChunks(bad), name, { signal, identities })).catch((error: unknown) => error);
        if (Buffer.isBuffer(outcome)) expect(outcome.equals(small), `${name} byte ${at}`).toBe(true);
        else
          expect(outcome, `${name} byte ${at}`).toMatchObject({
            name: 'WardenError',
            exitCode: expect.toSatisfy((code) => code === 12 || code === 13) as number,
          });
      }
      for (let i = 0; i < 30; i += 1) {
        const length = i % 2 === 0 ? random.below(body.length) : body.length - 1 - random.below(40);
        const outcome = await collect(decodeBytes(inChunks(body.subarray(0, length)), name, { signal, identities })).catch(
          (error: unknown) => error,
        );
        // A cut exactly behind the last frame takes only the seek table: the content is whole, and the stored hash tells.
        if (Buffer.isBuffer(outcome)) expect(outcome.equals(small), `${name} cut to ${length}`).toBe(true);
        else expect(outcome, `${name} cut to ${length}`).toMatchObject({ name: 'WardenError' });
      }
    }
  });

  test('a seek table that lies is found in file order, and by a random read', async () => {
    const body = Buffer.from(store.objects.get('a.db.zst')!.body);
    const tableLength = encodeSeekTable(Array.from({ length: 6 }, () => ({ storedLength: 1, plainLength: 1 }))).length;
    const at = body.length - tableLength + 8;
    body.writeUInt32LE(body.readUInt32LE(at + 4) + 1, at + 4); // plain length of frame 0
    await expect(collect(decodeBytes(inChunks(body), 'x.zst', { signal }))).rejects.toThrow(/seek table gives other lengths for frame 0/);
    await store.put('lie.zst', body, { signal });
    const open = await openObject(store, 'lie.zst', { signal });
    await expect(open.read(10, 10)).rejects.toThrow(/frame 0 holds/);
    body.writeUInt32LE(body.readUInt32LE(at) + 1, at); // stored length: does not add up
    await expect(collect(decodeBytes(inChunks(body), 'x.zst', { signal }))).rejects.toThrow(
      /every frame is right, but the seek table adds up/,
    );
    body.writeUInt32LE(0xffffffff, body.length - 9);
    await store.put('claim.zst', body, { signal });
    await expect(openObject(store, 'claim.zst', { signal })).rejects.toMatchObject({ code: 'not-seekable' });
  });

  test('a name that promises a layer is held to it', async () => {
    await expect(collect(decodeBytes(inChunks(plain), 'x.db.zst', { signal }))).rejects.toThrow(/does not begin as a zstd file/);
    await expect(collect(decodeBytes(inChunks(plain), 'x.db.zst.age', { signal }))).rejects.toThrow(/does not begin as an age file/);
    await expect(collect(decodeBytes(inChunks(Buffer.alloc(0)), 'x.db.zst', { signal }))).rejects.toMatchObject({
      code: 'verification-failed',
    });
    expect((await collect(decodeBytes(inChunks(Buffer.alloc(0)), 'x.db', { signal }))).length).toBe(0);
  });

  test('foreign files without a seek table are decoded in order, one frame or many, and cannot be read from the middle', async () => {
    const one = zstdCompressSync(plain, { params: { [constants.ZSTD_c_contentSizeFlag]: 0, [constants.ZSTD_c_checksumFlag]: 0 } });
    const skippable = Buffer.from('502a4d180300000061626300', 'hex').subarray(0, 11);
    const many = Buffer.concat([
      skippable,
      ...Array.from({ length: 12 }, (_, i) => zstdCompressSync(plain.subarray(i * 400_000, (i + 1) * 400_000))),
    ]);
    expect((await collect(decodeBytes(inChunks(one), 'x.zst', { signal }))).equals(plain)).toBe(true);
    expect((await collect(decodeBytes(inChunks(many), 'x.zst', { signal }))).equals(plain.subarray(0, 12 * 400_000))).toBe(true);
    await store.put('foreign.zst', many, { signal });
    await expect(openObject(store, 'foreign.zst', { signal })).rejects.toMatchObject({
      code: 'not-seekable',
      hint: expect.stringContaining('zstd -d') as string,
    });
  });

  test('rubbish behind the frames, a reserved block and an oversized skippable frame are refused', async () => {
    const frame = zstdCompressSync(Buffer.alloc(1000));
    await expect(collect(decodeBytes(inChunks(Buffer.concat([frame, Buffer.from('rubbish')])), 'x.zst', { signal }))).rejects.toThrow(
      /frame 1 does not start/,
    );
    const reserved = Buffer.from('28b52ffd200506000000', 'hex');
    await expect(collect(decodeBytes(inChunks(reserved), 'x.zst', { signal }))).rejects.toThrow(/reserved/);
    const claim = Buffer.from('502a4d18ffffffff00', 'hex');
    await expect(collect(decodeBytes(inChunks(claim), 'x.zst', { signal }))).rejects.toThrow(/skippable frame of 4294967295/);
    const huge = Buffer.from('28b52ffda0010000080100000000', 'hex');
    await expect(collect(decodeBytes(inChunks(huge), 'x.zst', { signal }))).rejects.toThrow(/more than 128 MiB/);
  });

  test('a reader that stops early ends the stream underneath', async () => {
    let closed = false;
    async function* source(): AsyncGenerator<Buffer> {
      try {
        yield* inChunks(store.objects.get('a.db.zst')!.body);
      } finally {
        closed = true;
      }
    }
    for await (const part of decodeBytes(source(), 'a.db.zst', { signal })) if (part.length > 0) break;
    expect(closed).toBe(true);
  });
});
