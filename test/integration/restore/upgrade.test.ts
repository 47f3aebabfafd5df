/**
 * Restored clusters that are upgraded afterwards, one member after the other. 3.4 and 3.5 load their members from the v2 store, 3.6 from the bucket `members` alone:
 * whatever a restore left there of the old cluster comes back years later.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkRestored } from '../../../src/restore/check/check.ts';
import type { Builder } from '../../../src/restore/types.ts';
import { startCluster } from '../../support/cluster.ts';
import { hashAt, rebuild } from '../../support/rebuild.ts';
import { newSites, startRestored, type RestoredCluster } from '../../support/restored.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const { signal } = new AbortController();

let folder: string;
beforeAll(() => {
  folder = temporaryFolder('restore-upgrade');
  return () => removeFolder(folder);
});

async function listed(cluster: RestoredCluster, index: number): Promise<unknown[]> {
  const endpoints = [cluster.members[index]!.direct];
  const { members } = JSON.parse(await cluster.etcdctl(['member', 'list', '--write-out=json'], { endpoints })) as {
    members: { name: string; peerURLs: string[]; isLearner?: boolean }[];
  };
  return members
    .map(({ name, peerURLs, isLearner }) => ({ name, peerURLs, isLearner: isLearner ?? false }))
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

describe.each<[string, Builder]>([
  ['etcd-warden', 'native'],
  ["etcd's own tool", 'etcdutl'],
])('made by %s', (_who, builder) => {
  test('3.4 -> 3.5 -> 3.6 -> 3.7: the members are exactly those of the restore, on every one of them', async () => {
    const file = join(folder, `${builder}.db`);
    {
      // Three members of other names and addresses, of which nothing must be left.
      await using source = await startCluster({ minor: '3.4', members: 3 });
      await source.fill({ keys: 200, valueBytes: 100 });
      await source.etcdctl(['put', 'kept', 'value']);
      await source.etcdctl(['snapshot', 'save', file], { endpoints: [source.members[0]!.direct] });
    }
    const sites = await newSites(3, join(folder, builder));
    const named = sites.map((site, index) => ({ ...site, name: `new-${index}` }));
    const { record } = await rebuild({ file, minor: '3.4', sites: named, builder });
    await using cluster = await startRestored({ minor: '3.4', sites: named, token: record.token, flags: ['--snapshot-count=10'] });
    const expected = named.map(({ name, peer }) => ({ name, peerURLs: [peer], isLearner: false }));
    expect(await checkRestored({ record, access: cluster.access(), signal, progress: () => {} })).toMatchObject({ outcome: 'restored' });
    for (const minor of ['3.5', '3.6', '3.7'] as const) {
      await cluster.upgrade(minor);
      // What 3.4 wrote into its log for each look at /health, 3.6 refuses to replay; with any etcd, restored or not, a snapshot of raft must lie between.
      for (let index = 0; index < 15; index++) await cluster.etcdctl(['put', 'turn', `${minor}-${index}`]);
      for (const index of named.keys()) expect(await listed(cluster, index), `${minor}, member ${index}`).toEqual(expected);
      // The same data as on the day of the restore.
      for (const { client } of named) expect((await hashAt(client, BigInt(record.revision))).hash, minor).toBe(record.hash);
    }
    expect(await checkRestored({ record, access: cluster.access(), signal, progress: () => {} })).toMatchObject({ outcome: 'restored' });
    await cluster.etcdctl(['put', 'after', 'x']);
  });
});
