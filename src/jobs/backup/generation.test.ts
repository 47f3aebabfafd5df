import { describe, expect, test } from 'vitest';
import { announceRestore } from '../../catalog/facts.ts';
import { readCatalog } from '../../catalog/read.ts';
import type { Catalog } from '../../catalog/types.ts';
import type { ClusterView, MemberStatus } from '../../etcd/types.ts';
import { seedBackup } from '../../../test/support/backups.ts';
import { LINEAGE_ONE, sampleRestore, seededBytes } from '../../../test/support/manifests.ts';
import { memoryStore } from '../../../test/support/memory-store.ts';
import { belongsTo, seenOf } from './generation.ts';

const CLUSTER_ID = 0xcdf818194e3a8c32n;
const random = seededBytes(1);

function status(fields: Partial<MemberStatus>): MemberStatus {
  return {
    endpoint: 'http://10.0.0.1:2379',
    clusterId: CLUSTER_ID,
    memberId: 1n,
    name: 'm1',
    role: 'follower',
    leader: 1n,
    version: '3.6.16',
    storageVersion: undefined,
    dbSize: 1,
    dbSizeInUse: 1,
    dbSizeQuota: undefined,
    raftIndex: 1n,
    raftAppliedIndex: 1n,
    raftTerm: 7n,
    revision: 50n,
    alarms: [],
    latencyMs: 1,
    ...fields,
  };
}

function view(statuses: readonly MemberStatus[], quorum = true): ClusterView {
  return {
    clusterId: statuses[0]?.clusterId ?? 0n,
    members: statuses.map((one) => ({ reachable: true, endpoint: one.endpoint, status: one })),
    quorum,
    notes: [],
  };
}

/** One backup at revision 41 of raft term 7. */
async function catalogOfOne(): Promise<Catalog> {
  const store = memoryStore('local');
  seedBackup([store]);
  return readCatalog([store], 'prod', { signal: new AbortController().signal });
}

const ask = { cluster: 'prod', onNewGeneration: 'refuse', acceptCluster: false } as const;

describe('the history that a backup belongs to', () => {
  test('the first backup begins one, and nothing is asked', () => {
    const empty: Catalog = { cluster: 'prod', backups: [], generations: [], acceptances: [], oddities: [], unreachable: [] };
    expect(belongsTo(empty, view([status({})]), ask, random)).toMatchObject({ parent: undefined, opens: undefined, doubt: undefined });
  });

  test('the same cluster further on is the same history, with the newest backup as parent', async () => {
    const catalog = await catalogOfOne();
    expect(belongsTo(catalog, view([status({})]), ask, random)).toMatchObject({
      lineage: LINEAGE_ONE,
      parent: { id: catalog.backups[0]?.id },
    });
  });

  test('a member that lags behind the last backup is not a history that moved back', async () => {
    const behind = status({ revision: 30n });
    expect(belongsTo(await catalogOfOne(), view([behind, status({ memberId: 2n })]), ask, random)).toMatchObject({
      lineage: LINEAGE_ONE,
      opens: undefined,
    });
  });

  test('fault 12: another cluster id is refused by a single command, with the way on', async () => {
    const catalog = await catalogOfOne();
    expect(() => belongsTo(catalog, view([status({ clusterId: 5n })]), ask, random)).toThrow(
      expect.objectContaining({ code: 'refused', hint: expect.stringContaining('--accept-cluster') }),
    );
  });

  test.each([
    ['--accept-cluster', { ...ask, acceptCluster: true }],
    ['the daemon', { ...ask, onNewGeneration: 'open' as const }],
  ])('fault 12: %s opens a new generation', async (_who, request) => {
    const belonging = belongsTo(await catalogOfOne(), view([status({ clusterId: 5n })]), request, random);
    expect(belonging.lineage).not.toBe(LINEAGE_ONE);
    expect(belonging).toMatchObject({ parent: undefined, opens: expect.stringContaining('the cluster id is 5') });
  });

  test('a cluster that a restore announced is backed up by a single command without a question; that of another attempt is not', async () => {
    const store = memoryStore('local');
    const { id } = seedBackup([store]);
    const restore = sampleRestore({ clusterId: '5', source: { ...sampleRestore().source, backup: id } });
    const { signal } = new AbortController();
    await announceRestore([store], restore, { tool: 'etcd-warden 0.1.0', now: new Date('2026-11-22T11:00:00.000Z'), random, signal });
    const catalog = await readCatalog([store], 'prod', { signal });
    const belonging = belongsTo(catalog, view([status({ clusterId: 5n, revision: 3n })]), ask, random);
    expect(belonging).toMatchObject({ parent: undefined, announced: true, accepts: undefined });
    expect(belonging.opens).toContain(`it was restored on 2026-11-22T11:00:00.000Z from ${id}`);
    expect(belonging.lineage).not.toBe(LINEAGE_ONE);
    expect(() => belongsTo(catalog, view([status({ clusterId: 6n })]), ask, random)).toThrow(/cluster id is 6/);
  });

  test('a history that moved back is refused while the cluster has its quorum', async () => {
    const catalog = await catalogOfOne();
    expect(() => belongsTo(catalog, view([status({ revision: 3n })]), ask, random)).toThrow(/moved back/);
  });

  test('without quorum a lower revision may be a member that lags: the backup is taken, with doubts', async () => {
    const belonging = belongsTo(await catalogOfOne(), view([status({ revision: 3n })], false), ask, random);
    expect(belonging).toMatchObject({ lineage: LINEAGE_ONE, opens: undefined, doubt: expect.stringContaining('without quorum') });
  });

  test('without quorum another cluster id is still another cluster', async () => {
    const catalog = await catalogOfOne();
    expect(() => belongsTo(catalog, view([status({ clusterId: 5n })], false), ask, random)).toThrow(/cluster id is 5/);
  });
});

test('members of another cluster do not count for how far this one has got', () => {
  const seen = seenOf({ ...view([status({}), status({ clusterId: 9n, revision: 1000n, raftTerm: 99n })]) });
  expect(seen).toEqual({ clusterId: 'cdf818194e3a8c32', revision: 50n, raftTerm: 7n });
});
