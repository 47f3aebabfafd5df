/**
 * Which member to stream from. A preference, never a reason to have no backup: whoever answers and is of the right cluster is a candidate,
 * and the manifest says why it is second-rate. Pure: a view goes in, an order with reasons comes out.
 */
import { hex } from './ids.ts';
import type { Candidate, ClusterView, MemberStatus } from './types.ts';
import { knownBadData, learnerServesSnapshot } from './versions.ts';

/**
 * Raft entries behind the furthest member from which a member counts as lagging. The members are asked within one round trip of each other, so
 * thousands of writes a second must not look like a lag; etcd itself refuses writes at 5 000 between commit and apply.
 */
const LAG_ENTRIES = 1_000n;

/** A drawback: how heavily it counts, and the sentence for the manifest. Each outweighs all that are lighter. */
interface Drawback {
  readonly weight: number;
  readonly reason: string;
}

const WEIGHT = { role: 1, learner: 2, badRelease: 4, lagging: 8, leaderless: 16, corrupt: 32, cannot: 64 } as const;

/**
 * @param preference `leader`, `follower`, `learner`, or the address or name of a member
 * @returns all that answer and are of the view's cluster, in the order in which they should be tried
 */
export function chooseMembers(view: ClusterView, preference: string): Candidate[] {
  const statuses = view.members.flatMap((member) =>
    member.reachable && member.status.clusterId === view.clusterId ? [member.status] : [],
  );
  const furthest = statuses.reduce((index, status) => max(index, max(status.raftIndex, status.raftAppliedIndex)), 0n);
  const rated = statuses.map((status) => ({ status, drawbacks: drawbacksOf(status, { view, statuses, furthest, preference }) }));
  return rated
    .map((one) => ({ ...one, sum: one.drawbacks.reduce((sum, drawback) => sum + drawback.weight, 0) }))
    .sort((a, b) => a.sum - b.sum) // stable: among equals the order of the configuration counts
    .map(({ status, drawbacks }): Candidate => {
      const suspect = suspicion(status, statuses);
      return { status, secondRate: drawbacks.map((drawback) => drawback.reason), ...(suspect === undefined ? {} : { suspect }) };
    });
}

interface Surroundings {
  readonly view: ClusterView;
  readonly statuses: readonly MemberStatus[];
  readonly furthest: bigint;
  readonly preference: string;
}

function drawbacksOf(status: MemberStatus, { view, statuses, furthest, preference }: Surroundings): Drawback[] {
  const drawbacks: Drawback[] = [];
  const who = status.name || status.endpoint;
  const role = preferenceDrawback(status, preference);
  if (role !== undefined) drawbacks.push(role);
  if (status.role === 'learner' && !learnerServesSnapshot(status.version)) {
    drawbacks.push({
      weight: WEIGHT.cannot,
      reason: `${who} is a learner of etcd ${status.version}, which serves no snapshots before 3.4.28`,
    });
  }
  const lag = furthest - status.raftAppliedIndex;
  if (lag >= LAG_ENTRIES) drawbacks.push({ weight: WEIGHT.lagging, reason: `${who} lags ${lag} raft entries behind` });
  if (!view.quorum) {
    const voters = statuses.some((other) => other.role !== 'learner');
    drawbacks.push({
      weight: 0,
      reason: voters
        ? 'the cluster has no quorum: writes that only lost members had are missing'
        : 'only learners answer, which cannot tell whether the cluster has a quorum: the newest writes may be missing',
    });
  } else if (status.leader === 0n) {
    const led = statuses.find((other) => other.leader !== 0n && other.role !== 'learner');
    drawbacks.push({
      weight: WEIGHT.leaderless,
      reason: `${who} knows no leader, ${led?.name || led?.endpoint || 'another member'} does: it may be cut off`,
    });
  }
  const suspect = suspicion(status, statuses);
  if (suspect !== undefined) drawbacks.push({ weight: WEIGHT.corrupt, reason: suspect });
  else {
    const elsewhere = corruptAlarms(statuses)[0];
    // It tells that members disagree, not for certain who is right.
    if (elsewhere !== undefined) drawbacks.push({ weight: 0, reason: `the CORRUPT alarm is armed for member ${hex(elsewhere)}` });
  }
  const bad = knownBadData(status.version);
  if (bad !== undefined) drawbacks.push({ weight: WEIGHT.badRelease, reason: bad });
  return drawbacks;
}

function preferenceDrawback(status: MemberStatus, preference: string): Drawback | undefined {
  const who = status.name || status.endpoint;
  if (preference === 'leader' || preference === 'follower' || preference === 'learner') {
    if (status.role === preference) return undefined;
    // A learner may still be catching up, so a voter is the better stand-in.
    const weight = status.role === 'learner' ? WEIGHT.learner : WEIGHT.role;
    return { weight, reason: `${who} is ${article(status.role)}, not ${article(preference)}` };
  }
  if (names(status, preference)) return undefined;
  return { weight: status.role === 'leader' ? WEIGHT.role : WEIGHT.learner, reason: `${who} is not ${preference}, which was asked for` };
}

/** CORRUPT names one member, or with id 0 nobody, as 3.5.7+ and 3.4.23+ may arm it (etcd #14849): then everybody's data is in doubt. */
function suspicion(status: MemberStatus, statuses: readonly MemberStatus[]): string | undefined {
  const armed = corruptAlarms(statuses);
  if (armed.includes(status.memberId)) return `the CORRUPT alarm is armed for ${status.name || status.endpoint}`;
  return armed.includes(0n) ? 'a CORRUPT alarm is armed that names no member' : undefined;
}

function corruptAlarms(statuses: readonly MemberStatus[]): bigint[] {
  return statuses.flatMap((status) => status.alarms.flatMap((alarm) => (alarm.type === 'CORRUPT' ? [alarm.memberId] : [])));
}

/** The preference may leave out the scheme and the usual port, as the configured endpoints may. */
function names(status: MemberStatus, preference: string): boolean {
  const bare = status.endpoint.replace(/^https?:\/\//, '');
  const wanted = preference.replace(/^https?:\/\//, '').replace(/\/$/, '');
  return status.name === preference || bare === wanted || bare === `${wanted}:2379`;
}

function article(role: string): string {
  return role === 'leader' ? 'the leader' : `a ${role}`;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
