import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { observeCluster } from '../../../src/etcd/cluster.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import { ETCD_MINORS } from '../../../tools/programs.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { drain } from './drain.ts';

describe.each(ETCD_MINORS)('fault 16: etcd %s', (minor) => {
  let cluster: Cluster;
  let client: MemberClient;

  beforeAll(async () => {
    cluster = await startCluster({ minor });
    await cluster.fill({ keys: 200, valueBytes: 10_000 });
    client = new MemberClient(cluster.access(), cluster.endpoints[0]!);
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  test('a member tells its status', async () => {
    const status = await client.status();
    const known = await cluster.members[0]!.status();
    expect(status).toMatchObject({
      clusterId: known.clusterId,
      memberId: known.memberId,
      role: 'leader',
      version: known.version,
      revision: known.revision,
      alarms: [],
    });
    expect(status.version).toMatch(`${minor}.`);
    expect(status.raftAppliedIndex).toBeGreaterThan(0n);
    // The storage version and the quota came with 3.6.
    expect(status.storageVersion === undefined).toBe(minor < '3.6');
    expect(status.dbSizeQuota === undefined).toBe(minor < '3.6');
  });

  test.each([false, true])('the member list is told, linearizable: %s', async (linearizable) => {
    const { members, clusterId } = await client.memberList({ linearizable });
    const status = await client.status();
    expect(clusterId).toBe(status.clusterId);
    expect(members).toMatchObject([{ id: status.memberId, name: 'm1', clientUrls: [cluster.endpoints[0]], learner: false }]);
  });

  test('a linearizable read is timed', async () => {
    expect(await client.linearizableRead()).toBeGreaterThan(0);
  });

  test('alarms are told with and without raft', async () => {
    await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
    const { memberId, alarms } = await client.status();
    expect(alarms).toEqual([{ type: 'NOSPACE', memberId }]);
    expect(await client.alarms()).toEqual([{ type: 'NOSPACE', memberId }]);
    await cluster.disarmAlarms();
    expect((await client.status()).alarms).toEqual([]);
  });

  test('a member hashes its records at a revision, and says with which compact revision', async () => {
    const { memberId, clusterId, revision } = await client.status();
    const limits = { timeoutMs: 10_000 };
    const first = await client.hashKv(revision, limits);
    expect(first).toMatchObject({ memberId, clusterId, compactRevision: -1n, currentRevision: revision });
    // Told since 3.6.
    expect(first.hashRevision).toBe(minor < '3.6' ? undefined : revision);
    const asked = await cluster.etcdctl(['endpoint', 'hashkv', `--rev=${revision}`, '--write-out=json']);
    expect((JSON.parse(asked) as { HashKV: { hash: number } }[])[0]!.HashKV.hash).toBe(first.hash);
    expect(await client.hashKv(revision, limits)).toMatchObject({ hash: first.hash });
    expect((await client.hashKv(revision - 1n, limits)).hash).not.toBe(first.hash);
    await expect(client.hashKv(revision + 1n, limits)).rejects.toMatchObject({ code: 'revision-future' });
    await cluster.etcdctl(['compact', String(revision - 1n)]);
    expect(await client.hashKv(revision, limits)).toMatchObject({ compactRevision: revision - 1n });
    await expect(client.hashKv(revision - 2n, limits)).rejects.toMatchObject({ code: 'revision-compacted' });
  });

  test('a snapshot comes whole, with the storage version from 3.6 on', async () => {
    const { bytes, announced, version, whole } = await drain(client.snapshot());
    expect(whole).toBe(true);
    expect(bytes).toBe(announced + 32);
    // Only now: what is not yet committed to the database file does not count.
    const { dbSize, dbSizeInUse } = await client.status();
    expect(dbSize).toBeGreaterThan(2_000_000);
    expect(dbSizeInUse).toBeGreaterThan(2_000_000);
    expect(version === undefined).toBe(minor < '3.6');
  });

  test('the cluster is seen with the names of its members', async () => {
    const view = await observeCluster(cluster.access());
    expect(view).toMatchObject({ quorum: true, notes: [], members: [{ reachable: true, status: { name: 'm1' } }] });
  });
});
