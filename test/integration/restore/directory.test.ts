import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { decodeRestoreRecord } from '../../../src/format/restore-record.ts';
import { buildMembers } from '../../../src/restore/build.ts';
import { program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { restoreContext, snapshotSource } from '../../support/database-source.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { canMount } from '../store/run-child.ts';
import { carryOut, requestOf, type BuildOrder, type BuildReport } from './build-child.ts';

const CHILD = join(import.meta.dirname, 'build-child.ts');
const WAL = '0000000000000000-0000000000000000.wal';
const isRoot = process.getuid?.() === 0;

let common: string;
let snapshot: string;
let cluster: Cluster;
beforeAll(async () => {
  common = temporaryFolder('restore-directory');
  chmodSync(common, 0o755); // for the test that is another user
  snapshot = join(common, 'snapshot.db');
  cluster = await startCluster({ minor: '3.6', members: 1 });
  await cluster.fill({ keys: 300, valueBytes: 1000, seed: 1 });
  await cluster.etcdctl(['snapshot', 'save', snapshot]);
  chmodSync(snapshot, 0o644);
  return async () => {
    await cluster.stop();
    removeFolder(common);
  };
});

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('restore-directory');
  return () => removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);

function order(changes: Partial<BuildOrder> = {}): BuildOrder {
  return {
    snapshot,
    initialCluster: 'm1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380,m3=http://127.0.0.3:2380',
    targets: [{ member: 'm1', dataDir: at('m1') }],
    scratchFolder: common,
    ...changes,
  };
}

/** Runs the order in a process of its own that is started by the command. */
function carryOutBy(command: readonly string[], what: BuildOrder, options: { readonly uid?: number } = {}): BuildReport {
  const [program, ...args] = [...command, process.execPath, CHILD, JSON.stringify(what)];
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000, ...options });
  const report = stdout.split('\n').find((line) => line.startsWith('{'));
  if (report === undefined) throw new Error(`it ended with ${status}: ${stderr}`);
  return JSON.parse(report) as BuildReport;
}

function fillOld(dataDir: string): void {
  mkdirSync(join(dataDir, 'member/wal'), { recursive: true });
  writeFileSync(join(dataDir, 'member/wal', WAL), 'old');
}

describe('fault 72: the directory of an etcd that runs', () => {
  test('is in use, also when it is to be replaced, and says who uses it', async () => {
    const { dataDir, pid } = cluster.members[0]!;
    for (const replace of [false, true]) {
      expect(await carryOut(order({ replace, targets: [{ member: 'm1', dataDir }] }))).toMatchObject({
        ok: false,
        code: 'refused',
        message: expect.stringMatching(new RegExp(`^${dataDir} is in use: process ${pid} \\(etcd\\) has .* open$`)),
        hint: 'stop the etcd of m1 first',
      });
    }
    expect(readdirSync(dirname(dataDir)).filter((name) => name.includes('restore'))).toEqual([]);
  });

  test.runIf(canMount)('is in use also where none of its processes can be seen', () => {
    const { dataDir } = cluster.members[0]!;
    const elsewhere = ['unshare', '-rpf', '--mount-proc'];
    expect(carryOutBy(elsewhere, order({ replace: true, targets: [{ member: 'm1', dataDir }] }))).toMatchObject({
      code: 'refused',
      message: expect.stringMatching(/is in use: a process (that cannot be seen from here )?holds (a|the) lock on .*/),
    });
  });

  test('is refused to a member that the cluster does not have, and to one twice', async () => {
    const [one, two] = [at('a'), at('b')];
    expect(await carryOut(order({ targets: [{ member: 'm4', dataDir: one }] }))).toMatchObject({
      code: 'usage',
      message: 'the initial cluster has no member "m4"',
      hint: 'it has m1, m3, m2',
    });
    const twice = [one, two].map((dataDir) => ({ member: 'm1', dataDir }));
    expect(await carryOut(order({ targets: twice }))).toMatchObject({ code: 'usage', message: 'member m1 is to be made twice' });
    expect(await carryOut(order({ targets: [] }))).toMatchObject({ code: 'usage' });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('members that are built', () => {
  test('on one machine come of one read, differ in their logs alone, and have their records', async () => {
    let reads = 0;
    const request = requestOf(order({ targets: ['m1', 'm2', 'm3'].map((member) => ({ member, dataDir: at(member) })) }));
    const source = snapshotSource(readFileSync(snapshot), { onBlock: (offset) => (reads += offset === 0 ? 1 : 0) });
    const { record, targets } = await buildMembers({ ...request, source }, restoreContext());
    expect(reads).toBe(1);
    const databases = targets.map(({ dataDir }) => readFileSync(join(dataDir, 'member/snap/db')));
    expect(databases.every((database) => database.equals(databases[0]!))).toBe(true);
    const logs = targets.map(({ dataDir }) => readFileSync(join(dataDir, 'member/wal', WAL)).toString('latin1'));
    expect(new Set(logs).size).toBe(3);
    for (const { dataDir, record: path } of targets) {
      expect(path).toBe(`${dataDir}.restore.json`);
      expect(decodeRestoreRecord(readFileSync(path))).toEqual(record);
    }
    expect(readdirSync(folder).sort()).toEqual(['m1', 'm1.restore.json', 'm2', 'm2.restore.json', 'm3', 'm3.restore.json']);
  });

  test('have files and folders that are theirs alone, and logs that take no room yet', async () => {
    expect(await carryOut(order())).toMatchObject({ ok: true });
    const modes = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => {
      const { mode } = statSync(at(name));
      return `${name} ${(mode & 0o777).toString(8)}`;
    });
    expect(modes.sort()).toEqual([
      'm1 700',
      'm1.restore.json 600',
      'm1/member 700',
      'm1/member/snap 700',
      'm1/member/snap/0000000000000001-0000000000000003.snap 600',
      'm1/member/snap/db 600',
      'm1/member/wal 700',
      `m1/member/wal/${WAL} 600`,
    ]);
    expect(statSync(at('m1/member/wal', WAL))).toMatchObject({ size: 64_000_000 });
    expect(statSync(at('m1/member/wal', WAL)).blocks * 512).toBeLessThan(2 ** 20);
  });

  test('keep what they replace, with its record and the mode of the directory', async () => {
    const now = new Date('2026-11-23T12:34:56.789Z');
    fillOld(at('m1'));
    chmodSync(at('m1'), 0o750);
    writeFileSync(at('m1.restore.json'), 'old record');
    const { targets } = await buildMembers(requestOf(order({ replace: true })), { ...restoreContext(), now: () => now });
    const kept = at('m1.before-restore-20261123T123456Z');
    expect(targets[0]!.kept).toEqual([kept]);
    expect(readFileSync(join(kept, 'member/wal', WAL), 'utf8')).toBe('old');
    expect(readFileSync(`${kept}.restore.json`, 'utf8')).toBe('old record');
    expect(statSync(at('m1')).mode & 0o777).toBe(0o750);
    // Another one within the same second.
    const again = await buildMembers(requestOf(order({ replace: true })), { ...restoreContext(), now: () => now });
    expect(again.targets[0]!.kept).toEqual([`${kept}-2`]);
  });

  test('have their WAL where they are told: elsewhere, in the data directory, and both replaced', async () => {
    const targets = [
      { member: 'm1', dataDir: at('m1'), walDir: at('logs') },
      { member: 'm2', dataDir: at('m2'), walDir: at('m2/wal') },
    ];
    mkdirSync(at('logs'));
    expect(await carryOut(order({ targets }))).toMatchObject({ ok: true, kept: [] });
    expect([readdirSync(at('logs')), readdirSync(at('m2/wal'))]).toEqual([[WAL], [WAL]]);
    expect([existsSync(at('m1/member/wal')), existsSync(at('m2/member/wal'))]).toEqual([false, false]);
    const report = await carryOut(order({ targets, replace: true }));
    expect(report).toMatchObject({ ok: true });
    const kept = report.ok ? report.kept : [];
    expect(kept.map((path) => path.slice(folder.length).replace(/\d{8}T\d{6}Z/, 'TIME'))).toEqual([
      '/logs.before-restore-TIME',
      '/m1.before-restore-TIME',
      '/m2.before-restore-TIME',
    ]);
    expect(readdirSync(kept[0]!)).toEqual([WAL]);
    expect(readdirSync(at('logs'))).toEqual([WAL]);
  });

  test('are all put back as they were when the last of them finds its place taken', async () => {
    const request = requestOf(
      order({
        replace: true,
        targets: [
          { member: 'm1', dataDir: at('m1'), walDir: at('logs') },
          { member: 'm2', dataDir: at('m2') },
        ],
      }),
    );
    fillOld(at('m1'));
    mkdirSync(at('logs'));
    writeFileSync(at('logs', WAL), 'old log');
    let calls = 0;
    const taken = (): Date => {
      // Between the last look and the first rename, as an etcd that somebody starts.
      calls += 1;
      if (calls === 2) fillOld(at('m2'));
      return new Date();
    };
    await expect(buildMembers(request, { ...restoreContext(), now: taken })).rejects.toMatchObject({
      code: 'refused',
      message: `${at('m2')} came to hold something while the restore was being built`,
    });
    expect(readdirSync(folder).sort()).toEqual(['logs', 'm1', 'm2']);
    expect(readFileSync(at('m1/member/wal', WAL), 'utf8')).toBe('old');
    expect(readdirSync(at('logs'))).toEqual([WAL]);
    expect(readFileSync(at('logs', WAL), 'utf8')).toBe('old log');
  });

  test('do not move an etcd away that was started while they were built', async () => {
    fillOld(at('m1'));
    const request = requestOf(order({ replace: true, targets: [{ member: 'm1', dataDir: at('m1') }] }));
    let user: ChildProcess | undefined;
    const source = snapshotSource(readFileSync(snapshot), {
      onBlock: () => {
        if (user !== undefined) return;
        const file = openSync(at('m1/member/wal', WAL), 'r');
        user = spawn('sleep', ['1000'], { stdio: [file, 'ignore', 'ignore'] });
        closeSync(file);
      },
    });
    try {
      await expect(buildMembers({ ...request, source }, restoreContext())).rejects.toThrow(
        /m1 is in use: process \d+ \(sleep\) has .*\.wal open$/,
      );
    } finally {
      user?.kill('SIGKILL');
    }
    fillOld(at('m2'));
    const changed = snapshotSource(readFileSync(snapshot), { onBlock: () => writeFileSync(at('m2/new'), '') });
    const targets = [{ member: 'm2', dataDir: at('m2'), walDir: undefined }];
    await expect(buildMembers({ ...request, source: changed, targets }, restoreContext())).rejects.toThrow(/came to hold something/);
    expect(readdirSync(folder).sort()).toEqual(['m1', 'm2']);
  });

  test('are gone without a trace when the source fails midway, or the restore is stopped', async () => {
    const bytes = readFileSync(snapshot);
    const bad = snapshotSource(bytes, {
      onBlock: (offset) => {
        if (offset > 0) throw new Error('the copy broke off');
      },
    });
    await expect(buildMembers({ ...requestOf(order()), source: bad }, restoreContext())).rejects.toThrow('the copy broke off');
    const stop = new AbortController();
    const slow = snapshotSource(bytes, { onBlock: () => stop.abort(new Error('stopped')) });
    await expect(buildMembers({ ...requestOf(order()), source: slow }, restoreContext(stop.signal))).rejects.toThrow('stopped');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('a disk', () => {
  test.each([
    ['in the database', 100],
    ['in the log', 2_000],
  ])('that is full %s leaves nothing behind', (_, kibibytes) => {
    // A limit on the length of files is the full disk that a check before cannot see. In units of 512 bytes in POSIX shells.
    const limited = ['sh', '-c', `ulimit -f ${2 * kibibytes} && exec "$@"`, 'sh'];
    expect(carryOutBy(limited, order())).toMatchObject({ ok: false, code: 'disk-full' });
    expect(readdirSync(folder)).toEqual([]);
  });

  test.runIf(canMount)('that is too small is refused before anything is written, and said what would fit', () => {
    mkdirSync(at('disk'));
    const mounted = [
      'unshare',
      '-rm',
      'sh',
      '-c',
      `mount -t tmpfs -o size=60m tmpfs ${at('disk')} && "$@"; echo; find ${at('disk')} -type f`,
      'sh',
    ];
    const report = carryOutBy(mounted, order({ targets: [{ member: 'm1', dataDir: at('disk/m1') }] }));
    expect(report).toMatchObject({
      ok: false,
      code: 'disk-full',
      message: expect.stringMatching(/is too small: \d+ bytes are free, \d+ are needed/),
    });
    expect(report.ok ? '' : report.hint).toMatch(/for the database of m1, 64000000 for the WAL of m1; free \d+ bytes/);
  });

  test.runIf(canMount)('that has no room for the file that etcdutl reads is restored to without it', () => {
    mkdirSync(at('disk'));
    // The log is sparse, but counted: 64 MB and 1 MiB, the database, and not as much again.
    const size = 64_000_000 + 2 ** 20 + Math.ceil(1.5 * statSync(snapshot).size);
    const mounted = ['unshare', '-rm', 'sh', '-c', `mount -t tmpfs -o size=${size} tmpfs ${at('disk')} && "$@"`, 'sh'];
    const asked = { etcdutl: program('etcdutl', '3.6'), targets: [{ member: 'm1', dataDir: at('disk/m1') }] };
    expect(carryOutBy(mounted, order({ ...asked, builder: 'auto' }))).toMatchObject({
      ok: true,
      builder: 'native',
      reason: 'there is no room for the plain file that etcdutl reads',
    });
    expect(carryOutBy(mounted, order({ ...asked, builder: 'etcdutl' }))).toMatchObject({ ok: false, code: 'disk-full' });
  });

  test.runIf(canMount)('that is the data directory itself, and another one the WAL directory, are filled inside', () => {
    for (const name of ['data', 'logs']) mkdirSync(at(name));
    const what = order({ targets: [{ member: 'm1', dataDir: at('data'), walDir: at('logs') }] });
    const replace = JSON.stringify({ ...what, replace: true });
    const script = [
      `mount -t tmpfs tmpfs ${at('data')} && mount -t tmpfs tmpfs ${at('logs')} && mkdir ${at('data/lost+found')}`,
      '"$@"; echo',
      `find ${at('data')} ${at('logs')} -type f | sort`,
      `"$1" "$2" '${replace}'; echo`,
      `find ${at('data')} ${at('logs')} -type f | sort`,
    ].join('\n');
    const { stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', process.execPath, CHILD, JSON.stringify(what)], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    const lines = stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (line.startsWith('{') ? line : line.slice(folder.length).replace(/\d{8}T\d{6}Z/, 'TIME')));
    expect(
      lines.filter((line) => line.startsWith('{')).map((line) => (JSON.parse(line) as BuildReport).ok),
      stderr,
    ).toEqual([true, true]);
    const whole = ['/data/member/snap/0000000000000001-0000000000000003.snap', '/data/member/snap/db', `/logs/${WAL}`];
    const old = [
      '/data/member.before-restore-TIME/snap/0000000000000001-0000000000000003.snap',
      '/data/member.before-restore-TIME/snap/db',
      `/logs/logs.before-restore-TIME/${WAL}`,
    ];
    expect(lines.filter((line) => !line.startsWith('{')).sort()).toEqual([...whole, ...whole, ...old].sort());
    expect(
      readdirSync(folder)
        .filter((name) => name.includes('restore'))
        .sort(),
    ).toEqual([expect.stringMatching(/^data\.before-restore-.*\.restore\.json$/), 'data.restore.json']);
  });
});

describe.runIf(isRoot)('the owner', () => {
  test('is the one of what is replaced, else of the folder around, or whoever is named', async () => {
    fillOld(at('m1'));
    chownSync(at('m1'), 1234, 2345);
    expect(await carryOut(order({ replace: true }))).toMatchObject({ ok: true });
    chownSync(folder, 3456, 4567);
    const around = [{ member: 'm2', dataDir: at('m2'), walDir: at('logs') }];
    expect(await carryOut(order({ targets: around }))).toMatchObject({ ok: true });
    const named = order({ owner: { uid: 11, gid: 22 }, targets: [{ member: 'm3', dataDir: at('m3') }] });
    expect(await carryOut(named)).toMatchObject({ ok: true });
    const owners = (name: string): string[] => {
      const paths = [name, ...readdirSync(at(name), { recursive: true, encoding: 'utf8' }).map((below) => join(name, below))];
      return [...new Set(paths.map((path) => `${statSync(at(path)).uid}:${statSync(at(path)).gid}`))];
    };
    expect(['m1', 'm2', 'logs', 'm3'].map(owners)).toEqual([['1234:2345'], ['3456:4567'], ['3456:4567'], ['11:22']]);
  });

  test('who is not root is refused what he may not give away, or may not write to', () => {
    chmodSync(folder, 0o755);
    const nobody = { uid: 65_534 };
    const theirs = order({ targets: [{ member: 'm1', dataDir: at('m1') }] });
    expect(carryOutBy([], theirs, nobody)).toMatchObject({
      code: 'refused',
      message: `${at('m1')} cannot be made: this process, of user 65534, may not write to ${folder}`,
    });
    mkdirSync(at('open'));
    chmodSync(at('open'), 0o777);
    const away = order({ owner: { uid: 1, gid: 1 }, targets: [{ member: 'm1', dataDir: at('open/m1') }] });
    expect(carryOutBy([], away, nobody)).toMatchObject({
      code: 'refused',
      message: `${at('open/m1')} is to belong to user 1 and group 1, and this process, of user 65534, may not give files away`,
    });
  });
});
