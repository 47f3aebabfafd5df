/**
 * Slots: the instants that a cron expression names. Pure but for croner, which does the calendar: time zones, and across a change of the
 * clocks a fixed time runs once and an interval every real interval.
 *
 * Each slot runs at most once, whatever the wall clock does. That is why a memory holds *which* slots were handled, as ranges, and not only
 * the last one: a clock that ran an hour ahead for a while must neither run slots again when it is put back, nor leave a mark in the future
 * that blocks every slot until then.
 */
import { Cron } from 'croner';
import type { Schedule } from '../config/types.ts';
import { LONGEST_SLEEP_MS } from './clock.ts';

/** Both ends included, ms since 1970. Every slot inside is done with. */
export type Range = readonly [fromMs: number, toMs: number];

export interface SlotMemory {
  readonly handled: readonly Range[];
  /** The slot that was due at the last look: what lies between it and the one due now was missed. */
  readonly lastDueMs: number | undefined;
  /** Due, but its jitter is not over. */
  readonly pending: { readonly slotMs: number; readonly startAtMs: number } | undefined;
}

export const EMPTY_MEMORY: SlotMemory = { handled: [], lastDueMs: undefined, pending: undefined };

export interface Slots {
  /** The first slot after `ms`, or undefined when there will be none. */
  next(ms: number): number | undefined;
  /** The newest slot at or before `ms`. */
  latest(ms: number): number | undefined;
}

/** @returns undefined for a cluster without a schedule */
export function slotsOf(schedule: Schedule): Slots | undefined {
  if (schedule.cron === undefined) return undefined;
  const cron = new Cron(schedule.cron, { timezone: schedule.timeZone, paused: true });
  return {
    next: (ms) => cron.nextRun(new Date(ms))?.getTime(),
    // croner's previousRuns is exclusive of the instant itself.
    latest: (ms) => cron.previousRuns(1, new Date(ms + 1))[0]?.getTime(),
  };
}

export interface Circumstances {
  readonly nowMs: number;
  /** A run of this cluster is not finished. */
  readonly running: boolean;
  /** Another daemon serves this cluster. */
  readonly standby: boolean;
  /** Time of the newest backup in the stores: a slot at or before it is served, whoever did it. */
  readonly newestBackupMs: number | undefined;
  readonly catchUpMs: number;
  readonly jitterMs: number;
  /** 0 <= x < 1. */
  readonly random: () => number;
}

export interface Decision {
  readonly memory: SlotMemory;
  /** Run this slot now. */
  readonly start: number | undefined;
  /** The slot to start was missed when it was due. */
  readonly caughtUp: boolean;
  readonly missed: number;
  readonly skipped: number;
  readonly leftToOther: number;
  /** Look again no later than this. */
  readonly wakeAtMs: number;
}

/** Lateness that is only that of timers and a busy machine, not of a daemon that was down. */
const PROMPT_MS = 90_000;
/** A clock before this was never set (no battery, no NTP yet): backups would carry its date. 1 January 2020. */
const CLOCK_IS_SET_MS = 1_577_836_800_000;
const MOST_RANGES = 32;
const MOST_MISSED = 1_000;

export function clockIsSet(nowMs: number): boolean {
  return nowMs >= CLOCK_IS_SET_MS;
}

/** What to do about the schedule now. The caller keeps the memory that comes back. */
export function decide(slots: Slots, memory: SlotMemory, at: Circumstances): Decision {
  const nothing = { start: undefined, caughtUp: false, missed: 0, skipped: 0, leftToOther: 0 };
  if (!clockIsSet(at.nowMs)) return { ...nothing, memory, wakeAtMs: at.nowMs + LONGEST_SLEEP_MS };

  const due = slots.latest(at.nowMs);
  const wakeAtMs = Math.min(slots.next(at.nowMs) ?? Infinity, at.nowMs + LONGEST_SLEEP_MS);
  if (due === undefined) return { ...nothing, memory: { ...memory, pending: undefined }, wakeAtMs };

  const isNew = due !== memory.lastDueMs;
  const missed = isNew && !at.standby ? countMissed(slots, memory, due, at.newestBackupMs) : 0;
  const next: SlotMemory = { ...memory, lastDueMs: due, pending: memory.pending?.slotMs === due ? memory.pending : undefined };
  const done = { ...nothing, missed, wakeAtMs };

  if (isHandled(memory, due) || isServed(due, at)) return { ...done, memory: { ...next, pending: undefined } };
  if (at.running) return { ...done, skipped: 1, memory: markHandled(slots, next, due) };
  if (at.standby) return { ...done, leftToOther: isNew ? 1 : 0, memory: { ...next, pending: undefined } };

  const lateMs = at.nowMs - due;
  const late = lateMs > PROMPT_MS;
  // A pending slot waits for its jitter by intention; it is not late for that. And where there is no backup at all, none is too late.
  const tooLate = late && lateMs > at.catchUpMs && at.newestBackupMs !== undefined;
  if (next.pending === undefined && tooLate) {
    // Without a memory nobody can have missed it: the daemon is new here.
    const wasExpected = memory.lastDueMs === undefined ? 0 : 1;
    return { ...done, missed: missed + wasExpected, memory: markHandled(slots, next, due) };
  }

  const pending = next.pending ?? { slotMs: due, startAtMs: (late ? at.nowMs : due) + jitter(slots, due, at) };
  if (at.nowMs < pending.startAtMs) return { ...done, memory: { ...next, pending }, wakeAtMs: Math.min(wakeAtMs, pending.startAtMs) };
  return { ...done, start: due, caughtUp: late && lateMs > at.jitterMs + PROMPT_MS, memory: markHandled(slots, next, due) };
}

/** Notes that a slot needs nobody any more. */
export function markHandled(slots: Slots, memory: SlotMemory, slotMs: number): SlotMemory {
  const before = slots.latest(slotMs - 1);
  const at = memory.handled.findIndex(
    ([from, to]) => (before !== undefined && before >= from && before <= to) || (slotMs >= from && slotMs <= to),
  );
  const found = memory.handled[at];
  const others = found === undefined ? memory.handled : memory.handled.toSpliced(at, 1);
  const range: Range = found === undefined ? [slotMs, slotMs] : [found[0], Math.max(found[1], slotMs)];
  // The range last touched stays last, and the oldest go first when there are too many: each jump of the clock makes at most one.
  return { ...memory, handled: [...others, range].slice(-MOST_RANGES), pending: undefined };
}

export function isHandled(memory: SlotMemory, slotMs: number): boolean {
  return memory.handled.some(([from, to]) => slotMs >= from && slotMs <= to);
}

/** Forgets that a slot was started, for the memory that is written to disk: after a crash it is to be caught up. */
export function withoutSlot(memory: SlotMemory, slots: Slots, slotMs: number): SlotMemory {
  const before = slots.latest(slotMs - 1);
  const handled = memory.handled.flatMap(([from, to]): Range[] => {
    if (to !== slotMs) return [[from, to]];
    return before === undefined || before < from ? [] : [[from, before]];
  });
  return { ...memory, handled };
}

function isServed(slotMs: number, at: Pick<Circumstances, 'newestBackupMs' | 'nowMs'>): boolean {
  // A backup dated in the future says nothing about slots of the present.
  return at.newestBackupMs !== undefined && at.newestBackupMs >= slotMs && at.newestBackupMs <= at.nowMs;
}

function countMissed(slots: Slots, memory: SlotMemory, due: number, newestBackupMs: number | undefined): number {
  const from = memory.lastDueMs;
  if (from === undefined || due < from) return 0;
  const superseded = memory.pending !== undefined && memory.pending.slotMs < due && !isHandled(memory, memory.pending.slotMs) ? 1 : 0;
  let missed = superseded;
  for (let slot = slots.next(from); slot !== undefined && slot < due && missed < MOST_MISSED; slot = slots.next(slot)) {
    if (!isHandled(memory, slot) && !(newestBackupMs !== undefined && newestBackupMs >= slot && newestBackupMs <= due)) missed += 1;
  }
  return missed;
}

/** Never so long that the next slot would come first. */
function jitter(slots: Slots, due: number, at: Circumstances): number {
  const next = slots.next(due);
  const most = next === undefined ? at.jitterMs : Math.min(at.jitterMs, (next - due) / 2);
  return Math.floor(at.random() * most);
}
