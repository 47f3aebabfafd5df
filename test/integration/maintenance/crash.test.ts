import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MAINTENANCE_CRASH_POINTS } from '../../../src/crash-points.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { ALL, expectHealthy, expectOutcome, maintained, makeGarbage, type Maintained } from '../../support/maintained.ts';
import { runWarden } from '../../support/run-warden.ts';

describe('kill -9 of a cure', () => {
  let cluster: Cluster;
  let folder: string;
  let subject: Maintained;
  let seed = 0;

  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
  });
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'warden-kill-'));
    subject = maintained({ folder, cluster });
    await makeGarbage(cluster, { keptMib: 2, freedMib: 4, seed: ++seed });
    // History that the cure compacts; and the record of the cure before is not there to hold this one back.
    for (let turn = 0; turn < 10; turn++) await cluster.fill({ keys: 1, valueBytes: 100, seed: turn });
    await cluster.etcdctl(['del', '--prefix', '/etcd-warden/']);
    // No lock can be had, so that none is left by who is killed; and the whole cure is due.
    for (const member of cluster.members) await cluster.raiseAlarm('NOSPACE', member);
    return () => rmSync(folder, { recursive: true, force: true });
  });

  test.each(MAINTENANCE_CRASH_POINTS)('at %s leaves a cluster that the next run cures', async (point) => {
    const killed = await runWarden(['defrag', '--all', '--yes', '--config', subject.configPath], {
      env: { ETCD_WARDEN_TEST: '1', ETCD_WARDEN_CRASH_AT: point },
    });
    expect(killed.signal, killed.stderr + killed.stdout).toBe('SIGKILL');
    expectOutcome(await subject.maintain(ALL), 'done');
    await expectHealthy(cluster);
    for (const member of cluster.members) {
      const { dbSize, dbSizeInUse } = await member.status();
      expect(dbSize - dbSizeInUse, `free bytes of ${member.name}`).toBeLessThan(2 * 1024 * 1024);
    }
  });
});
