import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Manifest } from '../../../src/format/types.ts';
import type { BackupResult } from '../../../src/jobs/types.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { runWarden, startDaemon, startWarden, type Daemon } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const LOCK = '/etcd-warden/lock';
/** What the fill below makes of a database; rates are chosen so that a stream lasts as long as the test needs. */
const MIB = 3;

let folder: string;
beforeEach(() => {
  const own = (folder = temporaryFolder('locks'));
  return () => removeFolder(own);
});

async function filled(): Promise<Cluster> {
  const cluster = await startCluster({ minor: '3.6' });
  await cluster.fill({ keys: 300, valueBytes: 10_000, seed: 9, compressible: false });
  return cluster;
}

/** @param seconds how long a stream takes at least */
function subjectOf(cluster: Cluster, seconds: number, name = 'product'): Product {
  return product({ folder: join(folder, name), cluster, clusterOptions: { backup: { maxRate: rate(seconds) } } });
}

function rate(seconds: number): string {
  return seconds === 0 ? '0' : `${Math.ceil((MIB * 1024) / seconds)}KiB`;
}

function published(disk: string): Manifest[] {
  const main = join(disk, 'main');
  const names = existsSync(main) ? readdirSync(main).filter((name) => name.endsWith('.json')) : [];
  return names.sort().map((name) => JSON.parse(readFileSync(join(main, name), 'utf8')) as Manifest);
}

function leftOver(disk: string): string[] {
  return existsSync(join(disk, '.tmp')) ? readdirSync(join(disk, '.tmp')) : [];
}

async function lockHolder(cluster: Cluster): Promise<string> {
  return cluster.etcdctl(['get', LOCK, '--print-value-only']);
}

function locked(holder: string): Record<string, unknown> {
  return {
    code: 'locked',
    message: expect.stringContaining(holder) as string,
    hint: expect.stringContaining(`etcdctl del ${LOCK}`) as string,
  };
}

describe('one cluster', () => {
  let cluster: Cluster;
  /** Where a process was killed while it held the lock, before the tests began, so that nobody waits for the lease alone. */
  let orphaned: Cluster;
  let orphan: { pid: number; folder: string };
  beforeAll(async () => {
    [cluster, orphaned] = await Promise.all([filled(), filled()]);
    const home = temporaryFolder('orphan');
    const subject = product({ folder: home, cluster: orphaned, clusterOptions: { backup: { maxRate: rate(60) } } });
    const killed = startWarden(['backup', '--config', subject.configPath]);
    await until(
      async () => (await lockHolder(orphaned)) !== '',
      () => `the lock was not taken:\n${killed.stderr()}`,
    );
    killed.kill('SIGKILL');
    await killed.done;
    orphan = { pid: killed.pid, folder: home };
  });
  afterAll(async () => {
    await cluster?.stop();
    await orphaned?.stop();
    if (orphan !== undefined) removeFolder(orphan.folder);
  });

  test('fault 64: while the lease of a killed process lasts the next backup is refused, names it, and says when the lock ends', async () => {
    const refused = await runWarden(['backup', '--config', subjectOf(orphaned, 0).configPath, '--json']);
    expect(refused.code, refused.stderr + refused.stdout).toBe(11);
    expect(refused.json()).toMatchObject({ error: locked(`pid ${orphan.pid} `) });
  });

  test('fault 62: of two backups at once one is taken and the other told who holds the lock, every time', async () => {
    const subject = subjectOf(cluster, 1);
    for (let round = 1; round <= 5; round++) {
      const results = await Promise.allSettled([subject.backup(), subject.backup()]);
      expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
      const refused = results.find((result) => result.status === 'rejected');
      expect(refused?.reason).toMatchObject(locked(`pid ${process.pid} `));
      expect(published(subject.disk)).toHaveLength(round);
    }
  });

  test('the lock is given back before the index is built: the members are left alone by then', async () => {
    const holders = new Map<string, Promise<string>>();
    const progress = ({ step }: { readonly step: string }): void => {
      if (!holders.has(step)) holders.set(step, lockHolder(cluster));
    };
    expect(await subjectOf(cluster, 1).backup({}, { progress })).toMatchObject({ outcome: 'complete' });
    expect(await holders.get('stream')).toContain(`${process.pid}`);
    expect(await holders.get('index')).toBe('');
  });

  test('fault 62: of two processes at once one ends with 0 and the other with 11', async () => {
    const { configPath, disk } = subjectOf(cluster, 4);
    const results = await Promise.all([1, 2].map(() => runWarden(['backup', '--config', configPath, '--json'])));
    expect(new Set(results.map((result) => result.code))).toEqual(new Set([0, 11]));
    expect(results.find((result) => result.code === 11)?.json()).toMatchObject({ error: locked('(backup of main)') });
    expect(published(disk)).toHaveLength(1);
    expect(leftOver(disk)).toEqual([]);
  });

  test('fault 62: a slot is served once, however many try at once and again', async () => {
    const subject = subjectOf(cluster, 0);
    for (let round = 0; round < 4; round++) {
      const slot = new Date().toISOString();
      const outcomes = await Promise.all([serve(subject, slot), serve(subject, slot), serve(subject, slot)]);
      expect(outcomes.sort()).toEqual(['complete', 'skipped', 'skipped']);
    }
    expect(published(subject.disk)).toHaveLength(4);
  });

  test('fault 64: a lock that holds something unreadable is named, and the hint says how to remove it', async () => {
    const subject = subjectOf(cluster, 0);
    await cluster.etcdctl(['put', LOCK], { input: Buffer.from([0xff, 0x00, 0x7b]) });
    await expect(subject.backup()).rejects.toMatchObject(locked('another process holds the lock'));
    await cluster.etcdctl(['put', LOCK, 'maintenance, ask Ada']);
    await expect(subject.backup()).rejects.toMatchObject(locked('maintenance, ask Ada'));
    await cluster.etcdctl(['del', LOCK]);
    expect(await subject.backup()).toMatchObject({ outcome: 'complete' });
  });

  test('under NOSPACE a lock that was taken before still excludes and is given up, and without it the backup goes on and says so', async () => {
    const subject = subjectOf(cluster, 3);
    const running = subject.backup({ slot: new Date().toISOString() });
    await until(async () => (await lockHolder(cluster)) !== '', 'the lock was not taken');
    await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
    try {
      await expect(subject.backup()).rejects.toMatchObject(locked('(backup of main)'));
      expect(await running).toMatchObject({ outcome: 'complete' });
      expect(await lockHolder(cluster)).toBe('');
      const without = await subjectOf(cluster, 0).backup();
      expect(without.outcome).toBe('complete');
      expect(without.warnings).toContainEqual({ code: 'no-lock', message: expect.stringContaining('NOSPACE is armed') as string });
    } finally {
      await running.catch(() => undefined);
      await cluster.disarmAlarms();
    }
  });

  test('fault 64: the lock of a killed process ends with its lease, and the next backup is taken', async () => {
    await until(async () => (await lockHolder(orphaned)) === '', 'the lock of the killed process stays', {
      timeoutMs: 120_000,
      everyMs: 500,
    });
    const subject = subjectOf(orphaned, 0);
    expect(await subject.backup()).toMatchObject({ outcome: 'complete' });
    expect(published(subject.disk)).toHaveLength(1);
  });

  test('a running snapshot is cut when somebody else holds the lock, and not when it was merely lost', async () => {
    const lost = subjectOf(cluster, 15, 'lost');
    const taken = subjectOf(orphaned, 15, 'taken');
    const results = Promise.allSettled([lost.backup(), taken.backup()]);
    for (const each of [cluster, orphaned]) {
      await until(async () => (await lockHolder(each)).includes(`pid ${process.pid} `), 'the lock was not taken');
      // What an expired lease does, at once: the key goes with it.
      const [lease] = /^[0-9a-f]{8,}$/m.exec(await each.etcdctl(['lease', 'list']))!;
      await each.etcdctl(['lease', 'revoke', lease]);
    }
    await orphaned.etcdctl(['put', LOCK, 'somebody else']);
    await until(async () => (await lockHolder(cluster)).includes(`pid ${process.pid} `), 'the lock was not taken again');
    const [kept, cut] = await results;
    expect(kept).toMatchObject({ status: 'fulfilled', value: { outcome: 'complete' } });
    expect(cut).toMatchObject({
      status: 'rejected',
      reason: { code: 'locked', message: expect.stringContaining('somebody else holds it now') as string },
    });
    expect(published(taken.disk)).toEqual([]);
    expect(leftOver(taken.disk)).toEqual([]);
    await orphaned.etcdctl(['del', LOCK]);
  });
});

// Each waits for leases most of the time, so they wait together, each with a cluster and a folder of its own.
describe.concurrent('two daemons with the same configuration', () => {
  function pair(cluster: Cluster, disk: string, options: { schedule: string; seconds: number }): Promise<Daemon[]> {
    const config = {
      clusters: {
        main: {
          endpoints: cluster.endpoints,
          backup: { schedule: options.schedule, maxRate: rate(options.seconds), retries: 0 },
        },
      },
      stores: { disk: { type: 'local', path: disk } },
      daemon: { grace: '5s' },
    };
    return Promise.all([startDaemon(config), startDaemon(config)]);
  }

  async function rolesOf(daemons: readonly Daemon[]): Promise<{ leader: Daemon; standby: Daemon }> {
    const leading = async (daemon: Daemon): Promise<boolean> => (await daemon.metric('etcd_warden_leader', { cluster: 'main' })) === 1;
    let leader: Daemon | undefined;
    await until(
      async () => {
        const leads = await Promise.all(daemons.map(leading));
        leader = daemons.find((_, index) => leads[index]);
        return leads.filter(Boolean).length === 1;
      },
      () => `no election:\n${daemons.map((daemon) => daemon.output()).join('\n')}`,
    );
    return { leader: leader!, standby: daemons.find((daemon) => daemon !== leader)! };
  }

  test('fault 62: no slot is backed up twice, the standby says that it is one, and takes over when the leader is killed', async () => {
    await using cluster = await filled();
    const disk = temporaryFolder('shared');
    const daemons = await pair(cluster, disk, { schedule: '*/3 * * * * *', seconds: 0 });
    try {
      const { leader, standby } = await rolesOf(daemons);
      // A process for each, and slots that come meanwhile are passed over.
      await until(() => published(disk).length >= 3, leader.output, { timeoutMs: 150_000 });
      expect(await Promise.all(daemons.map(async (daemon) => (await daemon.get('/healthz')).status))).toEqual([200, 200]);
      expect(standby.output()).toContain('standby: another daemon takes the backups');
      expect(standby.output()).not.toContain('backup complete');
      expectOncePerSlot(disk, 3_000);

      leader.kill('SIGKILL');
      await leader.done;
      await until(() => standby.output().includes('backup complete'), standby.output, { timeoutMs: 120_000, everyMs: 100 });
      expect((await rolesOf([standby])).leader).toBe(standby);
      expectOncePerSlot(disk, 3_000);
      expect((await standby.stop()).code).toBe(0);
    } finally {
      await Promise.all(daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
      removeFolder(disk);
    }
  });

  test('fault 66: SIGTERM ends the old daemon within its grace of 5 s, its run leaves nothing, and the other goes on', async () => {
    await using cluster = await filled();
    const disk = temporaryFolder('shared');
    const daemons = await pair(cluster, disk, { schedule: '*/2 * * * * *', seconds: 60 });
    try {
      const { leader, standby } = await rolesOf(daemons);
      await until(() => leader.output().includes('member chosen'), leader.output);
      const asked = performance.now();
      const ended = await leader.stop();
      // Its stream would last a minute; what comes on top of the grace is for processes that end on a busy machine.
      expect(performance.now() - asked).toBeLessThan(15_000);
      expect(ended.code, leader.output()).toBe(0);
      await until(() => standby.output().includes('member chosen'), standby.output);
      expect(standby.output()).not.toContain('another process holds the lock');
      expect((await standby.stop()).code).toBe(0);
      expect(published(disk)).toEqual([]);
      expect(leftOver(disk)).toEqual([]);
      expect(await lockHolder(cluster)).toBe('');
    } finally {
      await Promise.all(daemons.map((daemon) => daemon[Symbol.asyncDispose]()));
      removeFolder(disk);
    }
  });
});

/** Tries until nobody is in the way, as a daemon's retries do. */
async function serve(subject: Product, slot: string): Promise<BackupResult['outcome']> {
  for (;;) {
    try {
      return (await subject.backup({ slot })).outcome;
    } catch (error) {
      if ((error as { code?: string }).code !== 'locked') throw error;
      await delay(50);
    }
  }
}

/** A run that starts late makes the next slot be skipped, so that the time at which a backup began names its slot. */
function expectOncePerSlot(disk: string, everyMs: number): void {
  const slots = published(disk).map((manifest) => Math.floor(Date.parse(manifest.time) / everyMs));
  expect(slots).toEqual([...new Set(slots)]);
}
