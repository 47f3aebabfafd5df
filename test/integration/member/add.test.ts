import { expect, test, type TestContext } from 'vitest';
import { called } from '../../support/called.ts';
import { startCluster, type Cluster, type ClusterOptions } from '../../support/cluster.ts';
import { newcomer, type Newcomer } from '../../support/newcomer.ts';
import { until } from '../../support/processes.ts';
import { startWarden } from '../../support/run-warden.ts';

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

/** The flags as they are printed for people, to be pasted. */
function pasted(text: string): string[] {
  return [...text.matchAll(/^ {2}(--\S+?)(?: \\)?$/gm)].map(([, flag]) => flag!);
}

interface Change {
  readonly outcome: string;
  readonly member: { readonly id: string; readonly name: string; readonly learner: boolean };
  readonly hashes: { readonly verdict: string; readonly members: readonly unknown[] } | null;
  readonly members: readonly { readonly id: string; readonly name: string; readonly role: string; readonly status: string }[];
  readonly gates: readonly { readonly rule: string; readonly verdict: string }[];
}

/** Adds a member as an operator does: reads what is printed, starts etcd with it, waits for the command. */
async function add(one: Newcomer, endpoints: string): Promise<Change> {
  const command = startWarden(['member', 'add', one.name, '--peer-urls', one.peerUrl, '--endpoints', endpoints, '--json']);
  await until(
    () => Promise.resolve(/--initial-cluster-state=existing/.test(command.stderr())),
    () => command.stderr(),
  );
  one.start(pasted(command.stderr()));
  const result = await command.done;
  expect(result).toMatchObject({ code: 0 });
  return result.json<Change & Record<string, unknown>>();
}

// Each mostly waits for the five seconds of connections that etcd asks for before it changes its membership.
test.concurrent.for(['3.4', '3.5', '3.6', '3.7'] as const)(
  'etcd %s: member add grows one member to three while clients write, and every member has the same data',
  async (minor, context) => {
    const cluster = await running(context, { minor, members: 1 });
    await cluster.fill({ keys: 200, valueBytes: 500 });
    const writer = cluster.writer();
    const [m1] = cluster.members;
    const second = await another(context, cluster, 'm2');
    const grown = await add(second, m1!.endpoint);
    expect(grown).toMatchObject({
      outcome: 'done',
      member: { name: 'm2', learner: false },
      hashes: { verdict: 'agree' },
      members: [
        { name: expect.any(String), status: 'started' },
        { name: expect.any(String), status: 'started' },
      ],
    });
    const third = await another(context, cluster, 'm3');
    const whole = await add(third, `${m1!.endpoint},${second.clientUrl}`);
    expect(whole.members.map(({ name }) => name).toSorted()).toEqual(['m1', 'm2', 'm3']);
    expect(whole.members.filter(({ role }) => role === 'learner')).toEqual([]);
    expect(whole.hashes).toMatchObject({ verdict: 'agree', members: [{ error: null }, { error: null }, { error: null }] });
    const { failed, written } = await writer.stop();
    expect(written).toBeGreaterThan(100);
    // A learner endangers nothing, and a voter that has caught up is no failure.
    expect(failed).toBe(0);
    // Run again, it has nothing to do.
    const again = await called(['member', 'add', 'm3', '--peer-urls', third.peerUrl, '--endpoints', m1!.endpoint, '--json']);
    expect(again.json()).toMatchObject({ outcome: 'nothing', hashes: { verdict: 'agree' } });
  },
);
