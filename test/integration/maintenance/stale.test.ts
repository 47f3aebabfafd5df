/** Out of space, compacted by hand to the newest revision, and nobody can write: then no member says any more what is in use. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startCluster } from '../../support/cluster.ts';
import {
  exhaustByHistory,
  expectCareful,
  expectHealthy,
  expectOutcome,
  maintained,
  ROUTINE,
  watchDefrags,
} from '../../support/maintained.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const QUOTA = 16 * 1024 * 1024;

describe.each(['3.4', '3.6'] as const)('etcd %s', (minor) => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder('stale');
  });
  afterEach(() => removeFolder(folder));

  test('H25: a cluster that somebody compacted by hand after it was full is cured, although its members still call everything in use', async () => {
    await using cluster = await startCluster({ minor, members: 3, quotaBackendBytes: QUOTA, proxies: true });
    await exhaustByHistory(cluster);
    const [member] = cluster.members;
    const { revision } = await member!.status();
    await cluster.etcdctl(['compact', String(revision), '--physical']);
    // How much is still called in use depends on the commits that came meanwhile: on 3.4 all of it as a rule.

    const watching = watchDefrags(cluster);
    const result = await maintained({ folder, cluster }).maintain(ROUTINE);
    expectOutcome(result, 'done');
    expect(result.actions.map(({ action }) => action)).toEqual(['defrag', 'defrag', 'move-leader', 'defrag', 'disarm']);
    expectCareful(watching);
    expect(await cluster.alarms()).toEqual([]);
    await expectHealthy(cluster);
  });
});
