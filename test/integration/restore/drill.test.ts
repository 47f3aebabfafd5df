/** Restores rehearsed for real: a scratch etcd of each minor is started on what was restored, asked, and gone afterwards. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { drill } from '../../../src/jobs/drill.ts';
import type { DrillLine, DrillRequest, JobContext } from '../../../src/jobs/types.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { RestoreRecord } from '../../../src/format/restore-record.ts';
import type { KeyValue } from '../../../src/mvcc/key-value.ts';
import { Comparison } from '../../../src/restore/drill/compare.ts';
import { sweepDrills } from '../../../src/restore/drill/folder.ts';
import { temporaryName } from '../../../src/store/temporary.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { sampleRestore } from '../../support/manifests.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { run, startProcess, until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { readManifest } from '../../support/recover.ts';
import { runWarden, startWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('drill');
  return () => removeFolder(folder);
});

/** The clusters of the tests lie in memory too, so the disk is always shared. */
function drilled(of: Product, request: Partial<DrillRequest> = {}, changes: Partial<JobContext> = {}): Promise<readonly DrillLine[]> {
  return drill({ cluster: 'main', ...request }, of.context(changes));
}

function withDrill(cluster: Cluster, options: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}): Product {
  return product({ folder, cluster, clusterOptions: { coordinate: false, drill: { sharedDisk: true, ...options }, ...more } });
}

/** Commands of every process whose arguments name the folder. */
function processesOn(path: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return words.includes(path) ? [words.replaceAll('\0', ' ')] : [];
      } catch {
        return [];
      }
    });
}

const left = (of: Product): string[] =>
  existsSync(join(of.config.stateDir, 'drill')) ? readdirSync(join(of.config.stateDir, 'drill')) : [];

/** Puts, deletes, a lease, a compaction, and more of both. */
async function live(cluster: Cluster): Promise<void> {
  await cluster.fill({ keys: 300, valueBytes: 500, seed: 6 });
  const { header } = JSON.parse(await cluster.etcdctl(['put', 'again', '1', '-w', 'json'])) as { header: { revision: number } };
  await cluster.etcdctl(['del', 'again']);
  await cluster.etcdctl(['compact', String(header.revision)]);
  await cluster.etcdctl(['put', 'again', '2']);
  await cluster.etcdctl(['put', 'again', '3']);
}

test.each(ETCD_MINORS)(
  'fault 74: a backup of etcd %s is served by a scratch etcd, equal in hash, count and values, of which nothing is left',
  async (minor) => {
    const cluster = await startCluster({ minor, members: 1 });
    let of: Product;
    let backup: Awaited<ReturnType<Product['backup']>>;
    try {
      await live(cluster);
      of = withDrill(cluster, { etcd: program('etcd', minor) });
      backup = await of.backup();
    } finally {
      await cluster.stop();
    }
    const manifest = readManifest(of.disk, backup);
    const [line, ...others] = await drilled(of);
    expect(others).toEqual([]);
    expect(line).toMatchObject({
      store: 'disk',
      id: backup.id,
      outcome: 'ok',
      level: 'started',
      revision: backup.revision,
      keyCount: manifest.keyCount,
      sampled: 100,
      etcd: expect.stringContaining(`${minor}.`),
      recoveryMs: expect.any(Number),
    });
    expect(line).not.toHaveProperty('reason');
    expect(left(of)).toEqual([]);
    expect(processesOn(of.config.stateDir)).toEqual([]);
    const checks = join(of.disk, 'main', 'checks', backup.id);
    const [name] = readdirSync(checks).filter((each) => each.includes('-drill-'));
    expect(JSON.parse(readFileSync(join(checks, name!), 'utf8'))).toMatchObject({
      kind: 'drill',
      store: 'disk',
      outcome: 'ok',
      drill: { level: 'started', revision: backup.revision, keyCount: manifest.keyCount, sampled: 100 },
    });
  },
);

test.each(['3.4', '3.7'] as const)(
  'authentication that is on in a backup of etcd %s does not keep the drill out, nor is it switched off',
  async (minor) => {
    const cluster = await startCluster({ minor, members: 1, auth: true });
    let of: Product;
    try {
      await cluster.fill({ keys: 20, valueBytes: 50, seed: 2 });
      const passwordFile = join(folder, 'password');
      writeFileSync(passwordFile, 'root', { mode: 0o600 });
      of = withDrill(cluster, { etcd: program('etcd', minor), sample: 10 }, { user: 'root', passwordFile });
      await of.backup();
    } finally {
      await cluster.stop();
    }
    expect(await drilled(of)).toMatchObject([{ outcome: 'ok', level: 'started', keyCount: 20, sampled: 10 }]);
  },
);

test.each(['3.4', '3.6'] as const)(
  'revisions are raised for Kubernetes on etcd %s, as a restore would, and values are compared all the same',
  async (minor) => {
    const cluster = await startCluster({ minor, members: 1 });
    let of: Product;
    let revision: string;
    try {
      for (const name of ['a', 'b', 'c']) await cluster.etcdctl(['put', `/registry/configmaps/default/${name}`, name]);
      await cluster.etcdctl(['put', '/registry/configmaps/default/a', 'again']);
      await cluster.etcdctl([
        'put',
        '--lease',
        (await cluster.etcdctl(['lease', 'grant', '600'])).split(' ')[1]!,
        '/registry/masterleases/x',
        'x',
      ]);
      of = withDrill(cluster, { etcd: program('etcd', minor) });
      ({ revision } = await of.backup());
    } finally {
      await cluster.stop();
    }
    const [line] = await drilled(of);
    expect(line).toMatchObject({ outcome: 'ok', level: 'started', keyCount: 4, sampled: 4, etcd: expect.stringContaining(minor) });
    expect(Number(line!.revision)).toBeGreaterThan(Number(revision) + 1_000_000);
  },
);

describe('of one cluster', () => {
  const etcd = program('etcd', '3.6');
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

  test('encrypted, from a disk and from S3: each store alone is enough with the identity; without one nothing is done, and it says so', async () => {
    const keys = await run(program('age-keygen'), []);
    const identityFile = join(folder, 'identity');
    writeFileSync(identityFile, keys, { mode: 0o600 });
    const recipients = [/public key: (\S+)/.exec(keys)![1]!];
    await gateway.createBucket('drill');
    const options = (encryption: object) => ({
      folder,
      cluster,
      s3: { gateway, bucket: 'drill' },
      clusterOptions: { coordinate: false, drill: { sharedDisk: true, etcd, sample: 20 }, encryption },
    });
    const of = product(options({ recipients, identityFile }));
    const { id } = await of.backup();
    expect(await drilled(of)).toMatchObject([
      { store: 'disk', id, outcome: 'ok', level: 'started', sampled: 20 },
      { store: 's3', id, outcome: 'ok', level: 'started', sampled: 20 },
    ]);
    const [locked, ...others] = await drilled(product(options({ recipients })), { stores: ['s3'] });
    expect(others).toEqual([]);
    expect(locked).toMatchObject({
      store: 's3',
      id,
      outcome: 'inconclusive',
      code: 'key-missing',
      reason: expect.stringContaining('no identity'),
    });
    expect(locked).not.toHaveProperty('level');
    expect(left(of)).toEqual([]);
  });

  test('a machine without etcd checks the files that were built, and says that this proves less', async () => {
    const of = withDrill(cluster, {});
    const { id, keyCount } = await of.backup();
    vi.stubEnv('PATH', folder);
    onTestFinished(() => void vi.unstubAllEnvs());
    const [line] = await drilled(of);
    expect(line).toMatchObject({
      id,
      outcome: 'ok',
      level: 'offline',
      keyCount,
      sampled: 0,
      reason: expect.stringMatching(/no etcd on the PATH.*proves less/),
    });
    expect(left(of)).toEqual([]);
  });

  test('an etcd that was named and is not there, or does not start on data of that release, makes it a drill that was not done', async () => {
    const missing = withDrill(cluster, { etcd: join(folder, 'no-such-etcd') });
    const { id } = await missing.backup();
    expect(await drilled(missing)).toMatchObject([
      { id, outcome: 'inconclusive', code: 'refused', reason: expect.stringMatching(/no-such-etcd cannot be run as an etcd.*drill\.etcd/) },
    ]);
    const older = product({ folder, cluster, clusterOptions: { drill: { sharedDisk: true, etcd: program('etcd', '3.5') } } });
    expect(await drilled(older)).toMatchObject([
      { id, outcome: 'inconclusive', code: 'refused', reason: expect.stringMatching(/cannot be started: .*etcd 3\.6.*3\.5/) },
    ]);
    const later = product({ folder, cluster, clusterOptions: { drill: { sharedDisk: true, etcd: program('etcd', '3.7') } } });
    expect(await drilled(later)).toMatchObject([{ outcome: 'ok', level: 'started', etcd: expect.stringContaining('3.7.') }]);
    expect(left(later)).toEqual([]);
  });

  test('the disk of an etcd on this machine is refused, which counts as not done', async () => {
    const of = product({ folder, cluster, clusterOptions: { coordinate: false, drill: { etcd } } });
    await of.backup();
    const [line] = await drilled(of);
    expect(line).toMatchObject({
      outcome: 'inconclusive',
      code: 'refused',
      reason: expect.stringMatching(/on the disk that holds etcd's data directory.*drill\.folder/),
    });
    expect(left(of)).toEqual([]);
  });

  test('a folder that cannot be made counts as not done', async () => {
    writeFileSync(join(folder, 'file'), '');
    const of = withDrill(cluster, { etcd, folder: join(folder, 'file') });
    await of.backup();
    expect(await drilled(of)).toMatchObject([{ outcome: 'inconclusive', code: 'disk-failed' }]);
  });

  describe('an etcd that answers other than the restore record and the backup', () => {
    const of = () => ({ signal: new AbortController().signal, progress: () => {} });
    async function comparison(changes: (right: RestoreRecord) => Partial<RestoreRecord>): Promise<Comparison> {
      const access = cluster.access();
      const client = new MemberClient(access, access.endpoints[0]!);
      const status = await client.status();
      const { hash, compactRevision } = await client.hashKv(status.revision, { timeoutMs: 10_000 });
      const [member] = (await client.memberList()).members;
      client.close();
      const { count } = JSON.parse(await cluster.etcdctl(['get', '', '--prefix', '--limit=1', '-w', 'json'])) as { count: number };
      const right: RestoreRecord = {
        ...sampleRestore(),
        clusterId: status.clusterId.toString(16),
        members: [{ id: status.memberId.toString(16), name: 'm1', peerUrls: member!.peerUrls }],
        revision: String(status.revision),
        compactRevision: String(compactRevision),
        hash,
        keyCount: count,
      };
      delete (right as { raisedFrom?: string }).raisedFrom;
      return new Comparison(access, { ...right, ...changes(right) }, of());
    }

    test.each<[string, (right: RestoreRecord) => Partial<RestoreRecord>, RegExp]>([
      ['another cluster', () => ({ clusterId: 'abc' }), /belongs to cluster/],
      ['a later revision', ({ revision }) => ({ revision: String(BigInt(revision) + 1n) }), /is at revision \d+, below/],
      ['another hash', ({ hash }) => ({ hash: hash + 1 }), /hash/i],
      ['one key more', ({ keyCount }) => ({ keyCount: keyCount + 1 }), /counts \d+ keys/],
    ])('%s fails', async (_what, changes, sentence) => {
      const compared = await comparison(changes);
      const ask = async (): Promise<number> => {
        await compared.record();
        return compared.count();
      };
      await expect(ask()).rejects.toThrow(sentence);
      await expect(ask()).rejects.toMatchObject({ code: 'verification-failed' });
      compared.close();
    });

    test('values: equal ones, one that was changed since, one that is compacted, one that was never there and one that differs', async () => {
      const compared = await comparison(() => ({}));
      await compared.record();
      const put = async (value: string): Promise<bigint> =>
        BigInt(
          (JSON.parse(await cluster.etcdctl(['put', 'compared', value, '-w', 'json'])) as { header: { revision: number } }).header.revision,
        );
      const [at, later] = [await put('one'), await put('two')];
      const now = await comparison(() => ({}));
      const record: KeyValue = {
        key: Buffer.from('compared'),
        createRevision: at,
        modRevision: later,
        version: 2n,
        value: Buffer.from('two'),
        lease: 0n,
        unknown: [],
      };
      expect(await now.value(record)).toBe(true);
      expect(await now.value({ ...record, modRevision: at, version: 1n, value: Buffer.from('one') })).toBe(true);
      expect(await now.value({ ...record, modRevision: 1n })).toBe(false);
      for (const wrong of [{ value: Buffer.from('three') }, { version: 3n }, { lease: 5n }, { createRevision: 1n }])
        await expect(now.value({ ...record, ...wrong })).rejects.toThrow(`changed at revision ${later}`);
      await expect(now.value({ ...record, modRevision: later + 1n })).rejects.toThrow(/other content/);
      await expect(now.value({ ...record, key: Buffer.from('nowhere') })).rejects.toThrow('does not have the change');
      // The revision that was recorded first knows nothing of the key.
      await expect(compared.value(record)).resolves.toBe(true);
      await now.write();
      expect(await cluster.etcdctl(['get', 'etcd-warden/drill/', '--prefix', '--keys-only'])).toBe('');
      compared.close();
      now.close();
    });
  });

  test('a copy that is damaged fails, and the other store of the same backup does not', async () => {
    await gateway.createBucket('damaged');
    const of = product({
      folder,
      cluster,
      s3: { gateway, bucket: 'damaged' },
      clusterOptions: { coordinate: false, drill: { sharedDisk: true, etcd, sample: 5 } },
    });
    await of.backup();
    const data = join(
      of.disk,
      'main',
      readdirSync(join(of.disk, 'main')).find((name) => name.endsWith('.db.zst'))!,
    );
    const bytes = readFileSync(data);
    bytes[Math.floor(bytes.length / 2)]! ^= 4;
    writeFileSync(data, bytes);
    expect(await drilled(of)).toMatchObject([
      { store: 'disk', outcome: 'failed', reason: expect.any(String), code: expect.any(String) },
      { store: 's3', outcome: 'ok' },
    ]);
  });

  test('stopped in the middle, it leaves nothing', async () => {
    const of = withDrill(cluster, { etcd });
    await of.backup();
    const stop = new AbortController();
    const progress: JobContext['progress'] = ({ message }) => {
      if (message?.startsWith('comparing its answers')) stop.abort(new Error('enough'));
    };
    await expect(drilled(of, {}, { signal: stop.signal, progress })).rejects.toThrow('enough');
    expect(left(of)).toEqual([]);
    expect(processesOn(of.config.stateDir)).toEqual([]);
  });

  test('one that takes too long is not done', async () => {
    const of = withDrill(cluster, { etcd: stubbornEtcd(etcd), timeout: '1m' });
    await of.backup();
    Object.assign(of.config.clusters['main']!.drill, { timeoutMs: 3_000 });
    expect(await drilled(of)).toMatchObject([{ outcome: 'inconclusive', code: 'timeout', reason: expect.stringContaining('3s') }]);
    expect(left(of)).toEqual([]);
    expect(processesOn(of.config.stateDir)).toEqual([]);
  });

  test('fault 74: kill -9 of the drill ends its etcd at once, and the next one sweeps its folder', async () => {
    const of = withDrill(cluster, { etcd: slowEtcd(etcd) });
    await of.backup();
    const warden = startWarden(['drill', '--config', of.configPath, '--json']);
    const parent = join(of.config.stateDir, 'drill');
    await until(
      () => processesOn(parent).some((words) => words.includes('--data-dir')) && existsSync(join(parent, left(of)[0]!, 'etcd.pid')),
      () => `no etcd was started: ${warden.stderr()}${warden.stdout()}`,
      { timeoutMs: 60_000 },
    );
    warden.kill('SIGKILL');
    await warden.done;
    await until(
      () => processesOn(parent).length === 0,
      () => `these outlived it: ${processesOn(parent).join('\n')}`,
    );
    expect(left(of)).toHaveLength(1);
    expect(await drilled(of)).toMatchObject([{ outcome: 'ok' }]);
    expect(left(of)).toEqual([]);
  });

  test('an etcd that outlived even its guard is ended by the sweep, and another one is not', async () => {
    const of = withDrill(cluster, { etcd });
    const parent = join(of.config.stateDir, 'drill');
    const dead = join(parent, temporaryName().replace(/^warden-\d+/, 'warden-1'));
    const alive = join(parent, temporaryName());
    const orphans = [dead, alive].map((path) => {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      const running = startProcess('/bin/sh', ['-c', 'while :; do sleep 0.2; done', `--data-dir=${path}/data`]);
      writeFileSync(join(path, 'etcd.pid'), `${running.pid}\n`);
      return running;
    });
    const stranger = join(parent, 'not-ours');
    mkdirSync(stranger);
    expect(
      await sweepDrills(of.config.stateDir, { olderThanMs: 3_600_000, now: new Date(), signal: new AbortController().signal }),
    ).toEqual([dead]);
    expect((await orphans[0]!.exited).signal).toBe('SIGKILL');
    expect(orphans[1]!.result()).toBeUndefined();
    expect(existsSync(stranger)).toBe(true);
    await orphans[1]!.stop(0);
  });

  test('by hand, without a configuration: a table with the time of recovery, and exit codes that tell', async () => {
    const of = withDrill(cluster, { etcd });
    await of.backup();
    const from = ['drill', '--from', of.disk, '--shared-disk', '--state-dir', join(folder, 'state')];
    const told = await runWarden([...from, '--etcd', etcd]);
    expect(told.stdout).toMatch(/STORE +ID +RESULT +RECOVERY +ETCD.*\n.* ok +[\d.]+m?s +3\.6\./);
    expect(told.code).toBe(0);
    const nobody = await runWarden(['drill', '--from', of.disk, '--state-dir', join(folder, 'state'), '--data-dir', folder, '--json']);
    expect(nobody.json()).toMatchObject({ cluster: 'main', results: [{ outcome: 'inconclusive', code: 'refused' }] });
    expect(nobody.code).toBe(1);
    expect((await runWarden([...from, '20990101', '--json'])).code).toBe(10);
  });
});

/** Lets the test see it before it is done. */
function slowEtcd(real: string): string {
  const path = join(folder, 'slow');
  writeFileSync(path, `#!/bin/sh\n[ "$1" = --version ] || sleep 2\nexec ${real} "$@"\n`, { mode: 0o755 });
  return path;
}

/** Starts, and answers nobody. */
function stubbornEtcd(real: string): string {
  const path = join(folder, 'stubborn');
  writeFileSync(path, `#!/bin/sh\n[ "$1" = --version ] && exec ${real} --version\nexec sleep 1000\n`, { mode: 0o755 });
  return path;
}
