import { describe, expect, test } from 'vitest';
import { compactionRuns, gaugesOf, wantsAnother } from './gauges.ts';
import type { MetricsReading } from './parse.ts';

const QUIET: MetricsReading = {
  memberId: 'a1',
  quotaBytes: 0,
  openReads: 1,
  snapshotCalls: 0,
  hashCalls: 0,
  defragmentCalls: 0,
  defragInflight: 0,
  snapshotsApplied: 0,
  snapshotsSent: undefined,
  snapshotsReceived: undefined,
  startedSeconds: 1_700_000_000.25,
  compactionsBegun: 3,
  compactionsEnded: 3,
  compactRevision: 10,
};

function streams(...changes: readonly Partial<MetricsReading>[]): number | undefined {
  return gaugesOf(changes.map((change) => ({ ...QUIET, ...change }))).snapshotStreams;
}

describe('H5: a snapshot that somebody streams', () => {
  test('shows in the calls that are being answered, whatever the read transactions are', () => {
    expect(streams({})).toBe(0);
    expect(streams({ snapshotCalls: 2, openReads: 1 })).toBe(2);
    expect(streams({ snapshotCalls: 0, openReads: 3 })).toBe(0);
  });

  test('shows in the read transactions where calls are not counted, when all readings have one more', () => {
    const uncounted = { snapshotCalls: undefined };
    expect(streams({ ...uncounted, openReads: 3 }, { ...uncounted, openReads: 2 })).toBe(1);
    expect(streams({ ...uncounted, openReads: 3 }, { ...uncounted, openReads: 1 })).toBe(0);
    // The moment in a commit when etcd's own is closed.
    expect(streams({ ...uncounted, openReads: 0 })).toBe(0);
  });

  test('is unknown where neither is told', () => {
    expect(streams({ snapshotCalls: undefined, openReads: undefined })).toBeUndefined();
  });

  test('is looked for again only while read transactions are all that is known, and none of them was closed', () => {
    const open = { ...QUIET, snapshotCalls: undefined, openReads: 2 };
    expect(wantsAnother([open])).toBe(true);
    expect(wantsAnother([open, open])).toBe(true);
    expect(wantsAnother([open, { ...open, openReads: 1 }])).toBe(false);
    expect(wantsAnother([{ ...open, openReads: undefined }])).toBe(false);
    expect(wantsAnother([{ ...open, snapshotCalls: 0 }])).toBe(false);
  });
});

test('H2: a defragmentation shows in the gauge, and in a call that waits for its turn', () => {
  const inflight = (change: Partial<MetricsReading>): boolean | undefined => gaugesOf([{ ...QUIET, ...change }]).defragInflight;
  expect(inflight({})).toBe(false);
  expect(inflight({ defragInflight: 1 })).toBe(true);
  expect(inflight({ defragmentCalls: 1 })).toBe(true);
  expect(inflight({ defragInflight: undefined, defragmentCalls: 0 })).toBe(false);
  expect(inflight({ defragInflight: undefined, defragmentCalls: undefined })).toBeUndefined();
});

test('H24: a member that is asked for its hash shows, and where calls are not counted nobody knows', () => {
  expect(gaugesOf([QUIET]).hashCalls).toBe(0);
  expect(gaugesOf([QUIET, { ...QUIET, hashCalls: 2 }]).hashCalls).toBe(2);
  expect(gaugesOf([{ ...QUIET, hashCalls: undefined }]).hashCalls).toBeUndefined();
});

test('H9: a database that is sent, received or applied shows, and one that never was is none', () => {
  const inflight = (change: Partial<MetricsReading>): boolean | undefined => gaugesOf([{ ...QUIET, ...change }]).raftSnapshotInflight;
  expect(inflight({})).toBe(false);
  for (const name of ['snapshotsApplied', 'snapshotsSent', 'snapshotsReceived'] as const) expect(inflight({ [name]: 1 })).toBe(true);
  expect(inflight({ snapshotsApplied: undefined })).toBeUndefined();
});

test('H9: when a member was started is told in ms', () => {
  expect(gaugesOf([QUIET]).startedMs).toBe(1_700_000_000_250);
  expect(gaugesOf([{ ...QUIET, startedSeconds: undefined }]).startedMs).toBeUndefined();
});

test('H11: a compaction runs while more have begun than ended', () => {
  expect(compactionRuns(QUIET)).toBe(false);
  expect(compactionRuns({ ...QUIET, compactionsBegun: 4 })).toBe(true);
  expect(compactionRuns({ ...QUIET, compactionsEnded: undefined })).toBeUndefined();
  expect(compactionRuns({ ...QUIET, compactionsBegun: undefined })).toBeUndefined();
});

test('without a reading there is nothing to tell', () => {
  expect(() => gaugesOf([])).toThrow(RangeError);
});
