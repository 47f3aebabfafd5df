import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { REPLACE_CRASH_POINTS } from '../../../src/crash-points.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startWriter } from '../../support/load.ts';
import { product, type Product } from '../../support/product.ts';
import { BREAKS, expectWhole, fakeSystemd, oldData, opened, replaced, type FakeSystemd, type FakeUnit } from '../../support/replacing.ts';
import { runWarden } from '../../support/run-warden.ts';

describe('a replacement', () => {
  let cluster: Cluster;
  let folder: string;
  let subject: Product;
  let systemd: FakeSystemd;
  let unit: FakeUnit;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'warden-interrupted-'));
    systemd = await fakeSystemd(folder);
    vi.stubEnv('PATH', `${systemd.bin}:${process.env['PATH']}`);
    cluster = await startCluster({ minor: '3.6', members: 3 });
    unit = systemd.unit(cluster, cluster.members[0]!);
    await cluster.fill({ keys: 100, valueBytes: 100 });
    subject = product({ folder: join(folder, 'product'), cluster, clusterOptions: { dialTimeout: '2s', requestTimeout: '3s' } });
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await cluster?.stop();
    await systemd?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const words = (member = 'm1'): string[] => [
    'member',
    'replace',
    member,
    `--config=${subject.configPath}`,
    '--platform=systemd',
    `--unit=${unit.unit}`,
    `--environment-file=${unit.environmentFile}`,
    `--data-dir=${cluster.members[0]!.dataDir}`,
  ];

  test('of a healthy member is refused, and nothing is done in a dry run', async () => {
    const { code, stdout } = await runWarden([...words(), '--dry-run'], { env: { PATH: process.env['PATH']! } });
    expect(code, stdout).toBe(14);
    expect(stdout).toMatch(/refused \(not-broken\): nothing is wrong with m1/);
    const dry = await runWarden([...words(), '--dry-run', '--healthy', '--json'], { env: { PATH: process.env['PATH']! } });
    expect(dry.code, dry.stderr).toBe(0);
    const { outcome, plan } = dry.json<{ outcome: string; plan: { step: string; by: string }[] }>();
    expect(outcome).toBe('planned');
    const steps = plan.map(({ step }) => step).filter((step) => step !== 'move-leader');
    expect(steps).toEqual(['remove', 'stop', 'move-data', 'add', 'start', 'catch-up', 'promote', 'check']);
    expect(plan.every(({ by }) => by === 'etcd-warden')).toBe(true);
    expect((await cluster.etcdctl(['member', 'list'])).trim().split('\n')).toHaveLength(3);
  });

  test('with the data directory or the unit of another member is refused', async () => {
    const healthy = { member: 'm2', request: { healthy: true } };
    const place = { dataDir: cluster.members[0]!.dataDir, walDir: undefined };
    for (const [request, reason] of [
      [{ ...healthy.request, place }, /m1 holds the data of m1, not of m2|holds the data of m1/],
      [{ ...healthy.request, place, managedBy: unit }, /runs m1, not m2/],
    ] as const) {
      const task = await opened({ product: subject, member: 'm2', request });
      await task.close();
      const refusal = task.preview.gates.find(({ rule, verdict }) => rule === 'wrong-data' && verdict === 'refused');
      expect(refusal?.message).toMatch(reason);
      await expect(replaced({ product: subject, member: 'm2', request })).rejects.toMatchObject({ code: 'refused' });
    }
    expect((await cluster.etcdctl(['member', 'list'])).trim().split('\n')).toHaveLength(3);
    expect(cluster.members[0]!.running()).toBe(true);
  });

  test('killed at every step and run again each time goes on to the end', async () => {
    const member = cluster.members[0]!;
    const gone = (await member.status()).memberId;
    await BREAKS['it was started as a new cluster']!(member, cluster, folder);
    // Not through the member that is a cluster of its own now.
    const writer = startWriter(
      cluster.members.slice(1).map(({ rpc }) => rpc),
      { perSecond: 50 },
    );
    for (const point of REPLACE_CRASH_POINTS) {
      const killed = await runWarden([...words(), '--yes'], {
        env: { PATH: process.env['PATH']!, ETCD_WARDEN_TEST: '1', ETCD_WARDEN_CRASH_AT: point },
      });
      expect(killed.signal, `${point}: ${killed.stderr}${killed.stdout}`).toBe('SIGKILL');
      // Nothing that changes anything was ever sent to the other cluster, although its address is among the endpoints.
      if (point === 'after-remove') expect((await member.status()).revision).toBe(1n);
    }
    const last = await runWarden([...words(), '--yes', '--json'], { env: { PATH: process.env['PATH']! } });
    expect(last.code, last.stderr).toBe(0);
    // All the rest was done by those that were killed.
    expect(last.json<{ steps: { step: string }[] }>().steps.map(({ step }) => step)).toEqual(['check']);
    const { written } = await writer.stop();
    expect(written).toBeGreaterThan(10);
    await expectWhole(cluster, gone);
    expect(oldData(member)).toHaveLength(1);
    expect(readFileSync(unit.environmentFile, 'utf8')).toMatch(/^ETCD_INITIAL_CLUSTER_STATE="existing"$/m);
    // Nothing is left that a later run could take for its own.
    const after = await runWarden([...words(), '--dry-run'], { env: { PATH: process.env['PATH']! } });
    expect(after.code).toBe(14);
    expect(after.stdout).toContain('nothing is wrong with m1');
  });

  test('of one of two broken members is refused, and of the last one says what is left to do', async () => {
    const [m1, m2] = cluster.members;
    await m1!.kill('SIGKILL');
    await m2!.kill('SIGKILL');
    const { code, stdout } = await runWarden([...words(), '--yes'], { env: { PATH: process.env['PATH']! } });
    expect(code, stdout).toBe(14);
    expect(stdout).toMatch(/refused \(no-quorum\)/);
    expect(stdout).toContain('etcd-warden restore --latest --plan --cluster main');
    expect(stdout).toContain('--force-new-cluster');
  });
});
