import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { detectPlatform, type DetectedPlatform } from './platform.ts';

const FIXTURES = join(import.meta.dirname, '../../../test/fixtures');

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'warden-platform-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function file(path: string, content = ''): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

const detect = (): Promise<DetectedPlatform> => detectPlatform(new AbortController().signal, root);

const UNIT = '[Service]\nExecStart=/usr/bin/etcd --data-dir /srv/etcd --wal-dir=/srv/wal\n';
const MANIFEST = 'spec:\n  containers:\n  - command:\n    - etcd\n    - --data-dir=/var/lib/etcd\n';

describe('the platform of a machine', () => {
  test('is plain where nothing speaks for another one', async () => {
    expect(await detect()).toEqual({
      platform: 'plain',
      reason: 'neither RKE2, k3s, kubeadm nor a systemd unit of etcd is on this machine',
    });
  });

  test('is RKE2 or k3s whatever else is there, since they own their etcd', async () => {
    await file('lib/systemd/system/etcd.service', UNIT);
    await file('etc/kubernetes/manifests/etcd.yaml', MANIFEST);
    await file('etc/rancher/k3s/k3s.yaml');
    expect(await detect()).toEqual({ platform: 'k3s', reason: '/etc/rancher/k3s exists' });
    await file('var/lib/rancher/rke2/server/token');
    expect(await detect()).toEqual({ platform: 'rke2', reason: '/var/lib/rancher/rke2/server exists' });
  });

  test('is kubeadm by the static pod of etcd, which tells where its data are', async () => {
    await file('lib/systemd/system/etcd.service', UNIT);
    await file('etc/kubernetes/manifests/etcd.yaml', MANIFEST);
    expect(await detect()).toEqual({ platform: 'kubeadm', reason: '/etc/kubernetes/manifests/etcd.yaml exists', dataDir: '/var/lib/etcd' });
  });

  test.each(['v1.31.14/etcd', 'v1.31.14/etcd-joined', 'v1.37.2/etcd', 'v1.37.2/etcd-joined', 'v1.37.2/etcd-ipv6'])(
    'is kubeadm by what kubeadm %s wrote',
    async (written) => {
      await file('etc/kubernetes/manifests/etcd.yaml', await readFile(join(FIXTURES, `kubeadm-${written}.yaml`), 'utf8'));
      expect(await detect()).toMatchObject({ platform: 'kubeadm', dataDir: '/var/lib/etcd' });
    },
  );

  test('is kubeadm still while the steps of a restore keep the static pod away', async () => {
    await file('etc/kubernetes/manifests.before-restore/etcd.yaml', MANIFEST);
    expect(await detect()).toMatchObject({ platform: 'kubeadm', reason: '/etc/kubernetes/manifests.before-restore/etcd.yaml exists' });
  });

  test("is systemd by a unit of etcd, the administrator's before the distribution's", async () => {
    await file('lib/systemd/system/etcd.service', UNIT);
    expect(await detect()).toEqual({
      platform: 'systemd',
      reason: 'etcd.service is in /lib/systemd/system',
      unit: 'etcd',
      dataDir: '/srv/etcd',
      walDir: '/srv/wal',
    });
    await file('etc/systemd/system/etcd-member.service', '[Service]\nEnvironment="ETCD_DATA_DIR=/data/etcd"\nExecStart=/usr/bin/etcd\n');
    expect(await detect()).toMatchObject({ unit: 'etcd-member', dataDir: '/data/etcd' });
  });

  test('is not systemd by a unit that is masked, nor by one of another program', async () => {
    await mkdir(join(root, 'etc/systemd/system'), { recursive: true });
    await symlink('/dev/null', join(root, 'etc/systemd/system/etcd.service'));
    await file('lib/systemd/system/etcd.service', UNIT);
    await file('lib/systemd/system/etcd-warden.service', UNIT);
    expect(await detect()).toMatchObject({ platform: 'plain' });
  });

  test('is systemd as Debian sets it up, whose data are where the environment file says, and else where the unit does', async () => {
    await file(
      'lib/systemd/system/etcd.service',
      '[Service]\nEnvironment=DAEMON_ARGS=\nEnvironment=ETCD_NAME=%H\nEnvironment=ETCD_DATA_DIR=/var/lib/etcd/default\nEnvironmentFile=-/etc/default/%p\n#ExecStart=/usr/bin/etcd --data-dir=/no\nExecStart=/usr/bin/etcd $DAEMON_ARGS\n',
    );
    expect(await detect()).toMatchObject({ unit: 'etcd', dataDir: '/var/lib/etcd/default' });
    await file('etc/default/etcd', '# ETCD_DATA_DIR="/commented"\nETCD_DATA_DIR="/srv/etcd"\nETCD_WAL_DIR=/srv/wal\n');
    expect(await detect()).toMatchObject({ dataDir: '/srv/etcd', walDir: '/srv/wal' });
    await file('etc/default/etcd', 'DAEMON_ARGS="--name m1 --data-dir /srv/by-flag"\nETCD_DATA_DIR=/srv/etcd\n');
    expect(await detect()).toMatchObject({ dataDir: '/srv/by-flag' });
  });

  test('is systemd with what was added to the unit: drop-ins in their order, files by a pattern, an empty list', async () => {
    await file('lib/systemd/system/etcd.service', '[Service]\nEnvironmentFile=/etc/old.env\nExecStart=/usr/bin/etcd\n');
    await file('etc/old.env', 'ETCD_DATA_DIR=/old\n');
    await file('etc/systemd/system/etcd.service.d/20-mine.conf', '[Service]\nEnvironmentFile=\nEnvironmentFile=/etc/etcd-*.env\n');
    await file('usr/lib/systemd/system/etcd.service.d/10-theirs.conf', '[Service]\nEnvironment=ETCD_WAL_DIR=/wal\n');
    await file('run/systemd/system/etcd.service.d/README', 'ETCD_WAL_DIR=/read-me\n');
    await file('etc/etcd-1.env', 'ETCD_DATA_DIR=/one\n');
    await file('etc/etcd-2.env', 'ETCD_DATA_DIR=/two\n');
    expect(await detect()).toMatchObject({ dataDir: '/two', walDir: '/wal' });
  });

  test('is systemd with a configuration file, beside which etcd reads nothing else', async () => {
    await file(
      'etc/systemd/system/etcd.service',
      '[Service]\nEnvironment=ETCD_DATA_DIR=/no\nExecStart=/usr/bin/etcd --config-file /etc/etcd/etcd.conf.yml\n',
    );
    expect(await detect()).toEqual({ platform: 'systemd', reason: 'etcd.service is in /etc/systemd/system', unit: 'etcd' });
    await file('etc/etcd/etcd.conf.yml', "name: m1\ndata-dir: '/data/etcd' # ours\n# wal-dir: /no\nwal-dir: /data/wal\n");
    expect(await detect()).toMatchObject({ dataDir: '/data/etcd', walDir: '/data/wal' });
  });

  test('is systemd with flags over several lines and apart from what they are set to', async () => {
    await file(
      'lib/systemd/system/etcd.service',
      '[Service]\nExecStart=/usr/bin/etcd \\\n  --data-dir   /srv/etcd \\\n  --wal-dir \\\n  /srv/wal\n',
    );
    expect(await detect()).toMatchObject({ dataDir: '/srv/etcd', walDir: '/srv/wal' });
  });

  test('a path that holds a variable is no path', async () => {
    await file('lib/systemd/system/etcd.service', '[Service]\nExecStart=/usr/bin/etcd --data-dir=${DATA}\n');
    expect(await detect()).toEqual({ platform: 'systemd', reason: 'etcd.service is in /lib/systemd/system', unit: 'etcd' });
  });

  test('OpenShift is told to use its own procedure', async () => {
    await file('etc/kubernetes/static-pod-resources/etcd-certs/x');
    await file('etc/kubernetes/manifests/etcd-pod.yaml');
    expect((await detect()).reason).toContain('cluster-restore.sh');
  });

  test('is not looked for after an abort', async () => {
    await expect(detectPlatform(AbortSignal.abort(new Error('stop')), root)).rejects.toThrow('stop');
  });
});
