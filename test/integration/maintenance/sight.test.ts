/** One look at real clusters: what the planner is told of them, on every release that counts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MaintenanceConfig } from '../../../src/config/types.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { openUpkeep } from '../../../src/etcd/upkeep.ts';
import { EMPTY_PAST } from '../../../src/maintenance/planner/past.ts';
import type { MemberState } from '../../../src/maintenance/planner/types.ts';
import { openLook } from '../../../src/maintenance/sight/look.ts';
import type { Sight } from '../../../src/maintenance/types.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { ETCD_MINORS } from '../../../tools/programs.ts';
import { writeCertificates, type TestCertificates } from '../../support/certificates.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { clusterConfig, maintenanceConfig } from '../../support/daemon-fakes.ts';
import { type FakeMember, startFakeMember } from '../../support/fake-member.ts';
import { stalledSnapshot } from '../../support/maintained.ts';
import { until } from '../../support/processes.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { encode } from '../../support/wire.ts';

const MIB = 1024 * 1024;
const QUOTA = 96 * MIB;

interface Circumstances {
  readonly access?: Partial<ClusterAccess>;
  readonly maintenance?: Partial<MaintenanceConfig>;
  readonly signal?: AbortSignal;
}

async function look(cluster: Pick<Cluster, 'access'>, { access: changes, maintenance, signal }: Circumstances = {}): Promise<Sight> {
  const access = cluster.access(changes);
  const upkeep = openUpkeep(access);
  const eyes = openLook({
    cluster: clusterConfig({
      endpoints: access.endpoints,
      tls: {
        caFile: access.tls?.caFile,
        certFile: access.tls?.certFile,
        keyFile: access.tls?.keyFile,
        serverName: undefined,
        insecureSkipVerify: false,
      },
      maintenance: maintenanceConfig(maintenance),
    }),
    access,
    upkeep,
    past: () => EMPTY_PAST,
    marks: () => [],
    ownReads: () => ['snapshot of m1'],
    disagreement: () => undefined,
    lock: () => ({ state: 'unasked', detail: undefined, elected: false }),
    now: () => new Date(),
    logger: silentLogger,
  });
  try {
    return await eyes.look(signal ?? AbortSignal.timeout(30_000));
  } finally {
    eyes.close();
    upkeep.close();
  }
}

async function only(cluster: Cluster, circumstances?: Circumstances): Promise<MemberState> {
  return (await look(cluster, circumstances)).state.members[0]!;
}

describe.each(ETCD_MINORS)('one member of etcd %s', (minor) => {
  let cluster: Cluster;
  const told = minor < '3.6' ? 'metrics' : 'status';

  beforeAll(async () => {
    cluster = await startCluster({ minor, quotaBackendBytes: QUOTA, proxies: true });
    await cluster.fill({ keys: 10_000, valueBytes: 1_000 });
  });
  afterAll(() => cluster?.stop());

  test('everything that counts is told', async () => {
    const [member] = cluster.members;
    const known = await member!.status();
    const { state, notes } = await look(cluster);
    expect(notes).toEqual([]);
    expect(state).toMatchObject({
      clusterId: known.clusterId.toString(16),
      alarms: [],
      revision: known.revision,
      compactRevision: 0n,
      kubernetes: false,
      ownReads: ['snapshot of m1'],
      window: { configured: false, open: false, nextMs: undefined },
    });
    const id = known.memberId.toString(16);
    expect(state.members).toMatchObject([
      {
        id,
        name: 'm1',
        endpoint: member!.endpoint,
        voter: true,
        reachable: true,
        error: undefined,
        version: known.version,
        quota: { bytes: QUOTA, source: told },
        leader: id,
        raftTerm: known.raftTerm,
        revision: known.revision,
        compacting: false,
        gauges: { snapshotStreams: 0, defragInflight: false, raftSnapshotInflight: false },
        gaugesError: undefined,
        rate: { learned: false },
      },
    ]);
    const { dbSize, dbSizeInUse, readMs, gauges, raftIndex, raftAppliedIndex } = state.members[0]!;
    // What was written last may not have been committed before.
    expect(dbSize).toBeGreaterThanOrEqual(known.dbSize);
    expect(dbSizeInUse).toBeGreaterThan(8 * MIB);
    expect(readMs).toBeGreaterThan(0);
    expect(raftIndex).toBeGreaterThan(0n);
    expect(raftAppliedIndex).toBeGreaterThan(0n);
    expect(Math.abs(gauges!.startedMs! - Date.now())).toBeLessThan(60_000);
  });

  test('H5: a snapshot that somebody streams shows although nobody writes, and no longer when it ended', async () => {
    const stream = await stalledSnapshot(cluster.members[0]!);
    expect((await only(cluster)).gauges?.snapshotStreams).toBe(1);
    stream.close();
    await until(async () => (await only(cluster)).gauges?.snapshotStreams === 0, 'the stream goes on');
  });

  test('H24: a member that somebody asks for its hash shows, and no longer when nobody does', async () => {
    const asking = { on: true };
    const { rpc } = cluster.members[0]!;
    // Some are always under way: each scans the whole database, one after the other.
    const askers = Array.from({ length: 6 }, async () => {
      while (asking.on) await rpc.call('etcdserverpb.Maintenance/HashKV', encode(), { timeoutMs: 30_000 });
    });
    try {
      await until(async () => ((await only(cluster)).gauges?.hashCalls ?? 0) > 0, 'nobody sees who asks for hashes');
    } finally {
      asking.on = false;
    }
    await Promise.all(askers);
    await until(async () => (await only(cluster)).gauges?.hashCalls === 0, 'somebody asks for hashes still');
  });

  test('H5: clients that read ten thousand keys at once, and write, do not look like a snapshot', async () => {
    const load = { on: true };
    const { rpc } = cluster.members[0]!;
    const busy = [1, 2].map(async () => {
      while (load.on) {
        await rpc.call('etcdserverpb.KV/Range', encode([1, Buffer.alloc(1)], [2, Buffer.alloc(1)]));
        await rpc.call('etcdserverpb.KV/Put', encode([1, '/busy'], [2, 'x']));
      }
    });
    for (let round = 0; round < 5; round++) expect((await only(cluster)).gauges?.snapshotStreams).toBe(0);
    load.on = false;
    await Promise.all(busy);
  });

  test('H10: Kubernetes is known by its key, and what was compacted by the revision', async () => {
    await cluster.etcdctl(['put', 'compact_rev_key', '1']);
    const { revision } = await cluster.members[0]!.status();
    await cluster.etcdctl(['compact', '--physical', String(revision)]);
    expect((await look(cluster)).state).toMatchObject({ kubernetes: true, compactRevision: revision });
  });

  test('H12: alarms are told with the member that they are of', async () => {
    await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
    const { state } = await look(cluster);
    expect(state.alarms).toEqual([{ type: 'NOSPACE', memberId: state.members[0]!.id }]);
    await cluster.disarmAlarms();
  });

  test('where the metrics are closed the quota is the configured one, and why is told', async () => {
    const proxy = cluster.proxyOf(cluster.members[0]!);
    proxy.closeMetrics();
    const { state, notes } = await look(cluster, { maintenance: { quota: 70 * MIB } });
    const expected = minor < '3.6' ? { bytes: 70 * MIB, source: 'configured' } : { bytes: QUOTA, source: 'status' };
    expect(state.members[0]).toMatchObject({ quota: expected, gauges: undefined, compacting: false });
    expect(state.members[0]!.gaugesError).toMatch(/^GET \/metrics at http.*ECONNRESET/);
    expect(notes).toEqual([expect.stringMatching(/^the metrics of m1 cannot be read: GET \/metrics at /)]);
    if (minor < '3.6') expect((await only(cluster)).quota).toEqual({ bytes: 2 * 1024 * MIB, source: 'default' });
    proxy.heal();
  });

  test('metrics at an address of their own are found by the template', async () => {
    const { port } = new URL(cluster.members[0]!.metrics);
    cluster.proxyOf(cluster.members[0]!).closeMetrics();
    const metrics = { url: `http://{host}:${port}/metrics`, caFile: undefined, certFile: undefined, keyFile: undefined };
    const member = await only(cluster, { maintenance: { metrics } });
    expect(member).toMatchObject({ quota: { bytes: QUOTA, source: told }, gauges: { defragInflight: false } });
    cluster.proxyOf(cluster.members[0]!).heal();
  });

  test('a quota of zero is the default of etcd, and a negative one is none', async () => {
    const [member] = cluster.members;
    await member!.restart({ flags: ['--quota-backend-bytes=0'] });
    expect((await only(cluster)).quota).toEqual({ bytes: 2 * 1024 * MIB, source: told });
    await member!.restart({ flags: ['--quota-backend-bytes=-1'] });
    expect((await only(cluster)).quota).toEqual({ bytes: undefined, source: told });
  });
});

describe('three members', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
    await cluster.fill({ keys: 1_000, valueBytes: 1_000 });
  });
  afterAll(() => cluster?.stop());

  async function eventually<T>(get: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
    let value = await get();
    await until(async () => good(value) || good((value = await get())), 'it did not come to that');
    return value;
  }

  const named = ({ state }: Sight): Record<string, MemberState> => Object.fromEntries(state.members.map((member) => [member.name, member]));

  test('metrics of another member than the one asked for do not count', async () => {
    const { port } = new URL(cluster.members[0]!.metrics);
    const metrics = { url: `http://{host}:${port}/metrics`, caFile: undefined, certFile: undefined, keyFile: undefined };
    const { m1, m2 } = named(await look(cluster, { maintenance: { metrics } }));
    expect(m1!.gauges).toBeDefined();
    expect(m2).toMatchObject({ gauges: undefined, gaugesError: `the metrics there are those of member ${m1!.id}` });
  });

  test('H11: a compaction that a member has not finished shows', async () => {
    let revision = 0n;
    let shows = false;
    // On a busy machine a look may come too late for one of them.
    for (let round = 0; round < 10 && !shows; round++) {
      for (let seed = 1; seed < 11; seed++) await cluster.fill({ keys: 2_500, valueBytes: 10, prefix: '/small/', seed: 10 * round + seed });
      ({ revision } = await cluster.members[0]!.status());
      const compaction = { runs: true };
      const done = cluster.etcdctl(['compact', '--physical', String(revision)]).finally(() => (compaction.runs = false));
      while (compaction.runs && !shows) shows = (await look(cluster)).state.members.some(({ compacting }) => compacting);
      await done;
    }
    expect(shows).toBe(true);
    await until(async () => (await look(cluster)).state.members.every(({ compacting }) => !compacting), 'the compaction does not end');
    expect((await look(cluster)).state.compactRevision).toBe(revision);
  });

  test('H4: a member that is frozen shows, soon, and the others are told as ever', async () => {
    const [frozen, other] = await cluster.followers();
    frozen!.pause();
    const started = performance.now();
    const seen = named(await look(cluster));
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(seen[frozen!.name]).toMatchObject({ reachable: false, readMs: undefined, voter: true });
    expect(seen[frozen!.name]!.error).toMatch(/did not answer within \d+ ms|no connection/);
    expect(seen[other!.name]).toMatchObject({ reachable: true, error: undefined });
    expect(seen[other!.name]!.readMs).toBeGreaterThan(0);
    frozen!.resume();
    await frozen!.waitHealthy();
  });

  test('H2: a member that is being defragmented answers nothing but its metrics, which tell why', async () => {
    const [frozen] = await cluster.followers();
    // It waits for the end of the stream, with all its locks held (H5).
    const stream = await stalledSnapshot(frozen!);
    const client = new MemberClient(cluster.access(), frozen!.endpoint);
    const defragmented = client.defragment();
    try {
      const seen = await eventually(
        async () => named(await look(cluster))[frozen!.name]!,
        ({ reachable }) => !reachable,
      );
      expect(seen).toMatchObject({ error: expect.stringContaining('did not answer') as string, gauges: { defragInflight: true } });
    } finally {
      stream.close();
      await defragmented;
      client.close();
    }
    expect(named(await look(cluster))[frozen!.name]).toMatchObject({ reachable: true, gauges: { defragInflight: false } });
  });

  test('H13: a learner is told as one, without a linearizable read', async () => {
    const learner = await cluster.addLearner();
    const seen = named(await look(cluster));
    expect(seen[learner.name]).toMatchObject({ voter: false, reachable: true, readMs: undefined, error: undefined });
    expect(seen[learner.name]!.gauges).toMatchObject({ snapshotStreams: 0 });
    const { memberId } = await learner.status();
    await cluster.etcdctl(['member', 'remove', memberId.toString(16)]);
    await learner.kill();
  });

  test('H4: a member that was added and never started, and one that is dead, are told with the reason', async () => {
    await cluster.etcdctl(['member', 'add', 'm9', '--peer-urls=http://127.0.0.1:1']);
    const silentOnes = async (): Promise<MemberState[]> => (await look(cluster)).state.members.filter(({ reachable }) => !reachable);
    const [unstarted, ...others] = await silentOnes();
    expect(others).toEqual([]);
    expect(unstarted).toMatchObject({ name: unstarted!.id, voter: true, error: 'it was added, but has never been started' });
    await cluster.etcdctl(['member', 'remove', unstarted!.id]);
    const [dead] = await cluster.followers();
    await dead!.kill();
    expect(await silentOnes()).toMatchObject([
      { name: dead!.name, voter: true, error: expect.stringContaining('ECONNREFUSED') as string, quota: { source: 'default' } },
    ]);
    await dead!.restart();
  });

  test('without a quorum whatever the survivor knows is told', async () => {
    await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
    const survivor = cluster.members[0]!;
    await Promise.all(cluster.members.slice(1, 3).map((member) => member.kill()));
    await until(async () => (await survivor.status()).leader === 0n, 'the survivor believes in a leader');
    const sight = await look(cluster, { access: { endpoints: [survivor.endpoint] } });
    const seen = named(sight);
    expect(seen[survivor.name]).toMatchObject({ reachable: true, leader: '', readMs: undefined });
    expect(seen[survivor.name]!.error).toMatch(/did not answer|no leader|timed out/);
    expect(sight.state.members.filter(({ reachable }) => !reachable)).toHaveLength(2);
    expect(sight.state.alarms).toEqual([{ type: 'NOSPACE', memberId: seen[survivor.name]!.id }]);
  });

  test('a look that is given up ends at once', async () => {
    const started = performance.now();
    await expect(look(cluster, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: 'timeout' });
    // A call to those who are gone, or without a quorum, is given two seconds.
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('a member whose metrics tell nothing', () => {
  let fake: FakeMember;
  beforeAll(async () => {
    fake = await startFakeMember({ status: { dbSize: 64 * MIB, dbSizeInUse: 60 * MIB, dbSizeQuota: 0 } });
  });
  afterAll(() => fake?.close());

  const fakeCluster = {
    access: (): ClusterAccess => ({
      name: 'fake',
      endpoints: [fake.endpoint],
      requestTimeoutMs: 1_000,
      dialTimeoutMs: 1_000,
      streamIdleTimeoutMs: 1_000,
      discover: true,
    }),
  };

  test.each([
    [60 * MIB - 4096, false],
    [59 * MIB, true],
  ])('H11: compacts when its bytes in use fall by more than pages come and go: 60 MiB to %i', async (dbSizeInUse, compacting) => {
    fake.status = { ...fake.status, dbSizeInUse: 60 * MIB };
    fake.answers.set('etcdserverpb.KV/Range', () => {
      fake.status = { ...fake.status, dbSizeInUse };
      return encode([1, fake.header()]);
    });
    const { state } = await look(fakeCluster);
    expect(state.members).toMatchObject([{ reachable: true, compacting, gauges: undefined, quota: { source: 'default' } }]);
  });
});

describe('H14: a user who may use our keys alone', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.5', auth: true });
    await cluster.etcdctl(['user', 'add', 'warden:secret']);
    await cluster.etcdctl(['role', 'add', 'warden']);
    await cluster.etcdctl(['role', 'grant-permission', 'warden', 'readwrite', '/etcd-warden/', '--prefix']);
    await cluster.etcdctl(['user', 'grant-role', 'warden', 'warden']);
    await cluster.fill({ keys: 300, valueBytes: 10_000 });
  });
  afterAll(() => cluster?.stop());

  test('sees everything but the key of Kubernetes, which is taken for present', async () => {
    const { revision } = await cluster.members[0]!.status();
    await cluster.etcdctl(['compact', String(revision)]);
    const { state, notes } = await look(cluster, { access: { user: 'warden', password: () => 'secret' } });
    expect(state).toMatchObject({ kubernetes: true, compactRevision: revision, alarms: [] });
    expect(state.members[0]).toMatchObject({ reachable: true, error: undefined, gauges: { snapshotStreams: 0 } });
    expect(notes).toEqual([expect.stringMatching(/^whether Kubernetes compacts .* user warden may not read compact_rev_key$/)]);
  });

  test('and where not even those may be read, the metrics tell what was compacted', async () => {
    await cluster.etcdctl(['role', 'revoke-permission', 'warden', '/etcd-warden/', '--prefix']);
    const { state } = await look(cluster, { access: { user: 'warden', password: () => 'secret' } });
    expect(state.compactRevision).toBeGreaterThan(0n);
  });
});

describe('metrics of members that want client certificates', () => {
  let folder: string;
  let certificates: TestCertificates;
  let cluster: Cluster;
  beforeAll(async () => {
    folder = temporaryFolder('sight-tls');
    certificates = writeCertificates(folder, { clientCertRequired: true });
    cluster = await startCluster({ minor: '3.5', quotaBackendBytes: QUOTA, tls: certificates.tls });
    await cluster.fill({ keys: 10, valueBytes: 1_000 });
  });
  afterAll(async () => {
    await cluster?.stop();
    removeFolder(folder);
  });

  test('are read with the certificate of the cluster', async () => {
    expect(await only(cluster)).toMatchObject({ quota: { bytes: QUOTA, source: 'metrics' }, gaugesError: undefined });
  });

  test('or with one of their own', async () => {
    const own = certificates.write('metrics', certificates.authority.issue({ commonName: 'metrics' }));
    const metrics = { url: `${cluster.endpoints[0]}/metrics`, caFile: undefined, ...own };
    expect(await only(cluster, { maintenance: { metrics } })).toMatchObject({ quota: { source: 'metrics' } });
  });

  test('a CA that did not sign them is told as in every other call', async () => {
    const metrics = { url: undefined, caFile: certificates.strangeCaFile, certFile: undefined, keyFile: undefined };
    const member = await only(cluster, { maintenance: { metrics } });
    expect(member.gauges).toBeUndefined();
    expect(member.gaugesError).toMatch(/its certificate is signed by a CA that is not trusted here/);
  });
});
