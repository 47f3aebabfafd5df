/**
 * Leadership moves away from a member that is to be frozen: a frozen leader goes on leading, because raft's heartbeats need no backend, and nobody
 * renews a lease anywhere meanwhile (H1). Only the leader itself can hand over. It is done when every voter that answers names the new one in one term.
 */
import { crashPoint } from '../../crash-points.ts';
import { asError } from '../../errors.ts';
import type { Action, ClusterState, MemberState } from '../planner/types.ts';
import { memberOf, nameOf, pause, surprise, withMember, type StepOutcome, type StepSetting } from './setting.ts';

const HINT = 'the leader is not defragmented; look for an overloaded or separated member, and try again';

/** @throws WardenError `surprise` when leadership does not end up where it should */
export async function moveLeader(
  action: Extract<Action, { kind: 'move-leader' }>,
  state: ClusterState,
  setting: StepSetting,
): Promise<StepOutcome> {
  const { events, signal } = setting;
  const [from, to] = [memberOf(state, action.from), memberOf(state, action.to)];
  if (from === undefined || to === undefined) return { kind: 'stale', reason: 'a member is gone' };
  const started = performance.now();
  events.progress({ step: 'move-leader', subject: to.name, message: `moving leadership from ${from.name} to ${to.name}` });
  crashPoint('before-move-leader');
  try {
    await withMember(setting, from, (client) => client.moveLeader(BigInt(`0x${to.id}`), signal));
  } catch (error) {
    signal.throwIfAborted();
    throw surprise(`${from.name} did not hand leadership to ${to.name}: ${asError(error).message}`, HINT, error);
  }
  crashPoint('after-move-leader');
  await untilLed(to, setting);
  const tookMs = Math.round(performance.now() - started);
  events.logger.info({ from: from.name, to: to.name, tookMs }, 'leadership moved');
  return {
    kind: 'done',
    result: { action: 'move-leader', member: to.name, tookMs, message: `${to.name} leads instead of ${from.name}` },
  };
}

async function untilLed(to: MemberState, setting: StepSetting): Promise<void> {
  const end = performance.now() + setting.pace.leaderMs;
  for (;;) {
    const state = await setting.look(setting.signal).then(
      (sight) => sight.state,
      () => undefined, // nobody can be asked in the middle of an election: the next look tells
    );
    setting.signal.throwIfAborted();
    const voters = (state?.members ?? []).filter((member) => member.voter && member.reachable);
    if (agreed(voters, to.id)) return;
    if (performance.now() > end) {
      const named = [...new Set(voters.map(({ leader }) => leader))];
      const [only] = named;
      const who =
        state === undefined || only === undefined || only === '' || named.length > 1
          ? 'the members do not agree who leads'
          : only === to.id
            ? 'not every voter is in its term and answers reads'
            : `${nameOf(state, only)} leads`;
      throw surprise(`${to.name} was to lead, and ${who} after ${Math.round(setting.pace.leaderMs / 1000)} s`, HINT);
    }
    await pause(Math.min(100, setting.pace.pollMs), setting.signal);
  }
}

/** Every voter that answers, in one term, and with a read that only a majority can answer. */
function agreed(voters: ClusterState['members'], id: string): boolean {
  const terms = new Set(voters.map(({ raftTerm }) => raftTerm));
  return voters.length > 0 && terms.size === 1 && voters.every(({ leader, readMs }) => leader === id && readMs !== undefined);
}
