/** The daemon rehearses restores on its schedule, tells what came of it, and leaves no etcd behind however it ends. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { startDaemon, type WardenConfig } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const etcd = program('etcd', '3.6');
let cluster: Cluster;
let folder: string;
beforeAll(async () => {
  cluster = await startCluster({ minor: '3.6', members: 1 });
  await cluster.fill({ keys: 40, valueBytes: 100, seed: 4 });
});
afterAll(() => cluster.stop());
beforeEach(() => {
  folder = temporaryFolder('daemon-drill');
  return () => removeFolder(folder);
});

function config(drill: Readonly<Record<string, unknown>>): WardenConfig {
  return {
    clusters: {
      main: {
        endpoints: cluster.endpoints,
        coordinate: false,
        backup: { schedule: '0 0 1 1 *', stores: ['disk'] },
        drill: { schedule: '* * * * * *', sharedDisk: true, etcd, ...drill },
      },
    },
    stores: { disk: { type: 'local', path: join(folder, 'backups') } },
    stateDir: join(folder, 'state'),
  };
}

function etcdsOn(path: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path);
    } catch {
      return false;
    }
  });
}

test('it rehearses on schedule, remembers over a restart, and is not ready when a restore would not hold what the backup promises', async () => {
  {
    await using daemon = await startDaemon(config({}));
    const count = (outcome: string): Promise<number | undefined> => daemon.metric('etcd_warden_drills_total', { outcome, store: 'disk' });
    await until(
      async () => ((await count('ok')) ?? 0) >= 2,
      () => `no drills:\n${daemon.output()}`,
      { timeoutMs: 120_000 },
    );
    expect(await daemon.metric('etcd_warden_drill_last_success_timestamp_seconds', { level: 'started' })).toBeGreaterThan(
      Date.now() / 1000 - 300,
    );
    expect(await daemon.metric('etcd_warden_drill_recovery_seconds')).toBeGreaterThan(0);
    expect(await daemon.metric('etcd_warden_drill_overdue')).toBe(0);
    expect((await daemon.get('/readyz')).status).toBe(200);
    expect(readFileSync(join(folder, 'state/drills/main.json'), 'utf8')).toContain('"outcome":"ok"');
    const data = join(
      folder,
      'backups/main',
      readdirSync(join(folder, 'backups/main')).find((name) => name.endsWith('.db.zst'))!,
    );
    const bytes = readFileSync(data);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(data, bytes);
    await until(
      async () => (await daemon.metric('etcd_warden_drill_failed')) === 1,
      () => `the damage was not seen:\n${daemon.output()}`,
      { timeoutMs: 120_000 },
    );
    const ready = await daemon.get('/readyz');
    expect(ready.status).toBe(503);
    expect(ready.body).toContain('drill-failed');
  }
  await using again = await startDaemon(config({ schedule: '0 0 1 1 *' }));
  await until(
    async () => (await again.get('/readyz')).body.includes('drill-failed'),
    () => `it forgot:\n${again.output()}`,
  );
});

test('fault 74: killed with -9 in the middle of a drill, neither daemon nor job leaves an etcd or a folder', async () => {
  const slow = join(folder, 'slow');
  writeFileSync(slow, `#!/bin/sh\n[ "$1" = --version ] || sleep 5\nexec ${etcd} "$@"\n`, { mode: 0o755 });
  const parent = join(folder, 'state/drill');
  await using daemon = await startDaemon(config({ etcd: slow }));
  await until(
    () => existsSync(parent) && readdirSync(parent).some((name) => existsSync(join(parent, name, 'etcd.pid'))),
    () => `no drill:\n${daemon.output()}`,
    { timeoutMs: 120_000 },
  );
  daemon.kill('SIGKILL');
  await daemon.done;
  await until(
    () => etcdsOn(parent).length === 0 && readdirSync(parent).length === 0,
    () => `left: ${readdirSync(parent).join(', ')}; ${etcdsOn(parent).join(', ')}`,
  );
});
