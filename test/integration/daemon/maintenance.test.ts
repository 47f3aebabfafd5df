/** The daemon keeps a real cluster inside its quota by itself. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { exhaustByHistory, expectCareful, expectHealthy, makeGarbage, watchDefrags, type DefragWatch } from '../../support/maintained.ts';
import { until } from '../../support/processes.ts';
import { startDaemon, type Daemon } from '../../support/run-warden.ts';
import { temporaryFolder, removeFolder } from '../../support/watchdog.ts';

const MIB = 1 << 20;
const QUOTA = 48 * MIB;

let cluster: Cluster;
let watching: DefragWatch;
let folder: string;
beforeAll(async () => {
  folder = temporaryFolder('daemon-maintenance');
  cluster = await startCluster({ minor: '3.6', members: 3, quotaBackendBytes: QUOTA, proxies: true });
  watching = watchDefrags(cluster);
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  removeFolder(folder);
});

/** Thresholds that little data crosses, no waiting, and nothing by the clock but what `part` says. */
function config(part: Record<string, unknown> = {}, name = 'store'): Record<string, unknown> {
  return {
    clusters: {
      main: {
        endpoints: cluster.endpoints,
        requestTimeout: '2s',
        backup: { schedule: 'off' },
        maintenance: {
          schedule: 'off',
          settle: '0s',
          freeShare: '40%',
          minFree: '4MiB',
          minGain: '256KiB',
          emergencyKeepRevisions: 5,
          compaction: 'off',
          cooldown: '1ms',
          ...part,
        },
      },
    },
    stores: { local: { type: 'local', path: join(folder, name) } },
  };
}

const actions = async (daemon: Daemon, action: string): Promise<number> =>
  (await daemon.metric('etcd_warden_maintenance_actions_total', { action })) ?? 0;

async function frozen(count: number, ...daemons: Daemon[]): Promise<void> {
  await until(
    async () => {
      const done = await Promise.all(daemons.map((daemon) => actions(daemon, 'defrag')));
      return done.reduce((a, b) => a + b, 0) >= count;
    },
    () => `fewer than ${count} members were defragmented:\n${daemons.map((daemon) => daemon.output().slice(-4000)).join('\n---\n')}`,
  );
}

/** H12 allows one disarming in an hour, and what was done is remembered in etcd for any daemon: each test is as good as an hour later. */
async function forget(): Promise<void> {
  await cluster.etcdctl(['del', '/etcd-warden/maintenance/main']);
}

describe('the daemon and maintenance, with a real etcd', () => {
  test('of two daemons the elected one defragments what has too much free, one member at a time and no leader; the other does nothing', async () => {
    await makeGarbage(cluster);
    const before = await Promise.all(cluster.members.map(async (member) => (await member.status()).dbSize));
    await using first = await startDaemon(config());
    await using second = await startDaemon(config());
    await frozen(3, first, second);
    const done = [await actions(first, 'defrag'), await actions(second, 'defrag')];
    expect(done.toSorted((a, b) => a - b)).toEqual([0, 3]);
    const [acted, idle] = done[0] === 3 ? [first, second] : [second, first];
    expect(await idle.metric('etcd_warden_leader', { cluster: 'main' })).toBe(0);
    expect((await idle.metric('etcd_warden_maintenance_rounds_total')) ?? 0).toBe(0);

    expectCareful(watching);
    expect(watching.frozen.map(({ member }) => member).toSorted()).toEqual(['m1', 'm2', 'm3']);
    const after = await Promise.all(cluster.members.map(async (member) => (await member.status()).dbSize));
    for (const [at, bytes] of after.entries()) expect(bytes).toBeLessThan(before[at]! * 0.7);
    expect(await acted.metric('etcd_warden_defrag_reclaimed_bytes_total')).toBeGreaterThan(20 * MIB);
    expect(await acted.metric('etcd_warden_defrag_seconds_count')).toBe(3);
    await until(
      async () => (await acted.metric('etcd_warden_maintenance_rounds_total', { outcome: 'done' })) === 1,
      () => acted.output(),
    );
    expect(await acted.metric('etcd_warden_etcd_quota_bytes', { source: 'status' })).toBe(QUOTA);
    await acted.stop();
    await idle.stop();
    await expectHealthy(cluster);
  });

  test('switched off it only looks; a reload that switches it on acts upon what was seen', async () => {
    await makeGarbage(cluster, { seed: 2 });
    const before = watching.frozen.length;
    await using daemon = await startDaemon(config({ enabled: false, schedule: '* * * * * *' }));
    await until(
      async () => (await daemon.metric('etcd_warden_etcd_quota_share')) !== undefined,
      () => daemon.output(),
    );
    expect((await daemon.metric('etcd_warden_jobs_total', { verb: 'maintain' })) ?? 0).toBe(0);
    daemon.reload(config());
    await frozen(3, daemon);
    await daemon.stop();
    expect(watching.frozen).toHaveLength(before + 3);
    expectCareful(watching);
  });

  test('H25: NOSPACE does not take the election away, and the elected one of two daemons cures it while writers go on', async () => {
    await forget();
    await using daemon = await startDaemon(config({ schedule: '* * * * * *' }));
    await until(
      async () => (await daemon.metric('etcd_warden_leader')) === 1 && (await daemon.metric('etcd_warden_coordinated')) === 1,
      () => daemon.output(),
    );
    await using other = await startDaemon(config({ schedule: '* * * * * *' }));
    const writer = cluster.writer({ perSecond: 50 });
    await exhaustByHistory(cluster);
    await until(
      async () => (await cluster.alarms()).length === 0,
      () => `NOSPACE is still armed:\n${daemon.output().slice(-6000)}`,
    );
    const { written } = writer.counters();
    await until(() => writer.counters().written > written + 10, 'the writer is still refused');
    await writer.stop();
    await until(
      async () => (await actions(daemon, 'disarm')) === 1,
      () => daemon.output(),
    );
    expect(await actions(daemon, 'compact')).toBeGreaterThanOrEqual(1);
    expect(daemon.output()).not.toContain('no election');
    expect((await other.metric('etcd_warden_maintenance_rounds_total')) ?? 0).toBe(0);
    await other.stop();
    await until(
      async () => !(await daemon.get('/readyz')).body.includes('no-space'),
      () => daemon.output(),
    );
    await daemon.stop();
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test('H25: while another daemon is elected a standby leaves NOSPACE alone; when that one dies it cures it without an election', async () => {
    await forget();
    await using elected = await startDaemon(config({ enabled: false }));
    await until(
      async () => (await elected.metric('etcd_warden_leader')) === 1,
      () => elected.output(),
    );
    await exhaustByHistory(cluster);
    await using standby = await startDaemon(config({ schedule: '* * * * * *' }));
    await until(
      async () =>
        (await standby.metric('etcd_warden_leader')) === 0 &&
        ((await standby.metric('etcd_warden_etcd_alarms', { alarm: 'nospace' })) ?? 0) > 0,
      () => standby.output(),
    );
    // Now it knows both. It looks at its clock every second, and every slot passes.
    const slots = new Set<number | undefined>();
    await until(
      async () => slots.add(await standby.metric('etcd_warden_maintenance_next_timestamp_seconds')).size > 3,
      () => standby.output(),
    );
    expect(await standby.metric('etcd_warden_leader')).toBe(0);
    expect((await standby.metric('etcd_warden_maintenance_rounds_total')) ?? 0).toBe(0);
    expect(await cluster.alarms()).not.toEqual([]);
    elected.kill('SIGKILL');
    await until(
      async () => (await cluster.alarms()).length === 0,
      () => `NOSPACE is still armed:\n${standby.output().slice(-6000)}`,
      { timeoutMs: 120_000 },
    );
    expect(standby.output()).toContain('no election: this daemon');
    await until(
      async () => (await standby.metric('etcd_warden_leader')) === 1 && (await standby.metric('etcd_warden_coordinated')) === 1,
      () => standby.output(),
    );
    await standby.stop();
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test('etcd before 3.6.6 does not tell its quota with its Status: it comes from the metrics', async () => {
    await using older = await startCluster({ minor: '3.5', members: 1, quotaBackendBytes: QUOTA });
    const { clusters, ...rest } = config({ enabled: false }) as { clusters: { main: object } };
    await using daemon = await startDaemon({ ...rest, clusters: { main: { ...clusters.main, endpoints: older.endpoints } } });
    await until(
      async () => (await daemon.metric('etcd_warden_etcd_quota_bytes', { source: 'metrics' })) === QUOTA,
      () => daemon.output(),
    );
    await daemon.stop();
  });
});
