import { describe, expect, test } from 'vitest';
import {
  clusterOf,
  compactWish,
  defragWish,
  DISARM,
  fullCluster,
  HOUR_MS,
  inShort,
  MINUTE_MS,
  POLICY,
  reasonsOf,
  ROUTINE,
  rulesOf,
  TIDY,
  verdictOf,
} from '../../../test/support/planner.ts';
import { NOW_MS } from '../../../test/support/plans.ts';
import { plan } from './plan.ts';
import type { ClusterState, MemberGauges, MemberState, Wish } from './types.ts';

const GAUGES: MemberGauges = {
  snapshotStreams: 0,
  hashCalls: 0,
  defragInflight: false,
  raftSnapshotInflight: false,
  startedMs: NOW_MS - HOUR_MS,
};
/** Everything that anybody can wish for. */
const WISHES: readonly Wish[] = [
  ROUTINE,
  defragWish({ yes: true }),
  defragWish({ worthwhile: true }),
  compactWish({ revisions: 10 }),
  DISARM,
];

/** The state with changes to member 2. */
function second(changes: Partial<MemberState>, more: Parameters<typeof clusterOf>[1] = {}): ClusterState {
  return clusterOf(3, { ...more, each: (number) => ({ ...more.each?.(number), ...(number === 2 ? changes : {}) }) });
}

describe('gates of the cluster', () => {
  test('let a healthy one pass, and each is shown', () => {
    const made = plan(clusterOf(3), POLICY, ROUTINE);
    expect(inShort(made)).toBe('defrag 2a');
    const rules =
      'corrupt-alarm members-disagree lock-elsewhere backing-off own-read defrag-inflight foreign-snapshot foreign-hash no-quorum leader-unclear member-down member-slow member-lagging learner-catching-up raft-snapshot quorum-at-risk version-unchecked restarted-lately compacting'.split(
        ' ',
      );
    expect(made.gates.filter(({ verdict }) => verdict === 'passed').map(({ rule }) => rule)).toEqual(rules);
  });

  test('stand in the same order whatever their verdict', () => {
    const dark = second({ reachable: false, readMs: undefined, error: 'refused' }, { ownReads: ['snapshot of m1'] });
    expect([...new Set(plan(dark, POLICY, ROUTINE).gates.map(({ rule }) => rule))].slice(0, 19)).toEqual(
      plan(clusterOf(3), POLICY, ROUTINE)
        .gates.map(({ rule }) => rule)
        .slice(0, 19),
    );
  });

  test.each(['1a', '0', 'ffff'])('H12: CORRUPT for member id %s stops everything, whatever is wished', (memberId) => {
    for (const state of [clusterOf(3), fullCluster(3)]) {
      const alarmed = {
        ...state,
        alarms: [...state.alarms, { type: 'CORRUPT', memberId }, { type: 'NOSPACE', memberId: 'dead' }] as const,
      };
      for (const wish of WISHES) {
        const made = plan(alarmed, { ...POLICY, allowHazardousVersions: true }, wish);
        expect(made.action).toBeUndefined();
        expect(made.refusals[0]).toMatchObject({ rule: 'corrupt-alarm', hint: expect.stringContaining('replace') });
        expect(made.complete).toBe(false);
      }
    }
    // Even where there is nothing to do, it is said.
    const tidy = { ...clusterOf(3, { each: () => TIDY }), alarms: [{ type: 'CORRUPT', memberId }] as const };
    expect(plan(tidy, POLICY, ROUTINE)).toMatchObject({ complete: false, refusals: [{ rule: 'corrupt-alarm' }, {}, {}, {}, {}] });
  });

  test('H12: members that disagree stop everything, and are named', () => {
    for (const wish of WISHES) {
      const made = plan(
        { ...fullCluster(3), disagreement: { members: ['2a', 'm3', 'gone'], reason: 'twice at revision 5' } },
        POLICY,
        wish,
      );
      expect(made.action).toBeUndefined();
      expect(made.refusals[0]).toMatchObject({
        rule: 'members-disagree',
        message: expect.stringMatching(/^gone, m2, m3 have different data: twice/),
      });
    }
  });

  test('H25: a lock or an election elsewhere stops everything', () => {
    for (const detail of [undefined, 'wolf:12 is elected']) {
      for (const wish of WISHES) {
        const made = plan({ ...fullCluster(3), lock: { state: 'elsewhere', detail, elected: false } }, POLICY, wish);
        expect(made.action).toBeUndefined();
        expect(made.refusals[0]).toMatchObject({
          rule: 'lock-elsewhere',
          message: detail ?? 'another process holds the lock of this cluster',
        });
      }
    }
  });

  test('H25: without a lock it goes on, and says why that is so', () => {
    const made = plan({ ...fullCluster(3), lock: { state: 'without', detail: 'NOSPACE refuses leases', elected: true } }, POLICY, ROUTINE);
    expect(made.action).toBeDefined();
    expect(made.gates.find(({ rule }) => rule === 'lock-elsewhere')).toMatchObject({
      verdict: 'passed',
      message: 'NOSPACE refuses leases',
    });
    expect(
      verdictOf(
        plan({ ...clusterOf(3), lock: { state: 'unasked', detail: undefined, elected: false } }, POLICY, ROUTINE),
        'lock-elsewhere',
      ),
    ).toBe('unchecked');
  });

  test('H5, H24: a snapshot or a HashKV of ours stops everything', () => {
    for (const wish of WISHES) {
      const made = plan({ ...fullCluster(3), ownReads: ['snapshot of m3', 'HashKV of m1'] }, POLICY, wish);
      expect(made.action).toBeUndefined();
      expect(made.refusals[0]).toMatchObject({ rule: 'own-read', message: expect.stringContaining('HashKV of m1, snapshot of m3') });
    }
  });

  test('H5: a foreign snapshot stream from any member stops defragmentation, and is only told before a compaction', () => {
    const state = second({ gauges: { ...GAUGES, snapshotStreams: 1 } });
    expect(plan(state, POLICY, ROUTINE)).toMatchObject({
      action: undefined,
      refusals: expect.arrayContaining([expect.objectContaining({ rule: 'foreign-snapshot', member: 'm2' })]),
    });
    const compaction = plan(state, POLICY, compactWish({ revisions: 10 }));
    expect(compaction.action).toBeDefined();
    expect(verdictOf(compaction, 'foreign-snapshot')).toBe('warned');
  });

  test('H24, H27: a foreign HashKV of any member stops defragmentation, and is only told before a compaction', () => {
    const state = second({ gauges: { ...GAUGES, hashCalls: 1 } });
    for (const wish of [ROUTINE, defragWish({ yes: true })]) {
      const made = plan(state, POLICY, wish);
      expect(made.action).toBeUndefined();
      expect(rulesOf(made)).toEqual(['foreign-hash']);
    }
    expect(verdictOf(plan(state, POLICY, compactWish({ revisions: 10 })), 'foreign-hash')).toBe('warned');
  });

  test('H5: what closed metrics cannot tell is shown as unchecked, with the reason', () => {
    const made = plan(second({ gauges: undefined, gaugesError: 'connection refused' }), POLICY, ROUTINE);
    expect(inShort(made)).toBe('defrag 2a');
    for (const rule of ['foreign-snapshot', 'foreign-hash', 'defrag-inflight', 'raft-snapshot'] as const)
      expect(verdictOf(made, rule)).toBe('unchecked');
    expect(made.gates.find(({ rule }) => rule === 'foreign-snapshot')?.message).toBe('could not be checked on m2: connection refused');
    const old = plan(second({ gauges: { ...GAUGES, defragInflight: undefined } }), POLICY, ROUTINE);
    expect(old.gates.find(({ rule }) => rule === 'defrag-inflight')).toMatchObject({
      verdict: 'unchecked',
      message: expect.stringContaining('do not tell'),
    });
  });

  test('H4: a defragmentation that somebody else began stops everything', () => {
    for (const wish of WISHES) {
      const made = plan(
        { ...second({ gauges: { ...GAUGES, defragInflight: true } }), alarms: [{ type: 'NOSPACE', memberId: '1a' }] },
        POLICY,
        wish,
      );
      expect(made.action).toBeUndefined();
      expect(rulesOf(made)[0]).toBe('defrag-inflight');
    }
  });

  test('H2: a member that seems to be down because it is being defragmented stops everything, the degraded cure too', () => {
    const frozen = second({ reachable: false, readMs: undefined, error: 'no answer', gauges: { ...GAUGES, defragInflight: true } });
    const made = plan({ ...frozen, alarms: [{ type: 'NOSPACE', memberId: '1a' }] }, POLICY, defragWish({ degraded: true, yes: true }));
    expect(made.action).toBeUndefined();
    expect(rulesOf(made)[0]).toBe('defrag-inflight');
  });

  test('H4: without a leader nothing is done, whether voters know none or none answers', () => {
    const leaderless = clusterOf(3, { each: () => ({ leader: '' }) });
    const dark = clusterOf(3, { each: () => ({ reachable: false, readMs: undefined }) });
    for (const wish of WISHES.slice(0, 4)) {
      expect(plan(leaderless, POLICY, wish).refusals[0]).toMatchObject({ rule: 'no-quorum', message: 'no voter knows a leader' });
      expect(plan(dark, POLICY, wish).refusals[0]).toMatchObject({ rule: 'no-quorum', message: 'no voter answers' });
    }
  });

  test('H4: voters must name one leader, who is a voter, in one term', () => {
    for (const changes of [{ leader: '2a' }, { leader: '' }, { raftTerm: 6n }])
      expect(rulesOf(plan(second(changes), POLICY, ROUTINE))).toContain('leader-unclear');
    expect(plan(clusterOf(3, { each: () => ({ leader: 'beef' }) }), POLICY, ROUTINE).refusals[0]).toMatchObject({
      rule: 'leader-unclear',
      message: expect.stringContaining('beef'),
    });
    expect(plan(second({ leader: '' }), POLICY, ROUTINE).refusals[0]?.message).toContain('nobody');
    const learnerLeads = clusterOf(3, { each: (number) => ({ leader: '3a', voter: number !== 3 }) });
    expect(rulesOf(plan(learnerLeads, { ...POLICY, allowSingleMember: true }, ROUTINE))).toContain('leader-unclear');
  });

  test('H4: every voter must answer, answer linearizable reads, and be level', () => {
    expect(rulesOf(plan(second({ reachable: false, readMs: undefined }), POLICY, ROUTINE))).toEqual(['member-down', 'quorum-at-risk']);
    // What it runs cannot be known then, and is not held against it as well.
    const asked = plan(second({ reachable: false, readMs: undefined, version: '' }), POLICY, defragWish({ yes: true }));
    expect(rulesOf(asked)).toEqual(['member-down', 'quorum-at-risk']);
    expect(plan(second({ readMs: undefined }), POLICY, ROUTINE).refusals[0]).toMatchObject({
      rule: 'member-slow',
      message: expect.stringContaining('no answer in time'),
    });
    expect(plan(second({ readMs: undefined, error: 'it is frozen' }), POLICY, ROUTINE).refusals[0]?.message).toContain('it is frozen');
    expect(
      plan(second({ raftAppliedIndex: 1000n }, { each: () => ({ raftIndex: 2001n, raftAppliedIndex: 2001n }) }), POLICY, ROUTINE)
        .refusals[0],
    ).toMatchObject({ rule: 'member-lagging', member: 'm2' });
    expect(rulesOf(plan(second({ raftAppliedIndex: -1n }), POLICY, ROUTINE))).toEqual(['member-lagging', 'quorum-at-risk']);
    expect(
      plan(second({ raftAppliedIndex: 1001n }, { each: () => ({ raftIndex: 2001n, raftAppliedIndex: 2001n }) }), POLICY, ROUTINE).action,
    ).toBeDefined();
  });

  test('H4: a compaction goes on with a member down or behind, and says so', () => {
    for (const [changes, rule] of [
      [{ reachable: false, readMs: undefined }, 'member-down'],
      [{ readMs: undefined }, 'member-slow'],
      [{ raftAppliedIndex: 0n, raftIndex: 5000n }, 'member-lagging'],
    ] as const) {
      const made = plan(second(changes), POLICY, compactWish({ revisions: 10 }));
      expect(inShort(made)).toBe('compact 4990');
      expect(verdictOf(made, rule)).toBe('warned');
    }
  });

  test('H9: a learner that catches up or does not answer stops defragmentation; one that is level does not', () => {
    const learner = (changes: Partial<MemberState>): ClusterState =>
      clusterOf(4, { each: (number) => (number === 4 ? { voter: false, readMs: undefined, ...changes } : {}) });
    expect(plan(learner({}), POLICY, ROUTINE).action).toBeDefined();
    for (const changes of [{ reachable: false }, { raftIndex: 5000n, raftAppliedIndex: -1n }])
      expect(rulesOf(plan(learner(changes), POLICY, ROUTINE))).toContain('learner-catching-up');
  });

  test('H9: a database that is being sent stops defragmentation on every release', () => {
    expect(plan(second({ gauges: { ...GAUGES, raftSnapshotInflight: true } }), POLICY, ROUTINE).refusals[0]).toMatchObject({
      rule: 'raft-snapshot',
      member: 'm2',
    });
  });

  test('H26: of three voters two must be left beside the frozen one, of five three', () => {
    const five = clusterOf(5, { each: (number) => (number > 3 ? { readMs: undefined } : {}) });
    expect(plan(five, POLICY, ROUTINE).refusals).toContainEqual(
      expect.objectContaining({ rule: 'quorum-at-risk', message: expect.stringContaining('2 of 5') }),
    );
    const dark = clusterOf(3, { each: () => ({ readMs: undefined }) });
    expect(plan(dark, POLICY, ROUTINE).refusals.find(({ rule }) => rule === 'quorum-at-risk')?.message).toContain('0 of 3');
  });

  test.each([1, 2])('H26: %i voters are frozen only where that is allowed, or by hand with --yes', (count) => {
    const state = clusterOf(count);
    for (const wish of [ROUTINE, defragWish(), defragWish({ worthwhile: true })])
      expect(rulesOf(plan(state, POLICY, wish))).toEqual(['single-member']);
    for (const [policy, wish] of [
      [{ ...POLICY, allowSingleMember: true }, ROUTINE],
      [POLICY, defragWish({ yes: true })],
    ] as const) {
      const made = plan(state, policy, wish);
      expect(inShort(made)).toBe(count === 1 ? 'defrag 1a leading' : 'defrag 2a');
      expect(verdictOf(made, 'single-member')).toBe('overridden');
      // A dry run plans as if somebody had said yes: no gate may say that he has.
      expect(made.gates.filter(({ message }) => /yes was/.test(message))).toEqual([]);
    }
  });

  test('H26: one of two voters down is never outvoted by permission', () => {
    const state = fullCluster(2, { each: (number) => (number === 2 ? { reachable: false, readMs: undefined } : { readMs: undefined }) });
    const compacted = { ...state, compactRevision: 4999n };
    expect(plan(compacted, { ...POLICY, allowSingleMember: true }, defragWish({ yes: true, degraded: true })).action).toBeUndefined();
  });
});

describe('gates of releases', () => {
  const release = (version: string, changes: Partial<MemberState> = {}): ClusterState =>
    clusterOf(3, { each: () => ({ version, ...changes }) });

  test.each(['3.4.3', '3.5.0', '3.5.5'])('H9: etcd %s is not defragmented, unless that is overridden', (version) => {
    const made = plan(release(version), POLICY, ROUTINE);
    expect(made.action).toBeUndefined();
    expect(rulesOf(made)).toEqual(['version-hazard']);
    expect(made.complete).toBe(false);
    const overridden = plan(release(version), { ...POLICY, allowHazardousVersions: true }, ROUTINE);
    expect(inShort(overridden)).toBe('defrag 2a');
    expect(overridden.gates).toContainEqual(expect.objectContaining({ rule: 'version-hazard', verdict: 'overridden', member: 'm2' }));
  });

  test('H9: a release that is forbidden holds back its own members alone', () => {
    const made = plan(second({ version: '3.5.4' }), POLICY, ROUTINE);
    expect(inShort(made)).toBe('defrag 3a');
    expect(reasonsOf(made)).toEqual([
      expect.objectContaining({ rule: 'version-hazard', member: 'm2', message: expect.stringContaining('#14685') }),
    ]);
  });

  test.each(['3.4.37', '3.5.22', '3.6.4'])(
    'H9: etcd %s is defragmented only when its metrics tell that no database is on its way',
    (version) => {
      expect(inShort(plan(release(version), POLICY, ROUTINE))).toBe('defrag 2a');
      for (const gauges of [undefined, { ...GAUGES, raftSnapshotInflight: undefined }, { ...GAUGES, startedMs: undefined }]) {
        const made = plan(release(version, { gauges }), POLICY, ROUTINE);
        expect(rulesOf(made)).toEqual(['version-unchecked']);
        const overridden = plan(release(version, { gauges }), { ...POLICY, allowHazardousVersions: true }, ROUTINE);
        expect(inShort(overridden)).toBe('defrag 2a');
        expect(verdictOf(overridden, 'version-unchecked')).toBe('overridden');
      }
      expect(plan(release(version, { gauges: undefined, gaugesError: 'closed' }), POLICY, ROUTINE).refusals[0]?.message).toContain(
        'closed',
      );
    },
  );

  test('H9: where #20271 is not fixed, nobody is defragmented for a while after any start, and the end of that is told', () => {
    const gauges = { ...GAUGES, startedMs: NOW_MS - 4 * MINUTE_MS };
    const made = plan(second({ gauges }, { each: () => ({ version: '3.5.22' }) }), POLICY, ROUTINE);
    expect(made).toMatchObject({
      action: undefined,
      againMs: NOW_MS + 6 * MINUTE_MS,
      refusals: expect.arrayContaining([expect.objectContaining({ rule: 'restarted-lately', member: 'm2' })]),
    });
    const over = { ...GAUGES, startedMs: NOW_MS - 10 * MINUTE_MS };
    expect(plan(second({ gauges: over }, { each: () => ({ version: '3.5.22' }) }), POLICY, ROUTINE).action).toBeDefined();
    // By a clock that is ahead it was started in the future: nobody knows when.
    expect(
      rulesOf(
        plan(second({ gauges: { ...GAUGES, startedMs: NOW_MS + HOUR_MS } }, { each: () => ({ version: '3.5.22' }) }), POLICY, ROUTINE),
      ),
    ).toEqual(['restarted-lately']);
    expect(plan(second({ gauges }, { each: () => ({ version: '3.5.23' }) }), POLICY, ROUTINE).action).toBeDefined();
    expect(
      plan(second({ gauges }, { each: () => ({ version: '3.5.22' }) }), { ...POLICY, restartQuietMs: MINUTE_MS }, ROUTINE).action,
    ).toBeDefined();
  });

  test('H9: everything else that is known of a release is said once, for all that have it', () => {
    const warned = (wish: Wish): string[] =>
      plan(release('3.5.16'), POLICY, wish).gates.flatMap(({ verdict, message }) => (verdict === 'warned' ? [message] : []));
    const defrag = warned(defragWish());
    expect(defrag.join('\n')).toMatch(/m1, m2, m3: etcd 3\.5\.16 .*#18842[^]*#20967/);
    expect(defrag.join('\n')).not.toContain('#19406');
    const compaction = warned(compactWish({ revisions: 10 }));
    expect(compaction.join('\n')).toContain('#19406');
    expect(compaction.join('\n')).not.toContain('#18842');
  });
});

describe('backing off', () => {
  const failed = (count: number, minutesAgo: number, state = clusterOf(3)): ClusterState => ({
    ...state,
    past: { ...state.past, failure: { atMs: NOW_MS - minutesAgo * MINUTE_MS, count, rule: 'timeout', reason: 'it did not come back' } },
  });

  test('a surprise lets the next round wait five minutes, and doubles up to six hours', () => {
    for (const [count, minutes] of [
      [1, 5],
      [2, 10],
      [4, 40],
      [7, 320],
      [8, 360],
      [90, 360],
    ] as const) {
      expect(plan(failed(count, minutes - 1), POLICY, ROUTINE)).toMatchObject({
        action: undefined,
        refusals: expect.arrayContaining([expect.objectContaining({ rule: 'backing-off' })]),
        againMs: NOW_MS + MINUTE_MS,
      });
      expect(plan(failed(count, minutes), POLICY, ROUTINE).action).toBeDefined();
    }
  });

  test('never by hand, and no longer than a quarter of an hour with NOSPACE armed', () => {
    expect(plan(failed(9, 1), POLICY, defragWish()).action).toBeDefined();
    expect(rulesOf(plan(failed(9, 14, fullCluster(3)), POLICY, ROUTINE))).toContain('backing-off');
    expect(plan(failed(9, 15, fullCluster(3)), POLICY, ROUTINE).action).toBeDefined();
  });

  test('a clock that was set back does not lock it up', () => {
    expect(plan(failed(1, -60 * 24), POLICY, ROUTINE).action).toBeDefined();
  });

  test('says nothing where nothing is to be done', () => {
    const tidy = failed(3, 1, clusterOf(3, { each: () => TIDY }));
    expect(plan(tidy, POLICY, ROUTINE)).toMatchObject({ complete: true });
    expect(rulesOf(plan(tidy, POLICY, ROUTINE))).not.toContain('backing-off');
  });
});
