import { expect, test, type TestContext } from 'vitest';
import { called, type Called } from '../../support/called.ts';
import { startCluster, type Cluster, type ClusterOptions } from '../../support/cluster.ts';
import { newcomer, type Newcomer } from '../../support/newcomer.ts';
import { until } from '../../support/processes.ts';
import { startWarden, type RunningWarden } from '../../support/run-warden.ts';

type Finishing = Pick<TestContext, 'onTestFinished'>;

async function running({ onTestFinished }: Finishing, options: ClusterOptions): Promise<Cluster> {
  const cluster = await startCluster(options);
  onTestFinished(() => cluster.stop());
  return cluster;
}

async function another({ onTestFinished }: Finishing, cluster: Cluster, name: string): Promise<Newcomer> {
  const one = await newcomer(cluster, name);
  onTestFinished(() => one.stop());
  return one;
}

function line(cluster: Cluster, args: readonly string[]): string[] {
  return ['member', ...args, '--endpoints', cluster.endpoints.join(','), '--json'];
}

function member(cluster: Cluster, ...args: string[]): Promise<Called> {
  return called(line(cluster, args));
}

/** The flags as they are printed for people, once they are. */
async function flagsOf(command: RunningWarden): Promise<string[]> {
  await until(
    () => Promise.resolve(command.stderr().includes('--initial-cluster-state=existing')),
    () => command.stderr(),
  );
  return [...command.stderr().matchAll(/^ {2}(--\S+?)(?: \\)?$/gm)].map(([, flag]) => flag!);
}

interface Printed {
  readonly outcome: string;
  readonly member: { readonly id: string };
  readonly start: { readonly flags: readonly string[] };
}

test.concurrent('an addition that is interrupted, or killed, goes on from what it sees when it is run again', async (context) => {
  const cluster = await running(context, { minor: '3.6', members: 1 });
  const m2 = await another(context, cluster, 'm2');
  const addition = ['add', 'm2', '--peer-urls', m2.peerUrl];
  // Another cluster's etcd, or an old one, at that address would never join.
  const stranger = await running(context, { minor: '3.6', members: 1 });
  const busy = await member(cluster, 'add', 'm2', '--peer-urls', stranger.members[0]!.peer);
  expect(busy).toMatchObject({ code: 14 });
  expect(busy.json()).toMatchObject({
    outcome: 'refused',
    gates: expect.arrayContaining([
      expect.objectContaining({
        rule: 'peer-url-busy',
        verdict: 'refused',
        message: expect.stringContaining('an etcd of another cluster runs'),
      }),
    ]),
  });

  const first = startWarden(line(cluster, addition));
  const flags = await flagsOf(first);
  first.kill('SIGINT');
  expect(await first.done).toMatchObject({ code: 130, stdout: expect.stringContaining('the same command again goes on from there') });
  const second = startWarden(line(cluster, addition));
  expect(await flagsOf(second)).toEqual(flags);
  second.kill('SIGKILL');
  await second.done;
  // Nobody else gets in between.
  expect(await member(cluster, 'add', 'm3', '--peer-urls', 'http://127.0.0.1:9')).toMatchObject({ code: 14 });
  const unstarted = await member(cluster, 'promote', m2.peerUrl);
  expect(unstarted.json()).toMatchObject({
    gates: expect.arrayContaining([expect.objectContaining({ rule: 'not-started', verdict: 'refused' })]),
  });
  const late = await member(cluster, ...addition, '--start-timeout', '1s');
  expect(late).toMatchObject({ code: 1 });
  expect(late.json()).toMatchObject({ error: { code: 'timeout', message: expect.stringContaining('m2 has not been started yet') } });

  m2.start(flags);
  const done = await member(cluster, ...addition);
  expect(done).toMatchObject({ code: 0 });
  expect(done.json()).toMatchObject({ outcome: 'done', member: { name: 'm2', learner: false }, hashes: { verdict: 'agree' } });
});

test.concurrent('a voter beside a single member stops the cluster until it runs: only with a yes, and run again it waits for it', async (context) => {
  const cluster = await running(context, { minor: '3.5', members: 1 });
  const m2 = await another(context, cluster, 'm2');
  const addition = ['add', 'm2', '--peer-urls', m2.peerUrl, '--voter'];
  const unasked = await member(cluster, ...addition);
  expect(unasked).toMatchObject({ code: 14 });
  expect(unasked.json()).toMatchObject({
    error: { message: expect.stringContaining('the cluster accepts nothing, neither writes nor reads') },
  });
  const added = await member(cluster, ...addition, '--no-wait', '--yes', '--request-timeout', '2s');
  expect(added).toMatchObject({ code: 0 });
  const { start, outcome } = added.json<Printed & Record<string, unknown>>();
  expect(outcome).toBe('added');
  // As was said.
  const [m1] = cluster.members;
  await expect(cluster.etcdctl(['put', 'k', 'v', '--command-timeout=1s'])).rejects.toThrow(/timed out|deadline exceeded/);
  m2.start(start.flags);
  const done = await member(cluster, ...addition, '--request-timeout', '2s');
  expect(done).toMatchObject({ code: 0 });
  expect(done.json()).toMatchObject({ hashes: { verdict: 'agree' } });
  await m1!.waitHealthy();
  await cluster.etcdctl(['put', 'k', 'v']);
});

test.concurrent('a learner that somebody else added is promoted, and by nobody without the root role', async (context) => {
  const cluster = await running(context, { minor: '3.4', members: 1, auth: true });
  const learner = await cluster.addLearner();
  await cluster.etcdctl(['user', 'add', 'someone:secret']);
  const { memberId } = await learner.status();
  const [m1] = cluster.members;
  const as = (user: string, password: string, ...args: string[]): Promise<Called> =>
    called(['member', ...args, '--endpoints', m1!.endpoint, '--user', user, '--json'], { env: { ETCDCTL_PASSWORD: password } });
  const denied = await as('someone', 'secret', 'promote', memberId.toString(16), '--no-coordinate');
  expect(denied.json()).toMatchObject({ error: { code: 'permission-denied' } });
  const promoted = await as('root', 'root', 'promote', learner.name);
  expect(promoted).toMatchObject({ code: 0 });
  expect(promoted.json()).toMatchObject({ outcome: 'done', member: { name: learner.name, learner: false }, hashes: { verdict: 'agree' } });
  const again = await as('root', 'root', 'promote', learner.name);
  expect(again).toMatchObject({ code: 0 });
  expect(again.json()).toMatchObject({ outcome: 'nothing' });
});

test.concurrent('H25: out of space no lock can be had, and a member is added all the same', async (context) => {
  const cluster = await running(context, { minor: '3.7', members: 1, quotaBackendBytes: 16 * 1024 * 1024 });
  await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
  const added = await member(cluster, 'add', 'm2', '--peer-urls', 'http://127.0.0.1:9', '--no-wait');
  expect(added).toMatchObject({ code: 0 });
  const removed = await member(cluster, 'remove', added.json<Printed & Record<string, unknown>>().member.id, '--yes');
  expect(removed).toMatchObject({ code: 0 });
});
