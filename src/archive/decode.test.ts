import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryStore } from '../../test/support/memory-store.ts';
import { seeded } from '../../test/support/random.ts';
import { hashContent, hashPlain, hashSealed } from './decode.ts';
import { FRAME_LENGTH } from './frames.ts';
import { createSealer } from './sealer.ts';

const { signal } = new AbortController();
const KEY = 'a.db.zst';
const folder = mkdtempSync(join(tmpdir(), 'decode-'));
const store = memoryStore('memory');
const plain = seeded(6).fill(Buffer.alloc(4 * FRAME_LENGTH + 321));

beforeAll(async () => {
  const spoolPath = join(folder, 'spool');
  const sealer = await createSealer({ spoolPath, maxPlainBytes: plain.length, recipients: [], signal });
  await sealer.write(plain);
  await sealer.finish();
  await store.put(KEY, readFileSync(spoolPath), { signal });
  await sealer.abort();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Takes blocks later than they come. @returns the most that were being taken at a time, and the bytes */
async function takeSlowly(ahead: number | undefined): Promise<{ most: number; taken: Buffer; sha256: string }> {
  let [now, most] = [0, 0];
  const taken: Buffer[] = [];
  const figures = await hashPlain(store, KEY, {
    signal,
    ahead,
    async onPlain(block) {
      most = Math.max(most, ++now);
      for (let i = 0; i < 20; i += 1) await turn();
      taken.push(Buffer.from(block));
      now -= 1;
    },
  });
  return { most, taken: Buffer.concat(taken), sha256: figures.plainSha256 };
}

describe('plain bytes that are handed on', () => {
  test('have the hash that all of the content has', async () => {
    const content = await hashContent(store, KEY, { signal });
    const expected = { plainBytes: plain.length, plainSha256: createHash('sha256').update(plain).digest('hex') };
    expect(content).toMatchObject(expected);
    expect(await hashPlain(store, KEY, { signal })).toEqual(expected);
    const { storedBytes, storedSha256, plainBytes } = content;
    expect(await hashSealed(store, KEY, { signal })).toEqual({ storedBytes, storedSha256, plainBytes });
  });

  test.each([
    [undefined, 1],
    [2, 3],
  ])('come with %s ahead, %s at a time at the most, whole and in order', async (ahead, most) => {
    const taking = await takeSlowly(ahead);
    expect(taking.most).toBe(most);
    expect(taking.taken.equals(plain)).toBe(true);
    expect(taking.sha256).toBe(createHash('sha256').update(plain).digest('hex'));
  });

  test('end with what taking them threw, when the others that were under way are done', async () => {
    let [begun, done] = [0, 0];
    const failing = hashPlain(store, KEY, {
      signal,
      ahead: 2,
      async onPlain() {
        const mine = ++begun;
        for (let i = 0; i < 10 * mine; i += 1) await turn();
        done += 1;
        if (mine === 1) throw new Error('the disk is full');
      },
    });
    await expect(failing).rejects.toThrow('the disk is full');
    expect(done).toBe(begun);
  });

  test('end with the bytes that are wrong', async () => {
    const stored = Buffer.from(await store.get(KEY, { signal }));
    stored[stored.length >> 1]! ^= 1;
    const damaged = memoryStore('damaged');
    await damaged.put(KEY, stored, { signal });
    await expect(hashPlain(damaged, KEY, { signal, ahead: 2, onPlain: () => turn() })).rejects.toMatchObject({
      code: 'verification-failed',
    });
  });
});
