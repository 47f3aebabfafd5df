import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RESTORE_CRASH_POINTS } from '../../../src/crash-points.ts';
import { decodeRestoreRecord } from '../../../src/format/restore-record.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { startCluster } from '../../support/cluster.ts';
import { newSites, startRestored } from '../../support/restored.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { carryOut, type BuildOrder } from './build-child.ts';

const CHILD = join(import.meta.dirname, 'build-child.ts');
type Point = (typeof RESTORE_CRASH_POINTS)[number];
/** Those that only a WAL directory of its own passes. */
const OF_TWO: ReadonlySet<Point> = new Set(['restore-wal-blocked', 'restore-old-wal-aside', 'restore-wal-put']);

let common: string;
let snapshot: string;
beforeAll(async () => {
  common = temporaryFolder('restore-crash');
  snapshot = join(common, 'snapshot.db');
  await using cluster = await startCluster({ minor: '3.4', members: 1 });
  await cluster.etcdctl(['put', 'kept', 'as it was']);
  await cluster.etcdctl(['snapshot', 'save', snapshot]);
  return () => removeFolder(common);
});

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('restore-crash');
  return () => removeFolder(folder);
});

function order(changes: Partial<BuildOrder> = {}): BuildOrder {
  return {
    snapshot,
    initialCluster: 'm1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380',
    targets: [{ member: 'm1', dataDir: join(folder, 'm1') }],
    scratchFolder: common,
    replace: true,
    ...changes,
  };
}

function crashAt(point: Point, what: BuildOrder): boolean {
  const environment = { PATH: process.env['PATH'], ETCD_WARDEN_TEST: '1', ETCD_WARDEN_CRASH_AT: point };
  const { signal, status, stderr } = spawnSync(process.execPath, [CHILD, JSON.stringify(what)], { encoding: 'utf8', env: environment });
  if (signal !== 'SIGKILL' && status !== 0) throw new Error(`the child ended with ${status}: ${stderr}`);
  return signal === 'SIGKILL';
}

/** A directory as an etcd of before leaves it. */
function fillOld(dataDir: string, walDir?: string): void {
  mkdirSync(join(dataDir, 'member/snap'), { recursive: true });
  writeFileSync(join(dataDir, 'member/snap/db'), 'old');
  const wal = walDir ?? join(dataDir, 'member/wal');
  mkdirSync(wal, { recursive: true });
  for (const name of ['0000000000000001-0000000000000abc.wal', '0000000000000002-0000000000001def.wal'])
    writeFileSync(join(wal, name), `old ${name}`);
}

const namesIn = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);
/** Every file anywhere that holds what the old etcd wrote. */
function oldFiles(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile() && /^db$|\.wal$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => statSync(path).size < 64 && readFileSync(path, 'utf8').startsWith('old'));
}

function isWhole(dataDir: string, walDir = join(dataDir, 'member/wal')): boolean {
  return (
    namesIn(join(dataDir, 'member/snap')).sort().join() === '0000000000000001-0000000000000002.snap,db' &&
    readFileSync(join(dataDir, 'member/snap/db')).length > 1000 &&
    namesIn(walDir).includes('0000000000000000-0000000000000000.wal')
  );
}

describe('a restore that is killed', () => {
  test.each(RESTORE_CRASH_POINTS.filter((point) => !OF_TWO.has(point)))(
    'at %s leaves the whole directory or none, the old one findable, and the next run clears up',
    async (point) => {
      const dataDir = join(folder, 'm1');
      fillOld(dataDir);
      expect(crashAt(point, order())).toBe(true);
      expect(oldFiles()).toHaveLength(3);
      const put = ['restore-data-put', 'restore-published'].includes(point);
      expect(isWhole(dataDir)).toBe(put);
      // Not a byte of it lies where etcd would look before all of it does.
      if (!put) expect(existsSync(dataDir) ? readFileSync(join(dataDir, 'member/snap/db'), 'utf8') : 'old').toBe('old');
      if (put) decodeRestoreRecord(readFileSync(`${dataDir}.restore.json`));

      expect(await carryOut(order())).toMatchObject({ ok: true });
      expect(isWhole(dataDir)).toBe(true);
      expect(oldFiles()).toHaveLength(3);
      expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
    },
  );

  test.each(RESTORE_CRASH_POINTS)('at %s with a WAL directory of its own leaves a pair, or what etcd does not start on', async (point) => {
    const [dataDir, walDir] = [join(folder, 'm1'), join(folder, 'logs/m1')];
    fillOld(dataDir, walDir);
    const what = order({ targets: [{ member: 'm1', dataDir, walDir }] });
    expect(crashAt(point, what)).toBe(true);
    expect(oldFiles()).toHaveLength(3);
    const whole = isWhole(dataDir, walDir);
    expect(whole).toBe(['restore-wal-put', 'restore-published'].includes(point));
    const logs = namesIn(walDir).filter((name) => /^[0-9a-f]{16}-[0-9a-f]{16}\.wal$/.test(name));
    const old = existsSync(dataDir) && readFileSync(join(dataDir, 'member/snap/db'), 'utf8') === 'old';
    // Old with old, new with new; anything else has no log at all, and the file that keeps etcd from starting.
    if (!whole && !(old && logs.length === 2)) {
      expect(logs).toEqual([]);
      expect(namesIn(walDir)).toContain('unfinished-restore.wal');
    }
    expect(await carryOut(what)).toMatchObject({ ok: true });
    expect(isWhole(dataDir, walDir)).toBe(true);
    expect(oldFiles()).toHaveLength(3);
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(readdirSync(join(folder, 'logs')).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(namesIn(walDir)).not.toContain('unfinished-restore.wal');
  });

  test('the next run needs no --replace where nothing was there before', async () => {
    const what = order({ replace: false, targets: [{ member: 'm1', dataDir: join(folder, 'm1'), walDir: join(folder, 'wal') }] });
    for (const point of ['restore-wal-blocked', 'restore-data-put'] as const) {
      expect(crashAt(point, what)).toBe(true);
    }
    expect(await carryOut(what)).toMatchObject({ ok: true, kept: [] });
    expect(readdirSync(folder).sort()).toEqual(['m1', 'm1.restore.json', 'wal']);
    expect(readdirSync(join(folder, 'wal'))).toEqual(['0000000000000000-0000000000000000.wal']);
  });

  test('of two members on one machine both or none are there before the first is put in its place', async () => {
    const targets = ['m1', 'm2'].map((member) => ({ member, dataDir: join(folder, member) }));
    expect(crashAt('restore-built', order({ targets }))).toBe(true);
    expect(targets.map(({ dataDir }) => existsSync(dataDir))).toEqual([false, false]);
    expect(crashAt('restore-data-put', order({ targets }))).toBe(true);
    // The second lies complete beside its place; the next run builds both anew all the same.
    expect(targets.map(({ dataDir }) => isWhole(dataDir))).toEqual([true, false]);
    expect(await carryOut(order({ targets }))).toMatchObject({
      ok: true,
      kept: [expect.stringMatching(/m1\.before-restore-\d{8}T\d{6}Z$/)],
    });
    expect(targets.map(({ dataDir }) => isWhole(dataDir))).toEqual([true, true]);
  });
});

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  test('ends at once on either half of a pair, and starts on both', async () => {
    const [site] = await newSites(1, folder);
    const walDir = join(folder, 'log');
    const initialCluster = `m1=${site!.peer}`;
    const what = order({ initialCluster, minor, replace: false, targets: [{ member: 'm1', dataDir: site!.dataDir, walDir }] });
    const flags = [
      `--name=m1`,
      `--wal-dir=${walDir}`,
      `--initial-cluster=${initialCluster}`,
      `--initial-advertise-peer-urls=${site!.peer}`,
    ];
    const urls = [`--listen-peer-urls=${site!.peer}`, `--listen-client-urls=${site!.client}`, `--advertise-client-urls=${site!.client}`];
    const attempt = (dataDir: string): ReturnType<typeof spawnSync> =>
      spawnSync(program('etcd', minor), [`--data-dir=${dataDir}`, ...flags, ...urls], { encoding: 'utf8', timeout: 60_000 });

    expect(crashAt('restore-wal-blocked', what)).toBe(true);
    const alone = attempt(join(folder, 'empty'));
    expect(alone.signal).toBeNull();
    expect(alone.status).not.toBe(0);
    expect(String(alone.stdout) + String(alone.stderr)).toContain('unfinished-restore.wal');

    expect(crashAt('restore-data-put', what)).toBe(true);
    expect(existsSync(join(site!.dataDir, 'member/snap/db'))).toBe(true);
    const half = attempt(site!.dataDir);
    expect(half.signal).toBeNull();
    expect(half.status).not.toBe(0);
    expect(readdirSync(walDir)).toEqual(['unfinished-restore.wal']);

    expect(await carryOut(what)).toMatchObject({ ok: true, kept: [] });
    // Also with what keeps it from starting still there, as between the last two steps.
    writeFileSync(join(walDir, 'unfinished-restore.wal'), '{}');
    await using restored = await startRestored({ minor, sites: [site!], token: 'token', flags: [`--wal-dir=${walDir}`] });
    expect(await restored.etcdctl(['get', 'kept', '--print-value-only'])).toBe('as it was\n');
  });
});
