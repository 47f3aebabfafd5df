/**
 * One round of asking everybody: the configured endpoints first, then whoever the member list adds. Works without quorum, since Status and
 * the member list from memory are local reads. A dead member costs one deadline and is reported once, not once per address.
 */
import { asError } from '../errors.ts';
import { silentLogger, type Logger } from '../telemetry/logger.ts';
import { interruption } from './call-errors.ts';
import { type Credentials, credentialsOf } from './credentials.ts';
import { type Endpoint, whyNotDial } from './endpoint.ts';
import { hex } from './ids.ts';
import { clusterOfMost, nobodyAnswers } from './majority.ts';
import { MemberClient } from './member.ts';
import type { ClusterAccess, ClusterView, ListedMember, MemberStatus, MemberView } from './types.ts';

export interface ObserveOptions {
  readonly signal?: AbortSignal | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * @throws WardenError the most telling reason when nobody answers; `cluster-ids-disagree` when the answers are of several clusters and none of
 *   these has a majority; `interrupted`.
 */
export async function observeCluster(access: ClusterAccess, options: ObserveOptions = {}): Promise<ClusterView> {
  const credentials = credentialsOf(access);
  const round: Round = { access, credentials, signal: options.signal, clients: new Map(), notes: [] };
  try {
    const configured = await askAll(round, credentials.endpoints);
    if (options.signal?.aborted) throw interruption(options.signal, `asking the members of ${access.name}`);
    const answers = statusesOf(configured);
    if (answers.length === 0) {
      const failures = configured.flatMap((view) => (view.reachable ? [] : [view.error]));
      throw nobodyAnswers(access.name, failures);
    }
    const clusterId = clusterOfMost(access.name, answers);
    const listed = await memberList(round, configured, clusterId);
    const found = access.discover && listed !== undefined ? await discover(round, configured, listed, clusterId) : [];
    const members = named(onePerMember([...configured, ...found], listed ?? []), listed ?? []);
    for (const member of members) {
      if (member.reachable && member.status.clusterId !== clusterId) {
        round.notes.push(
          `${member.endpoint} is left out: it belongs to cluster ${hex(member.status.clusterId)}, most belong to ${hex(clusterId)}`,
        );
      }
      if (!member.reachable)
        round.notes.push(`${member.name === undefined ? '' : `${member.name} `}does not answer: ${member.error.message}`.trim());
    }
    const view: ClusterView = { clusterId, members, listed, quorum: someoneLed(members, clusterId), notes: round.notes };
    (options.logger ?? silentLogger).debug(
      { cluster: access.name, members: members.length, quorum: view.quorum, notes: view.notes },
      'members asked',
    );
    return view;
  } finally {
    for (const client of round.clients.values()) client.close();
  }
}

interface Round {
  readonly access: ClusterAccess;
  readonly credentials: Credentials;
  readonly signal: AbortSignal | undefined;
  readonly clients: Map<string, MemberClient>;
  readonly notes: string[];
}

function clientOf(round: Round, url: string): MemberClient {
  let client = round.clients.get(url);
  if (client === undefined) {
    client = new MemberClient(round.access, url);
    round.clients.set(url, client);
  }
  return client;
}

function askAll(round: Round, endpoints: readonly Endpoint[]): Promise<MemberView[]> {
  return Promise.all(endpoints.map((endpoint) => ask(round, endpoint)));
}

async function ask(round: Round, { url }: Endpoint): Promise<MemberView> {
  try {
    return { reachable: true, endpoint: url, status: await clientOf(round, url).status(round.signal) };
  } catch (error) {
    return { reachable: false, endpoint: url, name: undefined, error: asError(error) };
  }
}

/** From the first voter that gives it: learners refuse, and so may a member that just died. */
async function memberList(round: Round, views: readonly MemberView[], clusterId: bigint): Promise<readonly ListedMember[] | undefined> {
  const voters = statusesOf(views).filter((status) => status.clusterId === clusterId && status.role !== 'learner');
  // The leader's list is the newest.
  const inOrder = voters.sort((a, b) => Number(b.role === 'leader') - Number(a.role === 'leader'));
  const failures: string[] = [];
  for (const voter of inOrder) {
    try {
      return (await clientOf(round, voter.endpoint).memberList({ signal: round.signal })).members;
    } catch (error) {
      if (round.signal?.aborted) throw interruption(round.signal, `asking the members of ${round.access.name}`);
      failures.push(asError(error).message);
    }
  }
  round.notes.push(
    failures.length === 0
      ? 'only learners answer: they do not tell the other members'
      : `the member list was not to be had: ${failures.join('; ')}`,
  );
  return undefined;
}

/** Asks the members that no configured endpoint reached, at the addresses that may be dialled. */
async function discover(
  round: Round,
  configured: readonly MemberView[],
  listed: readonly ListedMember[],
  clusterId: bigint,
): Promise<MemberView[]> {
  const reached = new Set(statusesOf(configured).map((status) => status.memberId));
  const tried = new Set(configured.map((view) => view.endpoint));
  const views = await Promise.all(
    listed.filter((member) => !reached.has(member.id)).map((member) => discoverMember(round, member, tried, clusterId)),
  );
  return views.flat();
}

async function discoverMember(round: Round, member: ListedMember, tried: ReadonlySet<string>, clusterId: bigint): Promise<MemberView[]> {
  const views: MemberView[] = [];
  for (const url of member.clientUrls) {
    const endpoint = usable(round, member, url);
    if (endpoint === undefined || tried.has(endpoint.url)) continue;
    const view = await ask(round, endpoint);
    // An advertised address that leads to somebody else (localhost on the wrong machine, a load balancer) names no member.
    if (view.reachable && (view.status.memberId !== member.id || view.status.clusterId !== clusterId)) {
      round.notes.push(`${endpoint.url}, which ${label(member)} advertises, is ignored: another member answers there`);
      continue;
    }
    views.push(view.reachable ? view : { ...view, name: member.name || undefined });
    if (view.reachable) break;
  }
  // One entry, whichever of its addresses failed.
  const answered = views.find((view) => view.reachable);
  return answered === undefined ? views.slice(0, 1) : [answered];
}

function usable(round: Round, member: ListedMember, url: string): Endpoint | undefined {
  let reason: string | undefined;
  try {
    const endpoint = round.credentials.parse(url);
    reason = whyNotDial(endpoint, round.credentials.endpoints);
    if (reason === undefined) return endpoint;
  } catch (error) {
    reason = asError(error).message;
  }
  round.notes.push(`${url}, which ${label(member)} advertises, is ignored: ${reason}`);
  return undefined;
}

/** The first answer of each member; of dead ones the first address, when the list tells which addresses are one member's. */
function onePerMember(views: readonly MemberView[], listed: readonly ListedMember[]): MemberView[] {
  const seen = new Set<bigint | string>();
  const answered = new Set(statusesOf(views).map((status) => status.memberId));
  return views.filter((view) => {
    const member = listed.find((one) => one.clientUrls.some((url) => sameAddress(url, view.endpoint)));
    const key = view.reachable ? view.status.memberId : (member?.id ?? view.endpoint);
    if (seen.has(key) || (!view.reachable && typeof key === 'bigint' && answered.has(key))) return false;
    seen.add(key);
    return true;
  });
}

function named(views: readonly MemberView[], listed: readonly ListedMember[]): MemberView[] {
  return views.map((view): MemberView => {
    if (!view.reachable) {
      const member = listed.find((one) => one.clientUrls.some((url) => sameAddress(url, view.endpoint)));
      return { ...view, name: view.name ?? (member?.name || undefined) };
    }
    const name = listed.find((one) => one.id === view.status.memberId)?.name ?? '';
    return { ...view, status: { ...view.status, name } };
  });
}

function sameAddress(advertised: string, endpoint: string): boolean {
  return advertised.replace(/\/$/, '') === endpoint;
}

/**
 * A follower forgets its leader after an election timeout without heartbeats, a leader steps down without followers: so any leader that a voter
 * names counts. A learner never stands for election (raft.go, tickElection), so it goes on naming one that is long dead.
 */
function someoneLed(views: readonly MemberView[], clusterId: bigint): boolean {
  return statusesOf(views).some((status) => status.clusterId === clusterId && status.role !== 'learner' && status.leader !== 0n);
}

function statusesOf(views: readonly MemberView[]): MemberStatus[] {
  return views.flatMap((view) => (view.reachable ? [view.status] : []));
}

function label(member: ListedMember): string {
  return member.name === '' ? `member ${hex(member.id)}` : member.name;
}
