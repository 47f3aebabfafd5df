import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeRecord, encodeRecord, LONGEST_RECORD } from './codec.ts';
import { lastOf, merged, NO_ENTRIES, pastOf, without, withChange, type Change, type Entries } from './entries.ts';

const T = Date.UTC(2026, 10, 22);
const defrag = (atMs: number) => ({ atMs, tookMs: 1500, beforeBytes: 3e8, afterBytes: 1e8, inUseBytes: 9e7 });

function entriesOf(changes: readonly Change[]): Entries {
  return changes.reduce(withChange, NO_ENTRIES);
}

const everything = entriesOf([
  { kind: 'compacted', atMs: T, revision: 2n ** 62n },
  { kind: 'defragmented', member: 'f00d', defrag: defrag(T + 1) },
  { kind: 'disarmed', atMs: T + 2 },
  { kind: 'failed', atMs: T + 3, rule: 'surprise', reason: 'm2 did not shrink' },
]);

/** Times differ, so that there is a newest. */
const someEntries = fc.uniqueArray(fc.integer({ min: 1, max: 1e6 }), { minLength: 4, maxLength: 4 }).chain(([a, b, c, d]) =>
  fc.subarray<Change>([
    { kind: 'compacted', atMs: a!, revision: BigInt(a!) },
    { kind: 'defragmented', member: 'a', defrag: defrag(b!) },
    { kind: 'defragmented', member: 'b', defrag: defrag(c!) },
    { kind: 'disarmed', atMs: d! },
  ]),
);

describe('what is remembered of maintenance', () => {
  test('a record comes back as it was written, 64-bit revisions too', () => {
    expect(decodeRecord(encodeRecord(everything))).toEqual({ entries: everything, clusterId: undefined });
    expect(decodeRecord(encodeRecord(everything, 'f00d'))).toEqual({ entries: everything, clusterId: 'f00d' });
    expect(decodeRecord(encodeRecord(NO_ENTRIES))).toEqual({ entries: NO_ENTRIES, clusterId: undefined });
  });

  test('of each entry the newest wins by itself, in whichever order records are merged', () => {
    fc.assert(
      fc.property(someEntries, someEntries, (x, y) => {
        const [a, b] = [entriesOf(x), entriesOf(y)];
        const both = merged(a, b);
        expect(merged(both, a)).toEqual(both);
        expect(merged(both, b)).toEqual(both);
        expect(both.disarmedMs).toBe(
          Math.max(a.disarmedMs ?? -1, b.disarmedMs ?? -1) >= 0 ? Math.max(a.disarmedMs ?? 0, b.disarmedMs ?? 0) : undefined,
        );
        for (const member of ['a', 'b']) {
          const times = [a, b].flatMap(({ defrags }) => defrags[member]?.atMs ?? []);
          expect(both.defrags[member]?.atMs).toBe(times.length === 0 ? undefined : Math.max(...times));
        }
      }),
      { seed: 5, numRuns: 100 },
    );
  });

  test('the rates of a member are remembered over several defragmentations, and none twice', () => {
    const changes = [1, 2, 3].map((nth): Change => ({
      kind: 'defragmented',
      member: 'a',
      defrag: { ...defrag(T + nth), inUseBytes: nth * 9e7 },
    }));
    const entries = entriesOf(changes);
    expect(entries.defrags['a']!.rates).toHaveLength(3);
    expect(withChange(entries, changes[2]!)).toEqual(entries);
    expect(decodeRecord(encodeRecord(entries))).toEqual({ entries, clusterId: undefined });
    for (const rates of ['1', [1, 'x'], [0], [-1]]) {
      const text = JSON.stringify({ schema: 1, defrags: { a: { ...defrag(T), rates } } });
      expect(decodeRecord(text)).toMatchObject({ reason: 'an entry is damaged' });
    }
  });

  test('when each kind of step was last done is told, of defragmentations that of any member', () => {
    const more = entriesOf([{ kind: 'defragmented', member: 'beef', defrag: defrag(T - 9) }]);
    expect(lastOf(merged(everything, more))).toEqual({ compact: T, defrag: T + 1, disarm: T + 2 });
    expect(lastOf(NO_ENTRIES)).toEqual({});
  });

  test('surprises in a row are counted, and a round that comes to its end closes the row', () => {
    const failed = (atMs: number): Change => ({ kind: 'failed', atMs, rule: 'surprise', reason: 'why' });
    const twice = entriesOf([failed(T), failed(T + 1)]);
    expect(pastOf(twice).failure).toEqual({ atMs: T + 1, count: 2, rule: 'surprise', reason: 'why' });
    const over = withChange(twice, { kind: 'recovered', atMs: T + 2 });
    expect(pastOf(over).failure).toBeUndefined();
    // The end of the row travels as the surprise did.
    expect(pastOf(merged(twice, over)).failure).toBeUndefined();
    expect(pastOf(withChange(over, failed(T + 3))).failure?.count).toBe(1);
    expect(withChange(NO_ENTRIES, { kind: 'recovered', atMs: T })).toBe(NO_ENTRIES);
  });

  test('what a clock wrote that was ahead is left out, so that it holds no cooldown for years', () => {
    expect(without(everything, T + 3)).toEqual(everything);
    expect(without(everything, T - 1)).toEqual(NO_ENTRIES);
    const some = without(everything, T + 1);
    expect(some).toMatchObject({ disarmedMs: undefined, failure: undefined });
    expect(Object.keys(some.defrags)).toEqual(['f00d']);
  });

  test('a record stays small however many members came and went, and however long a reason is', () => {
    let entries = withChange(everything, { kind: 'failed', atMs: T + 9, rule: 'surprise', reason: 'x'.repeat(100_000) });
    for (let member = 0; member < 500; member++)
      entries = withChange(entries, {
        kind: 'defragmented',
        member: `ffffffffffff${(0x1000 + member).toString(16)}`,
        defrag: defrag(T + member),
      });
    expect(encodeRecord(entries).length).toBeLessThan(LONGEST_RECORD);
    expect(Object.keys(entries.defrags)).toHaveLength(32);
    expect(entries.defrags[`ffffffffffff${(0x1000 + 499).toString(16)}`]).toBeDefined();
  });

  test.each([
    ['no JSON', '{"schema":1'],
    ['another document', '[1,2]'],
    ['no schema', '{}'],
    ['schema 0', '{"schema":0,"defrags":{}}'],
    ['no defrags', '{"schema":1}'],
    ['a damaged time', '{"schema":1,"defrags":{},"disarmedMs":-1}'],
    ['a revision that is none', '{"schema":1,"defrags":{},"compaction":{"atMs":1,"revision":"1e9"}}'],
    ['a compaction without time', '{"schema":1,"defrags":{},"compaction":{"revision":"1"}}'],
    ['a compaction that is none', '{"schema":1,"defrags":{},"compaction":1}'],
    ['a member id that is none', '{"schema":1,"defrags":{"m1":{}}}'],
    ['a defragmentation without sizes', '{"schema":1,"defrags":{"a":{"atMs":1,"tookMs":1,"beforeBytes":1,"afterBytes":1}}}'],
    ['a defragmentation without sizes before', '{"schema":1,"defrags":{"a":{"atMs":1,"tookMs":1}}}'],
    ['a failure without reason', '{"schema":1,"defrags":{},"failure":{"atMs":1,"count":1,"rule":"x"}}'],
    ['a failure that is none', '{"schema":1,"defrags":{},"failure":"x"}'],
    ['more bytes than a record has', `{"schema":1,"defrags":{},"x":"${'y'.repeat(LONGEST_RECORD)}"}`],
  ])('%s is no record, and says why', (_, text) => {
    expect(decodeRecord(text)).toEqual({ reason: expect.stringMatching(/^(it|its|an) /) as string, newer: false });
  });

  test('a record of a later version is told apart, because it must not be overwritten', () => {
    expect(decodeRecord('{"schema":2,"defrags":[]}')).toMatchObject({ newer: true });
  });
});
