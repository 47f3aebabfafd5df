import { describe, expect, test } from 'vitest';
import {
  clusterOf,
  defragWish,
  HOUR_MS,
  inShort,
  MIB,
  MINUTE_MS,
  POLICY,
  reasonsOf,
  ROUTINE,
  rulesOf,
  stepsOf,
  TIDY,
  verdictOf,
} from '../../../test/support/planner.ts';
import { memberState, NOW_MS } from '../../../test/support/plans.ts';
import { plan } from './plan.ts';
import type { ClusterState, MemberState, PastDefrag, Policy } from './types.ts';

const CLOSED = { configured: true, open: false, nextMs: NOW_MS + 3 * HOUR_MS };
const OPEN = { configured: true, open: true, nextMs: NOW_MS + 24 * HOUR_MS };
const NEAR_QUOTA = { dbSize: 1700 * MIB, dbSizeInUse: 1600 * MIB };

function done(atMs: number): PastDefrag {
  return { atMs, tookMs: 1000, beforeBytes: 900 * MIB, afterBytes: 300 * MIB, inUseBytes: 300 * MIB };
}

function withDefrags(state: ClusterState, defrags: Record<string, number>): ClusterState {
  return { ...state, past: { ...state.past, defrags: Object.fromEntries(Object.entries(defrags).map(([id, atMs]) => [id, done(atMs)])) } };
}

describe('routine defragmentation', () => {
  test('does nothing to a tidy cluster, and says so of every member', () => {
    const made = plan(clusterOf(3, { each: () => TIDY }), POLICY, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: true, noSpace: false, steps: [], againMs: undefined });
    expect(reasonsOf(made).map(({ rule, member }) => [rule, member])).toEqual([
      ['not-needed', 'm1'],
      ['not-needed', 'm2'],
      ['not-needed', 'm3'],
    ]);
  });

  test('takes a member of which too much is free, by share and by size', () => {
    const of = (dbSize: number, dbSizeInUse: number): string | undefined =>
      inShort(
        plan(
          clusterOf(3, { each: (number) => (number === 3 ? { dbSize: dbSize * MIB, dbSizeInUse: dbSizeInUse * MIB } : TIDY) }),
          POLICY,
          ROUTINE,
        ),
      );
    expect(of(1000, 550)).toBe('defrag 3a');
    expect(of(1000, 551)).toBeUndefined();
    expect(of(400, 200)).toBe('defrag 3a');
    expect(of(399, 200)).toBeUndefined();
    expect(of(0, 0)).toBeUndefined();
  });

  test('takes a member near its own quota, when there is something to gain (H8)', () => {
    const of = (changes: Partial<MemberState>): ReturnType<typeof plan> =>
      plan(clusterOf(3, { each: (number) => (number === 3 ? changes : TIDY) }), POLICY, ROUTINE);
    const sizes = { dbSize: 500 * MIB, dbSizeInUse: 460 * MIB };
    expect(inShort(of({ ...sizes, quota: { bytes: 625 * MIB, source: 'metrics' } }))).toBe('defrag 3a');
    expect(inShort(of({ ...sizes, quota: { bytes: 626 * MIB, source: 'metrics' } }))).toBeUndefined();
    expect(inShort(of({ ...sizes, quota: { bytes: undefined, source: 'status' } }))).toBeUndefined();
    const full = of({ ...sizes, dbSizeInUse: 469 * MIB, quota: { bytes: 500 * MIB, source: 'metrics' } });
    expect(full).toMatchObject({ action: undefined, complete: true });
    expect(full.refusals).toContainEqual(
      expect.objectContaining({ rule: 'nothing-to-gain', member: 'm3', hint: expect.stringContaining('raise the quota') }),
    );
  });

  test('says nothing of the size of a member that is down', () => {
    const state = clusterOf(3, {
      each: (number) => ({ ...TIDY, ...(number === 2 ? { reachable: false, readMs: undefined, dbSize: 0, dbSizeInUse: 0 } : {}) }),
    });
    for (const wish of [ROUTINE, defragWish({ worthwhile: true })]) {
      const made = plan(state, POLICY, wish);
      expect(made).toMatchObject({ action: undefined, complete: true });
      expect(reasonsOf(made).map(({ member }) => member)).toEqual(['m1', 'm3']);
    }
  });

  test('defragments nothing for less than minGain', () => {
    const policy: Policy = { ...POLICY, minFree: 1, minGain: 100 * MIB };
    const made = plan(clusterOf(3, { each: () => ({ dbSize: 150 * MIB, dbSizeInUse: 60 * MIB }) }), policy, ROUTINE);
    expect(made.action).toBeUndefined();
    expect(made.refusals[0]).toMatchObject({ rule: 'nothing-to-gain' });
    expect(made.refusals[0]).not.toHaveProperty('hint');
    expect(inShort(plan(clusterOf(3, { each: () => ({ dbSize: 160 * MIB, dbSizeInUse: 60 * MIB }) }), policy, ROUTINE))).toBe('defrag 2a');
  });

  test('takes followers first, the worst first, and the leader last, after another one leads (H1)', () => {
    const state = clusterOf(3, { each: (number) => ({ dbSize: (number === 1 ? 1500 : 300 + 300 * number) * MIB }) });
    expect(stepsOf(plan(state, POLICY, ROUTINE))).toEqual(['defrag 3a', 'defrag 2a', 'move 1a>2a', 'defrag 1a']);
  });

  test('takes members with about as much to give in the order of their ids, however they are listed', () => {
    const state = clusterOf(5, { each: (number) => ({ dbSize: 900 * MIB + number * 4096 }) });
    const order = ['defrag 2a', 'defrag 3a', 'defrag 4a', 'defrag 5a', 'move 1a>2a', 'defrag 1a'];
    expect(stepsOf(plan(state, POLICY, ROUTINE))).toEqual(order);
    expect(stepsOf(plan({ ...state, members: [...state.members].reverse() }, POLICY, ROUTINE))).toEqual(order);
  });

  test('tells the predicted freeze and the gain of a member', () => {
    const { action, steps } = plan(clusterOf(3), POLICY, ROUTINE);
    expect(action).toEqual({
      kind: 'defrag',
      member: '2a',
      why: '600 MiB of the 900 MiB of m2 are free',
      predictedMs: 1585,
      gainBytes: 600 * MIB,
      leads: false,
    });
    expect(steps[0]).toEqual({ action, predictedMs: 1585 });
    expect(steps[2]).toMatchObject({ action: { kind: 'move-leader' }, predictedMs: undefined });
  });

  test('leaves a member alone for its cooldown, and says until when', () => {
    const state = withDefrags(clusterOf(3), { '1a': NOW_MS - HOUR_MS, '2a': NOW_MS - 2 * HOUR_MS, '3a': NOW_MS - 7 * HOUR_MS });
    const made = plan(state, POLICY, ROUTINE);
    expect(stepsOf(made)).toEqual(['defrag 3a']);
    expect(made.againMs).toBe(NOW_MS + 4 * HOUR_MS);
    const all = plan(
      withDefrags(clusterOf(3), { '1a': NOW_MS - HOUR_MS, '2a': NOW_MS - HOUR_MS, '3a': NOW_MS - HOUR_MS }),
      POLICY,
      ROUTINE,
    );
    expect(all).toMatchObject({ action: undefined, complete: true });
    expect(rulesOf(all)).toEqual(['cooldown']);
  });

  test('does no member twice in a round, even when it is set back by a clock', () => {
    const policy = { ...POLICY, cooldownMs: 0 };
    expect(inShort(plan(withDefrags(clusterOf(3), { '2a': NOW_MS }), policy, { ...ROUTINE, since: NOW_MS - 1 }))).toBe('defrag 3a');
    const wish = { ...defragWish(), since: NOW_MS + 24 * HOUR_MS };
    const state = withDefrags(clusterOf(3), { '1a': NOW_MS - 1000, '2a': NOW_MS - 2000, '3a': NOW_MS - 25 * HOUR_MS });
    expect(stepsOf(plan(state, policy, wish))).toEqual(['defrag 3a']);
  });

  test('H11: waits while anybody is compacting, learners too', () => {
    const state = clusterOf(4, { each: (number) => (number === 4 ? { voter: false, compacting: true } : {}) });
    const made = plan(state, POLICY, ROUTINE);
    expect(inShort(made)).toBe('await 4a');
    expect(made.refusals[0]).toMatchObject({ rule: 'compacting' });
    expect(stepsOf(made).slice(0, 2)).toEqual(['await 4a', 'defrag 2a']);
    expect(plan(clusterOf(3, { each: () => ({ ...TIDY, compacting: true }) }), POLICY, ROUTINE).action).toBeUndefined();
  });

  test('H13: never takes a learner', () => {
    const state = clusterOf(4, { each: (number) => ({ voter: number !== 2, readMs: number === 2 ? undefined : 3 }) });
    expect(stepsOf(plan(state, POLICY, ROUTINE))).toEqual(['defrag 3a', 'defrag 4a', 'move 1a>3a', 'defrag 1a']);
  });
});

describe('the time of a freeze', () => {
  const long = { dbSize: 9000 * MIB, dbSizeInUse: 4000 * MIB, quota: { bytes: undefined, source: 'status' } } as const;

  test('H27: longer than maxFreeze waits for the window, near the quota too', () => {
    const near = { ...long, quota: { bytes: 9000 * MIB, source: 'status' } } as const;
    for (const sizes of [long, near]) {
      const made = plan(clusterOf(3, { each: () => sizes, window: CLOSED }), POLICY, ROUTINE);
      expect(made).toMatchObject({ action: undefined, complete: false, againMs: CLOSED.nextMs });
      expect(rulesOf(made)[0]).toBe('freeze-too-long');
      expect(inShort(plan(clusterOf(3, { each: () => sizes, window: OPEN }), POLICY, ROUTINE))).toBe('defrag 2a');
      expect(verdictOf(plan(clusterOf(3, { each: () => sizes, window: OPEN }), POLICY, ROUTINE), 'freeze-too-long')).toBe('overridden');
    }
  });

  test('H27: exactly maxFreeze is short enough', () => {
    const state = clusterOf(3, { each: () => ({ dbSizeInUse: 200 * MIB, rate: { bytesPerSecond: 10 * MIB, learned: true } }) });
    expect(inShort(plan(state, { ...POLICY, maxFreezeMs: 20_012 }, ROUTINE))).toBe('defrag 2a');
    expect(inShort(plan(state, { ...POLICY, maxFreezeMs: 20_011 }, ROUTINE))).toBeUndefined();
  });

  test('H27: without a window it never comes by itself, and the hint says what helps', () => {
    const state = clusterOf(3, { each: () => long, window: { configured: false, open: false, nextMs: undefined } });
    const made = plan(state, POLICY, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: false, againMs: undefined });
    expect(made.refusals[0]).toMatchObject({ rule: 'freeze-too-long', hint: expect.stringContaining('maintenance.window') });
    expect(rulesOf(plan(state, POLICY, defragWish()))).toEqual(['freeze-too-long']);
    expect(inShort(plan(state, POLICY, defragWish({ yes: true })))).toBe('defrag 2a');
  });

  test('H27: the rate of each member counts, and a guessed one is said to be one', () => {
    const state = clusterOf(3, { each: (number) => ({ rate: { bytesPerSecond: number === 3 ? 200e6 : 10e6, learned: number === 2 } }) });
    const made = plan(state, POLICY, ROUTINE);
    expect(inShort(made)).toBe('defrag 3a');
    expect(made.refusals[0]?.message).toContain('at a usual rate');
    expect(made.refusals[1]?.message).toContain('as it was before');
  });

  test('with a window routine work is done in it alone, but not by hand with --yes, nor near the quota', () => {
    const made = plan(clusterOf(3, { window: CLOSED }), POLICY, ROUTINE);
    expect(made).toMatchObject({ action: undefined, complete: false, againMs: CLOSED.nextMs });
    expect(rulesOf(made)).toEqual(['outside-window']);
    expect(inShort(plan(clusterOf(3, { window: OPEN }), POLICY, ROUTINE))).toBe('defrag 2a');
    expect(rulesOf(plan(clusterOf(3, { window: CLOSED }), POLICY, defragWish()))).toEqual(['outside-window']);
    expect(inShort(plan(clusterOf(3, { window: CLOSED }), POLICY, defragWish({ yes: true })))).toBe('defrag 2a');
    expect(inShort(plan(clusterOf(3, { window: CLOSED, each: () => NEAR_QUOTA }), POLICY, ROUTINE))).toBe('defrag 2a');
  });
});

describe('the leader', () => {
  const onlyLeader = (each: (number: number) => Partial<MemberState>): ClusterState =>
    clusterOf(3, { each: (number) => ({ ...(number === 1 ? {} : TIDY), ...each(number) }) });

  test('H1: hands over even when it is the only one that needs it', () => {
    expect(
      stepsOf(
        plan(
          onlyLeader(() => ({})),
          POLICY,
          ROUTINE,
        ),
      ),
    ).toEqual(['move 1a>2a', 'defrag 1a']);
  });

  test('H1: to the most up to date voter', () => {
    expect(
      inShort(
        plan(
          onlyLeader((number) => ({ raftAppliedIndex: 990n + BigInt(number) })),
          POLICY,
          ROUTINE,
        ),
      ),
    ).toBe('move 1a>3a');
    expect(
      inShort(
        plan(
          onlyLeader((number) => ({ raftAppliedIndex: 990n - BigInt(number) })),
          POLICY,
          ROUTINE,
        ),
      ),
    ).toBe('move 1a>2a');
  });

  test('H1: rather to one that is not to be frozen itself', () => {
    // m2 ought to be done, but was done an hour ago.
    const state = withDefrags(clusterOf(3, { each: (number) => (number === 3 ? TIDY : {}) }), { '2a': NOW_MS - HOUR_MS });
    expect(inShort(plan(state, POLICY, ROUTINE))).toBe('move 1a>3a');
    const none = withDefrags(clusterOf(3), { '2a': NOW_MS - HOUR_MS, '3a': NOW_MS - HOUR_MS });
    expect(inShort(plan(none, POLICY, ROUTINE))).toBe('move 1a>2a');
  });

  test('H1: is not frozen when nobody is quick enough to lead, and that is said', () => {
    const made = plan(
      onlyLeader((number) => ({ readMs: number === 1 ? 2 : 1001 })),
      POLICY,
      ROUTINE,
    );
    expect(made).toMatchObject({ action: undefined, complete: false });
    expect(reasonsOf(made)[0]).toMatchObject({ rule: 'leader-stays', member: 'm1' });
    expect(verdictOf(made, 'leader-stays')).toBe('refused');
  });

  test('H1: moves again when leadership comes back before it is frozen', () => {
    const state = clusterOf(3, { each: () => ({ leader: '3a' }) });
    expect(stepsOf(plan(state, POLICY, ROUTINE))).toEqual(['defrag 1a', 'defrag 2a', 'move 3a>1a', 'defrag 3a']);
  });

  test('of two voters hands over as well', () => {
    expect(stepsOf(plan(clusterOf(2), { ...POLICY, allowSingleMember: true }, ROUTINE))).toEqual(['defrag 2a', 'move 1a>2a', 'defrag 1a']);
  });
});

describe('defragmentation by hand', () => {
  test('--all takes every voter, whatever thresholds and cooldown say, and then is done', () => {
    const state = withDefrags(clusterOf(3, { each: () => TIDY }), { '2a': NOW_MS - MINUTE_MS });
    expect(stepsOf(plan(state, POLICY, defragWish()))).toEqual(['defrag 2a', 'defrag 3a', 'move 1a>2a', 'defrag 1a']);
    const over = plan(withDefrags(state, { '1a': NOW_MS, '2a': NOW_MS, '3a': NOW_MS + 1 }), POLICY, defragWish());
    expect(over).toMatchObject({ action: undefined, complete: true, refusals: [{ rule: 'done' }] });
  });

  test('--member takes those alone, the leader after handing over', () => {
    expect(stepsOf(plan(clusterOf(3), POLICY, defragWish({ members: ['3a'] })))).toEqual(['defrag 3a']);
    expect(stepsOf(plan(clusterOf(3), POLICY, defragWish({ members: ['1a'] })))).toEqual(['move 1a>2a', 'defrag 1a']);
  });

  test('a member that there is not, or a learner, is refused before anything is touched', () => {
    const state = clusterOf(4, { each: (number) => ({ voter: number !== 4 }) });
    const made = plan(state, POLICY, defragWish({ members: ['beef', '4a', '2a', 'beef'] }));
    expect(made).toMatchObject({ action: undefined, complete: false });
    expect(made.refusals.map(({ rule }) => rule)).toEqual(['learner', 'unknown-member']);
    expect(made.refusals[1]?.hint).toBe('the members are m1, m2, m3, m4');
  });

  test('without --all and --member takes what thresholds name, and its cooldown counts', () => {
    const wish = defragWish({ worthwhile: true });
    expect(stepsOf(plan(clusterOf(3, { each: (number) => (number === 2 ? {} : TIDY) }), POLICY, wish))).toEqual(['defrag 2a']);
    const cool = plan(
      withDefrags(clusterOf(3, { each: (number) => (number === 2 ? {} : TIDY) }), { '2a': NOW_MS - HOUR_MS }),
      POLICY,
      wish,
    );
    expect(cool).toMatchObject({ action: undefined, complete: true });
    expect(rulesOf(cool)).toEqual(['not-needed', 'cooldown']);
    expect(plan(clusterOf(3, { each: () => TIDY }), POLICY, wish)).toMatchObject({ action: undefined, complete: true });
  });
});

describe('what is shown of a plan', () => {
  test('the steps of any cluster come to an end', () => {
    const members = Array.from({ length: 41 }, (_, index) => memberState(`m${index + 1}`));
    expect(plan({ ...clusterOf(1), members }, POLICY, defragWish()).steps).toHaveLength(40);
  });

  test('of a round whose clock was set back, too', () => {
    expect(stepsOf(plan(clusterOf(3), POLICY, { ...defragWish(), since: NOW_MS + HOUR_MS }))).toEqual([
      'defrag 2a',
      'defrag 3a',
      'move 1a>2a',
      'defrag 1a',
    ]);
  });
});
