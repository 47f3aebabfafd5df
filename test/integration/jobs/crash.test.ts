import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CRASH_POINTS, type CrashPoint } from '../../../src/crash-points.ts';
import { readCatalog } from '../../../src/catalog/read.ts';
import type { Catalog } from '../../../src/catalog/types.ts';
import { runJob } from '../../../src/jobs/run.ts';
import { withStores } from '../../../src/jobs/stores.ts';
import type { VerifyLine } from '../../../src/jobs/verify.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { product, type Product } from '../../support/product.ts';
import { runWarden } from '../../support/run-warden.ts';

/** Points that a backup without retention never passes. */
const OF_PRUNING: ReadonlySet<CrashPoint> = new Set(['before-retention', 'mid-prune']);

let cluster: Cluster;
let gateway: Gateway;
let folder: string;
let subject: Product;
let bucket = 0;

beforeAll(async () => {
  cluster = await startCluster({ minor: '3.6', members: 1 });
  // Values that do not compress, so that the data object is larger than one part of a multipart upload.
  await cluster.fill({ keys: 3200, valueBytes: 6000, seed: 3, compressible: false });
  gateway = await startGateway();
});
afterAll(async () => {
  await cluster?.stop();
  await gateway?.stop();
});
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warden-crash-'));
  const name = `crash-${++bucket}`;
  await gateway.createBucket(name);
  subject = product({
    folder,
    cluster,
    s3: { gateway, bucket: name },
    // Taken without the lock: a crashed holder keeps it until its lease ends, which is right and would only slow this down.
    clusterOptions: { coordinate: false, retention: { keepLast: 1 } },
    options: { daemon: { sweepAge: '1s' } },
  });
  return () => rmSync(folder, { recursive: true, force: true });
});

describe('fault 18: kill -9', () => {
  test.each(CRASH_POINTS.filter((point) => !OF_PRUNING.has(point)))(
    'at %s leaves the whole backup or nothing visible, and the next start sweeps the rest',
    async (point) => {
      const crashed = await runWarden(['backup', '--config', subject.configPath], {
        env: { ETCD_WARDEN_TEST: '1', ETCD_WARDEN_CRASH_AT: point },
      });
      expect(crashed, crashed.stderr + crashed.stdout).toMatchObject({ signal: 'SIGKILL' });
      await expectWholeOrNothing();

      const next = await subject.backup();
      await sweepUntilClean();
      const listed = await expectWholeOrNothing();
      expect(listed.backups.at(-1)).toMatchObject({ id: next.id, state: 'complete' });
      expect(listed.oddities).toEqual([]);
      expect(readdirSync(join(subject.disk, '.tmp'))).toEqual([]);
      expect(await uploads()).toBe(0);
    },
  );

  test.each([...OF_PRUNING])('at %s removes a backup as a whole or not at all', async (point) => {
    await subject.backup();
    const second = await subject.backup();
    const crashed = await runWarden(['prune', '--config', subject.configPath], {
      env: { ETCD_WARDEN_TEST: '1', ETCD_WARDEN_CRASH_AT: point },
    });
    expect(crashed, crashed.stderr + crashed.stdout).toMatchObject({ signal: 'SIGKILL' });
    await expectNothingDamaged();

    await runJob({ verb: 'prune', request: { cluster: 'main', dryRun: false } }, subject.context());
    await sweepUntilClean();
    const listed = await expectNothingDamaged();
    expect(listed.backups.map((backup) => backup.id)).toEqual([second.id]);
    expect(listed.oddities).toEqual([]);
  });
});

test('what a sweep did not make it never touches, however old', async () => {
  const { mkdirSync, utimesSync, writeFileSync } = await import('node:fs');
  await subject.backup();
  const foreign = [
    'main/notes.txt',
    'main/snapshot.db',
    'main/20261122T100000123Z-k3f9qa.db.zst.part',
    'other/20261122T100000123Z-k3f9qa.db.zst',
    '.tmp/upload-1',
  ].map((name) => join(subject.disk, name));
  mkdirSync(join(subject.disk, 'other'));
  for (const path of foreign) {
    writeFileSync(path, 'mine');
    utimesSync(path, new Date(0), new Date(0));
  }
  await sweepUntilClean();
  expect(foreign.filter((path) => !existsSync(path))).toEqual([]);
});

/** Every backup that a store shows is whole there, to the last byte. */
async function expectWholeOrNothing(): Promise<Catalog> {
  const catalog = await read();
  for (const backup of catalog.backups) {
    for (const copy of backup.copies.filter((each) => each.manifest === 'present')) expect(copy).toMatchObject({ data: 'present' });
  }
  const lines = (await runJob(
    { verb: 'verify', request: { cluster: 'main', which: 'all', level: 'content' } },
    subject.context(),
  )) as readonly VerifyLine[];
  for (const line of lines) expect(line).toMatchObject({ outcome: 'ok', level: 'content' });
  return catalog;
}

async function expectNothingDamaged(): Promise<Catalog> {
  const catalog = await read();
  for (const backup of catalog.backups) expect(backup.state).not.toBe('damaged');
  return catalog;
}

async function read(): Promise<Catalog> {
  const { signal, logger } = subject.context();
  return withStores(subject.config, ['disk', 's3'], logger, (stores) => readCatalog(stores, 'main', { signal }));
}

/** As the daemon does at its start, with a clock beyond the grace period instead of a wait for it. */
async function sweepUntilClean(): Promise<void> {
  await runJob({ verb: 'sweep', request: { cluster: 'main' } }, subject.context({ now: () => new Date(Date.now() + 60_000) }));
}

async function uploads(): Promise<number> {
  const listed = await gateway.client.send(new ListMultipartUploadsCommand({ Bucket: `crash-${bucket}` }));
  return listed.Uploads?.length ?? 0;
}
