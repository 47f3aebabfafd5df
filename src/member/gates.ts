/**
 * What must hold before the membership of a cluster is changed, each with a verdict. etcd's own checks (strict reconfiguration) count members that are connected
 * to the one that is asked; these count voters through which a read was just agreed upon, before the change and after it, and allow one change at a time. Pure.
 */
import { hex } from '../etcd/ids.ts';
import { corruptGate, downGate, quorumAfterGate, quorumGate, underWayGate } from './gates-quorum.ts';
import { joiningFor } from './replace/versions.ts';
import type { MemberGate, MembershipSight, SeenMember } from './types.ts';
import { gate, healthyOf, labelOf, leaves, majority, PROMOTABLE_LAG, votersOf, type Change } from './words.ts';

/** Every rule that concerns the change, in the order in which people should read them. */
export function gatesFor(sight: MembershipSight, change: Change): MemberGate[] {
  return [
    quorumGate(sight),
    ...quorumAfterGate(sight, change),
    downGate(sight, change),
    ...underWayGate(sight, change),
    ...corruptGate(sight, change),
    ...(change.kind === 'add' ? addGates(sight, change) : []),
    ...(change.kind === 'remove' ? removeGates(sight, change.member) : []),
    ...(change.kind === 'promote' ? promoteGates(change.member) : []),
    ...(change.kind === 'remove' ? [] : joiningGates(sight, change)),
    ...evenGate(sight, change),
  ];
}

export function refusedBy(gates: readonly MemberGate[]): MemberGate[] {
  return gates.filter(({ verdict }) => verdict === 'refused');
}

function addGates(sight: MembershipSight, change: Extract<Change, { kind: 'add' }>): MemberGate[] {
  const { name, peerUrls, busy } = change;
  const namesake = sight.members.find((member) => member.name === name);
  const owners = sight.members.filter((member) => member.peerUrls.some((url) => peerUrls.includes(url)));
  const strangers = busy.filter(({ url }) => !owners.some((owner) => owner.peerUrls.includes(url)));
  const others = new Set(sight.members.flatMap((member) => member.peerUrls.map(schemeOf)));
  const odd = peerUrls.filter((url) => others.size > 0 && !others.has(schemeOf(url)));
  return [
    namesake === undefined
      ? gate('name-taken', 'passed', `no member is named ${name}`)
      : gate('name-taken', 'refused', `${name} is a member already (${hex(namesake.id)}, ${namesake.peerUrls.join(', ')})`, {
          member: name,
          hint: 'give the new one another name; to bring this one back, `etcd-warden member replace`',
        }),
    ...(owners.length === 0
      ? [gate('peer-url-taken', 'passed', `nobody has the peer URL ${peerUrls.join(', ')}`)]
      : owners.map((owner) =>
          gate('peer-url-taken', 'refused', `${labelOf(owner)} has the peer URL ${owner.peerUrls.join(', ')}`, {
            member: labelOf(owner),
            hint: 'remove that member first when it is gone, by its id; to bring it back, `etcd-warden member replace`',
          }),
        )),
    // What runs at the address of a member is that member, most likely.
    ...strangers.map(({ url, clusterId }) =>
      gate(
        'peer-url-busy',
        'refused',
        clusterId === undefined
          ? `somebody takes connections at ${url} already`
          : clusterId === sight.clusterId
            ? `at ${url} an etcd of this very cluster runs, which is not (or no longer) in its member list`
            : `at ${url} an etcd of another cluster runs (${hex(clusterId)})`,
        { hint: 'stop it and move its data directory away first: with old data it can never join' },
      ),
    ),
    ...(strangers.length === 0 && owners.length === 0 ? [gate('peer-url-busy', 'passed', 'nothing runs at the peer URL')] : []),
    ...odd.map((url) =>
      gate('peer-url-scheme', 'warned', `${url} is ${schemeOf(url)}, the other members use ${[...others].join(' and ')}`),
    ),
    ...managedGate(sight),
  ];
}

/** RKE2 and k3s name their members after the host and eight hex digits, and add and remove them by themselves. */
function managedGate({ members }: MembershipSight): MemberGate[] {
  const named = members.filter(({ started }) => started);
  if (named.length === 0 || !named.every(({ name }) => /-[0-9a-f]{8}$/.test(name))) return [];
  return [
    gate('managed', 'warned', `the members are named as RKE2 and k3s do (${named[0]!.name}), which add and remove members themselves`, {
      hint: 'there, join a server node instead: it adds its member by itself',
    }),
  ];
}

function removeGates(sight: MembershipSight, member: SeenMember): MemberGate[] {
  const old = sight.members.filter(({ status }) => /^3\.5\.([0-9]|1[0-9]|2[0-5])\b/.test(status?.version ?? ''));
  return [
    ...(sight.leader === member.id
      ? [gate('leader-leaves', 'warned', `${labelOf(member)} leads: it hands over first`, { member: labelOf(member) })]
      : [gate('leader-leaves', 'passed', `${labelOf(member)} does not lead`, { member: labelOf(member) })]),
    ...(old.length === 0
      ? []
      : [
          gate(
            'version-hazard',
            'warned',
            `${old.map(labelOf).join(', ')}: etcd ${old[0]!.status!.version} may bring removed members back when it is upgraded to 3.6 (etcd #20967)`,
            { hint: 'upgrade to 3.5.26 or later before 3.6' },
          ),
        ]),
  ];
}

function promoteGates(member: SeenMember): MemberGate[] {
  const name = labelOf(member);
  const about = { member: name };
  if (!member.learner) {
    return [gate('not-learner', 'refused', `${name} is a voter already`, { ...about, hint: 'there is nothing to promote' })];
  }
  if (!member.started || !member.reachable) {
    const message = member.started ? `${name} does not answer: ${member.error?.message ?? ''}` : `${name} has never been started`;
    return [
      gate('not-started', 'refused', message, { ...about, hint: 'start it; a voter that does not run is a failure from its first moment' }),
    ];
  }
  const lag = member.lag ?? 0n;
  const knows = member.status?.leader !== 0n;
  return [
    gate('not-started', 'passed', `${name} runs`, about),
    lag <= PROMOTABLE_LAG && knows
      ? gate('not-caught-up', 'passed', `${name} is ${lag} raft entries behind`, about)
      : gate('not-caught-up', 'refused', knows ? `${name} is ${lag} raft entries behind` : `${name} knows no leader`, {
          ...about,
          hint: 'wait until it has caught up: `etcd-warden member list` shows how far it is',
        }),
  ];
}

/** What is known of promoted learners in these releases, and of voters that were never started. */
function joiningGates(sight: MembershipSight, change: Extract<Change, { kind: 'add' | 'promote' }>): MemberGate[] {
  if (change.kind === 'promote' && !change.member.learner) return [];
  const versions = sight.members.flatMap(({ status }) => status?.version ?? []);
  const voters = votersOf(sight).length;
  const joining = joiningFor(versions, voters);
  if (change.kind === 'promote') {
    const hazard = joining.as === 'voter' ? joining.why : joining.warning;
    return hazard === undefined ? [] : [gate('version-hazard', 'warned', hazard)];
  }
  if (change.learner) {
    const safe = gate('voter-untried', 'passed', `${change.name} counts for no majority before it has caught up`);
    if (joining.as === 'voter')
      return [safe, gate('version-hazard', 'refused', joining.why, { hint: 'upgrade first, or add it as a voter at once: --voter' })];
    return joining.warning === undefined ? [safe] : [safe, gate('version-hazard', 'warned', joining.warning)];
  }
  const needed = majority(voters + 1);
  const spare = healthyOf(sight).length - needed;
  const message =
    spare < 0
      ? `from its addition until ${change.name} runs, the cluster accepts nothing, neither writes nor reads: ${needed} of ${voters + 1} voters are needed, and ${voters} ${voters === 1 ? 'is' : 'are'} there`
      : `from its addition until ${change.name} runs, ${needed} of ${voters + 1} voters are needed: ${spare === 0 ? 'none of the others may fail' : `${spare} of the others may fail`}`;
  const hint = 'without --voter it is added as a learner, which endangers nothing, and promoted when it has caught up';
  const untried = gate(
    'voter-untried',
    spare >= 0 ? 'warned' : change.forced ? 'overridden' : 'refused',
    message,
    change.forced ? { hint } : {},
  );
  return change.forced ? [untried] : [untried, gate('version-hazard', 'warned', `added as a voter at once: ${joining.why}`)];
}

function evenGate(sight: MembershipSight, change: Change): MemberGate[] {
  const now = votersOf(sight).length;
  const grows = change.kind === 'add' || (change.kind === 'promote' && change.member.learner);
  const after = leaves(change) === undefined ? (grows ? now + 1 : now) : now - 1;
  if (after === now || after === 0 || after % 2 === 1) return [];
  const bears = after - majority(after);
  return [
    gate(
      'even-voters',
      'warned',
      `${after} voters bear the failure of ${bears === 0 ? 'none' : bears}, ${after - 1} of as many: ${change.kind === 'remove' ? 'remove or add another one' : 'add another one'} soon`,
    ),
  ];
}

function schemeOf(url: string): string {
  return url.slice(0, url.indexOf(':'));
}
