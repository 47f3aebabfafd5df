/** Gates about how the members are, and what runs on them that is not ours. */
import { checkOf, passed, refused, type Check, type Purpose } from './check.ts';
import type { MemberGauges, MemberState } from './types.ts';
import { lagOf, type View } from './view.ts';
import { namesOf } from './words.ts';

/** What the members' gauges tell of others' work. */
export function maintenanceReads(purpose: Purpose, view: View): readonly Check[] {
  const inflight = fromGauges(view, {
    rule: 'defrag-inflight',
    known: ({ defragInflight }) => defragInflight !== undefined,
    hit: ({ defragInflight }) => defragInflight === true,
    refusal: (names) => `${names} is being defragmented already`,
    pass: 'no member is being defragmented',
    hint: 'nothing can end a defragmentation but its own end',
  });
  if (purpose === 'disarm' || purpose === 'orphans') return inflight;
  // Freed pages cannot be used again while a snapshot is read, but that is all: history may go meanwhile (H6).
  const streams = fromGauges(view, {
    rule: 'foreign-snapshot',
    known: ({ snapshotStreams }) => snapshotStreams !== undefined,
    hit: ({ snapshotStreams }) => (snapshotStreams ?? 0) > 0,
    refusal: (names) => `somebody streams a snapshot from ${names}, which a defragmentation would have to wait for, frozen`,
    pass: 'nobody streams a snapshot',
    hint: 'wait for its end, or find out who it is: a stream that nobody reads keeps its member from giving anything back',
  });
  const hashes = fromGauges(view, {
    rule: 'foreign-hash',
    known: ({ hashCalls }) => hashCalls !== undefined,
    hit: ({ hashCalls }) => (hashCalls ?? 0) > 0,
    refusal: (names) =>
      `somebody asks ${names} for the hash of its data, and it applies nothing meanwhile: that is one member away already`,
    pass: 'no member is asked for its hash',
    hint: 'it is over soon; when it is always so, find out who asks so often',
  });
  if (purpose === 'compaction') return [...inflight, ...[...streams, ...hashes].map(warnedInstead)];
  return [...inflight, ...streams.map((check) => seenWithoutLock(check, view)), ...hashes];
}

/**
 * A backup goes on without the lock where none can be had, so nothing but the metrics tells of it. The elected daemon knows of its own at least; whoever is not
 * elected must see that there is none (H25).
 */
function seenWithoutLock(check: Check, { state: { lock }, noSpace, wish }: View): Check {
  if (check.verdict !== 'unchecked' || lock.state !== 'without' || lock.elected || noSpace.length === 0) return check;
  const message = `${check.message}; no lock keeps snapshots away while NOSPACE is armed, and nobody is elected`;
  if (wish.kind === 'defrag' && wish.yes) return checkOf(check.rule, 'overridden', `${message}; a yes goes over it`);
  return refused(check.rule, message, {
    hint: 'say where the metrics are (`maintenance.metricsUrl`), or make sure that nobody takes a snapshot and `etcd-warden defrag --all --yes`',
  });
}

interface GaugeGate {
  readonly rule: Check['rule'];
  readonly known: (gauges: MemberGauges) => boolean;
  readonly hit: (gauges: MemberGauges) => boolean;
  readonly refusal: (names: string) => string;
  readonly pass: string;
  readonly hint: string;
}

function fromGauges({ members }: View, { rule, known, hit, refusal, pass, hint }: GaugeGate): readonly Check[] {
  const reachable = members.filter((member) => member.reachable);
  // A member that is being defragmented answers nothing else, so that it seems to be down; its metrics are told all the same.
  const hits = members.filter(({ gauges }) => gauges !== undefined && hit(gauges));
  if (hits.length > 0) return hits.map((member) => refused(rule, refusal(member.name), { member: member.name, hint }));
  const blind = reachable.filter(({ gauges }) => gauges === undefined || !known(gauges));
  if (blind.length === 0) return [passed(rule, pass)];
  const error = blind.find(({ gaugesError }) => gaugesError !== undefined)?.gaugesError;
  return [checkOf(rule, 'unchecked', `could not be checked on ${namesOf(blind)}: ${error ?? 'their metrics do not tell'}`)];
}

/** Whether there is a leader, and whether everybody is up, quick and up to date. */
export function memberGates(purpose: Purpose, view: View): readonly Check[] {
  const always = [...leader(view), ...down(purpose, view)];
  if (purpose === 'disarm' || purpose === 'orphans') return always;
  const health = [...each(view, slow), ...each(view, lagging)];
  // A compaction is an entry of the log like any other: who is behind does it later.
  if (purpose === 'compaction') return [...always, ...health.map(warnedInstead)];
  return [...always, ...health, ...learners(view), ...raftSnapshot(view)];
}

function leader(view: View): readonly Check[] {
  const { up } = view;
  const named = [...new Set(up.map((member) => member.leader))].sort();
  if (named.every((id) => id === '')) {
    const message = up.length === 0 ? 'no voter answers' : 'no voter knows a leader';
    return [refused('no-quorum', message, { hint: 'start enough members for a majority first' })];
  }
  const terms = [...new Set(up.map(({ raftTerm }) => String(raftTerm)))].sort();
  if (view.leader === undefined || terms.length > 1) {
    const nameOf = (id: string): string => view.members.find((member) => member.id === id)?.name ?? (id === '' ? 'nobody' : id);
    const message = `voters name ${named.map(nameOf).join(', ')} as leader, in term ${terms.join(', ')}`;
    return [passed('no-quorum', 'there is a leader'), refused('leader-unclear', message, { hint: 'wait for the election to end' })];
  }
  return [
    passed('no-quorum', 'there is a leader'),
    passed('leader-unclear', `every voter names ${view.leader.name}, in term ${terms[0]!}`),
  ];
}

function down(purpose: Purpose, { down: silent, noSpace, degraded }: View): readonly Check[] {
  if (silent.length === 0) return [passed('member-down', 'every voter answers')];
  return silent.map((member) => {
    const message = `${member.name} does not answer: ${member.error ?? 'nobody knows why'}`;
    if (purpose === 'compaction' || purpose === 'orphans') return checkOf('member-down', 'warned', message, { member: member.name });
    if (degraded && mayBeFrozen(member)) {
      return refused('member-down', `${message}; it takes connections, so it may be frozen and not dead, and two at once never are`, {
        member: member.name,
        hint: 'wait until it answers, or stop its process; with metrics that can be read (`maintenance.metricsUrl`) it is known which',
      });
    }
    if (degraded) {
      const unknown = purpose === 'disarm' ? '; how full it is cannot be known, and it may arm NOSPACE again when it comes back' : '';
      return checkOf('member-down', 'overridden', `${message}; --degraded was given${unknown}`, { member: member.name });
    }
    return refused('member-down', message, {
      member: member.name,
      hint: noSpace.length > 0 ? waysOut(member) : `start it, or replace it: \`etcd-warden member replace ${member.name}\``,
    });
  });
}

/** Whoever asked for its defragmentation may be gone since. Only its metrics tell a member that is frozen from one that hangs for good. */
function mayBeFrozen({ silent, gauges }: MemberState): boolean {
  return silent && gauges?.defragInflight !== false;
}

/** H26: what a person may do that no program may decide. */
function waysOut({ name }: MemberState): string {
  return (
    `start it again; or take one of the two ways out: replace it (\`etcd-warden member replace ${name}\`), after which the cure goes on; ` +
    'or defragment the others although a frozen one then takes the majority away: `etcd-warden defrag --all --yes --degraded`'
  );
}

type MemberGate = (member: MemberState, view: View) => Check;

/** One gate for each voter that answers: those that refuse, or one that passed. */
function each(view: View, gate: MemberGate): readonly Check[] {
  const checks = view.up.map((member) => gate(member, view));
  const refusals = checks.filter(({ verdict }) => verdict === 'refused');
  return refusals.length > 0 ? refusals : checks.slice(0, 1).map(({ rule, message }) => passed(rule, message));
}

function slow(member: MemberState): Check {
  if (member.readMs !== undefined) return passed('member-slow', 'every voter that is up answers a linearizable read');
  return refused('member-slow', `${member.name} does not answer a linearizable read: ${member.error ?? 'no answer in time'}`, {
    member: member.name,
    hint: 'it may be frozen, starting, or cut off from the others: look at it first',
  });
}

function lagging(member: MemberState, view: View): Check {
  const lag = lagOf(member, view);
  if (lag <= view.policy.maxLag) return passed('member-lagging', `no voter is more than ${view.policy.maxLag} entries behind`);
  return refused('member-lagging', `${member.name} is ${lag} raft entries behind, more than ${view.policy.maxLag}`, {
    member: member.name,
    hint: 'wait until it has caught up',
  });
}

function learners(view: View): readonly Check[] {
  const behind = view.members.filter((member) => !member.voter && (!member.reachable || lagOf(member, view) > view.policy.maxLag));
  if (behind.length === 0) return [passed('learner-catching-up', 'no learner is catching up')];
  return behind.map((member) => {
    const message = member.reachable
      ? `the learner ${member.name} is ${lagOf(member, view)} raft entries behind`
      : `the learner ${member.name} does not answer`;
    return refused('learner-catching-up', message, {
      member: member.name,
      hint: 'wait until it has caught up, then promote it; or remove it',
    });
  });
}

function raftSnapshot(view: View): readonly Check[] {
  return fromGauges(view, {
    rule: 'raft-snapshot',
    known: ({ raftSnapshotInflight }) => raftSnapshotInflight !== undefined,
    hit: ({ raftSnapshotInflight }) => raftSnapshotInflight === true,
    refusal: (names) => `a database is being sent from, or applied on, ${names}`,
    pass: 'no database is being sent from member to member',
    hint: 'wait until the member that is caught up has it',
  });
}

function warnedInstead(check: Check): Check {
  return check.verdict === 'refused' ? { ...check, verdict: 'warned' } : check;
}
