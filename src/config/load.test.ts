import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FileAccess } from './files.ts';
import { loadConfig, type LoadedConfig, type LoadInput } from './load.ts';
import { ConfigError, type ConfigProblem } from './problems.ts';

const FILE = '/etc/etcd-warden/config.yaml';
const NOW = new Date('2026-11-22T10:00:00Z');

/** A file system in memory; a file may have a mode of its own. */
function files(content: Readonly<Record<string, string | { text: string; mode: number }>>): FileAccess {
  const get = (path: string): { text: string; mode: number } | undefined => {
    const file = Object.hasOwn(content, path) ? content[path] : undefined;
    return typeof file === 'string' ? { text: file, mode: 0o600 } : file;
  };
  return {
    read(path) {
      const file = get(path);
      if (file === undefined) throw Object.assign(new Error(`ENOENT ${path}`), { code: 'ENOENT' });
      return file.text;
    },
    stat(path) {
      const file = get(path);
      return file === undefined ? undefined : { kind: 'file', mode: file.mode };
    },
  };
}

function load(input: LoadInput): LoadedConfig {
  return loadConfig({ env: {}, cwd: '/srv', files: files({}), now: NOW, uid: 0, ...input });
}

function loadText(text: string, input: LoadInput = {}): LoadedConfig {
  return load({ files: files({ [FILE]: text }), ...input });
}

function failure(run: () => unknown): ConfigError {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function problemsOf(text: string, input: LoadInput = {}): readonly ConfigProblem[] {
  return failure(() => loadText(text, input)).problems;
}

const SIMPLE = `
clusters:
  main:
    endpoints: [https://10.0.0.1:2379]
    retention: {keepLast: 3}
stores:
  local: {type: local, path: /var/backups}
  offsite: {type: s3, bucket: etcd-backups, prefix: /prod/}
`;

/** One more line in the middle of `clusters.main`. */
function withLines(...lines: string[]): string {
  return SIMPLE.replace('    retention', `${lines.map((line) => `    ${line}\n`).join('')}    retention`);
}

describe('a configuration file', () => {
  test('gives clusters, stores and defaults', () => {
    const { config, warnings } = loadText(SIMPLE);
    expect(warnings).toEqual([]);
    expect(config.file).toBe(FILE);
    expect(config.clusters['main']).toMatchObject({
      name: 'main',
      endpoints: ['https://10.0.0.1:2379'],
      member: 'leader',
      backup: {
        schedule: { cron: '0 * * * *', timeZone: 'UTC', jitterMs: 0 },
        stores: ['local', 'offsite'],
        maxAgeMs: 2 * 3_600_000 + 900_000,
      },
      retention: { keepLast: 3, keepDaily: 0, timeZone: 'UTC' },
    });
    expect(config.stores['local']).toEqual({ type: 'local', name: 'local', path: '/var/backups' });
    expect(config.stores['offsite']).toMatchObject({ type: 's3', bucket: 'etcd-backups', prefix: 'prod', pathStyle: false, maxRate: 0 });
    expect(config).toMatchObject({
      stateDir: '/var/lib/etcd-warden',
      http: { listen: '127.0.0.1:9378' },
      api: { listen: undefined },
      daemon: { heavyJobs: 1 },
    });
  });

  test('goes below variables, and those below flags; each value knows where it is from', () => {
    const text = `${SIMPLE}log: {level: warn, format: json}\n`;
    const { config, origins } = loadText(text, {
      env: { ETCD_WARDEN_LOG_LEVEL: 'error', ETCD_WARDEN_LOG_FORMAT: 'text' },
      flags: { logLevel: 'debug' },
    });
    expect(config.log).toEqual({ level: 'debug', format: 'text' });
    expect(origins).toMatchObject({
      'log.level': { kind: 'flag', name: 'log-level' },
      'log.format': { kind: 'environment', name: 'ETCD_WARDEN_LOG_FORMAT' },
      'clusters.main.endpoints': { kind: 'file', path: FILE, line: 4 },
      stateDir: { kind: 'default' },
    });
  });

  test('is not needed when a flag says what to work on', () => {
    const both = files({ [FILE]: 'nonsense' });
    for (const flags of [{ endpoints: 'a:2379' }, { to: '/x' }, { from: '/x' }])
      expect(load({ files: both, flags }).config.file).toBeUndefined();
    expect(() => load({ files: both })).toThrow(ConfigError);
  });

  test('is --config, else ETCD_WARDEN_CONFIG, else the usual place', () => {
    const three = files({ '/srv/a.yaml': SIMPLE, '/b.yaml': SIMPLE, [FILE]: SIMPLE });
    const env = { ETCD_WARDEN_CONFIG: '/b.yaml' };
    expect(load({ files: three, env, flags: { config: 'a.yaml' } }).config.file).toBe('/srv/a.yaml');
    expect(load({ files: three, env }).config.file).toBe('/b.yaml');
    expect(load({ files: three }).config.file).toBe(FILE);
    expect(load({ files: three, flags: { config: 'a.yaml', to: '/x' } }).config.file).toBe('/srv/a.yaml');
  });

  test('that is named and not there is the only error', () => {
    const error = failure(() => load({ flags: { config: 'gone.yaml', to: 'offsite' } }));
    expect(error.problems).toEqual([expect.objectContaining({ value: '"/srv/gone.yaml"', suggestion: 'there is no such file' })]);
    expect(error.exitCode).toBe(2);
  });

  test('makes --endpoints a usage error', () => {
    const error = failure(() => loadText(SIMPLE, { flags: { config: FILE, endpoints: 'a:2379', keepLast: '3' } }));
    expect(error.code).toBe('usage');
    expect(error.problems.map((problem) => problem.path)).toEqual(['--endpoints', '--keep-last']);
  });

  test("lets etcdctl's variables rest, and says that ours for clusters do not count", () => {
    const { config, warnings } = loadText(SIMPLE, { env: { ETCDCTL_ENDPOINTS: 'x:1', ETCD_WARDEN_ENDPOINTS: 'y:1' } });
    expect(config.clusters['main']!.endpoints).toEqual(['https://10.0.0.1:2379']);
    expect(warnings).toEqual(['ETCD_WARDEN_ENDPOINTS counts only without a configuration file; it is ignored']);
  });

  test('has --cluster choose among its clusters', () => {
    expect(loadText(SIMPLE, { flags: { cluster: 'main' } }).selected.cluster).toBe('main');
    expect(problemsOf(SIMPLE, { flags: { cluster: 'mein' } })).toEqual([
      expect.objectContaining({ path: '--cluster', expected: 'one of main', suggestion: 'did you mean main?' }),
    ]);
  });

  test('resolves relative paths against its own folder', () => {
    const { config } = loadText(SIMPLE.replace('/var/backups', 'backups'));
    expect(config.stores['local']).toMatchObject({ path: '/etc/etcd-warden/backups' });
  });

  test('may use anchors and aliases', () => {
    const text = `
clusters:
  a: {endpoints: [x:2379], retention: &keep {keepLast: 2}}
  b: {endpoints: [y:2379], retention: *keep}
stores: {local: {type: local, path: /b}}
`;
    expect(loadText(text).config.clusters['b']!.retention.keepLast).toBe(2);
  });

  test('may leave a group empty, as a commented example does', () => {
    expect(loadText(withLines('tls:', 'backup:')).config.clusters['main']!.tls.caFile).toBeUndefined();
  });
});

describe('fault 76: a bad configuration', () => {
  test('is answered with every error at once, each with place, value, what was expected and what was meant', () => {
    const text = `
log: {levl: debug}
clusters:
  main:
    endpoints: [10.0.0.1]
    backup: {schedule: '0 0 30 2 *', maxAge: 1D, jitter: -3, timeZone: Europe/Berln, maxRate: 8G}
    retention: {keepLast: -1, keepWithin: 1e9}
stores:
  local: {type: lokal, path: /x}
`;
    expect(failure(() => loadText(text)).message).toBe(
      `the configuration has 10 errors:
  - log.levl (${FILE}:2:7): expected a known key; did you mean level?
  - stores.local.type (${FILE}:9:17): expected local or s3, got "lokal"; did you mean local?
  - clusters.main.endpoints (${FILE}:5:16): expected client addresses such as https://10.0.0.1:2379, got ["10.0.0.1"]; did you mean 10.0.0.1:2379?
  - clusters.main.backup.schedule (${FILE}:6:24): expected a schedule that comes round at all; this one never does, got "0 0 30 2 *"
  - clusters.main.backup.timeZone (${FILE}:6:72): expected a time zone such as UTC or Europe/Berlin, got "Europe/Berln"; did you mean Europe/Berlin?
  - clusters.main.backup.jitter (${FILE}:6:58): expected a duration such as 30s, 5m, 6h or 1d12h, got "-3"
  - clusters.main.backup.maxAge (${FILE}:6:46): expected a duration such as 30s, 5m, 6h or 1d12h, got "1D"; did you mean 1d?
  - clusters.main.backup.maxRate (${FILE}:6:95): expected a size in bytes such as 8GiB, 500MB or 0, got "8G"; did you mean 8GiB?
  - clusters.main.retention.keepLast (${FILE}:7:27): expected a whole number from 0 to 100000, got "-1"
  - clusters.main.retention.keepWithin (${FILE}:7:43): expected a duration such as 30s, 5m, 6h or 1d12h, got "1e9"`,
    );
  });

  test('an unknown key is named, with the key that was meant, and without its value', () => {
    const problems = problemsOf(withLines('pasword: hunter2', 'maxAge: 3h', 'tls: {ca_file: /x}', 'nonsense: 1'));
    expect(problems.map(({ path, suggestion }) => [path, suggestion])).toEqual([
      ['clusters.main.pasword', 'did you mean password?'],
      ['clusters.main.maxAge', 'did you mean backup.maxAge?'],
      ['clusters.main.tls.ca_file', 'did you mean caFile?'],
      ['clusters.main.nonsense', undefined],
    ]);
    expect(JSON.stringify(problems)).not.toContain('hunter2');
  });

  test('a duplicate key is an error with its line', () => {
    expect(problemsOf(withLines('user: a', 'user: b', 'password: env:X'), { env: { X: 'x' } })).toEqual([
      { path: 'user', origin: { kind: 'file', path: FILE, line: 6, column: 5 }, expected: 'each key only once' },
    ]);
  });

  test('tabs are an error with their line', () => {
    expect(problemsOf('clusters:\n\tmain:\n')[0]).toMatchObject({
      origin: { line: 2 },
      expected: 'spaces instead of tabs at the start of a line',
    });
  });

  test('an interval of 1e9 is an error in whatever way it is written', () => {
    for (const text of ['1e9', '1000000000', '1000000000s', '1e9s', '.inf']) {
      expect(problemsOf(withLines(`requestTimeout: ${text}`))).toEqual([expect.objectContaining({ path: 'clusters.main.requestTimeout' })]);
    }
    expect(problemsOf(withLines('requestTimeout: 1000000000s'))[0]!.expected).toMatch(/at most 1h/);
  });

  test('a negative number is an error', () => {
    expect(problemsOf(withLines('backup: {retries: -1}'))).toEqual([
      expect.objectContaining({ value: '"-1"', expected: 'a whole number from 0 to 100' }),
    ]);
  });

  test('1d is a day, 1D is not', () => {
    expect(loadText(withLines('backup: {catchUp: 1d}')).config.clusters['main']!.backup.catchUpMs).toBe(86_400_000);
    expect(problemsOf(withLines('backup: {catchUp: 1D}'))[0]!.suggestion).toBe('did you mean 1d?');
  });

  test('a secret in plain text in a world-readable file is an error that names chmod and not the secret', () => {
    const text = withLines('user: root', 'password: hunter2');
    expect(loadText(text).config.clusters['main']!.password!.read()).toBe('hunter2');
    const error = failure(() => loadText('', { files: files({ [FILE]: { text, mode: 0o644 } }) }));
    expect(error.problems).toEqual([expect.objectContaining({ suggestion: expect.stringContaining(`chmod 600 ${FILE}`) as string })]);
    expect(error.message).toContain('clusters.main.password');
    expect(error.message).not.toContain('hunter2');
  });

  test('a missing variable is an error when the configuration is read', () => {
    expect(problemsOf(withLines('user: root', 'password: env:NOT_THERE'))).toEqual([
      expect.objectContaining({
        path: 'clusters.main.password',
        suggestion: 'the secret from environment NOT_THERE cannot be read: the variable is not set',
      }),
    ]);
  });

  test('a wrong type is told without showing what stands there', () => {
    const problems = problemsOf(withLines('tls: hunter2', 'user: {name: hunter2}', 'password: [hunter2]', 'discover: yes', 'member:'));
    expect(problems.map(({ path, expected, value }) => [path, expected, value])).toEqual([
      ['clusters.main.tls', 'a map of options', 'a single value'],
      ['clusters.main.user', 'a single value', 'a map'],
      ['clusters.main.password', 'a single value', 'a list of something else'],
      ['clusters.main.member', 'a single value', 'nothing'],
      ['clusters.main.discover', 'true or false', '"yes"'],
    ]);
  });

  test('names and references are checked', () => {
    const problems = problemsOf(`
clusters:
  Main: {endpoints: [a:1]}
  main: {endpoints: [a:1], backup: {stores: [lokal, local]}}
stores:
  local: {type: local, path: /b}
  twin: {type: local, path: /b/}
`);
    expect(problems.map(({ path, suggestion }) => [path, suggestion])).toEqual([
      ['clusters.Main', undefined],
      ['clusters.main.backup.stores', 'did you mean local?'],
      ['stores.twin', undefined],
    ]);
  });

  test('a file without clusters or stores says what to write', () => {
    expect(problemsOf('').map(({ path }) => path)).toEqual(['clusters', 'stores']);
    expect(problemsOf('- a')).toContainEqual(expect.objectContaining({ path: '', expected: 'a map of options' }));
    expect(problemsOf('clusters: [{name: a}]')[0]!.expected).toContain('a map by name');
  });

  test('options that belong together are asked for together', () => {
    const paths = (text: string): string[] => problemsOf(text, { uses: [] }).map(({ path, expected }) => `${path}: ${expected}`);
    expect(paths(withLines('tls: {certFile: /c}'))).toEqual(['clusters.main.tls.certFile: tls.keyFile beside it']);
    expect(paths(withLines('user: root'))).toEqual(['clusters.main.user: passwordFile beside it']);
    expect(paths(withLines('passwordFile: /p'))).toEqual(['clusters.main.passwordFile: user beside it']);
    expect(paths(withLines('backup: {schedule: "*/10 * * * *", jitter: 10m}'))).toEqual([
      'clusters.main.backup.jitter: less than the 10m between two runs',
    ]);
    expect(paths(`${SIMPLE}api: {listen: 0.0.0.0:9379}`)).toEqual([
      'api.listen: api.tokenFile beside it: whoever reaches the API starts backups',
      'api.listen: a loopback address, or api.certFile and api.keyFile beside it',
    ]);
    const s3 = (more: string): string[] => paths(SIMPLE.replace('prefix: /prod/', more));
    expect(s3('encryption: sse-c')).toEqual(['stores.offsite.encryption: customerKeyFile beside sse-c']);
    expect(s3('accessKeyIdFile: /a')).toEqual(['stores.offsite.accessKeyIdFile: secretAccessKey or secretAccessKeyFile beside it']);
    expect(s3('kmsKeyId: a')).toEqual(['stores.offsite.kmsKeyId: encryption: sse-kms beside it']);
  });

  test('a private age key among the recipients is refused without being shown', () => {
    const key = `AGE-SECRET-KEY-1${'Q'.repeat(58)}`;
    const error = failure(() => loadText(withLines(`encryption: {recipients: [${key}]}`)));
    expect(error.message).toContain('not the private one');
    expect(error.message).not.toContain('QQQ');
  });

  test('whatever is done to a file, the outcome is a configuration or a ConfigError, and no secret is shown', () => {
    const whole = withLines(
      'user: root',
      'password: "hunter2 *&!@%"',
      'tls: {caFile: /ca}',
      'backup: {schedule: "*/5 * * * *", stores: [local]}',
    );
    const edit = fc.record({
      at: fc.nat(whole.length),
      cut: fc.nat(12),
      put: fc.oneof(
        fc.string({ maxLength: 4 }),
        fc.constantFrom(
          '\t',
          ': ',
          '\n',
          '- ',
          '*',
          '&a ',
          '!x ',
          '{',
          '[',
          "'",
          '<<: ',
          '---\n',
          '~',
          '__proto__: ',
          'constructor: {prototype: 1}',
        ),
      ),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let text = whole;
        for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        try {
          loadText(text, { files: files({ [FILE]: { text, mode: 0o644 }, '/ca': '' }) });
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          expect(error.problems.length).toBeGreaterThan(0);
          expect(error.message).not.toContain('hunter2');
        }
      }),
      { seed: 76, numRuns: 250 },
    );
    expect(({} as Record<string, unknown>)['prototype']).toBeUndefined();
  });
});

describe('without a file', () => {
  test('flags are enough', () => {
    const { config, selected } = load({
      flags: { endpoints: ['10.0.0.1:2379,10.0.0.2:2379'], to: '/var/backups/etcd', keepLast: '3', discover: true },
    });
    expect(config.file).toBeUndefined();
    expect(config.clusters).toMatchObject({
      default: { endpoints: ['http://10.0.0.1:2379', 'http://10.0.0.2:2379'], backup: { stores: ['local'] }, retention: { keepLast: 3 } },
    });
    expect(config.stores).toEqual({ local: { type: 'local', name: 'local', path: '/var/backups/etcd' } });
    expect(selected).toEqual({ cluster: undefined, from: ['local'], to: ['local'] });
  });

  test("etcdctl's variables are understood, below ours and below flags", () => {
    const env = {
      ETCDCTL_ENDPOINTS: 'https://a:2379,b:2379/',
      ETCDCTL_CACERT: '/ca',
      ETCDCTL_CERT: '/cert',
      ETCDCTL_KEY: '/key',
      ETCDCTL_USER: 'root:pa:ss',
      ETCDCTL_DIAL_TIMEOUT: '2s',
      ETCDCTL_COMMAND_TIMEOUT: '1m30s',
      ETCDCTL_INSECURE_SKIP_TLS_VERIFY: 'T',
      ETCDCTL_API: '3',
      ETCD_WARDEN_DIAL_TIMEOUT: '7s',
    };
    const { config, warnings } = load({ env, files: files({ '/ca': '', '/cert': '', '/key': '' }) });
    expect(config.clusters['default']).toMatchObject({
      endpoints: ['https://a:2379', 'https://b:2379'],
      tls: { caFile: '/ca', certFile: '/cert', keyFile: '/key', insecureSkipVerify: true },
      user: 'root',
      dialTimeoutMs: 7000,
      requestTimeoutMs: 90_000,
    });
    expect(config.clusters['default']!.password!.read()).toBe('pa:ss');
    expect(warnings).toEqual([expect.stringContaining('certificates are not checked')]);
    expect(load({ env: { ETCDCTL_USER: 'root', ETCDCTL_PASSWORD: 'secret' } }).config.clusters['default']!.password!.read()).toBe('secret');
    expect(
      load({ env: { ETCDCTL_ENDPOINTS: 'a:2379', ETCDCTL_INSECURE_TRANSPORT: 'false' } }).config.clusters['default']!.endpoints,
    ).toEqual(['https://a:2379']);
  });

  test('a member of this machine is assumed when nobody names one', () => {
    expect(load({}).config.clusters['default']!.endpoints).toEqual(['http://127.0.0.1:2379']);
  });

  test('discovery by DNS is refused in so many words', () => {
    expect(failure(() => load({ env: { ETCDCTL_DISCOVERY_SRV: 'example.org' } })).message).toMatch(/SRV records is not supported/);
    expect(() => load({ env: { ETCDCTL_DISCOVERY_SRV: 'example.org' }, flags: { endpoints: 'a:2379' } })).not.toThrow();
  });

  test('a password given as a flag is refused without being shown', () => {
    const error = failure(() => load({ flags: { endpoints: 'a:1', user: 'root:hunter2' } }));
    expect(error.code).toBe('usage');
    expect(error.message).not.toContain('hunter2');
  });

  test('the cluster is called --cluster, else default', () => {
    expect(Object.keys(load({ flags: { cluster: 'prod' } }).config.clusters)).toEqual(['prod']);
    expect(failure(() => load({ flags: { cluster: 'Prod!' } })).problems[0]).toMatchObject({ path: '--cluster', value: '"Prod!"' });
  });

  test('an s3:// address takes the flags and variables of stores', () => {
    const { config } = load({
      flags: { to: 's3://my.bucket/etcd/', s3Endpoint: 'https://s3.example.org/' },
      env: { ETCD_WARDEN_S3_REGION: 'eu', ETCD_WARDEN_S3_ACCESS_KEY_ID: 'id', ETCD_WARDEN_S3_SECRET_ACCESS_KEY: 'env:not-a-reference' },
    });
    const store = config.stores['s3'];
    expect(store).toMatchObject({
      type: 's3',
      bucket: 'my.bucket',
      prefix: 'etcd',
      endpoint: 'https://s3.example.org',
      region: 'eu',
      pathStyle: true,
    });
    expect(store?.type === 's3' && store.secretAccessKey?.read()).toBe('env:not-a-reference');
  });

  test('a wrong flag is a usage error under its own name', () => {
    const error = failure(() => load({ flags: { to: '/x', schedule: 'hourly', logLevel: 'inof' } }));
    expect(error.code).toBe('usage');
    expect(error.problems.map(({ path, suggestion }) => [path, suggestion])).toEqual([
      ['--log-level', 'did you mean info?'],
      ['--schedule', undefined],
    ]);
  });

  test('a cluster without a store is enough for verbs that need none', () => {
    expect(load({ flags: { endpoints: 'a:1' } }).config).toMatchObject({ stores: {}, clusters: { default: { backup: { stores: [] } } } });
  });

  test('a flag for S3 without a bucket is a usage error', () => {
    expect(failure(() => load({ flags: { to: '/x', s3Region: 'eu' } })).problems).toEqual([
      expect.objectContaining({ path: '--s3-region' }),
    ]);
  });

  test('a mistyped variable is noticed, those of other programs are not', () => {
    expect(load({ env: { ETCD_WARDEN_ENDPOINT: 'x', ETCD_WARDEN_TOOLS_DIR: '/x' } }).warnings).toEqual([
      'ETCD_WARDEN_ENDPOINT is not known; did you mean ETCD_WARDEN_ENDPOINTS?',
    ]);
  });

  test('state goes where the user may write', () => {
    expect(load({ uid: 1000, env: { HOME: '/home/me' } }).config.stateDir).toBe('/home/me/.local/state/etcd-warden');
    expect(load({ uid: 1000, env: { STATE_DIRECTORY: '/var/lib/private/x:/y' } }).config.stateDir).toBe('/var/lib/private/x');
    expect(load({ uid: 0, env: { HOME: '/root' } }).config.stateDir).toBe('/var/lib/etcd-warden');
  });
});

describe('--to and --from', () => {
  test('choose another store for one call', () => {
    const { config, selected } = loadText(SIMPLE, { flags: { config: FILE, to: 'offsite' } });
    expect(selected).toMatchObject({ from: ['offsite'], to: ['offsite'] });
    expect(config.clusters['main']!.backup.stores).toEqual(['offsite']);
  });

  test('mean the same where they do not differ', () => {
    expect(load({ flags: { from: '/b' } }).selected).toEqual(load({ flags: { to: '/b' } }).selected);
    expect(failure(() => load({ flags: { from: '/b', to: '/c' } })).code).toBe('usage');
  });

  test('are source and destination in copy', () => {
    const { config, selected } = loadText(SIMPLE, { flags: { config: FILE, from: 'local', to: 's3://elsewhere/x' }, apart: true });
    expect(selected).toMatchObject({ from: ['local'], to: ['s3'] });
    expect(config.stores['s3']).toMatchObject({ bucket: 'elsewhere', prefix: 'x' });
    expect(config.clusters['main']!.backup.stores).toEqual(['local', 'offsite']);
  });

  test('may name two folders', () => {
    const { config, selected } = load({ flags: { from: '/a', to: '/b' }, apart: true });
    expect(selected.from).toEqual(['local']);
    expect(selected.to).toEqual([expect.stringMatching(/^local-[0-9a-f]{6}$/)]);
    expect(config.stores[selected.to[0]!]).toMatchObject({ path: '/b' });
  });

  test('find the configured store that lies at an address', () => {
    expect(loadText(SIMPLE, { flags: { config: FILE, from: '/var/backups/' } }).selected.from).toEqual(['local']);
    expect(loadText(SIMPLE, { flags: { config: FILE, from: 's3://etcd-backups/prod' } }).selected.from).toEqual(['offsite']);
  });

  test('give a new store beside a file a name that no other has, always the same', () => {
    const flags = { config: FILE, from: 'elsewhere/' };
    const { config, selected } = loadText(SIMPLE, { flags });
    expect(selected.from).toEqual([expect.stringMatching(/^local-[0-9a-f]{6}$/)]);
    expect(selected).toEqual(loadText(SIMPLE, { flags }).selected);
    expect(config.stores[selected.from[0]!]).toMatchObject({ path: '/srv/elsewhere' });
  });

  test('of maintenance by hand go over the file, for the cluster that is meant alone', () => {
    const one = { coordinate: false, settle: '3s', config: FILE };
    const [only] = Object.values(loadText(SIMPLE, { flags: one, byHand: true }).config.clusters);
    expect(only).toMatchObject({ coordinate: false, maintenance: { settleMs: 3_000 } });
    expect(failure(() => loadText(SIMPLE, { flags: one })).message).toContain('beside a configuration file');
    const two = SIMPLE.replace('stores:', '  other: {endpoints: [http://10.0.0.9:2379]}\nstores:');
    const { clusters } = loadText(two, { flags: { ...one, cluster: 'other' }, byHand: true }).config;
    expect(Object.entries(clusters).map(([name, { coordinate }]) => [name, coordinate])).toEqual([
      [only!.name, true],
      ['other', false],
    ]);
  });

  test('know a word as a store with a file and as a folder without', () => {
    expect(problemsOf(SIMPLE, { flags: { config: FILE, to: 'ofsite' } })).toEqual([
      expect.objectContaining({ path: '--to', suggestion: 'did you mean offsite?' }),
    ]);
    expect(load({ flags: { to: 'backups' } }).config.stores['local']).toMatchObject({ path: '/srv/backups' });
  });

  test('refuse what is no address', () => {
    expect(failure(() => load({ flags: { to: 's3://bucket/../x' } })).problems).toEqual([
      expect.objectContaining({ path: '--to', value: '"s3://bucket/../x"' }),
    ]);
  });
});

describe('what a verb does not use', () => {
  test('need not be there: reading backups works where the certificates are gone', () => {
    const text = withLines('tls: {caFile: /gone}', 'user: root', 'passwordFile: /gone');
    expect(problemsOf(text).map(({ path }) => path)).toEqual(['clusters.main.tls.caFile', 'clusters.main.passwordFile']);
    expect(loadText(text, { uses: ['stores'] }).config.clusters['main']!.tls.caFile).toBe('/gone');
  });
});

describe('warnings', () => {
  test('name what will surprise', () => {
    const { warnings } = loadText(
      withLines('backup: {maxAge: 30m}', 'user: root', 'password: env:P').replace('https:', 'http:').replace('{keepLast: 3}', '{}'),
      { env: { P: 'p' } },
    );
    for (const part of ['/readyz will fail', 'nothing is ever removed', 'unencrypted to http://10.0.0.1:2379']) {
      expect(warnings).toContainEqual(expect.stringContaining(part));
    }
    expect(warnings).toHaveLength(3);
  });
});
