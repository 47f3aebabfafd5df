import { describe, expect, test } from 'vitest';
import { chooseMembers } from '../../../src/etcd/choose.ts';
import { observeCluster } from '../../../src/etcd/cluster.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { ClusterAccess } from '../../../src/etcd/types.ts';
import { startCluster } from '../../support/cluster.ts';
import { type FakeMember, startFakeMember } from '../../support/fake-member.ts';
import { drain } from './drain.ts';

test('fault 3: of a dead, a learner and healthy endpoints the healthy and the learner are used, the dead one is reported once', async () => {
  await using cluster = await startCluster({ minor: '3.5', members: 3, learner: true });
  await cluster.fill({ keys: 50, valueBytes: 1_000 });
  const dead = (await cluster.followers())[0]!;
  await dead.kill();
  const access = cluster.access({ requestTimeoutMs: 2_000 });
  const view = await observeCluster(access);
  expect(view.quorum).toBe(true);
  expect(view.members).toHaveLength(4);
  expect(view.notes.filter((note) => note.includes(dead.endpoint))).toHaveLength(1);
  expect(view.notes[0]).toMatch(new RegExp(`^${dead.name} does not answer`));
  expect(chooseMembers(view, 'leader').map((candidate) => candidate.status.role)).toEqual(['leader', 'follower', 'learner']);
  const [learner] = chooseMembers(view, 'learner');
  expect(learner).toMatchObject({ status: { role: 'learner' }, secondRate: [] });
  const client = new MemberClient(access, learner!.status.endpoint);
  expect(await drain(client.snapshot())).toMatchObject({ whole: true });
  client.close();
});

test('one configured endpoint is enough to find all, unless discovery is off', async () => {
  await using cluster = await startCluster({ minor: '3.6', members: 3 });
  const endpoints = [cluster.endpoints[0]!];
  const all = await observeCluster(cluster.access({ endpoints }));
  expect(names(all)).toEqual(['m1', 'm2', 'm3']);
  const alone = await observeCluster(cluster.access({ endpoints, discover: false }));
  expect(names(alone)).toEqual(['m1']);
  // The same member under two addresses is one member.
  const twice = await observeCluster(
    cluster.access({ endpoints: [endpoints[0]!, endpoints[0]!.replace('127.0.0.1', 'localhost')], discover: false }),
  );
  expect(names(twice)).toEqual(['m1']);
});

test('a frozen member costs one deadline, and only once', async () => {
  await using cluster = await startCluster({ minor: '3.6', members: 3 });
  const frozen = (await cluster.followers())[0]!;
  frozen.pause();
  const started = performance.now();
  const deadlineMs = 4_000;
  const view = await observeCluster(cluster.access({ requestTimeoutMs: deadlineMs, dialTimeoutMs: 2 * deadlineMs }));
  expect(performance.now() - started).toBeLessThan(2 * deadlineMs);
  expect(view.members.filter((member) => !member.reachable)).toMatchObject([
    { endpoint: frozen.endpoint, name: frozen.name, error: { code: 'timeout' } },
  ]);
  frozen.resume();
});

describe('members that play a part', () => {
  test('fault 12: a member of another cluster than most is left out and named', async () => {
    await using a = await startFakeMember({ clusterId: 0xaan, memberId: 1n });
    await using b = await startFakeMember({ clusterId: 0xaan, memberId: 2n });
    await using c = await startFakeMember({ clusterId: 0xccn, memberId: 3n });
    const view = await observeCluster(access([a, b, c]));
    expect(view.clusterId).toBe(0xaan);
    expect(view.notes).toContain(`${c.endpoint} is left out: it belongs to cluster cc, most belong to aa`);
    expect(chooseMembers(view, 'leader').map((candidate) => candidate.status.endpoint)).not.toContain(c.endpoint);
  });

  test('fault 12: cluster ids without a majority stop the run, all named', async () => {
    await using a = await startFakeMember({ clusterId: 0xaan, memberId: 1n });
    await using b = await startFakeMember({ clusterId: 0xbbn, memberId: 2n });
    await expect(observeCluster(access([a, b]))).rejects.toMatchObject({
      code: 'cluster-ids-disagree',
      message: expect.stringMatching(new RegExp(`${a.endpoint} of aa.*${b.endpoint} of bb`)) as string,
    });
  });

  test('advertised addresses that must not be dialled are ignored, each with its reason', async () => {
    await using here = await startFakeMember({ memberId: 1n });
    here.members = [
      { id: 1n, name: 'here', clientUrls: [here.endpoint] },
      { id: 2n, name: 'anywhere', clientUrls: ['http://0.0.0.0:2379'] },
      { id: 3n, name: 'secure', clientUrls: ['https://10.0.0.3:2379'] },
      { id: 4n, name: 'socket', clientUrls: ['unix://etcd.sock:0'] },
    ];
    const view = await observeCluster(access([here], { discover: true }));
    expect(view.notes).toEqual([
      'http://0.0.0.0:2379, which anywhere advertises, is ignored: it names no machine',
      'https://10.0.0.3:2379, which secure advertises, is ignored: its scheme is not the configured http',
      expect.stringContaining('unix://etcd.sock:0, which socket advertises, is ignored'),
    ]);
    expect(view.members).toHaveLength(1);
  });

  test('an advertised address that leads to another member names nobody', async () => {
    await using here = await startFakeMember({ memberId: 1n });
    here.members = [
      { id: 1n, name: 'here', clientUrls: [here.endpoint] },
      { id: 2n, name: 'remote', clientUrls: [here.endpoint.replace('127.0.0.1', 'localhost')] },
    ];
    const view = await observeCluster(access([here], { discover: true }));
    expect(names(view)).toEqual(['here']);
    expect(view.notes).toEqual([expect.stringContaining('which remote advertises, is ignored: another member answers there')]);
  });

  test('the password is said to no http endpoint where another is https', async () => {
    await using plain = await startFakeMember({ memberId: 1n });
    const mixed = { ...access([plain]), endpoints: [plain.endpoint, 'https://127.0.0.1:1'], user: 'root', password: () => 'secret' };
    const client = new MemberClient(mixed, plain.endpoint);
    await client.status();
    client.close();
    expect(plain.count('etcdserverpb.Auth/Authenticate')).toBe(0);
    expect(plain.calls.every((call) => call.metadata.get('token').length === 0)).toBe(true);
  });

  test('nothing that fails is asked a second time', async () => {
    await using member = await startFakeMember({ memberId: 1n });
    member.answers.set('etcdserverpb.Maintenance/Status', () => new Promise<never>(() => {}));
    const client = new MemberClient({ ...access([member]), requestTimeoutMs: 300 }, member.endpoint);
    await expect(client.status()).rejects.toMatchObject({ code: 'timeout' });
    client.close();
    expect(member.count('etcdserverpb.Maintenance/Status')).toBe(1);
  });

  test('when nobody answers, every endpoint is named', async () => {
    const nobody: ClusterAccess = { ...access([]), endpoints: ['127.0.0.1:1', '127.0.0.1:2'] };
    await expect(observeCluster(nobody)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/127\.0\.0\.1:1.*127\.0\.0\.1:2/) as string,
    });
    await expect(observeCluster({ ...nobody, name: 'x' }, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'interrupted' });
  });
});

function access(members: readonly FakeMember[], changes: Partial<ClusterAccess> = {}): ClusterAccess {
  return {
    name: 'fake',
    endpoints: members.map((member) => member.endpoint),
    requestTimeoutMs: 2_000,
    dialTimeoutMs: 1_000,
    streamIdleTimeoutMs: 1_000,
    discover: false,
    ...changes,
  };
}

function names(view: Awaited<ReturnType<typeof observeCluster>>): string[] {
  return view.members.map((member) => (member.reachable ? member.status.name : '')).sort();
}
