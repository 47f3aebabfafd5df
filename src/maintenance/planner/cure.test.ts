import { describe, expect, test } from 'vitest';
import {
  defragWish,
  DISARM,
  clusterOf,
  fullCluster,
  HOUR_MS,
  inShort,
  MIB,
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
import type { ClusterState, MemberState, Past } from './types.ts';

const ALL = defragWish({ yes: true });
const DEGRADED = defragWish({ yes: true, degraded: true });
const NO_SPACE = (memberId: string): ClusterState['alarms'][number] => ({ type: 'NOSPACE', memberId });
const DOWN: Partial<MemberState> = {
  reachable: false,
  readMs: undefined,
  error: 'connection refused',
  dbSize: 0,
  dbSizeInUse: 0,
  leader: '',
  gauges: undefined,
};

/** Compacted as far as the cure does. */
function compacted(state: ClusterState): ClusterState {
  return { ...state, compactRevision: state.revision };
}

function withPast(state: ClusterState, past: Partial<Past>): ClusterState {
  return { ...state, past: { ...state.past, ...past } };
}

function withDown(state: ClusterState, down: number): ClusterState {
  return { ...state, members: state.members.map((member, index) => (index + 1 === down ? { ...member, ...DOWN } : member)) };
}

describe('the cure of NOSPACE', () => {
  const full = fullCluster(3, { revision: 50_000n, compactRevision: 100n });

  test('H25: compacts, defragments every member, the leader last, and disarms', () => {
    const steps = ['compact 40000', 'defrag 2a', 'defrag 3a', 'move 1a>2a', 'defrag 1a', 'disarm 1a'];
    for (const wish of [ROUTINE, ALL, defragWish()]) {
      const made = plan(full, POLICY, wish);
      expect(stepsOf(made)).toEqual(steps);
      expect(made).toMatchObject({ noSpace: true, complete: false });
    }
  });

  test('H25: compacts on Kubernetes too, and where routine compaction is off', () => {
    expect(inShort(plan({ ...full, kubernetes: true }, { ...POLICY, compaction: 'off' }, ROUTINE))).toBe('compact 40000');
  });

  test('H25: keeps ten minutes or ten thousand revisions, whichever is less, and never compacts to the head', () => {
    const marks = [{ timeMs: NOW_MS - 11 * MINUTE_MS, revision: 45_000n }];
    expect(inShort(plan({ ...full, marks }, POLICY, ROUTINE))).toBe('compact 45000');
    expect(inShort(plan({ ...full, marks: [{ ...marks[0]!, revision: 30_000n }] }, POLICY, ROUTINE))).toBe('compact 40000');
    expect(inShort(plan(full, { ...POLICY, emergencyKeep: { revisions: 0, ms: 0 } }, ROUTINE))).toBe('compact 49999');
  });

  test('compacts once in a round, and not at all when there is nothing older than what is kept', () => {
    const once = withPast(full, { compaction: { atMs: NOW_MS, revision: 40_000n } });
    expect(inShort(plan(once, POLICY, ROUTINE))).toBe('defrag 2a');
    expect(inShort(plan(compacted(full), POLICY, ROUTINE))).toBe('defrag 2a');
    expect(inShort(plan({ ...full, revision: 9000n, compactRevision: undefined }, POLICY, ROUTINE))).toBe('defrag 2a');
    expect(inShort(plan(withPast(full, { compaction: { atMs: NOW_MS - 1, revision: 30_000n } }), POLICY, ROUTINE))).toBe('compact 40000');
  });

  test('H11: does not defragment while anybody is compacting', () => {
    const busy = compacted(fullCluster(3, { each: (number) => ({ compacting: number === 3 }) }));
    expect(inShort(plan(busy, POLICY, ROUTINE))).toBe('await 3a');
  });

  test('asks for no window, no cooldown and no short freeze: nobody can write anyway', () => {
    const state = compacted(
      withPast(
        fullCluster(3, {
          each: () => ({ dbSize: 9000 * MIB, dbSizeInUse: 5000 * MIB, quota: { bytes: 9000 * MIB, source: 'status' } }),
          window: { configured: true, open: false, nextMs: undefined },
        }),
        {
          defrags: { '2a': { atMs: NOW_MS - 1, tookMs: 1, beforeBytes: 1, afterBytes: 1, inUseBytes: 1 } },
        },
      ),
    );
    expect(inShort(plan(state, POLICY, ROUTINE))).toBe('defrag 2a');
  });

  test('H9: does ask for releases that are safe', () => {
    expect(rulesOf(plan(compacted(fullCluster(3, { each: () => ({ version: '3.5.4' }) })), POLICY, ROUTINE))).toEqual(['version-hazard']);
  });

  test('H8: leaves out a member that is below its own threshold with nothing to give', () => {
    const state = compacted(fullCluster(3, { each: (number) => (number === 2 ? TIDY : {}) }));
    expect(stepsOf(plan(state, POLICY, ROUTINE))).toEqual(['defrag 3a', 'move 1a>2a', 'defrag 1a', 'disarm 1a']);
  });

  test('quotas differ: each member goes by its own', () => {
    const small = { dbSize: 15 * MIB, dbSizeInUse: 10 * MIB, quota: { bytes: 16 * MIB, source: 'metrics' } } as const;
    const state = compacted(fullCluster(3, { each: (number) => (number === 3 ? small : TIDY) }));
    // Less than minGain, but enough to come below the threshold.
    expect(stepsOf(plan(state, POLICY, ROUTINE))).toEqual(['defrag 3a', 'disarm 1a']);
  });

  test('H25: what somebody else compacted may count as in use for ever, so one member is defragmented to find out', () => {
    const stale = compacted(fullCluster(3, { each: () => ({ dbSize: 2050 * MIB, dbSizeInUse: 2050 * MIB }) }));
    const made = plan(stale, POLICY, ROUTINE);
    expect(inShort(made)).toBe('defrag 2a');
    expect(made.action).toMatchObject({ why: expect.stringContaining("before a compaction of somebody else's") as string });

    const tried = (afterBytes: number, ageMs: number): ClusterState =>
      withPast(
        {
          ...stale,
          members: stale.members.map((member) =>
            member.id === '2a' ? { ...member, dbSize: afterBytes, dbSizeInUse: afterBytes } : member,
          ),
        },
        { defrags: { '2a': { atMs: NOW_MS - ageMs, tookMs: 1000, beforeBytes: 2050 * MIB, afterBytes, inUseBytes: 2050 * MIB } } },
      );
    // It was so: the others follow, and the next one is another.
    expect(inShort(plan(tried(100 * MIB, 0), POLICY, ROUTINE))).toBe('defrag 3a');
    // It was not: nobody else is frozen for it, in this round or soon after.
    for (const ageMs of [0, HOUR_MS]) {
      const vain = plan(tried(2040 * MIB, ageMs), POLICY, ROUTINE);
      expect(vain).toMatchObject({ action: undefined, complete: false });
      expect(rulesOf(vain)).toEqual(expect.arrayContaining(['above-threshold', 'nothing-to-gain']));
    }
    expect(inShort(plan(tried(2040 * MIB, POLICY.cooldownMs), POLICY, ROUTINE))).toBe('defrag 2a');
    // What we compacted ourselves counts at once.
    for (const atMs of [NOW_MS, NOW_MS - HOUR_MS])
      expect(plan(withPast(stale, { compaction: { atMs, revision: stale.revision } }), POLICY, ROUTINE).action).toBeUndefined();
  });

  test('H12: is not disarmed while any member is at its threshold, and the hint says what helps', () => {
    const hopeless = { dbSize: 1650 * MIB, dbSizeInUse: 1640 * MIB };
    const state = compacted(fullCluster(3, { each: (number) => (number === 2 ? hopeless : TIDY) }));
    const made = plan(withPast(state, { compaction: { atMs: NOW_MS - 1, revision: state.revision } }), POLICY, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: false, noSpace: true });
    expect(made.refusals[0]).toMatchObject({
      rule: 'above-threshold',
      member: 'm2',
      hint: expect.stringContaining('--quota-backend-bytes'),
    });
    expect(rulesOf(made)).toContain('nothing-to-gain');
  });

  test('H12: a learner that is too full is not disarmed over either: it would arm it again', () => {
    const state = compacted(fullCluster(4, { each: (number) => (number === 4 ? { voter: false, readMs: undefined } : TIDY) }));
    expect(plan(state, POLICY, ROUTINE)).toMatchObject({
      action: undefined,
      refusals: expect.arrayContaining([expect.objectContaining({ rule: 'above-threshold', member: 'm4' })]),
    });
  });

  test('H12: not twice within the hour, not even by hand, and then again', () => {
    for (const wish of [ROUTINE, ALL, DISARM]) {
      const state = (minutesAgo: number): ClusterState =>
        withPast(compacted(fullCluster(3, { each: () => TIDY })), { disarmedMs: NOW_MS - minutesAgo * MINUTE_MS });
      expect(plan(state(59), POLICY, wish)).toMatchObject({ action: undefined, complete: false, againMs: NOW_MS + MINUTE_MS });
      expect(rulesOf(plan(state(59), POLICY, wish))).toContain('disarm-too-soon');
      expect(inShort(plan(state(60), POLICY, wish))).toBe('disarm 1a');
    }
  });

  test('each alarm is disarmed by the id of its member, and that is the end of the cure', () => {
    const state = { ...compacted(fullCluster(3, { each: () => TIDY })), alarms: [NO_SPACE('3a'), NO_SPACE('1a'), NO_SPACE('3a')] };
    expect(inShort(plan(state, POLICY, ROUTINE))).toBe('disarm 1a 3a');
    const cured = withPast({ ...state, alarms: [] }, { disarmedMs: NOW_MS });
    expect(plan(cured, POLICY, ALL)).toMatchObject({ action: undefined, complete: true, refusals: [{ rule: 'done' }] });
    expect(plan(cured, POLICY, ROUTINE)).toMatchObject({ action: undefined, complete: true });
  });

  test('one voter: compaction is all that the daemon does, unless it is allowed', () => {
    const single = fullCluster(1, { revision: 50_000n, compactRevision: 100n });
    expect(stepsOf(plan(single, POLICY, ROUTINE))).toEqual(['compact 40000']);
    expect(rulesOf(plan(compacted(single), POLICY, ROUTINE))).toEqual(['single-member']);
    expect(stepsOf(plan(single, { ...POLICY, allowSingleMember: true }, ROUTINE))).toEqual([
      'compact 40000',
      'defrag 1a leading',
      'disarm 1a',
    ]);
    expect(stepsOf(plan(single, POLICY, ALL))).toEqual(['compact 40000', 'defrag 1a leading', 'disarm 1a']);
  });

  test('H25: without lock and election nobody is frozen unless the metrics tell that no snapshot is streamed, or by hand', () => {
    const dark = (elected: boolean): ClusterState =>
      compacted(
        fullCluster(3, {
          each: (number) => (number === 3 ? { gauges: undefined } : {}),
          lock: { state: 'without', detail: undefined, elected },
        }),
      );
    const made = plan(dark(false), POLICY, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: false });
    expect(made.refusals[0]).toMatchObject({ rule: 'foreign-snapshot', hint: expect.stringContaining('maintenance.metricsUrl') });
    expect(inShort(plan({ ...dark(false), compactRevision: 1n, revision: 50_000n }, POLICY, ROUTINE))).toBe('compact 40000');
    expect(inShort(plan(dark(true), POLICY, ROUTINE))).toBe('defrag 2a');
    expect(inShort(plan({ ...dark(false), lock: { state: 'held', detail: undefined, elected: false } }, POLICY, ROUTINE))).toBe(
      'defrag 2a',
    );
    const byHand = plan(dark(false), POLICY, ALL);
    expect(inShort(byHand)).toBe('defrag 2a');
    expect(verdictOf(byHand, 'foreign-snapshot')).toBe('overridden');
  });

  test('named members, and what thresholds name, are no cure', () => {
    expect(stepsOf(plan(full, POLICY, defragWish({ members: ['2a'], yes: true })))).toEqual(['defrag 2a']);
    expect(stepsOf(plan(full, POLICY, defragWish({ worthwhile: true })))).not.toContain('disarm 1a');
  });

  test('every gate of the whole round is shown before its first step', () => {
    const gates = new Set(plan(full, POLICY, ROUTINE).gates.map(({ rule }) => rule));
    for (const rule of ['corrupt-alarm', 'quorum-at-risk', 'learner-catching-up', 'restarted-lately', 'compacting'] as const)
      expect(gates).toContain(rule);
  });
});

describe('the cure with a member down', () => {
  const full = withDown(fullCluster(3, { revision: 50_000n, compactRevision: 100n }), 3);

  test('H26: compacts, then stops and names the two ways out', () => {
    for (const wish of [ROUTINE, ALL]) {
      expect(stepsOf(plan(full, POLICY, wish))).toEqual(['compact 40000']);
      const made = plan(compacted(full), POLICY, wish);
      expect(made).toMatchObject({ action: undefined, complete: false, noSpace: true });
      expect(made.refusals[0]).toMatchObject({
        rule: 'member-down',
        member: 'm3',
        hint: expect.stringMatching(/member replace.*defrag --all --yes --degraded/),
      });
    }
  });

  test('H26: --degraded defragments the others one by one, and disarms although one size is unknown', () => {
    const made = plan(full, POLICY, DEGRADED);
    expect(stepsOf(made)).toEqual(['compact 40000', 'defrag 2a', 'move 1a>2a', 'defrag 1a', 'disarm 1a']);
    const next = plan(compacted(full), POLICY, DEGRADED);
    expect(verdictOf(next, 'quorum-at-risk')).toBe('overridden');
    expect(verdictOf(next, 'member-down')).toBe('overridden');
    const last = plan(
      { ...compacted(full), members: full.members.map((member) => ({ ...member, ...(member.reachable ? TIDY : {}) })) },
      POLICY,
      DEGRADED,
    );
    expect(inShort(last)).toBe('disarm 1a');
    // What it had when it was last seen is no longer its size.
    const stale = {
      ...compacted(full),
      members: full.members.map((member) => ({ ...member, ...(member.reachable ? TIDY : { dbSize: 9000 * MIB }) })),
    };
    expect(inShort(plan(stale, POLICY, DEGRADED))).toBe('disarm 1a');
    expect(last.gates.find(({ rule }) => rule === 'member-down')).toMatchObject({
      verdict: 'overridden',
      message: expect.stringContaining('may arm NOSPACE again'),
    });
  });

  test('H26: --degraded counts for nothing without --yes, for named members, or with space left', () => {
    expect(rulesOf(plan(compacted(full), POLICY, defragWish({ degraded: true })))).toEqual(['member-down']);
    expect(rulesOf(plan(compacted(full), POLICY, defragWish({ degraded: true, yes: true, members: ['2a'] })))).toContain('member-down');
    const room = withDown(clusterOf(3), 3);
    expect(plan(room, POLICY, DEGRADED).action).toBeUndefined();
    expect(plan(room, POLICY, DEGRADED).refusals[0]).toMatchObject({
      rule: 'member-down',
      hint: 'start it, or replace it: `etcd-warden member replace m3`',
    });
  });

  test('H4: --degraded excuses no member that takes connections and is silent, unless its metrics tell that nobody defragments it', () => {
    const silent = (gauges: MemberState['gauges']): ClusterState => {
      const state = compacted(full);
      return { ...state, members: state.members.map((member) => (member.reachable ? member : { ...member, silent: true, gauges })) };
    };
    const known = { snapshotStreams: 0, hashCalls: 0, defragInflight: false, raftSnapshotInflight: false, startedMs: NOW_MS - HOUR_MS };
    const made = plan(silent(undefined), POLICY, DEGRADED);
    expect(made.action).toBeUndefined();
    expect(made.refusals[0]).toMatchObject({
      rule: 'member-down',
      member: 'm3',
      message: expect.stringContaining('may be frozen') as string,
    });
    expect(plan(silent({ ...known, defragInflight: undefined }), POLICY, DEGRADED).action).toBeUndefined();
    expect(plan(silent(known), POLICY, DEGRADED).action?.kind).toBe('defrag');
  });

  test('H26: --degraded excuses a member that is down, not one that is slow', () => {
    const slow = {
      ...compacted(full),
      members: full.members.map((member, index) => (index === 1 ? { ...member, readMs: undefined } : member)),
    };
    expect(rulesOf(plan(slow, POLICY, DEGRADED))).toContain('member-slow');
  });

  test('a member that nobody knows why it is silent is down as well', () => {
    const silent = {
      ...compacted(full),
      members: full.members.map((member) => (member.reachable ? member : { ...member, error: undefined })),
    };
    expect(plan(silent, POLICY, ROUTINE).refusals[0]?.message).toContain('nobody knows why');
  });
});

describe('alarms of members that are gone', () => {
  test('H12: are disarmed by their ids, without any other condition than a leader, and alone', () => {
    const state = withDown(fullCluster(3, { alarms: [NO_SPACE('dead'), NO_SPACE('beef'), NO_SPACE('1a')] }), 3);
    for (const wish of [ROUTINE, ALL, DISARM]) expect(inShort(plan(state, POLICY, wish))).toBe('disarm beef dead orphans');
    const made = plan(
      withPast({ ...clusterOf(3, { each: () => TIDY }), alarms: [NO_SPACE('dead')] }, { disarmedMs: NOW_MS - 1 }),
      POLICY,
      ROUTINE,
    );
    expect(stepsOf(made)).toEqual(['disarm dead orphans']);
    expect(made.noSpace).toBe(false);
  });

  test('H12: not without a leader', () => {
    const made = plan({ ...clusterOf(3, { each: () => ({ leader: '' }) }), alarms: [NO_SPACE('dead')] }, POLICY, DISARM);
    expect(made).toMatchObject({ action: undefined, complete: false });
  });

  test.each(['0', '', '0000'])('H26: id %j is nobody, and never an orphan', (memberId) => {
    const made = plan({ ...compacted(fullCluster(3, { each: () => TIDY })), alarms: [NO_SPACE(memberId)] }, POLICY, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: false });
    expect(made.refusals[0]).toMatchObject({ rule: 'not-armed', hint: expect.stringContaining('etcdctl') });
    const besides = { ...compacted(fullCluster(3, { each: () => TIDY })), alarms: [NO_SPACE(memberId), NO_SPACE('2a')] };
    expect(inShort(plan(besides, POLICY, ROUTINE))).toBe('disarm 2a');
  });

  test('a member that answers without being listed is no orphan', () => {
    const state = { ...compacted(fullCluster(3, { each: () => TIDY })), alarms: [NO_SPACE('4a')] };
    const unlisted = clusterOf(4, { each: () => ({ ...TIDY, voter: false }) }).members[3]!;
    expect(inShort(plan({ ...state, members: [...state.members, unlisted] }, POLICY, ROUTINE))).toBe('disarm 4a');
  });
});

describe('disarming by hand', () => {
  test('H12: when every member is below its own threshold', () => {
    const state = fullCluster(3, { each: () => TIDY });
    expect(plan(state, POLICY, DISARM)).toMatchObject({ action: { kind: 'disarm', members: ['1a'], orphans: false }, complete: false });
    expect(rulesOf(plan(fullCluster(3, { each: (number) => (number === 3 ? {} : TIDY) }), POLICY, DISARM))).toEqual(['above-threshold']);
  });

  test('H26: not with a member down, whose size nobody knows', () => {
    expect(rulesOf(plan(withDown(fullCluster(3, { each: () => TIDY }), 2), POLICY, DISARM))).toEqual(['member-down']);
  });

  test('a member without a quota is never too full', () => {
    const state = fullCluster(3, { each: () => ({ quota: { bytes: undefined, source: 'status' } }) });
    expect(inShort(plan(state, POLICY, DISARM))).toBe('disarm 1a');
  });

  test('ends well where nothing is armed, and after it is done', () => {
    const corrupt = { ...clusterOf(3), alarms: [{ type: 'CORRUPT', memberId: '1a' }] as const };
    expect(plan(corrupt, POLICY, DISARM)).toMatchObject({ complete: false, refusals: [{ rule: 'not-armed' }, { rule: 'corrupt-alarm' }] });
    expect(plan(clusterOf(3), POLICY, DISARM)).toMatchObject({ action: undefined, complete: true, refusals: [{ rule: 'not-armed' }] });
    expect(plan(withPast(clusterOf(3), { disarmedMs: NOW_MS }), POLICY, DISARM)).toMatchObject({
      action: undefined,
      complete: true,
      refusals: [{ rule: 'done' }],
    });
    expect(plan(withPast(clusterOf(3), { disarmedMs: NOW_MS - HOUR_MS }), POLICY, DISARM).refusals[0]?.rule).toBe('not-armed');
  });
});
