/**
 * The questions behind live.ts: each has a deadline, and silence is an answer. It is what they nearly always get, and a restore should not wait for what it takes to
 * speak gRPC (a quarter of a second of modules) or TLS before somebody listens.
 */
import { lookup } from 'node:dns/promises';
import type { RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { SecureContext } from 'node:tls';
import { asError } from '../errors.ts';
import { parseEndpoint, isLoopback } from '../etcd/endpoint.ts';
import type { MemberClient } from '../etcd/member.ts';
import type { ClusterAccess } from '../etcd/types.ts';
import type { NewMember } from './types.ts';

/** A peer URL at which somebody listens. */
export interface PeerSight {
  readonly member: string;
  readonly url: string;
  /** Undefined: whoever listens did not say. */
  readonly clusterId: bigint | undefined;
  readonly why?: string;
  /** Peer URLs of members that have been started in that cluster: only those have told it where they serve clients. */
  readonly started: readonly string[];
}

/** A client endpoint that answers. */
export interface EndpointSight {
  readonly endpoint: string;
  readonly clusterId: bigint;
  /** Of the member behind it; empty when it does not tell. */
  readonly peerUrls: readonly string[];
  /** As {@link PeerSight.started}. */
  readonly started: readonly string[];
}

export interface Limits {
  readonly signal: AbortSignal;
  readonly patienceMs: number;
}

/** Only those at which somebody listens. */
export async function askPeers(members: readonly NewMember[], tls: ClusterAccess['tls'], limits: Limits): Promise<PeerSight[]> {
  const sights = await Promise.all(
    members.flatMap(({ name, peerUrls }) =>
      peerUrls.map(async (url): Promise<PeerSight[]> => {
        const answer = await askPeer(url, tls, limits);
        return answer === undefined ? [] : [{ member: name, url, ...answer }];
      }),
    ),
  );
  return sights.flat();
}

type PeerAnswer = Pick<PeerSight, 'clusterId' | 'why' | 'started'>;

/** Longest member list that is read, bytes: a member takes 200. */
const MAX_LIST = 64 * 1024;

/** Undefined when nobody listens there. */
async function askPeer(url: string, tls: ClusterAccess['tls'], { signal, patienceMs }: Limits): Promise<PeerAnswer | undefined> {
  const { promise, resolve } = Promise.withResolvers<PeerAnswer | undefined>();
  let connected = false;
  const secure = url.startsWith('https:');
  const options: RequestOptions & { rejectUnauthorized?: boolean } = {
    agent: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
    ...(secure ? { ...(await clientContext(tls)), rejectUnauthorized: false } : {}),
  };
  // Not imported: an import reads every export of node:http, and some of them load undici, the whole of fetch, when they are read: 70 ms.
  const { request: send } = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  const request = send(`${url}/members`, options, (response) => {
    const id = String(response.headers['x-etcd-cluster-id'] ?? '');
    if (!/^[0-9a-f]{1,16}$/.test(id)) {
      resolve({ clusterId: undefined, why: `it answers ${response.statusCode}, not as a member of etcd`, started: [] });
      response.destroy();
      return;
    }
    const known = (started: readonly string[]): void => resolve({ clusterId: BigInt(`0x${id}`), started });
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (text: string) => {
      body += text;
      if (body.length > MAX_LIST) response.destroy();
    });
    response.on('end', () => known(startedIn(body)));
    // Cut short: which cluster it is was said at the beginning.
    response.on('close', () => known([]));
    response.on('error', () => known([]));
  });
  request.on('socket', (socket) => socket.once('connect', () => (connected = true)));
  request.on('error', (error) => resolve(connected ? { clusterId: undefined, why: reasonOf(error, patienceMs), started: [] } : undefined));
  request.end();
  return promise;
}

/** Ids in it are numbers that JSON.parse rounds; URLs tell as much. */
function startedIn(body: string): string[] {
  let list: unknown;
  try {
    list = JSON.parse(body);
  } catch {
    return [];
  }
  const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []);
  return (Array.isArray(list) ? list : []).flatMap((member: unknown) => {
    const { peerURLs, clientURLs } = Object(member) as { readonly peerURLs?: unknown; readonly clientURLs?: unknown };
    return strings(clientURLs).length > 0 ? strings(peerURLs) : [];
  });
}

/**
 * Our certificate where there is one. Theirs is not checked: the peers' CA is often another one than the clients', nothing secret is said, and whoever lies here can
 * only make a restore be refused.
 */
async function clientContext(tls: ClusterAccess['tls']): Promise<{ readonly secureContext?: SecureContext }> {
  if (tls === undefined) return {};
  const { TlsMaterial } = await import('../etcd/tls.ts');
  try {
    return { secureContext: new TlsMaterial(tls).context() };
  } catch {
    return {}; // the files went down with the cluster
  }
}

function reasonOf(error: Error, patienceMs: number): string {
  return error.name === 'AbortError' || error.name === 'TimeoutError' ? `no answer within ${patienceMs} ms` : asError(error).message;
}

/** Only those that answer. Most tell Status and the member list to everybody; a login is what waits for a quorum, so it comes second. */
export async function askEndpoints(access: ClusterAccess, { signal, patienceMs }: Limits): Promise<EndpointSight[]> {
  const hasty: ClusterAccess = { ...access, requestTimeoutMs: patienceMs, dialTimeoutMs: patienceMs };
  const sights = await Promise.all(
    access.endpoints.map(async (endpoint) => {
      const sight = await askEndpoint({ ...hasty, user: undefined, password: undefined }, endpoint, signal);
      if (access.user === undefined || (sight !== undefined && sight.peerUrls.length > 0)) return sight;
      // Since 3.5.28 and 3.6.9 etcd tells strangers less where users are needed.
      return (await askEndpoint(hasty, endpoint, signal)) ?? sight;
    }),
  );
  return sights.filter((sight) => sight !== undefined);
}

async function askEndpoint(access: ClusterAccess, address: string, signal: AbortSignal): Promise<EndpointSight | undefined> {
  let client: MemberClient | undefined;
  try {
    if (!(await listens(address, { signal, patienceMs: access.dialTimeoutMs }))) return undefined;
    const etcd = await import('../etcd/member.ts');
    client = new etcd.MemberClient(access, address);
    const [status, list] = await Promise.all([client.status(signal), client.memberList({ signal }).catch(() => undefined)]);
    const peerUrls = list?.members.find(({ id }) => id === status.memberId)?.peerUrls ?? [];
    const started = list?.members.flatMap((member) => (member.clientUrls.length > 0 ? member.peerUrls : [])) ?? [];
    return { endpoint: client.endpoint, clusterId: status.clusterId, peerUrls, started };
  } catch {
    return undefined; // down, or not to be asked: the peer URLs tell as well
  } finally {
    client?.close();
  }
}

/** Whether a connection to it is taken; nothing is said on it. @throws WardenError `config-invalid` */
function listens(address: string, { signal, patienceMs }: Limits): Promise<boolean> {
  const { host, port } = parseEndpoint(address, false);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // A name with two addresses: each gets half of the time, as where gRPC dials it would get all.
  const socket = connect({
    host,
    port,
    signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
    autoSelectFamilyAttemptTimeout: Math.ceil(patienceMs / 2),
  });
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}

/** Whether a peer URL leads to this machine, so that whoever listens there holds the directory. */
export async function isOfThisMachine(url: string, { signal, patienceMs }: Limits): Promise<boolean> {
  const endpoint = parseEndpoint(url, false);
  if (isLoopback(endpoint)) return true;
  const own = new Set(Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []));
  if (own.has(endpoint.host)) return true;
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
  timer.addEventListener('abort', () => resolve(undefined), { once: true });
  const found = await Promise.race([lookup(endpoint.host, { all: true }).catch(() => undefined), late]);
  return found?.some(({ address }) => own.has(address)) === true;
}
