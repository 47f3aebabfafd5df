import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyRetention, guardsAgainst } from './apply.ts';
import type { RetentionInput, RetentionVerdict } from './types.ts';

const HOUR_MS = 3_600_000;
const NOW = Date.parse('2026-11-22T12:00:00Z');
const LINEAGES = ['one', 'two', 'three'];

const count = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) });

const policies = fc.record({
  keepLast: count,
  keepHourly: count,
  keepDaily: count,
  keepWeekly: count,
  keepMonthly: count,
  keepYearly: count,
  keepWithinMs: count.map((hours) => hours * 24 * HOUR_MS),
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu'),
  maxRemovals: fc.constantFrom(0, 1, 3, 1000),
});

/** Up to forty backups, from hours to years apart, some damaged, some from the future, in any order. */
const inputs: fc.Arbitrary<RetentionInput> = fc
  .record({
    backups: fc.array(
      fc.record({
        hoursAgo: fc.oneof(fc.integer({ min: -20, max: 200 }), fc.integer({ min: 0, max: 30_000 })),
        lineage: fc.constantFrom(...LINEAGES, 'unknown'),
        verified: fc.boolean(),
        suspect: fc.constantFrom(false, false, false, true),
        pinned: fc.constantFrom(false, false, false, false, true),
      }),
      { maxLength: 40 },
    ),
    policy: policies,
    generations: fc.tuple(
      ...LINEAGES.map((lineage) => fc.record({ lineage: fc.constant(lineage), accepted: fc.boolean(), released: fc.boolean() })),
    ),
  })
  .map(({ backups, policy, generations }) => ({
    backups: backups.map(({ hoursAgo, lineage, verified, suspect }, index) => ({
      id: `b${index}`,
      timeMs: NOW - hoursAgo * HOUR_MS,
      lineage,
      verified,
      suspect,
    })),
    pins: backups.flatMap(({ pinned }, index) => (pinned ? [{ id: `b${index}`, reason: 'held' }] : [])),
    policy,
    nowMs: NOW,
    generations,
  }));

function idsOf(verdicts: readonly RetentionVerdict[], action: RetentionVerdict['action']): Set<string> {
  return new Set(verdicts.filter((each) => each.action === action).map(({ id }) => id));
}

function holds(
  property: (input: RetentionInput, kept: Set<string>, removed: Set<string>, verdicts: readonly RetentionVerdict[]) => void,
): void {
  fc.assert(
    fc.property(inputs, (input) => {
      const verdicts = applyRetention(input);
      property(input, idsOf(verdicts, 'keep'), idsOf(verdicts, 'remove'), verdicts);
    }),
    { numRuns: 200 },
  );
}

const isGood = ({ verified, suspect }: RetentionInput['backups'][number]): boolean => verified && !suspect;

describe('whatever the backups and the policy are', () => {
  test('each backup gets exactly one verdict, with at least one reason, none of them empty', () => {
    holds((input, _, __, verdicts) => {
      expect(verdicts.map(({ id }) => id).sort()).toEqual(input.backups.map(({ id }) => id).sort());
      for (const { reasons } of verdicts) expect(reasons.length > 0 && reasons.every((reason) => reason.length > 0)).toBe(true);
    });
  });

  test('verdicts do not depend on the order of the input', () => {
    holds((input, _, __, verdicts) => expect(applyRetention({ ...input, backups: [...input.backups].reverse() })).toEqual(verdicts));
  });

  test('the last verified backup stays, and so does one wherever there was one', () => {
    holds(({ backups }, kept) => {
      const good = backups.filter((each) => isGood(each) && each.timeMs <= NOW);
      if (good.length > 0) expect(good.some(({ id }) => kept.has(id))).toBe(true);
      const newest = Math.max(...good.map(({ timeMs }) => timeMs));
      if (good.length > 0) expect(good.filter(({ timeMs }) => timeMs === newest).some(({ id }) => kept.has(id))).toBe(true);
    });
  });

  test('the newest backup that is not suspect stays, however many suspect ones came after it', () => {
    holds((input) => {
      const after = [1, 2, 3].map((hours) => ({
        id: `s${hours}`,
        timeMs: NOW - hours,
        lineage: LINEAGES.at(-1)!,
        verified: true,
        suspect: true,
      }));
      const kept = idsOf(applyRetention({ ...input, backups: [...input.backups, ...after] }), 'keep');
      const good = input.backups.filter((each) => isGood(each) && each.timeMs <= NOW && each.lineage !== 'unknown');
      const newest = Math.max(...good.map(({ timeMs }) => timeMs));
      if (good.length > 0) expect(good.filter(({ timeMs }) => timeMs === newest).some(({ id }) => kept.has(id))).toBe(true);
    });
  });

  test('nothing goes but where a newer verified backup, not from the future, stays', () => {
    holds(({ backups }, kept, removed) => {
      for (const gone of backups.filter(({ id }) => removed.has(id))) {
        expect(backups.some((each) => kept.has(each.id) && isGood(each) && each.timeMs >= gone.timeMs && each.timeMs <= NOW)).toBe(true);
      }
    });
  });

  test('pinned backups and those from the future stay', () => {
    holds(({ backups, pins }, kept) => {
      for (const { id } of pins) expect(kept.has(id)).toBe(true);
      for (const { id } of backups.filter(({ timeMs }) => timeMs > NOW)) expect(kept.has(id)).toBe(true);
    });
  });

  test('nothing goes across a generation that is not accepted, nor of one that is not known', () => {
    holds(({ backups, generations }, kept) => {
      const lastClosed = generations.findLastIndex(({ accepted }) => !accepted);
      const frozen = new Set(generations.slice(0, Math.max(0, lastClosed)).map(({ lineage }) => lineage));
      for (const { id } of backups.filter(({ lineage }) => frozen.has(lineage) || lineage === 'unknown')) expect(kept.has(id)).toBe(true);
    });
  });

  test('the newest verified backup of each generation stays until it is released', () => {
    holds(({ backups, generations }, kept) => {
      for (const { lineage, released } of generations) {
        const good = backups.filter((each) => each.lineage === lineage && isGood(each) && each.timeMs <= NOW);
        const newest = Math.max(...good.map(({ timeMs }) => timeMs));
        if (good.length > 0 && !released) expect(good.filter(({ timeMs }) => timeMs === newest).some(({ id }) => kept.has(id))).toBe(true);
      }
    });
  });

  test('an empty policy deletes nothing', () => {
    holds((input) => {
      const empty = { keepLast: 0, keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepYearly: 0, keepWithinMs: 0 };
      expect(idsOf(applyRetention({ ...input, policy: { ...input.policy, ...empty } }), 'remove').size).toBe(0);
    });
  });

  test('at most the cap goes, and what goes is the oldest of what would go without it', () => {
    holds((input, _, removed) => {
      const { maxRemovals } = input.policy;
      expect(removed.size).toBeLessThanOrEqual(maxRemovals);
      const uncapped = applyRetention({ ...input, policy: { ...input.policy, maxRemovals: Number.MAX_SAFE_INTEGER } });
      expect([...removed]).toEqual([...idsOf(uncapped, 'remove')].slice(0, maxRemovals));
    });
  });

  test('applied again to what is left, with the cap lifted, it comes to the same end', () => {
    holds((input) => {
      const policy = { ...input.policy, maxRemovals: Number.MAX_SAFE_INTEGER };
      const atOnce = idsOf(applyRetention({ ...input, policy }), 'keep');
      const firstRun = idsOf(applyRetention(input), 'keep');
      const left = input.backups.filter(({ id }) => firstRun.has(id));
      expect(idsOf(applyRetention({ ...input, policy, backups: left }), 'keep')).toEqual(atOnce);
      const end = input.backups.filter(({ id }) => atOnce.has(id));
      expect(idsOf(applyRetention({ ...input, policy, backups: end }), 'remove').size).toBe(0);
    });
  });

  test('what is removed has no guard against it', () => {
    holds((input, _, removed) => {
      for (const id of removed) expect(guardsAgainst(input, id)).toEqual([]);
    });
  });
});
