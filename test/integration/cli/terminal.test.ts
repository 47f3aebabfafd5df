/** The executable where users meet it: pipes that close, terminals of all widths, programs that read its JSON. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seedBackup } from '../../support/backups.ts';
import { runWarden, startWarden } from '../../support/run-warden.ts';
import { seedFolder } from '../../support/seeded-folder.ts';
import { guardProcess, removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const EXECUTABLE = join(import.meta.dirname, '../../../bin/etcd-warden');

let folder: string;
let store: string;
beforeAll(() => {
  folder = temporaryFolder('cli-terminal');
  store = join(folder, 'store');
  seedFolder(store, (stores) => {
    for (let day = 1; day <= 9; day++) seedBackup(stores, { time: `2026-11-0${day}T10:00:00.000Z`, label: 'a label of several words' });
  });
});
afterAll(() => removeFolder(folder));

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Prints the exit code of the first command of a pipe. */
const STATUS = '; echo "${PIPESTATUS[0]}"';

/** A line of a shell, with `warden` for the executable. */
async function shell(
  line: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn('/bin/bash', ['-c', `warden() { ${quote(process.execPath)} ${quote(EXECUTABLE)} "$@"; }; ${line}`], {
    env: { PATH: process.env['PATH'], HOME: folder, TZ: 'UTC', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  guardProcess(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** What a terminal of so many columns receives: util-linux's `script` makes one. */
async function inTerminal(columns: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const command = `stty cols ${columns} rows 24; ${[process.execPath, EXECUTABLE, ...words].map(quote).join(' ')}`;
  const { stdout } = await shell(`script -qec ${quote(command)} /dev/null`, { TERM: 'xterm', ...env });
  return stdout.replaceAll('\r\n', '\n');
}

describe('a closed pipe', () => {
  test('fault 77: `list | head -1` prints one line and ends quietly, as SIGPIPE would end it', async () => {
    const { stdout, stderr } = await shell(`warden config docs | head -1 ${STATUS}`);
    expect(stderr).toBe('');
    const [first, code] = stdout.trim().split('\n');
    expect(first).toMatch(/^# /);
    // 0 when all of it fitted into the pipe before head went away.
    expect(['0', '141']).toContain(code);
  });

  test('fault 77: a reader that has gone before the first byte', async () => {
    const { stdout, stderr } = await shell(`warden list --from ${quote(store)} | exec true ${STATUS}`);
    expect({ stdout, stderr }).toEqual({ stdout: '141\n', stderr: '' });
  });

  test('fault 77: a verb that changes something does its work to the end, and its exit code tells', async () => {
    const held = join(folder, 'held');
    seedFolder(held, (stores) => void seedBackup(stores, { time: '2026-11-01T10:00:00.000Z' }));
    const { stdout, stderr } = await shell(`warden hold latest --from ${quote(held)} | exec true ${STATUS}`);
    expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' });
    expect((await runWarden(['list', '--from', held])).stdout).toContain('held');
  });

  test('fault 77: of stderr, while stdout is still read, withholds nothing', async () => {
    const { stdout, code } = await shell(`warden list --from ${quote(store)} 2> >(exec true)`, { ETCD_WARDEN_TOO: 'x' });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ID /);
  });

  test('a full disk below a redirection is a sentence, not a stack trace', async () => {
    const { code, stderr } = await shell(`warden list --from ${quote(store)} > /dev/full`);
    expect(stderr).toMatch(/^error: standard output: .*ENOSPC.*\n$/);
    expect(code).toBe(1);
  });

  test('closed from the start (`>&-`) is no crash', async () => {
    const { code, stderr } = await shell(`warden list --from ${quote(store)} >&-`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('a terminal', () => {
  test('fault 77: no table is wider than 40 columns, and nothing is cut off', async () => {
    for (const words of [
      ['list', '--from', store],
      ['prune', '--dry-run', '--keep-last', '2', '--from', store],
      ['verify', '--all', '--level', 'stored', '--from', store],
    ]) {
      const text = await inTerminal(40, words);
      // Each state of the live line is a line of its own here; none may wrap, or it could not be overwritten.
      expect(
        text
          .replaceAll('\r\u001b[K', '\n')
          .split('\n')
          .filter((line) => line.length > 40),
      ).toEqual([]);
      expect(text).toMatch(/20261101T100000000Z-\w{6}/);
    }
  });

  test('a usual one gets a table, with what was left out named', async () => {
    const text = await inTerminal(80, ['list', '--from', store]);
    expect(text).toMatch(/^ID +AGE/);
    expect(text).toContain('(not shown for want of room: ');
  });

  test('fault 77: errors are red there, except with NO_COLOR, and never in a file', async () => {
    const words = ['list', '--from', join(folder, 'nothing-here')];
    expect(await inTerminal(80, words)).toContain('\u001b[31merror:');
    expect(await inTerminal(80, words, { NO_COLOR: '1' })).not.toContain('\u001b');
    expect((await runWarden(words)).stderr).not.toContain('\u001b');
  });

  test('fault 77: elsewhere nothing is wrapped, cut or coloured', async () => {
    const { stdout } = await runWarden(['list', '--from', store]);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).not.toContain('want of room');
    expect(stdout).toMatch(/^ID .*RETENTION +LABEL\n/);
  });
});

describe('--json', () => {
  const notAFolder = (): string => {
    const path = join(folder, 'not-a-folder');
    writeFileSync(path, '');
    return path;
  };
  const broken = (): string => {
    const path = join(folder, 'broken.yaml');
    writeFileSync(path, 'clusters:\n\t- x\n');
    return path;
  };

  test('fault 77: one document on stdout, and nothing else, whatever fails', async () => {
    // Those of the command line alone are in src/cli/run.test.ts; these go through a whole process.
    const failures: [words: string[], code: number, error: string][] = [
      [['bogus'], 2, 'usage'],
      [['config', 'check', '--config', broken()], 2, 'config-invalid'],
      [['show', 'zzz', '--from', store], 10, 'nothing-found'],
      [['list', '--from', notAFolder()], 1, 'store-unavailable'],
      [['backup', '--endpoints', 'http://127.0.0.1:1', '--to', join(folder, 'new')], 1, 'unreachable'],
    ];
    for (const [words, code, error] of failures) {
      const result = await runWarden([...words, '--json']);
      expect({ words, code: result.code, error: result.json<{ error: { code: string } }>().error.code }).toEqual({ words, code, error });
      expect(result.json<{ error: { message: string } }>().error.message).not.toBe('');
      expect(result.stderr).toBe('');
    }
  });

  test('an environment that holds secrets shows none of them', async () => {
    const env = { ETCDCTL_USER: 'root:hunter2', ETCDCTL_ENDPOINTS: 'http://user:hunter2@127.0.0.1:1' };
    for (const words of [
      ['status', '--to', store],
      ['backup', '--to', store, '--json'],
      ['config', 'print', '--to', 's3://key:hunter2@bucket/x', '--json'],
    ]) {
      const { stdout, stderr } = await runWarden(words, { env });
      expect(stdout + stderr).not.toContain('hunter2');
      expect(stdout + stderr).not.toBe('');
    }
  });
});

describe('Ctrl-C', () => {
  /** An etcd that accepts the connection and says nothing: the command waits. */
  async function waiting(signals: readonly NodeJS.Signals[]): Promise<{ code: number | null; stderr: string; tookMs: number }> {
    const { createServer } = await import('node:net');
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const connected = once(silent, 'connection');
    const patient = ['--request-timeout', '60s', '--dial-timeout', '60s'];
    const running = startWarden(['status', '--endpoints', `http://127.0.0.1:${port}`, '--from', store, ...patient]);
    await connected;
    const began = performance.now();
    for (const signal of signals) running.kill(signal);
    const { code, stderr } = await running.done;
    silent.close();
    return { code, stderr, tookMs: performance.now() - began };
  }

  test('fault 77: once stops cleanly with exit code 130 and says so', async () => {
    const { code, stderr, tookMs } = await waiting(['SIGINT']);
    expect(code).toBe(130);
    expect(stderr).toMatch(/^SIGINT: stopping cleanly; once more stops at once\nerror: stopped by SIGINT\nhint: /);
    expect(tookMs).toBeLessThan(30_000);
  });

  test('fault 77: twice stops at once', async () => {
    const { code, tookMs } = await waiting(['SIGINT', 'SIGINT']);
    expect(code).toBe(130);
    expect(tookMs).toBeLessThan(30_000);
  });

  test('SIGTERM is the same', async () => {
    expect((await waiting(['SIGTERM'])).code).toBe(130);
  });
});
