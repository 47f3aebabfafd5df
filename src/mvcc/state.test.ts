import { describe, expect, test } from 'vitest';
import { memoryScratch, type ModelChange, type ModelHistory, randomHistory, sourceOf, stateAt } from '../../test/support/history.ts';
import { seeded } from '../../test/support/random.ts';
import { parseKeyValue } from './key-value.ts';
import { parseRevision } from './revision.ts';
import { changesOf, countKeys, keyAt, liveRecords, requireRevision } from './state.ts';

const line = ({ main, sub, key, record }: ModelChange): string => `${main}.${sub} ${key} ${record?.value.toString('hex')}`;

async function live(history: ModelHistory, revision: bigint, options = {}, batch = 3): Promise<string[]> {
  const found: string[] = [];
  for await (const records of liveRecords(sourceOf(history.records, batch), history, revision, options)) {
    for (const { key, value } of records) {
      const { main, sub } = parseRevision(key)!;
      const record = parseKeyValue(value);
      found.push(line({ main, sub, key: record.key.toString('latin1'), record }));
    }
  }
  return found;
}

/** The model's answer, in the order of last changes. */
function expected(history: ModelHistory, revision: bigint): string[] {
  const changes = [...stateAt(history.changes, revision).values()];
  return changes.sort((a, b) => Number(a.main - b.main) || Number(a.sub - b.sub)).map(line);
}

describe.each(['none', 'finished', 'unfinished'] as const)('the state, compaction: %s', (compaction) => {
  test('property: at every revision that is held, live keys, their number and single keys are as they were', async () => {
    const random = seeded(50);
    for (let round = 0; round < 6; round += 1) {
      const history = randomHistory({ random, steps: 5 + random.below(20), keys: 1 + random.below(8), compaction });
      const oldest = history.compactRevision > 1n ? history.compactRevision : 1n;
      const span = Number(history.revision - oldest);
      for (const revision of [oldest, oldest + BigInt(random.below(span + 1)), history.revision]) {
        const spill = random.below(2) === 0 ? { scratch: memoryScratch(), limitBytes: 0 } : {};
        expect(await live(history, revision, spill, 1 + random.below(9))).toEqual(expected(history, revision));
        const state = stateAt(history.changes, revision);
        expect(await countKeys(sourceOf(history.records), history, revision, spill)).toBe(state.size);
        for (const key of new Set(history.changes.map((change) => change.key))) {
          const found = await keyAt(sourceOf(history.records), history, Buffer.from(key, 'latin1'), revision);
          expect(found).toEqual(state.get(key)?.record);
        }
      }
    }
  });
});

describe('the history of a key', () => {
  const history = randomHistory({ random: seeded(51), steps: 80, keys: 5 });
  const name = history.changes.at(-1)!.key;

  test('is every change of it that is held, oldest first, up to where one wants it', async () => {
    for (const upTo of [undefined, 1n, 30n, 60n, history.revision]) {
      const found: string[] = [];
      for await (const { main, sub, tombstone, record } of changesOf(sourceOf(history.records), Buffer.from(name, 'latin1'), { upTo }))
        found.push(line({ main, sub, key: record.key.toString('latin1'), record: tombstone ? undefined : record }));
      expect(found).toEqual(history.changes.filter((change) => change.key === name && change.main <= (upTo ?? change.main)).map(line));
    }
  });

  test('of a key that never was is empty', async () => {
    for await (const change of changesOf(sourceOf(history.records), Buffer.from('never'))) expect(change).toBeUndefined();
    expect(await keyAt(sourceOf(history.records), history, Buffer.from('never'), history.revision)).toBeUndefined();
  });

  test('unknown fields and values survive the next batch', async () => {
    const later = Buffer.from('3801', 'hex');
    const [first, ...rest] = history.records.filter((each) => !parseRevision(each.key)!.tombstone);
    const key = parseKeyValue(first!.value).key;
    const others = rest.filter(({ value }) => !parseKeyValue(value).key.equals(key));
    const records = [{ key: first!.key, value: Buffer.concat([first!.value, later]) }, ...others];
    const found = await keyAt(sourceOf(records, 1), history, key, history.revision);
    expect(found).toEqual({ ...parseKeyValue(first!.value), unknown: [later] });
  });
});

describe('revisions that a file does not hold', () => {
  const history = { revision: 90n, compactRevision: 40n, compactionFinished: 40n };

  test('are refused with the range that it holds', async () => {
    expect(() => requireRevision(history, 40n)).not.toThrow();
    expect(() => requireRevision(history, 90n)).not.toThrow();
    const hint = 'it holds the states of revisions 40 to 90';
    expect(() => requireRevision(history, 91n)).toThrow(expect.objectContaining({ code: 'revision-future', hint }));
    expect(() => requireRevision(history, 39n)).toThrow(
      expect.objectContaining({ code: 'revision-compacted', hint: `${hint}; an older backup may hold this one` }),
    );
    const fresh = { revision: 1n, compactRevision: 0n, compactionFinished: 0n };
    expect(() => requireRevision(fresh, 1n)).not.toThrow();
    expect(() => requireRevision(fresh, 0n)).toThrow(expect.objectContaining({ code: 'revision-compacted' }));
    await expect(countKeys(sourceOf([]), history, 91n)).rejects.toMatchObject({ code: 'revision-future' });
    await expect(keyAt(sourceOf([]), history, Buffer.from('a'), 1n)).rejects.toMatchObject({ code: 'revision-compacted' });
    await expect(liveRecords(sourceOf([]), history, 1n).next()).rejects.toMatchObject({ code: 'revision-compacted' });
  });

  test('an empty store has no keys', async () => {
    const fresh = { revision: 1n, compactRevision: 0n, compactionFinished: 0n };
    expect(await countKeys(sourceOf([]), fresh, 1n)).toBe(0);
    expect((await liveRecords(sourceOf([]), fresh, 1n).next()).done).toBe(true);
  });
});
