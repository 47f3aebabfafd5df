import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from './load.ts';
import { packConfig, unpackConfig } from './pack.ts';
import { printConfig, printedConfig } from './print.ts';

let folder: string;
let file: string;

const TEXT = `
clusters:
  main:
    endpoints: [https://10.0.0.1:2379]
    user: root
    password: hunter2
    backup: {schedule: '30 */6 * * *', maxRate: 100MiB, label: '# not a comment: "quoted"'}
    retention: {keepWithin: 36h}
stores:
  offsite:
    type: s3
    bucket: backups
    proxy: http://me:hunter2@proxy:3128
    accessKeyId: env:KEY_ID
    secretAccessKeyFile: key
`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'print-'));
  file = join(folder, 'config.yaml');
  writeFileSync(file, TEXT, { mode: 0o600 });
  writeFileSync(join(folder, 'key'), 'hunter2', { mode: 0o600 });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const ENV = { KEY_ID: 'hunter2', ETCD_WARDEN_LOG_LEVEL: 'debug' };

describe('config print', () => {
  test('shows each value as a user would write it, with its origin', () => {
    const text = printConfig(loadConfig({ flags: { config: file, logFormat: 'json' }, env: ENV, uid: 0 }));
    const lines = text.split('\n').map((line) => line.replaceAll(/ {2,}# /g, '  # ').replaceAll(folder, ''));
    for (const line of [
      '# /config.yaml',
      'stateDir: /var/lib/etcd-warden  # default',
      '  level: debug  # environment ETCD_WARDEN_LOG_LEVEL',
      '  format: json  # --log-format',
      '    endpoints: [https://10.0.0.1:2379]  # /config.yaml:4:16',
      '    password: "********"  # /config.yaml:6:15',
      '      schedule: 30 */6 * * *  # /config.yaml:7:24',
      '      maxRate: 100MiB  # /config.yaml:7:49',
      '      maxAge: 12h15m  # default',
      '      keepWithin: 1d12h  # /config.yaml:8:29',
      '    accessKeyId: env:KEY_ID  # /config.yaml:14:18',
      '    secretAccessKeyFile: /key  # /config.yaml:15:26',
    ]) {
      expect(lines).toContain(line);
    }
  });

  test('never shows a secret, wherever it was written', () => {
    const loaded = loadConfig({ flags: { config: file }, env: ENV });
    expect(printConfig(loaded) + JSON.stringify(printedConfig(loaded))).not.toContain('hunter2');
    const direct = loadConfig({ flags: { endpoints: 'a:1' }, env: { ETCDCTL_USER: 'root:hunter2' } });
    expect(printConfig(direct) + JSON.stringify(printedConfig(direct))).not.toContain('hunter2');
  });

  test('prints what can be loaded again, with the same result, when no secret is written in plain text', () => {
    writeFileSync(file, TEXT.replace('password: hunter2', 'password: env:KEY_ID').replace('me:hunter2@', ''));
    const first = loadConfig({ flags: { config: file }, env: ENV });
    writeFileSync(file, printConfig(first));
    const second = loadConfig({ flags: { config: file }, env: ENV });
    expect(packConfig(second.config)).toBe(packConfig(first.config));
  });

  test('has the same content as JSON', () => {
    const printed = printedConfig(loadConfig({ flags: { config: file }, env: ENV }));
    expect(printed).toMatchObject({
      file,
      values: { clusters: { main: { backup: { maxRate: '100MiB' } } }, log: { level: 'debug' } },
      origins: { 'log.level': 'environment ETCD_WARDEN_LOG_LEVEL' },
    });
  });
});

describe('a packed configuration', () => {
  test('carries the secrets to a process that has neither environment nor credentials', () => {
    const { config } = loadConfig({ flags: { config: file }, env: ENV });
    const unpacked = unpackConfig(packConfig(config));
    expect(unpacked.clusters['main']!.password!.read()).toBe('hunter2');
    expect(unpacked.clusters['main']!.password!.origin).toBe('the configuration file');
    const store = unpacked.stores['offsite']!;
    expect(store.type === 's3' && store.secretAccessKey!.read()).toBe('hunter2');
    expect(JSON.stringify(unpacked)).not.toContain('"hunter2"');
    expect(packConfig(unpacked)).toBe(packConfig(config));
  });
});
