/** Members that start on data directories which a restore made: on the same ports as often as it takes. */
import { join } from 'node:path';
import { program, type EtcdMinor } from '../../tools/programs.ts';
import type { ClusterAccess } from '../../src/etcd/types.ts';
import { startMember, type Member } from './member.ts';
import { freePorts, run, until } from './processes.ts';

/** Where a member will live: chosen before the restore, because peer URLs make its id. */
export interface Site {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  readonly metrics: string;
  readonly dataDir: string;
}

export async function newSites(count: number, folder: string): Promise<Site[]> {
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
  stop(): Promise<void>;
}

export interface RestoredOptions {
  readonly minor: EtcdMinor;
  readonly sites: readonly Site[];
  readonly token: string;
  /** User and password of root, where the backup had authentication enabled. */
  readonly auth?: { readonly user: string; readonly password: string };
  readonly flags?: readonly string[];
  /** Do not wait for a linearizable read through each of them. */
  readonly wait?: boolean;
}

/** Starts them as an operator would after a restore, and waits until they serve. */
export async function startRestored(options: RestoredOptions): Promise<RestoredCluster> {
  const { minor, sites, auth } = options;
  const common = [...(minor === '3.4' ? [] : ['--unsafe-no-fsync']), ...(options.flags ?? [])];
  const launch = (site: Site, initialCluster: string, state: 'new' | 'existing'): Member =>
    startMember({
      program: program('etcd', minor),
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
  const members = sites.map((site) => launch(site, initialClusterOf(sites), 'new'));

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
    return run(program('etcdctl', minor), [`--endpoints=${endpoints.join(',')}`, ...login, ...args]);
  }

  async function grow(site: Site): Promise<Member> {
    let refusal = '';
    // Refused until every member has been connected to every other for five seconds.
    await until(
      () =>
        etcdctl(['member', 'add', site.name, `--peer-urls=${site.peer}`]).then(
          () => true,
          (error: Error) => {
            refusal = error.message;
            if (!/unhealthy cluster/.test(refusal)) throw error;
            return false;
          },
        ),
      () => refusal,
      { everyMs: 250 },
    );
    const member = launch(site, `${members.map(({ name, peer }) => `${name}=${peer}`).join(',')},${site.name}=${site.peer}`, 'existing');
    members.push(member);
    await member.waitHealthy();
    return member;
  }

  try {
    if (options.wait !== false) await Promise.all(members.map((member) => member.waitHealthy()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    minor,
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
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
