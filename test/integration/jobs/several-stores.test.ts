import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ListMultipartUploadsCommand, PutObjectRetentionCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readCatalog } from '../../../src/catalog/read.ts';
import type { Backup, Catalog } from '../../../src/catalog/types.ts';
import { WardenError } from '../../../src/errors.ts';
import type { CopyLine } from '../../../src/jobs/copy.ts';
import type { PruneResult } from '../../../src/jobs/prune.ts';
import { runJob } from '../../../src/jobs/run.ts';
import { withStores } from '../../../src/jobs/stores.ts';
import type { VerifyLine } from '../../../src/jobs/verify.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { until } from '../../support/processes.ts';
import { product, type Product, type ProductOptions } from '../../support/product.ts';
import { runWarden, startDaemon, startWarden } from '../../support/run-warden.ts';
import { startS3FaultProxy, type FaultAction, type S3FaultProxy, type S3Verb } from '../../support/s3-fault-proxy.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const EVERY: readonly S3Verb[] = ['List', 'PutObject', 'Create', 'UploadPart', 'Complete', 'Get', 'Head', 'Delete', 'Abort', 'ListUploads'];
const UNAVAILABLE: FaultAction = { status: 503, code: 'ServiceUnavailable' };

/** Small: one PUT. Large: several parts, of values that do not compress. */
let small: Cluster;
let large: Cluster;
let gateway: Gateway;
let proxy: S3FaultProxy;
let folder: string;
let bucket: string;
let buckets = 0;

beforeAll(async () => {
  [small, large, gateway] = await Promise.all([
    startCluster({ minor: '3.6', members: 1 }),
    startCluster({ minor: '3.6', members: 1 }),
    startGateway({ versioning: true }),
  ]);
  await small.fill({ keys: 100, valueBytes: 2000, seed: 1 });
  await large.fill({ keys: 3200, valueBytes: 6000, seed: 2, compressible: false });
  proxy = await startS3FaultProxy(gateway.endpoint);
});
afterAll(async () => {
  await Promise.all([small?.stop(), large?.stop(), proxy?.close()]);
  await gateway?.stop();
});
beforeEach(async () => {
  folder = temporaryFolder('stores');
  bucket = `stores-${++buckets}`;
  await gateway.createBucket(bucket);
  return () => {
    proxy.clear();
    removeFolder(folder);
  };
});

function subject(changes: Partial<ProductOptions> = {}): Product {
  const { clusterOptions, s3Options, ...rest } = changes;
  return product({
    folder,
    cluster: small,
    s3: { gateway: { endpoint: proxy.url, region: gateway.region, accessKey: gateway.accessKey, secretKey: gateway.secretKey }, bucket },
    s3Options: { retries: 0, requestTimeout: '5s', ...s3Options },
    clusterOptions: { coordinate: false, ...clusterOptions },
    ...rest,
  });
}

function down(): void {
  for (const verb of EVERY) proxy.fail({ verb, times: Infinity, action: UNAVAILABLE });
}

/** What every store shows. */
function read(of: Product): Promise<Catalog> {
  const { signal, logger } = of.context();
  return withStores(of.config, Object.keys(of.config.stores), logger, (stores) => readCatalog(stores, 'main', { signal }));
}

const copyMissing = (of: Product): Promise<readonly CopyLine[]> =>
  runJob({ verb: 'copy', request: { cluster: 'main', missing: true } }, of.context()) as Promise<readonly CopyLine[]>;
const prune = (of: Product): Promise<PruneResult> =>
  runJob({ verb: 'prune', request: { cluster: 'main', dryRun: false } }, of.context()) as Promise<PruneResult>;
const verify = (of: Product): Promise<readonly VerifyLine[]> =>
  runJob({ verb: 'verify', request: { cluster: 'main', which: 'all', level: 'content' } }, of.context()) as Promise<readonly VerifyLine[]>;

const states = ({ backups }: Catalog): [string, string][] => backups.map(({ id, state }: Backup) => [id, state]);
const onS3 = (name = ''): string => join(gateway.root, bucket, 'main', name);
const onDisk = (name = ''): string => join(folder, 'backups', 'main', name);
const dataOf = (id: string): string => `${id}.db.zst`;
const objects = (path: string): string[] =>
  existsSync(path) ? readdirSync(path).filter((name) => statSync(join(path, name)).isFile()) : [];

describe('one of two stores does not answer', () => {
  test('the backup is partial, ends with exit code 3, is listed and opens; copy --missing completes it', async () => {
    const of = subject();
    down();
    const made = await runWarden(['backup', '--config', of.configPath, '--json']);
    expect(made.code, made.stderr).toBe(3);
    const { id } = made.json<{ id: string }>();
    expect(made.json()).toMatchObject({
      outcome: 'partial',
      stores: [
        { store: 'disk', outcome: 'stored' },
        { store: 's3', outcome: 'failed', error: { code: 'store-unavailable' } },
      ],
    });
    const listed = await runWarden(['list', '--config', of.configPath, '--json']);
    expect(listed.json()).toMatchObject({ backups: [{ id, state: 'partial' }], unreachable: [{ store: 's3' }] });
    expect(await verify(of)).toMatchObject([{ store: 'disk', level: 'content', outcome: 'ok' }]);

    proxy.clear();
    const copied = await runWarden(['copy', '--missing', '--config', of.configPath, '--json']);
    expect(copied.code, copied.stderr).toBe(0);
    expect(copied.json()).toMatchObject({ results: [{ id, from: 'disk', to: 's3', outcome: 'copied' }] });
    expect(states(await read(of))).toEqual([[id, 'complete']]);
    expect(readFileSync(onS3(dataOf(id))).equals(readFileSync(onDisk(dataOf(id))))).toBe(true);
  });

  test('where only the manifest is missing, copy writes that and not the data again', async () => {
    const of = subject();
    proxy.fail({ verb: 'PutObject', path: '.json', times: Infinity, action: UNAVAILABLE });
    const { id, outcome } = await of.backup();
    expect(outcome).toBe('partial');
    expect(objects(onS3())).toEqual([dataOf(id)]);
    proxy.clear();
    const before = proxy.requests.length;
    expect(await copyMissing(of)).toMatchObject([{ id, outcome: 'copied' }]);
    expect(proxy.requests.slice(before).filter(({ verb, path }) => verb === 'PutObject' && path.includes('.db.zst'))).toEqual([]);
    expect(states(await read(of))).toEqual([[id, 'complete']]);
  });

  test('data without a manifest that is not what was written is not adopted, but replaced', async () => {
    const of = subject();
    const { id } = await of.backup();
    const [manifest] = objects(onDisk()).filter((name) => name.endsWith('.json'));
    rmSync(onDisk(manifest));
    flip(onDisk(dataOf(id)));
    expect(await copyMissing(of)).toMatchObject([{ id, from: 's3', to: 'disk', outcome: 'copied' }]);
    expect(readFileSync(onDisk(dataOf(id))).equals(readFileSync(onS3(dataOf(id))))).toBe(true);
    expect((await verify(of)).map(({ outcome }) => outcome)).toEqual(['ok', 'ok']);
  });

  test('a folder that cannot be used does not keep the bucket from its backup; once it is back the copy comes from there', async () => {
    const of = subject();
    writeFileSync(of.disk, 'a file where a folder should be');
    const result = await of.backup();
    expect(result).toMatchObject({
      outcome: 'partial',
      stores: [
        { store: 'disk', outcome: 'failed', error: { code: 'store-unavailable' } },
        { store: 's3', outcome: 'stored' },
      ],
    });
    // The spool lay in the state folder.
    expect(readdirSync(join(folder, 'state', 'spool'))).toEqual([]);
    rmSync(of.disk);
    expect(await copyMissing(of)).toMatchObject([{ from: 's3', to: 'disk', outcome: 'copied' }]);
    expect(states(await read(of))).toEqual([[result.id, 'complete']]);
    expect((await verify(of)).map(({ outcome }) => outcome)).toEqual(['ok', 'ok']);
  });

  test('all stores are down: the run ends before the stream begins, and leaves nothing', async () => {
    const of = subject();
    writeFileSync(of.disk, 'a file where a folder should be');
    down();
    const before = proxy.requests.length;
    const error = await of.backup().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WardenError);
    expect(error).toMatchObject({ code: 'store-unavailable', message: expect.stringMatching(/no store took the backup: disk: .*; s3: /) });
    expect(of.progress.map(({ step }) => step)).not.toContain('stream');
    expect(new Set(proxy.requests.slice(before).map(({ verb }) => verb))).toEqual(new Set(['List']));
    expect(readFileSync(of.disk, 'utf8')).toBe('a file where a folder should be');
    expect(existsSync(join(folder, 'state', 'spool'))).toBe(false);
  });

  test('the daemon completes its copies by itself once the store is back, and takes no second backup for a slot', async () => {
    const of = subject({ clusterOptions: { backup: { schedule: '*/4 * * * * *', retryDelay: '100ms' }, retention: { keepLast: 100 } } });
    down();
    const { clusters, stores, stateDir } = parse(readFileSync(of.configPath, 'utf8')) as Record<string, unknown>;
    await using daemon = await startDaemon({ clusters, stores, stateDir });
    const metric = async (name: string, labels: Record<string, string>): Promise<number> => (await daemon.metric(name, labels)) ?? 0;
    await until(
      async () => (await metric('etcd_warden_backups_total', { outcome: 'partial' })) >= 1,
      () => `no partial backup:\n${daemon.output()}`,
    );
    proxy.clear();
    await until(
      async () =>
        (await metric('etcd_warden_backup_last_success_timestamp_seconds', { store: 's3' })) > 0 &&
        (await metric('etcd_warden_backup_copies_missing', { store: 's3' })) === 0 &&
        (await metric('etcd_warden_backups', { state: 'partial' })) === 0,
      () => `the copies were not completed:\n${daemon.output()}`,
    );
    await daemon.stop();
    const { backups } = await read(of);
    expect(backups.filter(({ state }) => state === 'complete')).toHaveLength(backups.length);
    // At most one backup for each four seconds.
    const slots = backups.map(({ timeMs }) => Math.floor(timeMs / 4000));
    expect(slots).toEqual([...new Set(slots)]);
  });
});

describe('retention over several stores', () => {
  test('fault 67: the last verified backup of each store stays, and what one store has dropped is not copied back to it', async () => {
    const of = subject({ clusterOptions: { retention: { keepLast: 1 } } });
    const first = await of.backup();
    down();
    const second = await of.backup();
    expect(second.outcome).toBe('partial');
    // Nobody knows what the silent store holds: a hold may lie there.
    expect(await prune(of)).toMatchObject({
      skipped: [{ store: 's3' }],
      lines: [{ id: first.id, outcome: 'would-remove' }, { outcome: 'kept' }],
    });

    proxy.clear();
    const pruned = await prune(of);
    expect(pruned.lines.map(({ store, id, outcome }) => [store, id, outcome])).toEqual([
      ['disk', first.id, 'removed'],
      ['disk', second.id, 'kept'],
      ['s3', first.id, 'kept'],
    ]);
    expect(pruned.lines[2]!.reasons).toContain('the last verified backup');

    // Back and forth until nothing moves: at once.
    expect((await copyMissing(of)).map(({ id, to, outcome }) => [id, to, outcome])).toEqual([[second.id, 's3', 'copied']]);
    expect((await prune(of)).lines.filter(({ outcome }) => outcome === 'removed')).toMatchObject([{ id: first.id, store: 's3' }]);
    expect(await copyMissing(of)).toEqual([]);
    expect((await prune(of)).lines.filter(({ outcome }) => outcome === 'removed')).toEqual([]);
    expect(states(await read(of))).toEqual([[second.id, 'complete']]);
  });

  test('fault 38: what the bucket keeps under lock is reported with its date, again and again without an error, and not copied back to where it was pruned', async () => {
    bucket = `locked-${buckets}`;
    await gateway.createBucket(bucket, { objectLock: true });
    const of = subject({ clusterOptions: { retention: { keepLast: 1 } } });
    const first = await of.backup();
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    for (const name of objects(onS3())) {
      await gateway.client.send(
        new PutObjectRetentionCommand({ Bucket: bucket, Key: `main/${name}`, Retention: { Mode: 'GOVERNANCE', RetainUntilDate: date } }),
      );
    }
    const second = await of.backup();
    for (const outcomeOnDisk of ['removed', undefined]) {
      const { lines } = await prune(of);
      expect(lines.find(({ id, store }) => id === first.id && store === 'disk')?.outcome).toBe(outcomeOnDisk);
      expect(lines.find(({ id, store }) => id === first.id && store === 's3')).toMatchObject({
        outcome: 'locked',
        detail: expect.stringContaining(date.toISOString()),
      });
      expect(await copyMissing(of)).toEqual([]);
    }
    const command = await runWarden(['prune', '--config', of.configPath]);
    expect(command.code, command.stderr).toBe(0);
    expect(command.stdout).toContain(date.toISOString());
    expect(objects(onS3()).toSorted()).toContain(dataOf(first.id));
    expect(states(await read(of))).toEqual([
      [first.id, 'partial'],
      [second.id, 'complete'],
    ]);
  });
});

describe('an upload that takes long', () => {
  test('fault 30: a store that takes a byte now and then does not slow the stream; the other copy is published, and the rest is given up cleanly', async () => {
    const of = subject({ cluster: large, clusterOptions: { backup: { timeout: '20s' } } });
    proxy.fail({ verb: 'UploadPart', times: Infinity, action: { drip: 1000 } });
    const result = await of.backup();
    expect(result).toMatchObject({
      outcome: 'partial',
      stores: [
        { store: 'disk', outcome: 'stored' },
        { store: 's3', outcome: 'failed' },
      ],
    });
    const catalog = await read(of);
    expect(states(catalog)).toEqual([[result.id, 'partial']]);
    // 19 MB at that rate would be five hours.
    expect(catalog.backups[0]!.manifest.timings.streamMs).toBeLessThan(18_000);
    expect(await unfinished()).toBe(0);
    expect(readdirSync(join(of.disk, '.tmp'))).toEqual([]);
    proxy.clear();
    expect(await copyMissing(of)).toMatchObject([{ from: 'disk', to: 's3', outcome: 'copied' }]);
    expect(states(await read(of))).toEqual([[result.id, 'complete']]);
  });

  test('fault 31: SIGTERM in the middle of it aborts the multipart upload and ends with exit code 130; the copy that is whole stays', async () => {
    const of = subject({ cluster: large });
    proxy.fail({ verb: 'UploadPart', times: Infinity, action: 'stall' });
    const aborted = proxy.count('Abort');
    const running = startWarden(['backup', '--config', of.configPath, '--json']);
    await until(
      () => objects(onDisk()).length === 2,
      () => `the local copy was not published: ${running.stderr()}`,
    );
    expect(await unfinished()).toBe(1);
    running.kill('SIGTERM');
    const { code, stderr } = await running.done;
    expect(code, stderr).toBe(130);
    expect(proxy.count('Abort')).toBe(aborted + 1);
    expect(await unfinished()).toBe(0);
    expect(objects(onS3())).toEqual([]);
    expect(readdirSync(join(of.disk, '.tmp'))).toEqual([]);
    proxy.clear();
    expect((await read(of)).backups).toMatchObject([{ state: 'partial' }]);
  });

  test('fault 31: kill -9 in the middle of it leaves an upload that the sweep aborts when it is old, and nothing visible', async () => {
    const of = subject({ cluster: large, noDisk: true, options: { daemon: { sweepAge: '1s' } } });
    proxy.fail({ verb: 'UploadPart', nth: 2, times: Infinity, action: 'stall' });
    const running = startWarden(['backup', '--config', of.configPath]);
    await until(
      async () => (await unfinished()) === 1 && objects(join(folder, 'state', 'spool')).length === 1,
      () => `no upload began: ${running.stderr()}`,
    );
    running.kill('SIGKILL');
    await running.done;
    proxy.clear();
    expect((await read(of)).backups).toEqual([]);
    await runJob({ verb: 'sweep', request: { cluster: 'main' } }, of.context({ now: () => new Date(Date.now() + 60_000) }));
    expect(await unfinished()).toBe(0);
    expect(objects(join(folder, 'state', 'spool'))).toEqual([]);
  });
});

describe('a store without checksums', () => {
  const none = { s3Options: { checksum: 'none' } };

  test('is read back after the upload', async () => {
    const of = subject(none);
    const before = proxy.requests.length;
    expect(await of.backup()).toMatchObject({ outcome: 'complete' });
    expect(proxy.requests.slice(before).some(({ verb, path }) => verb === 'Get' && path.includes('.db.zst'))).toBe(true);
  });

  test('is not believed when what it gives back is something else', async () => {
    const of = subject(none);
    proxy.fail({ verb: 'Get', path: '.db.zst', times: Infinity, action: 'flip-byte' });
    const result = await of.backup();
    expect(result).toMatchObject({
      outcome: 'partial',
      stores: [{ outcome: 'stored' }, { outcome: 'failed', error: { code: 'verification-failed' } }],
    });
    proxy.clear();
    expect((await read(of)).backups[0]!.copies.find(({ store }) => store === 's3')?.manifest).not.toBe('present');
  });
});

describe('a copy to a store without checksums', () => {
  test('is read back as well, and is removed again when it is something else', async () => {
    const of = subject({ s3Options: { checksum: 'none' } });
    down();
    const { id } = await of.backup();
    proxy.clear();
    proxy.fail({ verb: 'Get', path: '.db.zst', times: Infinity, action: 'flip-byte' });
    expect(await copyMissing(of)).toMatchObject([{ id, outcome: 'failed', error: { code: 'verification-failed' } }]);
    expect(objects(onS3())).toEqual([]);
    proxy.clear();
    expect(await copyMissing(of)).toMatchObject([{ id, outcome: 'copied' }]);
    expect(states(await read(of))).toEqual([[id, 'complete']]);
  });
});

describe('fault 36: what lies in the bucket is not what was written', () => {
  test.each([
    ['truncated', (path: string) => truncateSync(path, statSync(path).size - 100)],
    ['bit-flipped', flip],
    ['replaced by an older one', (path: string, older: string) => writeFileSync(path, readFileSync(older))],
  ] as const)('%s: verify ends with 13, list says so, and retention counts on the older one', async (_, spoil) => {
    const of = subject({ clusterOptions: { retention: { keepLast: 1 } } });
    const first = await of.backup();
    const second = await of.backup();
    spoil(onS3(dataOf(second.id)), onS3(dataOf(first.id)));
    const verified = await runWarden(['verify', second.id, '--config', of.configPath, '--json']);
    expect(verified.code, verified.stdout).toBe(13);
    expect(verified.json()).toMatchObject({
      results: [
        { store: 'disk', outcome: 'ok' },
        { store: 's3', outcome: 'failed' },
      ],
    });
    const listed = await runWarden(['list', '--config', of.configPath]);
    expect(listed.stdout.split('\n').find((line) => line.startsWith(second.id))).toMatch(/FAILED/);

    const { lines } = await prune(of);
    expect(lines.find(({ store, id }) => store === 'disk' && id === first.id)).toMatchObject({ outcome: 'removed' });
    expect(lines.find(({ store, id }) => store === 's3' && id === first.id)).toMatchObject({
      outcome: 'kept',
      reasons: expect.arrayContaining(['the last verified backup']),
    });
    // And it does not come back to where it was pruned, to be pruned again.
    expect((await copyMissing(of)).filter(({ to }) => to === 'disk')).toEqual([]);
  });

  test('gone, with its manifest still there: verify ends with 13, copy brings it back, and verified again it counts', async () => {
    const of = subject();
    const { id } = await of.backup();
    rmSync(onS3(dataOf(id)));
    const verified = await runWarden(['verify', id, '--config', of.configPath, '--json']);
    expect(verified.code, verified.stdout).toBe(13);
    expect(await copyMissing(of)).toMatchObject([{ id, from: 'disk', to: 's3', outcome: 'copied' }]);
    expect((await verify(of)).map(({ outcome }) => outcome)).toEqual(['ok', 'ok']);
    expect(states(await read(of))).toEqual([[id, 'complete']]);
  });

  test('a manifest of another cluster among the others is shown as what it is, counts as no backup, and is never removed', async () => {
    const of = subject({ clusterOptions: { retention: { keepLast: 1 } }, options: { daemon: { sweepAge: '1s' } } });
    const { id } = await of.backup();
    const [name = ''] = objects(onS3()).filter((each) => each.endsWith('.json'));
    const strange = '20200101T000000000Z-aaaaaa';
    const manifest = JSON.parse(readFileSync(onS3(name), 'utf8')) as Record<string, unknown>;
    const body = JSON.stringify({ ...manifest, id: strange, cluster: 'other', time: '2020-01-01T00:00:00.000Z' });
    writeFileSync(onS3(name.replace(id, strange)), body);
    const catalog = await read(of);
    expect(states(catalog)).toEqual([[id, 'complete']]);
    expect(catalog.oddities).toMatchObject([{ store: 's3', kind: 'manifest-of-another-cluster' }]);
    await prune(of);
    await runJob({ verb: 'sweep', request: { cluster: 'main' } }, of.context({ now: () => new Date(Date.now() + 60_000) }));
    expect(objects(onS3())).toContain(name.replace(id, strange));
  });

  test('a damaged source is passed over for another; when all are damaged the copy fails with 13 and leaves nothing', async () => {
    const of = subject();
    const { id } = await of.backup();
    flip(onDisk(dataOf(id)));
    const elsewhere = join(folder, 'elsewhere');
    const copied = await runWarden(['copy', id, '--to', elsewhere, '--config', of.configPath, '--json']);
    expect(copied.code, copied.stderr + copied.stdout).toBe(0);
    expect(copied.json()).toMatchObject({ results: [{ from: 's3', outcome: 'copied' }] });
    expect(readFileSync(join(elsewhere, 'main', dataOf(id))).equals(readFileSync(onS3(dataOf(id))))).toBe(true);

    flip(onS3(dataOf(id)));
    const nowhere = join(folder, 'nowhere');
    const failed = await runWarden(['copy', id, '--to', nowhere, '--config', of.configPath, '--json']);
    expect(failed.code, failed.stdout).toBe(13);
    expect(failed.json()).toMatchObject({ results: [{ outcome: 'failed', error: { code: 'verification-failed' } }] });
    expect(objects(join(nowhere, 'main'))).toEqual([]);
    expect(objects(join(nowhere, '.tmp'))).toEqual([]);
  });
});

async function unfinished(): Promise<number> {
  return (await gateway.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0;
}

/** One bit in the middle; the length stays. */
function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
}
