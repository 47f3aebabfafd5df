import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ETCD_MINORS, program, type EtcdMinor } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { product } from '../../support/product.ts';

/** The block of the documentation that people will type on the worst night: executed here exactly as it stands. */
const RECOVERY =
  /```sh recover-by-hand\n(.*?)```/s.exec(readFileSync(new URL('../../../docs/formats.md', import.meta.url), 'utf8'))?.[1] ?? '';

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
  await gateway.createBucket('backups');
});
afterAll(() => gateway?.stop());

describe.each(ETCD_MINORS)('fault 16: etcd %s', (minor) => {
  let cluster: Cluster;
  const folder = mkdtempSync(join(tmpdir(), 'warden-matrix-'));
  const identity = join(folder, 'identity.txt');
  beforeAll(async () => {
    cluster = await startCluster({ minor, members: 1 });
    await cluster.fill({ keys: 500, valueBytes: 3000, seed: 7, compressible: true });
    // fault 17: what a database may hold
    await cluster.etcdctl(['put', 'empty', '']);
    await cluster.etcdctl(['put', '--', 'large'], { input: Buffer.alloc(1_500_000, 'x') });
    execFileSync(program('age-keygen'), ['-o', identity], { stdio: 'ignore' });
  });
  afterAll(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(['plain', 'encrypted'] as const)(
    '%s: a backup is recovered by hand with zstd, age and etcdutl alone, and holds the revision that its manifest names',
    async (kind) => {
      const recipient = /public key: (\S+)/.exec(readFileSync(identity, 'utf8'))?.[1] ?? '';
      const subject = product({
        folder: join(folder, kind),
        cluster,
        s3: { gateway, bucket: 'backups', prefix: `${kind}-${minor}` },
        clusterOptions: { encryption: kind === 'encrypted' ? { recipients: [recipient] } : {}, coordinate: false },
      });
      const before = await cluster.members[0]!.status();
      const result = await subject.backup();
      expect(result).toMatchObject({
        outcome: 'complete',
        revision: String(before.revision),
        stores: [{ outcome: 'stored' }, { outcome: 'stored' }],
      });

      const data = join(subject.disk, 'main', `${result.id}.db.zst${kind === 'encrypted' ? '.age' : ''}`);
      const fromS3 = readFileSync(
        join(gateway.root, 'backups', `${kind}-${minor}`, 'main', `${result.id}.db.zst${kind === 'encrypted' ? '.age' : ''}`),
      );
      expect(fromS3.equals(readFileSync(data))).toBe(true);

      const out = join(folder, `out-${kind}`);
      recoverByHand(minor, {
        DATA: data,
        IDENTITY: identity,
        OUT: out,
        MANIFEST: join(subject.disk, 'main', `${result.id}.r${result.revision}.json`),
      });
      const restored = await startCluster({ minor, members: 1, dataDir: join(out, 'default.etcd'), flags: ['--force-new-cluster'] });
      try {
        const status = await restored.members[0]!.status();
        expect(Number(status.revision)).toBeGreaterThanOrEqual(Number(result.revision));
        const left = await restored.etcdctl(['get', '', '--prefix', '--keys-only', '--write-out=json']);
        expect(JSON.parse(left)).toMatchObject({ count: 502 });
      } finally {
        await restored.stop();
      }
    },
  );
});

/** Only the documented programs are on PATH; etcd 3.4 has no etcdutl, its etcdctl does that work. */
function recoverByHand(minor: EtcdMinor, variables: Readonly<Record<string, string>>): void {
  mkdirSync(variables['OUT']!, { recursive: true });
  const script = join(variables['OUT']!, 'recover.sh');
  writeFileSync(script, RECOVERY);
  const etcdutl = minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor);
  const path = [dirname(program('age')), dirname(program('zstd')), '/usr/bin', '/bin'].join(':');
  execFileSync('/bin/sh', [script], { env: { ...variables, PATH: path, ETCDUTL: etcdutl, ETCDCTL_API: '3' }, stdio: 'pipe' });
}
