/**
 * One look at the members of a cluster, with deadlines, that works without quorum: the member list (agreed upon where that is possible), the Status of every
 * address that may be asked, a linearizable read through every voter, and who answers at those addresses without belonging there.
 */
import { asError, errorDetails, WardenError, type ErrorDetails } from '../errors.ts';
import { interruption } from '../etcd/call-errors.ts';
import { credentialsOf, type Credentials } from '../etcd/credentials.ts';
import { type Endpoint, whyNotDial } from '../etcd/endpoint.ts';
import { hex } from '../etcd/ids.ts';
import { MemberClient } from '../etcd/member.ts';
import type { Alarm, ClusterAccess, ListedMember, MemberStatus } from '../etcd/types.ts';
import type { MembershipSight, SeenMember, Stray } from './types.ts';
import { labelOf } from './words.ts';

export interface LookOptions {
  readonly access: ClusterAccess;
  readonly signal: AbortSignal;
}

/**
 * @throws WardenError why nobody could be asked, by its most telling code; `cluster-ids-disagree` when the answers are of several clusters and neither number nor
 *   quorum tells which is meant; `interrupted`
 */
export async function lookAtMembers({ access, signal }: LookOptions): Promise<MembershipSight> {
  const credentials = credentialsOf(access);
  const look: Look = { access, credentials, signal, clients: new Map(), answers: new Map(), reads: new Map(), notes: [] };
  try {
    await Promise.all(credentials.endpoints.map((endpoint) => ask(look, endpoint)));
    if (signal.aborted) throw interruption(signal, `asking the members of ${access.name}`);
    await readThrough(look, statusesOf(look));
    const { clusterId, list, listed } = await chooseCluster(look);
    const fromWhom = await askAdvertised(look, list);
    const statuses = statusesOf(look).filter((status) => status.clusterId === clusterId);
    await readThrough(look, statuses);
    if (signal.aborted) throw interruption(signal, `asking the members of ${access.name}`);
    const members = list.map((member) => seen(look, member, statuses, fromWhom));
    return {
      cluster: access.name,
      clusterId,
      members,
      quorum: members.some(({ readMs }) => readMs !== undefined),
      voters: list.filter(({ learner }) => !learner).length,
      leader: leaderOf(members),
      listed,
      alarms: alarmsOf(statuses),
      strays: straysOf(look, clusterId, list, fromWhom),
      notes: look.notes,
    };
  } finally {
    for (const client of look.clients.values()) client.close();
  }
}

interface Look {
  readonly access: ClusterAccess;
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
  readonly clients: Map<string, MemberClient>;
  /** By address. */
  readonly answers: Map<string, MemberStatus | Error>;
  /** By address: milliseconds of a linearizable read through that voter, or why none went. Without quorum each costs a deadline, so nobody is asked twice. */
  readonly reads: Map<string, number | ErrorDetails>;
  readonly notes: string[];
}

function clientAt(look: Look, url: string): MemberClient {
  let client = look.clients.get(url);
  if (client === undefined) {
    client = new MemberClient(look.access, url);
    look.clients.set(url, client);
  }
  return client;
}

async function ask(look: Look, { url }: Endpoint): Promise<void> {
  if (look.answers.has(url)) return;
  const answer = await clientAt(look, url).status(look.signal).catch(asError);
  look.answers.set(url, answer);
}

/** Each member once, whichever of its addresses answered first. */
function statusesOf(look: Look): MemberStatus[] {
  const byMember = new Map<string, MemberStatus>();
  for (const answer of look.answers.values()) {
    if (answer instanceof Error) continue;
    const key = `${answer.clusterId}/${answer.memberId}`;
    if (!byMember.has(key)) byMember.set(key, answer);
  }
  return [...byMember.values()];
}

interface Chosen {
  readonly clusterId: bigint;
  readonly list: readonly ListedMember[];
  readonly listed: 'quorum' | 'memory';
}

/** The cluster of most who answer; where as many are of another one, the one that can agree on its member list. */
async function chooseCluster(look: Look): Promise<Chosen> {
  const statuses = statusesOf(look);
  if (statuses.length === 0) throw nobody(look);
  const clusters = Map.groupBy(statuses, ({ clusterId }) => clusterId);
  const most = Math.max(...[...clusters.values()].map((members) => members.length));
  const candidates = [...clusters].filter(([, members]) => members.length === most);
  const chosen = await Promise.all(
    candidates.map(async ([clusterId, members]) => ({ clusterId, ...(await memberList(look, clusterId, members)) })),
  );
  if (look.signal.aborted) throw interruption(look.signal, `asking the members of ${look.access.name}`);
  const agreed = chosen.filter(({ listed }) => listed === 'quorum');
  const [only, another] = candidates.length === 1 ? chosen : agreed;
  if (only !== undefined && another === undefined) return only;
  const who = statuses.map((status) => `${status.endpoint} of ${hex(status.clusterId)}`).join(', ');
  throw new WardenError('cluster-ids-disagree', `the endpoints of ${look.access.name} belong to different clusters: ${who}`, {
    hint: 'name with --endpoints only addresses of the cluster that is meant',
  });
}

/** Agreed upon where a majority is there; else as the leader, or whoever tells, remembers it. Learners do not tell. */
async function memberList(look: Look, clusterId: bigint, statuses: readonly MemberStatus[]): Promise<Omit<Chosen, 'clusterId'>> {
  const voters = statuses
    .filter(({ role }) => role !== 'learner')
    .toSorted((a, b) => Number(b.role === 'leader') - Number(a.role === 'leader'));
  const failures: Error[] = [];
  // 3.4 answers from its memory whatever is asked; that a majority is there the read tells.
  for (const { endpoint } of voters.filter((voter) => typeof look.reads.get(voter.endpoint) === 'number')) {
    const list = await clientAt(look, endpoint).memberList({ linearizable: true, signal: look.signal }).catch(asError);
    if (!(list instanceof Error)) return { list: list.members, listed: 'quorum' };
    failures.push(list);
  }
  for (const { endpoint } of voters) {
    const list = await clientAt(look, endpoint).memberList({ signal: look.signal }).catch(asError);
    if (!(list instanceof Error)) return { list: list.members, listed: 'memory' };
    failures.push(list);
  }
  if (voters.length === 0) look.notes.push(`only learners of cluster ${hex(clusterId)} answer: they do not tell who the other members are`);
  else look.notes.push(`nobody tells the member list: ${[...new Set(failures.map(({ message }) => message))].join('; ')}`);
  return { list: statuses.map(listedFromStatus), listed: 'memory' };
}

function listedFromStatus({ memberId, endpoint, role }: MemberStatus): ListedMember {
  return { id: memberId, name: hex(memberId), peerUrls: [], clientUrls: [endpoint], learner: role === 'learner' };
}

/** Asks at every advertised address that may be dialled. @returns who advertises which address */
async function askAdvertised(look: Look, list: readonly ListedMember[]): Promise<ReadonlyMap<string, ListedMember>> {
  const fromWhom = new Map<string, ListedMember>();
  const wanted: Endpoint[] = [];
  for (const member of list) {
    for (const url of member.clientUrls) {
      try {
        const endpoint = look.credentials.parse(url);
        fromWhom.set(endpoint.url, member);
        if (look.answers.has(endpoint.url)) continue;
        const reason = look.access.discover
          ? whyNotDial(endpoint, look.credentials.endpoints)
          : 'only the configured endpoints are asked (discover: false)';
        if (reason === undefined) wanted.push(endpoint);
        else look.notes.push(`${url}, which ${labelOf(member)} advertises, is not asked: ${reason}`);
      } catch (error) {
        look.notes.push(`${url}, which ${labelOf(member)} advertises, is not asked: ${asError(error).message}`);
      }
    }
  }
  await Promise.all(wanted.map((endpoint) => ask(look, endpoint)));
  return fromWhom;
}

/** Through every voter among these that was not asked yet. */
async function readThrough(look: Look, statuses: readonly MemberStatus[]): Promise<void> {
  const voters = statuses.filter(({ role, endpoint }) => role !== 'learner' && !look.reads.has(endpoint));
  await Promise.all(
    voters.map(async ({ endpoint }) => {
      look.reads.set(endpoint, await clientAt(look, endpoint).linearizableRead(look.signal).catch(errorDetails));
    }),
  );
}

function seen(
  look: Look,
  member: ListedMember,
  statuses: readonly MemberStatus[],
  fromWhom: ReadonlyMap<string, ListedMember>,
): SeenMember {
  const found = statuses.find(({ memberId }) => memberId === member.id);
  const status = found === undefined ? undefined : { ...found, name: member.name };
  const read = found === undefined ? undefined : look.reads.get(found.endpoint);
  const most = statuses.reduce((index, { raftIndex }) => (raftIndex > index ? raftIndex : index), 0n);
  const behind = status === undefined ? undefined : most - status.raftAppliedIndex;
  return {
    ...member,
    started: member.name !== '' || status !== undefined,
    reachable: status !== undefined,
    status,
    endpoint: status?.endpoint,
    error: status === undefined ? whySilent(look, member, fromWhom) : typeof read === 'object' ? read : undefined,
    readMs: typeof read === 'number' ? read : undefined,
    lag: behind === undefined ? undefined : behind > 0n ? behind : 0n,
  };
}

function whySilent(look: Look, member: ListedMember, fromWhom: ReadonlyMap<string, ListedMember>): ErrorDetails {
  if (member.name === '') return { code: 'unreachable', message: 'it was added, but has never been started' };
  for (const [url, owner] of fromWhom) {
    const answer = look.answers.get(url);
    if (owner === member && answer instanceof Error) return errorDetails(answer);
  }
  const elsewhere = [...fromWhom].find(([url, owner]) => owner === member && look.answers.has(url))?.[0];
  if (elsewhere !== undefined) return { code: 'unreachable', message: `somebody else answers at ${elsewhere}` };
  return {
    code: 'unreachable',
    message: 'none of the addresses that it advertises can be asked from here',
    hint: 'name its client address with --endpoints, beside those of the others',
  };
}

/** As most voters who take part in the quorum say; without any, as the voters say. A learner goes on naming one that is long dead. */
function leaderOf(members: readonly SeenMember[]): bigint | undefined {
  const voters = members.filter(({ learner }) => !learner);
  const telling = voters.some(({ readMs }) => readMs !== undefined) ? voters.filter(({ readMs }) => readMs !== undefined) : voters;
  const named = telling.flatMap(({ status }) => (status === undefined || status.leader === 0n ? [] : [status.leader]));
  const counts = [...Map.groupBy(named, (id) => id)].toSorted(([, a], [, b]) => b.length - a.length);
  return counts[0]?.[0];
}

function alarmsOf(statuses: readonly MemberStatus[]): Alarm[] {
  const all = statuses.flatMap(({ alarms }) => alarms);
  return [...new Map(all.map((alarm) => [`${alarm.type} ${alarm.memberId}`, alarm])).values()];
}

function straysOf(look: Look, clusterId: bigint, list: readonly ListedMember[], fromWhom: ReadonlyMap<string, ListedMember>): Stray[] {
  return [...look.answers].flatMap(([endpoint, answer]) => {
    if (answer instanceof Error) return [];
    const removed = answer.clusterId === clusterId;
    if (removed && list.some(({ id }) => id === answer.memberId)) return [];
    const owner = fromWhom.get(endpoint);
    return [
      {
        endpoint,
        clusterId: answer.clusterId,
        memberId: answer.memberId,
        version: answer.version,
        advertisedBy: owner === undefined ? undefined : labelOf(owner),
        removed,
      },
    ];
  });
}

/** The reason that says most: "connection refused" beside "permission denied" says nothing. */
function nobody({ access, answers }: Look): WardenError {
  const errors = [...answers.values()].flatMap((answer) => (answer instanceof WardenError ? [answer] : []));
  const order = ['permission-denied', 'login-failed', 'login-needs-quorum', 'config-invalid', 'tls-failed', 'timeout', 'unreachable'];
  const rank = ({ code }: WardenError): number => (order.includes(code) ? order.indexOf(code) : order.length);
  const [telling] = errors.toSorted((a, b) => rank(a) - rank(b));
  if (telling === undefined) return new WardenError('unreachable', `no endpoint of ${access.name} answers`);
  const sentences = [...new Set(errors.map(({ message }) => message))];
  return new WardenError(telling.code, `no member of ${access.name} can be asked: ${sentences.join('; ')}`, {
    hint: telling.hint ?? (telling.code === 'unreachable' ? 'name the members with --endpoints (or ETCDCTL_ENDPOINTS)' : undefined),
    cause: telling,
  });
}
