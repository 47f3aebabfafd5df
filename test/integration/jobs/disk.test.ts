import { spawnSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { readCatalog } from '../../../src/catalog/read.ts';
import { runJob } from '../../../src/jobs/run.ts';
import { withStores } from '../../../src/jobs/stores.ts';
import { temporaryName } from '../../../src/store/temporary.ts';
import { program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startProcess, until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { runWarden, startDaemon, startWarden, type Daemon, type WardenResult } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { canMount } from '../store/run-child.ts';

const WARDEN = join(import.meta.dirname, '../../../bin/etcd-warden');

let small: Cluster;
/** 19 MB that do not compress: long enough at a limited rate for something to happen meanwhile. */
let large: Cluster;
let folder: string;

beforeAll(async () => {
  [small, large] = await Promise.all([startCluster({ minor: '3.6', members: 1 }), startCluster({ minor: '3.6', members: 1 })]);
  await small.fill({ keys: 100, valueBytes: 2000, seed: 1 });
  await large.fill({ keys: 3200, valueBytes: 6000, seed: 2, compressible: false });
});
afterAll(() => Promise.all([small?.stop(), large?.stop()]));
beforeEach(() => {
  folder = temporaryFolder('disk');
  return () => removeFolder(folder);
});

const subject = (cluster: Cluster, backup: Record<string, unknown> = {}): Product =>
  product({ folder, cluster, clusterOptions: { coordinate: false, backup } });

/** With four seconds for the whole stream there is time to meddle with the disk. */
const SLOW = { maxRate: '5MiB' };

interface Failure {
  readonly error: { readonly code: string; readonly message: string };
}

const backup = (of: Product, executable?: string): Promise<WardenResult> =>
  runWarden(['backup', '--config', of.configPath, '--json'], executable === undefined ? {} : { executable });

async function listed(of: Product): Promise<string[]> {
  const { signal, logger } = of.context();
  const { backups } = await withStores(of.config, ['disk'], logger, (stores) => readCatalog(stores, 'main', { signal }));
  return backups.filter(({ state }) => state === 'complete').map(({ id }) => id);
}

const namesIn = (path: string): string[] => (existsSync(path) ? readdirSync(path, { recursive: true, encoding: 'utf8' }) : []);
const filesIn = (path: string): string[] => namesIn(path).filter((name) => lstatSync(join(path, name)).isFile());

/** The stream is under way. */
async function spooled(disk: string): Promise<void> {
  const folderOfSpool = join(disk, '.tmp');
  await until(
    () => filesIn(folderOfSpool).some((name) => (statSync(join(folderOfSpool, name), { throwIfNoEntry: false })?.size ?? 0) > 1_000_000),
    'no spool',
  );
}

/** An executable that runs the warden from a shell, as `"$@"` of the script. */
function within(script: string, ...args: readonly string[]): string {
  const path = join(folder, `within-${namesIn(folder).length}.mjs`);
  const command = ['sh', '-c', script, 'sh', ...args, process.execPath, WARDEN];
  writeFileSync(path, `process.execve('/bin/sh', [...${JSON.stringify(command)}, ...process.argv.slice(2)], process.env);`);
  return path;
}

interface OwnDisk {
  /** Runs the warden where the disk is mounted. */
  readonly executable: string;
  /** The disk, as seen from here. */
  readonly view: string;
  mount(options: string): void;
  /** Takes all room but so many bytes. */
  fill(leave: number): void;
  free(): void;
}

/** A file system of its own at `path`, that nobody else sees. */
async function ownDisk(path: string, options: string): Promise<OwnDisk> {
  mkdirSync(path, { recursive: true });
  const script = 'mount -t tmpfs -o "$1" tmpfs "$2" && echo mounted && exec sleep 600';
  const holder = startProcess('unshare', ['-rm', 'sh', '-c', script, 'sh', options, path]);
  onTestFinished(() => holder.stop());
  await until(
    () => holder.output().includes('mounted'),
    () => holder.output(),
  );
  const enter = ['nsenter', '-t', String(holder.pid), '-U', '-m', '--preserve-credentials', '--'];
  const view = `/proc/${holder.pid}/root${path}`;
  const ballast = join(view, 'ballast');
  return {
    executable: within('exec "$@"', ...enter),
    view,
    mount(changed) {
      const { status, stderr } = spawnSync(enter[0]!, [...enter.slice(1), 'mount', '-o', `remount,${changed}`, path], { encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
    },
    fill(leave) {
      const { bavail, bsize } = statfsSync(view);
      try {
        writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - leave)));
      } catch (error) {
        // Somebody else wrote meanwhile: full it is.
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    },
    free: () => rmSync(ballast),
  };
}

describe.runIf(canMount)('fault 20: a disk of its own', () => {
  test('without room for the first byte: refused before the stream, with path, free and needed bytes; with room the next run succeeds', async () => {
    const of = subject(large);
    const disk = await ownDisk(of.disk, 'size=8m');
    const failed = await backup(of, disk.executable);
    expect(failed.code, failed.stderr).toBe(1);
    expect(failed.json<Failure>().error).toMatchObject({ code: 'disk-full' });
    expect(failed.json<Failure>().error.message).toMatch(new RegExp(`${of.disk} has no room: \\d+ bytes free, \\d+ needed`));
    expect(filesIn(disk.view)).toEqual([]);
    disk.mount('size=64m');
    const next = await backup(of, disk.executable);
    expect(next.code, next.stderr).toBe(0);
  });

  test('that fills up in the middle of the stream: nothing stays, and the next run succeeds', async () => {
    const of = subject(large, SLOW);
    const disk = await ownDisk(of.disk, 'size=64m');
    const running = startWarden(['backup', '--config', of.configPath, '--json'], { executable: disk.executable });
    await spooled(disk.view);
    disk.fill(1_000_000);
    const failed = await running.done;
    expect(failed.code, failed.stderr).toBe(1);
    expect(failed.json<Failure>().error.code).toBe('disk-full');
    expect(failed.json<Failure>().error.message).toMatch(new RegExp(`${of.disk}/.*ENOSPC.* \\d+ bytes free, about \\d+ more needed`));
    expect(filesIn(disk.view)).toEqual(['ballast']);
    disk.free();
    const next = await backup(subject(large), disk.executable);
    expect(next.code, next.stderr).toBe(0);
  });

  test('that is one of two: the other has its backup all the same, and the copy follows when there is room', async () => {
    const second = join(folder, 'second');
    const of = product({
      folder,
      cluster: small,
      clusterOptions: { coordinate: false },
      options: { stores: { disk: { type: 'local', path: join(folder, 'backups') }, second: { type: 'local', path: second } } },
    });
    const disk = await ownDisk(of.disk, 'size=16m');
    disk.fill(1_000_000);
    const made = await backup(of, disk.executable);
    expect(made.code, made.stderr).toBe(3);
    expect(made.json()).toMatchObject({
      outcome: 'partial',
      stores: [
        { store: 'disk', outcome: 'failed', error: { code: 'disk-full' } },
        { store: 'second', outcome: 'stored' },
      ],
    });
    expect(filesIn(disk.view)).toEqual(['ballast']);
    disk.free();
    const copied = await runWarden(['copy', '--missing', '--config', of.configPath, '--json'], { executable: disk.executable });
    expect(copied.code, copied.stderr).toBe(0);
    const whole = filesIn(join(disk.view, 'main')).toSorted();
    expect(whole).toHaveLength(3); // data, key index, manifest
    expect(whole.filter((name) => !readFileSync(join(disk.view, 'main', name)).equals(readFileSync(join(second, 'main', name))))).toEqual(
      [],
    );
  });

  test('the daemon shows disk_full 1 while it is full, tries again, and shows 0 after the first success', async () => {
    const of = subject(small, { schedule: '*/2 * * * * *', retryDelay: '100ms' });
    const disk = await ownDisk(of.disk, 'size=16m');
    disk.fill(1_000_000);
    await using daemon = await startDaemon(configOf(of), { executable: disk.executable });
    await metric(daemon, 'etcd_warden_disk_full', 1);
    expect(filesIn(disk.view)).toEqual(['ballast']);
    disk.free();
    await metric(daemon, 'etcd_warden_disk_full', 0);
    expect(await daemon.metric('etcd_warden_backups_total', { outcome: 'complete' })).toBeGreaterThan(0);
    expect((await daemon.get('/healthz')).status).toBe(200);
  });

  test('fault 22: a file system that has become read-only is named, and nothing else is tried', async () => {
    const of = subject(small);
    const disk = await ownDisk(of.disk, 'size=16m');
    expect((await backup(of, disk.executable)).code).toBe(0);
    disk.mount('ro');
    const failed = await backup(of, disk.executable);
    expect(failed.code).toBe(1);
    expect(failed.json<Failure>().error).toMatchObject({ code: 'store-unavailable', message: expect.stringContaining('read-only') });
    disk.mount('rw');
    expect((await backup(of, disk.executable)).code).toBe(0);
  });
});

describe('fault 20: a limit that is met', () => {
  test.each(['first', 'last'] as const)(
    'with the %s kilobyte of the data: nothing is visible, and the next run succeeds',
    async (which) => {
      const of = subject(small);
      const whole = await of.backup();
      rmSync(of.disk, { recursive: true });
      // In units of 512 bytes.
      const limit = which === 'first' ? 0 : Math.floor((whole.storedBytes - 1) / 512);
      const failed = await backup(of, within('ulimit -f "$1"; shift; exec "$@"', String(limit)));
      expect(failed.code, failed.stderr).toBe(1);
      expect(failed.json<Failure>().error).toMatchObject({
        code: 'disk-full',
        message: expect.stringMatching(/bytes free, about \d+ more needed/),
      });
      expect(filesIn(of.disk)).toEqual([]);
      expect((await of.backup()).outcome).toBe('complete');
    },
  );
});

describe('fault 21: the device fails', () => {
  test.each(['fdatasync', 'fsync'] as const)('at %s: the run fails, no file is synced a second time, nothing is listed', async (call) => {
    const of = subject(small);
    const trace = join(folder, 'trace');
    const flags = ['-f', '-y', '-qq', '-e', 'signal=none', '-e', `trace=${call}`, '-e', `inject=${call}:error=EIO`, '-o', trace];
    const failed = await backup(of, within('exec "$@"', program('strace'), ...flags));
    expect(failed.code, failed.stderr).toBe(1);
    expect(failed.json<Failure>().error).toMatchObject({ code: 'disk-failed', message: expect.stringContaining('EIO') });
    const synced = readFileSync(trace, 'utf8')
      .split('\n')
      .flatMap((line) => /\w+\(\d+<([^>]+)>/.exec(line)?.slice(1, 2) ?? []);
    expect(synced.length).toBeGreaterThan(0);
    expect(synced).toEqual([...new Set(synced)]);
    expect(await listed(of)).toEqual([]);
    expect(filesIn(of.disk)).toEqual([]);
    expect((await of.backup()).outcome).toBe('complete');
  });
});

describe('fault 22: the folder is not what it was', () => {
  test('a file stands in its place: refused, and the file is left as it is', async () => {
    const of = subject(small);
    writeFileSync(of.disk, 'mine');
    await expect(of.backup()).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining(`${of.disk} is a file`),
    });
    expect(readFileSync(of.disk, 'utf8')).toBe('mine');
  });

  test('it is a link to /etc: refused with exit code 14, and nothing is made there', async () => {
    const of = subject(small);
    symlinkSync('/etc', of.disk);
    const failed = await backup(of);
    expect(failed.code, failed.stderr).toBe(14);
    expect(failed.json<Failure>().error).toMatchObject({ code: 'refused', message: expect.stringContaining('leads to /etc') });
    expect(existsSync('/etc/.tmp')).toBe(false);
    expect(existsSync('/etc/main')).toBe(false);
  });

  test('it is removed while a backup runs: that run fails and makes no new one in its place; the next run succeeds', async () => {
    const of = subject(large, SLOW);
    const running = of.backup();
    running.catch(() => undefined);
    await spooled(of.disk);
    rmSync(of.disk, { recursive: true });
    await expect(running).rejects.toMatchObject({ code: 'disk-failed', message: expect.stringContaining(of.disk) });
    expect(filesIn(of.disk)).toEqual([]);
    expect((await subject(large).backup()).outcome).toBe('complete');
  });
});

test('fault 24: temporary files of another version, of a living process and of another user survive the sweep', async () => {
  const of = subject(small);
  await of.backup();
  const others = ['warden-4711.partial', 'upload-1.tmp', temporaryName()];
  for (const name of others) writeFileSync(join(of.disk, '.tmp', name), 'x');
  const dead = spawnSync(process.execPath, ['--input-type=module', '--eval', PRINT_A_NAME], { encoding: 'utf8', cwd: import.meta.dirname });
  const leftover = dead.stdout.trim();
  expect(leftover).toMatch(/^warden-/);
  writeFileSync(join(of.disk, '.tmp', leftover), 'x');
  if (process.getuid?.() === 0) {
    const foreign = leftover.replace(/.{4}$/, 'ffff');
    writeFileSync(join(of.disk, '.tmp', foreign), 'x');
    chownSync(join(of.disk, '.tmp', foreign), 65_534, 65_534);
    others.push(foreign);
  }
  for (const name of others) utimesSync(join(of.disk, '.tmp', name), new Date(0), new Date(0));
  await runJob({ verb: 'sweep', request: { cluster: 'main' } }, of.context({ now: () => new Date(Date.now() + 48 * 3_600_000) }));
  expect(readdirSync(join(of.disk, '.tmp')).toSorted()).toEqual(others.toSorted());
});

const PRINT_A_NAME = `import { temporaryName } from ${JSON.stringify(join(import.meta.dirname, '../../../src/store/temporary.ts'))}; console.log(temporaryName());`;

test.each(['000', '077'])('fault 25: with umask %s all files are 0600 and all folders 0700, those of the state too', async (umask) => {
  const of = subject(small, { schedule: '*/2 * * * * *' });
  await using daemon = await startDaemon(configOf(of), { executable: within(`umask ${umask}; exec "$@"`) });
  await until(
    async () =>
      namesIn(join(folder, 'state', 'schedule')).length > 0 &&
      namesIn(join(folder, 'state', 'cache')).length > 0 &&
      (await listed(of)).length > 0,
    () => daemon.output(),
  );
  await daemon.stop();
  for (const root of [of.disk, join(folder, 'state')]) {
    for (const name of ['.', ...namesIn(root)]) {
      const found = lstatSync(join(root, name));
      expect(`${root}/${name} ${(found.mode & 0o777).toString(8)}`).toBe(`${root}/${name} ${found.isDirectory() ? '700' : '600'}`);
    }
  }
});

describe('fault 26: the state folder may be thrown away at any time', () => {
  test.each([
    ['it is gone', () => removeFolder(join(folder, 'state'))],
    ['its files are empty', () => spoilState(() => '')],
    ['its files are cut off', () => spoilState((content) => content.slice(0, content.length / 2))],
    ['its files hold anything', () => spoilState(() => Buffer.from([0, 255, 1, 128, 7]))],
    ['its files are JSON of another shape', () => spoilState(() => '{"schema":1,"handled":"yes"}')],
    [
      'its files are those of a newer version',
      () => spoilState((content) => content.replace(/"schema":1|cache 1/, (text) => text.replace('1', '99'))),
    ],
  ])('%s: the daemon starts, finds its backups in the store and takes the next', async (_, spoil) => {
    const of = subject(small, { schedule: '*/2 * * * * *' });
    // Without a daemon: what it would have left there.
    const first = await of.backup();
    await runJob({ verb: 'survey', request: { cluster: 'main' } }, of.context());
    mkdirSync(join(folder, 'state', 'schedule'));
    writeFileSync(
      join(folder, 'state', 'schedule', 'main.json'),
      '{"schema":1,"cluster":"main","handled":[[1700000000000,1700000000000]],"lastDueMs":null}\n',
    );
    spoil();
    await using daemon = await startDaemon(configOf(of));
    await until(
      async () => ((await daemon.metric('etcd_warden_backups_total', { outcome: 'complete' })) ?? 0) >= 1,
      () => daemon.output(),
    );
    await until(
      async () => (await daemon.get('/readyz')).status === 200,
      () => daemon.output(),
    );
    await daemon.stop();
    const ids = await listed(of);
    expect(ids[0]).toBe(first.id);
    expect(ids.length).toBeGreaterThan(1);
    expect(JSON.parse(readFileSync(join(folder, 'state', 'schedule', 'main.json'), 'utf8'))).toMatchObject({ schema: 1, cluster: 'main' });
  });
});

function spoilState(change: (content: string) => string | Buffer): void {
  const state = join(folder, 'state');
  const files = filesIn(state);
  expect(files.length).toBeGreaterThan(1);
  for (const name of files) writeFileSync(join(state, name), change(readFileSync(join(state, name), 'utf8')));
}

function configOf(of: Product): Record<string, unknown> {
  const { clusters, stores, stateDir } = parse(readFileSync(of.configPath, 'utf8')) as Record<string, unknown>;
  return { clusters, stores, stateDir };
}

async function metric(daemon: Daemon, name: string, value: number): Promise<void> {
  await until(
    async () => (await daemon.metric(name)) === value,
    () => `${name} is not ${value}:\n${daemon.output()}`,
  );
}
