/** Members that stay away for longer than anybody waits, and processes that are killed at every step. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CrashPoint } from '../../../src/crash-points.ts';
import { silentLogger, type Logger } from '../../../src/telemetry/logger.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import {
  ALL,
  exhaustByHistory,
  expectCareful,
  expectHealthy,
  expectOutcome,
  forget,
  maintained,
  makeGarbage,
  ROUTINE,
  watchDefrags,
  whileFrozen,
} from '../../support/maintained.ts';
import { runWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const DEFRAGMENT = 'etcdserverpb.Maintenance/Defragment';
const LOCK = '/etcd-warden/lock';
const LEASE_SECONDS = 5;
/** In the order in which a cure of three members comes by them. */
const STEPS: readonly CrashPoint[] = [
  'before-compact',
  'after-compact',
  'before-defrag',
  'mid-defrag',
  'after-defrag',
  'before-move-leader',
  'after-move-leader',
  'before-disarm',
  'mid-disarm',
];
/** Twice the lease and then some. */
const FROZEN_MS = 11_000;

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('lasting');
  return () => removeFolder(folder);
});

describe('three members', () => {
  let cluster: Cluster;
  let seed = 0;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3, proxies: true });
  });
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    await forget(cluster);
    await makeGarbage(cluster, { seed: ++seed });
  });

  test('H2 and H3: an answer to Defragment that never comes is an alarm and nothing else: sent once, nobody else is touched, and the member is seen to be back', async () => {
    const held = cluster.members.map((member) => cluster.proxyOf(member).hold(DEFRAGMENT));
    const calls = (): number => cluster.members.reduce((sum, member) => sum + cluster.proxyOf(member).calls(DEFRAGMENT), 0);
    const before = calls();
    const errors: string[] = [];
    const logger: Logger = { ...silentLogger, error: (_fields, message) => errors.push(message), child: () => logger };
    const progress: string[] = [];
    const subject = maintained({ folder, cluster });
    const round = await subject.maintain(ROUTINE, {
      logger,
      progress: ({ message = '' }) => progress.push(message),
      pace: { alarmMs: 1_500, tellMs: 500 },
    });
    expectOutcome(round, 'failed');
    expect(round.failure!.message).toContain('never answered its defragmentation');
    expect(errors).toContainEqual(expect.stringContaining('takes far longer than predicted; nothing else is begun'));
    expect(progress).toContainEqual(expect.stringContaining('far longer than the'));
    expect(calls() - before).toBe(1);
    for (const { release } of held) release();
    for (const member of cluster.members) cluster.proxyOf(member).heal();
    const watching = watchDefrags(cluster);
    expectOutcome(await subject.maintain(ALL), 'done');
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test('a round that is told to stop while a member is frozen ends at once, says that the member goes on, and leaves lock and others free', async () => {
    const watching = watchDefrags(cluster);
    const stop = new AbortController();
    const release = Promise.withResolvers<void>();
    watching.after = async () => {
      stop.abort();
      await release.promise;
    };
    const subject = maintained({ folder, cluster });
    await expect(subject.maintain(ALL, { signal: stop.signal })).rejects.toMatchObject({
      code: 'interrupted',
      message: expect.stringMatching(/stopped while m\d was being defragmented: it goes on there/) as string,
    });
    expect(await cluster.etcdctl(['get', LOCK])).toBe('');
    release.resolve();
    watching.after = undefined;
    expect(watching.frozen).toHaveLength(1);
    expectOutcome(await subject.maintain(ALL), 'done');
    expect(watching.frozen).toHaveLength(4);
    await expectHealthy(cluster);
  });

  test('H25: a member that is frozen for longer than the lease costs nobody the lock, and nobody gets in meanwhile', async () => {
    const watching = watchDefrags(cluster);
    const intruder = maintained({ folder: `${folder}/intruder`, cluster });
    let frozen = false;
    const holders: string[] = [];
    const intrusions: unknown[] = [];
    const freezes = (await cluster.followers()).map((member) =>
      whileFrozen(member, async () => {
        if (frozen) return;
        frozen = true;
        member.pause();
        const others = cluster.members.filter((other) => other !== member).map(({ direct }) => direct);
        const end = performance.now() + FROZEN_MS;
        while (performance.now() < end) {
          holders.push(await cluster.etcdctl(['get', LOCK, '--print-value-only'], { endpoints: others }));
          intrusions.push(await intruder.maintain(ALL).catch((error: unknown) => error));
          await delay(200);
        }
        member.resume();
      }),
    );
    const round = await maintained({ folder, cluster }).maintain(ALL, { leaseSeconds: LEASE_SECONDS });
    expectOutcome(round, 'done');
    expect(frozen).toBe(true);
    expect(holders.length).toBeGreaterThan(1);
    for (const holder of holders) expect(holder).toContain(`${process.pid}`);
    // Refused by what it sees, or by the lock.
    for (const intrusion of intrusions) expect(JSON.stringify(intrusion)).toMatch(/"locked"|"outcome":"refused"/);
    expect(watching.frozen).toHaveLength(3);
    expectCareful(watching);
    await Promise.all(freezes);
    await expectHealthy(cluster);
  });
});

test('H25: a single member that is frozen for longer than the lease is waited for, asked once, and well afterwards', async () => {
  await using cluster = await startCluster({ minor: '3.5', proxies: true });
  await makeGarbage(cluster);
  const watching = watchDefrags(cluster);
  const [member] = cluster.members;
  const freeze = whileFrozen(member!, async () => {
    member!.pause();
    await delay(FROZEN_MS);
    member!.resume();
  });
  const round = await maintained({ folder, cluster }).maintain(ALL, { leaseSeconds: LEASE_SECONDS });
  await freeze;
  expectOutcome(round, 'done');
  expect(watching.frozen).toHaveLength(1);
  await expectHealthy(cluster);
});

test('a cure that is killed at every step and started again each time ends as one that was not: each member below its quota, NOSPACE disarmed once', async () => {
  await using cluster = await startCluster({ minor: '3.7', members: 3, quotaBackendBytes: 16 << 20, proxies: true });
  await exhaustByHistory(cluster);
  const watching = watchDefrags(cluster);
  const { configPath } = maintained({ folder, cluster });
  const cure = ['defrag', '--all', '--yes', '--config', configPath];
  for (const point of STEPS) {
    const killed = await runWarden(cure, { env: { ETCD_WARDEN_TEST: '1', ETCD_WARDEN_CRASH_AT: point } });
    expect(killed.signal, `${point}: ${killed.stdout}${killed.stderr}`).toBe('SIGKILL');
  }
  // Disarmed and killed before that was proved: nothing is left to do.
  const last = await runWarden(['defrag', '--yes', '--config', configPath, '--json']);
  expect(last.code, last.stdout + last.stderr).toBe(0);
  expect(last.json()).toMatchObject({ outcome: 'nothing' });
  expect(watching.frozen.filter(({ overlapped, led }) => overlapped || led)).toEqual([]);
  for (const member of cluster.members) expect((await member.status()).dbSize).toBeLessThan((16 << 20) * 0.8);
  await expectHealthy(cluster);
});
