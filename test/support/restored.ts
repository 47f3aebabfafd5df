/** Members that start on data directories which a restore made: on the same ports as often as it takes. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { program, type EtcdMinor } from '../../tools/programs.ts';
import type { ClusterAccess } from '../../src/etcd/types.ts';
import { patiently, readsOnly } from './elections.ts';
import { startMember, type Member } from './member.ts';
import { freePorts } from './ports.ts';
import { run, until } from './processes.ts';

/** Where a member will live: chosen before the restore, because peer URLs make its id. */
export interface Site {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  readonly metrics: string;
  readonly dataDir: string;
}

export async function newSites(count: number, folder: string): Promise<Site[]> {
  mkdirSync(folder, { recursive: true });
  const ports = await freePorts(3 * count);
  return Array.from({ length: count }, (_, index): Site => {
    const [client, peer, metrics] = ports.slice(3 * index, 3 * index + 3).map((port) => `http://127.0.0.1:${port}`) as [
      string,
      string,
      string,
    ];
    return { name: `m${index + 1}`, client, peer, metrics, dataDir: join(folder, `m${index + 1}`) };
  });
}

/** As `--initial-cluster` wants it. */
export function initialClusterOf(sites: readonly Site[]): string {
  return sites.map(({ name, peer }) => `${name}=${peer}`).join(',');
}

export interface RestoredCluster extends AsyncDisposable {
  readonly minor: EtcdMinor;
  readonly members: readonly Member[];
  access(changes?: Partial<ClusterAccess>): ClusterAccess;
  etcdctl(args: readonly string[], options?: { readonly endpoints?: readonly string[] }): Promise<string>;
  /** Adds a voter that starts with nothing. */
  grow(site: Site): Promise<Member>;
  /** Stops one member after the other and starts it again with the etcd of that minor. */
  upgrade(minor: EtcdMinor): Promise<void>;
  stop(): Promise<void>;
}

export interface RestoredOptions {
  readonly minor: EtcdMinor;
  /** Path of the etcd, where it need not be the one of that minor that tests use. */
  readonly program?: string;
  readonly sites: readonly Site[];
  readonly token: string;
  /** User and password of root, where the backup had authentication enabled. */
  readonly auth?: { readonly user: string; readonly password: string };
  readonly flags?: readonly string[];
  /** Do not wait for a linearizable read through each of them. */
  readonly wait?: boolean;
  /** All members of their cluster, when only some of them are started by this. */
  readonly joining?: readonly Site[];
}

/** Starts them as an operator would after a restore, and waits until they serve. */
export async function startRestored(options: RestoredOptions): Promise<RestoredCluster> {
  const { minor, sites, auth } = options;
  const common = [...(minor === '3.4' ? [] : ['--unsafe-no-fsync']), ...(options.flags ?? [])];
  let running: EtcdMinor = minor;
  const launch = (site: Site, initialCluster: string, state: 'new' | 'existing', etcd: EtcdMinor = running): Member =>
    startMember({
      program: options.program ?? program('etcd', etcd),
      name: site.name,
      endpoint: site.client,
      peer: site.peer,
      listen: { client: site.client, peer: site.peer },
      metrics: site.metrics,
      dataDir: site.dataDir,
      flags: [
        `--initial-cluster=${initialCluster}`,
        `--initial-cluster-state=${state}`,
        `--initial-cluster-token=${options.token}`,
        ...common,
      ],
      token: () => undefined,
    });
  const members = sites.map((site) => launch(site, initialClusterOf(options.joining ?? sites), 'new'));

  async function stop(): Promise<void> {
    await Promise.all(members.map((member) => member.kill('SIGKILL')));
    for (const member of members) member.rpc.close();
  }

  async function etcdctl(
    args: readonly string[],
    {
      endpoints = members.filter((member) => member.running()).map((member) => member.direct),
    }: { readonly endpoints?: readonly string[] } = {},
  ): Promise<string> {
    const login = auth === undefined ? [] : [`--user=${auth.user}:${auth.password}`];
    const flags = [`--endpoints=${endpoints.join(',')}`, '--command-timeout=60s', ...login];
    return patiently(() => run(program('etcdctl', running), [...flags, ...args]), { reads: readsOnly(args) });
  }

  async function grow(site: Site): Promise<Member> {
    // Refused until every member has been connected to every other for five seconds, and asked again until then.
    await etcdctl(['member', 'add', site.name, `--peer-urls=${site.peer}`]);
    const member = launch(site, `${members.map(({ name, peer }) => `${name}=${peer}`).join(',')},${site.name}=${site.peer}`, 'existing');
    members.push(member);
    await serving(member);
    return member;
  }

  /** Its listener for metrics is up, and healthy, before the one for clients. */
  async function serving(member: Member): Promise<void> {
    await member.waitHealthy();
    await until(
      () =>
        member.status().then(
          () => true,
          // Where users are needed a refusal is an answer, too.
          (error: Error) => !/UNAVAILABLE|DEADLINE_EXCEEDED/.test(error.message),
        ),
      () => `${member.name} is healthy and takes no clients:\n${member.output().slice(-4_000)}`,
    );
  }

  async function upgrade(to: EtcdMinor): Promise<void> {
    for (const [index, member] of members.entries()) {
      await member.stop();
      member.rpc.close();
      const site: Site = { name: member.name, client: member.direct, peer: member.peer, metrics: member.metrics, dataDir: member.dataDir };
      members[index] = launch(site, members.map(({ name, peer }) => `${name}=${peer}`).join(','), 'existing', to);
      await serving(members[index]);
    }
    running = to;
  }

  try {
    if (options.wait !== false) await Promise.all(members.map((member) => serving(member)));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    get minor() {
      return running;
    },
    members,
    access: (changes = {}) => ({
      name: 'restored',
      endpoints: members.map((member) => member.endpoint),
      ...(auth === undefined ? {} : { user: auth.user, password: () => auth.password }),
      requestTimeoutMs: 5_000,
      dialTimeoutMs: 2_000,
      streamIdleTimeoutMs: 10_000,
      discover: true,
      ...changes,
    }),
    etcdctl,
    grow,
    upgrade,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
