import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { brokenLaws } from '../../../test/support/planner-laws.ts';
import { carriedOut, policies, states, surprised, surprises, wishes } from '../../../test/support/planner-worlds.ts';
import { inShort } from '../../../test/support/planner.ts';
import { plan } from './plan.ts';

// Few and always the same in every run of the tests; as many as one likes, and others each time, with PLANNER_RUNS=100000.
const SOAK = process.env['PLANNER_RUNS'];
const RUNS = SOAK === undefined ? { seed: 20_261_122, numRuns: 600 } : { numRuns: Number(SOAK) };

describe('whatever a cluster looks like', () => {
  test('an action breaks no law, and without one there is a reason', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(states, policies, wishes, (state, policy, wish) => {
        const made = plan(state, policy, wish);
        seen.set(made.action?.kind ?? 'nothing', (seen.get(made.action?.kind ?? 'nothing') ?? 0) + 1);
        if (made.action === undefined) {
          expect(made.refusals).not.toEqual([]);
          expect(made.steps).toEqual([]);
          return;
        }
        expect(brokenLaws({ state, policy, wish, action: made.action })).toEqual([]);
        expect(made.complete).toBe(false);
        expect(made.steps[0]?.action).toEqual(made.action);
        expect(made.againMs ?? Infinity).toBeGreaterThan(state.nowMs);
      }),
      RUNS,
    );
    // A generator whose clusters are all too sick to be touched would prove nothing.
    for (const kind of ['defrag', 'compact', 'move-leader', 'disarm', 'await-compaction', 'nothing'])
      expect(seen.get(kind) ?? 0).toBeGreaterThan(3);
  });

  test('a plan is plain JSON, and the same for every order of members and alarms', () => {
    fc.assert(
      fc.property(states, policies, wishes, (state, policy, wish) => {
        const made = plan(state, policy, wish);
        expect(JSON.parse(JSON.stringify(made))).toEqual(
          JSON.parse(
            JSON.stringify(plan({ ...state, members: [...state.members].reverse(), alarms: [...state.alarms].reverse() }, policy, wish)),
          ),
        );
      }),
      { ...RUNS, numRuns: Math.ceil(RUNS.numRuns / 3) },
    );
  });

  test('every round ends, and breaks no law on its way, whatever happens meanwhile', () => {
    const history = fc.array(fc.record({ surprise: surprises, which: fc.nat() }), { maxLength: 40 });
    fc.assert(
      fc.property(states, policies, wishes, history, (start, policy, wish, happenings) => {
        let state = start;
        let troubles = 0;
        const done: string[] = [];
        for (const { surprise, which } of [...happenings, ...CALM]) {
          if (surprise !== 'none') troubles += 1;
          state = surprised(surprise, which, state);
          const { action } = plan(state, policy, wish);
          // A round is over then; another one may begin after the next surprise.
          if (action === undefined) continue;
          done.push(inShort({ action })!);
          expect([brokenLaws({ state, policy, wish, action }), done.join(', ')]).toEqual([[], expect.anything()]);
          state = carriedOut(action, state);
        }
        expect(plan(state, policy, wish).action, done.join(', ')).toBeUndefined();
        // Each member once, a leader that moves, a compaction and its end, alarms; and for each surprise what it undid.
        expect(done.length, done.join(', ')).toBeLessThanOrEqual(2 * state.members.length + 6 + 4 * troubles);
        expect(done.filter((each) => each.startsWith('defrag')).length, done.join(', ')).toBeLessThanOrEqual(state.members.length);
      }),
      { ...RUNS, numRuns: Math.ceil(RUNS.numRuns / 6) },
    );
  });
});

/** Long enough for any round to end when nothing happens any more. */
const CALM = Array.from({ length: 30 }, () => ({ surprise: 'none', which: 0 }) as const);
