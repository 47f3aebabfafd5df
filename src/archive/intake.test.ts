import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seeded } from '../../test/support/random.ts';
import { type IntakeOptions, type SnapshotPiece, takeSnapshot } from './intake.ts';
import type { Sealer } from './sealer.ts';

const never = new AbortController().signal;
const MESSAGE = 32_768;

/** A sealer that keeps everything; every `slow`th write has to be waited for. */
function collector(slow = Infinity): { readonly sealer: Sealer; readonly bytes: () => Buffer } {
  const parts: Buffer[] = [];
  let calls = 0;
  const sealer = {
    write(bytes: Buffer) {
      calls += 1;
      if (calls % slow !== 0) {
        parts.push(Buffer.from(bytes));
        return undefined;
      }
      return new Promise<void>((resolve) => {
        setImmediate(() => {
          parts.push(Buffer.from(bytes));
          resolve();
        });
      });
    },
    digest: () => createHash('sha256').update(Buffer.concat(parts)).digest(),
  } as unknown as Sealer;
  return { sealer, bytes: () => Buffer.concat(parts) };
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** What a member sends for a database. */
function messagesOf(database: Buffer, version = '3.6.0'): SnapshotPiece[] {
  const messages: SnapshotPiece[] = [];
  for (let at = 0; at < database.length; at += MESSAGE) {
    const blob = database.subarray(at, at + MESSAGE);
    messages.push({ blob, remaining: database.length - at - blob.length, version });
  }
  return [...messages, { blob: sha256(database), remaining: 0, version }];
}

async function* inBatches(messages: readonly SnapshotPiece[], sizes: () => number = () => 3): AsyncGenerator<SnapshotPiece[]> {
  for (let at = 0; at < messages.length;) {
    const count = sizes();
    yield messages.slice(at, at + count);
    at += count;
  }
}

function take(
  messages: readonly SnapshotPiece[],
  options: Partial<IntakeOptions> = {},
  sealer = collector().sealer,
): ReturnType<typeof takeSnapshot> {
  return takeSnapshot(inBatches(messages), sealer, { signal: never, ...options });
}

const database = seeded(3).fill(Buffer.alloc(3 * MESSAGE + 4096));

describe('intake', () => {
  test('property: whatever the length and the batches, the file of etcdctl comes out: database and trailer', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.integer({ min: 1, max: 9 }), async (pages, seed, slow) => {
        const random = seeded(seed);
        const data = random.fill(Buffer.alloc(pages * 512));
        const { sealer, bytes } = collector(slow);
        const totals: number[] = [];
        const intake = await takeSnapshot(
          inBatches(messagesOf(data), () => 1 + random.below(5)),
          sealer,
          { signal: never, onTotal: (total) => void totals.push(total) },
        );
        expect(intake).toEqual({ databaseBytes: data.length, databaseSha256: sha256(data).toString('hex'), storageVersion: '3.6.0' });
        expect(bytes().equals(Buffer.concat([data, sha256(data)]))).toBe(true);
        expect(totals).toEqual([data.length]);
      }),
    );
  });

  test('a database of a multiple of 32 KiB says "0 remaining" twice, and only the end of the stream is its end', async () => {
    const even = database.subarray(0, 2 * MESSAGE);
    expect(messagesOf(even).map((message) => message.remaining)).toEqual([MESSAGE, 0, 0]);
    expect((await take(messagesOf(even))).databaseBytes).toBe(even.length);
  });

  test('fault 16: the version is absent before 3.6, and empty while a database has none', async () => {
    expect((await take(messagesOf(database, ''))).storageVersion).toBeUndefined();
    expect((await take(messagesOf(database).map(({ blob, remaining }) => ({ blob, remaining })))).storageVersion).toBeUndefined();
  });

  test('fault 4: a stream that ends cleanly without the hash is rejected: "snapshot missing hash"', async () => {
    await expect(take(messagesOf(database).slice(0, -1))).rejects.toMatchObject({
      code: 'snapshot-missing-hash',
      message: expect.stringContaining('snapshot missing hash') as string,
    });
  });

  test('fault 7: a last chunk that is one byte short is a wrong length', async () => {
    const messages = messagesOf(database);
    const data = messages.at(-2)!;
    const short = [...messages.slice(0, -2), { ...data, blob: data.blob.subarray(0, -1) }, messages.at(-1)!];
    await expect(take(short)).rejects.toMatchObject({
      code: 'snapshot-wrong-length',
      message: expect.stringContaining('size % 512 is 511') as string,
    });
    const hash = messages.at(-1)!;
    await expect(take([...messages.slice(0, -1), { ...hash, blob: hash.blob.subarray(0, -1) }])).rejects.toMatchObject({
      code: 'snapshot-wrong-length',
      message: expect.stringContaining('size % 512 is 31') as string,
    });
  });

  test('regression #454: a stream that is cut after any number of messages is incomplete, with the bytes that came', async () => {
    const messages = messagesOf(database);
    for (let count = 1; count < messages.length - 1; count += 1) {
      await expect(take(messages.slice(0, count))).rejects.toMatchObject({
        code: 'snapshot-incomplete',
        message: `the snapshot stream ended after ${count * MESSAGE} of ${database.length} bytes`,
      });
    }
    await expect(take([])).rejects.toMatchObject({
      code: 'snapshot-incomplete',
      message: expect.stringContaining('before its first byte') as string,
    });
  });

  test('a message that is lost in the middle, or bytes after the end, are a wrong length', async () => {
    const messages = messagesOf(database);
    await expect(take([messages[0]!, ...messages.slice(2)])).rejects.toMatchObject({ code: 'snapshot-wrong-length' });
    await expect(take([...messages, { blob: Buffer.alloc(1), remaining: 0 }])).rejects.toMatchObject({ code: 'snapshot-wrong-length' });
    await expect(take([{ blob: Buffer.alloc(100), remaining: 0 }])).rejects.toThrow(/announced 100 bytes/);
    await expect(take([{ blob: Buffer.alloc(0), remaining: 0 }])).rejects.toMatchObject({ code: 'snapshot-wrong-length' });
  });

  test('a flipped bit anywhere is a hash mismatch, in the trailer too', async () => {
    const random = seeded(9);
    for (let i = 0; i < 20; i += 1) {
      const messages = messagesOf(database).map((message) => ({ ...message, blob: Buffer.from(message.blob) }));
      const { blob } = messages[i % messages.length]!;
      blob[random.below(blob.length)]! ^= 1 << random.below(8);
      await expect(take(messages)).rejects.toMatchObject({ code: 'snapshot-hash-mismatch' });
    }
  });

  test('the trailer may come in pieces, and with the last bytes of the database', async () => {
    const hash = sha256(database);
    const joined = [
      { blob: Buffer.concat([database, hash.subarray(0, 5)]), remaining: -5 },
      { blob: hash.subarray(5, 20), remaining: 0 },
      { blob: hash.subarray(20), remaining: 0 },
    ];
    await expect(take([{ blob: database.subarray(0, 512), remaining: database.length - 512 }, ...joined.slice(1)])).rejects.toMatchObject({
      code: 'snapshot-wrong-length',
    });
    const { sealer, bytes } = collector();
    await take([{ blob: database, remaining: 0 }, { blob: hash.subarray(0, 5), remaining: 0 }, ...joined.slice(1)], {}, sealer);
    expect(bytes().length).toBe(database.length + 32);
  });

  test('nothing is written before the total is accepted', async () => {
    const { sealer, bytes } = collector();
    await expect(
      take(messagesOf(database), { onTotal: () => Promise.reject(new Error('too large for the disk')) }, sealer),
    ).rejects.toThrow('too large');
    expect(bytes().length).toBe(0);
  });

  test('progress is told with the total, and never exceeds it', async () => {
    const seen: [number, number][] = [];
    await take(messagesOf(database), { onProgress: (bytes, total) => void seen.push([bytes, total]) });
    expect(seen).toEqual([
      [3 * MESSAGE, database.length],
      [database.length, database.length],
    ]);
  });

  test('an abort between two batches ends the intake, also when the stream then ends by itself', async () => {
    const stop = new AbortController();
    await expect(take(messagesOf(database), { signal: stop.signal, onProgress: () => stop.abort(new Error('stop')) })).rejects.toThrow(
      'stop',
    );
    await expect(take([], { signal: stop.signal })).rejects.toThrow('stop');
  });

  test('an error of the stream itself passes through as it is', async () => {
    async function* broken(): AsyncGenerator<SnapshotPiece[]> {
      yield messagesOf(database).slice(0, 1);
      throw new Error('connection reset');
    }
    await expect(takeSnapshot(broken(), collector().sealer, { signal: never })).rejects.toThrow('connection reset');
  });
});
