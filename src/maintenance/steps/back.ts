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
    dead = (seen === undefined ? failure !== undefined && !isSilence(failure) : seemsDead(seen)) ? (dead ?? now) : undefined;
    if (dead !== undefined && now - dead > pace.deadMs) {
      throw surprise(`${member.name} does not run any more: ${seen?.error ?? failure}`, 'start it again; the next round begins anew');
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

/**
 * A frozen member still takes connections, and greets whoever connects, because neither needs its database: it is silent. One whose connections are refused,
 * reset (by a proxy before it) or never come about is dead, or its machine is.
 */
export function seemsDead(member: Pick<MemberState, 'reachable' | 'error' | 'gauges'> | undefined): boolean {
  return member !== undefined && !member.reachable && member.gauges?.defragInflight !== true && !isSilence(member.error);
}

function isSilence(error = ''): boolean {
  return /did not answer within|did not end in time/.test(error);
}
