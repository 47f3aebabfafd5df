/** Stored backups read again: on every minor, out of S3, encrypted, damaged in the store, and by the daemon on its schedule. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runJob } from '../../../src/jobs/run.ts';
import type { JobRequest } from '../../../src/jobs/types.ts';
import type { VerifyLine } from '../../../src/jobs/verify.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { run, until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { readManifest } from '../../support/recover.ts';
import { startDaemon } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

type VerifyRequest = Extract<JobRequest, { verb: 'verify' }>['request'];

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('verify');
  return () => removeFolder(folder);
});

async function verify(of: Product, request: Partial<VerifyRequest> = {}): Promise<readonly VerifyLine[]> {
  return (await runJob(
    { verb: 'verify', request: { cluster: 'main', which: 'all', level: 'proved', ...request } },
    of.context(),
  )) as VerifyLine[];
}

const dataObject = (disk: string): string =>
  join(
    disk,
    'main',
    readdirSync(join(disk, 'main')).find((name) => /\.db\.zst(\.age)?$/.test(name))!,
  );

/** Puts, deletes, a compaction, and more of both. */
async function live(cluster: Cluster): Promise<void> {
  await cluster.fill({ keys: 50, valueBytes: 3_000, seed: 6 });
  const { header } = JSON.parse(await cluster.etcdctl(['put', 'again', '1', '-w', 'json'])) as { header: { revision: number } };
  await cluster.etcdctl(['del', 'again']);
  await cluster.etcdctl(['compact', String(header.revision)]);
  await cluster.etcdctl(['put', 'again', '2']);
}

test.each(ETCD_MINORS)('a backup of etcd %s is proved again without asking a member', async (minor) => {
  const cluster = await startCluster({ minor, members: 1 });
  let of: Product;
  let keyCount: number;
  try {
    await live(cluster);
    const counted = JSON.parse(await cluster.etcdctl(['get', '', '--prefix', '--limit=1', '--keys-only', '-w', 'json'])) as {
      count: number;
    };
    keyCount = counted.count;
    // Without the lock's own key.
    of = product({ folder, cluster, clusterOptions: { coordinate: false } });
    const { id, revision } = await of.backup();
    expect(readManifest(of.disk, { id, revision }).proof).toMatchObject({ members: ['m1'] });
  } finally {
    await cluster.stop();
  }
  expect(await verify(of)).toMatchObject([{ level: 'proved', outcome: 'ok', keyCount }]);
});

describe('with one cluster', () => {
  let cluster: Cluster;
  let gateway: Gateway;
  beforeAll(async () => {
    [cluster, gateway] = await Promise.all([startCluster({ minor: '3.6', members: 1 }), startGateway()]);
    await live(cluster);
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
    await gateway[Symbol.asyncDispose]();
  });

  test('encrypted, on a disk and in S3: proved with the identity, as it lies there without', async () => {
    const keys = await run(program('age-keygen'), []);
    const identityFile = join(folder, 'identity');
    writeFileSync(identityFile, keys, { mode: 0o600 });
    const recipient = /public key: (\S+)/.exec(keys)![1]!;
    await gateway.createBucket('verify');
    const s3 = { gateway, bucket: 'verify' };
    const of = product({ folder, cluster, s3, clusterOptions: { encryption: { recipients: [recipient], identityFile } } });
    await of.backup();
    expect(await verify(of)).toMatchObject([
      { store: 'disk', level: 'proved', outcome: 'ok' },
      { store: 's3', level: 'proved', outcome: 'ok' },
    ]);
    expect(await verify(of, { store: 's3' })).toHaveLength(1);
    const locked = product({ folder, cluster, s3, clusterOptions: { encryption: { recipients: [recipient] } } });
    for (const line of await verify(locked))
      expect(line).toMatchObject({ level: 'stored', outcome: 'ok', reason: expect.stringContaining('no identity') });
  });

  test('fault 36: a bit that flips anywhere in the object is found at every level', async () => {
    const of = product({ folder, cluster });
    await of.backup();
    const path = dataObject(of.disk);
    const whole = readFileSync(path);
    const regions = { header: 2, frame: Math.floor(whole.length / 2), table: whole.length - 15, footer: whole.length - 1 };
    for (const [region, at] of Object.entries(regions)) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 4;
      writeFileSync(path, damaged);
      for (const level of ['stored', 'content', 'proved'] as const)
        expect(await verify(of, { level }), region).toMatchObject([
          { level, outcome: 'failed', code: expect.any(String), reason: expect.any(String) },
        ]);
    }
    writeFileSync(path, whole);
    expect(await verify(of)).toMatchObject([{ level: 'proved', outcome: 'ok' }]);
  });

  test('the daemon reads the newest backup again on its schedule, tells when in its metrics, and is not ready when it is not sound', async () => {
    await using daemon = await startDaemon({
      clusters: {
        main: { endpoints: cluster.endpoints, backup: { schedule: '0 0 1 1 *', stores: ['disk'] }, verify: { schedule: '* * * * * *' } },
      },
      stores: { disk: { type: 'local', path: join(folder, 'backups') } },
    });
    const count = (outcome: string): Promise<number | undefined> =>
      daemon.metric('etcd_warden_verifications_total', { outcome, level: 'proved', store: 'disk' });
    await until(
      async () =>
        ((await count('ok')) ?? 0) >= 2 &&
        (await daemon.metric('etcd_warden_verify_last_success_timestamp_seconds', { level: 'proved' })) !== undefined,
      () => `no second look:\n${daemon.output()}`,
    );
    expect(await daemon.metric('etcd_warden_verify_failed')).toBe(0);
    expect((await daemon.get('/readyz')).status).toBe(200);
    const path = dataObject(join(folder, 'backups'));
    const bytes = readFileSync(path);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(path, bytes);
    await until(
      async () => (await daemon.metric('etcd_warden_verify_failed')) === 1,
      () => `the damage was not seen:\n${daemon.output()}`,
    );
    const ready = await daemon.get('/readyz');
    expect(ready.status).toBe(503);
    expect(ready.body).toContain('verification-failed');
    expect(await count('failed')).toBeGreaterThan(0);
    expect(daemon.log().find(({ message }) => String(message).includes('cannot be trusted'))).toBeDefined();
  });
});
