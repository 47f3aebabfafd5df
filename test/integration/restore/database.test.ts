/** Databases built from snapshots of real members, held against what etcd and its tools say of them, on every minor version. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openFile } from '../../../src/archive/file-access.ts';
import { openBolt } from '../../../src/boltdb/bolt.ts';
import { check } from '../../../src/boltdb/check.ts';
import { readHead } from '../../../src/mvcc/head.ts';
import { membersOf } from '../../../src/mvcc/members.ts';
import { measureDatabase } from '../../../src/restore/database/build.ts';
import { newCluster, parseInitialCluster } from '../../../src/restore/identity.ts';
import type { BuiltDatabase, Content, EtcdMinor } from '../../../src/restore/types.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { startCluster } from '../../support/cluster.ts';
import { buildDataDir, restoreContext, snapshotSource, WHOLE } from '../../support/database-source.ts';
import { run } from '../../support/processes.ts';
import { initialClusterOf, newSites, type RestoredCluster, startRestored } from '../../support/restored.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { encode } from '../../support/wire.ts';

const folder = temporaryFolder('restore-database');
afterAll(() => removeFolder(folder));

interface Taken {
  readonly path: string;
  readonly revision: bigint;
  readonly compactRevision: bigint;
  /** Where a key was put that its lease took away later. */
  readonly whileLeased: bigint;
}

const snapshots = new Map<string, Promise<Taken>>();

function snapshotOf(minor: EtcdMinor, keys: 'plain' | 'kubernetes'): Promise<Taken> {
  const name = `${minor} ${keys}`;
  const taken = snapshots.get(name) ?? takeSnapshot(minor, keys);
  snapshots.set(name, taken);
  return taken;
}

/** History, leases, deletions, a compaction, keys of an API server, and at last no space. */
async function takeSnapshot(minor: EtcdMinor, keys: 'plain' | 'kubernetes'): Promise<Taken> {
  await using cluster = await startCluster({ minor });
  const member = cluster.members[0]!;
  const call = (method: string, request: Buffer): Promise<unknown> => member.rpc.call(`etcdserverpb.${method}`, request);
  const put = (key: string, value: string, lease = 0n): Promise<unknown> => call('KV/Put', encode([1, key], [2, value], [3, lease]));
  const prefix = keys === 'kubernetes' ? '/registry/pods/' : '/app/';
  await cluster.fill({ keys: 300, valueBytes: 600, prefix });
  await cluster.fill({ keys: 200, valueBytes: 50, prefix: '/other/' });
  await cluster.fill({ keys: 150, valueBytes: 700, prefix, seed: 2 });
  await call('KV/DeleteRange', encode([1, '/other/00000100'], [2, '/other/00000110']));
  const compactRevision = (await member.status()).revision;
  await call('KV/Compact', encode([1, compactRevision], [2, true]));
  await call('Lease/LeaseGrant', encode([1, 3600n], [2, 77n]));
  await call('Lease/LeaseGrant', encode([1, 3600n], [2, 78n]));
  await put('/leased/kept', 'x', 77n);
  await put('/leased/gone', 'y', 78n);
  const whileLeased = (await member.status()).revision;
  await call('Lease/LeaseRevoke', encode([1, 78n]));
  await cluster.fill({ keys: 120, valueBytes: 80, prefix: '/other/', seed: 3 });
  await put('/big', 'z'.repeat(300_000));
  await call('KV/DeleteRange', encode([1, '/other/00000001']));
  await cluster.raiseAlarm('NOSPACE', member);
  const path = join(folder, `${minor}-${keys}.db`);
  const { revision } = await member.status();
  await run(program('etcdctl', minor), [`--endpoints=${member.direct}`, 'snapshot', 'save', path], {
    env: { ...process.env, ETCDCTL_API: '3' },
  });
  return { path, revision, compactRevision, whileLeased };
}

interface Started extends AsyncDisposable {
  readonly built: BuiltDatabase;
  readonly cluster: RestoredCluster;
  readonly database: string;
}

async function restored(
  minor: EtcdMinor,
  snapshot: string,
  content: Content,
  options: { readonly encrypted?: boolean } = {},
): Promise<Started> {
  const sites = await newSites(1, join(folder, `built-${(count += 1)}`));
  const token = `token-${count}`;
  const cluster = newCluster(parseInitialCluster(initialClusterOf(sites)), token);
  const { dataDir } = sites[0]!;
  const source = snapshotSource(readFileSync(snapshot), options);
  const built = await buildDataDir({ source, dataDir, member: 'm1', cluster, minor, content });
  const database = join(dataDir, 'member/snap/db');
  await checkFile(
    database,
    built,
    cluster.members.map(({ id }) => id),
  );
  const started = await startRestored({ minor, sites, token });
  return {
    built,
    cluster: started,
    database,
    async [Symbol.asyncDispose]() {
      await started.stop();
      removeFolder(dataDir);
    },
  };
}
let count = 0;

/** What our own strict check, bbolt's and etcd's tool say of it before anything has started on it. */
async function checkFile(path: string, built: BuiltDatabase, ids: readonly bigint[]): Promise<void> {
  const file = await openFile(path);
  try {
    expect(file.size).toBe(built.bytes);
    await check(file, { snapshot: true });
    const membership = await membersOf(await openBolt(file));
    expect(new Set(membership.members.map(({ id }) => id))).toEqual(new Set(ids));
    expect(membership.removed).toEqual([]);
  } finally {
    await file.close();
  }
  expect(await run(program('bbolt'), ['check', path])).toContain('OK');
  // etcdutl wants a snapshot with its trailer, and takes a copy of the database for one that lost it.
  const status = JSON.parse(await run(program('etcdutl', '3.6'), ['snapshot', 'status', path, '-w', 'json'])) as { revision: number };
  const lastRecord = built.raisedFrom ?? built.revision;
  expect(BigInt(status.revision)).toBeLessThanOrEqual(lastRecord);
}

async function hashOf(cluster: RestoredCluster): Promise<{ revision: bigint; compactRevision: bigint; hash: number }> {
  const text = await cluster.etcdctl(['endpoint', 'hashkv', '-w', 'json']);
  const revision = /"revision":(\d+)/.exec(text)![1]!;
  const compacted = /"compact_revision":(-?\d+)/.exec(text)?.[1] ?? '0';
  return { revision: BigInt(revision), compactRevision: BigInt(compacted), hash: Number(/"hash":(\d+)/.exec(text)![1]) };
}

async function keyCount(cluster: RestoredCluster): Promise<number> {
  return Number(/"count":(\d+)/.exec(await cluster.etcdctl(['get', '', '--from-key', '--keys-only', '--limit=1', '-w', 'json']))?.[1] ?? 0);
}

async function put(cluster: RestoredCluster, key: string): Promise<bigint> {
  return BigInt(/"revision":(\d+)/.exec(await cluster.etcdctl(['put', key, 'value', '-w', 'json']))![1]!);
}

/** It answers what was computed, and takes writes. */
async function expectAnswers({ built, cluster }: Started): Promise<void> {
  const { revision, compactRevision, hash } = built;
  expect(await hashOf(cluster)).toEqual({ revision, compactRevision, hash });
  expect(await keyCount(cluster)).toBe(built.keyCount);
  expect(await cluster.etcdctl(['alarm', 'list'])).toBe('');
}

/** It lives on as well: compacted, defragmented and started again. */
async function expectServes(started: Started): Promise<void> {
  const { built, cluster } = started;
  const { revision } = built;
  await expectAnswers(started);
  expect(await put(cluster, '/after')).toBe(revision + 1n);
  await cluster.etcdctl(['compact', String(revision + 1n), '--physical']);
  await cluster.etcdctl(['defrag']);
  const before = await hashOf(cluster);
  await cluster.members[0]!.stop();
  await cluster.members[0]!.restart();
  expect(await hashOf(cluster)).toEqual(before);
  expect(await keyCount(cluster)).toBe(built.keyCount + 1);
}

describe.each(ETCD_MINORS)('etcd %s starts on a database that was built, and answers what was computed of it', (minor) => {
  let taken: Taken;
  let kubernetes: Taken;
  beforeAll(async () => {
    [taken, kubernetes] = await Promise.all([snapshotOf(minor, 'plain'), snapshotOf(minor, 'kubernetes')]);
  }, 60_000);

  test('copied: everything is there but the alarm', async () => {
    await using started = await restored(minor, taken.path, { ...WHOLE, bump: 'auto' });
    const { built } = started;
    expect(built).toMatchObject({
      revision: taken.revision,
      compactRevision: taken.compactRevision,
      raisedFrom: undefined,
      kubernetes: false,
      droppedAlarms: 1,
      orphanedLeases: 0,
    });
    expect(await started.cluster.etcdctl(['lease', 'timetolive', '4d', '--keys'])).toMatch(/TTL\(3600s\).*\/leased\/kept/);
    await expectServes(started);
  });

  test('fault 73: keys of an API server have their revisions raised, and a watch from before is told that its revisions are gone', async () => {
    await using started = await restored(minor, kubernetes.path, { ...WHOLE, bump: 'auto' });
    const { built, cluster } = started;
    const target = kubernetes.revision + 1_000_000_000n;
    expect(built).toMatchObject({ revision: target, compactRevision: target, raisedFrom: kubernetes.revision, kubernetes: true });
    const watch = await cluster.etcdctl(['watch', '/registry/', '--prefix', `--rev=${kubernetes.revision}`]).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(watch).toContain('required revision has been compacted');
    await expect(cluster.etcdctl(['get', '/big', `--rev=${kubernetes.revision}`])).rejects.toThrow('required revision has been compacted');
    await expectServes(started);
  });

  test('raised by little: what is superseded is gone', async () => {
    await using started = await restored(minor, taken.path, { ...WHOLE, bump: { by: 7n } });
    expect(started.built).toMatchObject({ revision: taken.revision + 7n, compactRevision: taken.revision + 7n });
    await expectAnswers(started);
  });

  test('written anew, dense: the same as the copy', async () => {
    await using started = await restored(minor, taken.path, { ...WHOLE, defragmented: true });
    expect(started.built).toMatchObject({ revision: taken.revision, compactRevision: taken.compactRevision });
    await expectAnswers(started);
  });

  test('only some of the keys: the revision is kept, and history is gone', async () => {
    const content = { ...WHOLE, only: [Buffer.from('/other/'), Buffer.from('/leased/')], without: [Buffer.from('/other/0000001')] };
    await using started = await restored(minor, taken.path, content);
    expect(started.built).toMatchObject({ revision: taken.revision, compactRevision: taken.revision, keyCount: 200 - 1 - 10 + 1 });
    expect(await started.cluster.etcdctl(['get', '/big'])).toBe('');
    expect(await started.cluster.etcdctl(['lease', 'timetolive', '4d', '--keys'])).toContain('/leased/kept');
    await expectServes(started);
  });

  test('an older revision: what came later is gone, and a key whose lease is gone stays for ever', async () => {
    await using started = await restored(minor, taken.path, { ...WHOLE, revision: taken.whileLeased });
    expect(started.built).toMatchObject({ revision: taken.whileLeased, compactRevision: taken.compactRevision, orphanedLeases: 1 });
    expect(await started.cluster.etcdctl(['get', '/leased/gone', '--print-value-only'])).toContain('y');
    expect(await started.cluster.etcdctl(['get', '/big'])).toBe('');
    await expectAnswers(started);
  });

  test('an older revision that is raised', async () => {
    await using started = await restored(minor, kubernetes.path, { ...WHOLE, revision: kubernetes.whileLeased, bump: 'auto' });
    expect(started.built).toMatchObject({ revision: kubernetes.whileLeased + 1_000_000_000n, raisedFrom: kubernetes.whileLeased });
    await expectAnswers(started);
  });
});

test.each([
  ['3.4', '3.5'],
  ['3.5', '3.6'],
  ['3.6', '3.7'],
] as const)('a snapshot of %s starts on %s', async (before, minor) => {
  const { path, revision } = await snapshotOf(before, 'plain');
  await using started = await restored(minor, path, WHOLE, { encrypted: true });
  expect(started.built.revision).toBe(revision);
  await expectServes(started);
});

test('a backup of a cluster whose revisions were raised can be proved before its first compaction', async () => {
  const { path } = await snapshotOf('3.6', 'kubernetes');
  await using started = await restored('3.6', path, { ...WHOLE, bump: 'auto' });
  for (const key of ['/registry/pods/00000001', '/other/00000002', '/new']) await put(started.cluster, key);
  const later = join(folder, 'later.db');
  await started.cluster.etcdctl(['snapshot', 'save', later]);
  const sites = await newSites(1, join(folder, 'later'));
  const cluster = newCluster(parseInitialCluster(initialClusterOf(sites)), 'later');
  const source = snapshotSource(readFileSync(later));
  const built = await buildDataDir({ source, dataDir: sites[0]!.dataDir, member: 'm1', cluster, minor: '3.6', content: WHOLE });
  const { revision, compactRevision, hash } = built;
  expect({ revision, compactRevision, hash }).toEqual(await hashOf(started.cluster));
  expect(built.keyCount).toBe(await keyCount(started.cluster));
});

test.each(ETCD_MINORS)("what the tool of %s built is measured, and has the new cluster's members alone", async (minor) => {
  const { path } = await snapshotOf(minor, 'plain');
  const dataDir = join(folder, `tool-${minor}`);
  const members = 'm1=http://127.0.0.1:2380,m2=http://127.0.0.1:2480';
  const args = [
    '--name=m1',
    `--initial-cluster=${members}`,
    '--initial-cluster-token=tool',
    '--initial-advertise-peer-urls=http://127.0.0.1:2380',
  ];
  const tool = minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor);
  await run(tool, ['snapshot', 'restore', path, `--data-dir=${dataDir}`, ...args], { env: { ...process.env, ETCDCTL_API: '3' } });
  const cluster = newCluster(parseInitialCluster(members), 'tool');
  const database = join(dataDir, 'member/snap/db');
  const measured = await measureDatabase(database, cluster, restoreContext());
  const file = await openFile(database);
  const db = await openBolt(file);
  expect((await membersOf(db)).members.map(({ id, name }) => ({ id, name }))).toEqual(
    cluster.members.map(({ id, name }) => ({ id, name })).toSorted((a, b) => (a.id.toString(16) < b.id.toString(16) ? -1 : 1)),
  );
  expect((await readHead(db)).alarms).toEqual([]);
  await file.close();
  const native = await buildDataDir({
    source: snapshotSource(readFileSync(path)),
    dataDir: `${dataDir}-native`,
    member: 'm1',
    cluster,
    minor,
    content: WHOLE,
  });
  const { revision, compactRevision, hash, keyCount: keys, kubernetes } = native;
  expect(measured).toMatchObject({ revision, compactRevision, hash, keyCount: keys, kubernetes });
  expect(await run(program('bbolt'), ['check', database])).toContain('OK');
});
