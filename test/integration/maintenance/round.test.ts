import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCoordination } from '../../../src/etcd/coordination.ts';
import { maintain, previewMaintenance } from '../../../src/jobs/maintain.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { ALL, exhaustByHistory, expectHealthy, expectOutcome, maintained, makeGarbage, ROUTINE } from '../../support/maintained.ts';
import { until } from '../../support/processes.ts';

const MINORS = ['3.4', '3.5', '3.6', '3.7'] as const;

describe.each(MINORS)('etcd %s with three members', (minor) => {
  let cluster: Cluster;
  let folder: string;

  beforeAll(async () => {
    cluster = await startCluster({ minor, members: 3, quotaBackendBytes: 32 * 1024 * 1024 });
    folder = mkdtempSync(join(tmpdir(), 'warden-round-'));
  });
  afterAll(async () => {
    await cluster?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  test('H4, H11: a routine round compacts, defragments the followers, moves the leader away and defragments it last', async () => {
    await makeGarbage(cluster);
    await history(cluster);
    const leader = await cluster.leader();
    const subject = maintained({ folder, cluster, maintenance: { compaction: 'on', keep: 10 } });
    const writer = cluster.writer();
    const preview = await previewMaintenance({ cluster: 'main', wish: ROUTINE, elected: false }, subject.context());
    const result = await subject.maintain(ROUTINE);
    const { failed } = await writer.stop();

    expectOutcome(result, 'done');
    const kinds = result.actions.map(({ action }) => action);
    expect(kinds).toEqual(['compact', 'defrag', 'defrag', 'move-leader', 'defrag']);
    expect(preview.plan.steps[0]?.action.kind).toBe('compact');
    // A proposal that is on its way while leadership moves may be dropped; whoever knows all endpoints tries the next.
    expect(failed).toBeLessThanOrEqual(2);
    const defrags = result.actions.filter(({ action }) => action === 'defrag');
    expect(new Set(defrags.map(({ member }) => member))).toEqual(new Set(['m1', 'm2', 'm3']));
    expect(defrags.at(-1)?.member).toBe(leader.name);
    for (const { beforeBytes = 0, afterBytes = 0 } of defrags) expect(afterBytes).toBeLessThan(beforeBytes * 0.7);
    expect(subject.progress.map(({ step }) => step)).toEqual(expect.arrayContaining(['look', 'compact', 'move-leader', 'defrag']));
    // What was learned is in etcd, for any other daemon; and the lock is free.
    expect(Object.keys((await recordIn(cluster)).defrags)).toHaveLength(3);
    expect(await valueOf(cluster, '/etcd-warden/lock')).toBe('');
    // Nothing is left to do, so nobody is asked for the lock.
    expectOutcome(await subject.maintain(ROUTINE), 'nothing');
    await expectHealthy(cluster);
  });

  test('H25, H12: a cluster out of space is cured while writers go on: compacted, each member defragmented, disarmed last', async () => {
    const subject = maintained({ folder, cluster });
    await exhaustByHistory(cluster);
    const writer = cluster.writer();
    const result = await subject.maintain(ALL);
    expectOutcome(result, 'done');
    const kinds = result.actions.map(({ action }) => action);
    expect([kinds[0], kinds.at(-1)]).toEqual(['compact', 'disarm']);
    expect(kinds.filter((kind) => kind === 'defrag')).toHaveLength(3);
    const before = writer.counters().written;
    await until(() => writer.counters().written > before + 5, 'the writers do not get on');
    await writer.stop();
    expect(await valueOf(cluster, '/etcd-warden/probe')).toBe('');
    expect(await recordIn(cluster)).toMatchObject({ disarmedMs: expect.any(Number) as number });
    await expectHealthy(cluster);
  });
});

describe('one round at a time', () => {
  let cluster: Cluster;
  let folder: string;

  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
    folder = mkdtempSync(join(tmpdir(), 'warden-rounds-'));
  });
  afterAll(async () => {
    await cluster?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  test('of two rounds at once one does everything and the other learns who has the lock', async () => {
    await makeGarbage(cluster, { seed: 10 });
    const rounds = await Promise.allSettled(['a', 'b'].map((name) => maintained({ folder: join(folder, name), cluster }).maintain(ALL)));
    const [done, refused] = [rounds.find(({ status }) => status === 'fulfilled'), rounds.find(({ status }) => status === 'rejected')];
    expect(done).toMatchObject({ value: { outcome: 'done' } });
    expect(refused).toMatchObject({ reason: { code: 'locked', message: expect.stringContaining('maintenance of main') as string } });
    await expectHealthy(cluster);
  });

  test('H5, H24: while a backup or a proof holds the lock nothing is begun, and a backup that meets a round waits its turn', async () => {
    const subject = maintained({ folder, cluster });
    const other = openCoordination(cluster.access(), { keyPrefix: '/etcd-warden' });
    const held = await other.lock('backup of main');
    await expect(subject.maintain(ALL)).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining('backup of main') as string,
    });
    if (held.outcome === 'held') await held.lock.release();

    let backup: Promise<unknown> = Promise.resolve();
    let asked = false;
    const round = await subject.maintain(ALL, {
      progress: ({ step }) => {
        if (step !== 'defrag' || asked) return;
        asked = true;
        backup = subject.backup().then(
          () => undefined,
          (error: unknown) => error,
        );
      },
    });
    expectOutcome(round, 'done');
    expect(await backup).toMatchObject({ code: 'locked', message: expect.stringContaining('maintenance of main') as string });
    await subject.backup();
    await other.close();
  });

  test('a round whose lock somebody else takes stops before its next step, and does not count that as a surprise of the cluster', async () => {
    const subject = maintained({ folder, cluster, maintenance: { settle: '1s' } });
    const other = openCoordination(cluster.access(), { keyPrefix: '/etcd-warden' });
    let taken: Promise<unknown> | undefined;
    const round = await subject.maintain(ALL, {
      progress: ({ step }) => {
        if (step !== 'settle') return;
        taken ??= cluster.etcdctl(['del', '/etcd-warden/lock']).then(() => other.lock('somebody else'));
      },
    });
    expect(await taken).toMatchObject({ outcome: 'held' });
    expectOutcome(round, 'failed');
    expect(round.failure).toMatchObject({ code: 'locked', message: expect.stringContaining('somebody else') as string });
    expect(round.actions).toHaveLength(1);
    await other.close();
    expect((await recordIn(cluster)).failure).toBeUndefined();
    await expectHealthy(cluster);
  });

  test('H10: compact keeps as many revisions as were asked for, on every member', async () => {
    await history(cluster);
    const subject = maintained({ folder, cluster });
    const wish = { kind: 'compact', keep: { revisions: 50 }, yes: true } as const;
    const result = await subject.maintain(wish);
    expectOutcome(result, 'done');
    expect(result.actions.map(({ action }) => action)).toEqual(['compact']);
    const compacted = Number(result.actions[0]!.revision);
    for (const { endpoint } of cluster.members) {
      const at = (revision: number): Promise<string> =>
        cluster.etcdctl(['get', '/history/00000000', `--rev=${revision}`, '--keys-only'], { endpoints: [endpoint] });
      expect(await at(compacted)).toContain('/history/00000000');
      await expect(at(compacted - 1)).rejects.toThrow('has been compacted');
    }
    expect((await recordIn(cluster)).compaction).toMatchObject({ revision: String(compacted) });
  });

  test('a member is found by name, id or address, and one that does not exist is named before anything is touched', async () => {
    const subject = maintained({ folder, cluster });
    const [first] = await cluster.followers();
    const id = (await first!.status()).memberId.toString(16);
    for (const given of [first!.name, id, first!.endpoint, first!.endpoint.replace('http://', '')]) {
      const wish = { kind: 'defrag', members: [given], worthwhile: false, degraded: false, yes: true } as const;
      const { plan } = await previewMaintenance({ cluster: 'main', wish, elected: false }, subject.context());
      expect(plan.action).toMatchObject({ kind: 'defrag', member: id });
    }
    const wish = { kind: 'defrag', members: ['m9'], worthwhile: false, degraded: false, yes: true } as const;
    await expect(maintain({ cluster: 'main', wish, elected: false }, subject.context())).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('m1') as string,
    });
  });

  test('who is told to stop between two members stops at once and freezes no other', async () => {
    const subject = maintained({ folder, cluster, maintenance: { settle: '1h' } });
    const stop = new AbortController();
    const round = subject.maintain(ALL, {
      signal: stop.signal,
      progress: ({ step }) => {
        if (step === 'settle') stop.abort(new Error('enough'));
      },
    });
    await expect(round).rejects.toThrow('enough');
    expect(await valueOf(cluster, '/etcd-warden/lock')).toBe('');
    await expectHealthy(cluster);
  });
});

/** More revisions than a routine compaction asks for. */
async function history(cluster: Cluster): Promise<void> {
  const worker = async (first: number): Promise<void> => {
    for (let turn = 0; turn < 140; turn++) await cluster.fill({ keys: 1, first, valueBytes: 1000, seed: turn, prefix: '/history/' });
  };
  await Promise.all(Array.from({ length: 8 }, (_, first) => worker(first)));
}

async function valueOf(cluster: Cluster, key: string): Promise<string> {
  return (await cluster.etcdctl(['get', '--print-value-only', key])).trim();
}

async function recordIn(cluster: Cluster): Promise<{ defrags: object; compaction?: object; failure?: object }> {
  return JSON.parse(await valueOf(cluster, '/etcd-warden/maintenance/main')) as { defrags: object };
}
