/** A cluster that was restored goes on under its old name: its backups are taken without a question, and nothing that protects the older ones is lost. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startCluster } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { initialClusterOf, newSites, startRestored, type RestoredCluster, type Site } from '../../support/restored.ts';
import { runWarden, startDaemon, type WardenResult } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

interface Listed {
  readonly backups: readonly { readonly id: string }[];
  readonly generations: readonly { readonly lineage: string; readonly clusterId: string; readonly accepted: boolean }[];
}

interface Checked {
  readonly outcome: string;
  readonly clusterId: string;
  readonly members: readonly { readonly name: string; readonly asRecorded: boolean | null }[];
  readonly reasons: readonly string[];
}

describe('a restored cluster under the name of the old one', () => {
  let folder: string;
  let sites: Site[];
  let subject: Product;
  let before: string;
  let first: string;
  let cluster: RestoredCluster;
  const warden = (...args: string[]): Promise<WardenResult> => runWarden([...args, '--config', subject.configPath, '--json']);
  const list = async (): Promise<Listed> => (await warden('list')).json<Listed>();

  beforeAll(async () => {
    folder = temporaryFolder('restore-accepted');
    sites = await newSites(3, join(folder, 'members'));
    await using old = await startCluster({ minor: '3.6' });
    await old.fill({ keys: 100, valueBytes: 100 });
    before = (await old.members[0]!.status()).clusterId.toString(16);
    const settings = { coordinate: false, retention: { keepLast: 1 } };
    await product({ folder, cluster: old, clusterOptions: settings }).backup();
    first = (await product({ folder, cluster: old, clusterOptions: settings }).backup()).id;
    subject = product({ folder, cluster: { endpoints: sites.map(({ client }) => client) }, clusterOptions: settings });
  });
  afterAll(async () => {
    await cluster?.stop();
    removeFolder(folder);
  });

  /** The same backup again, to other folders. */
  async function restore(folders: string, ...more: string[]): Promise<{ readonly clusterId: string; readonly token: string }> {
    mkdirSync(join(folder, folders), { recursive: true });
    const flags = ['--member', 'all', '--data-dir', join(folder, folders, '{member}'), '--initial-cluster', initialClusterOf(sites)];
    const result = await warden('restore', first, ...flags, ...more);
    expect(result.code, result.stdout + result.stderr).toBe(0);
    return JSON.parse(readFileSync(join(folder, folders, 'm1.restore.json'), 'utf8')) as { clusterId: string; token: string };
  }

  async function check(...args: string[]): Promise<WardenResult> {
    return warden('restore', '--check', ...args);
  }

  test('nobody answers yet: not restored, and nothing else is claimed', async () => {
    const { clusterId, token } = await restore('members');
    // Another attempt is prepared and told to the stores, and never comes to run.
    await restore('never', '--attempt', '2');
    const early = await check('--timeout', '500ms');
    expect(early.code, early.stdout + early.stderr).toBe(1);
    expect(early.json()).toMatchObject({ error: { code: 'unreachable' } });

    cluster = await startRestored({ minor: '3.6', sites, token });
    const found = await check();
    expect(found.code, found.stdout + found.stderr).toBe(0);
    expect(found.json<Checked>()).toMatchObject({ outcome: 'restored', clusterId, reasons: [] });
    expect(found.json<Checked>().members.map(({ asRecorded }) => asRecorded)).toEqual([true, true, true]);
  });

  test('the record is found in the stores, beside the data directory, or where it is named; for people it is a table', async () => {
    for (const args of [
      ['--record', join(folder, 'members', 'm2.restore.json')],
      ['--data-dir', sites[2]!.dataDir],
    ]) {
      const result = await check(sites[0]!.client, ...args);
      expect(result.code, result.stdout + result.stderr).toBe(0);
    }
    const people = await runWarden(['restore', '--check', '--config', subject.configPath]);
    expect(people.code).toBe(0);
    expect(people.stdout).toMatch(/^restored: all 3 members of cluster \w+ hold exactly what was restored from /);
    expect(people.stdout).toMatch(/m3 .*yes/);
  });

  test('the record of an attempt that never ran accepts nothing; that of this one accepts its first backup without a question', async () => {
    const taken = await warden('backup');
    expect(taken.code, taken.stdout + taken.stderr).toBe(0);
    const { id, newGeneration } = taken.json<{ id: string; newGeneration: { reason: string; accepted: boolean } }>();
    expect(newGeneration).toMatchObject({
      accepted: true,
      reason: expect.stringMatching(/the cluster id is .*it was restored on .* from/) as string,
    });
    const { clusterId } = JSON.parse(readFileSync(join(folder, 'members', 'm1.restore.json'), 'utf8')) as { clusterId: string };
    expect((await list()).generations).toMatchObject([
      { clusterId: before, accepted: true },
      { clusterId, accepted: true },
    ]);
    // The newest verified backup of the old cluster stays until somebody releases it.
    expect((await warden('backup', '--prune')).code).toBe(0);
    const left = (await list()).backups.map((backup) => backup.id);
    expect(left).toContain(first);
    expect(left).not.toContain(id);
    // Clients go on, and compact: from now on less can be proved, and a script learns it from the exit code.
    await cluster.etcdctl(['put', 'key', 'value']);
    await cluster.etcdctl(['compact', String((await cluster.members[0]!.status()).revision)]);
    const late = await check();
    expect(late.code, late.stdout).toBe(3);
    expect(late.json<Checked>()).toMatchObject({
      outcome: 'agreed',
      members: [{ asRecorded: null }, { asRecorded: null }, { asRecorded: null }],
    });
  });

  test('a cluster that no restore announced is still refused', async () => {
    await using stranger = await startCluster({ minor: '3.6' });
    const config = product({
      folder: join(folder, 'stranger'),
      cluster: stranger,
      clusterOptions: { coordinate: false },
      options: { stores: { disk: { type: 'local', path: subject.disk } } },
    });
    const refused = await runWarden(['backup', '--config', config.configPath, '--json']);
    expect(refused.code, refused.stdout).toBe(14);
    const foreign = await runWarden(['restore', '--check', '--config', config.configPath, '--json']);
    expect(foreign.code, foreign.stdout).toBe(13);
    expect(foreign.json()).toMatchObject({
      error: { code: 'verification-failed', message: expect.stringContaining('which no known restore made') as string },
    });
  });

  test('a daemon goes on with it: no alarm, ready, and what it takes belongs to the restored cluster', async () => {
    await cluster.stop();
    const { clusterId, token } = await restore('third', '--attempt', '3');
    cluster = await startRestored({
      minor: '3.6',
      sites: sites.map((site) => ({ ...site, dataDir: join(folder, 'third', site.name) })),
      token,
    });
    await using daemon = await startDaemon({
      clusters: { main: { endpoints: sites.map(({ client }) => client), backup: { schedule: '* * * * * *' } } },
      stores: { disk: { type: 'local', path: subject.disk } },
    });
    await until(
      async () => ((await daemon.metric('etcd_warden_backups_total', { outcome: 'complete' })) ?? 0) > 0,
      () => daemon.output(),
      { everyMs: 200 },
    );
    expect(await daemon.metric('etcd_warden_generation_unaccepted')).toBe(0);
    expect(daemon.output()).toContain('which a restore had announced');
    expect(daemon.output()).not.toContain('accept-cluster');
    expect((await daemon.get('/readyz')).body).not.toContain('generation-unaccepted');
    await daemon.stop();
    const { generations } = await list();
    expect(generations.at(-1)).toMatchObject({ clusterId, accepted: true });
    expect(generations).toHaveLength(3);
  });
});
