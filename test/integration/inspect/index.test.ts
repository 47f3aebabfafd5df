import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBolt } from '../../../src/boltdb/bolt.ts';
import { findBackup } from '../../../src/catalog/find.ts';
import { openKeyIndex } from '../../../src/inspect/index/open.ts';
import { openSnapshot } from '../../../src/inspect/open.ts';
import type { KeyDirectory, OpenedSnapshot } from '../../../src/inspect/types.ts';
import { loadCatalog } from '../../../src/jobs/catalog.ts';
import { identityFor } from '../../../src/jobs/identity.ts';
import { runJob } from '../../../src/jobs/run.ts';
import { openStores } from '../../../src/jobs/stores.ts';
import { parseKeyValue } from '../../../src/mvcc/key-value.ts';
import { parseRevision } from '../../../src/mvcc/revision.ts';
import type { Store } from '../../../src/store/types.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { product, type Product } from '../../support/product.ts';
import { startS3FaultProxy, type S3FaultProxy } from '../../support/s3-fault-proxy.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const { signal } = new AbortController();
const folder = temporaryFolder('index');
const identityFile = join(folder, 'identity.txt');
let recipient = '';
let gateway: Gateway;
let proxy: S3FaultProxy;

beforeAll(async () => {
  execFileSync(program('age-keygen'), ['-o', identityFile], { stdio: 'ignore' });
  recipient = /public key: (\S+)/.exec(readFileSync(identityFile, 'utf8'))![1]!;
  gateway = await startGateway();
  await gateway.createBucket('backups');
  proxy = await startS3FaultProxy(gateway.endpoint);
});
afterAll(async () => {
  await proxy?.close();
  await gateway?.stop();
  removeFolder(folder);
});

/** Histories of every kind: transactions, deletes and new creations, leases, values of 0 bytes and of 1.5 MB, keys that are not UTF-8. */
async function fillMixed(cluster: Cluster): Promise<void> {
  await cluster.fill({ keys: 1500, valueBytes: 700, seed: 7, compressible: true });
  await cluster.etcdctl(['put', 'empty', '']);
  await cluster.etcdctl(['put', '--', 'large'], { input: Buffer.alloc(1_500_000, 'x') });
  const granted = /lease ([0-9a-f]+) granted/.exec(await cluster.etcdctl(['lease', 'grant', '3600']))![1]!;
  for (let i = 0; i < 5; i += 1) await cluster.etcdctl(['put', `--lease=${granted}`, 'leader', `member ${i}`]);
  await cluster.etcdctl(['del', 'leader']);
  await cluster.etcdctl(['put', 'leader', 'again']);
  await cluster.etcdctl(['txn'], { input: '\nput /a/1 one\nput /a/2 two\ndel empty\n\n\n' });
  await cluster.etcdctl(['put', '\u{ff}\u{10ffff}', 'high']);
}

interface Opened {
  readonly snapshot: OpenedSnapshot;
  readonly directory: KeyDirectory;
}

async function opened(subject: Product, id: string, store: string): Promise<Opened> {
  const cluster = subject.config.clusters['main']!;
  const stores = await storesOf(subject);
  const identities = await identityFor(cluster);
  const catalog = await loadCatalog(stores, 'main', signal);
  const snapshot = await openSnapshot(findBackup(catalog, id).id, { catalog, stores, identities, signal, store });
  const directory = await openKeyIndex(snapshot, { identities, signal });
  expect(directory).toBeDefined();
  return { snapshot, directory: directory! };
}

function storesOf(subject: Product): Promise<Store[]> {
  return openStores(subject.config, Object.keys(subject.config.stores), silentLogger);
}

/** Every record of the file in the order of its revisions, read straight from the tree, against what the index says. */
async function compareWithTree({ snapshot, directory }: Opened): Promise<{ keys: number; revisions: number }> {
  const fromIndex = new Map<string, string>();
  let keys = 0;
  let before: Buffer = Buffer.alloc(0);
  for await (const { key, revisions } of directory.entries({}, signal)) {
    expect(keys === 0 || Buffer.compare(before, key) < 0).toBe(true);
    before = key;
    keys += 1;
    for (const { main, sub, tombstone, createRevision, version, lease, valueBytes } of revisions)
      fromIndex.set(`${main}/${sub}`, [key.toString('hex'), tombstone, createRevision, version, lease, valueBytes].join(' '));
  }
  const bucket = await (await openBolt(snapshot.file, signal)).bucket('key', signal);
  let revisions = 0;
  for await (const batch of bucket!.batches({ signal })) {
    for (const entry of batch) {
      const { main, sub, tombstone } = parseRevision(entry.key)!;
      const { key, createRevision, version, lease, value } = parseKeyValue(entry.value);
      const said = [key.toString('hex'), tombstone, createRevision, version, lease, value.length].join(' ');
      expect(fromIndex.get(`${main}/${sub}`)).toBe(said);
      revisions += 1;
    }
  }
  expect(fromIndex.size).toBe(revisions);
  return { keys, revisions };
}

async function newestValue({ directory }: Opened, key: string | Buffer): Promise<string | undefined> {
  const entry = await directory.find(Buffer.from(key), signal);
  const last = entry?.revisions.at(-1);
  return last === undefined ? undefined : (await directory.value(entry!, last, signal)).toString();
}

describe.each(ETCD_MINORS)('the key index of a backup of etcd %s', (minor) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor, members: 1 });
    await fillMixed(cluster);
  });
  afterAll(() => cluster?.stop());

  test('says of every record what the file does, on disk and in S3, and so does that of an encrypted one', async () => {
    for (const encrypted of [false, true]) {
      const subject = product({
        folder: join(folder, `${minor}-${encrypted ? 'age' : 'plain'}`),
        cluster,
        s3: { gateway, bucket: 'backups', prefix: `${minor}-${encrypted}` },
        clusterOptions: { coordinate: false, ...(encrypted ? { encryption: { recipients: [recipient], identityFile } } : {}) },
      });
      const result = await subject.backup();
      expect(result.warnings.filter(({ code }) => code === 'no-index')).toEqual([]);
      for (const store of ['disk', 's3']) {
        const found = await opened(subject, result.id, store);
        const { keys, revisions } = await compareWithTree(found);
        expect(keys).toBeGreaterThan(1500);
        expect(revisions).toBeGreaterThan(keys);
        expect(await newestValue(found, '/a/2')).toBe('two');
        expect(await newestValue(found, 'leader')).toBe('again');
        expect(await newestValue(found, 'large')).toBe('x'.repeat(1_500_000));
        expect(await newestValue(found, 'no such key')).toBeUndefined();
        await found.snapshot.close();
      }
    }
  });
});

describe('the key index', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 1 });
    await cluster.fill({ keys: 12_000, valueBytes: 900, seed: 9, compressible: true });
  });
  afterAll(() => cluster?.stop());

  function subjectIn(name: string, clusterOptions: Record<string, unknown> = {}): Product {
    return product({
      folder: join(folder, name),
      cluster,
      s3: { gateway: { ...gateway, endpoint: proxy.url }, bucket: 'backups', prefix: name },
      clusterOptions: { coordinate: false, ...clusterOptions },
    });
  }

  test('one key out of S3 costs few requests and few bytes', async () => {
    const subject = subjectIn('requests');
    const { id } = await subject.backup();
    const before = proxy.requests.length;
    const found = await opened(subject, id, 's3');
    let key: Buffer = Buffer.alloc(0);
    for await (const entry of found.directory.entries({ from: Buffer.from('/') }, signal)) {
      key = entry.key;
      break;
    }
    expect((await newestValue(found, key))?.length).toBe(900);
    const asked = proxy.requests.slice(before).filter(({ path }) => path.includes(id) && !path.includes('.json'));
    // Data: size, beginning, seek table, the frame. Index: the same, footer and list, the block.
    expect(asked.length).toBeLessThanOrEqual(10);
    const bytes = asked.reduce((sum, { headers }) => {
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? '') ?? [];
      return from === undefined ? sum : sum + Number(to) - Number(from) + 1;
    }, 0);
    expect(asked.filter(({ verb, headers }) => verb === 'Get' && headers.range === undefined)).toEqual([]);
    expect(bytes).toBeLessThan(3 * 2 ** 20);
    await found.snapshot.close();
  });

  test('can be read with zstd and age alone', async () => {
    const subject = subjectIn('by-hand', { encryption: { recipients: [recipient] } });
    const { id, warnings } = await subject.backup({ index: 'later' });
    // Recipients only: now or never, whatever was asked for.
    expect(warnings.filter(({ code }) => code === 'no-index')).toEqual([]);
    const file = join(subject.disk, 'main', `${id}.index.zst.age`);
    const zst = join(folder, 'by-hand.zst');
    execFileSync(program('age'), ['--decrypt', '--identity', identityFile, '--output', zst, file]);
    const plain = execFileSync(program('zstd'), ['-d', '-c', zst], { maxBuffer: 2 ** 26 });
    expect(plain.toString('latin1', plain.length - 8)).toBe('EWKEYIDX');
    expect(plain.toString('latin1', plain.length - 48, plain.length - 22)).toBe(id);
  });

  test('is left out when it is not wanted, and made up for by its job when it is', async () => {
    const unwanted = subjectIn('unwanted', { index: { enabled: false } });
    const first = await unwanted.backup();
    expect(existsSync(join(unwanted.disk, 'main', `${first.id}.index.zst`))).toBe(false);

    const subject = subjectIn('later');
    const { id } = await subject.backup({ index: 'later' });
    expect(existsSync(join(subject.disk, 'main', `${id}.index.zst`))).toBe(false);
    const lines = await runJob({ verb: 'index', request: { cluster: 'main' } }, subject.context());
    expect(lines).toMatchObject([
      { id, store: 'disk', outcome: 'built' },
      { id, store: 's3', outcome: 'built' },
    ]);
    await compareWithTree(await opened(subject, id, 's3'));
  });

  test('goes with its backup, and is swept when the backup is gone', async () => {
    const subject = subjectIn('removed');
    const { id } = await subject.backup();
    const stores = await storesOf(subject);
    const { removeBackup } = await import('../../../src/catalog/remove.ts');
    for (const store of stores) {
      const { removed } = await removeBackup(store, 'main', id, { signal });
      expect(removed).toContain(`main/${id}.index.zst`);
    }
  });
});
