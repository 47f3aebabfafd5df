/**
 * Real labels, on files that really carry them: the attribute security.selinux is the file system's, and chcon sets and stat shows it on a kernel without SELinux as well.
 * What such a kernel lacks is the folder by which SELinux is told to be there; a mount namespace of the test's own has one.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startCluster } from '../../support/cluster.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import type { BuildOrder, BuildReport } from './build-child.ts';
import type { LabelOrder } from './label-child.ts';

const BUILD = join(import.meta.dirname, 'build-child.ts');
const REPLACE = join(import.meta.dirname, 'label-child.ts');
const LABEL = 'system_u:object_r:container_file_t:s0:c7,c11';
/** As a kernel with SELinux mounts it, as far as it is looked at. */
const WITH_SELINUX = 'mount -t tmpfs none /sys/fs && mkdir -p /sys/fs/selinux/booleans && exec "$@"';
const IS_ROOT = process.geteuid?.() === 0;
const SPACE = ['unshare', ...(IS_ROOT ? [] : ['--user', '--map-root-user']), '--mount', 'sh', '-c', WITH_SELINUX, 'sh'] as const;

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('labels');
  return () => removeFolder(folder);
});
const at = (...names: string[]): string => join(folder, ...names);

function run(words: readonly string[]): string {
  const [command, ...args] = [...SPACE, ...words];
  const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
}

/** Empty where there is none. */
function labelOf(path: string): string {
  return spawnSync('stat', ['-c', '%C', path], { encoding: 'utf8' }).stdout.trim();
}

function canLabel(): boolean {
  const probe = temporaryFolder('label');
  try {
    run(['chcon', LABEL, probe]);
    return labelOf(probe) === LABEL;
  } catch {
    return false;
  } finally {
    removeFolder(probe);
  }
}
const CAN_LABEL = canLabel();

/** Everything below a folder, and itself. */
function allIn(path: string): string[] {
  return [path, ...readdirSync(path, { recursive: true }).map((name) => join(path, String(name)))];
}

describe.each([CAN_LABEL ? 'the SELinux label' : 'where nobody may set labels, as here, a replacement without one: the label'])(
  '%s',
  () => {
    let common: string;
    let snapshot: string;
    beforeAll(async () => {
      common = temporaryFolder('labelled');
      snapshot = join(common, 'snapshot.db');
      await using cluster = await startCluster({ minor: '3.6' });
      await cluster.fill({ keys: 20, valueBytes: 100, seed: 1 });
      await cluster.etcdctl(['snapshot', 'save', snapshot]);
      return () => removeFolder(common);
    });

    function old(dataDir: string, walDir: string): void {
      mkdirSync(join(dataDir, 'member/snap'), { recursive: true });
      mkdirSync(walDir, { recursive: true });
      writeFileSync(join(dataDir, 'member/snap/db'), 'old');
      writeFileSync(join(walDir, '0000000000000000-0000000000000000.wal'), 'old');
      if (CAN_LABEL) run(['chcon', '--recursive', LABEL, dataDir, walDir]);
    }

    function restore(changes: Partial<BuildOrder>): BuildReport {
      const order: BuildOrder = {
        snapshot,
        initialCluster: 'm1=http://127.0.0.1:2380',
        targets: [{ member: 'm1', dataDir: at('m1') }],
        scratchFolder: common,
        replace: true,
        ...changes,
      };
      const words = [process.execPath, BUILD, JSON.stringify(order)];
      if (CAN_LABEL) return JSON.parse(run(words)) as BuildReport;
      return JSON.parse(execFileSync(words[0]!, words.slice(1), { encoding: 'utf8' })) as BuildReport;
    }

    test('of a data directory comes onto all of the restored one, and of a WAL directory onto its own', () => {
      old(at('m1'), at('m1/member/wal'));
      expect(restore({})).toMatchObject({ ok: true });
      old(at('m2'), at('wal'));
      expect(restore({ targets: [{ member: 'm1', dataDir: at('m2'), walDir: at('wal') }] })).toMatchObject({ ok: true });
      const all = ['m1', 'm2', 'wal'].flatMap((name) => allIn(at(name)));
      expect(all.filter((path) => path.endsWith('/db'))).toHaveLength(2);
      expect(all.filter((path) => path.endsWith('.wal'))).toHaveLength(2);
      if (CAN_LABEL) expect(all.filter((path) => labelOf(path) !== LABEL)).toEqual([]);
    });

    test('is kept whoever is to own it with --owner, and is none where nothing is replaced', () => {
      old(at('m1'), at('m1/member/wal'));
      // Whoever is not root is root of his own namespace, where there is nobody else.
      const owner = IS_ROOT
        ? { uid: 4242, gid: 4243 }
        : CAN_LABEL
          ? { uid: 0, gid: 0 }
          : { uid: process.getuid!(), gid: process.getgid!() };
      expect(restore({ owner })).toMatchObject({ ok: true });
      expect(restore({ owner, targets: [{ member: 'm1', dataDir: at('new') }] })).toMatchObject({ ok: true });
      if (CAN_LABEL) expect(allIn(at('m1')).filter((path) => labelOf(path) !== LABEL)).toEqual([]);
      expect(labelOf(at('new'))).not.toBe(LABEL);
      if (IS_ROOT)
        expect(
          allIn(at('m1'))
            .map((path) => statSync(path))
            .filter(({ uid, gid }) => uid !== 4242 || gid !== 4243),
        ).toEqual([]);
    });

    test('of the directory that a replaced member leaves, and of a file that is changed, stays', () => {
      old(at('m1'), at('m1/member/wal'));
      writeFileSync(at('etcd.env'), 'ETCD_INITIAL_CLUSTER_STATE=new\n');
      if (CAN_LABEL) run(['chcon', LABEL, at('etcd.env')]);
      const order: LabelOrder = { dataDir: at('m1'), file: at('etcd.env') };
      const words = [process.execPath, REPLACE, JSON.stringify(order)];
      if (CAN_LABEL) run(words);
      else execFileSync(words[0]!, words.slice(1));
      expect(readdirSync(at('m1'))).toEqual([]);
      expect(existsSync(at('m1.replaced-NOW/member/snap/db'))).toBe(true);
      expect(readFileSync(at('etcd.env'), 'utf8')).toBe('changed\n');
      if (CAN_LABEL) expect([at('m1'), at('etcd.env')].map(labelOf)).toEqual([LABEL, LABEL]);
    });
  },
);
