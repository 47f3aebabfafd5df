import { join } from 'node:path';
import { program, type EtcdMinor } from '../../tools/programs.ts';
import type { ClusterAccess } from '../../src/etcd/types.ts';
import { startGrpcProxy, type GrpcProxy } from './grpc-proxy.ts';
import { fill, startWriter, type Filled, type FillOptions, type Writer } from './load.ts';
import { readAlarms, startMember, type AlarmRecord, type Member, type MemberSettings } from './member.ts';
import { peerNetwork } from './peer-network.ts';
import { freePorts, run, until } from './processes.ts';
import { authenticate, connect, type Rpc, type TlsFiles, type TokenSource } from './rpc.ts';
import { removeFolder, temporaryFolder } from './watchdog.ts';
import { encode } from './wire.ts';

export interface ClusterTls extends TlsFiles {
  /** What the members show; the files of TlsFiles are the client's. */
  readonly serverCertFile: string;
  readonly serverKeyFile: string;
  /** Members refuse clients without a certificate. */
  readonly clientCertRequired?: boolean;
}

export interface ClusterOptions {
  readonly minor: EtcdMinor;
  /** Instead of the programs of that minor: the demo takes whichever etcd there is. */
  readonly programs?: { readonly etcd: string; readonly etcdctl: string };
  readonly members?: 1 | 3 | 5;
  /** Further flags of etcd, for every member. */
  readonly flags?: readonly string[];
  readonly quotaBackendBytes?: number;
  readonly tls?: ClusterTls;
  /** Switches authentication on, with user root and password root. */
  readonly auth?: boolean;
  /** Adds one learner. */
  readonly learner?: boolean;
  /** Where the data folders are made; in memory by default. */
  readonly dataRoot?: string;
  /** Data that is there already, for a cluster of one member whose name was m1: used in place and never removed. */
  readonly dataDir?: string;
  /** How long starting may take; 30 s by default, which is too short for large data. */
  readonly startTimeoutMs?: number;
  /** Keep fsync although the data folder is thrown away. */
  readonly fsync?: boolean;
  /** Clients reach each member through a proxy (`proxyOf`), and find its address in the member list; not with TLS. The tests' own calls go past it. */
  readonly proxies?: boolean;
  /** Members reach each other over wires that `isolate` cuts. */
  readonly wires?: boolean;
}

export interface Cluster extends AsyncDisposable {
  readonly minor: EtcdMinor;
  /** m1, m2, ... in the order of starting, learners last. */
  readonly members: readonly Member[];
  readonly endpoints: readonly string[];
  /** How the product reaches it. */
  access(changes?: Partial<ClusterAccess>): ClusterAccess;
  /** Runs the etcdctl of this minor against every running voter, or those given; logs in where needed. Returns its standard output. */
  etcdctl(
    args: readonly string[],
    options?: { endpoints?: readonly string[]; timeoutMs?: number; input?: string | Buffer },
  ): Promise<string>;
  /** The member that leads now; waits for an election that is under way. */
  leader(): Promise<Member>;
  followers(): Promise<Member[]>;
  fill(options: FillOptions): Promise<Filled>;
  writer(options?: Parameters<typeof startWriter>[1]): Writer;
  alarms(): Promise<AlarmRecord[]>;
  /** Raises an alarm without its cause. */
  raiseAlarm(type: AlarmRecord['type'], member: Member): Promise<void>;
  disarmAlarms(): Promise<void>;
  /** One alarm of one member. */
  disarmAlarm(type: AlarmRecord['type'], memberId: bigint): Promise<void>;
  /** Writes until etcd itself raises NOSPACE; needs a small quotaBackendBytes. */
  exhaustQuota(): Promise<void>;
  addLearner(): Promise<Member>;
  /** What clients reach the member through; with `proxies` only. */
  proxyOf(member: Member): GrpcProxy;
  /** Cuts the member off from the others while clients still reach it; with `wires` only. Undone by `healNetwork`. */
  isolate(member: Member): Promise<void>;
  healNetwork(): void;
  /** Makes a learner a voter. */
  promote(learner: Member): Promise<void>;
  stop(): Promise<void>;
}

const ROOT = { user: 'root', password: 'root' };
/** Simple tokens live for five minutes. */
const TOKEN_AGE_MS = 60_000;
/** NONE, NOSPACE, CORRUPT and GET, ACTIVATE, DEACTIVATE of rpc.proto. */
const ALARM_TYPES = { NOSPACE: 1, CORRUPT: 2 } as const;
const ACTIVATE = 1;
const DEACTIVATE = 2;

/** A real etcd cluster on loopback, healthy when this resolves, gone with all its data at `stop` or when the test process ends. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(options);
    } catch (error) {
      // Somebody took a port between choosing and listening.
      if (attempt === 5 || !(error as Error).message.includes('address already in use')) throw error;
    }
  }
}

async function start(options: ClusterOptions): Promise<Cluster> {
  const { minor, tls } = options;
  const etcd = options.programs?.etcd ?? program('etcd', minor);
  const folder = temporaryFolder('cluster', options.dataRoot);
  const scheme = tls === undefined ? 'http' : 'https';
  const members: Member[] = [];
  const learners = new Set<Member>();
  const proxies = new Map<string, GrpcProxy>();
  const network = options.wires === true ? peerNetwork() : undefined;
  let token: TokenSource | undefined;

  async function addresses(name: string): Promise<Pick<MemberSettings, 'name' | 'endpoint' | 'listen' | 'peer' | 'metrics' | 'dataDir'>> {
    const [client, peer, metrics] = (await freePorts(3)) as [number, number, number];
    const listen = { client: `${scheme}://127.0.0.1:${client}`, peer: `http://127.0.0.1:${peer}` };
    if (options.proxies === true) proxies.set(name, await startGrpcProxy(listen.client));
    return {
      name,
      listen,
      endpoint: proxies.get(name)?.endpoint ?? listen.client,
      peer: network === undefined ? listen.peer : await network.wire(name, listen.peer),
      metrics: `http://127.0.0.1:${metrics}`,
      dataDir: options.dataDir ?? join(folder, name),
    };
  }

  function launch(where: Awaited<ReturnType<typeof addresses>>, initialCluster: string, state: 'new' | 'existing'): Member {
    const flags = [
      `--initial-cluster=${initialCluster}`,
      `--initial-cluster-state=${state}`,
      '--initial-cluster-token=etcd-warden-test',
      ...commonFlags(options),
    ];
    return startMember({ program: etcd, ...where, flags, tls, token: () => token });
  }

  async function stop(): Promise<void> {
    await Promise.all(members.map((member) => (options.dataDir === undefined ? member.kill('SIGKILL') : member.stop())));
    for (const member of members) member.rpc.close();
    await Promise.all([network?.close(), ...[...proxies.values()].map((proxy) => proxy.close())]);
    removeFolder(folder);
  }

  async function etcdctl(
    args: readonly string[],
    {
      endpoints = voting().map((member) => member.direct),
      timeoutMs,
      input,
    }: { endpoints?: readonly string[]; timeoutMs?: number; input?: string | Buffer } = {},
  ): Promise<string> {
    const flags = [`--endpoints=${endpoints.join(',')}`];
    if (tls !== undefined) flags.push(`--cacert=${tls.caFile}`);
    if (tls?.certFile !== undefined) flags.push(`--cert=${tls.certFile}`, `--key=${tls.keyFile}`);
    if (token !== undefined) flags.push(`--user=${ROOT.user}:${ROOT.password}`);
    return run(options.programs?.etcdctl ?? program('etcdctl', minor), [...flags, ...args], {
      env: { PATH: process.env['PATH'], HOME: folder },
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(input === undefined ? {} : { input }),
    });
  }

  function running(): Member[] {
    return members.filter((member) => member.running());
  }

  /** Running members that take writes and log-ins. */
  function voting(): Member[] {
    return running().filter((member) => !learners.has(member));
  }

  function connections(): Rpc[] {
    return voting().map((member) => member.rpc);
  }

  async function leader(): Promise<Member> {
    let found: Member | undefined;
    await until(async () => {
      for (const member of voting()) {
        // A frozen member answers nothing, and one that just lost its leader names none.
        const status = await member.rpc.call('etcdserverpb.Maintenance/Status', Buffer.alloc(0), { timeoutMs: 1_000 }).then(
          () => member.status(),
          () => undefined,
        );
        if (status !== undefined && status.leader === status.memberId) found = member;
      }
      return found !== undefined;
    }, 'no member leads');
    return found!;
  }

  async function addLearner(): Promise<Member> {
    const where = await addresses(`m${members.length + 1}`);
    // etcd changes no membership before every member has been connected to every other for five seconds.
    let refusal = '';
    await until(
      () =>
        etcdctl(['member', 'add', where.name, '--learner', `--peer-urls=${where.peer}`]).then(
          () => true,
          (error: Error) => {
            refusal = error.message;
            if (!refusal.includes('unhealthy cluster')) throw error;
            return false;
          },
        ),
      () => refusal,
      { everyMs: 250 },
    );
    const initialCluster = [...members, where].map((member) => `${member.name}=${member.peer}`).join(',');
    const learner = launch(where, initialCluster, 'existing');
    members.push(learner);
    learners.add(learner);
    // A learner refuses the linearizable read of /health, and answers Status as soon as it runs.
    await until(
      async () => {
        const status = await learner.status().catch(() => undefined);
        return status?.isLearner === true && status.leader !== 0n && status.dbSize > 0;
      },
      () => `the learner did not join:\n${learner.output().slice(-4_000)}`,
    );
    return learner;
  }

  async function promote(learner: Member): Promise<void> {
    await etcdctl(['member', 'promote', (await learner.status()).memberId.toString(16)]);
    learners.delete(learner);
  }

  async function enableAuth(): Promise<void> {
    await etcdctl(['user', 'add', `${ROOT.user}:${ROOT.password}`]);
    // 3.4 knows no role root before somebody adds it; 3.5+ grants it by itself too, and says so.
    await etcdctl(['role', 'add', 'root']).catch(() => undefined);
    await etcdctl(['user', 'grant-role', 'root', 'root']);
    await etcdctl(['auth', 'enable']);
    token = tokens();
  }

  function tokens(): TokenSource {
    let last: { token: string; since: number } | undefined;
    return async (fresh) => {
      if (fresh || last === undefined || performance.now() - last.since > TOKEN_AGE_MS)
        last = { token: await newToken(), since: performance.now() };
      return last.token;
    };
  }

  async function newToken(): Promise<string> {
    let failure = new Error('no member runs');
    for (const member of voting()) {
      const rpc = connect(member.direct, { tls });
      try {
        return await authenticate(rpc, ROOT.user, ROOT.password);
      } catch (error) {
        failure = error as Error;
      } finally {
        rpc.close();
      }
    }
    throw failure;
  }

  const voters = await Promise.all(Array.from({ length: options.members ?? 1 }, (_, index) => addresses(`m${index + 1}`)));
  const initialCluster = voters.map((voter) => `${voter.name}=${voter.peer}`).join(',');
  members.push(...voters.map((voter) => launch(voter, initialCluster, 'new')));
  const cluster: Cluster = {
    minor,
    members,
    get endpoints() {
      return members.map((member) => member.endpoint);
    },
    access: (changes = {}) => ({
      name: 'test',
      endpoints: members.map((member) => member.endpoint),
      ...(tls === undefined ? {} : { tls: { caFile: tls.caFile, certFile: tls.certFile, keyFile: tls.keyFile } }),
      ...(token === undefined ? {} : { user: ROOT.user, password: () => ROOT.password }),
      requestTimeoutMs: 5_000,
      dialTimeoutMs: 2_000,
      streamIdleTimeoutMs: 10_000,
      discover: true,
      ...changes,
    }),
    etcdctl,
    leader,
    async followers() {
      const leading = await leader();
      return voting().filter((member) => member !== leading);
    },
    fill: (fillOptions) => fill(connections(), fillOptions),
    writer: (writerOptions) => startWriter(connections(), writerOptions),
    alarms: async () => readAlarms(await (await leader()).rpc.call('etcdserverpb.Maintenance/Alarm', Buffer.alloc(0))),
    async raiseAlarm(type, member) {
      const { memberId } = await member.status();
      await member.rpc.call('etcdserverpb.Maintenance/Alarm', encode([1, ACTIVATE], [2, memberId], [3, ALARM_TYPES[type]]));
    },
    async disarmAlarm(type, memberId) {
      const request = encode([1, DEACTIVATE], [2, memberId], [3, ALARM_TYPES[type]]);
      await (await leader()).rpc.call('etcdserverpb.Maintenance/Alarm', request);
    },
    async disarmAlarms() {
      await etcdctl(['alarm', 'disarm']);
    },
    async exhaustQuota() {
      // Below the size at which a filled batch is refused as a whole, so that the database ends near its quota.
      for (let round = 0; ; round++) {
        const refused = await fill(connections(), {
          keys: 100,
          valueBytes: 10_000,
          seed: round,
          prefix: `/quota/${round}/`,
          compressible: false,
        }).then(
          () => undefined,
          (error: Error) => error,
        );
        if (refused?.message.includes('database space exceeded') === true) break;
        if (refused !== undefined) throw refused;
      }
      await until(async () => (await this.alarms()).length > 0, 'NOSPACE was not raised');
    },
    addLearner,
    proxyOf(member) {
      const proxy = proxies.get(member.name);
      if (proxy === undefined) throw new Error(`no proxy leads to ${member.name}`);
      return proxy;
    },
    async isolate(member) {
      if (network === undefined) throw new Error('this cluster has no wires that could be cut');
      network.isolate(member.name, (await member.status()).memberId);
    },
    healNetwork: () => network?.heal(),
    promote,
    stop,
    [Symbol.asyncDispose]: stop,
  };

  try {
    await Promise.all(members.map((member) => member.waitHealthy(options.startTimeoutMs)));
    if (options.auth === true) await enableAuth();
    if (options.learner === true) await addLearner();
  } catch (error) {
    await stop();
    throw error;
  }
  return cluster;
}

function commonFlags({ minor, tls, quotaBackendBytes, fsync = false, flags = [] }: ClusterOptions): string[] {
  const common: string[] = [];
  if (quotaBackendBytes !== undefined) common.push(`--quota-backend-bytes=${quotaBackendBytes}`);
  // 3.4 does not have the flag.
  if (!fsync && minor !== '3.4') common.push('--unsafe-no-fsync');
  if (tls !== undefined) {
    common.push(`--cert-file=${tls.serverCertFile}`, `--key-file=${tls.serverKeyFile}`);
    // The CA alone would already make etcd demand a certificate of its clients.
    if (tls.clientCertRequired === true) common.push(`--trusted-ca-file=${tls.caFile}`, '--client-cert-auth');
  }
  return [...common, ...flags];
}
