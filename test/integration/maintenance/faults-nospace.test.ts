/** Clusters that are out of space, and alarms that nobody should touch. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { RoundResult } from '../../../src/maintenance/types.ts';
import { startCluster } from '../../support/cluster.ts';
import {
  ALL,
  clockOff,
  exhaustByHistory,
  expectCareful,
  expectHealthy,
  expectOutcome,
  maintained,
  makeGarbage,
  memberIds,
  ROUTINE,
  takesPuts,
  watchDefrags,
} from '../../support/maintained.ts';
import { until } from '../../support/processes.ts';
import { runWarden, startDaemon } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const MIB = 1 << 20;
const QUOTA = 16 * MIB;
const HOUR = 3_600_000;

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('no-space');
  return () => removeFolder(folder);
});

function rules({ plan }: RoundResult): string[] {
  return plan.refusals.map(({ rule }) => rule);
}

function kinds({ actions }: RoundResult): string[] {
  return actions.map(({ action }) => action);
}

describe('NOSPACE', () => {
  test('H25: two processes that nobody elected cure it at once, with writers hammering: one member at a time, and every one below its threshold', async () => {
    await using cluster = await startCluster({ minor: '3.5', members: 3, quotaBackendBytes: QUOTA, proxies: true });
    await exhaustByHistory(cluster);
    const watching = watchDefrags(cluster);
    const writer = cluster.writer({ perSecond: 50 });
    const subjects = ['one', 'two'].map((name) => maintained({ folder: join(folder, name), cluster }));
    const rounds = await Promise.allSettled(subjects.map((subject) => subject.maintain(ROUTINE)));
    expectCareful(watching);
    // One may find that the other is at it, at any step; none may have been surprised by more than that.
    expect(rounds.some((round) => round.status === 'fulfilled' && ['done', 'nothing'].includes(round.value.outcome))).toBe(true);
    expect(await cluster.alarms()).toEqual([]);
    const before = writer.counters().written;
    await until(() => writer.counters().written > before + 10, 'the writer is still refused');
    await writer.stop();
    for (const member of cluster.members) expect((await member.status()).dbSize).toBeLessThan(QUOTA * 0.8);
    await expectHealthy(cluster);
  });

  test('H25: two daemons that are started after it was armed cure it, one member at a time', async () => {
    await using cluster = await startCluster({ minor: '3.6', members: 3, quotaBackendBytes: QUOTA, proxies: true });
    await exhaustByHistory(cluster);
    const watching = watchDefrags(cluster);
    const writer = cluster.writer({ perSecond: 50 });
    const config = {
      clusters: {
        main: {
          endpoints: cluster.endpoints,
          requestTimeout: '2s',
          backup: { schedule: 'off' },
          maintenance: { settle: '0s', minGain: '256KiB', emergencyKeepRevisions: 5 },
        },
      },
    };
    const daemons = await Promise.all(
      ['one', 'two'].map((name) => startDaemon({ ...config, stores: { disk: { type: 'local', path: join(folder, name) } } })),
    );
    try {
      await until(
        async () => (await cluster.alarms()).length === 0,
        () => `NOSPACE is still armed:\n${daemons.map((daemon) => daemon.output().slice(-3_000)).join('\n---\n')}`,
        { timeoutMs: 120_000, everyMs: 200 },
      );
      const before = writer.counters().written;
      await until(() => writer.counters().written > before + 10, 'the writer is still refused');
    } finally {
      await writer.stop();
      for (const daemon of daemons) await daemon.stop();
    }
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test('H26: with a member down it compacts, stops and names the two ways out; --degraded is one; the member that comes back is mended too', async () => {
    await using cluster = await startCluster({ minor: '3.6', members: 3, quotaBackendBytes: QUOTA, proxies: true });
    await exhaustByHistory(cluster);
    const watching = watchDefrags(cluster);
    const [down] = await cluster.followers();
    await down!.kill();
    const subject = maintained({ folder, cluster });

    const stopped = await subject.maintain(ROUTINE);
    expectOutcome(stopped, 'refused');
    expect(kinds(stopped)).toContain('compact');
    expect(kinds(stopped)).not.toContain('defrag');
    const said = stopped.plan.refusals.map(({ message, hint = '' }) => `${message} ${hint}`).join('\n');
    expect(said).toMatch(/member replace/);
    expect(said).toMatch(/--degraded/);
    const all = await subject.maintain(ALL);
    expectOutcome(all, 'refused');
    const byHand = await runWarden(['defrag', '--all', '--yes', '--config', subject.configPath]);
    expect(byHand.code, byHand.stdout + byHand.stderr).toBe(14);
    expect(byHand.stdout + byHand.stderr).toMatch(/member replace[\s\S]*--degraded/);
    expect(watching.frozen).toEqual([]);
    expect(await takesPuts(await cluster.leader())).toBe(false);

    const degraded = await subject.maintain({ ...ALL, degraded: true });
    expect(watching.frozen).toHaveLength(2);
    expect(watching.frozen.filter(({ overlapped }) => overlapped)).toEqual([]);
    expect(watching.frozen.map(({ member }) => member)).not.toContain(down!.name);
    expectOutcome(degraded, 'done');
    expect(await takesPuts(await cluster.leader())).toBe(true);

    // It comes back as full as it was, and arms NOSPACE again with the first large put: that is defragmented at once, but disarmed in an hour.
    await down!.restart();
    const { memberId } = await down!.status();
    await cluster.fill({ keys: 100, valueBytes: 10_000, compressible: false, prefix: '/again/' }).catch(() => undefined);
    await until(async () => (await cluster.alarms()).length > 0, 'the member that came back has room');
    expect(await cluster.alarms()).toEqual([{ memberId, type: 'NOSPACE' }]);
    const mended = await subject.maintain(ALL);
    expectOutcome(mended, 'refused');
    // Beside it those may be named that had nothing more to give.
    expect(mended.plan.refusals.find(({ rule }) => rule === 'disarm-too-soon')?.hint).toContain('was down and came back');
    expect((await down!.status()).dbSize).toBeLessThan(QUOTA * 0.8);
    expectOutcome(await subject.maintain(ROUTINE, clockOff(HOUR + 60_000)), 'done');
    await expectHealthy(cluster);
  });

  test('H12: each member is judged by its own quota, and NOSPACE stays armed while one is above its own threshold', async () => {
    await using cluster = await startCluster({ minor: '3.4', members: 3, quotaBackendBytes: 64 * MIB, proxies: true });
    const [small] = await cluster.followers();
    await small!.restart({ flags: [`--quota-backend-bytes=${12 * MIB}`] });
    const live = { valueBytes: 10_000, compressible: false };
    for (let part = 0; part < 10; part++) await cluster.fill({ ...live, keys: 90, prefix: `/live/${part}/`, seed: part });
    await exhaustByHistory(cluster);
    expect(await cluster.alarms()).toEqual([{ memberId: (await small!.status()).memberId, type: 'NOSPACE' }]);
    const watching = watchDefrags(cluster);
    const subject = maintained({ folder, cluster });

    const kept = await subject.maintain(ALL);
    expectOutcome(kept, 'refused');
    expect(rules(kept)).toContain('above-threshold');
    expect(kept.plan.refusals.find(({ rule }) => rule === 'above-threshold')).toMatchObject({ member: small!.name });
    expect(await cluster.alarms()).toHaveLength(1);
    expect(await takesPuts(small!)).toBe(false);

    // Deletions are accepted.
    for (let part = 0; part < 10; part++) await cluster.etcdctl(['del', `/live/${part}/`, '--prefix']);
    expectOutcome(await subject.maintain(ALL), 'done');
    expectCareful(watching);
    await expectHealthy(cluster);
  });
});

test('H12: it is disarmed once in an hour, however the clock jumps', async () => {
  await using cluster = await startCluster({ minor: '3.6', quotaBackendBytes: QUOTA });
  const subject = maintained({ folder, cluster, maintenance: { allowSingleMember: true } });
  await exhaustByHistory(cluster);
  expectOutcome(await subject.maintain(ROUTINE, clockOff(24 * HOUR)), 'done');
  // A disarming that lies in the future was no disarming.
  await exhaustByHistory(cluster);
  expectOutcome(await subject.maintain(ROUTINE), 'done');
  await exhaustByHistory(cluster);
  const soon = await subject.maintain(ROUTINE, clockOff(HOUR / 2));
  expectOutcome(soon, 'refused');
  expect(rules(soon)).toContain('disarm-too-soon');
  expect(kinds(soon)).toContain('defrag');
  expect(await cluster.alarms()).toHaveLength(1);
  const later = await subject.maintain(ROUTINE, clockOff(HOUR + 60_000));
  expectOutcome(later, 'done');
  expect(kinds(later)).toEqual(['disarm']);
  await expectHealthy(cluster);
});

describe('alarms that are not ours to clear', () => {
  test('H12: the NOSPACE of a removed member is cleared by its id, CORRUPT stops everything and stays', async () => {
    await using cluster = await startCluster({ minor: '3.6', members: 3, proxies: true });
    await cluster.fill({ keys: 300, valueBytes: 100 });
    const watching = watchDefrags(cluster);
    const [gone, other] = await cluster.followers();
    const { memberId } = await gone!.status();
    await cluster.raiseAlarm('NOSPACE', gone!);
    await cluster.etcdctl(['member', 'remove', memberId.toString(16)]);
    await until(() => !gone!.running(), 'the removed member still runs');
    expect(await memberIds(cluster)).not.toContain(memberId.toString(16));
    expect(await cluster.alarms()).toEqual([{ memberId, type: 'NOSPACE' }]);

    await cluster.raiseAlarm('CORRUPT', other!);
    const subject = maintained({ folder, cluster });
    for (const wish of [ROUTINE, ALL, { kind: 'compact', keep: { revisions: 1 }, yes: true }, { kind: 'disarm', yes: true }] as const) {
      const round = await subject.maintain(wish);
      expectOutcome(round, 'refused');
      expect(round.actions).toEqual([]);
      expect(rules(round)).toContain('corrupt-alarm');
    }
    expect(await cluster.alarms()).toHaveLength(2);

    await cluster.disarmAlarm('CORRUPT', (await other!.status()).memberId);
    const orphan = await subject.maintain(ROUTINE);
    expect(orphan.actions).toMatchObject([{ action: 'disarm' }]);
    expect(await cluster.alarms()).toEqual([]);
    expect(watching.frozen).toEqual([]);
    // Still two, and well.
    expect(await takesPuts(other!)).toBe(true);
  });

  test('H12: members that a proof found to differ are left alone, all of them', async () => {
    await using cluster = await startCluster({ minor: '3.6', members: 3, proxies: true });
    const watching = watchDefrags(cluster);
    await makeGarbage(cluster);
    await cluster.etcdctl(['put', 'marker', 'the value as it was written']);
    const [corrupt] = await cluster.followers();
    await corrupt!.stop();
    const path = join(corrupt!.dataDir, 'member/snap/db');
    const file = readFileSync(path);
    const before = Buffer.from('the value as it was written');
    for (let at = file.indexOf(before); at !== -1; at = file.indexOf(before, at + 1)) file.write('the value as it was WRITTEN', at);
    writeFileSync(path, file);
    await corrupt!.restart();

    const subject = maintained({ folder, cluster, clusterOptions: { proof: { members: 'all' } } });
    expect((await subject.backup()).disagreement?.members).toEqual([corrupt!.name]);
    for (const wish of [ROUTINE, ALL, { kind: 'compact', keep: { revisions: 1 }, yes: true }] as const) {
      const round = await subject.maintain(wish);
      expectOutcome(round, 'refused');
      expect(round.actions).toEqual([]);
      expect(rules(round)).toContain('members-disagree');
    }
    expect(watching.frozen).toEqual([]);
    expect(await takesPuts(corrupt!)).toBe(true);
  });
});
