import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { docsMarkdown } from './docs.ts';
import { flagOptions } from './flags.ts';
import { FORMATS } from './formats.ts';
import { loadConfig } from './load.ts';
import { envName, flagName } from './option.ts';
import { OPTIONS } from './options.ts';

const ROOT = join(import.meta.dirname, '../..');
const ALL = Object.values(OPTIONS).flat();
const CONTEXT = { now: new Date('2026-11-22T10:00:00Z'), folder: '/', credentials: '/run/credentials' };

describe('the option table', () => {
  test('gives no two options of a call the same flag or variable', () => {
    const flags = [...flagOptions('call'), ...flagOptions('daemon'), ...flagOptions('cluster'), ...flagOptions('store')];
    expect(new Set(flags.map((flag) => flag.name)).size).toBe(flags.length);
    expect(new Set(flags.map((flag) => flag.key)).size).toBe(flags.length);
    const variables = [...OPTIONS.daemon, ...OPTIONS.cluster, ...OPTIONS.s3].flatMap((option) => envName(option) ?? []);
    expect(new Set(variables).size).toBe(variables.length);
  });

  test('lets no flag carry a secret', () => {
    for (const option of ALL.filter((candidate) => candidate.format === 'secret')) expect(flagName(option)).toBeUndefined();
    expect(flagOptions('cluster').map((flag) => flag.name)).toContain('password-file');
    expect(flagOptions('cluster').map((flag) => flag.name)).not.toContain('password');
  });

  test.each(ALL.filter((option) => option.default !== undefined).map((option) => [option.path, option] as const))(
    'has a default for %s that passes its own checks',
    (_, option) => {
      const format = FORMATS[option.format];
      const value = typeof option.default === 'string' ? (format.coerce?.(option.default) ?? option.default) : option.default;
      expect(() => format.check(value, option, CONTEXT)).not.toThrow();
    },
  );

  test('has a sentence for every option', () => {
    for (const option of ALL) expect(option.doc, option.path).toMatch(/^[A-Z`].*[.)]$/s);
  });

  test('writes flags as commander understands them', () => {
    const spelled = Object.fromEntries(flagOptions('cluster').map((flag) => [flag.name, flag]));
    expect(spelled['discover']).toMatchObject({ flags: '--no-discover', key: 'discover' });
    expect(spelled['insecure-skip-tls-verify']).toMatchObject({ flags: '--insecure-skip-tls-verify', key: 'insecureSkipTlsVerify' });
    expect(spelled['schedule']).toMatchObject({ flags: '--schedule <cron>', repeatable: false, env: 'ETCD_WARDEN_SCHEDULE' });
    expect(spelled['endpoints']).toMatchObject({ flags: '--endpoints <urls>', repeatable: true });
    expect(flagOptions('store').map((flag) => flag.key)).toContain('s3Endpoint');
  });
});

describe('what is written from the table', () => {
  test('docs/configuration.md is current: `etcd-warden config docs > docs/configuration.md` makes it so', () => {
    expect(readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8')).toBe(docsMarkdown());
  });

  test('config/etcd-warden.yaml works as it stands', () => {
    const { config, warnings } = loadConfig({ flags: { config: join(ROOT, 'config/etcd-warden.yaml') }, env: {} });
    expect(warnings).toEqual([]);
    expect(config.clusters['main']).toMatchObject({ endpoints: ['http://127.0.0.1:2379'], backup: { stores: ['local'] } });
  });

  test('every option that config/etcd-warden.yaml comments out is one', () => {
    const text = readFileSync(join(ROOT, 'config/etcd-warden.yaml'), 'utf8');
    const keys = new Set([...ALL.flatMap((option) => option.path.split('.')), 'clusters', 'stores', 'main', 'local', 'offsite']);
    for (const [, key] of text.matchAll(/^\s*(?:# +)*([a-zA-Z]+):(?: [^ ]|$)/gm)) expect(keys, `the key ${key!}`).toContain(key);
  });
});
