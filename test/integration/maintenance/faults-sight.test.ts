/** What maintenance cannot see, may not do, or must wait for; and a clock that jumps. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { RoundResult } from '../../../src/maintenance/types.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import {
  ALL,
  clockOff,
  expectCareful,
  expectHealthy,
  expectOutcome,
  forget,
  maintained,
  makeGarbage,
  ROUTINE,
  stalledSnapshot,
  watchDefrags,
} from '../../support/maintained.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const DEFRAGMENT = 'etcdserverpb.Maintenance/Defragment';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('sight');
  return () => removeFolder(folder);
});

function rules({ plan }: RoundResult): string[] {
  return plan.refusals.map(({ rule }) => rule);
}

function kinds({ actions }: RoundResult): string[] {
  return actions.map(({ action }) => action);
}

describe('three members of 3.7', () => {
  let cluster: Cluster;
  let seed = 0;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.7', members: 3, proxies: true });
  });
  afterAll(() => cluster?.stop());
  beforeEach(() => forget(cluster));

  test('H5: while somebody streams a snapshot from a member nothing is frozen; when the stream ends everything is done', async () => {
    await makeGarbage(cluster, { seed: ++seed });
    const watching = watchDefrags(cluster);
    const subject = maintained({ folder, cluster });
    const streaming = (await cluster.followers())[0]!;
    const stream = await stalledSnapshot(streaming);
    const round = await subject.maintain(ROUTINE);
    expectOutcome(round, 'refused');
    expect(round.plan.refusals.find(({ rule }) => rule === 'foreign-snapshot')).toMatchObject({ member: streaming.name });
    expect(watching.frozen).toEqual([]);
    stream.close();
    expectOutcome(await subject.maintain(ROUTINE), 'done');
    expect(watching.frozen).toHaveLength(3);
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test('H7: a member that has no room for its copy says so: nobody else is asked; the backoff lasts minutes, and a jump of the clock does not make it days', async () => {
    await makeGarbage(cluster, { seed: ++seed });
    const full = { code: 2, message: 'write /data/member/snap/db.tmp.1: no space left on device' };
    const asked = (): number => cluster.members.reduce((sum, member) => sum + cluster.proxyOf(member).calls(DEFRAGMENT), 0);
    for (const member of cluster.members) cluster.proxyOf(member).intercept(DEFRAGMENT, { instead: full });
    const before = asked();
    const subject = maintained({ folder, cluster });
    const ahead = await subject.maintain(ROUTINE, clockOff(DAY));
    expectOutcome(ahead, 'failed');
    expect(ahead.failure!.message).toContain('no space left on device');
    expect(asked()).toBe(before + 1);
    // The clock was wrong: that surprise lies in the future, and holds nothing back.
    const now = await subject.maintain(ROUTINE);
    expectOutcome(now, 'failed');
    expect(asked()).toBe(before + 2);
    expect(rules(await subject.maintain(ROUTINE, clockOff(4 * MINUTE)))).toContain('backing-off');
    expect(asked()).toBe(before + 2);
    const watching = watchDefrags(cluster);
    expectOutcome(await subject.maintain(ROUTINE, clockOff(HOUR)), 'done');
    expect(watching.frozen).toHaveLength(3);
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test('a clock that jumps a day ahead or back neither repeats a defragmentation nor puts it off for ever', async () => {
    const watching = watchDefrags(cluster);
    const subject = maintained({ folder, cluster });
    await makeGarbage(cluster, { seed: ++seed });
    expectOutcome(await subject.maintain(ROUTINE, clockOff(DAY)), 'done');
    expect(watching.frozen).toHaveLength(3);
    // Back: what was done lies in the future now. There is nothing to gain, and that is the only reason.
    expect(await subject.maintain(ROUTINE)).toMatchObject({ outcome: 'nothing', actions: [] });
    expect(watching.frozen).toHaveLength(3);
    await makeGarbage(cluster, { seed: ++seed });
    const round = await subject.maintain(ROUTINE);
    expectOutcome(round, 'done');
    expect(watching.frozen).toHaveLength(6);
    // Far ahead, again and again: no cooldown holds, and no garbage is there.
    for (const days of [2, 3, 4]) expectOutcome(await subject.maintain(ROUTINE, clockOff(days * DAY)), 'nothing');
    expect(watching.frozen).toHaveLength(6);
    expectCareful(watching);
    await expectHealthy(cluster);
  });

  test.each([
    ['an hour back', -HOUR],
    ['a day ahead', DAY],
  ])('a clock that jumps %s in the middle of a round freezes nobody twice and leaves nobody out', async (_way, jumpMs) => {
    const watching = watchDefrags(cluster);
    await makeGarbage(cluster, { seed: ++seed });
    let offMs = 0;
    watching.after = () => {
      offMs = jumpMs;
    };
    const round = await maintained({ folder, cluster }).maintain(ALL, { now: () => new Date(Date.now() + offMs) });
    expect(watching.frozen.map(({ member }) => member).sort()).toEqual(['m1', 'm2', 'm3']);
    expectOutcome(round, 'done');
    await expectHealthy(cluster);
  });
});

test('members whose metrics are closed: said for each, and done all the same where the release allows it', async () => {
  await using cluster = await startCluster({ minor: '3.5', members: 3, proxies: true });
  await makeGarbage(cluster);
  const watching = watchDefrags(cluster);
  for (const member of cluster.members) cluster.proxyOf(member).closeMetrics();
  const subject = maintained({ folder, cluster });
  const round = await subject.maintain(ROUTINE);
  expectOutcome(round, 'done');
  expect(watching.frozen).toHaveLength(3);
  expect(round.plan.gates.filter(({ verdict }) => verdict === 'unchecked')).not.toEqual([]);
  expectCareful(watching);
  await expectHealthy(cluster);
});

test('H9: an etcd with #20271 whose metrics are closed is not defragmented', async () => {
  await using cluster = await startCluster({ minor: '3.4', members: 3, proxies: true });
  await makeGarbage(cluster);
  const watching = watchDefrags(cluster);
  const subject = maintained({ folder, cluster });
  const [closed] = await cluster.followers();
  cluster.proxyOf(closed!).closeMetrics();
  const round = await subject.maintain(ROUTINE);
  expectOutcome(round, 'refused');
  expect(rules(round)).toContain('version-unchecked');
  expect(watching.frozen).toEqual([]);
  // With them it is, but not so soon after a start.
  for (const member of cluster.members) cluster.proxyOf(member).heal();
  const again = watchDefrags(cluster);
  const careful = maintained({ folder, cluster, maintenance: { restartQuiet: '10m' } });
  expect(rules(await careful.maintain(ROUTINE))).toContain('restarted-lately');
  expect(again.frozen).toEqual([]);
  expectOutcome(await subject.maintain(ROUTINE), 'done');
  expect(again.frozen).toHaveLength(3);
  expectCareful(again);
  await expectHealthy(cluster);
});

test('H14: a user without the root role is told so before anything is touched', async () => {
  await using cluster = await startCluster({ minor: '3.6', members: 3, auth: true, proxies: true });
  await makeGarbage(cluster);
  await cluster.etcdctl(['user', 'add', 'worker:secret']);
  await cluster.etcdctl(['role', 'add', 'worker']);
  await cluster.etcdctl(['role', 'grant-permission', 'worker', 'readwrite', '', '--prefix']);
  await cluster.etcdctl(['user', 'grant-role', 'worker', 'worker']);
  const watching = watchDefrags(cluster);
  const sizes = await Promise.all(cluster.members.map(async (member) => (await member.status()).dbSize));
  const subject = maintained({ folder, cluster, clusterOptions: { user: 'worker', password: 'secret' } });
  for (const wish of [ROUTINE, ALL]) {
    const ended = await subject.maintain(wish).catch((error: unknown) => error);
    const failure = ended instanceof Error ? ended : (ended as RoundResult).failure;
    expect(failure).toMatchObject({ code: 'permission-denied', message: expect.stringContaining('root') as string });
  }
  expect(await Promise.all(cluster.members.map(async (member) => (await member.status()).dbSize))).toEqual(sizes);
  const leader = await cluster.leader();

  const root = maintained({ folder, cluster, clusterOptions: { user: 'root', password: 'root' } });
  watching.frozen.length = 0;
  expectOutcome(await root.maintain(ALL, clockOff(HOUR)), 'done');
  expect(watching.frozen.map(({ member }) => member).at(-1)).toBe(leader.name);
  expectCareful(watching);
  await expectHealthy(cluster);
});

test('H9: a learner that is catching up stops the round until it has', async () => {
  await using cluster = await startCluster({ minor: '3.6', members: 3, learner: true, proxies: true });
  await makeGarbage(cluster);
  const learner = cluster.members[3]!;
  const watching = watchDefrags(cluster);
  const subject = maintained({ folder, cluster });
  learner.pause();
  try {
    const round = await subject.maintain(ROUTINE);
    expectOutcome(round, 'refused');
    expect(rules(round)).toContain('learner-catching-up');
    expect(kinds(round)).toEqual([]);
    expect(watching.frozen).toEqual([]);
  } finally {
    learner.resume();
  }
  await cluster.promote(learner);
  await learner.waitHealthy();
  await makeGarbage(cluster, { seed: 2 });
  expectOutcome(await subject.maintain(ROUTINE), 'done');
  expect(watching.frozen).toHaveLength(4);
  expectCareful(watching);
  await expectHealthy(cluster);
});
