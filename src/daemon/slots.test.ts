import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide, EMPTY_MEMORY, slotsOf, withoutSlot, type Circumstances, type SlotMemory, type Slots } from './slots.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOON = Date.parse('2026-11-22T12:00:00Z');

function slots(cron: string, timeZone = 'UTC'): Slots {
  return slotsOf({ cron, timeZone, jitterMs: 0 })!;
}

/** Plays a wall clock against the schedule: each step is what the clock shows next. */
function play(cron: Slots, steps: Iterable<number>, circumstances: Partial<Circumstances> = {}, memory: SlotMemory = EMPTY_MEMORY) {
  const started: number[] = [];
  const total = { missed: 0, skipped: 0, caughtUp: 0 };
  for (const nowMs of steps) {
    const decision = decide(cron, memory, {
      nowMs,
      running: false,
      standby: false,
      newestBackupMs: undefined,
      catchUpMs: 6 * HOUR,
      jitterMs: 0,
      random: () => 0.5,
      ...circumstances,
    });
    memory = decision.memory;
    if (decision.start !== undefined) started.push(decision.start);
    total.missed += decision.missed;
    total.skipped += decision.skipped;
    total.caughtUp += decision.caughtUp ? 1 : 0;
    expect(decision.wakeAtMs).toBeGreaterThan(nowMs);
    expect(decision.wakeAtMs - nowMs).toBeLessThanOrEqual(30_000);
  }
  return { started, memory, ...total };
}

function* every(stepMs: number, from: number, to: number): Generator<number> {
  for (let at = from; at <= to; at += stepMs) yield at;
}

const times = (list: readonly number[]): string[] => list.map((ms) => new Date(ms).toISOString().slice(11, 16));

describe('slots', () => {
  test('every slot runs exactly once when the clock behaves', () => {
    const { started, missed } = play(slots('*/10 * * * *'), every(20_000, NOON + 1000, NOON + 2 * HOUR + MINUTE), {
      newestBackupMs: NOON + 500,
    });
    expect(started).toEqual([...every(10 * MINUTE, NOON + 10 * MINUTE, NOON + 2 * HOUR)]);
    expect(missed).toBe(0);
  });

  test('fault 58: the clock jumps an hour ahead and later back: no slot twice, and those jumped over still get their turn', () => {
    const { started } = play(slots('*/10 * * * *'), [
      ...every(20_000, NOON + 1000, NOON + 25 * MINUTE),
      ...every(20_000, NOON + 85 * MINUTE, NOON + 95 * MINUTE),
      ...every(20_000, NOON + 35 * MINUTE, NOON + 150 * MINUTE),
    ]);
    expect(new Set(started).size).toBe(started.length);
    expect(times(started)).toEqual([
      '12:00',
      '12:10',
      '12:20',
      '13:20',
      '13:30',
      '12:30',
      '12:40',
      '12:50',
      '13:00',
      '13:10',
      '13:40',
      '13:50',
      '14:00',
      '14:10',
      '14:20',
      '14:30',
    ]);
  });

  test('fault 58: the clock goes an hour back: what ran does not run again', () => {
    const { started } = play(slots('*/10 * * * *'), [
      ...every(20_000, NOON + 1000, NOON + 65 * MINUTE),
      ...every(20_000, NOON + 5 * MINUTE, NOON + 90 * MINUTE),
    ]);
    expect(started).toEqual([...every(10 * MINUTE, NOON, NOON + 90 * MINUTE)]);
  });

  test('fault 58: a clock in 1970 starts nothing, and nothing is lost when it is set', () => {
    const { started, missed } = play(slots('0 * * * *'), [...every(20_000, 0, 3 * HOUR), ...every(20_000, NOON + MINUTE, NOON + 2 * HOUR)]);
    expect(times(started)).toEqual(['12:00', '13:00', '14:00']);
    expect(missed).toBe(0);
  });

  test('fault 58: a clock that was in 2036 for a while does not stop backups for ten years', () => {
    const far = Date.parse('2036-01-01T00:00:30Z');
    const { started } = play(slots('0 * * * *'), [
      ...every(20_000, NOON + 1000, NOON + MINUTE),
      far,
      far + 20_000,
      ...every(20_000, NOON + 2 * MINUTE, NOON + HOUR),
    ]);
    expect(times(started)).toEqual(['12:00', '00:00', '13:00']);
  });

  test('fault 58: a machine suspended for three hours catches the newest slot up once and counts the others', () => {
    const { started, missed, caughtUp } = play(slots('0 * * * *'), [
      ...every(20_000, NOON + 1000, NOON + MINUTE),
      ...every(20_000, NOON + 3 * HOUR + 5 * MINUTE, NOON + 4 * HOUR),
    ]);
    expect(times(started)).toEqual(['12:00', '15:00', '16:00']);
    expect({ missed, caughtUp }).toEqual({ missed: 2, caughtUp: 1 });
  });

  test.each([
    [
      'a fixed time in the hour that spring drops',
      '30 2 * * *',
      '2027-03-27T20:00:00Z',
      '2027-03-29T20:00:00Z',
      ['2027-03-28T01:00Z', '2027-03-29T00:30Z'],
    ],
    [
      'a fixed time in the hour that autumn repeats',
      '30 2 * * *',
      '2026-10-24T20:00:00Z',
      '2026-10-26T20:00:00Z',
      ['2026-10-25T00:30Z', '2026-10-26T01:30Z'],
    ],
    [
      'an interval in the hour that autumn repeats',
      '0 * * * *',
      '2026-10-24T23:30:00Z',
      '2026-10-25T03:30:00Z',
      ['2026-10-25T00:00Z', '2026-10-25T01:00Z', '2026-10-25T02:00Z', '2026-10-25T03:00Z'],
    ],
  ])('fault 58: %s runs once', (_, cron, from, to, expected) => {
    const start = Date.parse(from);
    const { started } = play(slots(cron, 'Europe/Berlin'), every(60_000, start, Date.parse(to)), { newestBackupMs: start - 1000 });
    expect(started.map((ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`)).toEqual(expected);
  });

  test('fault 58: whatever the clock does, no slot runs twice', () => {
    const step = fc.oneof(
      { weight: 20, arbitrary: fc.integer({ min: 1, max: 30_000 }) },
      fc.constantFrom(HOUR, -HOUR, 3 * HOUR, -10 * MINUTE, 24 * HOUR, -24 * HOUR),
    );
    const cron = fc.constantFrom('*/7 * * * *', '0 * * * *', '30 2 * * *', '15 2,3 * * *', '*/30 * * * *');
    fc.assert(
      fc.property(
        cron,
        fc.integer({ min: 0, max: 400 * 24 }),
        fc.array(step, { minLength: 50, maxLength: 400 }),
        fc.integer({ min: 0, max: 20 * MINUTE }),
        (expression, hours, moves, jitterMs) => {
          let at = NOON + hours * HOUR;
          const clock = moves.map((move) => (at += move));
          const { started } = play(slots(expression, 'Europe/Berlin'), clock, { jitterMs });
          expect(new Set(started).size).toBe(started.length);
        },
      ),
      { numRuns: 20, seed: 58 },
    );
  });

  test('fault 60: a run longer than its interval skips the next slot and counts it, and does not queue it', () => {
    const cron = slots('*/10 * * * *');
    const first = play(cron, [NOON + 1]);
    const during = play(cron, every(20_000, NOON + 20_000, NOON + 25 * MINUTE), { running: true }, first.memory);
    const after = play(cron, every(20_000, NOON + 25 * MINUTE, NOON + 31 * MINUTE), {}, during.memory);
    expect(times(first.started)).toEqual(['12:00']);
    expect({ started: during.started, skipped: during.skipped }).toEqual({ started: [], skipped: 2 });
    expect(times(after.started)).toEqual(['12:30']);
  });

  test('a slot missed while the daemon was down is caught up once, within the limit only', () => {
    const cron = slots('0 */6 * * *');
    const before = play(cron, [NOON + 1]).memory;
    const inTime = play(cron, every(20_000, NOON + 7 * HOUR, NOON + 8 * HOUR), { catchUpMs: 2 * HOUR }, before);
    expect({ started: times(inTime.started), caughtUp: inTime.caughtUp }).toEqual({ started: ['18:00'], caughtUp: 1 });
    const late = every(20_000, NOON + 9 * HOUR, NOON + 10 * HOUR);
    const tooLate = play(cron, late, { catchUpMs: 2 * HOUR, newestBackupMs: NOON + 1 }, before);
    expect({ started: tooLate.started, missed: tooLate.missed }).toEqual({ started: [], missed: 1 });
  });

  test('where there is no backup at all no slot is too late: a new daemon takes one at once', () => {
    const cron = slots('0 3 * * *');
    expect(times(play(cron, [NOON], { catchUpMs: 2 * HOUR }).started)).toEqual(['03:00']);
    expect(play(cron, [NOON], { catchUpMs: 2 * HOUR, newestBackupMs: NOON - 30 * HOUR }).started).toEqual([]);
  });

  test('a slot that a backup in the stores already serves does not run, whatever the memory says', () => {
    const served = play(slots('0 * * * *'), [NOON + 5 * MINUTE], { newestBackupMs: NOON + 2 * MINUTE });
    expect(served.started).toEqual([]);
    const future = play(slots('0 * * * *'), [NOON + 5 * MINUTE], { newestBackupMs: NOON + 900 * HOUR });
    expect(times(future.started)).toEqual(['12:00']);
  });

  test('a standby starts nothing, and takes the slot over when it is elected in time', () => {
    const cron = slots('0 * * * *');
    const standby = play(cron, every(20_000, NOON + 1000, NOON + MINUTE), { standby: true });
    expect(standby.started).toEqual([]);
    expect(times(play(cron, [NOON + 2 * MINUTE], {}, standby.memory).started)).toEqual(['12:00']);
  });

  test('jitter delays a slot, never past half of the way to the next one', () => {
    const cron = slots('*/10 * * * *');
    const at = (nowMs: number, memory: SlotMemory) =>
      decide(cron, memory, {
        nowMs,
        running: false,
        standby: false,
        newestBackupMs: undefined,
        catchUpMs: 0,
        jitterMs: HOUR,
        random: () => 0.999,
      });
    const waiting = at(NOON, EMPTY_MEMORY);
    expect(waiting.start).toBeUndefined();
    const startAt = waiting.memory.pending!.startAtMs;
    expect(startAt).toBeGreaterThan(NOON + 4 * MINUTE);
    expect(startAt).toBeLessThanOrEqual(NOON + 5 * MINUTE);
    expect(at(startAt - 1, waiting.memory).start).toBeUndefined();
    expect(at(startAt, waiting.memory)).toMatchObject({ start: NOON, caughtUp: false });
  });

  test('a slot whose run did not end is caught up after a crash', () => {
    const cron = slots('*/10 * * * *');
    const { memory } = play(cron, every(20_000, NOON, NOON + 20 * MINUTE));
    const onDisk = withoutSlot(memory, cron, NOON + 20 * MINUTE);
    const again = play(cron, [NOON + 22 * MINUTE], {}, onDisk);
    expect(times(again.started)).toEqual(['12:20']);
    expect(play(cron, [NOON + 22 * MINUTE], {}, memory).started).toEqual([]);
  });
});
