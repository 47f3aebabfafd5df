import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NO_SAMPLES, samplesFile, withSample, type Sample } from './samples.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const START = Date.parse('2026-11-22T12:00:00Z');

function sample(afterMs: number, revision: number, part: Partial<Sample> = {}): Sample {
  const quota = { bytes: 2 ** 31, source: 'status' } as const;
  const sizes = ['m1', 'm2', 'm3'].map((member) => ({ member, dbSize: 1000 + revision, dbSizeInUse: 500 + revision, quota }));
  return { timeMs: START + afterMs, clusterId: 'abc', revision: BigInt(revision), sizes, ...part };
}

/** Looks every ten minutes, a hundred revisions apart. */
function days(count: number) {
  let samples = NO_SAMPLES;
  for (let at = 0; at <= count * 24 * 6; at += 1) samples = withSample(samples, sample(at * 10 * MINUTE, at * 100));
  return samples;
}

const times = (samples: { marks: readonly { timeMs: number }[] }): number[] => samples.marks.map(({ timeMs }) => (timeMs - START) / MINUTE);

describe('samples', () => {
  test('hold the marks of two days, each later and no lower than the one before, and no more', () => {
    const { marks } = days(5);
    expect(marks).toHaveLength(2 * 24 * 6);
    expect(marks.at(-1)).toEqual({ timeMs: START + 5 * 24 * HOUR, revision: 72_000n });
    expect(marks[0]!.timeMs).toBeGreaterThan(START + 3 * 24 * HOUR);
    expect(marks.every((mark, at) => at === 0 || (mark.timeMs > marks[at - 1]!.timeMs && mark.revision >= marks[at - 1]!.revision))).toBe(
      true,
    );
  });

  test('hold the sizes of the last hours as they were taken, and older ones once an hour', () => {
    const { sizes } = days(5);
    const of = sizes.filter(({ member }) => member === 'm2').map(({ timeMs }) => START + 5 * 24 * HOUR - timeMs);
    expect(of.filter((ageMs) => ageMs < 3 * HOUR)).toHaveLength(18);
    const old = of.filter((ageMs) => ageMs >= 3 * HOUR);
    expect(old.length).toBeGreaterThan(40);
    expect(old.length).toBeLessThanOrEqual(46);
    expect(sizes.length).toBeLessThan(200);
  });

  test('a clock that ran ahead leaves no mark in the future, and one that is put back loses none before', () => {
    let samples = withSample(withSample(NO_SAMPLES, sample(0, 10)), sample(24 * HOUR, 20));
    samples = withSample(samples, sample(10 * MINUTE, 30));
    expect(times(samples)).toEqual([0, 10]);
    expect(samples.sizes.map(({ timeMs }) => timeMs - START)).not.toContain(24 * HOUR);
  });

  test('a revision that goes down is a restored cluster: what was known of its revisions is forgotten, its sizes are not', () => {
    const samples = withSample(withSample(withSample(NO_SAMPLES, sample(0, 10)), sample(10 * MINUTE, 500)), sample(20 * MINUTE, 60));
    expect(samples.marks).toEqual([{ timeMs: START + 20 * MINUTE, revision: 60n }]);
    expect(samples.sizes).toHaveLength(9);
  });

  test('another cluster begins anew, however high its revision', () => {
    const samples = withSample(withSample(NO_SAMPLES, sample(0, 10)), sample(10 * MINUTE, 500, { clusterId: 'def' }));
    expect(samples).toMatchObject({ clusterId: 'def', marks: [{ revision: 500n }] });
    expect(samples.sizes).toHaveLength(3);
  });

  test('looks that follow each other at once count once, and a look at more members than anybody has is cut', () => {
    const twice = withSample(withSample(NO_SAMPLES, sample(0, 10)), sample(MINUTE / 2, 11));
    expect([twice.marks, twice.sizes.length]).toEqual([[{ timeMs: START, revision: 10n }], 3]);
    const many = Array.from({ length: 40 }, (_, at) => ({ ...sample(0, 1).sizes[0]!, member: `m${at}` }));
    expect(withSample(NO_SAMPLES, sample(0, 1, { sizes: many })).sizes).toHaveLength(16);
  });
});

describe('the file of samples', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'samples-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  test('gives back what was added, 64-bit revisions and members without a quota too', async () => {
    const file = samplesFile(folder, 'prod');
    expect(await file.read()).toEqual(NO_SAMPLES);
    const revision = 2n ** 62n + 1n;
    const sizes = [{ member: 'm1', dbSize: 5, dbSizeInUse: 3, quota: { bytes: undefined, source: 'status' as const } }];
    const added = await file.add(sample(0, 0, { revision, sizes }));
    expect(await samplesFile(folder, 'prod').read()).toEqual(added);
    expect(added.marks).toEqual([{ timeMs: START, revision }]);
    expect(readdirSync(join(folder, 'samples'))).toEqual(['prod.json']);
    expect(statSync(join(folder, 'samples', 'prod.json')).mode & 0o077).toBe(0);
  });

  test('two days of a cluster of three are a small file', async () => {
    const file = samplesFile(folder, 'prod');
    await file.add(sample(0, 1));
    writeFileSync(join(folder, 'samples', 'prod.json'), '{}');
    const full = days(3);
    const rows = {
      schema: 1,
      cluster: 'prod',
      clusterId: 'abc',
      marks: full.marks.map(({ timeMs, revision }) => [timeMs, String(revision)]),
      sizes: full.sizes.map((size) => [size.timeMs, size.member, size.dbSize, size.dbSizeInUse, size.quota.bytes, size.quota.source]),
    };
    writeFileSync(join(folder, 'samples', 'prod.json'), JSON.stringify(rows));
    expect(await file.read()).toEqual(full);
    expect(statSync(join(folder, 'samples', 'prod.json')).size).toBeLessThan(32 * 1024);
  });

  const GOOD = { schema: 1, cluster: 'prod', clusterId: 'abc', marks: [[START, '7']], sizes: [[START, 'm1', 5, 3, 9, 'status']] };
  test.each<[string, unknown]>([
    ['torn', '{"schema":1,"clu'],
    ['no object', 'null'],
    ['of a newer version', { ...GOOD, schema: 2 }],
    ['of another cluster', { ...GOOD, cluster: 'test' }],
    ['without marks', { ...GOOD, marks: 7 }],
    ['with a mark that is none', { ...GOOD, marks: [[START, 7]] }],
    ['with a mark without a row', { ...GOOD, marks: [7] }],
    ['with a time beyond all calendars', { ...GOOD, marks: [[1e300, '7']] }],
    ['with sizes that are no rows', { ...GOOD, sizes: [7] }],
    ['with a negative size', { ...GOOD, sizes: [[START, 'm1', -5, 3, 9, 'status']] }],
    ['with a quota that is no number', { ...GOOD, sizes: [[START, 'm1', 5, 3, 'x', 'status']] }],
    ['with a source that nobody knows', { ...GOOD, sizes: [[START, 'm1', 5, 3, 9, 'guess']] }],
    ['far too long', ' '.repeat(1024 * 1024 + 1)],
  ])('one that is %s is begun anew', async (_, content) => {
    mkdirSync(join(folder, 'samples'));
    const path = join(folder, 'samples', 'prod.json');
    const file = samplesFile(folder, 'prod');
    writeFileSync(path, JSON.stringify(GOOD));
    expect((await file.read()).marks).toHaveLength(1);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    expect(await file.read()).toEqual(NO_SAMPLES);
    await file.add(sample(0, 1));
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ cluster: 'prod', marks: [[START, '1']] });
  });
});
