/** The verbs as an operator runs them, with the real executable and a real etcd. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { runWarden, startWarden, type RunningWarden } from '../../support/run-warden.ts';
import { guardProcess, removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const EXECUTABLE = join(import.meta.dirname, '../../../bin/etcd-warden');

let cluster: Cluster;
let folder: string;
let store: string;
beforeAll(async () => {
  cluster = await startCluster({ minor: '3.6', members: 1 });
  await cluster.fill({ keys: 400, valueBytes: 10_000, seed: 5 });
});
afterAll(() => cluster[Symbol.asyncDispose]());
beforeEach(() => {
  folder = temporaryFolder('cli-backup');
  store = join(folder, 'store');
});
afterEach(() => removeFolder(folder));

const words = (...more: string[]): string[] => [
  'backup',
  '--endpoints',
  cluster.endpoints.join(','),
  '--to',
  store,
  '--state-dir',
  join(folder, 'state'),
  ...more,
];

/** Every file below a folder but those that mark a store as ours. */
function files(path: string): string[] {
  return existsSync(path)
    ? readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
        .toSorted()
    : [];
}

/** A backup that takes some seconds, in the middle of its stream. */
async function streaming(...more: string[]): Promise<RunningWarden> {
  const running = startWarden(words('--max-rate', '1MiB', ...more));
  await until(
    () => files(store).length > 0,
    () => `no spool file yet: ${running.stderr()}`,
  );
  return running;
}

describe('from backup to delete', () => {
  test('without a file and by hand, each verb does what its help says', async () => {
    const taken = await runWarden(words('--label', 'by-hand'));
    expect(taken).toMatchObject({ code: 0, stderr: '' });
    // Below /dev/shm it also warns that it shares etcd's device.
    expect(taken.stdout).toMatch(
      /^backup (\S+) of default: complete\n {2}revision \d+ from m1 \(leader\), \S+ MiB stored as \S+ KiB in \S+\n/,
    );
    expect(taken.stdout).toMatch(/\n {2}local: stored and confirmed\n/);
    const id = /^backup (\S+)/.exec(taken.stdout)![1]!;
    const from = ['--from', store];
    expect((await runWarden(['list', ...from])).stdout).toMatch(new RegExp(`^ID .*\\n${id} .* complete +local +proved .*by-hand\\n$`));
    expect((await runWarden(['verify', ...from])).stdout).toMatch(new RegExp(`${id} +local +proved +ok`));
    const status = await runWarden(['status', '--endpoints', cluster.endpoints.join(','), ...from]);
    expect(status).toMatchObject({ code: 0, stderr: '' });
    expect(status.stdout).toMatch(
      /^cluster default \([\da-f]+\): has quorum, leader m1, term \d+, etcd 3\.\d+\.\d+\nMEMBER .*\nm1 .* leader [^]*\n\nnewest verified backup: /,
    );
    expect(status.stdout).toContain(`${id}, `);
    const copied = await runWarden(['copy', id.slice(0, 18), '--from', store, '--to', join(folder, 'other')]);
    expect(copied).toMatchObject({ code: 0, stderr: '' });
    expect(files(join(folder, 'other')).filter((name) => name.startsWith('default/'))).toEqual([
      `default/${id}.db.zst`,
      `default/${id}.index.zst`,
      expect.stringMatching(/\.json$/u),
    ]);
    // Fault 77: the tables of these two need an etcd, so they are looked at in 40 columns here.
    for (const narrow of [
      ['status', '--endpoints', cluster.endpoints.join(','), ...from],
      ['copy', id, '--from', store, '--to', join(folder, 'other')],
    ]) {
      const { stdout } = await runWarden(narrow, { env: { COLUMNS: '40' } });
      const rows = stdout.split('\n').filter((line) => /^(MEMBER|ENDPOINT|ROLE|VERSION|SIZE|ID|FROM|TO|RESULT) {2}|^ {4}/.test(line));
      expect(rows.length).toBeGreaterThan(3);
      expect(rows.filter((line) => line.length > 40)).toEqual([]);
    }
    const last = await runWarden(['delete', id, ...from]);
    expect(last.code).toBe(14);
    expect(last.stderr).toMatch(/^error: \S+ stays on local: .*last verified.*\nhint: /);
  });

  test('on some stores only: exit code 3, called by its name, with the reason and a hint, and nothing is pruned after it', async () => {
    const configFile = join(folder, 'config.yaml');
    writeFileSync(join(folder, 'blocked'), '');
    const stores = { good: { type: 'local', path: store }, bad: { type: 'local', path: join(folder, 'blocked') } };
    // JSON is YAML.
    writeFileSync(
      configFile,
      JSON.stringify({ clusters: { main: { endpoints: cluster.endpoints, retention: { keepLast: 1 } } }, stores, stateDir: folder }),
    );
    const { code, stdout } = await runWarden(['backup', '--config', configFile, '--prune']);
    expect(code).toBe(3);
    expect(stdout).toMatch(/^backup \S+ of main: PARTIAL, not on every store\n/);
    expect(stdout).toMatch(/\n {2}good: stored and confirmed\n {2}bad: FAILED: .*blocked.*\n {4}hint: /);
    expect(stdout).toMatch(/etcd-warden copy --missing\n {2}nothing was pruned, because the backup is not on every store\n$/);
  });

  test('a cluster that is locked by another process is exit code 11, for programs too', async () => {
    const first = await streaming();
    const second = await runWarden(['backup', '--endpoints', cluster.endpoints.join(','), '--to', join(folder, 'second'), '--json']);
    expect(second.code).toBe(11);
    expect(second.json()).toMatchObject({ error: { code: 'locked', hint: expect.stringContaining('wait for it') as string } });
    expect((await first.done).code).toBe(0);
  });
});

describe('a backup that is watched, or no longer', () => {
  test('fault 77: goes on to its end when its reader has gone away', async () => {
    const running = await streaming('--log-level', 'debug');
    running.child.stdout!.destroy();
    running.child.stderr!.destroy();
    expect((await running.done).code).toBe(0);
    expect(files(store).filter((name) => name.endsWith('.json'))).toHaveLength(1);
  });

  test('fault 77: Ctrl-C once stops cleanly: exit code 130, said once, and nothing is left in the store', async () => {
    const running = await streaming('--json');
    running.kill('SIGINT');
    const { code, stderr, json } = await running.done;
    expect(code).toBe(130);
    expect(stderr).toMatch(/^SIGINT: stopping cleanly; once more stops at once\n$/);
    expect(json()).toMatchObject({ error: { code: 'interrupted' } });
    expect(files(store)).toEqual([]);
    // The lock is free again at once, not only when its lease has ended.
    expect((await runWarden(words())).code).toBe(0);
  });

  test('fault 77: Ctrl-C twice stops at once; what that leaves is not visible, and the next run removes it', async () => {
    const running = await streaming();
    const began = performance.now();
    running.kill('SIGINT');
    running.kill('SIGINT');
    expect((await running.done).code).toBe(130);
    // A clean stop waits for the store and the lock.
    expect(performance.now() - began).toBeLessThan(20_000);
    expect((await runWarden(['list', '--from', store])).code).toBe(10);
    // Until the lease of the lock has ended, the next run waits or says so.
    await until(async () => (await runWarden(words())).code === 0, 'the lock is never free again', { timeoutMs: 150_000, everyMs: 1000 });
    expect(files(store).filter((name) => !name.startsWith('default/'))).toEqual([]);
  });

  test('fault 77: in a terminal one line shows the progress, and Ctrl-C clears it before it speaks', async () => {
    const quoted = [process.execPath, EXECUTABLE, ...words('--max-rate', '1MiB')].map((word) => `'${word}'`).join(' ');
    const child = spawn('script', ['-qec', `stty cols 60; exec ${quoted}`, '/dev/null'], {
      env: { PATH: process.env['PATH'], HOME: folder, TERM: 'xterm' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    guardProcess(child);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    await until(
      () => /streaming from m1: \d/.test(text),
      () => `no progress: ${JSON.stringify(text)}`,
    );
    child.stdin.write('\u0003');
    const [code] = (await once(child, 'close')) as [number | null];
    expect(code).toBe(130);
    expect(text.split('\r\u001b[K').every((state) => state.split('\r\n')[0]!.length < 80)).toBe(true);
    expect(text.replaceAll('\r\u001b[K', '<clear>')).toMatch(/<clear>(\^C)?SIGINT: stopping cleanly; once more stops at once\r\n/);
    expect(text.trimEnd()).toMatch(/error:\S* stopped by SIGINT\r\nhint: [^\n]*$/);
  });

  test('fault 77: says nothing where it is short and nobody watches; with --quiet never', async () => {
    expect((await runWarden(words())).stderr).toBe('');
    expect((await runWarden(words('--quiet'))).stderr).toBe('');
  });

  test('fault 77: no secret is in its arguments as the system shows them, in its output or in what it stores', async () => {
    const env = { ETCDCTL_USER: 'root:hunter2' };
    const running = startWarden(words('--max-rate', '1MiB', '--log-level', 'debug'), { env });
    // The child may be a launcher of the pinned Node: both show their arguments.
    await until(() => existsSync(`/proc/${running.pid}/cmdline`), 'not started');
    expect(readFileSync(`/proc/${running.pid}/cmdline`, 'utf8')).not.toContain('hunter2');
    const { stdout, stderr } = await running.done;
    expect(stdout + stderr).not.toBe('');
    expect(stdout + stderr).not.toContain('hunter2');
    for (const name of files(store)) expect(readFileSync(join(store, name)).includes('hunter2')).toBe(false);
  });
});
