import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildMembers } from '../../../src/restore/build.ts';
import { chooseBuilder, type BuilderWish } from '../../../src/restore/builder/choose.ts';
import type { BuildResult } from '../../../src/restore/types.ts';
import { ETCD_MINORS, program, type EtcdMinor } from '../../../tools/programs.ts';
import { startCluster } from '../../support/cluster.ts';
import { restoreContext, WHOLE } from '../../support/database-source.ts';
import { until } from '../../support/processes.ts';
import { newSites, startRestored, type RestoredCluster } from '../../support/restored.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { requestOf, type BuildOrder } from './build-child.ts';

const toolOf = (minor: EtcdMinor): string => (minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor));
const { signal } = new AbortController();

let common: string;
/** Of 3.4, which every release takes. */
const snapshots = { plain: '', kubernetes: '', alarmed: '' };
beforeAll(async () => {
  common = temporaryFolder('restore-builder');
  await using cluster = await startCluster({ minor: '3.4', members: 1 });
  async function save(name: keyof typeof snapshots): Promise<void> {
    snapshots[name] = join(common, `${name}.db`);
    await cluster.etcdctl(['snapshot', 'save', snapshots[name]]);
  }
  await cluster.etcdctl(['put', 'kept', 'as it was']);
  await cluster.etcdctl(['put', 'kept', 'as it is']);
  await save('plain');
  await cluster.etcdctl(['put', '/registry/pods/default/a', 'pod']);
  await save('kubernetes');
  await cluster.etcdctl(['del', '/registry/pods/default/a']);
  await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
  await save('alarmed');
  return () => removeFolder(common);
});

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('restore-builder');
  return () => removeFolder(folder);
});

function order(changes: Partial<BuildOrder> = {}): BuildOrder {
  return {
    snapshot: snapshots.plain,
    initialCluster: 'm1=http://127.0.0.1:2380',
    targets: [{ member: 'm1', dataDir: join(folder, 'm1') }],
    scratchFolder: common,
    builder: 'auto',
    ...changes,
  };
}

const build = (changes: Partial<BuildOrder>, until_: AbortSignal = signal): Promise<BuildResult> =>
  buildMembers(requestOf(order(changes)), restoreContext(until_));

/** A program that says it is etcdutl 3.6, and then does this. */
function fakeTool(script: string): string {
  const path = join(folder, 'etcdutl');
  writeFileSync(path, `#!/bin/sh\n[ "$1" = version ] && { echo 'etcdutl version: 3.6.99'; exit; }\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const left = (): string[] => readdirSync(folder).filter((name) => name !== 'etcdutl' && name !== 'said');

describe('the builder', () => {
  const choose = (changes: Partial<BuilderWish>): ReturnType<typeof chooseBuilder> =>
    chooseBuilder({ builder: 'auto', etcdutl: undefined, minor: '3.6', content: WHOLE, bump: false, alarms: false, ...changes }, signal);

  test.each(['3.5', '3.6', '3.7'] as const)('of etcd %s is its own etcdutl, and says which', async (minor) => {
    const tool = program('etcdutl', minor);
    const chosen = await choose({ minor, etcdutl: tool });
    expect(chosen).toEqual({
      name: 'etcdutl',
      reason: expect.stringMatching(/^etcdutl 3\.\d\.\d+ can do all that is asked$/),
      program: tool,
    });
  });

  test('of 3.4 is our own unless its etcdctl is asked for by name', async () => {
    const etcdutl = program('etcdctl', '3.4');
    expect(await choose({ minor: '3.4', etcdutl })).toMatchObject({
      name: 'native',
      reason: expect.stringContaining('members of the old'),
    });
    expect(await choose({ minor: '3.4', etcdutl, builder: 'etcdutl' })).toMatchObject({ name: 'etcdutl', program: etcdutl });
  });

  test('is our own with an etcdutl of another minor, with none anywhere, and with one that is something else', async () => {
    const other = program('etcdutl', '3.5');
    const silent = fakeTool('');
    writeFileSync(silent, '#!/bin/sh\necho hello\n');
    for (const [etcdutl, reason] of [
      [other, /is of etcd 3\.5\.\d+, and the directory is for etcd 3\.6$/],
      ['/nowhere/etcdutl', /^there is no \/nowhere\/etcdutl$/],
      ['etcdutl-that-nobody-has', /^there is no etcdutl-that-nobody-has on the PATH$/],
      [silent, /does not tell its version as etcdutl does$/],
      [folder, /cannot be run: spawn .* EACCES$/],
    ] as const) {
      expect(await choose({ etcdutl })).toEqual({ name: 'native', reason: expect.stringMatching(reason), program: undefined });
      await expect(choose({ etcdutl, builder: 'etcdutl' })).rejects.toMatchObject({
        code: 'refused',
        message: expect.stringMatching(/^etcdutl cannot build this: /),
      });
    }
  });

  test.each([
    ['an older revision', { content: { ...WHOLE, revision: 5n } }, /older revision/],
    ['some of the keys', { content: { ...WHOLE, only: [Buffer.from('/a')] } }, /leave keys out/],
    ['all but some keys', { content: { ...WHOLE, without: [Buffer.from('/a')] } }, /leave keys out/],
    ['a dense database', { content: { ...WHOLE, defragmented: true } }, /copies the database/],
    ['revisions that are raised', { bump: true }, /raises revisions/],
    ['alarms that are dropped', { alarms: true }, /keeps the alarms/],
  ] as const)('of %s is our own, whatever etcdutl is there', async (_, changes, reason) => {
    const etcdutl = program('etcdutl', '3.6');
    expect(await choose({ ...changes, etcdutl })).toMatchObject({ name: 'native', reason: expect.stringMatching(reason) });
    await expect(choose({ ...changes, etcdutl, builder: 'etcdutl' })).rejects.toThrow(reason);
    expect(await choose({ etcdutl, builder: 'native' })).toMatchObject({ name: 'native', reason: 'it was asked for' });
  });
});

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  test('starts on what either builder made of a backup, with the same content and only the new members', async () => {
    const records = new Map<string, BuildResult['record']>();
    for (const builder of ['native', 'etcdutl'] as const) {
      const [site] = await newSites(1, join(folder, builder));
      const initialCluster = `m1=${site!.peer}`;
      const { record } = await build({
        minor,
        builder,
        etcdutl: toolOf(minor),
        initialCluster,
        targets: [{ member: 'm1', dataDir: site!.dataDir }],
      });
      expect(record).toMatchObject({ builder, etcd: minor });
      records.set(builder, record);
      await using restored = await startRestored({ minor, sites: [site!], token: 'token' });
      expect(await restored.etcdctl(['get', 'kept', '--print-value-only'])).toBe('as it is\n');
      const listed = await restored.etcdctl(['member', 'list']);
      expect(listed.trim().split('\n')).toEqual([expect.stringContaining(`${record.members[0]!.id}, started, m1, ${site!.peer}`)]);
      expect(await restored.etcdctl(['put', 'kept', 'later'])).toBe('OK\n');
    }
    const [native, tool] = [records.get('native')!, records.get('etcdutl')!];
    for (const field of ['revision', 'compactRevision', 'hash', 'keyCount'] as const) expect(native[field]).toEqual(tool[field]);
  });
});

describe.each(['3.4', '3.7'] as const)('machines of which one has the tool of etcd %s', (minor) => {
  test('make one cluster, whose members hold the same', async () => {
    const sites = await newSites(3, folder);
    const initialCluster = sites.map(({ name, peer }) => `${name}=${peer}`).join(',');
    for (const [index, { name, dataDir }] of sites.entries()) {
      const builder = index === 0 ? 'etcdutl' : 'native';
      await build({ minor, builder, etcdutl: toolOf(minor), initialCluster, targets: [{ member: name, dataDir }] });
    }
    await using restored = await startRestored({ minor, sites, token: 'token' });
    expect(await restored.etcdctl(['put', 'kept', 'by all'])).toBe('OK\n');
    await until(
      async () => new Set((await hashes(restored)).map(({ HashKV: { hash, header } }) => `${hash} at ${header.revision}`)).size === 1,
      () => 'the members hold different things',
    );
    expect((await restored.etcdctl(['member', 'list'])).trim().split('\n')).toHaveLength(3);
  });

  async function hashes(restored: RestoredCluster): Promise<{ HashKV: { hash: number; header: { revision: number } } }[]> {
    return JSON.parse(await restored.etcdctl(['endpoint', 'hashkv', '--write-out=json'])) as Awaited<ReturnType<typeof hashes>>;
  }
});

describe('etcdutl', () => {
  let environment: NodeJS.ProcessEnv;
  beforeEach(() => {
    environment = { ...process.env };
  });
  afterEach(() => {
    process.env = environment;
  });

  test('gives way to our own builder where the whole read finds keys of Kubernetes, or an alarm', async () => {
    const etcdutl = program('etcdutl', '3.6');
    const content = { ...WHOLE, bump: 'auto' } as const;
    const raised = await build({ etcdutl, snapshot: snapshots.kubernetes, content });
    expect(raised.builder).toEqual({ name: 'native', reason: expect.stringContaining('raises revisions') });
    expect(raised.record.raisedFrom).toBe('4');
    const dropped = await build({ etcdutl, snapshot: snapshots.alarmed, targets: [{ member: 'm1', dataDir: join(folder, 'm2') }] });
    expect(dropped.builder).toEqual({ name: 'native', reason: expect.stringContaining('keeps the alarms') });
    expect(dropped.database.droppedAlarms).toBe(1);
  });

  test('is refused where it was asked for by name and the whole read shows that it cannot do it', async () => {
    const asked = { etcdutl: program('etcdutl', '3.6'), builder: 'etcdutl' } as const;
    await expect(build({ ...asked, snapshot: snapshots.alarmed })).rejects.toMatchObject({ code: 'refused' });
    await expect(build({ ...asked, snapshot: snapshots.kubernetes, content: { ...WHOLE, bump: 'auto' } })).rejects.toThrow(
      /raises revisions/,
    );
    expect(left()).toEqual([]);
  });

  test('that fails is done without, unless it was asked for by name: then its last words are told', async () => {
    const etcdutl = fakeTool('echo working; echo "Error: no space left on device" >&2; exit 7');
    expect((await build({ etcdutl })).builder).toEqual({
      name: 'native',
      reason: `${etcdutl} could not restore: Error: no space left on device (7)`,
    });
    const other = { etcdutl, builder: 'etcdutl', targets: [{ member: 'm1', dataDir: join(folder, 'other') }] } as const;
    await expect(build(other)).rejects.toMatchObject({ code: 'failed', hint: '--builder native does without it' });
    expect(left()).toEqual(['m1', 'm1.restore.json']);
  });

  test('that makes nothing, although it ends well, makes no restore', async () => {
    await expect(build({ etcdutl: fakeTool('exit 0'), builder: 'etcdutl' })).rejects.toMatchObject({ code: 'failed' });
    expect(left()).toEqual([]);
  });

  test('that hangs is killed with the restore, and nothing is left', async () => {
    const stop = new AbortController();
    const etcdutl = fakeTool(`echo $$ >${join(folder, 'said')}; exec sleep 1000`);
    const building = build({ etcdutl }, stop.signal);
    building.catch(() => undefined);
    await until(
      () => existsSync(join(folder, 'said')) && readFileSync(join(folder, 'said'), 'utf8') !== '',
      () => 'the tool was not started',
    );
    stop.abort(new Error('stopped'));
    await expect(building).rejects.toThrow('stopped');
    expect(existsSync(`/proc/${readFileSync(join(folder, 'said'), 'utf8').trim()}`)).toBe(false);
    expect(left()).toEqual([]);
  });

  test('gets nothing of our environment', async () => {
    process.env['ETCDUTL_DATA_DIR'] = '/elsewhere';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'secret';
    await build({ etcdutl: fakeTool(`env >${join(folder, 'said')}; exit 1`) });
    const names = readFileSync(join(folder, 'said'), 'utf8')
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names).toEqual(expect.arrayContaining(['PATH', 'ETCDCTL_API']));
    expect(names.filter((name) => !['PATH', 'LANG', 'ETCDCTL_API', 'PWD', 'OLDPWD', 'SHLVL', '_', ''].includes(name!))).toEqual([]);
  });
});
