/** What every step is given, and how long it waits for what. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MemberClient } from '../../etcd/member.ts';
import type { Upkeep } from '../../etcd/upkeep.ts';
import { WardenError } from '../../errors.ts';
import type { ClusterState, MemberState } from '../planner/types.ts';
import type { Change } from '../record/record.ts';
import type { ActionResult, RoundEvents, Sight } from '../types.ts';

/** The calls of one member that a step makes. */
export type StepClient = Pick<MemberClient, 'status' | 'compact' | 'defragment' | 'moveLeader' | 'disarmNoSpace' | 'close'>;

export interface StepSetting {
  /** One look at the whole cluster. */
  readonly look: (signal: AbortSignal) => Promise<Sight>;
  /** A channel of its own to one member. */
  readonly open: (endpoint: string) => StepClient;
  readonly upkeep: Pick<Upkeep, 'compact' | 'provePut'>;
  /** Of our keys in etcd, without a slash at the end. */
  readonly keyPrefix: string;
  /** Raft entries that a member may be behind and still count as caught up. */
  readonly maxLag: bigint;
  /** Remembers what was done. */
  readonly note: (change: Change) => Promise<void>;
  readonly events: RoundEvents;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly pace: Pace;
}

/** Milliseconds. */
export interface Pace {
  /** Between two looks at something that should happen within moments. */
  readonly pollMs: number;
  /** Between two signs of life of a step that takes long, and two looks at the others while a member is frozen. */
  readonly tellMs: number;
  /** A defragmentation raises the alarm after this, or after three times its predicted time. */
  readonly alarmMs: number;
  /** A member that answers again has caught up by then. */
  readonly recoverMs: number;
  /** A member to which nobody can connect is not frozen but dead. */
  readonly deadMs: number;
  /** A leader has moved by then: etcd itself gives up after an election timeout, 1 s by default and 50 s at most. */
  readonly leaderMs: number;
  /** Every member has compacted by then, plus what its size takes. */
  readonly compactMs: number;
  /** What passes by itself after a step is waited for so long. */
  readonly patienceMs: number;
}

export const PACE: Pace = {
  pollMs: 500,
  tellMs: 5_000,
  alarmMs: 60_000,
  recoverMs: 60_000,
  deadMs: 60_000,
  leaderMs: 60_000,
  compactMs: 120_000,
  patienceMs: 15_000,
};

/** A step was carried out, or was not begun because the cluster is no longer as it was planned for: then nothing was changed. */
export type StepOutcome = { readonly kind: 'done'; readonly result: ActionResult } | { readonly kind: 'stale'; readonly reason: string };

/** What did not come out as it should: ends the round. */
export function surprise(sentence: string, hint: string, cause?: unknown): WardenError {
  return new WardenError('surprise', sentence, { hint, cause });
}

export function memberOf(state: ClusterState, id: string): MemberState | undefined {
  return state.members.find((member) => member.id === id);
}

/** For sentences; ids of members that are gone stay ids. */
export function nameOf(state: ClusterState, id: string): string {
  return memberOf(state, id)?.name ?? id;
}

/** Runs `work` with a channel to a member and closes it whatever happens. */
export async function withMember<T>(
  setting: Pick<StepSetting, 'open'>,
  member: MemberState,
  work: (client: StepClient) => Promise<T>,
): Promise<T> {
  const client = setting.open(member.endpoint);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** Waits, unless told to stop. @throws the signal's reason */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** Waits between two steps, with signs of life: to the daemon a job that tells nothing for long has stalled. */
export async function settle(ms: number, what: string, setting: Pick<StepSetting, 'events' | 'signal' | 'pace'>): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const left = end - performance.now();
    if (left <= 0) return;
    setting.events.progress({ step: 'settle', message: `${what}: ${Math.ceil(left / 1000)} s to go` });
    await pause(Math.min(left, setting.pace.tellMs), setting.signal);
  }
}
