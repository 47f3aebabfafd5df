/** Whether a cluster is what was restored, asked of real members. They are built by etcdutl, and the record holds what the source's own members answered. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, type EtcdMinor } from '../../../tools/programs.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import type { RestoreRecord } from '../../../src/format/types.ts';
import { checkRestored, type RestoredCheck } from '../../../src/restore/check/check.ts';
import { recordOfCluster } from '../../../src/restore/check/record.ts';
import { newCluster, parseInitialCluster } from '../../../src/restore/identity.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { sampleRestore } from '../../support/manifests.ts';
import { run, until } from '../../support/processes.ts';
import { initialClusterOf, newSites, startRestored, type RestoredCluster, type Site } from '../../support/restored.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const { signal } = new AbortController();

let folder: string;
beforeAll(() => {
  folder = temporaryFolder('restore-check');
  return () => removeFolder(folder);
});

interface Snapshot {
  readonly path: string;
  readonly minor: EtcdMinor;
  readonly revision: bigint;
  readonly compactRevision: bigint;
  readonly hash: number;
}

/** A snapshot of a cluster that nobody writes to, and what its member says of its data. */
async function snapshotOf(source: Cluster, name: string): Promise<Snapshot> {
  const path = join(folder, `${name}.db`);
  const endpoint = source.members[0]!.direct;
  await source.etcdctl(['snapshot', 'save', path], { endpoints: [endpoint] });
  const client = new MemberClient(source.access(), endpoint);
  try {
    const { hash, compactRevision, currentRevision } = await client.hashKv(0n, { timeoutMs: 10_000 });
    return { path, minor: source.minor, revision: currentRevision, compactRevision, hash };
  } finally {
    client.close();
  }
}

const TOKEN = 'after-the-outage';

async function etcdutl({ path, minor }: Snapshot, sites: readonly Site[], site: Site): Promise<void> {
  await run(program('etcdutl', minor), [
    'snapshot',
    'restore',
    path,
    `--data-dir=${site.dataDir}`,
    `--name=${site.name}`,
    `--initial-cluster=${initialClusterOf(sites)}`,
    `--initial-cluster-token=${TOKEN}`,
    `--initial-advertise-peer-urls=${site.peer}`,
  ]);
}

function recordOf(snapshot: Snapshot, sites: readonly Site[], changes: Partial<RestoreRecord> = {}): RestoreRecord {
  const { clusterId, members } = newCluster(parseInitialCluster(initialClusterOf(sites)), TOKEN);
  return sampleRestore({
    token: TOKEN,
    clusterId: clusterId.toString(16),
    members: members.map(({ id, name, peerUrls }) => ({ id: id.toString(16), name, peerUrls })),
    revision: String(snapshot.revision),
    compactRevision: String(snapshot.compactRevision),
    hash: snapshot.hash,
    raisedFrom: undefined,
    builder: 'etcdutl',
    etcd: snapshot.minor,
    ...changes,
  });
}

interface Told {
  readonly result: RestoredCheck;
  readonly told: readonly string[];
}

async function check(
  record: RestoreRecord,
  cluster: RestoredCluster,
  endpoints?: readonly string[],
  // What is restored, or never will be, is told at once; only what may still come is waited for.
  timeoutMs = 20_000,
  requestTimeoutMs = 5_000,
): Promise<Told> {
  const told: string[] = [];
  const access = cluster.access({ requestTimeoutMs, ...(endpoints === undefined ? {} : { endpoints }) });
  const progress = ({ message }: { readonly message?: string }): void => void told.push(message ?? '');
  return { result: await checkRestored({ record, access, signal, progress, timeoutMs }), told };
}

describe('three members', () => {
  let source: Cluster;
  let snapshot: Snapshot;
  let sites: Site[];
  let cluster: RestoredCluster;
  let record: RestoreRecord;

  beforeAll(async () => {
    source = await startCluster({ minor: '3.6' });
    await source.fill({ keys: 300, valueBytes: 200 });
    await source.etcdctl(['compact', '2']);
    await source.fill({ keys: 50, valueBytes: 200, seed: 2 });
    snapshot = await snapshotOf(source, 'three');
    sites = await newSites(3, join(folder, 'three'));
    for (const site of sites) await etcdutl(snapshot, sites, site);
    record = recordOf(snapshot, sites);
    cluster = await startRestored({ minor: '3.6', sites, token: TOKEN });
  });
  afterAll(async () => {
    await cluster?.stop();
    await source?.stop();
  });

  test('are restored when each of them has answered everything, the leader last, one hash at a time', async () => {
    const { result, told } = await check(record, cluster);
    expect(result).toMatchObject({ outcome: 'restored', reasons: [] });
    expect(result.members.map((member) => member.asRecorded)).toEqual([true, true, true]);
    expect(result.members.map(({ name, endpoint }) => [name, endpoint])).toEqual(
      record.members.map(({ name }) => [name, sites.find((site) => site.name === name)!.client]),
    );
    const leading = result.members.find(({ name }) => told.at(-1)?.startsWith(name));
    expect(await leaderOf(cluster)).toBe(leading?.id);
    expect(told.filter((line) => line.includes('applies no writes for about'))).toHaveLength(3);
  });

  test('are found from one address: the others are advertised', async () => {
    expect((await check(record, cluster, [sites[1]!.client])).result.outcome).toBe('restored');
  });

  test('are restored also when clients have written since', async () => {
    await cluster.etcdctl(['put', 'written/since', 'x']);
    expect((await check(record, cluster)).result).toMatchObject({ outcome: 'restored' });
  });

  test('one of another cluster among the addresses is named, and nobody calls this restored', async () => {
    const { result } = await check(record, cluster, [...sites.map(({ client }) => client), source.endpoints[0]!]);
    expect(result.outcome).toBe('differs');
    expect(result.reasons).toEqual([
      expect.stringMatching(new RegExp(`^${source.endpoints[0]} belongs to cluster .* not to ${record.clusterId}`)),
    ]);
  });

  test('another hash than was restored: everybody who has it is named, with both numbers', async () => {
    const { result } = await check({ ...record, hash: (record.hash ^ 1) >>> 0 }, cluster);
    expect(result.outcome).toBe('differs');
    expect(result.reasons).toHaveLength(3);
    expect(result.reasons[0]).toContain(
      `has the hash ${record.hash} at revision ${record.revision}, ${(record.hash ^ 1) >>> 0} was restored`,
    );
    expect(result.members.map((member) => member.asRecorded)).toEqual([false, false, false]);
  });

  test('an alarm is named, with the member', async () => {
    const [member] = record.members;
    await raise(cluster, BigInt(`0x${member!.id}`));
    try {
      expect((await check(record, cluster)).result).toMatchObject({
        outcome: 'differs',
        reasons: [`NOSPACE is armed for member ${member!.name}`],
      });
    } finally {
      await cluster.etcdctl(['alarm', 'disarm']);
    }
  });

  test('a member that is late is waited for, and named', async () => {
    const third = cluster.members[2]!;
    await third.kill();
    const early = await check(record, cluster, undefined, 3_000);
    expect(early.result.outcome).toBe('waiting');
    expect(early.result.reasons.join()).toContain(`m3 (${record.members.find(({ name }) => name === 'm3')!.id}) did not answer`);
    expect(early.told[0]).toMatch(/^2 of 3 members answer; waiting: /);
    const [late] = await Promise.all([check(record, cluster, undefined, 30_000), third.restart()]);
    expect(late.result.outcome).toBe('restored');
  });

  test('without quorum nothing is restored, although what is left answers', async () => {
    const gone = cluster.members.slice(1);
    await Promise.all(gone.map((member) => member.kill()));
    const { result } = await check(record, cluster, undefined, 2_500, 1_000);
    expect(result.outcome).toBe('waiting');
    expect(result.reasons.join()).toMatch(/m[23] \(\w+\), m[23] \(\w+\) did not answer/);
    expect(result.reasons.join()).toMatch(/m1 knows no leader|m1: .*(no leader|timed out|did not answer)/);
    await Promise.all(gone.map((member) => member.restart({ wait: false })));
    await Promise.all(cluster.members.map((member) => member.waitHealthy()));
  });

  test('compacted just at the recorded revision, members remember its hash as of the compaction before, which is the recorded one', async () => {
    await cluster.etcdctl(['compact', String(snapshot.revision), '--physical']);
    // They remember it when they have done with the compaction, each for itself.
    let told: Told | undefined;
    await until(
      async () => (told = await check(record, cluster)).result.outcome === 'restored',
      () => JSON.stringify(told?.result),
      { everyMs: 200 },
    );
    expect(told?.result.members.map(({ compactRevision }) => compactRevision)).toEqual(['2', '2', '2']);
    // Whoever was restarted remembers nothing.
    await cluster.members[1]!.restart();
    expect((await check(record, cluster, undefined, 30_000)).result).toMatchObject({ outcome: 'agreed' });
  });

  test('once clients have compacted past it, only agreement is proved, and it is not called restored', async () => {
    await cluster.etcdctl(['put', 'written/later', 'x']);
    await cluster.etcdctl(['compact', String(snapshot.revision + 1n)]);
    const { result } = await check(record, cluster);
    expect(result.outcome).toBe('agreed');
    expect(result.reasons[0]).toMatch(/^clients have gone on: m\d is compacted past .*can no longer be compared/);
    expect(result.reasons[1]).toMatch(/^3 members have the same hash at revision/);
    expect(result.members.map((member) => member.asRecorded)).toEqual([undefined, undefined, undefined]);
  });

  test('a fourth member is one too many', async () => {
    const [more] = await newSites(1, join(folder, 'fourth'));
    await cluster.grow({ ...more!, name: 'm4' });
    const { result } = await check(record, cluster);
    expect(result.outcome).toBe('differs');
    expect(result.reasons.join('\n')).toContain('lists a member m4 that the record does not have');
  });
});

test('a member that was built from other data is found, and named alone', async () => {
  const sources = await Promise.all([startCluster({ minor: '3.5' }), startCluster({ minor: '3.5' })]);
  try {
    // The same keys at the same revisions; one value is another one.
    await sources[0].etcdctl(['put', 'key', 'value']);
    await sources[1].etcdctl(['put', 'key', 'other']);
    const [good, bad] = await Promise.all(sources.map((source, index) => snapshotOf(source, `data-${index}`)));
    const sites = await newSites(3, join(folder, 'data'));
    for (const [index, site] of sites.entries()) await etcdutl(index === 2 ? bad! : good!, sites, site);
    await using cluster = await startRestored({ minor: '3.5', sites, token: TOKEN });
    const { result } = await check(recordOf(good!, sites), cluster);
    expect(result.outcome).toBe('differs');
    expect(result.reasons).toEqual([`m3 has the hash ${bad!.hash} at revision 2, ${good!.hash} was restored`]);
  } finally {
    await Promise.all(sources.map((source) => source.stop()));
  }
});

describe('a cluster with users', () => {
  let cluster: RestoredCluster;
  let record: RestoreRecord;
  const root = { user: 'root', password: 'root' };
  beforeAll(async () => {
    await using source = await startCluster({ minor: '3.7', auth: true });
    await source.etcdctl(['user', 'add', 'reader:secret']);
    await source.etcdctl(['put', 'key', 'value']);
    const snapshot = await snapshotOf(source, 'users');
    const sites = await newSites(1, join(folder, 'users'));
    await etcdutl(snapshot, sites, sites[0]!);
    record = recordOf(snapshot, sites);
    cluster = await startRestored({ minor: '3.7', sites, token: TOKEN, auth: root });
  });
  afterAll(() => cluster?.stop());

  test('is checked as root, by the password it had at the time of the backup', async () => {
    expect((await check(record, cluster)).result.outcome).toBe('restored');
  });

  test.each([
    ['nobody', undefined, 'login-failed', /./],
    ['a wrong password', { user: 'root', password: 'new' }, 'login-failed', /./],
    ['a user without the root role', { user: 'reader', password: 'secret' }, 'permission-denied', /grant-role reader root/],
  ] as const)('as %s it ends at once and says why', async (_who, login, code, hint) => {
    const access = cluster.access(login === undefined ? { user: undefined } : { user: login.user, password: () => login.password });
    const started = performance.now();
    await expect(checkRestored({ record, access, signal, progress: () => {}, timeoutMs: 30_000 })).rejects.toMatchObject({
      code,
      hint: expect.stringMatching(hint) as string,
    });
    // Looking for the record of whoever answers ends no later; Status itself needs a user, but no role.
    if (code === 'login-failed')
      await expect(recordOfCluster({ records: [record], access, signal, progress: () => {}, timeoutMs: 30_000 })).rejects.toMatchObject({
        code,
      });
    expect(performance.now() - started).toBeLessThan(28_000);
  });
});

test('a cluster that wants client certificates', async () => {
  const certificates = writeCertificates(folder, { clientCertRequired: true });
  const { caFile, certFile, keyFile, serverCertFile, serverKeyFile } = certificates.tls;
  await using source = await startCluster({ minor: '3.6' });
  await source.etcdctl(['put', 'key', 'value']);
  const snapshot = await snapshotOf(source, 'tls');
  const sites = (await newSites(1, join(folder, 'tls'))).map((site) => ({ ...site, client: site.client.replace('http:', 'https:') }));
  await etcdutl(snapshot, sites, sites[0]!);
  const flags = [`--cert-file=${serverCertFile}`, `--key-file=${serverKeyFile}`, `--trusted-ca-file=${caFile}`, '--client-cert-auth'];
  await using cluster = await startRestored({ minor: '3.6', sites, token: TOKEN, flags, wait: false });
  await cluster.members[0]!.waitHealthy();
  const record = recordOf(snapshot, sites);
  const ask = (tls: ClusterAccess['tls'], timeoutMs: number): Promise<RestoredCheck> =>
    checkRestored({ record, access: cluster.access({ tls }), signal, progress: () => {}, timeoutMs });
  expect(await ask({ caFile, certFile, keyFile }, 5_000)).toMatchObject({ outcome: 'restored' });
  const without = await ask({ caFile }, 500);
  expect(without.outcome).toBe('waiting');
  expect(without.reasons.join()).toMatch(/m1 \(\w+\) did not answer: no TLS connection .* client certificate/);
});

async function leaderOf(cluster: RestoredCluster): Promise<string> {
  const { leader } = await cluster.members[0]!.status();
  return leader.toString(16);
}

/** NOSPACE of one member, without its cause. */
async function raise(cluster: RestoredCluster, memberId: bigint): Promise<void> {
  const { encode } = await import('../../support/wire.ts');
  await cluster.members[0]!.rpc.call('etcdserverpb.Maintenance/Alarm', encode([1, 1], [2, memberId], [3, 1]));
}
