import { describe, expect, test } from 'vitest';
import {
  clusterOf,
  compactWish,
  HOUR_MS,
  inShort,
  MINUTE_MS,
  POLICY,
  ROUTINE,
  rulesOf,
  stepsOf,
  TIDY,
  verdictOf,
} from '../../../test/support/planner.ts';
import { NOW_MS } from '../../../test/support/plans.ts';
import { plan } from './plan.ts';
import type { ClusterState, MemberState, Policy } from './types.ts';

describe('compaction by hand', () => {
  const wish = compactWish({ revisions: 50 });

  test('goes as far as was asked, waits until every member has finished, and is done', () => {
    expect(inShort(plan(clusterOf(3), POLICY, wish))).toBe('compact 4950');
    const compacted = (each: () => Partial<MemberState>): ClusterState => {
      const state = clusterOf(3, { compactRevision: 4950n, each });
      return { ...state, past: { ...state.past, compaction: { atMs: NOW_MS, revision: 4950n } } };
    };
    expect(
      inShort(
        plan(
          compacted(() => ({ compacting: true })),
          POLICY,
          wish,
        ),
      ),
    ).toBe('await 1a 2a 3a');
    expect(
      plan(
        compacted(() => ({})),
        POLICY,
        wish,
      ),
    ).toMatchObject({ action: undefined, complete: true, refusals: [{ rule: 'done' }] });
    expect(stepsOf(plan(clusterOf(3), POLICY, wish))).toEqual(['compact 4950']);
  });

  test('H10: is refused with a hint where no time is known, and where nothing is older', () => {
    expect(plan(clusterOf(3), POLICY, compactWish({ ms: HOUR_MS }))).toMatchObject({
      action: undefined,
      complete: false,
      refusals: [{ rule: 'no-time-known', hint: expect.stringContaining('--keep') }],
    });
    expect(plan(clusterOf(3), POLICY, compactWish({ revisions: 100 }))).toMatchObject({
      action: undefined,
      complete: true,
      refusals: [{ rule: 'keeps-everything' }],
    });
  });

  test('H10: on Kubernetes only with --yes', () => {
    const state = clusterOf(3, { kubernetes: true });
    expect(plan(state, POLICY, compactWish({ revisions: 50 }, false))).toMatchObject({
      action: undefined,
      refusals: [{ rule: 'kubernetes-compacts', hint: expect.stringContaining('--yes') }],
    });
    expect(verdictOf(plan(state, POLICY, wish), 'kubernetes-compacts')).toBe('overridden');
    expect(inShort(plan(state, POLICY, wish))).toBe('compact 4950');
  });
});

describe('routine compaction', () => {
  const KEEP: Policy = { ...POLICY, keep: { revisions: 20_000 } };
  const long = (changes: Partial<ClusterState> = {}): ClusterState =>
    clusterOf(3, { each: () => TIDY, revision: 50_000n, compactRevision: 0n, ...changes });
  const ours = (revision: bigint): Partial<ClusterState> => ({
    compactRevision: revision,
    past: { ...long().past, compaction: { atMs: NOW_MS - HOUR_MS, revision } },
  });

  test('keeps the wanted history, and comes before defragmentation', () => {
    expect(inShort(plan(long(), KEEP, ROUTINE))).toBe('compact 30000');
    expect(stepsOf(plan({ ...long(), members: clusterOf(3).members }, KEEP, ROUTINE))).toEqual([
      'compact 30000',
      'defrag 2a',
      'defrag 3a',
      'move 1a>2a',
      'defrag 1a',
    ]);
    const marks = [{ timeMs: NOW_MS - 61 * MINUTE_MS, revision: 12_345n }];
    expect(inShort(plan(long({ marks }), POLICY, ROUTINE))).toBe('compact 12345');
  });

  test('is not done at every look: only for a tenth of what is kept, and a thousand revisions at least', () => {
    const of = (changes: Partial<ClusterState>, keep: number): ReturnType<typeof plan> =>
      plan(long(changes), { ...POLICY, keep: { revisions: keep } }, ROUTINE);
    expect(inShort(of(ours(28_000n), 20_000))).toBe('compact 30000');
    expect(rulesOf(of(ours(28_001n), 20_000))).toContain('not-needed');
    expect(inShort(of(ours(48_900n), 100))).toBe('compact 49900');
    expect(of(ours(48_901n), 100)).toMatchObject({ action: undefined, complete: true });
  });

  test('waits for every member afterwards, before it looks at sizes again', () => {
    const state = { ...long(), past: { ...long().past, compaction: { atMs: NOW_MS, revision: 30_000n } }, compactRevision: 30_000n };
    expect(plan(state, KEEP, ROUTINE)).toMatchObject({ action: undefined, complete: true });
    const busy = { ...state, members: state.members.map((member) => ({ ...member, compacting: true })) };
    expect(inShort(plan(busy, KEEP, ROUTINE))).toBe('await 1a 2a 3a');
  });

  test('H10: is left to Kubernetes, unless it is told to be done', () => {
    expect(rulesOf(plan(long({ kubernetes: true }), KEEP, ROUTINE))).toContain('kubernetes-compacts');
    expect(inShort(plan(long({ kubernetes: true }), { ...KEEP, compaction: 'on' }, ROUTINE))).toBe('compact 30000');
  });

  test('H10: is left to etcd, when somebody has compacted further than we did, within a day', () => {
    const other = { ...ours(4000n), compactRevision: 4001n };
    const made = plan(long(other), KEEP, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: true });
    expect(made.refusals.map(({ rule }) => rule)).toContain('etcd-compacts');
    const passedBy = (hours: number): Partial<ClusterState> => ({
      ...other,
      marks: [{ timeMs: NOW_MS - hours * HOUR_MS, revision: 4001n }],
    });
    expect(plan(long(passedBy(23)), KEEP, ROUTINE).action).toBeUndefined();
    // A mark of a history that was restored over tells nothing of this one.
    expect(plan(long({ ...other, marks: [{ timeMs: NOW_MS - 48 * HOUR_MS, revision: 50_001n }] }), KEEP, ROUTINE).action).toBeUndefined();
    expect(inShort(plan(long(passedBy(24)), KEEP, ROUTINE))).toBe('compact 30000');
    expect(inShort(plan(long(other), { ...KEEP, compaction: 'on' }, ROUTINE))).toBe('compact 30000');
  });

  test('is not done when switched off, where no time is known, or nobody knows what was compacted', () => {
    expect(rulesOf(plan(long(), { ...KEEP, compaction: 'off' }, ROUTINE))).toContain('compaction-off');
    expect(rulesOf(plan(long(), POLICY, ROUTINE))).toContain('no-time-known');
    expect(rulesOf(plan(long({ compactRevision: undefined }), KEEP, ROUTINE))).toContain('compact-revision-unknown');
    expect(inShort(plan(long({ compactRevision: undefined }), { ...KEEP, compaction: 'on' }, ROUTINE))).toBe('compact 30000');
  });

  test('that is due and refused by a gate is not done, and told once', () => {
    const made = plan(long({ ownReads: ['snapshot of m1'] }), KEEP, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: false });
    expect(made.refusals.filter(({ rule }) => rule === 'own-read')).toHaveLength(1);
    const both = plan({ ...long({ ownReads: ['snapshot of m1'] }), members: clusterOf(3).members }, KEEP, ROUTINE);
    expect(both.refusals.filter(({ rule }) => rule === 'own-read')).toHaveLength(1);
  });
});
