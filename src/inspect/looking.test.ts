/** Keys, states, histories, sizes and differences of random databases, held against a model that keeps everything in memory. */
import { describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../test/support/bolt-file.ts';
import { memoryScratch, randomHistory, rawOf, stateAt, type ModelHistory } from '../../test/support/history.ts';
import { seeded } from '../../test/support/random.ts';
import { encodeRevision } from '../mvcc/revision.ts';
import { differences, noDifferences, snapshotSide, type DiffCounts } from './diff.ts';
import { mergeHistory } from './history.ts';
import { afterPrefix, prefixRange } from './range.ts';
import { scanDirectory } from './scan.ts';
import { similarKeys } from './similar.ts';
import { changeAt, chooseRevision, heldRevisions, liveAt } from './state.ts';
import { prefixOf, summarize } from './summary.ts';
import type { KeyDirectory, KeyEntry, KeyRange, OpenedSnapshot } from './types.ts';

const { signal } = new AbortController();

function snapshotOf(history: ModelHistory, name = 'x', more: readonly [string, string][] = []): OpenedSnapshot {
  const rev = (main: bigint): Buffer => encodeRevision({ main, sub: 0n, tombstone: false });
  const marks: [string, Buffer][] =
    history.compactRevision === 0n
      ? []
      : [
          ['finishedCompactRev', rev(history.compactionFinished)],
          ['scheduledCompactRev', rev(history.compactRevision)],
        ];
  const { bytes } = boltFile(
    { key: history.records.map(({ key, value }) => [key, value] as const), meta: [...marks, ...more] },
    { fanout: 4 },
  );
  const file = { ...inMemory(bytes), encrypted: false, compressed: false, close: () => Promise.resolve() };
  return { name, file, backup: undefined, store: undefined, close: () => Promise.resolve() };
}

function directoryOf(history: ModelHistory): KeyDirectory & { open: () => number } {
  const scratch = memoryScratch();
  return Object.assign(scanDirectory(snapshotOf(history), { scratch, runLength: 600 }), { open: scratch.open });
}

async function all(directory: KeyDirectory, range: KeyRange = {}): Promise<KeyEntry[]> {
  const entries: KeyEntry[] = [];
  for await (const entry of directory.entries(range, signal))
    entries.push({ key: Buffer.from(entry.key), revisions: [...entry.revisions] });
  return entries;
}

describe('a file without a key index', () => {
  test('every key, its state at every revision and its value are those of the model', async () => {
    for (let seed = 0; seed < 6; seed += 1) {
      const random = seeded(seed);
      const history = randomHistory({ random, steps: 30, compaction: seed % 2 === 0 ? 'none' : 'finished' });
      const directory = directoryOf(history);
      const entries = await all(directory);
      expect(entries.map(({ key }) => key)).toEqual(entries.map(({ key }) => key).toSorted(Buffer.compare));
      for (const at of [history.compactRevision, history.revision, history.compactRevision + 3n].filter(
        (one) => one > 0n && one <= history.revision,
      )) {
        const model = stateAt(history.changes, at);
        const live = entries.flatMap((entry) => (liveAt(entry, at) === undefined ? [] : [entry.key.toString('latin1')]));
        expect(live.toSorted()).toEqual([...model.keys()].toSorted());
        for (const entry of entries) {
          const revision = liveAt(entry, at);
          if (revision === undefined) continue;
          const { main, record } = model.get(entry.key.toString('latin1'))!;
          expect(revision).toMatchObject({ main, version: record!.version, createRevision: record!.createRevision, lease: record!.lease });
          expect(revision.valueBytes).toBe(record!.value.length);
          expect((await directory.value(entry, revision, signal)).equals(record!.value)).toBe(true);
        }
      }
      const wanted = entries[random.below(entries.length)]!;
      expect((await directory.find(wanted.key, signal))?.revisions.map(({ main }) => main)).toEqual(
        wanted.revisions.map(({ main }) => main),
      );
      await directory.close();
      expect(directory.open()).toBe(0);
    }
  });

  test('a prefix gives what begins with it, and a key that is not there nothing', async () => {
    const directory = directoryOf(randomHistory({ random: seeded(3), steps: 40 }));
    const prefix = Buffer.from('key-xx');
    const entries = await all(directory);
    const within = await all(directory, prefixRange(prefix));
    expect(within.map(({ key }) => key)).toEqual(
      entries.map(({ key }) => key).filter((key) => key.subarray(0, prefix.length).equals(prefix)),
    );
    expect(await directory.find(Buffer.from('nothing'), signal)).toBeUndefined();
    await directory.close();
    await expect(directory.value(entries[0]!, entries[0]!.revisions[0]!, signal)).rejects.toThrow('another directory');
  });

  test('that changes while it is read is said to have changed: there is no index that could be wrong', async () => {
    const snapshot = snapshotOf(randomHistory({ random: seeded(7), steps: 5 }));
    let changed = false;
    const read: typeof snapshot.file.read = async (...range) => {
      const bytes = await snapshot.file.read(...range);
      return changed ? Buffer.alloc(bytes.length) : bytes;
    };
    const directory = scanDirectory({ ...snapshot, file: { ...snapshot.file, read } }, { scratch: memoryScratch() });
    const entry = (await all(directory)).find(({ revisions }) => !revisions.at(-1)!.tombstone)!;
    changed = true;
    await expect(directory.value(entry, entry.revisions.at(-1)!, signal)).rejects.toMatchObject({ code: 'changed-meanwhile' });
    await directory.close();
  });

  test('what fails on the way closes what was opened', async () => {
    const directory = directoryOf({
      ...randomHistory({ random: seeded(3), steps: 3 }),
      records: [{ key: Buffer.from('no revision'), value: Buffer.alloc(0) }],
    });
    await expect(all(directory)).rejects.toThrow(/revision|record/u);
    expect(directory.open()).toBe(0);
  });
});

describe('revisions', () => {
  const history = randomHistory({ random: seeded(5), steps: 20, compaction: 'finished' });

  test('those that are held go from the compaction to the end', async () => {
    expect(await heldRevisions(snapshotOf(history), signal)).toEqual({ first: history.compactRevision, last: history.revision });
    const young = randomHistory({ random: seeded(5), steps: 20 });
    expect(await heldRevisions(snapshotOf(young), signal)).toEqual({ first: 1n, last: young.revision });
  });

  test('bad input: a file of a newer schema can be read, and says that it may hold more', async () => {
    const newer = await heldRevisions(snapshotOf(history, 'x', [['storageVersion', '3.8.0']]), signal);
    expect(newer).toMatchObject({ last: history.revision, newer: expect.stringContaining('written by etcd 3.8') });
    expect(await heldRevisions(snapshotOf(history, 'x', [['storageVersion', '3.7.0']]), signal)).not.toMatchObject({
      newer: expect.anything(),
    });
  });

  test('others are refused with the range that is held', () => {
    const held = { first: 5n, last: 9n };
    expect(chooseRevision(undefined, held, 'x')).toBe(9n);
    expect(chooseRevision(5n, held, 'x')).toBe(5n);
    expect(() => chooseRevision(4n, held, 'x')).toThrow(
      expect.objectContaining({ code: 'revision-compacted', hint: expect.stringContaining('5 to 9') }),
    );
    expect(() => chooseRevision(10n, held, 'x')).toThrow(expect.objectContaining({ code: 'revision-future' }));
  });

  test('the record without a key that a raised revision leaves is nobody’s key', () => {
    const revision = { main: 9n, sub: 0n, tombstone: false, createRevision: 0n, version: 0n, lease: 0n, valueBytes: 0 };
    const entry = { key: Buffer.alloc(0), revisions: [revision] };
    expect(liveAt(entry, 9n)).toBeUndefined();
    expect(changeAt(entry, 9n)).toBe(revision);
  });
});

describe('differences', () => {
  /** The same by the letter: two maps. */
  function expected(before: ModelHistory, a: bigint, b: bigint): { kinds: string[]; counts: DiffCounts } {
    const [old, next] = [stateAt(before.changes, a), stateAt(before.changes, b)];
    const counts = noDifferences();
    const kinds: string[] = [];
    for (const key of [...new Set([...old.keys(), ...next.keys()])].toSorted()) {
      const [x, y] = [old.get(key), next.get(key)];
      const kind =
        x === undefined
          ? 'added'
          : y === undefined
            ? 'removed'
            : x === y
              ? 'same'
              : x.record!.value.equals(y.record!.value) && x.record!.lease === y.record!.lease
                ? 'rewritten'
                : 'changed';
      counts[kind] += 1;
      if (kind !== 'same' && kind !== 'rewritten') kinds.push(`${kind} ${key}`);
    }
    return { kinds, counts };
  }

  test('between any two revisions they are those of the model, whether revisions may be trusted or values have to be read', async () => {
    for (let seed = 0; seed < 5; seed += 1) {
      const random = seeded(100 + seed);
      const history = randomHistory({ random, steps: 25, keys: 8 });
      const [a, b] = [BigInt(1 + random.below(26)), BigInt(1 + random.below(26))];
      for (const sameHistory of [true, false]) {
        const [before, after] = [directoryOf(history), directoryOf(history)];
        const counts = noDifferences();
        const kinds: string[] = [];
        for await (const { kind, key } of differences(snapshotSide(before, a), snapshotSide(after, b), {
          range: {},
          sameHistory,
          signal,
          counts,
        }))
          kinds.push(`${kind} ${key.toString('latin1')}`);
        expect({ kinds, counts }).toEqual(expected(history, a, b));
        await before.close();
        await after.close();
      }
    }
  });

  test('differences of our own keys are counted apart and not told', async () => {
    const history = randomHistory({ random: seeded(101), steps: 25, keys: 8 });
    const sides = async (own?: (key: Buffer) => boolean): Promise<{ keys: string[]; counts: DiffCounts }> => {
      const [before, after] = [directoryOf(history), directoryOf(history)];
      const counts = noDifferences();
      const keys: string[] = [];
      const options = { range: {}, sameHistory: true, signal, counts, own };
      for await (const { key } of differences(snapshotSide(before, 3n), snapshotSide(after, history.revision), options))
        keys.push(key.toString('latin1'));
      await Promise.all([before.close(), after.close()]);
      return { keys, counts };
    };
    const { keys, counts } = await sides();
    expect(keys.length).toBeGreaterThan(2);
    const mine = keys[1];
    const told = await sides((key) => key.toString('latin1') === mine);
    expect(told.keys).toEqual(keys.filter((key) => key !== mine));
    const { added, removed, changed, same, rewritten } = told.counts;
    expect(told.counts.own).toBe(1);
    expect(added + removed + changed).toBe(counts.added + counts.removed + counts.changed - 1);
    expect([same, rewritten]).toEqual([counts.same, counts.rewritten]);
    expect((await sides(() => true)).keys).toEqual([]);
  });

  test('whoever stops in the middle leaves nothing open', async () => {
    const history = randomHistory({ random: seeded(1), steps: 25 });
    const directory = directoryOf(history);
    for await (const difference of differences(snapshotSide(directory, 1n), snapshotSide(directory, history.revision), {
      range: {},
      sameHistory: true,
      signal,
      counts: noDifferences(),
    })) {
      expect(difference.kind).toBe('added');
      break;
    }
    await directory.close();
    expect(directory.open()).toBe(0);
  });
});

describe('sizes by prefix', () => {
  test('all prefixes together are the whole, and the whole is every record once', async () => {
    for (let seed = 0; seed < 3; seed += 1) {
      const history = randomHistory({ random: seeded(200 + seed), steps: 40, keys: 9 });
      for (const maxPrefixes of [100, 2]) {
        const directory = directoryOf(history);
        const options = { revision: history.revision, depth: 2, separator: Buffer.from('x'), maxPrefixes };
        const { prefixes, total } = await summarize(directory.entries({}, signal), options);
        const sum = prefixes.reduce((bytes, { liveBytes, historyBytes }) => bytes + liveBytes + historyBytes, 0);
        expect(sum).toBe(total.liveBytes + total.historyBytes);
        expect(sum).toBe(history.changes.reduce((bytes, { key, record }) => bytes + key.length + (record?.value.length ?? 0), 0));
        expect(total.keys).toBe(stateAt(history.changes, history.revision).size);
        expect(total.keys + total.historyRecords).toBe(history.changes.length);
        const sizes = prefixes.map(({ liveBytes, historyBytes }) => liveBytes + historyBytes);
        expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
        expect(prefixes.length).toBeLessThanOrEqual(maxPrefixes + 1);
        await directory.close();
      }
    }
  });

  test.each([
    ['/registry/pods/default/web', 3, '/registry/pods/default/'],
    ['/registry/pods/default/web', 2, '/registry/pods/'],
    ['/registry/pods/default/web', 0, ''],
    ['/a/b', 3, '/a/'],
    ['a/b/c', 1, 'a/'],
    ['plain', 3, ''],
    ['/', 3, ''],
  ])('%s at depth %i counts as %j', (key, depth, prefix) =>
    expect(prefixOf(Buffer.from(key), depth, Buffer.from('/')).toString()).toBe(prefix),
  );

  test('changes after the revision that is asked for are left out', async () => {
    const history = randomHistory({ random: seeded(9), steps: 20 });
    const directory = directoryOf(history);
    const { total } = await summarize(directory.entries({}, signal), { revision: 5n, depth: 1, separator: Buffer.from('/') });
    expect(total.keys).toBe(stateAt(history.changes, 5n).size);
    await directory.close();
  });
});

describe('the history of a key', () => {
  const change = (main: bigint, sub = 0n) => ({ main, sub, tombstone: false, createRevision: 1n, version: 1n, lease: 0n, valueBytes: 0 });
  const key = Buffer.from('k');

  test('several backups are merged by revision, each with who holds it', () => {
    const lines = mergeHistory(
      [
        { name: 'a', entry: { key, revisions: [change(2n), change(5n), change(5n, 1n)] } },
        { name: 'b', entry: { key, revisions: [change(5n), change(9n)] } },
      ],
      [],
    );
    expect(lines.map(({ revision, heldBy }) => [revision.main, revision.sub, heldBy])).toEqual([
      [2n, 0n, ['a']],
      [5n, 0n, ['a', 'b']],
      [5n, 1n, ['a']],
      [9n, 0n, ['b']],
    ]);
    expect(lines[0]!.when).toEqual({ after: undefined, before: undefined });
  });

  test('marks tell after and before which time a change was made, and no more', () => {
    const marks = [
      { time: '2026-11-22T12:00:00.000Z', revision: '8' },
      { time: '2026-11-22T10:00:00.000Z', revision: '3' },
      { time: '2026-11-22T11:00:00.000Z', revision: '5' },
    ];
    const [early, exact, between, late] = mergeHistory(
      [{ name: 'a', entry: { key, revisions: [change(2n), change(5n), change(6n), change(9n)] } }],
      marks,
    );
    expect(early!.when).toEqual({ after: undefined, before: '2026-11-22T10:00:00.000Z' });
    expect(exact!.when).toEqual({ after: '2026-11-22T10:00:00.000Z', before: '2026-11-22T11:00:00.000Z' });
    expect(between!.when).toEqual({ after: '2026-11-22T11:00:00.000Z', before: '2026-11-22T12:00:00.000Z' });
    expect(late!.when).toEqual({ after: '2026-11-22T12:00:00.000Z', before: undefined });
  });
});

describe('ranges and likeness', () => {
  test('the end of a prefix is the next one of its length, if there is any', () => {
    expect(afterPrefix(Buffer.from('a/'))).toEqual(Buffer.from('a0'));
    expect(afterPrefix(Buffer.from([0x61, 0xff, 0xff]))).toEqual(Buffer.from('b'));
    expect(afterPrefix(Buffer.from([0xff]))).toBeUndefined();
    expect(prefixRange(Buffer.alloc(0))).toEqual({});
  });

  test('keys that were probably meant: a slash, the registry, a slip, and nothing far away', async () => {
    const record = (main: bigint, key: string): ReturnType<typeof rawOf> => {
      const value = {
        key: Buffer.from(key),
        createRevision: main,
        modRevision: main,
        version: 1n,
        value: Buffer.alloc(1),
        lease: 0n,
        unknown: [],
      };
      return rawOf({ main, sub: 0n, key, record: value });
    };
    const keys = ['/app/settings', '/registry/pods/a', '/app/other'];
    const records = keys.map((key, i) => record(BigInt(i + 2), key));
    const directory = directoryOf({ ...randomHistory({ random: seeded(1), steps: 1 }), records });
    const meant = async (text: string): Promise<string[]> => (await similarKeys(directory, Buffer.from(text), 9n, signal)).map(String);
    expect(await meant('app/settings')).toEqual(['/app/settings']);
    expect(await meant('pods/a')).toEqual(['/registry/pods/a']);
    expect(await meant('/pods/a')).toEqual(['/registry/pods/a']);
    expect(await meant('/app/setings')).toEqual(['/app/settings']);
    expect(await meant('/app/wholly-else')).toEqual([]);
    expect(await meant(`/${'x'.repeat(300)}`)).toEqual([]);
    await directory.close();
  });
});
