import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig, type LoadedConfig } from './load.ts';
import { ConfigError } from './problems.ts';

const KEY = `AGE-SECRET-KEY-1${'Q'.repeat(58)}`;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secret-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

/** A configuration file with more lines in its one cluster and at its top. */
function load(lines: readonly string[], env: Record<string, string> = {}, top: readonly string[] = []): LoadedConfig {
  const file = write(
    'config.yaml',
    [
      ...top,
      'clusters:',
      '  main:',
      '    endpoints: [https://10.0.0.1:2379]',
      '    user: root',
      '    retention: {keepLast: 1}',
      ...lines.map((line) => `    ${line}`),
      `stores: {local: {type: local, path: ${folder}}}`,
    ].join('\n'),
  );
  return loadConfig({ flags: { config: file }, env });
}

function password(lines: readonly string[], env: Record<string, string> = {}): string {
  return load(lines, env).config.clusters['main']!.password!.read();
}

describe('a secret', () => {
  test('comes from a file, without its last line end, and is read again at each use', () => {
    const path = write('pw', 'first\n');
    const secret = load([`passwordFile: ${path}`]).config.clusters['main']!.password!;
    expect(secret.origin).toBe(`file ${path}`);
    expect(secret.read()).toBe('first');
    write('pw', 'second\r\n');
    expect(secret.read()).toBe('second');
    rmSync(path);
    expect(() => secret.read()).toThrow(`the secret from file ${path} cannot be read: there is no such file`);
  });

  test('comes from a variable, a file or a credential that the configuration names', () => {
    write('pw', 'from a file');
    expect(password(['password: env:ETCD_PW'], { ETCD_PW: 'from a variable' })).toBe('from a variable');
    expect(password(['password: file:pw'])).toBe('from a file');
    expect(password(['password: credential:pw'], { CREDENTIALS_DIRECTORY: folder })).toBe('from a file');
    expect(password(['password: plain'])).toBe('plain');
  });

  test("comes from systemd's credentials by itself, that of the cluster first", () => {
    write('etcd-password', 'for all');
    const loaded = load([], { CREDENTIALS_DIRECTORY: folder });
    expect(loaded.config.clusters['main']!.password!.read()).toBe('for all');
    expect(loaded.origins['clusters.main.password']).toEqual({ kind: 'credential', name: 'etcd-password' });
    write('main.etcd-password', 'for one');
    expect(password([], { CREDENTIALS_DIRECTORY: folder })).toBe('for one');
    expect(password(['password: plain'], { CREDENTIALS_DIRECTORY: folder })).toBe('plain');
  });

  test('without a file comes from a variable, or from a file that a flag or variable names', () => {
    const path = write('pw', 'from a file');
    const read = (flags: Record<string, string>, env: Record<string, string>): string =>
      loadConfig({ flags: { endpoints: 'a:1', user: 'root', ...flags }, env }).config.clusters['default']!.password!.read();
    expect(read({}, { ETCD_WARDEN_PASSWORD: 'env:literal' })).toBe('env:literal');
    expect(read({}, { ETCD_WARDEN_PASSWORD_FILE: path, ETCDCTL_PASSWORD: 'older' })).toBe('from a file');
    expect(read({ passwordFile: path }, { ETCD_WARDEN_PASSWORD: 'other' })).toBe('from a file');
  });

  test.each([
    ['a file that is not there', 'passwordFile: /not/there', /file \/not\/there cannot be read: there is no such file/],
    ['an empty file', 'passwordFile: empty', /it is empty/],
    ['a folder', 'passwordFile: /', /it is a folder/],
    ['a credential outside a unit', 'password: credential:x', /CREDENTIALS_DIRECTORY is not set/],
    ['a credential that climbs', 'password: credential:../x', /name of a file in the credentials directory/],
    ['two places at once', 'password: a\n    passwordFile: /b', /only one of password and passwordFile/],
    ['nothing', 'password: ""', /expected a text/],
  ])('is refused at once when it is %s', (_, line, reason) => {
    write('empty', '\n');
    expect(() => load([line])).toThrow(reason);
    expect(() => load([line])).toThrow(ConfigError);
  });

  test('of the wrong form is refused without being shown', () => {
    const wrong = [
      () => load(['passwordFile: pw', 'encryption: {identity: hunter2hunter2}']),
      () => load(['passwordFile: pw'], {}, ['api: {listen: "127.0.0.1:0", token: hunter2 short}']),
    ];
    write('pw', 'x');
    for (const run of wrong) {
      expect(run).toThrow(ConfigError);
      expect(run).not.toThrow(/hunter2/);
    }
    write('key', `# created: today\n# public key: age1…\n${KEY}\n`);
    const identity = load(['passwordFile: pw', 'encryption: {identityFile: key}']);
    expect(identity.config.clusters['main']!.encryption.identity!.read()).toContain(KEY);
  });

  test('in a file that others can read is warned of, by name and with the remedy', () => {
    const path = write('pw', 'x', 0o644);
    expect(load([`passwordFile: ${path}`]).warnings).toEqual([
      `clusters.main.passwordFile: everyone on this machine can read ${path}; \`chmod 600 ${path}\` changes that`,
    ]);
  });

  test('that can be read only once, as from <(pass show etcd), is kept', () => {
    const path = join(folder, 'pipe');
    execFileSync('sh', ['-c', `mkfifo ${path}`]);
    const writer = spawn('sh', ['-c', `echo once > ${path}`]);
    const secret = loadConfig({ flags: { endpoints: 'a:1', user: 'root', passwordFile: path }, env: {} }).config.clusters['default']!
      .password!;
    expect([secret.read(), secret.read()]).toEqual(['once', 'once']);
    writer.kill();
  });

  test('key or certificate may be a credential of the unit', () => {
    write('etcd-key', '');
    write('etcd-cert', '');
    const loaded = load(['password: x', 'tls: {certFile: "credential:etcd-cert", keyFile: "credential:etcd-key"}'], {
      CREDENTIALS_DIRECTORY: folder,
    });
    expect(loaded.config.clusters['main']!.tls.keyFile).toBe(join(folder, 'etcd-key'));
    expect(() => load(['password: x', 'tls: {caFile: "credential:../x"}'])).toThrow(/name of a file in the credentials directory/);
    expect(() => load(['password: x', 'tls: {caFile: "credential:ca"}'])).toThrow(/etcd-warden\.service\/ca/);
  });

  test('shows nowhere in an object that is logged', () => {
    const { config } = load(['password: hunter2']);
    expect(JSON.stringify(config)).not.toContain('hunter2');
  });
});
