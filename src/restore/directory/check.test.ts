import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { removeFolder, temporaryFolder } from '../../../test/support/watchdog.ts';
import type { BuildTarget } from '../types.ts';
import { checkTargets } from './check.ts';
import { findLeftovers, removeLeftovers } from './leftovers.ts';
import { labelLike } from './owner.ts';
import { findPlace, stagingName } from './place.ts';
import { checkSpace } from './space.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('check');
  return () => removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);
const target = (member: string, dataDir: string, walDir?: string): BuildTarget => ({ member, dataDir, walDir });
const check = (targets: readonly BuildTarget[], replace = false): Promise<void> => checkTargets(targets, { neededBytes: 1000, replace });

function oldMember(dataDir: string): void {
  mkdirSync(join(dataDir, 'member/wal'), { recursive: true });
  writeFileSync(join(dataDir, 'member/wal/0000000000000000-0000000000000000.wal'), 'old');
}

describe('fault 72: a place of a restore', () => {
  test('may be missing or empty, also the WAL directory', async () => {
    mkdirSync(at('empty'));
    await check([target('m1', at('missing'), at('wal')), target('m2', at('empty'))]);
    expect(readdirSync(folder)).toEqual(['empty']);
  });

  test('that holds anything is refused, and said what', async () => {
    oldMember(at('m1'));
    await expect(check([target('m1', at('m1'))])).rejects.toMatchObject({
      code: 'refused',
      message: `the data directory ${at('m1')} is not empty: it holds member`,
      hint: '--replace moves it to m1.before-restore-TIME; nothing is ever deleted',
    });
    await check([target('m1', at('m1'))], true);
    for (const name of ['a', 'b', 'c', 'd']) writeFileSync(join(at('m1/member/wal'), name), '');
    await expect(check([target('m1', at('new'), at('m1/member/wal'))])).rejects.toThrow(/is not empty: it holds .*, .*, .*, \.\.\./);
  });

  test('that does not look like etcd is not replaced', async () => {
    mkdirSync(at('home/documents'), { recursive: true });
    mkdirSync(at('logs/nginx'), { recursive: true });
    await expect(check([target('m1', at('home'))], true)).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('is no data directory of etcd'),
    });
    await expect(check([target('m1', at('m1'), at('logs'))], true)).rejects.toMatchObject({
      message: expect.stringContaining('is no WAL directory of etcd'),
    });
  });

  test('is found behind a link, and not behind one that leads nowhere', async () => {
    oldMember(at('real'));
    symlinkSync(at('real'), at('link'));
    symlinkSync(at('nowhere'), at('dangling'));
    await expect(check([target('m1', at('link'))])).rejects.toThrow(`${at('real')} is not empty`);
    await expect(check([target('m1', at('dangling'))])).rejects.toThrow(/is a symbolic link that leads nowhere/);
    mkdirSync(at('logs'));
    symlinkSync(at('logs'), at('real/wal'));
    // Replaced with the directory that it lies in, it would be gone, and etcd would start without a log.
    await expect(check([target('m1', at('real'), at('real/wal'))], true)).rejects.toThrow(/is a link in the data directory to .*logs/);
    rmSync(at('real'), { recursive: true });
    await check([target('m1', at('real'), at('real/deep/wal'))]);
  });

  test('that is a file, has no folder around it, or is inside of another is refused', async () => {
    writeFileSync(at('file'), '');
    await expect(check([target('m1', at('file'))])).rejects.toThrow(/is a file/);
    await expect(check([target('m1', at('no/such/m1'))])).rejects.toMatchObject({ code: 'refused', hint: `mkdir -p ${at('no/such')}` });
    await expect(check([target('m1', at('m1'), at('m1'))])).rejects.toThrow(/is the data directory itself/);
    await expect(check([target('m1', at('wal/m1'), at('wal'))])).rejects.toThrow(/there is no folder/);
    mkdirSync(at('wal'));
    await expect(check([target('m1', at('wal/m1'), at('wal'))])).rejects.toThrow(/lies inside of the WAL directory/);
  });

  test('is not shared by two members, not even as a folder of the other', async () => {
    const both = (a: BuildTarget, b: BuildTarget): Promise<void> => check([a, b]);
    await expect(both(target('m1', at('x')), target('m2', at('x')))).rejects.toMatchObject({ code: 'usage' });
    await expect(both(target('m1', at('x')), target('m2', at('y'), at('x')))).rejects.toMatchObject({ code: 'usage' });
    mkdirSync(at('x'));
    await expect(both(target('m1', at('x')), target('m2', at('x/y')))).rejects.toThrow(/m1 and m2 share a directory/);
  });

  test('on a disk that is too small is refused with the sum of all members', async () => {
    const targets = [target('m1', at('m1')), target('m2', at('m2'), at('wal'))];
    await expect(checkTargets(targets, { neededBytes: 2 ** 50, replace: false, plainFile: true })).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining(`${3 * 2 ** 50 + 2 * 64_000_000 + 2 * 2 ** 20} are needed`),
      hint: expect.stringContaining(`${2 ** 50} for the plain file`),
    });
    await checkSpace([]);
  });
});

describe('what a killed restore left', () => {
  const DEAD = 'warden-4194304-1-00000000-0123456789ab';

  test('of another machine is removed when it is old, and then no place is taken by it', async () => {
    const staging = at(stagingName(at('m1'), DEAD));
    mkdirSync(join(staging, 'data'), { recursive: true });
    const place = await findPlace(target('m1', at('m1')));
    expect(await findLeftovers(place)).toEqual({ staging: [], data: undefined, blocked: false });
    for (const path of [join(staging, 'data'), staging]) utimesSync(path, 1, 1);
    expect((await findLeftovers(place)).staging).toEqual([staging]);
    await removeLeftovers(place, await findLeftovers(place));
    expect(readdirSync(folder)).toEqual([]);
  });

  test('that belongs to another directory is left alone, and so is what only looks like it', async () => {
    mkdirSync(at(stagingName('m2', DEAD)));
    mkdirSync(at('.m1.restore-mine'));
    const place = await findPlace(target('m1', at('m1')));
    await removeLeftovers(place, await findLeftovers(place));
    expect(readdirSync(folder)).toHaveLength(2);
  });

  test('in a WAL directory counts only without a log beside it', async () => {
    mkdirSync(at('wal'));
    writeFileSync(at('wal/unfinished-restore.wal'), 'not ours');
    await expect(check([target('m1', at('m1'), at('wal'))])).rejects.toMatchObject({
      hint: expect.stringContaining('another restore is making it'),
    });
    rmSync(at('wal/unfinished-restore.wal'));
    writeFileSync(at('wal/0000000000000000-0000000000000000.wal'), '');
    const place = await findPlace(target('m1', at('m1'), at('wal')));
    expect((await findLeftovers(place)).blocked).toBe(false);
  });

  test('in a WAL directory takes only its own half along: no other directory, and none that an etcd was started on since', async () => {
    for (const path of ['m1/member/snap', 'elsewhere', 'wal']) mkdirSync(at(path), { recursive: true });
    const place = await findPlace(target('m1', at('m1'), at('wal')));
    const markedFor = async (path: string, inode = at(path)): Promise<Awaited<ReturnType<typeof findLeftovers>>> => {
      const { dev, ino } = statSync(inode);
      const blocker = { writer: DEAD, data: { path: at(path), dev: String(dev), ino: String(ino) } };
      writeFileSync(at('wal/unfinished-restore.wal'), JSON.stringify(blocker));
      utimesSync(at('wal/unfinished-restore.wal'), 1, 1);
      return findLeftovers({ ...place, wal: (await findPlace(place.target)).wal });
    };
    expect(await markedFor('m1')).toEqual({ staging: [], data: at('m1'), blocked: true });
    expect(await markedFor('m1', at('elsewhere'))).toEqual({ staging: [], data: undefined, blocked: true });
    expect(await markedFor('elsewhere')).toEqual({ staging: [], data: undefined, blocked: false });
    mkdirSync(at('m1/member/wal'));
    expect(await markedFor('m1')).toEqual({ staging: [], data: undefined, blocked: false });
    await expect(check([target('m1', at('m1'), at('wal'))])).rejects.toMatchObject({ message: expect.stringMatching(/not empty/) });
  });
});

describe('the label of SELinux', () => {
  const signal = AbortSignal.timeout(5_000);

  function fakeChcon(script: string): { selinux: string; chcon: string } {
    mkdirSync(at('selinux/booleans'), { recursive: true });
    writeFileSync(at('chcon'), `#!/bin/sh\n${script}\n`);
    chmodSync(at('chcon'), 0o755);
    return { selinux: at('selinux'), chcon: at('chcon') };
  }

  test('is taken from the directory that is replaced', async () => {
    await labelLike('/old', '/new', signal, fakeChcon(`echo "$@" >${at('said')}`));
    expect(readFileSync(at('said'), 'utf8')).toBe('--recursive --reference=/old /new\n');
  });

  test('that cannot be given is said, since etcd would not be let in', async () => {
    const failing = fakeChcon('echo chcon: permission denied >&2; exit 1');
    await expect(labelLike('/old', '/new', signal, failing)).rejects.toMatchObject({
      code: 'refused',
      message: '/new cannot have the SELinux label of /old: chcon: permission denied',
    });
  });

  test('is no matter where there is none', async () => {
    const { chcon } = fakeChcon(`touch ${at('ran')}`);
    await labelLike('/old', '/new', signal, { selinux: at('no'), chcon });
    expect(existsSync(at('ran'))).toBe(false);
  });
});
