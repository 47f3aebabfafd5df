import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ETCD_MINORS } from '../../tools/programs.ts';

const ROOT = join(import.meta.dirname, '../..');
const SETUP = join(ROOT, 'tools/setup');
let home: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'etcd-warden-setup-'));
});

afterEach(() => {
  rmSync(home, { recursive: true });
});

describe('setup', () => {
  test('says nothing and takes under a second when everything is in place', () => {
    runSetup(['unit']);
    // The best of three: other tests may be using the cores.
    const durations = [1, 2, 3].map(() => {
      const started = Date.now();
      expect(runSetup(['unit'])).toEqual({ code: 0, stderr: '' });
      return Date.now() - started;
    });
    expect(Math.min(...durations)).toBeLessThan(1000);
  });

  test('runs the file behind --then with its arguments and exit code', () => {
    const file = join(home, 'then.ts');
    writeFileSync(file, 'const code: number = Number(process.argv[2]);\nprocess.exit(code);');
    expect(runSetup(['unit', '--then', file, '5']).code).toBe(5);
  });

  test('refuses an unknown mode with its usage', () => {
    const { code, stderr } = runSetup(['everything']);
    expect(code).toBe(2);
    expect(stderr).toContain('usage: node tools/setup.cjs');
  });

  test('takes the etcd of the chosen folder, and finds it written down the next time', () => {
    fakeEtcd(join(home, 'tools/etcd-3.6'), '3.6.1');
    const env = { ETCD_WARDEN_TOOLS: join(home, 'tools') };
    expect(runSetup(['demo'], env).stderr).toContain(`etcd-3.6: 3.6.1 (ETCD_WARDEN_TOOLS: ${join(home, 'tools/etcd-3.6')})`);
    expect(runSetup(['demo'], env)).toEqual({ code: 0, stderr: '' });
  });

  test('an etcd in PATH counts only when its version fits', () => {
    const find = (version: string): unknown => {
      fakeEtcd(join(home, version), version);
      const script = "process.stdout.write(JSON.stringify(require('./find.cjs').find('etcd-3.6') ?? null))";
      return JSON.parse(
        execFileSync(process.execPath, ['-e', script], { cwd: SETUP, env: environment({ PATH: join(home, version) }), encoding: 'utf8' }),
      );
    };
    expect(find('3.6.99')).toMatchObject({ from: 'PATH', version: '3.6.99' });
    expect(find('3.6.0')).toBeNull();
    expect(find('3.5.99')).toBeNull();
  });

  test('a program that is not set up names the command that sets it up', () => {
    const script = "import('../programs.ts').then(({ program }) => program('etcd', '3.5')).catch((error) => console.log(error.message))";
    const said = execFileSync(process.execPath, ['-e', script], { cwd: SETUP, env: environment({}), encoding: 'utf8' });
    expect(said).toBe('etcd 3.5 is not set up; run: node tools/setup.cjs test\n');
  });
});

describe('the lock of setup', () => {
  test('lets one in at a time', async () => {
    const log = join(home, 'log');
    const work = `require('fs').appendFileSync('${log}', 'in '); await new Promise((r) => setTimeout(r, 50)); require('fs').appendFileSync('${log}', 'out ')`;
    await Promise.all([1, 2, 3].map(() => underLock(work)));
    expect(readFileSync(log, 'utf8')).toBe('in out in out in out ');
    expect(readdirSync(home)).toEqual(['log']);
  });

  test('is taken over from a dead owner', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    writeFileSync(join(home, 'lock'), String(dead));
    await underLock('');
    expect(existsSync(join(home, 'lock'))).toBe(false);
  });

  async function underLock(work: string): Promise<void> {
    const script = `require('./lock.cjs').withLock('${join(home, 'lock')}', async () => { ${work} })`;
    const child = spawn(process.execPath, ['-e', script], { cwd: SETUP, stdio: 'ignore' });
    expect(await once(child, 'exit')).toEqual([0, null]);
  }
});

describe('the pins', () => {
  test('every tools module fixes the checksums of what it builds, for every minor but 3.4, which Debian has', () => {
    const modules = readdirSync(join(ROOT, 'tools/go')).toSorted();
    expect(modules).toEqual(['age', 'bbolt', ...ETCD_MINORS.slice(1).map((minor) => `etcd-${minor}`), 'versitygw']);
    for (const module of modules) expect(readFileSync(join(ROOT, 'tools/go', module, 'go.sum'), 'utf8')).toMatch(/ h1:/);
  });

  test('packages have exact versions, and the lockfile names no registry', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    for (const version of Object.values({ ...dependencies, ...devDependencies }))
      expect(version).toMatch(/^(\d+\.\d+\.\d+|file:tools\/node)$/);
    expect(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).not.toMatch(
      /https?:\/\/(?!github|opencollective|tidelift|[a-z.]*funding)[^"]*\.tgz/,
    );
  });
});

function fakeEtcd(folder: string, version: string): void {
  mkdirSync(folder, { recursive: true });
  for (const command of ['etcd', 'etcdctl', 'etcdutl']) {
    writeFileSync(join(folder, command), `#!/bin/sh\necho "${command} version: ${version}"\n`);
    chmodSync(join(folder, command), 0o755);
  }
}

function runSetup(args: string[], env: Record<string, string> = {}): { code: number | null; stderr: string } {
  const script = join(ROOT, 'tools/setup.cjs');
  const { status, stderr } = spawnSync(process.execPath, [script, ...args], { env: environment(env), encoding: 'utf8' });
  return { code: status, stderr };
}

/** A cache of its own and no programs in PATH: nothing of the machine counts, and nothing of it is touched. */
function environment(more: Record<string, string>): Record<string, string> {
  return { HOME: home, XDG_CACHE_HOME: join(home, 'cache'), PATH: '/nowhere', ...more };
}
