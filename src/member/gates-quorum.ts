/** Gates about the majority: before the change, after it, and whatever else is not as it should be. Pure. */
import { hex } from '../etcd/ids.ts';
import type { MemberGate, MembershipSight, SeenMember } from './types.ts';
import { countText, gate, healthyOf, labelOf, leaves, majority, votersOf, type Change } from './words.ts';

export function quorumGate(sight: MembershipSight): MemberGate {
  const counted = countText(healthyOf(sight).length, votersOf(sight).length);
  if (sight.quorum) return gate('no-quorum', 'passed', counted);
  return gate('no-quorum', 'refused', `${counted}: nothing can be agreed upon`, {
    hint: 'start the members that are down; when they are lost for good, restore from a backup (`etcd-warden restore --latest --plan`), or start the best of the others with --force-new-cluster, which loses whatever it has not received',
  });
}

export function quorumAfterGate(sight: MembershipSight, change: Change): MemberGate[] {
  const gone = leaves(change);
  const now = votersOf(sight).length;
  const healthyNow = healthyOf(sight).length;
  if (change.kind === 'remove' && gone === undefined)
    return [gate('quorum-after', 'passed', `${labelOf(change.member)} is a learner and counts for no majority`)];
  if (gone !== undefined) {
    const healthy = healthyNow - (gone.readMs === undefined ? 0 : 1);
    if (healthy === 0) {
      const message = now === 1 ? `${labelOf(gone)} is the only voter` : `${labelOf(gone)} is the only voter that answers`;
      return [
        gate('last-voter', 'refused', `${message}: without it there is no cluster`, {
          member: labelOf(gone),
          hint:
            now === 1
              ? 'add another member first, and wait until it votes; to end the cluster, stop its etcd'
              : 'bring the others back first (`etcd-warden member replace`)',
        }),
      ];
    }
    return [afterwards(healthy, now - 1, 'remove a member that is down first, or bring it back (`etcd-warden member replace`)')];
  }
  // What a voter that was never started does to the majority is told by a gate of its own, because it can be asked for.
  if (change.kind === 'add') return change.learner ? [afterwards(healthyNow, now)] : [];
  if (change.kind === 'promote' && !change.member.learner) return [];
  return [afterwards(healthyNow + 1, now + 1)];
}

function afterwards(healthy: number, voters: number, hint = 'bring the members back that are down'): MemberGate {
  const message = `afterwards ${countText(healthy, voters)}`;
  return healthy >= majority(voters) ? gate('quorum-after', 'passed', message) : gate('quorum-after', 'refused', message, { hint });
}

/** One member away at a time: a change needs every voter, but for the one that goes because it is down. */
export function downGate(sight: MembershipSight, change: Change): MemberGate {
  const gone = leaves(change);
  const down = votersOf(sight).filter((member) => member.readMs === undefined && member.started && member.id !== gone?.id);
  if (down.length === 0) return gate('member-down', 'passed', gone === undefined ? 'every voter answers' : 'every other voter answers');
  const names = down.map(labelOf).join(', ');
  const why = down.map((member) => `${labelOf(member)}: ${member.error?.message ?? 'no linearizable read goes through it'}`).join('; ');
  const [first] = down;
  // Whoever removes one that is down makes things better, however many are.
  if (change.kind === 'remove' && (gone === undefined || gone.readMs === undefined))
    return gate('member-down', 'warned', `${names} ${down.length === 1 ? 'is' : 'are'} down too (${why})`, { member: labelOf(first!) });
  return gate('member-down', 'refused', why, {
    member: labelOf(first!),
    hint:
      first!.error?.hint ??
      (change.kind === 'add'
        ? 'start it, replace it (`etcd-warden member replace`), or remove it first. etcd itself refuses an addition to three voters while one is down, and before 3.5.30 to any number (etcd #21640)'
        : 'start it, replace it (`etcd-warden member replace`), or remove it first'),
  });
}

/** etcd itself allows one learner, and counts members that were never started. */
export function underWayGate(sight: MembershipSight, change: Change): MemberGate[] {
  const subject = change.kind === 'add' ? undefined : change.member.id;
  const others = sight.members.filter(({ id }) => id !== subject);
  const unstarted = others.filter(({ started }) => !started);
  const learners = others.filter(({ learner, started }) => learner && started);
  // Whoever removes a voter that is down makes things better, whatever else is begun.
  const better = change.kind === 'remove' && change.member.readMs === undefined;
  const gates = [
    ...unstarted.map((member) =>
      gate('change-under-way', better ? 'warned' : 'refused', `${describe(member)} was added, but has never been started`, {
        member: labelOf(member),
        hint: `start it, or remove it: \`etcd-warden member remove ${hex(member.id)}\``,
      }),
    ),
    ...learners.map((member) =>
      gate('change-under-way', change.kind === 'add' ? 'refused' : 'warned', `${labelOf(member)} is a learner that is not promoted yet`, {
        member: labelOf(member),
        hint: `\`etcd-warden member promote ${labelOf(member)}\`, or remove it: etcd allows one learner (--max-learners in 3.6+)`,
      }),
    ),
  ];
  return gates.length === 0 ? [gate('change-under-way', 'passed', 'no other change is under way')] : gates;
}

function describe(member: SeenMember): string {
  return `${labelOf(member)} (${member.peerUrls.join(', ')})`;
}

export function corruptGate(sight: MembershipSight, change: Change): MemberGate[] {
  const corrupt = sight.alarms.filter(({ type }) => type === 'CORRUPT');
  if (corrupt.length === 0) return [gate('corrupt-alarm', 'passed', 'CORRUPT is not armed')];
  const nameOf = (id: bigint): string => {
    const member = sight.members.find((one) => one.id === id);
    return member === undefined ? hex(id) : labelOf(member);
  };
  const names = corrupt.map(({ memberId }) => (memberId === 0n ? 'nobody in particular' : nameOf(memberId))).join(', ');
  const gone = change.kind === 'remove' ? change.member : undefined;
  // To take the damaged member out is the cure.
  const cure = gone !== undefined && corrupt.every(({ memberId }) => memberId === gone.id || memberId === 0n);
  return [
    cure
      ? gate('corrupt-alarm', 'warned', `CORRUPT is armed for ${names}`)
      : gate('corrupt-alarm', 'refused', `CORRUPT is armed for ${names}: whose data is right is not known`, {
          hint: 'find out whose data is right (`etcd-warden verify`, `etcd-warden status`), then `etcd-warden member replace` the other one',
        }),
  ];
}
