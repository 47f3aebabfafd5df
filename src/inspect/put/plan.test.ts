import { describe, expect, test } from 'vitest';
import { memoryDirectory, memoryKeys, type MemoryKeys, type MemoryRecord } from '../../../test/support/memory-keys.ts';
import { planPut, type PlanRequest } from './plan.ts';
import type { PutPlan } from './types.ts';

const RECORDS: readonly MemoryRecord[] = [
  { key: '/a/absent', main: 2, value: 'one' },
  { key: '/a/changed', main: 3, value: 'old' },
  { key: '/a/changed', main: 7, value: 'new' },
  { key: '/a/deleted', main: 4, value: 'was here' },
  { key: '/a/deleted', main: 6, value: undefined },
  { key: '/a/same', main: 5, value: 'equal' },
  { key: '/b', main: 8, value: 'elsewhere' },
];

function plan(live: MemoryKeys, changes: Partial<PlanRequest> = {}): Promise<PutPlan> {
  return planPut({
    directory: memoryDirectory(RECORDS),
    live,
    range: { from: Buffer.from('/a/'), to: Buffer.from('/a0') },
    at: 100n,
    withLease: false,
    preview: (key, value, before) => `${String(key)}: ${String(before)} -> ${String(value)}`,
    signal: new AbortController().signal,
    ...changes,
  });
}

function brief({ changes }: PutPlan): unknown[] {
  return changes.map(({ kind, entry, revision, liveModRevision, liveBytes, lease }) => [
    kind,
    String(entry.key),
    revision.main,
    liveModRevision,
    liveBytes,
    lease,
  ]);
}

describe('what putting keys back would change', () => {
  test('absent keys are added, others changed, equal ones left alone, deleted ones not brought back', async () => {
    const live = memoryKeys();
    live.set('/a/same', 'equal');
    live.set('/a/changed', 'newer');
    live.set('/b', 'outside');
    const found = await plan(live);
    expect(brief(found)).toEqual([
      ['added', '/a/absent', 2n, 0n, 0, 0n],
      ['changed', '/a/changed', 7n, 3n, 5, 'keep'],
    ]);
    expect(found).toMatchObject({ same: 1, keptOutLeases: 0, goneLeases: 0, kubernetes: { keys: 0, encrypted: 0 } });
    expect(found.changes[1]?.preview).toBe('/a/changed: newer -> new');
    expect(live.transactions).toEqual([]);
  });

  test('the state at an earlier revision can be asked for', async () => {
    expect(brief(await plan(memoryKeys(), { at: 4n }))).toEqual([
      ['added', '/a/absent', 2n, 0n, 0, 0n],
      ['added', '/a/changed', 3n, 0n, 0, 0n],
      ['added', '/a/deleted', 4n, 0n, 0, 0n],
    ]);
  });

  test('leases are kept out unless asked for, and used only while they live', async () => {
    const directory = memoryDirectory([
      { key: '/a/1', main: 2, value: 'x', lease: 0x7fffffffffffffffn },
      { key: '/a/2', main: 3, value: 'x', lease: 5n },
      { key: '/a/3', main: 4, value: 'x', lease: 0x7fffffffffffffffn },
    ]);
    const live = memoryKeys();
    live.leases.add(0x7fffffffffffffffn);
    live.set('/a/3', 'x', 9n);
    const without = await plan(live, { directory });
    expect(without).toMatchObject({ keptOutLeases: 2, goneLeases: 0, same: 1 });
    expect(without.changes.map(({ lease }) => lease)).toEqual([0n, 0n]);
    const withLease = await plan(live, { directory, withLease: true });
    expect(withLease).toMatchObject({ keptOutLeases: 0, goneLeases: 1, same: 0 });
    // The third is equal but for its lease, which was asked for.
    expect(withLease.changes.map(({ lease }) => lease)).toEqual([0x7fffffffffffffffn, 0n, 0x7fffffffffffffffn]);
  });

  test("an API server's keys are counted, by name or by value, and so are values that it has sealed", async () => {
    const directory = memoryDirectory([
      { key: '/a/custom-prefix', main: 2, value: 'k8s\0more' },
      { key: '/a/none', main: 3, value: '{}' },
      { key: '/registry/pods/default/web', main: 4, value: '{}' },
      { key: '/registry/secrets/default/s', main: 5, value: 'k8s:enc:aescbc:v1:key1:xxxx' },
      { key: 'compact_rev_key', main: 6, value: '5' },
    ]);
    expect(await plan(memoryKeys(), { directory, range: {} })).toMatchObject({ kubernetes: { keys: 4, encrypted: 1 } });
  });

  test('our own keys stay out, lease or not: a lock that came back would keep every backup out', async () => {
    const directory = memoryDirectory([
      { key: '/a/1', main: 2, value: 'x' },
      { key: '/etcd-warden/lock', main: 3, value: 'held', lease: 5n },
    ]);
    const live = memoryKeys();
    live.leases.add(5n);
    const own = (key: Buffer): boolean => key.equals(Buffer.from('/etcd-warden/lock'));
    for (const withLease of [false, true]) {
      const found = await plan(live, { directory, range: {}, own, withLease });
      expect(brief(found)).toEqual([['added', '/a/1', 2n, 0n, 0, 0n]]);
      expect(found).toMatchObject({ own: 1, same: 0, keptOutLeases: 0, goneLeases: 0 });
    }
  });

  test('more changes than anybody could look at are refused', async () => {
    await expect(plan(memoryKeys(), { maxChanges: 1 })).rejects.toMatchObject({
      code: 'refused',
      message: 'more than 1 keys would change',
    });
  });

  test('many keys are compared a few at a time', async () => {
    const directory = memoryDirectory(Array.from({ length: 50 }, (_, at) => ({ key: `/a/${100 + at}`, main: at + 2, value: 'v' })));
    const compared: number[] = [];
    await plan(memoryKeys(), { directory, onProgress: (done) => compared.push(done) });
    expect(compared).toEqual([16, 32, 48, 50]);
  });
});
