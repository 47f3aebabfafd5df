import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCoordination } from '../../../src/etcd/coordination.ts';
import { addMember } from '../../../src/member/change.ts';
import { handOver } from '../../../src/member/handover.ts';
import { lookAtMembers } from '../../../src/member/sight.ts';
import { called, type Called } from '../../support/called.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import type { Member } from '../../support/member.ts';
import { until } from '../../support/processes.ts';

interface Listed {
  readonly id: string;
  readonly name: string | null;
  readonly role: string;
  readonly status: string;
}

function member(cluster: Cluster, ...args: string[]): Promise<Called> {
  const endpoints = cluster.members.filter((one) => one.running()).map(({ endpoint }) => endpoint);
  return called(['member', ...args, '--endpoints', endpoints.join(','), '--json']);
}

async function names(cluster: Cluster): Promise<string[]> {
  const { members } = (await member(cluster, 'list')).json<{ members: Listed[] }>();
  return members.map(({ name, id }) => name ?? id).toSorted();
}

async function idOf(one: Member): Promise<string> {
  return (await one.status()).memberId.toString(16);
}

/** One after the other on the same cluster of five, which they take apart. */
describe('etcd 3.6: members are removed', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 5, proxies: true });
    await cluster.fill({ keys: 100, valueBytes: 200 });
  });
  afterAll(() => cluster?.stop());

  test('nothing is done without a yes, nor by a dry run, nor for nobody, nor while somebody else works', async () => {
    expect((await member(cluster, 'remove', 'm9')).json()).toMatchObject({ error: { code: 'member-missing' } });
    expect(await member(cluster, 'remove', 'm9')).toMatchObject({ code: 10 });
    const dry = await member(cluster, 'remove', 'm5', '--dry-run');
    expect(dry).toMatchObject({ code: 0 });
    expect(dry.json()).toMatchObject({
      dryRun: true,
      outcome: 'planned',
      member: { name: 'm5' },
      gates: expect.arrayContaining([expect.objectContaining({ rule: 'quorum-after', verdict: 'passed' })]),
    });
    const unasked = await member(cluster, 'remove', 'm5');
    expect(unasked).toMatchObject({ code: 14 });
    expect(unasked.json()).toMatchObject({ error: { code: 'refused', message: expect.stringContaining('nobody is there to say yes') } });
    const questions: string[] = [];
    const words = ['member', 'remove', 'm5', '--endpoints', cluster.endpoints.join(',')];
    const no = await called(words, { ask: (question) => Promise.resolve(questions.push(question) === 0) });
    expect(no).toMatchObject({ code: 14, stderr: expect.stringContaining('nobody said yes; nothing was done') });
    expect(questions).toEqual([expect.stringMatching(/^remove m5 \([0-9a-f]+\)\? Its id never comes back/)]);
    const coordination = openCoordination(cluster.access(), { keyPrefix: '/etcd-warden' });
    try {
      expect(await coordination.lock('a test')).toMatchObject({ outcome: 'held' });
      expect(await member(cluster, 'remove', 'm5', '--yes')).toMatchObject({ code: 11 });
    } finally {
      await coordination.close();
    }
    expect(await names(cluster)).toEqual(['m1', 'm2', 'm3', 'm4', 'm5']);
  });

  test('a leader that cannot hand over is not removed', async () => {
    const leader = await cluster.leader();
    const proxy = cluster.proxyOf(leader);
    proxy.intercept('etcdserverpb.Maintenance/MoveLeader', {
      instead: { code: 14, message: 'etcdserver: request timed out, leader transfer took too long' },
    });
    const access = cluster.access();
    const context = { signal: new AbortController().signal, progress: () => {} };
    const sight = await lookAtMembers({ access, signal: context.signal });
    const leaving = sight.members.find(({ id }) => id === sight.leader)!;
    await expect(handOver(sight, leaving, { access, context, patienceMs: 500 })).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringMatching(/^m\d still leads .*leader transfer took too long/),
    });
    proxy.heal();
    // Of a member that does not lead nothing is asked.
    const follower = sight.members.find(({ id }) => id !== sight.leader)!;
    expect(await handOver(sight, follower, { access, context })).toBe(sight);
  });

  test('the leader hands over first, so that clients notice next to nothing', async () => {
    const leader = await cluster.leader();
    const others = cluster.members.filter((one) => one !== leader);
    const asked = cluster.proxyOf(leader).calls('etcdserverpb.Maintenance/MoveLeader');
    const seenBefore = new Map(others.map((one) => [one, one.output().length]));
    const writer = cluster.writer();
    const result = await member(cluster, 'remove', leader.name, '--yes');
    expect(result).toMatchObject({ code: 0 });
    const { longestGapMs } = await writer.stop();
    const said = others.map((one) => one.output().slice(seenBefore.get(one))).join('\n');
    expect(said).toContain('is starting a new election');
    expect(cluster.proxyOf(leader).calls('etcdserverpb.Maintenance/MoveLeader')).toBe(asked + 1);
    expect(cluster.proxyOf(leader).calls('etcdserverpb.Cluster/MemberRemove')).toBe(0);
    expect(result.json<{ members: Listed[] }>().members.map(({ name }) => name)).not.toContain(leader.name);
    // Without the handover: up to two election timeouts of a second each, and the election itself. A machine that stands still makes a gap
    // too, but no election; and whoever is handed the leadership begins one without asking first whether he would win it.
    expect(longestGapMs > 2_000 && said.includes('became pre-candidate')).toBe(false);
    // Whoever is removed hears of it and ends.
    await until(() => Promise.resolve(!leader.running()), 'the removed member still runs');
    expect(others.every((one) => one.running())).toBe(true);
  });

  test('when the leader takes a peer for unreachable, another one is asked', async () => {
    const ADD = 'etcdserverpb.Cluster/MemberAdd';
    const leader = cluster.proxyOf(await cluster.leader());
    leader.intercept(ADD, { instead: { code: 14, message: 'etcdserver: unhealthy cluster' } });
    const said: string[] = [];
    const context = {
      signal: new AbortController().signal,
      progress: ({ message = '' }: { readonly message?: string }): void => void said.push(message),
    };
    const access = cluster.access();
    const sight = await lookAtMembers({ access, signal: context.signal });
    const added = await addMember(sight, { peerUrls: ['http://127.0.0.1:9'], learner: true }, { access, context });
    leader.heal();
    expect(leader.calls(ADD)).toBeGreaterThan(0);
    expect(said[0]).toMatch(/for now: .*not been connected to enough of the others/);
    await cluster.etcdctl(['member', 'remove', added.member.id.toString(16)]);
  });

  test('with one down, a healthy one stays and the dead one goes', async () => {
    const leader = await cluster.leader();
    const [dead, healthy] = cluster.members.filter((one) => one.running() && one !== leader) as [Member, Member];
    const deadId = await idOf(dead);
    await dead.kill();
    const refused = await member(cluster, 'remove', healthy.name, '--yes');
    expect(refused).toMatchObject({ code: 14 });
    expect(refused.json()).toMatchObject({
      outcome: 'refused',
      gates: expect.arrayContaining([expect.objectContaining({ rule: 'member-down', verdict: 'refused', member: dead.name })]),
    });
    const done = await member(cluster, 'remove', deadId, '--yes');
    expect(done).toMatchObject({ code: 0 });
    expect(done.json()).toMatchObject({ outcome: 'done', member: { id: deadId, name: dead.name } });
    // Three are left of five.
    expect(await names(cluster)).toHaveLength(3);
  });

  test('an answer that was lost is looked up in the list, and nothing is asked twice', async () => {
    const [follower] = (await cluster.followers()).filter((one) => one.running()) as [Member];
    const REMOVE = 'etcdserverpb.Cluster/MemberRemove';
    const proxies = cluster.members.filter((one) => one.running()).map((one) => cluster.proxyOf(one));
    const calls = (): number => proxies.reduce((sum, proxy) => sum + proxy.calls(REMOVE), 0);
    const before = calls();
    for (const proxy of proxies) proxy.intercept(REMOVE, { cut: true });
    const result = await member(cluster, 'remove', follower.name, '--yes');
    for (const proxy of proxies) proxy.heal();
    expect(result).toMatchObject({ code: 0 });
    expect(calls() - before).toBe(1);
    expect(await names(cluster)).not.toContain(follower.name);
  });

  test('an answer that never comes and changes nothing is told as such', async () => {
    const ADD = 'etcdserverpb.Cluster/MemberAdd';
    const proxies = cluster.members.filter((one) => one.running()).map((one) => cluster.proxyOf(one));
    const calls = (): number => proxies.reduce((sum, proxy) => sum + proxy.calls(ADD), 0);
    const before = calls();
    for (const proxy of proxies) proxy.intercept(ADD, { instead: { code: 14, message: 'etcdserver: request timed out' } });
    const access = cluster.access({ endpoints: proxies.map(({ endpoint }) => endpoint) });
    const context = { signal: new AbortController().signal, progress: () => {} };
    const sight = await lookAtMembers({ access, signal: context.signal });
    const adding = addMember(sight, { peerUrls: ['http://127.0.0.1:9'], learner: true }, { access, context, settleMs: 1_000 });
    await expect(adding).rejects.toMatchObject({ code: 'outcome-unknown', hint: expect.stringContaining('member list') });
    for (const proxy of proxies) proxy.heal();
    expect(calls() - before).toBe(1);
    expect(await names(cluster)).toHaveLength(2);
  });

  test('of two the leader goes too, and the last one stays', async () => {
    const leader = await cluster.leader();
    const done = await member(cluster, 'remove', leader.name, '--yes');
    expect(done).toMatchObject({ code: 0 });
    const [last] = cluster.members.filter((one) => one.running() && one !== leader);
    const refused = await member(cluster, 'remove', last!.name, '--yes');
    expect(refused).toMatchObject({ code: 14 });
    expect(refused.json()).toMatchObject({
      gates: expect.arrayContaining([expect.objectContaining({ rule: 'last-voter', verdict: 'refused' })]),
    });
    expect(await cluster.etcdctl(['get', '/fill/00000099', '--print-value-only'], { endpoints: [last!.direct] })).not.toBe('');
  });
});
