import { describe, expect, test } from 'vitest';
import { inParallel } from './parallel.ts';

const { signal } = new AbortController();

describe('work in parallel', () => {
  test('keeps to its limit and to the order of the items', async () => {
    let running = 0;
    let most = 0;
    const results = await inParallel([5, 3, 1, 4, 2], 2, signal, async (turns) => {
      running += 1;
      most = Math.max(most, running);
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      running -= 1;
      return turns * 10;
    });
    expect(results).toEqual([50, 30, 10, 40, 20]);
    expect(most).toBe(2);
  });

  test('begins nothing after an error or an abort', async () => {
    const begun: number[] = [];
    const failing = inParallel([1, 2, 3, 4, 5], 2, signal, async (item) => {
      begun.push(item);
      throw new Error(`item ${item}`);
    });
    await expect(failing).rejects.toThrow('item 1');
    expect(begun).toEqual([1, 2]);
    await expect(inParallel([1], 2, AbortSignal.abort(new Error('stop')), async () => 1)).rejects.toThrow('stop');
    expect(await inParallel([], 2, signal, async () => 1)).toEqual([]);
  });
});
