/** The wait for a member to take part again after it was frozen. */
import { asError } from '../../errors.ts';
import type { ClusterState, MemberState } from '../planner/types.ts';
import { memberOf, pause, surprise, type StepSetting } from './setting.ts';

/**
 * Until it answers a linearizable read and has caught up with the others. While it is silent it may be frozen still, so that has no end but the caller's;
 * one to which nobody can connect is dead, and not waited for.
 * @returns the cluster as it was then
 * @throws WardenError `surprise` when it does not come back, or does not catch up
 */
export async function untilBack(member: MemberState, setting: StepSetting): Promise<ClusterState> {
  const { pace, signal, events } = setting;
  const started = performance.now();
  let lastSilent = started;
  let dead: number | undefined;
  let lastTold = started;
  for (;;) {
    let failure: string | undefined;
    const state = await setting.look(signal).then(
      (sight) => sight.state,
      (error: unknown) => {
        failure = asError(error).message; // nobody answers: for a cluster of one member that is the freeze itself
        return undefined;
      },
    );
    signal.throwIfAborted();
    const now = performance.now();
    const seen = state === undefined ? undefined : memberOf(state, member.id);
    const answers = seen?.readMs !== undefined && seen.gauges?.defragInflight !== true;
    if (state !== undefined && seen !== undefined && answers && lagOf(state, seen) <= setting.maxLag) return state;
    if (!answers) lastSilent = now;
    const why = seen === undefined ? failure : seen.reachable ? undefined : seen.error;
    dead = refusesConnections(why) ? (dead ?? now) : undefined;
    if (dead !== undefined && now - dead > pace.deadMs) {
      throw surprise(`${member.name} does not run any more: ${why}`, 'start it again; the next round begins anew');
    }
    if (now - lastSilent > pace.recoverMs) {
      throw surprise(
        `${member.name} answers again but has not caught up with the others in ${Math.round(pace.recoverMs / 1000)} s`,
        'look into its log, and for a disk that is too slow',
      );
    }
    if (now - lastTold > pace.tellMs) {
      lastTold = now;
      events.progress({ step: 'defrag', subject: member.name, message: `waiting for ${member.name} to answer and to catch up` });
    }
    await pause(pace.pollMs, signal);
  }
}

/** How many raft entries it has not applied that somebody has. */
function lagOf(state: ClusterState, member: MemberState): bigint {
  const furthest = state.members.reduce((most, { raftIndex }) => (raftIndex > most ? raftIndex : most), 0n);
  return furthest - member.raftAppliedIndex;
}

/** A frozen process still takes connections; one that is gone does not. */
function refusesConnections(error = ''): boolean {
  return /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ECONNRESET|not reachable|cannot connect/i.test(error);
}
