/**
 * Disarming NOSPACE, by member id and nothing else: an id of 0 would mean every alarm of the kind, and a CORRUPT that came meanwhile must stay
 * (H12, H26). That etcd accepts writes again is proved by a put, not by the absence of the alarm.
 */
import { crashPoint } from '../../crash-points.ts';
import { asError, WardenError } from '../../errors.ts';
import type { Action, ClusterState } from '../planner/types.ts';
import { nameOf, surprise, withMember, type StepOutcome, type StepSetting } from './setting.ts';

/** @throws WardenError `surprise` when etcd refuses writes afterwards, and whatever it says */
export async function disarm(action: Extract<Action, { kind: 'disarm' }>, state: ClusterState, setting: StepSetting): Promise<StepOutcome> {
  const { events, signal, upkeep } = setting;
  const through = disarmer(state);
  if (through === undefined) return { kind: 'stale', reason: 'no voter answers' };
  const ids = action.members.map((id) => BigInt(`0x${id}`));
  if (ids.length === 0 || ids.includes(0n)) throw new Error('a disarming names each member');
  const names = action.members.map((id) => nameOf(state, id)).join(', ');
  const started = performance.now();
  events.progress({ step: 'disarm', message: `disarming NOSPACE of ${names}` });
  crashPoint('before-disarm');
  await withMember(setting, through, async (client) => {
    for (const id of ids) await client.disarmNoSpace(id, signal);
  });
  crashPoint('mid-disarm');
  // Before it is proved: it counts for the next hour whatever comes of it. Orphans do not, nobody refuses writes for them.
  if (!action.orphans) await setting.note({ kind: 'disarmed', atMs: setting.now().getTime() });
  await provePut(setting, action, upkeep);
  const after = await setting.look(signal);
  const left = after.state.alarms.filter(({ type, memberId }) => type === 'NOSPACE' && action.members.includes(memberId));
  if (left.length > 0) {
    throw surprise(
      `NOSPACE of ${left.map(({ memberId }) => nameOf(state, memberId)).join(', ')} was disarmed and is armed again`,
      'the quota is used up as fast as it is given back: raise --quota-backend-bytes, or delete keys',
    );
  }
  crashPoint('after-disarm');
  const tookMs = Math.round(performance.now() - started);
  events.logger.info({ members: names, orphans: action.orphans, tookMs }, 'NOSPACE disarmed');
  return {
    kind: 'done',
    result: {
      action: 'disarm',
      member: action.members.length === 1 ? names : undefined,
      tookMs,
      message: `disarmed NOSPACE of ${names}${action.orphans ? '' : '; a key was put and deleted again'}`,
    },
  };
}

/** The alarm of a member that is gone says nothing about writes: another one may be armed beside it, and stays. */
async function provePut(setting: StepSetting, action: Extract<Action, { kind: 'disarm' }>, upkeep: StepSetting['upkeep']): Promise<void> {
  if (action.orphans) return;
  try {
    await upkeep.provePut(`${setting.keyPrefix}/probe`, setting.signal);
  } catch (error) {
    setting.signal.throwIfAborted();
    if (error instanceof WardenError && error.code === 'permission-denied') throw error;
    throw surprise(
      `NOSPACE is disarmed, and a put is refused all the same: ${asError(error).message}`,
      'see `etcd-warden status`: the alarm may be armed again, or a majority be missing',
      error,
    );
  }
}

/** Through the leader where it answers: it is the one that has the alarms first. */
function disarmer(state: ClusterState): ClusterState['members'][number] | undefined {
  const voters = state.members.filter((member) => member.voter && member.reachable);
  return voters.find((member) => member.leader === member.id) ?? voters[0];
}
