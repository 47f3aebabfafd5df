import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { lookAtMembers } from '../../../src/member/sight.ts';
import type { MembershipSight } from '../../../src/member/types.ts';
import { program } from '../../../tools/programs.ts';
import { called } from '../../support/called.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import type { Member } from '../../support/member.ts';
import { startProcess, until } from '../../support/processes.ts';
import { runWarden } from '../../support/run-warden.ts';

const SIGNAL = new AbortController().signal;
const EMPTY = Buffer.alloc(0);

function quick(cluster: Cluster): ReturnType<Cluster['access']> {
  return cluster.access({ requestTimeoutMs: 2_000, dialTimeoutMs: 2_000 });
}

/** A cluster of its own at the addresses of a member, as after "started as a new cluster" or a restore of one member alone. */
async function impostor(member: Member): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'warden-impostor-'));
  const process = startProcess(program('etcd', '3.6'), [
    `--name=${member.name}`,
    `--data-dir=${join(folder, 'data')}`,
    `--listen-client-urls=${member.direct}`,
    `--advertise-client-urls=${member.endpoint}`,
    `--listen-peer-urls=${member.peer}`,
    `--initial-advertise-peer-urls=${member.peer}`,
    `--initial-cluster=${member.name}=${member.peer}`,
    '--initial-cluster-token=another',
    '--unsafe-no-fsync',
  ]);
  onTestFinished(async () => {
    await process.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  await until(
    () =>
      member.rpc.call('etcdserverpb.Maintenance/Status', EMPTY).then(
        () => true,
        () => false,
      ),
    () => process.output().slice(-2_000),
  );
}

describe.each(['3.4', '3.7'] as const)('etcd %s: one look at three members', (minor) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor, members: 3 });
  });
  afterAll(() => cluster?.stop());

  test('tells everything of a healthy cluster, from one address', async () => {
    const sight = await lookAtMembers({ access: cluster.access({ endpoints: [cluster.endpoints[0]!] }), signal: SIGNAL });
    const leader = await (await cluster.leader()).status();
    expect(sight).toMatchObject({
      quorum: true,
      voters: 3,
      leader: leader.memberId,
      clusterId: leader.clusterId,
      listed: 'quorum',
      strays: [],
      alarms: [],
    });
    expect(sight.members.map(({ name }) => name).toSorted()).toEqual(['m1', 'm2', 'm3']);
    for (const member of sight.members) {
      expect(member).toMatchObject({ started: true, reachable: true, learner: false, error: undefined, readMs: expect.any(Number) });
      expect(member.lag).toBeLessThan(10n);
    }
  });

  test('tells who is down, and without quorum what one member remembers', async () => {
    const [m1, m2, m3] = cluster.members as [Member, Member, Member];
    await m3.kill();
    // It may have led.
    let two: MembershipSight | undefined;
    await until(
      async () => (two = await lookAtMembers({ access: quick(cluster), signal: SIGNAL })).quorum,
      'the two that are left elect no leader',
    );
    expect(two).toMatchObject({ quorum: true, voters: 3 });
    expect(two!.members.find(({ name }) => name === 'm3')).toMatchObject({
      started: true,
      reachable: false,
      error: { code: 'unreachable' },
    });
    await m2.kill();
    // The one that is left goes on naming a leader until an election timeout has passed; what counts is that nothing is agreed upon any more.
    const alone = await lookAtMembers({ access: quick(cluster), signal: SIGNAL });
    expect(alone).toMatchObject({ quorum: false, voters: 3, listed: 'memory' });
    expect(alone.members.find(({ name }) => name === 'm1')).toMatchObject({ reachable: true, readMs: undefined, error: expect.anything() });
    const printed = await runWarden(['member', 'list', '--endpoints', m1.endpoint, '--request-timeout', '2s', '--dial-timeout', '2s']);
    expect(printed).toMatchObject({ code: 0 });
    expect(printed.stdout).toMatch(/NO QUORUM, 0 of 3 voters answer, 2 are needed/);
    expect(printed.stdout).toMatch(/m2 +silent/);
    expect(printed.stdout).toContain('as one member remembers it');
    await Promise.all([m2.restart({ wait: false }), m3.restart({ wait: false })]);
    await Promise.all(cluster.members.map((member) => member.waitHealthy()));
  });

  test('tells who answers at the address of a member and belongs to another cluster', async () => {
    const m3 = cluster.members[2]!;
    const { memberId } = await m3.status();
    await m3.kill();
    await impostor(m3);
    for (const endpoints of [cluster.endpoints, cluster.endpoints.slice(0, 1)]) {
      const sight = await lookAtMembers({ access: { ...quick(cluster), endpoints }, signal: SIGNAL });
      expect(sight.members).toHaveLength(3);
      expect(sight.strays).toMatchObject([{ endpoint: m3.endpoint, advertisedBy: 'm3', removed: false }]);
      expect(sight.strays[0]!.clusterId).not.toBe(sight.clusterId);
      expect(sight.members.find(({ id }) => id === memberId)).toMatchObject({
        reachable: false,
        error: { message: expect.stringContaining('somebody else answers') },
      });
    }
    // One of each: neither their number tells which is meant, nor that they can agree with themselves.
    await expect(
      lookAtMembers({ access: { ...quick(cluster), endpoints: [m3.endpoint, cluster.endpoints[0]!] }, signal: SIGNAL }),
    ).rejects.toMatchObject({
      code: 'cluster-ids-disagree',
    });
    // The lock of a change is taken where the change is made: not even a key is written to the other cluster, although its address is the first that is named.
    const removed = await called([
      'member',
      'remove',
      memberId.toString(16),
      '--yes',
      '--json',
      '--request-timeout=2s',
      `--endpoints=${[m3.endpoint, ...cluster.endpoints.slice(0, 2)].join(',')}`,
    ]);
    expect(removed.json()).toMatchObject({ outcome: 'done', member: { id: memberId.toString(16) } });
    expect((await m3.status()).revision).toBe(1n);
  });
});
