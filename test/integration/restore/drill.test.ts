/** Restores rehearsed for real: a scratch etcd of each minor is started on what was restored, asked, and gone afterwards. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { drill } from '../../../src/jobs/drill.ts';
import type { DrillLine, DrillRequest, JobContext } from '../../../src/jobs/types.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { run } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { readManifest } from '../../support/recover.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('drill');
  return () => removeFolder(folder);
});

/** The clusters of the tests lie in memory too, so the disk is always shared. */
function drilled(of: Product, request: Partial<DrillRequest> = {}, changes: Partial<JobContext> = {}): Promise<readonly DrillLine[]> {
  return drill({ cluster: 'main', ...request }, of.context(changes));
}

function withDrill(cluster: Cluster, options: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}): Product {
  return product({ folder, cluster, clusterOptions: { coordinate: false, drill: { sharedDisk: true, ...options }, ...more } });
}

/** Commands of every process whose arguments name the folder. */
function processesOn(path: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return words.includes(path) ? [words.replaceAll('\0', ' ')] : [];
      } catch {
        return [];
      }
    });
}

const left = (of: Product): string[] =>
  existsSync(join(of.config.stateDir, 'drill')) ? readdirSync(join(of.config.stateDir, 'drill')) : [];

/** Puts, deletes, a lease, a compaction, and more of both. */
async function live(cluster: Cluster): Promise<void> {
  await cluster.fill({ keys: 300, valueBytes: 500, seed: 6 });
  const { header } = JSON.parse(await cluster.etcdctl(['put', 'again', '1', '-w', 'json'])) as { header: { revision: number } };
  await cluster.etcdctl(['del', 'again']);
  await cluster.etcdctl(['compact', String(header.revision)]);
  await cluster.etcdctl(['put', 'again', '2']);
  await cluster.etcdctl(['put', 'again', '3']);
}

test.each(ETCD_MINORS)(
  'fault 74: a backup of etcd %s is served by a scratch etcd, equal in hash, count and values, of which nothing is left',
  async (minor) => {
    const cluster = await startCluster({ minor, members: 1 });
    let of: Product;
    let backup: Awaited<ReturnType<Product['backup']>>;
    try {
      await live(cluster);
      of = withDrill(cluster, { etcd: program('etcd', minor) });
      backup = await of.backup();
    } finally {
      await cluster.stop();
    }
    const manifest = readManifest(of.disk, backup);
    const [line, ...others] = await drilled(of);
    expect(others).toEqual([]);
    expect(line).toMatchObject({
      store: 'disk',
      id: backup.id,
      outcome: 'ok',
      level: 'started',
      revision: backup.revision,
      keyCount: manifest.keyCount,
      sampled: 100,
      etcd: expect.stringContaining(`${minor}.`),
      recoveryMs: expect.any(Number),
    });
    expect(line).not.toHaveProperty('reason');
    expect(left(of)).toEqual([]);
    expect(processesOn(of.config.stateDir)).toEqual([]);
    const checks = join(of.disk, 'main', 'checks', backup.id);
    const [name] = readdirSync(checks).filter((each) => each.includes('-drill-'));
    expect(JSON.parse(readFileSync(join(checks, name!), 'utf8'))).toMatchObject({
      kind: 'drill',
      store: 'disk',
      outcome: 'ok',
      drill: { level: 'started', revision: backup.revision, keyCount: manifest.keyCount, sampled: 100 },
    });
  },
);
