import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const BIN = join(import.meta.dirname, '../../bin');
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'etcd-warden-bin-'));
  cpSync(BIN, join(root, 'bin'), { recursive: true });
  write('package.json', '{ "type": "module" }');
  // Makes the Node that loads it look old. The Node that the bin re-executes does not load it.
  write('old.cjs', "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } });");
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

describe('an installed etcd-warden', () => {
  test('runs dist with the arguments it was given', async () => {
    write('dist/cli/main.js', 'console.log(JSON.stringify(process.argv.slice(2)));');
    expect(await run(['list', '--json'])).toMatchObject({ code: 0, stdout: '["list","--json"]\n' });
  });

  test('refuses an old Node with one sentence', async () => {
    write('dist/cli/main.js', '');
    const { code, stdout, stderr } = await run([], { old: true });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^etcd-warden needs Node 22\.18 or newer, found 18\.20\.8 \(.+\)\n$/);
  });

  test('reports an error at start with a stack and exit code 1', async () => {
    write('dist/cli/main.js', "throw new Error('broken');");
    const { code, stderr } = await run([]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/Error: broken\n\s+at /);
  });
});

describe('a checkout of etcd-warden', () => {
  beforeEach(() => {
    write('src/cli/main.ts', 'const args: string[] = process.argv.slice(2);\nconsole.log(args.join(), process.versions.node);');
  });

  test.each([{ old: false }, { old: true }])('without packages names the set-up command in one line (old Node: $old)', async (options) => {
    const { code, stdout, stderr } = await run([], options);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^etcd-warden: this checkout is not set up; run: node \S*tools\/setup\.cjs unit\n$/);
  });

  test('runs its TypeScript as it stands', async () => {
    installPackages();
    expect(await run(['status'])).toMatchObject({ code: 0, stdout: `status ${process.versions.node}\n` });
  });

  test('with an old Node runs by the pinned one, with the same arguments and exit code', async () => {
    installPackages();
    write('src/cli/main.ts', 'console.log(process.argv.slice(2).join(), process.versions.node);\nprocess.exitCode = 14;');
    expect(await run(['a', 'b c'], { old: true })).toMatchObject({ code: 14, stdout: `a,b c ${process.versions.node}\n` });
  });

  test('passes signals on to the pinned Node, and ends as it ends', async () => {
    installPackages();
    write('src/cli/main.ts', "process.on('SIGTERM', () => process.exit(7));\nsetInterval(() => undefined, 1000);\nconsole.log('ready');");
    const child = start([], { old: true });
    await once(child.stdout!, 'data');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([7, null]);
  });

  test('dies by the signal that its pinned Node died by', async () => {
    installPackages();
    write('src/cli/main.ts', "setInterval(() => undefined, 1000);\nprocess.kill(process.pid, 'SIGTERM');");
    expect(await once(start([], { old: true }), 'exit')).toEqual([null, 'SIGTERM']);
  });
});

function installPackages(): void {
  mkdirSync(join(root, 'node_modules/commander'), { recursive: true });
  mkdirSync(join(root, 'node_modules/.bin'));
  symlinkSync(process.execPath, join(root, 'node_modules/.bin/node'));
}

function write(path: string, content: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

function start(args: string[], { old = false } = {}): ChildProcess {
  const preload = old ? ['--require', join(root, 'old.cjs')] : [];
  return spawn(process.execPath, [...preload, join(root, 'bin/etcd-warden'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function run(args: string[], options: { old?: boolean } = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = start(args, options);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit') as Promise<[number]>]);
  return { code, stdout, stderr };
}
