import { describe, expect, test } from 'vitest';
import { applyRetention, guardsAgainst, wouldKeep } from './apply.ts';
import type { RetentionBackup, RetentionInput, RetentionPolicy } from './types.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW = Date.parse('2026-11-22T12:00:00Z');
const NOTHING: RetentionPolicy = {
  keepLast: 0,
  keepHourly: 0,
  keepDaily: 0,
  keepWeekly: 0,
  keepMonthly: 0,
  keepYearly: 0,
  keepWithinMs: 0,
  timeZone: 'UTC',
  maxRemovals: 1000,
};
const ONE = { lineage: 'one', accepted: true, released: false };
const TWO = { lineage: 'two', accepted: true, released: false };

function backup(time: string, fields: Partial<RetentionBackup> = {}): RetentionBackup {
  const timeMs = Date.parse(time.includes('T') ? time : `${time}T06:00:00Z`);
  return { id: time, timeMs, lineage: 'one', verified: true, suspect: false, ...fields };
}

function decide(backups: readonly RetentionBackup[], policy: Partial<RetentionPolicy>, rest: Partial<RetentionInput> = {}) {
  const input = { backups, pins: [], nowMs: NOW, generations: [ONE], ...rest, policy: { ...NOTHING, ...policy } };
  const verdicts = applyRetention(input);
  const ids = (action: 'keep' | 'remove') => verdicts.filter((each) => each.action === action).map(({ id }) => id);
  return { kept: ids('keep'), removed: ids('remove'), reasons: Object.fromEntries(verdicts.map(({ id, reasons }) => [id, reasons])) };
}

const sixDays = ['2026-11-15', '2026-11-16', '2026-11-17', '2026-11-18', '2026-11-19', '2026-11-20'].map((day) => backup(day));

describe('rules', () => {
  test('keepLast keeps the newest, and says which of how many', () => {
    const { kept, removed, reasons } = decide(sixDays, { keepLast: 2 });
    expect(kept).toEqual(['2026-11-19', '2026-11-20']);
    expect(removed).toHaveLength(4);
    expect(reasons['2026-11-20']).toEqual(['the newest verified backup', 'last 1 of 2']);
    expect(reasons['2026-11-19']).toEqual(['last 2 of 2']);
    expect(reasons['2026-11-15']).toEqual(['no rule keeps it, and 2026-11-20 is newer and verified']);
  });

  test('each period keeps its newest', () => {
    const hourly = ['2026-11-20T01:10:00Z', '2026-11-20T01:50:00Z', '2026-11-20T02:10:00Z', '2026-11-20T02:50:00Z'].map((time) =>
      backup(time),
    );
    expect(decide(hourly, { keepHourly: 5 }).kept).toEqual(['2026-11-20T01:50:00Z', '2026-11-20T02:50:00Z']);
    expect(decide(hourly, { keepDaily: 5 }).kept).toEqual(['2026-11-20T02:50:00Z']);
    expect(decide(sixDays, { keepWeekly: 5 }).kept).toEqual(['2026-11-15', '2026-11-20']);
    const years = ['2024-12-31', '2025-01-01', '2025-12-31', '2026-01-01', '2026-01-31', '2026-02-01'].map((day) => backup(day));
    expect(decide(years, { keepMonthly: 3 }).kept).toEqual(['2025-12-31', '2026-01-31', '2026-02-01']);
    expect(decide(years, { keepYearly: 9 }).kept).toEqual(['2024-12-31', '2025-12-31', '2026-02-01']);
    expect(decide(years, { keepYearly: 9 }).reasons['2024-12-31']).toEqual(['yearly 2024']);
  });

  test('days begin in the time zone of the policy', () => {
    const night = [backup('2026-11-19T22:30:00Z'), backup('2026-11-19T23:30:00Z'), backup('2026-11-20T00:30:00Z')];
    expect(decide(night, { keepDaily: 9 }).kept).toEqual(['2026-11-19T23:30:00Z', '2026-11-20T00:30:00Z']);
    expect(decide(night, { keepDaily: 9, timeZone: 'Europe/Berlin' }).kept).toEqual(['2026-11-19T22:30:00Z', '2026-11-20T00:30:00Z']);
  });

  test('fault 58: both hours of a clock change keep their backup', () => {
    const night = [backup('2026-10-25T00:30:00Z'), backup('2026-10-25T01:30:00Z')];
    expect(decide(night, { keepHourly: 2, timeZone: 'Europe/Berlin' }).removed).toEqual([]);
  });

  test('periods without a backup take no place', () => {
    expect(decide([backup('2026-01-01'), backup('2026-06-01'), backup('2026-11-01')], { keepDaily: 2 }).kept).toEqual([
      '2026-06-01',
      '2026-11-01',
    ]);
  });

  test('keepWithin counts back from the newest verified backup, so that old ones do not expire while none is taken', () => {
    expect(decide(sixDays, { keepWithinMs: 2 * DAY_MS }, { nowMs: NOW + 365 * DAY_MS }).kept).toEqual(['2026-11-19', '2026-11-20']);
    expect(decide(sixDays, { keepWithinMs: 2 * DAY_MS + 1 }).kept).toEqual(['2026-11-18', '2026-11-19', '2026-11-20']);
  });

  test('a backup that several rules keep names them all', () => {
    expect(decide(sixDays, { keepLast: 1, keepDaily: 1, keepWithinMs: DAY_MS }).reasons['2026-11-20']).toEqual([
      'the newest verified backup',
      'last 1 of 1',
      'daily 2026-11-20',
      'within the time that is kept whole',
    ]);
  });

  test('an empty policy deletes nothing', () => {
    const { removed, reasons } = decide(sixDays, {});
    expect(removed).toEqual([]);
    expect(reasons['2026-11-15']).toEqual(['no rule is set']);
  });

  test('without a backup there is no verdict', () => {
    expect(decide([], { keepLast: 1, keepWithinMs: 1 }).kept).toEqual([]);
  });
});

describe('backups that do not count', () => {
  test('fault 67: the last good backup stays even if all are older than the policy; damaged ones do not count as good', () => {
    const backups = [backup('2020-01-01'), backup('2020-01-02', { verified: false }), backup('2020-01-03', { suspect: true })];
    const { removed, reasons } = decide(backups, { keepWithinMs: HOUR_MS });
    expect(removed).toEqual([]);
    expect(reasons['2020-01-01']).toContain('the last verified backup');
    expect(reasons['2020-01-02']).toContain('no newer verified backup exists');
  });

  test('a damaged or suspect one leaves its place to the next older', () => {
    const backups = [
      backup('2026-11-20T01:00:00Z'),
      backup('2026-11-20T02:00:00Z', { verified: false }),
      backup('2026-11-20T03:00:00Z', { suspect: true }),
    ];
    const { removed, reasons } = decide(backups, { keepDaily: 1 });
    expect(removed).toEqual([]);
    expect(reasons['2026-11-20T01:00:00Z']).toContain('daily 2026-11-20');
    expect(reasons['2026-11-20T02:00:00Z']).toContain('daily 2026-11-20 (takes no place: not verified)');
    expect(reasons['2026-11-20T03:00:00Z']).toContain('daily 2026-11-20 (takes no place: suspect)');
  });

  test('they go once a newer verified one exists and no rule wants them', () => {
    const backups = [backup('2026-11-18', { suspect: true }), backup('2026-11-19', { verified: false }), backup('2026-11-20')];
    const { removed, reasons } = decide(backups, { keepLast: 1 });
    expect(removed).toEqual(['2026-11-18', '2026-11-19']);
    expect(reasons['2026-11-18']![0]).toBe('suspect');
    expect(reasons['2026-11-19']![0]).toBe('not verified');
  });

  test('without any good backup nothing goes', () => {
    expect(
      decide(
        sixDays.map((each) => ({ ...each, verified: false })),
        { keepLast: 1, keepWithinMs: 1 },
      ).removed,
    ).toEqual([]);
  });

  test('backups from the future stay, take no place and justify nothing', () => {
    const backups = [...sixDays, backup('2031-01-01')];
    const { removed, reasons } = decide(backups, { keepLast: 6 });
    expect(removed).toEqual([]);
    expect(reasons['2031-01-01']).toEqual(['dated in the future', 'no newer verified backup exists']);
    expect(decide([backup('2026-11-20'), backup('2031-01-01')], { keepDaily: 1 }).reasons['2026-11-20']).toContain(
      'the last verified backup',
    );
  });

  test('fault 58: a clock that went back to 1970 removes nothing', () => {
    expect(decide(sixDays, { keepLast: 1 }, { nowMs: 0 }).removed).toEqual([]);
  });
});

describe('pins', () => {
  test('a held backup stays and says why', () => {
    const { kept, reasons } = decide(sixDays, { keepLast: 1 }, { pins: [{ id: '2026-11-16', reason: 'held: before upgrade' }] });
    expect(kept).toEqual(['2026-11-16', '2026-11-20']);
    expect(reasons['2026-11-16']).toEqual(['held: before upgrade']);
  });

  test('fault 68: the base of a kept recovery window is a pin like any other, and several pins are all named', () => {
    const pins = ['held: audit', 'base of the recovery window since 2026-11-16'].map((reason) => ({ id: '2026-11-16', reason }));
    expect(decide(sixDays, { keepLast: 1 }, { pins }).reasons['2026-11-16']).toEqual(pins.map(({ reason }) => reason));
  });
});

describe('the cap', () => {
  test('fault 70: a policy cut from 30 to 3 removes at most the cap in one run, the oldest first, and says what goes later', () => {
    const month = Array.from({ length: 30 }, (_, day) => backup(`2026-10-${String(day + 1).padStart(2, '0')}`));
    const { removed, kept, reasons } = decide(month, { keepLast: 3, maxRemovals: 10 });
    expect(removed).toEqual(month.slice(0, 10).map(({ id }) => id));
    expect(kept).toHaveLength(20);
    expect(reasons['2026-10-11']![0]).toBe('goes in a later run: at most 10 are removed in one');
    expect(decide(month, { keepLast: 3, maxRemovals: 0 }).removed).toEqual([]);
  });
});

describe('generations', () => {
  const mixed = [...sixDays, backup('2026-11-21', { lineage: 'two' }), backup('2026-11-22', { lineage: 'two' })];

  test('each has the rules to itself', () => {
    expect(decide(mixed, { keepLast: 1 }, { generations: [ONE, TWO] }).kept).toEqual(['2026-11-20', '2026-11-22']);
    expect(decide(mixed, { keepDaily: 3 }, { generations: [ONE, TWO] }).kept).toEqual([
      '2026-11-18',
      '2026-11-19',
      '2026-11-20',
      '2026-11-21',
      '2026-11-22',
    ]);
  });

  test('the newest verified of an earlier one stays whatever the rules say', () => {
    const { reasons } = decide([...sixDays, backup('2026-11-22', { lineage: 'two' })], { keepLast: 1 }, { generations: [ONE, TWO] });
    expect(reasons['2026-11-20']).toContain('the newest verified backup of an earlier generation');
  });

  test('nothing of earlier ones goes while a later one is not accepted', () => {
    const { removed, reasons } = decide(mixed, { keepLast: 1 }, { generations: [ONE, { ...TWO, accepted: false }] });
    expect(removed).toEqual(['2026-11-21']);
    expect(reasons['2026-11-15']).toEqual(['a later generation is not accepted yet']);
  });

  test('a released one grows old behind the later ones and goes, once they have a verified backup', () => {
    const generations = [{ ...ONE, released: true }, TWO];
    expect(decide(mixed, { keepLast: 3 }, { generations }).kept).toEqual(['2026-11-20', '2026-11-21', '2026-11-22']);
    expect(decide(mixed, { keepLast: 2 }, { generations }).kept).toEqual(['2026-11-21', '2026-11-22']);
    const unverified = mixed.map((each) => (each.lineage === 'two' ? { ...each, verified: false } : each));
    const { kept, reasons } = decide(unverified, { keepLast: 1 }, { generations });
    expect(kept).toContain('2026-11-20');
    expect(reasons['2026-11-20']).toContain('the newest verified backup');
  });

  test('regression: after a restore to an older revision the newest by time stays', () => {
    const { kept } = decide(mixed, { keepLast: 1 }, { generations: [ONE, TWO] });
    expect(kept).toContain('2026-11-22');
  });

  test('one that is not known is left alone', () => {
    const { removed, reasons } = decide([...sixDays, backup('2026-11-01', { lineage: 'three' })], { keepLast: 9 });
    expect(removed).toEqual([]);
    expect(reasons['2026-11-01']).toEqual(['of a generation that is not known', 'no newer verified backup exists']);
  });
});

describe('what `delete` asks', () => {
  const input: RetentionInput = {
    backups: sixDays,
    pins: [{ id: '2026-11-16', reason: 'held: audit' }],
    nowMs: NOW,
    generations: [ONE],
    policy: NOTHING,
  };

  test('guards stand, rules do not', () => {
    expect(guardsAgainst(input, '2026-11-15')).toEqual([]);
    expect(guardsAgainst(input, '2026-11-16')).toEqual(['held: audit']);
    expect(guardsAgainst(input, '2026-11-20')).toEqual(['the newest verified backup']);
    expect(guardsAgainst(input, 'not there')).toEqual([]);
  });
});

describe('what `copy` asks', () => {
  test('a copy that the next run would remove again need not be made, whatever the cap is', () => {
    const input = { backups: sixDays, pins: [], nowMs: NOW, generations: [ONE], policy: { ...NOTHING, keepLast: 2, maxRemovals: 0 } };
    expect(wouldKeep(input, backup('2026-11-14'))).toBe(false);
    expect(wouldKeep(input, backup('2026-11-15'))).toBe(false);
    expect(wouldKeep(input, backup('2026-11-21'))).toBe(true);
    expect(wouldKeep({ ...input, pins: [{ id: '2026-11-14', reason: 'held' }] }, backup('2026-11-14'))).toBe(true);
    expect(wouldKeep({ ...input, backups: [] }, backup('2026-11-14'))).toBe(true);
  });
});
