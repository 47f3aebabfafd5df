/**
 * Compaction, and the wait for its end. A physical compaction returns when the member that was asked has deleted everything, not when the others have
 * (H11, apply.go), and a member that still deletes is no candidate for anything. So each is asked for the same compaction again, which it answers when
 * the one that runs has ended; and then bytes in use must have stopped falling, for those that could not be asked.
 */
import { formatBytes } from '../../config/units.ts';
import { crashPoint } from '../../crash-points.ts';
import { asError, errorDetails } from '../../errors.ts';
import type { Action, ClusterState } from '../planner/types.ts';
import { memberOf, nameOf, pause, surprise, withMember, type StepOutcome, type StepSetting } from './setting.ts';

/** Bytes that even a busy member on a slow disk goes through in a second; etcd rests 10 ms after each 1000 keys (--compaction-sleep-interval). */
const SLOWEST_BYTES_PER_SECOND = 5e6;
/** Looks in a row that must find nothing falling: etcd commits, and so frees, every 100 ms at most. */
const QUIET_LOOKS = 3;
/** Pages that wait for a read transaction to end make the number tremble by less. */
const TREMBLE_BYTES = 1 << 20;

/** @throws WardenError `surprise` when the members do not come to an end, and whatever etcd says */
export async function compact(
  action: Extract<Action, { kind: 'compact' }>,
  state: ClusterState,
  setting: StepSetting,
): Promise<StepOutcome> {
  const { events, upkeep, signal } = setting;
  const revision = BigInt(action.revision);
  const started = performance.now();
  const limitMs = limitFor(state, setting);
  events.progress({ step: 'compact', message: `compacting the history before revision ${action.revision}` });
  crashPoint('before-compact');
  const outcome = await telling(setting, 'compact', 'the compaction still runs', async () => {
    try {
      return await upkeep.compact(revision, { timeoutMs: limitMs, signal });
    } catch (error) {
      signal.throwIfAborted();
      // The answer is late or lost; the compaction went through raft and goes on, or never began: the looks below tell.
      const { code, message } = errorDetails(error);
      if (code !== 'timeout' && code !== 'unreachable') throw error;
      events.logger.warn({ revision: action.revision, code }, `no answer to the compaction: ${message}`);
      return 'unclear' as const;
    }
  });
  crashPoint('after-compact');
  await askEach(revision, state, setting, limitMs);
  const after = await untilQuiet(setting, limitMs);
  // Where it can be learned, it counts more than any answer.
  if (after.compactRevision === undefined ? outcome === 'unclear' : after.compactRevision < revision) {
    throw surprise(
      `the cluster was to be compacted at revision ${action.revision}, and is at ${after.compactRevision ?? 'an unknown one'}`,
      'look into the log of the members; the next round begins anew',
    );
  }
  const tookMs = Math.round(performance.now() - started);
  const freed = freedBytes(state, after);
  const message =
    outcome === 'already'
      ? `revision ${action.revision} was compacted already`
      : `compacted at revision ${action.revision}; ${formatBytes(freed)} more of the fullest member are free`;
  events.logger.info({ revision: action.revision, outcome, tookMs, freed }, 'compacted');
  await setting.note({ kind: 'compacted', atMs: setting.now().getTime(), revision });
  return { kind: 'done', result: { action: 'compact', member: undefined, tookMs, revision: action.revision, message } };
}

/** A compaction of whomever runs on: waits for its end as for one of ours. */
export async function awaitCompaction(
  action: Extract<Action, { kind: 'await-compaction' }>,
  state: ClusterState,
  setting: StepSetting,
): Promise<StepOutcome> {
  const started = performance.now();
  const names = action.members.map((id) => nameOf(state, id)).join(', ');
  setting.events.progress({ step: 'compact', message: `${names} still compact` });
  const limitMs = limitFor(state, setting);
  if (state.compactRevision !== undefined && state.compactRevision > 0n) await askEach(state.compactRevision, state, setting, limitMs);
  await untilQuiet(setting, limitMs);
  const tookMs = Math.round(performance.now() - started);
  return {
    kind: 'done',
    result: { action: 'await-compaction', member: undefined, tookMs, message: `waited until ${names} had compacted` },
  };
}

/** One failure is no reason to stop: the looks that follow see that member too. */
async function askEach(revision: bigint, state: ClusterState, setting: StepSetting, timeoutMs: number): Promise<void> {
  const { signal, events } = setting;
  // One that is cut off from the others would keep us waiting for its deadline.
  const members = state.members.filter((member) => member.voter && member.reachable && member.readMs !== undefined);
  await telling(setting, 'compact', 'waiting for every member to finish compacting', () =>
    Promise.all(
      members.map((member) =>
        withMember(setting, member, (client) => client.compact(revision, { timeoutMs, signal })).catch((error: unknown) => {
          signal.throwIfAborted();
          events.logger.warn({ member: member.name, err: asError(error) }, 'a member does not tell whether it has compacted');
        }),
      ),
    ),
  );
}

/** Looks until no member compacts any more, as far as they answer. */
async function untilQuiet(setting: StepSetting, limitMs: number): Promise<ClusterState> {
  const end = performance.now() + limitMs;
  let before: ClusterState | undefined;
  for (let quiet = 0; ;) {
    const { state } = await setting.look(setting.signal);
    const busy = state.members.filter((member) => member.reachable && (member.compacting || fell(before, state, member.id)));
    before = state;
    quiet = busy.length === 0 ? quiet + 1 : 0;
    if (quiet >= QUIET_LOOKS) return state;
    const names = busy.map(({ name }) => name).join(', ');
    if (busy.length > 0) setting.events.progress({ step: 'compact', message: `waiting for ${names} to finish compacting` });
    if (performance.now() > end) {
      throw surprise(
        `${names || 'the members'} had not finished compacting after ${Math.round(limitMs / 1000)} s`,
        'a member whose disk is overloaded compacts slowly; nothing is defragmented before that is over',
      );
    }
    await pause(setting.pace.pollMs, setting.signal);
  }
}

function fell(before: ClusterState | undefined, now: ClusterState, id: string): boolean {
  const [then, member] = [before && memberOf(before, id), memberOf(now, id)];
  if (then?.reachable !== true || member === undefined) return false;
  return then.dbSizeInUse - member.dbSizeInUse > TREMBLE_BYTES;
}

function limitFor(state: ClusterState, { pace }: StepSetting): number {
  const largest = Math.max(0, ...state.members.map(({ dbSizeInUse }) => dbSizeInUse));
  return pace.compactMs + Math.round((largest / SLOWEST_BYTES_PER_SECOND) * 1000);
}

function freedBytes(before: ClusterState, after: ClusterState): number {
  const fullest = [...before.members].sort((a, b) => b.dbSize - a.dbSize)[0];
  const now = fullest === undefined ? undefined : memberOf(after, fullest.id);
  return fullest === undefined || now === undefined
    ? 0
    : Math.max(0, now.dbSize - now.dbSizeInUse - (fullest.dbSize - fullest.dbSizeInUse));
}

/** A sign of life every few seconds while `work` runs. */
async function telling<T>(setting: StepSetting, step: string, message: string, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => setting.events.progress({ step, message }), setting.pace.tellMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
