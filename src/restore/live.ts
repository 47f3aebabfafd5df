/**
 * Who answers where the new cluster is to be. A restore beside a cluster that works is nearly always a mistake: what one member needs then is
 * `member replace`, and two clusters on the same addresses are what the log calls "request cluster ID mismatch".
 *
 * Members are asked at their peer URLs: `GET /members` there answers with the header X-Etcd-Cluster-ID, with or without quorum (3.4 to 3.7,
 * server/etcdserver/api/etcdhttp/peer.go), and at the configured client endpoints, because the peer port may want a certificate that we do not have.
 */
import { WardenError } from '../errors.ts';
import { hex } from '../etcd/ids.ts';
import type { ClusterAccess } from '../etcd/types.ts';
import { askEndpoints, askPeers, isOfThisMachine, type EndpointSight, type PeerSight } from './live-ask.ts';
import type { NewCluster } from './types.ts';

export interface LiveOptions {
  readonly cluster: NewCluster;
  /** Members whose directories are made on this machine now. */
  readonly targets: readonly string[];
  /** Client endpoints of whatever runs there, and the files to ask with. */
  readonly access: ClusterAccess | undefined;
  readonly signal: AbortSignal;
}

export interface Living {
  readonly peers: readonly PeerSight[];
  readonly endpoints: readonly EndpointSight[];
  /** Peer URLs of targets whose host is this machine. */
  readonly ownUrls: readonly string[];
}

/** Longest time that any question may take, ms: all are asked at once, and most of what is asked here is down. */
const PATIENCE_MS = 2_500;

/**
 * Looks, and refuses to build beside what runs.
 * @returns sentences for people on what runs there and does not stand in the way, and whether a member of this very cluster answers
 * @throws WardenError `refused`
 */
export async function refuseLiveCluster(options: LiveOptions): Promise<{ readonly notes: readonly string[]; readonly running: boolean }> {
  const living = await lookForLiving(options);
  const { notes, refusal } = judgeLiving(options.cluster, options.targets, living);
  if (refusal !== undefined) throw refusal;
  return { notes, running: [...living.peers, ...living.endpoints].some(({ clusterId }) => clusterId === options.cluster.clusterId) };
}

export async function lookForLiving({ cluster, targets, access, signal }: LiveOptions): Promise<Living> {
  const limits = { signal, patienceMs: PATIENCE_MS };
  const urls = cluster.members.filter(({ name }) => targets.includes(name)).flatMap(({ peerUrls }) => peerUrls);
  const [peers, endpoints, own] = await Promise.all([
    askPeers(cluster.members, access?.tls, limits),
    access === undefined ? [] : askEndpoints(access, limits),
    Promise.all(urls.map((url) => isOfThisMachine(url, limits))),
  ]);
  signal.throwIfAborted();
  return { peers, endpoints, ownUrls: urls.filter((_, index) => own[index]) };
}

/**
 * A target that took part in this very cluster: with its old ids and an empty log it could help to elect a leader that lacks what it had acknowledged. One that was never
 * started is welcome, whatever the others have written meanwhile.
 */
function startedBefore(
  { clusterId, members }: NewCluster,
  targets: readonly string[],
  sights: readonly Pick<PeerSight, 'clusterId' | 'started'>[],
): string | undefined {
  const started = sights.filter((sight) => sight.clusterId === clusterId).flatMap((sight) => sight.started);
  return members.find(({ name, peerUrls }) => targets.includes(name) && peerUrls.some((url) => started.includes(url)))?.name;
}

/** Pure. */
export function judgeLiving(
  cluster: NewCluster,
  targets: readonly string[],
  { peers, endpoints, ownUrls }: Living,
): { readonly refusal?: WardenError; readonly notes: readonly string[] } {
  const others = new Map<string, { readonly clusterId: bigint; readonly at: string }>();
  for (const { member, url, clusterId } of peers)
    if (clusterId !== undefined && clusterId !== cluster.clusterId) others.set(member, { clusterId, at: url });
  const strangers: EndpointSight[] = [];
  for (const sight of endpoints) {
    if (sight.clusterId === cluster.clusterId) continue;
    const member = cluster.members.find(({ peerUrls }) => peerUrls.some((url) => sight.peerUrls.includes(url)));
    if (member === undefined) strangers.push(sight);
    else if (!others.has(member.name)) others.set(member.name, { clusterId: sight.clusterId, at: sight.endpoint });
  }
  const named = [...others].map(([name, { clusterId, at }]) => `${name} at ${at} as cluster ${hex(clusterId)}`);
  const quorum = Math.floor(cluster.members.length / 2) + 1;
  if (others.size >= quorum) {
    const which = cluster.members.length === 1 ? 'the member runs' : `${others.size} of ${cluster.members.length} members run`;
    const replace = targets.map((name) => `\`etcd-warden member replace ${name}\``).join(', ');
    return {
      notes: [],
      refusal: new WardenError('refused', `${which} already: ${named.join(', ')}; this restore makes cluster ${hex(cluster.clusterId)}`, {
        hint:
          cluster.members.length === 1
            ? 'stop that etcd first, if its data is to be replaced by the backup'
            : `one member that is broken comes back without a restore: ${replace || '`etcd-warden member replace NAME`'}; to go back to the backup, stop etcd on all members first`,
      }),
    };
  }
  const busy = peers.find(({ url }) => ownUrls.includes(url));
  if (busy !== undefined) {
    const as = busy.clusterId === undefined ? 'a process' : `a member of cluster ${hex(busy.clusterId)}`;
    const restored = busy.clusterId === cluster.clusterId ? ', which this restore made: it has been started already' : '';
    return {
      notes: [],
      refusal: new WardenError('refused', `${as} listens on this machine at ${busy.url}, the peer URL of ${busy.member}${restored}`, {
        hint: 'stop that etcd first: its data directory is in use',
      }),
    };
  }
  const gone = startedBefore(cluster, targets, [...peers, ...endpoints]);
  if (gone !== undefined)
    return {
      notes: [],
      refusal: new WardenError(
        'refused',
        `${gone} has been started in cluster ${hex(cluster.clusterId)} already, which this restore made and which runs`,
        {
          hint: `what it told the others since then is lost with its directory, so it must come back as a new member: \`etcd-warden member replace ${gone}\`; --attempt with another number makes another cluster`,
        },
      ),
    };
  return {
    notes: [
      ...named.map((each) => `${each} still runs: stop it before any member of the new cluster is started`),
      ...peers
        .filter(({ clusterId }) => clusterId === undefined)
        .map(({ member, url, why }) => `somebody listens at ${url}, the peer URL of ${member}, and cannot be asked who it is: ${why}`),
      ...strangers.map(
        ({ endpoint, clusterId }) => `cluster ${hex(clusterId)} answers at ${endpoint}, with none of these peer URLs: it is left alone`,
      ),
    ],
  };
}
