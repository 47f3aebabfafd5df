import { join } from 'node:path';
import { program, type EtcdMinor } from '../../tools/programs.ts';
import type { ClusterAccess } from '../../src/etcd/types.ts';
import { patiently, readsOnly } from './elections.ts';
import { startGrpcProxy, type GrpcProxy } from './grpc-proxy.ts';
import { fill, startWriter, type Filled, type FillOptions, type Writer } from './load.ts';
import { readAlarms, startMember, type AlarmRecord, type Member, type MemberSettings } from './member.ts';
import { peerNetwork } from './peer-network.ts';
import { freePorts } from './ports.ts';
import { run, until } from './processes.ts';
import { authenticate, connect, type Rpc, type TlsFiles, type TokenSource } from './rpc.ts';
import { removeFolder, temporaryFolder } from './watchdog.ts';
import { encode, type Message } from './wire.ts';

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
  /** How long starting may take; 60 s by default, which is too short for large data. */
  readonly startTimeoutMs?: number;
  /** Keep fsync although the data folder is thrown away. */
  readonly fsync?: boolean;
  /** Clients reach each member through a proxy (`proxyOf`), and find its address in the member list; not with TLS. The tests' own calls go past it. */
  readonly proxies?: boolean;
  /** Members reach each other over wires that `isolate` cuts. */
  readonly wires?: boolean;
}

export interface EtcdctlOptions {
  readonly endpoints?: readonly string[];
  readonly timeoutMs?: number;
  readonly input?: string | Buffer;
}

export interface Cluster extends AsyncDisposable {
  readonly minor: EtcdMinor;
  /** m1, m2, ... in the order of starting, learners last. */
  readonly members: readonly Member[];
  readonly endpoints: readonly string[];
  /** How the product reaches it. */
  access(changes?: Partial<ClusterAccess>): ClusterAccess;
  /**
   * Runs the etcdctl of this minor against every running voter, or those given; logs in where needed. Asks again while an election is under way, as far as
   * nothing can happen twice. Returns its standard output.
   */
  etcdctl(args: readonly string[], options?: EtcdctlOptions): Promise<string>;
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
  try {
    return await start(options);
  } catch (error) {
    // Data that is there already would not be new a second time.
    if (options.dataDir !== undefined) throw error;
    // A stranger took a port, or etcd took a peer for unreachable (rafthttp marks it so after a request that failed late, and while both streams last nothing
    // marks it otherwise): other ports, and connections made anew, are all that helps. Said, so that whoever looks at slow tests knows.
    process.stderr.write(`a cluster is started anew: ${String(error)}\n`);
    return start(options).catch((again: unknown) => {
      throw new AggregateError([error, again], `a cluster did not start: ${String(error)}\nNor anew: ${String(again)}`, { cause: error });
    });
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

  function etcdctl(args: readonly string[], given: EtcdctlOptions = {}): Promise<string> {
    const reads = readsOnly(args);
    if (args[0] === 'member' && !reads && given.endpoints === undefined) return changeMembers(args, given);
    return patiently(() => etcdctlOnce(args, given), { reads });
  }

  /**
   * etcd changes no membership before the member that is asked has been connected to enough of the others for five seconds (adding, 3.5.30+: to all three of three).
   * Each knows only of its own connections, so they are asked in turn.
   */
  async function changeMembers(args: readonly string[], given: EtcdctlOptions = {}): Promise<string> {
    let turn = 0;
    return patiently(
      () => {
        const voters = voting();
        return etcdctlOnce(args, { ...given, endpoints: [voters[turn++ % voters.length]!.direct] });
      },
      { reads: false, everyMs: 250 },
    ).catch((error: unknown) => {
      throw new Error(`${args.slice(0, 2).join(' ')} was refused: ${(error as Error).message}\n${logs()}`, { cause: error });
    });
  }

  function etcdctlOnce(
    args: readonly string[],
    { endpoints = voting().map((member) => member.direct), timeoutMs, input }: EtcdctlOptions,
  ): Promise<string> {
    // Its own five seconds are too short for a machine that stands still now and then.
    const flags = [`--endpoints=${endpoints.join(',')}`, '--command-timeout=60s'];
    if (tls !== undefined) flags.push(`--cacert=${tls.caFile}`);
    if (tls?.certFile !== undefined) flags.push(`--cert=${tls.certFile}`, `--key=${tls.keyFile}`);
    if (token !== undefined) flags.push(`--user=${ROOT.user}:${ROOT.password}`);
    return run(options.programs?.etcdctl ?? program('etcdctl', minor), [...flags, ...args], {
      env: { PATH: process.env['PATH'], HOME: folder },
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(input === undefined ? {} : { input }),
    });
  }

  /** What each of them did last, for whoever has to find out why they do not do what they should. */
  function logs(): string {
    return members
      .map((member) => `-- ${member.name} ${member.running() ? 'runs' : 'HAS ENDED'}:\n${member.output().slice(-4_000)}`)
      .join('\n');
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
    let found: { member: Member; term: bigint } | undefined;
    await until(
      async () => {
        const asked = voting().map(async (member) => {
          // A frozen member answers nothing, and one that just lost its leader names none.
          const status = await member.status(2_000).catch(() => undefined);
          return status !== undefined && status.leader === status.memberId ? [{ member, term: status.raftTerm }] : [];
        });
        // One that is cut off from the others still believes in itself, at an older term.
        for (const one of (await Promise.all(asked)).flat()) if (found === undefined || one.term > found.term) found = one;
        return found !== undefined;
      },
      () => `no member leads:\n${logs()}`,
    );
    return found!.member;
  }

  async function addLearner(): Promise<Member> {
    const where = await addresses(`m${members.length + 1}`);
    await changeMembers(['member', 'add', where.name, '--learner', `--peer-urls=${where.peer}`]);
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
      () => `the learner did not join:\n${logs()}`,
    );
    return learner;
  }

  async function promote(learner: Member): Promise<void> {
    const memberId = (await learner.status()).memberId.toString(16);
    let refusal = '';
    await until(
      () =>
        etcdctl(['member', 'promote', memberId]).then(
          () => true,
          (error: Error) => {
            refusal = error.message;
            // It lags for a moment after it was added.
            if (!refusal.includes('in sync with leader')) throw error;
            return false;
          },
        ),
      () => `${refusal}\n${logs()}`,
      { everyMs: 100 },
    );
    learners.delete(learner);
  }

  /** Through raft, even where it only asks, so it meets every election. Alarms are armed and disarmed as well when it is done twice. */
  function alarm(request: Buffer, through?: Member): Promise<Message> {
    return patiently(async () => (through ?? (await leader())).rpc.call('etcdserverpb.Maintenance/Alarm', request));
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
        return await patiently(() => authenticate(rpc, ROOT.user, ROOT.password), { reads: false, timeoutMs: 5_000 });
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
    alarms: async () => readAlarms(await alarm(Buffer.alloc(0))),
    async raiseAlarm(type, member) {
      const { memberId } = await member.status();
      await alarm(encode([1, ACTIVATE], [2, memberId], [3, ALARM_TYPES[type]]), member);
    },
    async disarmAlarm(type, memberId) {
      await alarm(encode([1, DEACTIVATE], [2, memberId], [3, ALARM_TYPES[type]]));
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
    await Promise.all(members.map((member) => member.waitHealthy(options.startTimeoutMs))).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${logs()}`, { cause: error });
    });
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
