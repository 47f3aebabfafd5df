import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { newCluster, parseInitialCluster } from '../../../src/restore/identity.ts';
import { encodeWal, WAL_FILE_BYTES, WAL_FILE_NAME } from '../../../src/restore/directory/wal.ts';
import { startCluster } from '../../support/cluster.ts';
import { PoweredDisk, traceCalls, type Call, type DiskState } from '../../support/power-loss.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import type { BuildOrder, BuildReport } from './build-child.ts';

const CHILD = join(import.meta.dirname, 'build-child.ts');
const INITIAL_CLUSTER = 'm1=http://127.0.0.1:2380';
/** As long as a new one is, with an end that a beginning of it does not have. */
const OLD_LOGS = ['0000000000000007-0000000000000abc.wal', '0000000000000008-0000000000000def.wal'];

let common: string;
let snapshot: string;
beforeAll(async () => {
  common = temporaryFolder('restore-power');
  snapshot = join(common, 'snapshot.db');
  await using cluster = await startCluster({ minor: '3.4', members: 1 });
  await cluster.etcdctl(['put', 'a', 'b']);
  await cluster.etcdctl(['snapshot', 'save', snapshot]);
  return () => removeFolder(common);
});

/** What a member that has been running leaves, and a restore over it with the WAL in a directory of its own or inside. */
async function traced(walDir: boolean): Promise<{ root: string; disks: PoweredDisk[]; calls: Call[] }> {
  const base = temporaryFolder('restore-power');
  onTestFinished(() => removeFolder(base));
  const root = join(base, 'disk');
  const logs = walDir ? join(root, 'logs') : join(root, 'm1/member/wal');
  for (const folder of [join(root, 'm1/member/snap'), logs]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(root, 'm1/member/snap/db'), 'old database');
  for (const name of OLD_LOGS) writeFileSync(join(logs, name), `old ${name}`);
  const disks = [new PoweredDisk(root), new PoweredDisk(root, 'file'), new PoweredDisk(root, 'folder')];
  const order: BuildOrder = {
    snapshot,
    initialCluster: INITIAL_CLUSTER,
    targets: [{ member: 'm1', dataDir: join(root, 'm1'), ...(walDir ? { walDir: logs } : {}) }],
    scratchFolder: base,
    replace: true,
  };
  const command = [process.execPath, CHILD, JSON.stringify(order)];
  const { calls, stdout } = await traceCalls(command, { PATH: process.env['PATH'] }, join(base, 'trace'));
  expect(JSON.parse(stdout) as BuildReport).toMatchObject({ ok: true });
  return { root, disks, calls };
}

describe.each([
  ['inside', false, 'm1/member/wal/'],
  ['in a directory of its own', true, 'logs/'],
])('fault 72: the power is lost while a member is replaced whose WAL lies %s', (_, walDir, logs) => {
  test('at any system call: etcd starts on all of the old or all of the new, or not at all, and nothing old is lost', async () => {
    const { root, disks, calls } = await traced(walDir);
    const newDatabase = readFileSync(join(root, 'm1/member/snap/db'));
    const cluster = newCluster(parseInitialCluster(INITIAL_CLUSTER), 'token');
    const newLog = encodeWal(cluster.members[0]!, cluster, '3.6');

    function problemOf({ files }: DiskState, reported: boolean): string | undefined {
      const texts = new Set([...files.values()].map((bytes) => (bytes !== null && bytes.length < 100 ? bytes.toString() : '')));
      const lost = ['old database', ...OLD_LOGS.map((name) => `old ${name}`)].filter((text) => !texts.has(text));
      if (lost.length > 0) return `lost: ${lost.join()}`;
      const database = files.get('m1/member/snap/db');
      const found = [...files.keys()].filter((path) => path.startsWith(logs)).map((path) => path.slice(logs.length));
      const logsHere = found.filter((name) => /^[0-9a-f]{16}-[0-9a-f]{16}\.wal$/.test(name)).sort();
      const isOld = database?.toString() === 'old database';
      if (logsHere.includes(WAL_FILE_NAME)) {
        const bytes = files.get(`${logs}${WAL_FILE_NAME}`);
        if (bytes?.length !== WAL_FILE_BYTES || !bytes.subarray(0, newLog.length).equals(newLog)) return 'the new log is not whole';
        if (logsHere.length > 1) return 'old and new logs';
        if (database?.equals(newDatabase) !== true) return 'the new log without its database';
        if (!files.has('m1/member/snap/0000000000000001-0000000000000001.snap')) return 'no .snap file';
        return reported && found.includes('unfinished-restore.wal') ? 'reported, and unfinished' : undefined;
      }
      if (reported) return 'reported, and not there';
      if (logsHere.length > 0) {
        // The end of the old log with the old database is right or refused; its beginning alone would be an older state.
        if (!isOld) return 'an old log without its database';
        return logsHere.at(-1) === OLD_LOGS.at(-1) ? undefined : 'the old log without its end';
      }
      if (database === undefined && !walDir) return undefined;
      return found.includes('unfinished-restore.wal')
        ? undefined
        : 'a database without a log, or neither, and nothing that keeps etcd from starting';
    }

    function problemsOn(disk: PoweredDisk): { readonly problems: ReadonlySet<string>; readonly states: number } {
      const problems = new Set<string>();
      const seen = new Set<string>();
      for (const call of calls) {
        if (!disk.apply(call)) continue;
        for (const state of disk.afterPowerLoss()) {
          const moment = `${state.key}\n${disk.reported}`;
          if (seen.has(moment)) continue;
          seen.add(moment);
          const problem = problemOf(state, disk.reported);
          if (problem !== undefined) problems.add(`${problem} (${state.description}):\n${state.key}`);
        }
      }
      return { problems, states: seen.size };
    }

    const [disk, withoutFiles, withoutFolders] = disks as [PoweredDisk, PoweredDisk, PoweredDisk];
    const { problems, states } = problemsOn(disk);
    expect([...problems]).toEqual([]);
    expect(states).toBeGreaterThan(30);
    // The same calls on a disk that is never told to keep bytes, or names: the check must find fault with both.
    expect(problemsOn(withoutFiles).problems.size).toBeGreaterThan(0);
    expect(problemsOn(withoutFolders).problems.size).toBeGreaterThan(0);
  });
});
