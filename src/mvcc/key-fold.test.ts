import { describe, expect, test } from 'vitest';
import { memoryScratch } from '../../test/support/history.ts';
import { seeded } from '../../test/support/random.ts';
import { digestKey } from './digest.ts';
import { createKeyFold, type FoldRules } from './key-fold.ts';
import { KeyTable } from './key-table.ts';

function digest(text: string, seed = 0): [number, number] {
  const out = new Uint32Array(2);
  digestKey(Buffer.from(text, 'latin1'), seed, out);
  return [out[0]!, out[1]!];
}

describe('the digest of a key', () => {
  test('depends on every byte, on the length and on the seed, and on nothing else', () => {
    const texts = ['', '\0', '\0\0', 'a', 'a\0', 'abcd', 'abcd\0', 'abcdefgh', 'abcdefgi', 'bbcdefgh', 'efghabcd'];
    const all = texts.flatMap((text) => [0, 1, 0xffffffff].map((seed) => digest(text, seed).join()));
    expect(new Set(all).size).toBe(all.length);
    expect(digest('abcdefgh', 7)).toEqual(digest('abcdefgh', 7));
  });

  test('tells apart many keys that are alike, and either half of it nearly does', () => {
    const [whole, high, low] = [new Set<string>(), new Set<number>(), new Set<number>()];
    for (let i = 0; i < 8000; i += 1) {
      const [a, b] = digest(`/registry/pods/namespace-${i % 7}/pod-${String(i).padStart(8, '0')}`);
      whole.add(`${a},${b}`);
      high.add(a);
      low.add(b);
    }
    expect(whole.size).toBe(8000);
    // 8000 random numbers of 32 bits: 0.007 pairs are expected to be equal.
    expect(high.size).toBeGreaterThan(7998);
    expect(low.size).toBeGreaterThan(7998);
  });
});

describe('the table', () => {
  test('finds what was claimed, however often it grows, and the digest of only zeros too', () => {
    const table = new KeyTable(2);
    expect(table.find(0, 0)).toBe(-1);
    const keys: [number, number][] = [[0, 0], [0, 2], [5, 0], ...Array.from({ length: 1500 }, (_, i) => digest(`k${i}`))];
    keys.forEach(([high, low], i) => {
      const slot = table.claim(high, low);
      expect(table.values[slot * 2]).toBe(0);
      table.values[slot * 2] = i + 1;
      table.values[slot * 2 + 1] = -i;
      expect(table.claim(high, low)).toBe(slot);
    });
    expect(table.size).toBe(keys.length);
    keys.forEach(([high, low], i) => {
      const slot = table.find(high, low);
      expect([table.values[slot * 2], table.values[slot * 2 + 1]]).toEqual([i + 1, -i]);
    });
    expect(table.find(...digest('nobody'))).toBe(-1);
    expect(table.bytes).toBe(table.slots * 24);
    expect(table.slots).toBe(2048);
  });

  test('of words takes less, one of as many keys as were foretold never grows, and halves of a digest may be signed', () => {
    const table = new KeyTable(2, true, 1000);
    const { slots } = table;
    expect([slots, table.bytes]).toEqual([2048, 2048 * 16]);
    for (let i = 0; i < 1000; i += 1) {
      const [high, low] = digest(`k${i}`);
      const slot = table.claim(high, low);
      table.values[slot * 2] = 2 ** 32 - 1 - i;
      expect(table.find(high | 0, low | 0)).toBe(slot);
      expect(table.claim(high | 0, low | 0)).toBe(slot);
      expect([table.high(slot), table.low(slot), table.values[slot * 2]]).toEqual([high, low, 2 ** 32 - 1 - i]);
    }
    expect([table.size, table.slots]).toEqual([1000, slots]);
    expect(new KeyTable(1, true).slots).toBeLessThan(100);
  });
});

describe('a fold', () => {
  /** Per key: the sum and the last of its rows. */
  function rules(found: Map<string, [number, number]>): FoldRules {
    return {
      columns: 2,
      apply(table, high, low, a, b, c) {
        const slot = table.claim(high, low);
        table.values[slot * 2]! += a;
        table.values[slot * 2 + 1] = b * 1000 + c;
      },
      finish(table) {
        for (let slot = 0; slot < table.slots; slot += 1)
          if (table.taken(slot))
            found.set(`${table.high(slot)},${table.low(slot)}`, [table.values[slot * 2]!, table.values[slot * 2 + 1]!]);
      },
    };
  }

  test.each([
    ['in memory', undefined],
    ['through scratch from the first row', 0],
    ['through scratch after a while', 200_000],
  ])('%s: each key has the sum and the last of its rows', async (_, limitBytes) => {
    const random = seeded(70);
    const [found, expected] = [new Map<string, [number, number]>(), new Map<string, [number, number]>()];
    const scratch = memoryScratch();
    const fold = createKeyFold(rules(found), limitBytes === undefined ? {} : { scratch, limitBytes });
    // One part begins with so many keys that its table is written in several pieces, and one key later takes most rows.
    for (let i = 0; i < 4000; i += 1) {
      const low = Math.imul(i + 1, 0x9e3779b1) >>> 0;
      fold.push(i, low, i);
      expected.set(`${i},${low}`, [i, 0]);
    }
    for (let i = 0; i < 4000; i += 1) {
      const [high, low] = i % 3 === 0 ? [1, 1] : digest(`k${random.below(3000)}`);
      const before = expected.get(`${high},${low}`)?.[0] ?? 0;
      expected.set(`${high},${low}`, [before + i, 3000 + (i % 1000)]);
      fold.push(high, low, i, 3, i % 1000);
      if (i % 500 === 0) await fold.settle();
    }
    expect(fold.spilled).toBe(limitBytes !== undefined);
    await fold.finish();
    expect(found).toEqual(expected);
    await fold.close();
    expect(scratch.open()).toBe(0);
  });

  test.each([
    ['in memory', undefined],
    ['through scratch', 0],
  ])('of words, %s: numbers up to 2^32, and digests whose halves are signed', async (_, limitBytes) => {
    const found = new Map<string, [number, number]>();
    const scratch = memoryScratch();
    const fold = createKeyFold({ ...rules(found), words: true }, { scratch, limitBytes, keys: 3000 });
    fold.push(-1, -2, 2 ** 31, 0, 7);
    await fold.settle();
    expect(fold.spilled).toBe(limitBytes === 0);
    fold.push(2 ** 32 - 1, 2 ** 32 - 2, 2 ** 31 - 1, 0, 8);
    await fold.settle();
    await fold.finish();
    expect([...found]).toEqual([[`${2 ** 32 - 1},${2 ** 32 - 2}`, [2 ** 32 - 1, 8]]]);
    await fold.close();
    expect(scratch.open()).toBe(0);
  });

  test('without a place to go, it grows', async () => {
    const fold = createKeyFold(rules(new Map()), { limitBytes: 0 });
    fold.push(1, 1, 1);
    await fold.settle();
    expect(fold.spilled).toBe(false);
    expect(fold.table(1).size).toBe(1);
    await fold.finish();
    await fold.close();
  });
});
