/** What must be so before a member may be taken out. Pure; each rule with its reason, as `--dry-run` shows it. */
import { hex } from '../../etcd/ids.ts';
import { startWith } from '../join.ts';
import type { MemberGate } from '../types.ts';
import { gate, majority } from '../words.ts';
import { symptomsOf, type Evidence } from './diagnose.ts';
import { faultsOf } from './manifest/start-config.ts';
import { joiningOf } from './next.ts';
import { labelOf, nameOf, subjectOf, type Subject } from './subject.ts';
import type { ClusterSight, ReplaceState, SeenMember } from './types.ts';

export interface GateOptions {
  /** Replace it although nothing is wrong with it. */
  readonly healthy: boolean;
  /** Go on although another member is broken too, as long as a majority is left. */
  readonly degraded: boolean;
  readonly evidence: Evidence;
  /** Of the cluster, as it is configured; for commands. */
  readonly clusterName: string;
}

/** All rules; the replacement may begin, or go on, when none refuses. */
export function replaceGates(state: ReplaceState, options: GateOptions): MemberGate[] {
  const subject = subjectOf(state);
  const target = subject.old ?? subject.fresh;
  const found = [...exists(state, subject), ...alone(state), quorum(state.cluster, options)];
  const others = state.cluster.members.filter((member) => member.id !== target?.id);
  return [
    ...found,
    ...place(state, subject, options.evidence),
    ...broken(subject, options),
    ...(target === undefined ? [] : corruptElsewhere(state.cluster, target, options.evidence.differing)),
    othersHealthy(others, subject, options),
    ...majorityAfter(subject, others, options),
    ...underWay(others),
    ...versions(state, subject),
    ...settings(state, subject, options.evidence),
  ];
}

function exists({ name, cluster }: ReplaceState, { old, fresh, peerUrls }: Subject): MemberGate[] {
  if (old !== undefined || fresh !== undefined || peerUrls !== undefined) return [];
  const names = cluster.members.map(labelOf).toSorted().join(', ');
  return [
    gate('unknown-member', 'refused', `the cluster has no member ${name}; it has ${names}`, {
      hint: 'when it was removed already, say where the others reach it: --peer-urls https://HOST:2380',
    }),
  ];
}

/** Run on the wrong machine it would stop a healthy member, and move its data away. */
function place(state: ReplaceState, { old, fresh }: Subject, { managed }: Evidence): MemberGate[] {
  const { data, cluster } = state;
  const name = nameOf(state);
  const hint = `run this on the machine of ${name}, or without --data-dir, --unit and --static-pod`;
  if (managed?.name !== undefined && managed.name !== name)
    return [gate('wrong-data', 'refused', `${managed.where} runs ${managed.name}, not ${name}`, { member: managed.name, hint })];
  const identity = data?.identity;
  if (data === undefined || identity?.kind !== 'known' || identity.clusterId !== cluster.clusterId) return [];
  const owner = cluster.members.find(({ id }) => id === identity.memberId);
  if (owner === undefined || owner === old || owner === fresh)
    return [gate('wrong-data', 'passed', `${data.dataDir} is not that of another member`)];
  const whose = labelOf(owner);
  return [gate('wrong-data', 'refused', `${data.dataDir} holds the data of ${whose}, not of ${name}`, { member: whose, hint })];
}

/** Two members of one name are told apart by their ids only. */
function alone({ name, cluster, note }: ReplaceState): MemberGate[] {
  const same = cluster.members.filter((member) => member.name === name);
  if (same.length < 2 || note !== undefined) return [];
  return [
    gate('name-ambiguous', 'refused', `${same.length} members are called ${name}: ${same.map(({ id }) => hex(id)).join(', ')}`, {
      hint: 'give the id of the one that is broken instead of the name',
    }),
  ];
}

function quorum({ quorum: has, members }: ClusterSight, { clusterName }: GateOptions): MemberGate {
  const voters = members.filter(({ learner }) => !learner).length;
  if (has) return gate('no-quorum', 'passed', 'a majority of the voters has a leader');
  return gate('no-quorum', 'refused', `the cluster has lost its quorum: fewer than ${majority(voters)} of ${voters} voters work together`, {
    hint: waysOut(clusterName),
  });
}

/**
 * What is left when no majority is: a program may name it, people decide. The releases are those in which etcd's own repair leaves nobody of the old
 * cluster behind (etcd #20071, #20339: members; #20896: learners; #12288: a panic with learners).
 */
export function waysOut(clusterName: string): string {
  return (
    'without a majority no member can be replaced. Start stopped members first: that loses nothing. ' +
    `Else restore the newest backup on all members: \`etcd-warden restore --latest --plan --cluster ${clusterName}\`. ` +
    'Or, when the newest writes count more than certainty, start the member with the highest raft index alone with --force-new-cluster, after all others are ' +
    'stopped for good and their data is moved away: it throws every other member off the list, writes that only the others had are lost, and a member of the ' +
    'old cluster that still runs makes it panic or splits the data in two; take the flag away again before the next start. ' +
    'Only 3.5.25, 3.6.6 and later leave no old members or learners behind (3.4 before 3.4.16 panics with a learner). Then `etcd-warden member add` the others anew'
  );
}

function broken({ old }: Subject, { healthy, evidence }: GateOptions): MemberGate[] {
  // It is gone from the list, or in its place another one comes: that was decided before.
  if (old === undefined) return [];
  const symptoms = symptomsOf(old, evidence);
  const label = labelOf(old);
  if (symptoms.length > 0 && symptoms.every(({ code }) => code === 'down')) {
    return [
      gate('not-broken', 'warned', `${label} does not answer, and nothing tells why`, {
        hint: `if its etcd or its machine is only stopped, start it instead: then it has to catch up with what it missed, and nothing is copied`,
      }),
    ];
  }
  if (symptoms.length > 0)
    return [gate('not-broken', 'passed', `${label} is broken: ${symptoms.map(({ message }) => message).join('; ')}`)];
  if (healthy) return [gate('not-broken', 'overridden', `nothing is wrong with ${label}; --healthy was given`)];
  return [
    gate('not-broken', 'refused', `nothing is wrong with ${label}: it answers, keeps up with the others, and no alarm names it`, {
      hint: 'to give it a new disk or data directory all the same, add --healthy: the cluster tolerates one failure less until it is back',
    }),
  ];
}

/** It would come back with a copy of data that etcd itself calls wrong. */
function corruptElsewhere({ alarms, members }: ClusterSight, target: SeenMember, differing: readonly bigint[] | undefined): MemberGate[] {
  const named = alarms.filter(({ type, memberId }) => type === 'CORRUPT' && memberId !== 0n && memberId !== target.id);
  // Where hashes tell, they know better than an alarm that somebody may have armed by hand.
  const wrong = differing ?? named.map(({ memberId }) => memberId);
  const listed = members.filter(({ id }) => id !== target.id && wrong.includes(id));
  const nobody = alarms.some(({ type, memberId }) => type === 'CORRUPT' && memberId === 0n);
  return [
    ...(listed.length === 0
      ? []
      : [
          gate('corrupt-elsewhere', 'refused', `CORRUPT is armed, and the data of ${listed.map(labelOf).join(', ')} is in doubt`, {
            hint: `replace ${labelOf(listed[0]!)} instead: whoever comes back now would copy from it`,
          }),
        ]),
    ...(nobody
      ? [
          gate(
            'corrupt-alarm',
            'warned',
            'CORRUPT is armed for nobody by name, as etcd 3.4.23+ and 3.5.7+ may do; the hashes of the members tell who differs',
          ),
        ]
      : []),
  ];
}

function othersHealthy(others: readonly SeenMember[], { fresh }: Subject, { degraded, clusterName }: GateOptions): MemberGate {
  const bad = others.filter(
    (member) => member.started && member.id !== fresh?.id && (member.learner ? !member.reachable : !member.answers),
  );
  if (bad.length === 0) return gate('member-down', 'passed', 'every other member answers');
  const message = `${bad.map((member) => `${labelOf(member)} (${member.error ?? 'no answer'})`).join(', ')} ${bad.length === 1 ? 'is' : 'are'} broken too`;
  if (degraded) return gate('member-down', 'overridden', `${message}; --degraded was given`);
  const voters = others.filter(({ learner }) => !learner);
  const left = voters.filter(({ answers }) => answers).length;
  return gate('member-down', 'refused', message, {
    hint:
      left >= majority(voters.length)
        ? 'start what is only stopped; or add --degraded to replace one after the other: a majority is left, and no further failure is tolerated meanwhile'
        : waysOut(clusterName),
  });
}

/** Strict reconfiguration looks at who was ever started; this looks at who works now. */
function majorityAfter({ old }: Subject, others: readonly SeenMember[], { clusterName }: GateOptions): MemberGate[] {
  if (old === undefined || old.learner) return [];
  const voters = others.filter(({ learner }) => !learner);
  const working = voters.filter(({ answers }) => answers).length;
  if (voters.length === 0) {
    return [
      gate('quorum-after', 'refused', `${labelOf(old)} is the only voter: there is nobody it could copy from`, {
        hint: `restore it: \`etcd-warden restore --latest --plan --cluster ${clusterName}\`; or \`etcd-warden member add\` another one first, if it still answers`,
      }),
    ];
  }
  const needed = majority(voters.length);
  const message = `without it ${working} of ${voters.length} voters work, and ${needed} are needed`;
  return [
    working >= needed ? gate('quorum-after', 'passed', message) : gate('quorum-after', 'refused', message, { hint: waysOut(clusterName) }),
  ];
}

/** One change at a time. */
function underWay(others: readonly SeenMember[]): MemberGate[] {
  const pending = others.filter((member) => !member.started || member.learner);
  if (pending.length === 0) return [gate('change-under-way', 'passed', 'no other member is being added')];
  return pending.map((member) =>
    gate(
      'change-under-way',
      'refused',
      member.started
        ? `${labelOf(member)} is a learner: it is being added`
        : `${hex(member.id)} at ${member.peerUrls.join(', ')} was added and has not started`,
      {
        hint: member.started
          ? `\`etcd-warden member promote ${labelOf(member)}\` or \`etcd-warden member remove ${labelOf(member)}\` first`
          : `start it, or \`etcd-warden member remove ${hex(member.id)}\`; when it is the one that is being replaced, say so with --peer-urls ${member.peerUrls.join(',')}`,
      },
    ),
  );
}

function versions(state: ReplaceState, subject: Subject): MemberGate[] {
  if (subject.fresh !== undefined) return [];
  const { as, why, warning } = joiningOf(state, subject);
  const message = `it comes back as a ${as}: ${why}`;
  return [warning === undefined ? gate('version-hazard', 'passed', message) : gate('version-hazard', 'warned', `${message}; ${warning}`)];
}

/** What only its operator changes is told before anything is removed, not when the member is missing already. */
function settings(state: ReplaceState, { old, fresh, peerUrls }: Subject, { managed }: Evidence): MemberGate[] {
  if (managed === undefined || peerUrls === undefined) return [];
  const name = nameOf(state);
  const others = state.cluster.members.filter((member) => member !== old && member !== fresh);
  const members = [...others, { id: 0n, name, peerUrls, clientUrls: [], learner: false }];
  const { initialCluster } = startWith(name, 0n, members);
  const faults = faultsOf({ ...managed, initialClusterState: 'existing' }, { name, initialCluster });
  if (faults.length === 0) return [gate('start-settings', 'passed', `${managed.where} lists the members as they are`)];
  return faults.map((fault) =>
    gate('start-settings', 'warned', fault, {
      hint: `change it by hand: ${name} is not started before; etcd-warden changes initial-cluster-state alone`,
    }),
  );
}
