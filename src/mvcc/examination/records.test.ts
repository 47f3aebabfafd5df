import { expect, test } from 'vitest';
import { memoryScratch } from '../../../test/support/history.ts';
import { seeded } from '../../../test/support/random.ts';
import { RECORD_WORDS } from './leaf.ts';
import { Records } from './records.ts';

test('what does not fit into memory comes back from the scratch file, wherever it is read', async () => {
  const scratch = memoryScratch();
  const records = new Records(scratch, 0);
  const random = seeded(4);
  for (let next = 0; next < 30_000;) {
    const count = 1 + random.below(700);
    records.add(
      Uint32Array.from({ length: count * RECORD_WORDS }, (_, i) => next * RECORD_WORDS + i),
      count,
    );
    next += count;
  }
  await records.settle();
  expect(scratch.made()).toBe(1);
  for (let round = 0; round < 40; round += 1) {
    const first = random.below(records.count);
    const count = Math.min(records.count - first, 1 + random.below(9000));
    const words = await records.read(first, count);
    expect([words[0], words.at(-1)]).toEqual([first * RECORD_WORDS, (first + count) * RECORD_WORDS - 1]);
    const chunk = await records.chunkAt(first);
    expect(chunk.words[(first - chunk.first) * RECORD_WORDS]).toBe(first * RECORD_WORDS);
    expect(records.held(first)?.words[(first % 8192) * RECORD_WORDS] ?? first * RECORD_WORDS).toBe(first * RECORD_WORDS);
  }
  await records.close();
  expect(scratch.open()).toBe(0);
});

test('a scratch file that cannot be written is told when all is there', async () => {
  const records = new Records({ create: () => Promise.reject(new Error('no space')) }, 0);
  for (let i = 0; i < 5; i += 1) records.add(new Uint32Array(8192 * RECORD_WORDS), 8192);
  await expect(records.settle()).rejects.toThrow('no space');
  await records.close();
});
