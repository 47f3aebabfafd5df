/** What may happen to a cluster of three while a member of it is defragmented. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
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
  watchDefrags,
  whileFrozen,
  type DefragWatch,
  type Maintained,
} from '../../support/maintained.ts';
import type { Member } from '../../support/member.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const MOVE_LEADER = 'etcdserverpb.Maintenance/MoveLeader';
const HOUR = 3_600_000;

let folder: string;
let seed = 0;
beforeEach(() => {
  folder = temporaryFolder('faults');
  return () => removeFolder(folder);
});

function rules({ plan }: RoundResult): string[] {
  return plan.refusals.map(({ rule }) => rule);
}

function defragged({ actions }: RoundResult): string[] {
  return actions.filter(({ action }) => action === 'defrag').map(({ member }) => member ?? '');
}

/** Kills the first of them that is frozen. @returns which one that was */
function killedWhileFrozen(members: readonly Member[]): () => Member | undefined {
  let victim: Member | undefined;
  for (const member of members) {
    void whileFrozen(member, async () => {
      victim ??= member;
      if (victim === member) await member.kill();
    });
  }
  return () => victim;
}

describe('three members of 3.6', () => {
  let cluster: Cluster;
  let watching: DefragWatch;
  let subject: Maintained;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3, proxies: true, wires: true });
  });
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    await forget(cluster);
    await makeGarbage(cluster, { seed: ++seed });
    watching = watchDefrags(cluster);
    subject = maintained({ folder, cluster });
  });
  afterEach(async () => {
    for (const member of cluster.members) cluster.proxyOf(member).heal();
    cluster.healNetwork();
    await expectHealthy(cluster);
  });

  test('H4: a member killed while it is frozen ends the round; the next one does all three after the backoff, and the dead one came back whole', async () => {
    const killed = killedWhileFrozen(await cluster.followers());
    const round = await subject.maintain(ROUTINE);
    expectOutcome(round, 'failed');
    expect(round.failure!.code).toBe('surprise');
    const victim = killed()!;
    expect(round.failure!.message).toContain(victim.name);
    expect(watching.frozen).toEqual([{ member: victim.name, led: false, overlapped: false }]);

    await victim.restart();
    const tooSoon = await subject.maintain(ROUTINE);
    expectOutcome(tooSoon, 'refused');
    expect(rules(tooSoon)).toContain('backing-off');
    expect(watching.frozen).toHaveLength(1);
    const later = await subject.maintain(ROUTINE, clockOff(HOUR));
    expectOutcome(later, 'done');
    expect(new Set(defragged(later))).toEqual(new Set(['m1', 'm2', 'm3']));
    expectCareful(watching);
  });

  test('H1: the leader that was moved to is lost before the old one is defragmented: nothing more is frozen', async () => {
    const old = await cluster.leader();
    let lost: Member | undefined;
    cluster.proxyOf(old).intercept(MOVE_LEADER, {
      after: async () => {
        lost = await cluster.leader();
        await lost.kill();
      },
    });
    const round = await subject.maintain(ALL);
    expectOutcome(round, 'failed', 'refused');
    expect(lost).not.toBe(old);
    expect(watching.frozen.map(({ member }) => member)).not.toContain(old.name);
    expect(watching.frozen).toHaveLength(2);
    await lost!.restart();
    cluster.proxyOf(old).heal();
    watching = watchDefrags(cluster);
    expectOutcome(await subject.maintain(ALL, clockOff(HOUR)), 'done');
    expectCareful(watching);
  });

  test('H1: a new leader while a follower is frozen: the round goes on around it', async () => {
    const [leader, followers] = [await cluster.leader(), await cluster.followers()];
    let moved: Member | undefined;
    watching.after = async (frozen) => {
      watching.after = undefined;
      moved = followers.find((member) => member !== frozen)!;
      await cluster.etcdctl(['move-leader', (await moved.status()).memberId.toString(16)], { endpoints: [leader.direct] });
    };
    const round = await subject.maintain(ALL);
    expectOutcome(round, 'done');
    expect(defragged(round).sort()).toEqual(['m1', 'm2', 'm3']);
    // The one that leads now comes last, whoever led before.
    expect(defragged(round).at(-1)).toBe(moved!.name);
    expectCareful(watching);
  });

  test('H1: leadership that moves onto the member in the instant in which it is asked: seen, survived, nothing frozen at the same time', async () => {
    const leader = await cluster.leader();
    watching.before = async (asked) => {
      watching.before = undefined;
      await cluster.etcdctl(['move-leader', (await asked.status()).memberId.toString(16)], { endpoints: [leader.direct] });
    };
    const round = await subject.maintain(ALL);
    expectOutcome(round, 'done', 'failed');
    expect(watching.frozen.filter(({ overlapped }) => overlapped)).toEqual([]);
    watching.frozen.length = 0;
    expectOutcome(await subject.maintain(ALL, clockOff(HOUR)), 'done');
    expectCareful(watching);
  });

  test('H4: with a member cut off from its peers, though clients reach it, nothing is frozen; when it is back everything is done', async () => {
    const [separated] = await cluster.followers();
    await cluster.isolate(separated!);
    const round = await subject.maintain(ALL);
    expectOutcome(round, 'refused');
    expect(rules(round).some((rule) => ['member-slow', 'leader-unclear', 'member-lagging'].includes(rule))).toBe(true);
    expect(watching.frozen).toEqual([]);
    cluster.healNetwork();
    await separated!.waitHealthy();
    expectOutcome(await subject.maintain(ALL), 'done');
    expectCareful(watching);
  });

  test('H4: a leader that is cut off is neither frozen nor believed, and nobody else is frozen either', async () => {
    const old = await cluster.leader();
    await cluster.isolate(old);
    const round = await subject.maintain(ALL);
    expectOutcome(round, 'refused');
    expect(round.actions).toEqual([]);
    expect(watching.frozen).toEqual([]);
    cluster.healNetwork();
    await old.waitHealthy();
    expectOutcome(await subject.maintain(ALL), 'done');
    expectCareful(watching);
  });

  test('H4: a member that is cut off while another is frozen stops the round before the next', async () => {
    const followers = await cluster.followers();
    let separated: Member | undefined;
    watching.before = async (frozen) => {
      watching.before = undefined;
      separated = followers.find((member) => member !== frozen)!;
      await cluster.isolate(separated);
    };
    const round = await subject.maintain(ALL);
    expectOutcome(round, 'failed', 'refused');
    expect(watching.frozen).toHaveLength(1);
    cluster.healNetwork();
    await separated!.waitHealthy();
    expectOutcome(await subject.maintain(ALL, clockOff(HOUR)), 'done');
    expectCareful(watching);
  });
});

test.each(['3.4', '3.5', '3.7'] as const)(
  'H4 and H9: etcd %s killed while it is frozen comes back whole, and the next round ends well',
  async (minor) => {
    await using cluster = await startCluster({ minor, members: 3, proxies: true });
    await makeGarbage(cluster);
    const watching = watchDefrags(cluster);
    const subject = maintained({ folder, cluster });
    const killed = killedWhileFrozen(await cluster.followers());
    expectOutcome(await subject.maintain(ROUTINE), 'failed');
    expect(watching.frozen).toEqual([{ member: killed()!.name, led: false, overlapped: false }]);
    await killed()!.restart();
    expectOutcome(await subject.maintain(ROUTINE, clockOff(HOUR)), 'done');
    expectCareful(watching);
    await expectHealthy(cluster);
  },
);
