import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { product, type Product } from '../../support/product.ts';
import { readManifest } from '../../support/recover.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('proof');
  return () => removeFolder(folder);
});

function subjectOf(cluster: Pick<Cluster, 'endpoints'>, clusterOptions: Readonly<Record<string, unknown>> = {}): Product {
  return product({ folder, cluster, clusterOptions: { requestTimeout: '5s', ...clusterOptions } });
}

const HOUR = 3_600_000;

/** A clock so many hours from now. */
function inHours(hours: number): { now: () => Date } {
  const at = Date.now() + hours * HOUR;
  return { now: () => new Date(at) };
}

describe('three members of 3.6', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
    await cluster.fill({ keys: 2_000, valueBytes: 1_000 });
  });
  afterAll(() => cluster?.stop());

  test('a backup is proved by one follower, each time by another one, and by everybody once a day, the leader last', async () => {
    const subject = subjectOf(cluster);
    const leader = (await cluster.leader()).name;
    const followers = (await cluster.followers()).map(({ name }) => name);
    const first = await subject.backup();
    expect(first).toMatchObject({ outcome: 'complete', keyCount: 2_001 });
    expect(first.proof).toMatchObject({ revision: first.revision, compactRevision: '-1', members: [expect.stringMatching(/^m/)] });
    expect(followers).toContain(first.proof!.members[0]);
    const second = await subject.backup({}, inHours(1));
    expect(second.proof!.members).toEqual(followers.filter((name) => name !== first.proof!.members[0]));
    const third = await subject.backup({}, inHours(2));
    expect(third.proof!.members).toEqual(first.proof!.members);
    const nextDay = await subject.backup({}, inHours(24.5));
    expect(nextDay.proof!.members).toEqual([expect.stringMatching(/^m/), leader]);
    expect(readManifest(subject.disk, nextDay)).toMatchObject({ proof: nextDay.proof, keyCount: nextDay.keyCount });
    const all = await subjectOf(cluster, { proof: { members: 'all' } }).backup({}, inHours(25));
    expect(new Set(all.proof!.members)).toEqual(new Set(['m1', 'm2', 'm3']));
    expect(all.proof!.members.at(-1)).toBe(leader);
    expect(all.stall!.predictedMs).toBeLessThan(100);
  });
});
