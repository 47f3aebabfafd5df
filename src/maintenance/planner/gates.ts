/**
 * What must hold for the cluster as a whole before anything is done to it. Every gate is asked, so that --dry-run shows all of them; one that refuses is
 * enough. Their order is that of how much they matter.
 */
import { checkOf, passed, refused, type Check, type Purpose } from './check.ts';
import { isWithin } from './past.ts';
import { maintenanceReads, memberGates } from './gates-members.ts';
import { quorumGates } from './gates-quorum.ts';
import { versionGates } from './gates-versions.ts';
import type { View } from './view.ts';
import { timeText } from './words.ts';

/** After a surprise, and doubled with each further one. */
const BACKOFF_MS = 5 * 60_000;
const LONGEST_BACKOFF_MS = 6 * 3_600_000;
/** Nobody can write while NOSPACE is armed. */
const LONGEST_BACKOFF_NO_SPACE_MS = 15 * 60_000;

/** All gates for the purpose, in a stable order. */
export function gatesFor(purpose: Purpose, view: View): readonly Check[] {
  return [
    ...[corruptAlarm, disagreement, lockElsewhere, backingOff, ownRead].map((gate) => gate(view)),
    ...maintenanceReads(purpose, view),
    ...memberGates(purpose, view),
    ...(purpose === 'defrag' ? quorumGates(view) : []),
    ...versionGates(purpose, view),
  ];
}

function corruptAlarm({ state, members }: View): Check {
  const armed = state.alarms.filter(({ type }) => type === 'CORRUPT');
  if (armed.length === 0) return passed('corrupt-alarm', 'no CORRUPT alarm is armed');
  const names = armed.map(({ memberId }) => members.find(({ id }) => id === memberId)?.name ?? `member id ${memberId}`).sort();
  return refused(
    'corrupt-alarm',
    `CORRUPT is armed for ${names.join(', ')}: members may have different data, and only a person may decide what becomes of that`,
    {
      hint: 'find out which member is right (`etcd-warden status`, the proofs of the backups), replace the wrong one, then disarm CORRUPT with etcdctl; docs/maintenance.md has the steps',
    },
  );
}

function disagreement({ state, members }: View): Check {
  if (state.disagreement === undefined) return passed('members-disagree', 'no members are known to have different data');
  const names = state.disagreement.members.map((each) => members.find(({ id, name }) => id === each || name === each)?.name ?? each).sort();
  return refused('members-disagree', `${names.join(', ')} have different data: ${state.disagreement.reason}`, {
    hint: 'find out which member is right and replace the wrong one first: maintenance would only wipe traces away',
  });
}

function lockElsewhere({ state }: View): Check {
  const { lock } = state;
  if (lock.state === 'elsewhere') {
    return refused('lock-elsewhere', lock.detail ?? 'another process holds the lock of this cluster', {
      hint: 'wait for it to end; when it is a daemon that shall not act, stop it, or give `--no-coordinate`',
    });
  }
  if (lock.state === 'unasked') return checkOf('lock-elsewhere', 'unchecked', 'the lock is not taken for a look');
  return passed(
    'lock-elsewhere',
    lock.state === 'held' ? 'the lock is ours' : (lock.detail ?? 'no lock can be had, and nobody else has it'),
  );
}

function backingOff({ state, wish, noSpace }: View): Check {
  const { failure } = state.past;
  if (wish.kind !== 'routine' || failure === undefined) return passed('backing-off', 'no earlier round holds this one back');
  const longest = noSpace.length > 0 ? LONGEST_BACKOFF_NO_SPACE_MS : LONGEST_BACKOFF_MS;
  const waitMs = Math.min(BACKOFF_MS * 2 ** Math.max(0, failure.count - 1), longest);
  if (!isWithin(failure.atMs, waitMs, state.nowMs))
    return passed('backing-off', `the last surprise is ${timeText(Math.abs(state.nowMs - failure.atMs))} old`);
  const times = failure.count === 1 ? 'the last round' : `the last ${failure.count} rounds`;
  return refused('backing-off', `${times} ended by a surprise (${failure.reason}): not before ${timeText(waitMs)} have passed`, {
    hint: 'once the cause is gone, `etcd-warden defrag` does not wait',
    againMs: failure.atMs + waitMs,
  });
}

function ownRead({ state }: View): Check {
  if (state.ownReads.length === 0) return passed('own-read', 'no snapshot or HashKV of ours runs');
  return refused('own-read', `${[...state.ownReads].sort().join(', ')} is running, and they exclude each other`, {
    hint: 'it is done when that has ended',
  });
}
