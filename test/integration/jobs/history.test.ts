import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runJob } from '../../../src/jobs/run.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { product, type Product, type ProductOptions } from '../../support/product.ts';
import { readManifest } from '../../support/recover.ts';
import { runWarden, startDaemon, type WardenResult } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

interface Listed {
  readonly backups: readonly {
    readonly id: string;
    readonly retention: readonly { readonly action: string; readonly reasons: readonly string[] }[];
  }[];
  readonly generations: readonly { readonly lineage: string; readonly clusterId: string; readonly accepted: boolean }[];
}

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('history');
  return () => removeFolder(folder);
});

/** The same store and cluster name, whichever etcd stands behind them. */
function subjectOf(cluster: ProductOptions['cluster'], clusterOptions: Readonly<Record<string, unknown>> = {}): Product {
  return product({ folder, cluster, clusterOptions: { coordinate: false, retention: { keepLast: 1 }, ...clusterOptions } });
}

function warden(subject: Product, ...args: string[]): Promise<WardenResult> {
  return runWarden([...args, '--config', subject.configPath, '--json']);
}

async function list(subject: Product): Promise<Listed> {
  const result = await warden(subject, 'list');
  expect(result.code, result.stderr + result.stdout).toBe(0);
  return result.json<Listed>();
}

/** Whatever stands in the store, oldest first. */
function ids(subject: Product): string[] {
  const manifests = readdirSync(join(subject.disk, 'main')).filter((name) => name.endsWith('.json'));
  return manifests.map((name) => name.slice(0, name.indexOf('.'))).sort();
}

async function prune(subject: Product): Promise<void> {
  await runJob({ verb: 'prune', request: { cluster: 'main', dryRun: false } }, subject.context());
}

describe('two clusters behind one name', () => {
  let before: Cluster;
  let after: Cluster;
  beforeAll(async () => {
    [before, after] = await Promise.all([startCluster({ minor: '3.6' }), startCluster({ minor: '3.6' })]);
    await Promise.all([before, after].map((cluster, index) => cluster.fill({ keys: 10 * (index + 1), valueBytes: 100 })));
  });
  afterAll(async () => {
    await before?.stop();
    await after?.stop();
  });

  async function twoOfTheFirst(): Promise<[string, string]> {
    const first = subjectOf(before);
    return [(await first.backup()).id, (await first.backup()).id];
  }

  test('fault 12: the one-shot command refuses another cluster id with a hint, and goes on once told to accept it', async () => {
    const [older, newer] = await twoOfTheFirst();
    const subject = subjectOf(after);
    const refused = await warden(subject, 'backup');
    expect(refused.code, refused.stderr + refused.stdout).toBe(14);
    const hex = async (cluster: Cluster): Promise<string> => (await cluster.members[0]!.status()).clusterId.toString(16);
    expect(refused.json()).toMatchObject({
      error: {
        code: 'refused',
        message: expect.stringMatching(new RegExp(`cluster id is ${await hex(after)}.*${await hex(before)}`)) as string,
        hint: expect.stringContaining('--accept-cluster') as string,
      },
    });
    expect(ids(subject)).toEqual([older, newer]);

    const accepted = await warden(subject, 'backup', '--accept-cluster');
    expect(accepted.code, accepted.stderr + accepted.stdout).toBe(0);
    const { id, newGeneration } = accepted.json<{ id: string; newGeneration: { lineage: string } }>();
    expect((await list(subject)).generations).toEqual([
      expect.objectContaining({ clusterId: await hex(before), accepted: true }),
      expect.objectContaining({ clusterId: await hex(after), accepted: true, lineage: newGeneration.lineage }),
    ]);
    // And from now on without being told.
    expect((await warden(subject, 'backup', '--prune')).code).toBe(0);
    const left = ids(subject);
    expect(left).toContain(newer);
    expect(left).not.toContain(older);
    expect(left).not.toContain(id);
    expect(left).toHaveLength(2);
  });

  test.each(['accept-cluster', 'backup'] as const)(
    'fault 12: a generation that a daemon opened is shown, and nothing is pruned across it until `%s` accepts it',
    async (verb) => {
      const [older, newer] = await twoOfTheFirst();
      const subject = subjectOf(after);
      const opened = await subject.backup({ onNewGeneration: 'open' });
      expect(opened.newGeneration).toMatchObject({ reason: expect.stringContaining('the cluster id is') as string });
      const second = await subject.backup({ onNewGeneration: 'open' });
      expect(second.newGeneration).toBeUndefined();
      expect(readManifest(subject.disk, second)).toMatchObject({ lineage: opened.newGeneration!.lineage, parent: opened.id });

      const listed = await list(subject);
      expect(listed.generations.map((generation) => generation.accepted)).toEqual([true, false]);
      expect(listed.backups.find((backup) => backup.id === older)?.retention[0]).toMatchObject({
        action: 'keep',
        reasons: expect.arrayContaining(['a later generation is not accepted yet']) as string[],
      });
      await prune(subject);
      expect(ids(subject)).toEqual(expect.arrayContaining([older, newer]));

      const accepted = await warden(subject, verb, ...(verb === 'backup' ? ['--accept-cluster'] : []));
      expect(accepted.code, accepted.stderr + accepted.stdout).toBe(0);
      expect((await list(subject)).generations.map((generation) => generation.accepted)).toEqual([true, true]);
      await prune(subject);
      const left = ids(subject);
      expect(left).toContain(newer);
      expect(left).not.toContain(older);
      expect(left).toHaveLength(2);
    },
  );

  test('fault 12: a daemon goes on into a new generation, is not ready and says why, and becomes ready when it is accepted', async () => {
    const [older, newer] = await twoOfTheFirst();
    const schedule = { backup: { schedule: '*/2 * * * * *' } };
    const subject = subjectOf(after, schedule);
    await using daemon = await startDaemon({
      clusters: { main: { endpoints: after.endpoints, coordinate: false, retention: { keepLast: 1 }, ...schedule } },
      stores: { disk: { type: 'local', path: subject.disk } },
    });
    await until(async () => (await daemon.metric('etcd_warden_generation_unaccepted', { cluster: 'main' })) === 1, daemon.output);
    expect(await daemon.get('/readyz')).toMatchObject({ status: 503, body: expect.stringContaining('generation-unaccepted') as string });
    // Past one more backup with its prune.
    await until(() => daemon.log().filter((line) => line['message'] === 'backup complete').length >= 2, daemon.output);
    expect(ids(subject)).toEqual(expect.arrayContaining([older, newer]));
    expect((await warden(subject, 'accept-cluster')).code).toBe(0);
    await until(async () => (await daemon.get('/readyz')).status === 200, daemon.output);
    await until(() => !ids(subject).includes(older), daemon.output);
    expect(ids(subject)).toContain(newer);
    expect((await daemon.stop()).code).toBe(0);
  });
});

test('a cluster restored to an older revision: the newest by time is chosen, and prune spares the generation before', async () => {
  const dataDir = join(folder, 'data');
  const rolledBack = join(folder, 'rolled-back');
  const older: string[] = [];
  let clusterId = 0n;
  {
    await using cluster = await startCluster({ minor: '3.6', dataDir });
    await cluster.fill({ keys: 20, valueBytes: 100 });
    clusterId = (await cluster.members[0]!.status()).clusterId;
  }
  cpSync(dataDir, rolledBack, { recursive: true });
  {
    await using cluster = await startCluster({ minor: '3.6', dataDir });
    await cluster.writer({ perSecond: 1000 }).stop();
    for (let key = 0; key < 50; key++) await cluster.etcdctl(['put', 'later', String(key)]);
    const subject = subjectOf(cluster);
    older.push((await subject.backup()).id, (await subject.backup()).id);
  }
  await using cluster = await startCluster({ minor: '3.6', dataDir: rolledBack });
  expect((await cluster.members[0]!.status()).clusterId).toBe(clusterId);
  const subject = subjectOf(cluster);
  const refused = await warden(subject, 'backup');
  expect(refused.code, refused.stderr + refused.stdout).toBe(14);
  expect(refused.json()).toMatchObject({ error: { message: expect.stringContaining('history moved back') as string } });

  const { id, revision } = await subject.backup({ acceptCluster: true });
  const manifest = readManifest(subject.disk, { id, revision });
  expect((await warden(subject, 'show', 'latest')).json()).toMatchObject({ id });
  expect((await list(subject)).generations.at(-1)).toMatchObject({
    lineage: manifest.lineage,
    clusterId: clusterId.toString(16),
    accepted: true,
  });
  const verified = await warden(subject, 'verify', '--latest');
  expect(verified.code, verified.stderr + verified.stdout).toBe(0);
  expect(verified.stdout).toContain(id);
  await prune(subject);
  expect(ids(subject)).toEqual([older[1], id]);
});

test('an idle cluster still yields fresh backups: same revision, a backup of its own each time', async () => {
  await using cluster = await startCluster({ minor: '3.6' });
  const subject = subjectOf(cluster);
  const first = await subject.backup();
  const second = await subject.backup();
  expect(second).toMatchObject({ outcome: 'complete', revision: first.revision });
  expect(second.id > first.id).toBe(true);
  expect(Date.parse(readManifest(subject.disk, second).time)).toBeGreaterThan(Date.parse(readManifest(subject.disk, first).time));
  expect(ids(subject)).toEqual([first.id, second.id]);
});
