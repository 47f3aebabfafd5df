import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
// What the Dockerfile copies before it builds. README and the rest of "files" come along where they exist.
const BUILT_FROM = [
  'package.json',
  'package-lock.json',
  '.npmrc',
  'tsconfig.json',
  'tsconfig.build.json',
  'tools/node',
  'tools/build.ts',
  'src',
  'bin',
];
const ALSO = ['config', 'systemd', 'deploy', 'LICENSE', 'README.md'];

let work: string;
let installed: string;

describe('a production install', () => {
  // Packs and installs what a release would be: built from scratch, without development dependencies.
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'etcd-warden-package-'));
    const stage = join(work, 'stage');
    for (const path of [...BUILT_FROM, ...ALSO.filter((each) => existsSync(join(ROOT, each)))])
      cpSync(join(ROOT, path), join(stage, path), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(stage, 'node_modules'));
    runOrThrow(stage, process.execPath, ['tools/build.ts']);
    npm(stage, ['pack', '--ignore-scripts', '--pack-destination', work]);

    const target = join(work, 'target');
    mkdirSync(target);
    writeFileSync(join(target, 'package.json'), '{ "private": true }');
    const tarball = readdirSync(work).find((name) => name.endsWith('.tgz')) ?? 'no tarball';
    // npm's cache holds all of it since set-up; the registry is asked for what is missing there.
    npm(target, ['install', '--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', join(work, tarball)]);
    installed = join(target, 'node_modules');
  });

  afterAll(() => {
    rmSync(work, { recursive: true });
  });

  test('runs the compiled program by its name', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(installed, '.bin/etcd-warden'), '--help'], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('etcd-warden');
  });

  test('holds no source, no test and no development dependency', () => {
    const paths = readdirSync(join(installed, 'etcd-warden'), { recursive: true, encoding: 'utf8' });
    expect(paths.filter((path) => /\.test\.|^src|^test|^tools|(?<!\.d)\.ts$/.test(path))).toEqual([]);
    const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> };
    expect(Object.keys(devDependencies).filter((name) => !name.startsWith('@types/') && existsSync(join(installed, name)))).toEqual([]);
  });

  test('holds no native addon', () => {
    const paths = readdirSync(installed, { recursive: true, encoding: 'utf8' });
    expect(paths.filter((path) => path.endsWith('.node'))).toEqual([]);
  });

  test('refuses an old Node with one sentence', () => {
    const old = join(work, 'old.cjs');
    writeFileSync(old, "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } });");
    const { status, stderr } = spawnSync(process.execPath, ['--require', old, join(installed, '.bin/etcd-warden'), 'list'], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^etcd-warden needs Node 22\.18 or newer, found 20\.19\.0 .*\n$/);
  });
});

describe('the Dockerfile', () => {
  const lines = readFileSync(join(ROOT, 'Dockerfile'), 'utf8').split('\n');

  test('builds from what this test builds from', () => {
    const copied = lines
      .filter((line) => line.startsWith('COPY') && !line.includes('--from'))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(BUILT_FROM.filter((path) => !copied.includes(path))).toEqual([]);
  });

  test('runs as a user that is not root and checks its health without a shell', () => {
    expect(lines.filter((line) => line.startsWith('USER'))).toEqual(['USER 65532:65532']);
    expect(lines.find((line) => line.startsWith('HEALTHCHECK'))).toMatch(
      /CMD \["\/nodejs\/bin\/node", "bin\/etcd-warden", "healthcheck"\]$/,
    );
  });
});

function npm(cwd: string, args: string[]): void {
  const script = process.env['npm_execpath'];
  const [command, first] = script === undefined ? ['npm', []] : [process.execPath, [script]];
  runOrThrow(cwd, command, [...first, ...args, '--loglevel=error']);
}

function runOrThrow(cwd: string, command: string, args: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
}
