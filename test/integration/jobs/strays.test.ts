/** One address among the endpoints, the first, leads to a cluster of its own: what is agreed there would keep nobody off. */
import { setTimeout as delay } from 'node:timers/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Lock, type LockResult, openCoordination } from '../../../src/etcd/coordination.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { ALL, maintained } from '../../support/maintained.ts';
import { until } from '../../support/processes.ts';
import { product } from '../../support/product.ts';
import { type Daemon, startDaemon } from '../../support/run-warden.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const KEYS = '/etcd-warden';
const TTL = 2;

let cluster: Cluster;
let stray: Cluster;
let folder: string;
/** The stray first. */
let strayFirst: string[];

beforeAll(async () => {
  [cluster, stray] = await Promise.all([startCluster({ minor: '3.6', members: 3 }), startCluster({ minor: '3.6' })]);
  strayFirst = [...stray.endpoints, ...cluster.endpoints];
  await cluster.fill({ keys: 200, valueBytes: 1_000 });
});
afterAll(async () => {
  await cluster?.stop();
  await stray?.stop();
});
beforeEach(() => {
  const own = (folder = temporaryFolder('strays'));
  return () => removeFolder(own);
});

/** Nothing of ours was ever written there: not a key, and not one that is gone again. */
async function expectUntouched(): Promise<void> {
  expect((await stray.members[0]!.status()).revision).toBe(1n);
  expect(await stray.etcdctl(['lease', 'list'])).toContain('found 0 leases');
}

function lockOf(result: LockResult): Lock {
  if (result.outcome !== 'held') throw new Error(`not held: ${JSON.stringify(result)}`);
  return result.lock;
}

test('a backup takes its lock where the members are, so that whoever names them in another order is kept out', async () => {
  const subject = product({ folder, cluster: { endpoints: strayFirst } });
  const other = openCoordination(cluster.access({ endpoints: [...cluster.endpoints].toReversed() }), { keyPrefix: KEYS });
  const lock = lockOf(await other.lock('somebody else'));
  await expect(subject.backup()).rejects.toMatchObject({ code: 'locked', message: expect.stringContaining('somebody else') as string });
  await lock.release();
  await other.close();
  const slot = new Date().toISOString();
  expect(await subject.backup({ slot })).toMatchObject({ outcome: 'complete' });
  expect(JSON.parse(await cluster.etcdctl(['get', '--print-value-only', `${KEYS}/slots/main`]))).toMatchObject({ slot });
  await expectUntouched();
});

test('maintenance takes its lock and leaves its record where the members are', async () => {
  const subject = maintained({ folder, cluster: { endpoints: strayFirst } });
  const other = openCoordination(cluster.access(), { keyPrefix: KEYS });
  const lock = lockOf(await other.lock('somebody else'));
  await expect(subject.maintain(ALL)).rejects.toMatchObject({
    code: 'locked',
    message: expect.stringContaining('somebody else') as string,
  });
  await lock.release();
  await other.close();
  const { outcome, actions } = await subject.maintain(ALL);
  expect(outcome).toBe('done');
  expect(actions.filter(({ action }) => action === 'defrag')).toHaveLength(3);
  expect(await cluster.etcdctl(['get', '--print-value-only', `${KEYS}/maintenance/main`])).toContain('defrag');
  await expectUntouched();
});

test('of two daemons that name the endpoints in different orders exactly one leads, and the other follows', async () => {
  const orders = [strayFirst, strayFirst.toReversed()];
  const daemons = await Promise.all(
    orders.map((endpoints, index) =>
      startDaemon({
        clusters: { main: { endpoints, backup: { schedule: '0 0 1 1 *' } } },
        stores: { disk: { type: 'local', path: join(folder, `backups-${index}`) } },
        daemon: { grace: '5s' },
      }),
    ),
  );
  const leading = async (): Promise<Daemon[]> => {
    const leads = await Promise.all(daemons.map((daemon) => daemon.metric('etcd_warden_leader', { cluster: 'main' })));
    return daemons.filter((_, index) => leads[index] === 1);
  };
  try {
    await until(
      async () => (await leading()).length === 1 && daemons.some((daemon) => daemon.output().includes('standby: another daemon')),
      () => `no election:\n${daemons.map((daemon) => daemon.output()).join('\n')}`,
    );
    const [leader] = await leading();
    await leader!.stop();
    const left = daemons.filter((daemon) => daemon !== leader);
    await until(
      async () => (await left[0]!.metric('etcd_warden_leader', { cluster: 'main' })) === 1,
      () => left[0]!.output(),
    );
    for (const daemon of daemons) expect(daemon.output()).toContain('an endpoint is left out, since it belongs to another cluster');
  } finally {
    await Promise.all(daemons.map((daemon) => daemon.stop()));
  }
  await expectUntouched();
});

test('when the first address is given to a stray, lock and leadership are kept through the others; when all are, they are lost', async () => {
  await using first = await startTcpProxy(cluster.endpoints[0]!);
  await using second = await startTcpProxy(cluster.endpoints[1]!);
  const endpoints = [first.endpoint, second.endpoint];
  const coordination = openCoordination(cluster.access({ endpoints, discover: false }), {
    keyPrefix: KEYS,
    lockTtlSeconds: TTL,
    leaderTtlSeconds: TTL,
  });
  try {
    const lock = lockOf(await coordination.lock('a test'));
    const lost: unknown[] = [];
    lock.onLost((holder) => lost.push(holder));
    const campaign = coordination.campaign('a test');
    const roles: string[] = [];
    campaign.onChange(({ role }) => roles.push(role));
    await until(() => campaign.leadership.role === 'leader', 'nobody leads');
    first.switchTo(stray.endpoints[0]!);
    await delay(TTL * 2_000);
    expect(lock.held).toBe(true);
    expect({ lost, roles }).toEqual({ lost: [], roles: ['leader'] });
    expect(await cluster.etcdctl(['get', '--print-value-only', `${KEYS}/lock`])).toContain('a test');
    await expectUntouched();

    second.switchTo(stray.endpoints[0]!);
    await until(() => lost.length > 0, 'the loss was not told');
    expect(lost).toEqual([undefined]);
    expect(lock.held).toBe(false);
    await expect(lock.heldByOther()).rejects.toMatchObject({ code: 'cluster-ids-disagree' });
    // Whoever leads goes where most endpoints are, as after a restore; a lock never does.
    await until(
      () => roles.length >= 3,
      () => `roles: ${roles.join(', ')}`,
    );
    expect(roles.slice(0, 3)).toEqual(['leader', 'unknown', 'leader']);
    expect(await stray.etcdctl(['get', '--prefix', '--keys-only', KEYS])).toMatch(new RegExp(`^${KEYS}/leader/test\\s*$`));
  } finally {
    await coordination.close();
  }
});
