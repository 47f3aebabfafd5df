import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { batchesOf, MAX_BYTES, MAX_OPERATIONS, requestBytes, type Sized } from './batches.ts';

const sized = fc.record({ keyBytes: fc.integer({ min: 1, max: 2000 }), valueBytes: fc.integer({ min: 0, max: 1_600_000 }) });
const small = fc.record({ keyBytes: fc.integer({ min: 1, max: 60 }), valueBytes: fc.integer({ min: 0, max: 4_000 }) });

describe('keys in batches', () => {
  test('nothing is lost, nothing changes its place, and no batch is above its bounds but a key that is so alone', () => {
    fc.assert(
      fc.property(fc.oneof(fc.array(sized, { maxLength: 60 }), fc.array(small, { maxLength: 400 })), (items) => {
        const batches = batchesOf(items, (item) => item);
        expect(batches.flat()).toEqual(items);
        for (const batch of batches) {
          expect(batch.length).toBeGreaterThan(0);
          expect(batch.length).toBeLessThanOrEqual(MAX_OPERATIONS);
          if (batch.length > 1) expect(sum(batch)).toBeLessThanOrEqual(MAX_BYTES);
        }
        // As few as the order allows: a batch ends only where the next key would not have fitted.
        for (const [at, batch] of batches.entries()) {
          const next = batches[at + 1]?.[0];
          if (next !== undefined) expect(batch.length === MAX_OPERATIONS || sum([...batch, next]) > MAX_BYTES).toBe(true);
        }
      }),
      { seed: 4, numRuns: 60 },
    );
  });

  test('250 small keys are three transactions', () => {
    const batches = batchesOf(
      Array.from({ length: 250 }, () => ({ keyBytes: 20, valueBytes: 100 })),
      (item) => item,
    );
    expect(batches.map((batch) => batch.length)).toEqual([100, 100, 50]);
  });

  test('nothing makes no batch', () => {
    expect(batchesOf<Sized>([], (item) => item)).toEqual([]);
  });
});

function sum(items: readonly Sized[]): number {
  return items.reduce((total, item) => total + requestBytes(item), 0);
}
