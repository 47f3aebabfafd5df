import { describe, expect, test } from 'vitest';
import { LINEAGE_ONE, LINEAGE_TWO, sampleAcceptance, sampleManifest } from '../../test/support/manifests.ts';
import { IMPORTED_LINEAGE, timeOfId } from '../format/ids.ts';
import type { Acceptance, Manifest } from '../format/types.ts';
import { announcedRestore, currentGeneration, detectGeneration, generationsOf } from './generations.ts';
import type { Backup } from './types.ts';

const LINEAGE_THREE = '33333333333333ab';

function backup(hour: number, fields: Partial<Manifest> = {}): Backup {
  const manifest = sampleManifest({ time: `2026-11-22T${String(hour).padStart(2, '0')}:00:00.000Z`, ...fields });
  const { id, cluster, suspect } = manifest;
  return {
    id,
    cluster,
    timeMs: timeOfId(id)!,
    manifest,
    copies: [],
    state: 'complete',
    unasked: [],
    held: undefined,
    suspect,
    proof: undefined,
    drills: [],
  };
}

const first = backup(1);
const second = backup(2, { lineage: LINEAGE_TWO, clusterId: 'b' });
const third = backup(3, { lineage: LINEAGE_THREE, clusterId: 'b' });

function accepted(acceptances: readonly Acceptance[]): boolean[] {
  return generationsOf([first, second, third, backup(4)], acceptances).map((each) => each.accepted);
}

describe('generations', () => {
  test('are the histories in order of their first backup', () => {
    expect(generationsOf([first, backup(2), third], [])).toEqual([
      { lineage: LINEAGE_ONE, clusterId: first.manifest.clusterId, firstId: first.id, accepted: true, released: false },
      { lineage: LINEAGE_THREE, clusterId: 'b', firstId: third.id, accepted: false, released: false },
    ]);
    expect(generationsOf([], [])).toEqual([]);
  });

  test('what was imported stands before all others, accepted, however new it is, and opens none', () => {
    const imported = backup(9, { lineage: IMPORTED_LINEAGE, clusterId: '0' });
    const generations = generationsOf([first, second, imported], []);
    expect(generations.map(({ lineage, accepted: is }) => [lineage, is])).toEqual([
      [IMPORTED_LINEAGE, true],
      [LINEAGE_ONE, true],
      [LINEAGE_TWO, false],
    ]);
    expect(currentGeneration(generations)?.lineage).toBe(LINEAGE_TWO);
    expect(
      generationsOf([first, imported], [sampleAcceptance({ kind: 'accept', lineage: LINEAGE_TWO })]).every((each) => each.accepted),
    ).toBe(true);
    const only = generationsOf([imported], []);
    expect(currentGeneration(only)).toBeUndefined();
    const seen = { clusterId: 'c', revision: 1n, raftTerm: 1n };
    expect(detectGeneration({ backups: [imported], generations: only }, seen)).toEqual({ kind: 'first' });
  });

  test('the first needs no acceptance, later ones do', () => {
    expect(accepted([])).toEqual([true, false, false]);
    expect(accepted([sampleAcceptance({ lineage: LINEAGE_TWO })])).toEqual([true, true, false]);
  });

  test('accepting one accepts those before it', () => {
    expect(accepted([sampleAcceptance({ lineage: LINEAGE_THREE })])).toEqual([true, true, true]);
  });

  test('the record of a restore accepts the first history of that cluster from then on, and only that', () => {
    const before = { kind: 'restore', lineage: '00000000000000zz', clusterId: 'b', time: '2026-11-22T01:30:00.000Z' } as const;
    expect(accepted([sampleAcceptance(before)])).toEqual([true, true, false]);
    expect(accepted([sampleAcceptance({ ...before, time: '2026-11-22T02:30:00.000Z' })])).toEqual([true, true, true]);
    expect(accepted([sampleAcceptance({ ...before, time: '2026-11-22T05:00:00.000Z' })])).toEqual([true, false, false]);
    expect(accepted([sampleAcceptance({ ...before, clusterId: 'c' })])).toEqual([true, false, false]);
  });

  test('a restore accepts neither the history it was made from nor one that another attempt made', () => {
    const restore = { kind: 'restore', lineage: LINEAGE_TWO, clusterId: 'c', time: '2026-11-22T01:30:00.000Z' } as const;
    expect(accepted([sampleAcceptance(restore)])).toEqual([true, false, false]);
  });

  test('clocks that are minutes apart, or a member that was built last, do not cost the acceptance', () => {
    const late = { kind: 'restore', clusterId: 'b', time: '2026-11-22T02:08:00.000Z' } as const;
    expect(generationsOf([first, second], [sampleAcceptance(late)])[1]!.accepted).toBe(true);
    expect(generationsOf([first, second], [sampleAcceptance({ ...late, time: '2026-11-22T02:11:00.000Z' })])[1]!.accepted).toBe(false);
  });

  test('a restore announces a cluster until a history has begun with it', () => {
    const record = sampleAcceptance({ kind: 'restore', clusterId: 'b', time: '2026-11-22T01:30:00.000Z' });
    const seen = (backups: readonly Backup[]): unknown => announcedRestore({ backups, acceptances: [record] }, 'b');
    expect(seen([first])).toBe(record);
    expect(seen([first, second])).toBeUndefined();
    expect(announcedRestore({ backups: [first], acceptances: [record] }, 'c')).toBeUndefined();
    expect(announcedRestore({ backups: [first], acceptances: [{ ...record, kind: 'accept' }] }, 'b')).toBeUndefined();
    // Restored again to the same members with the same token: announced again.
    const again = { ...record, time: '2026-11-22T04:00:00.000Z' };
    expect(announcedRestore({ backups: [first, second], acceptances: [record, again] }, 'b')).toBe(again);
  });

  test('a release releases its history and accepts nothing', () => {
    const generations = generationsOf([first, second], [sampleAcceptance({ kind: 'release', lineage: LINEAGE_ONE })]);
    expect(generations).toMatchObject([{ released: true }, { accepted: false, released: false }]);
    expect(generationsOf([first, second], [sampleAcceptance({ kind: 'release', lineage: LINEAGE_TWO })])[1]!.accepted).toBe(false);
  });
});

describe('whether a cluster continues its history', () => {
  const backups = [backup(1, { revision: '50', raftTerm: '3' }), backup(2, { revision: '60', raftTerm: '4' })];
  const catalog = { backups, generations: generationsOf(backups, []) };
  const clusterId = first.manifest.clusterId;

  test('without any backup it begins one', () => {
    expect(detectGeneration({ backups: [], generations: [] }, { clusterId, revision: 1n, raftTerm: 1n })).toEqual({ kind: 'first' });
  });

  test('the same id, no step back: the same history, and the newest backup is the parent', () => {
    expect(detectGeneration(catalog, { clusterId, revision: 60n, raftTerm: 4n })).toEqual({
      kind: 'same',
      lineage: LINEAGE_ONE,
      parent: backups[1]!.id,
    });
  });

  test('fault 12: another cluster id is a new generation', () => {
    expect(detectGeneration(catalog, { clusterId: 'b', revision: 70n, raftTerm: 4n })).toEqual({
      kind: 'new',
      previous: LINEAGE_ONE,
      reason: `the cluster id is b, the last backups are of ${clusterId}`,
    });
  });

  test('fault 54: a lower revision is a new generation, even if only by one', () => {
    const reason = `history moved back: the cluster is at revision 59, backup ${backups[1]!.id} at 60`;
    expect(detectGeneration(catalog, { clusterId, revision: 59n, raftTerm: 4n })).toMatchObject({ kind: 'new', reason });
  });

  test('fault 54: a lower raft term is one too: the cluster was restored with the same token and raised revisions', () => {
    const reason = `history moved back: the raft term is 2, at backup ${backups[0]!.id} it was 3`;
    expect(detectGeneration(catalog, { clusterId, revision: 1_000_000_060n, raftTerm: 2n })).toMatchObject({ kind: 'new', reason });
  });

  test('revisions beyond 2^53 are compared exactly', () => {
    const huge = [backup(1, { revision: '9007199254740993' })];
    const seen = { clusterId, raftTerm: 9n };
    expect(
      detectGeneration({ backups: huge, generations: generationsOf(huge, []) }, { ...seen, revision: 9_007_199_254_740_992n }).kind,
    ).toBe('new');
    expect(
      detectGeneration({ backups: huge, generations: generationsOf(huge, []) }, { ...seen, revision: 9_007_199_254_740_993n }).kind,
    ).toBe('same');
  });

  test('regression: a cluster that went back to an older revision goes on in its new generation, by time and not by revision', () => {
    const restored = [...backups, backup(3, { revision: '5', raftTerm: '1', lineage: LINEAGE_TWO })];
    const seen = { clusterId, revision: 6n, raftTerm: 1n };
    expect(detectGeneration({ backups: restored, generations: generationsOf(restored, []) }, seen)).toMatchObject({
      kind: 'same',
      lineage: LINEAGE_TWO,
    });
  });

  test('the figures of a suspect backup open no generation', () => {
    const wild = [...backups, backup(3, { revision: '9000000000', suspect: 'damaged' })];
    expect(detectGeneration({ backups: wild, generations: generationsOf(wild, []) }, { clusterId, revision: 61n, raftTerm: 4n }).kind).toBe(
      'same',
    );
  });
});
