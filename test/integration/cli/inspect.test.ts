/** `keys`, `get`, `history` and `diff` as somebody types them, over real backups of a real etcd with keys as Kubernetes and others write them. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { program } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { configMapValue, secretValue } from '../../support/kubernetes.ts';
import { product } from '../../support/product.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { runWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { encode, integer } from '../../support/wire.ts';

const PASSWORD = 'correct-horse-battery';
const ODD_KEY = Buffer.from([0x2f, 0x6f, 0x64, 0x64, 0xff, 0x1b]);

let folder: string;
let cluster: Cluster;
let gateway: Gateway;
let config: string;
let disk: string;
/** Ids of the two backups. */
let first: string;
let second: string;

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly json: Record<string, unknown>;
}

async function call(words: readonly string[], width = Infinity): Promise<Ran> {
  const output = recordedOutput({ width });
  // As on a terminal: pieces as they are, results with a newline.
  const code = await runCli(words, { env: {}, output: { ...output, out: (text) => output.printed.push(`${text}\n`) } });
  const out = output.printed.join('');
  return {
    code,
    out,
    err: output.said.join('\n'),
    get json() {
      return JSON.parse(out) as Record<string, unknown>;
    },
  };
}

async function put(key: string | Buffer, value: string | Buffer, lease = 0n): Promise<void> {
  await cluster.members[0]!.rpc.call('etcdserverpb.KV/Put', encode([1, Buffer.from(key)], [2, Buffer.from(value)], [3, lease]));
}

async function remove(key: string): Promise<void> {
  await cluster.members[0]!.rpc.call('etcdserverpb.KV/DeleteRange', encode([1, key]));
}

beforeAll(async () => {
  folder = temporaryFolder('cli-inspect');
  [cluster, gateway] = await Promise.all([startCluster({ minor: '3.6', members: 1 }), startGateway()]);
  await gateway.createBucket('looks');
  const made = product({ folder, cluster, s3: { gateway, bucket: 'looks' }, clusterOptions: { coordinate: false } });
  ({ configPath: config, disk } = made);
  const lease = integer(await cluster.members[0]!.rpc.call('etcdserverpb.Lease/LeaseGrant', encode([1, 3600n], [2, 0x1234n])), 2);
  await put('/registry/configmaps/default/app', configMapValue('default', 'app', { colour: 'blue' }));
  await put('/registry/secrets/default/db', secretValue('default', 'db', { password: PASSWORD }));
  await put('/elsewhere/db', secretValue('default', 'db', { password: PASSWORD }));
  await put('/registry/leases/kube-system/scheduler', 'x', lease);
  for (let i = 0; i < 40; i += 1)
    await put(`/registry/pods/ns-${i % 4}/pod-${i}`, configMapValue(`ns-${i % 4}`, `pod-${i}`, { a: 'b'.repeat(i) }));
  await put('/app/settings', '{"level":"info","limit":18446744073709551615}');
  await put('/app/gone', 'here');
  await put('/app/empty', '');
  await put('/app/evil', 'a\u001b[2Jb\u202ec');
  await put('/app/multi', Array.from({ length: 12 }, (_, i) => `line ${i}`).join('\n'));
  await put(ODD_KEY, Buffer.from([0, 1, 0xff]));
  first = (await made.backup()).id;
  await put('/app/settings', '{"level":"debug","limit":18446744073709551615}');
  await put('/app/multi', Array.from({ length: 12 }, (_, i) => (i === 6 ? 'changed' : `line ${i}`)).join('\n'));
  await put('/app/same', '1');
  await put('/registry/secrets/default/db', secretValue('default', 'db', { password: `${PASSWORD}2` }));
  await put('/app/evil', 'a\u001b[2Jb\u202ec');
  await remove('/app/gone');
  second = (await made.backup()).id;
}, 60_000);
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
  removeFolder(folder);
});

const at = (...words: string[]): string[] => [...words, '--config', config];

describe('keys', () => {
  test('lists what lives, with revision, size and lease, and escapes what would command a terminal', async () => {
    const { code, out, err } = await call(at('keys', 'latest'));
    expect(code).toBe(0);
    expect(out).toMatch(/^ *REVISION +VERSION +SIZE +LEASE +KEY\n/u);
    expect(out).toMatch(/ +1 +1 B +1234 +\/registry\/leases\/kube-system\/scheduler\n/u);
    expect(out).toContain('/odd\\xff\\x1b');
    expect(out).not.toContain('\u001b');
    expect(out).not.toContain('/app/gone');
    expect(err).toContain('50 keys at revision');
  });

  test('with a prefix, a limit and an earlier revision', async () => {
    const pods = await call(at('keys', first, '/registry/pods/ns-1/', '--json'));
    expect(pods.json).toMatchObject({ count: 10, more: false, prefix: { key: '/registry/pods/ns-1/' }, snapshot: { name: first } });
    const limited = await call(at('keys', 'latest', '--limit', '3', '--json'));
    expect(limited.json).toMatchObject({ count: 3, more: true });
    const { revision } = (await call(at('keys', first, '--json', '--limit', '1'))).json['snapshot'] as { revision: string };
    const before = await call(at('keys', second, '/app/', '--revision', revision, '--json'));
    expect((before.json['keys'] as { key: string }[]).map(({ key }) => key)).toContain('/app/gone');
  });

  test('a key that is not UTF-8 stands in base64 in JSON, and can be asked for so', async () => {
    const { json } = await call(at('keys', 'latest', '/odd', '--json'));
    expect(json['keys']).toMatchObject([{ key: ODD_KEY.toString('base64'), keyEncoding: 'base64' }]);
    const found = await call(at('get', 'latest', ODD_KEY.toString('base64'), '--base64-key', '--json'));
    expect(found.json).toMatchObject({ value: 'AAH/', valueEncoding: 'base64', content: 'binary' });
    expect((await call(at('get', 'latest', '***', '--base64-key'))).code).toBe(2);
  });

  test('--summary shows what fills the database, largest first', async () => {
    const { json } = await call(at('keys', 'latest', '--summary', '--depth', '2', '--json'));
    const prefixes = json['prefixes'] as { key: string; keys: number; liveBytes: number; historyRecords: number }[];
    expect(prefixes[0]).toMatchObject({ key: '/registry/pods/', keys: 40, historyRecords: 0 });
    expect(prefixes.find(({ key }) => key === '/app/')).toMatchObject({ keys: 5, historyRecords: 5 });
    const { out } = await call(at('keys', 'latest', '--summary', '--limit', '1'));
    expect(out).toMatch(/KEYS +LIVE +HISTORY +SHARE +PREFIX\n +10 .* \/registry\/pods\/ns-\d\/\n\(\d+ smaller/u);
  });

  test('fault 77: in a terminal of 40 columns no line is wider', async () => {
    for (const words of [
      ['keys', 'latest'],
      ['keys', 'latest', '--summary'],
      ['history', 'latest', '/app/settings'],
    ]) {
      const { out } = await call(at(...words), 40);
      for (const line of out.split('\n')) expect([...line].length).toBeLessThanOrEqual(40);
    }
  });
});

describe('get', () => {
  test('shows JSON indented, with all digits of its numbers', async () => {
    const { code, out } = await call(at('get', 'latest', '/app/settings'));
    expect(code).toBe(0);
    expect(out).toContain('content   json');
    expect(out).toContain('"limit": 18446744073709551615');
    expect(out).toContain('"level": "debug"');
  });

  test('at an earlier revision, and refuses those that the backup does not hold', async () => {
    const { json } = await call(at('get', second, '/app/settings', '--json'));
    const before = String(BigInt(json['modRevision'] as string) - 1n);
    expect((await call(at('get', second, '/app/settings', '--revision', before, '--json'))).json).toMatchObject({ version: '1' });
    const future = await call(at('get', 'latest', '/app/settings', '--revision', '999999', '--json'));
    expect(future).toMatchObject({ code: 10, json: { error: { code: 'revision-future' } } });
    expect((future.json['error'] as { hint: string }).hint).toMatch(/holds revisions 1 to \d+/u);
    expect((await call(at('get', 'latest', '/app/settings', '--revision', '0'))).code).toBe(2);
  });

  test('--raw writes the bytes and nothing else', async () => {
    const { out } = await call(at('get', 'latest', '/app/multi', '--raw'));
    expect(out).toMatch(/^line 0\n[^]*line 11$/u);
  });

  test('what is not there: exit code 10, with what is known of it', async () => {
    const deleted = await call(at('get', 'latest', '/app/gone'));
    expect(deleted.code).toBe(10);
    expect(deleted.err).toMatch(/\/app\/gone was deleted at revision \d+\nhint: what it held before: --revision \d+/u);
    const { revision } = (await call(at('keys', first, '--json', '--limit', '1'))).json['snapshot'] as { revision: string };
    const early = await call(at('get', second, '/app/same', '--revision', revision));
    expect(early.err).toMatch(/did not exist at revision \d+.*\nhint: it was created at revision \d+/u);
    expect((await call(at('get', 'latest', '/nothing/like/it'))).err).toContain('holds no key /nothing/like/it');
    expect((await call(at('get', 'latest', '/app/setings'))).err).toContain('there is /app/settings');
    expect((await call(at('get', 'latest', 'app/settings'))).err).toContain('there is /app/settings');
  });

  test('secrets stay masked, by key and by kind, in text and in JSON, until they are asked for', async () => {
    for (const key of ['/registry/secrets/default/db', '/elsewhere/db']) {
      const text = await call(at('get', 'latest', key));
      expect(text.out).toContain('v1 Secret default/db');
      expect(text.out).toMatch(/password: \(masked, \d+ bytes\)/u);
      const json = await call(at('get', 'latest', key, '--json'));
      expect(json.json).toMatchObject({ masked: true, value: null, valueEncoding: 'masked', kubernetes: { kind: 'Secret' } });
      const raw = await call(at('get', 'latest', key, '--raw'));
      expect(raw).toMatchObject({ code: 14, out: '' });
      for (const { out, err } of [text, json, raw]) expect(out + err).not.toContain(PASSWORD.slice(0, 8));
      expect((await call(at('get', 'latest', key, '--raw', '--show-secrets'))).out).toContain(PASSWORD);
    }
  });

  test('control characters of a value never come through', async () => {
    const { out } = await call(at('get', 'latest', '/app/evil'));
    expect(out).toContain('a\\x1b[2Jb\\u{202e}c');
    // eslint-disable-next-line no-control-regex
    expect((await call(at('get', 'latest', '/app/evil', '--json'))).out).not.toMatch(/[\u001b\u202e]/u);
  });

  test('reads from the store that is named, and from the other one when the first fails', async () => {
    for (const store of ['disk', 's3'])
      expect((await call(at('get', 'latest', '/app/same', '--store', store, '--json'))).json).toMatchObject({
        value: '1',
        snapshot: { store },
      });
    expect((await call(at('get', 'latest', '/app/same', '--store', 'nowhere'))).code).toBe(2);
    const data = join(disk, 'main', `${second}.db.zst`);
    const whole = readFileSync(data);
    try {
      writeFileSync(data, Buffer.alloc(whole.length));
      const { code, json, err } = await call(at('get', second, '/app/same', '--json'));
      expect({ code, json }).toMatchObject({ code: 0, json: { value: '1', snapshot: { store: 's3' } } });
      expect(err).toContain('from s3 instead');
    } finally {
      writeFileSync(data, whole);
    }
  });
});

describe('history', () => {
  test('every change with its kind and the time that the marks allow', async () => {
    const { json } = await call(at('history', second, '/app/gone', '--json'));
    expect(json['history']).toMatchObject([
      { kind: 'put', version: '1', after: null },
      { kind: 'delete', version: null, after: expect.any(String), before: expect.any(String) },
    ]);
    const { out } = await call(at('history', second, '/app/gone'));
    expect(out).toMatch(/put +1 +4 B +- +before 20\S+Z\n/u);
    expect(out).toMatch(/delete +- +- +- +20\S+Z to 20\S+Z\n$/u);
  });

  test('--all says which backup holds which change, --values shows the beginning of each', async () => {
    const { json } = await call(at('history', first, '/app/settings', '--all', '--values', '--json'));
    expect(json).toMatchObject({ skipped: [], history: [{ heldBy: [first, second] }, { heldBy: [second], version: '2' }] });
    expect((json['history'] as { preview: string }[])[1]!.preview).toContain('"level": "debug"');
    const secret = await call(at('history', second, '/registry/secrets/default/db', '--values'));
    expect(secret.out).toContain('v1 Secret default/db (masked)');
    expect((await call(at('history', 'latest', '/nothing'))).code).toBe(10);
  });
});

describe('diff', () => {
  test('two backups: added, removed, changed, and what was only written again', async () => {
    const { code, out } = await call(at('diff', first, second));
    expect(code).toBe(0);
    expect(out).toMatch(/^- \S+ at revision \d+\n\+ \S+ at revision \d+\n/u);
    for (const line of ['~ /app/settings', '- /app/gone', '+ /app/same', '~ /app/multi', '~ /registry/secrets/default/db'])
      expect(out).toContain(line);
    expect(out).toContain('1 added, 1 removed, 3 changed, 1 written again with the same value, 45 the same');
    expect((await call(at('diff', first, second, '--exit-code'))).code).toBe(1);
    expect((await call(at('diff', second, second, '--exit-code'))).code).toBe(0);
  });

  test('--values shows them line by line, and what is masked stays so', async () => {
    const { out } = await call(at('diff', first, second, '--values'));
    expect(out).toContain('@@ -4,7 +4,7 @@\n line 3\n line 4\n line 5\n-line 6\n+changed\n line 7');
    expect(out).toContain('-  "level": "info",\n+  "level": "debug",');
    const json = await call(at('diff', first, second, '/registry/', '--values', '--json'));
    expect(json.json).toMatchObject({ changes: [{ change: 'changed', before: { masked: true, value: null } }], counts: { changed: 1 } });
    for (const text of [out, json.out]) expect(text).not.toContain(PASSWORD);
    expect((await call(at('diff', first, second, '/registry/', '--values', '--show-secrets', '--full'))).out).toContain(
      PASSWORD.slice(0, 5),
    );
  });

  test('a backup and the running cluster, in pages and at one revision', async () => {
    expect((await call(at('diff', 'latest', 'live'))).out).toMatch(/\n0 added, 0 removed, 0 changed, 50 the same\n$/u);
    await cluster.fill({ keys: 2300, valueBytes: 20, prefix: '/fill/' });
    await put('/app/same', '2');
    const { json } = await call(at('diff', 'latest', 'live', '--json'));
    expect(json['counts']).toEqual({ added: 2300, removed: 0, changed: 1, rewritten: 0, same: 49, own: 0 });
    const back = await call(at('diff', 'live', second, '/app/', '--values'));
    expect(back.out).toContain('@@ -1 +1 @@\n-2\n+1\n');
    expect((await call(at('diff', 'live', 'live'))).code).toBe(2);
  });
});

describe('plain files', () => {
  test('an encrypted backup needs its identity, in a store and as a file', async () => {
    const keys = spawnSync(program('age-keygen'), [], { encoding: 'utf8' }).stdout;
    const identity = join(folder, 'identity.txt');
    writeFileSync(identity, keys, { mode: 0o600 });
    const recipient = /age1\w+/u.exec(keys)![0];
    const sealed = join(folder, 'sealed');
    const taken = await call(['backup', '--endpoints', cluster.endpoints.join(','), '--to', sealed, '--recipients', recipient, '--json']);
    expect(taken.code).toBe(0);
    const { id } = taken.json as { id: string };
    expect((await call(['get', 'latest', '/app/same', '--from', sealed])).code).toBe(12);
    const opened = await call(['get', 'latest', '/app/same', '--from', sealed, '--identity-file', identity, '--json']);
    expect(opened.json).toMatchObject({ value: '2' });
    const file = join(sealed, 'default', `${id}.db.zst.age`);
    expect((await call(['get', file, '/app/same', '--identity-file', identity, '--json'])).json).toMatchObject({ value: '2' });
    expect((await call(['get', file, '/app/same'])).code).toBe(12);
  });

  test.each(['3.4', '3.5', '3.6', '3.7'] as const)('what etcdctl %s saved: plain, without trailer, compressed by others', async (minor) => {
    await using other = await startCluster({ minor, members: 1 });
    await other.etcdctl(['put', '/a/b', 'one']);
    await other.etcdctl(['put', '/a/b', 'two']);
    await other.fill({ keys: 300, valueBytes: 5000, prefix: '/a/c' });
    const file = join(folder, `${minor}.db`);
    await other.etcdctl(['snapshot', 'save', file], { endpoints: other.endpoints.slice(0, 1) });
    const bare = join(folder, `${minor}-bare.db`);
    writeFileSync(bare, Buffer.concat([readFileSync(file).subarray(0, -32), Buffer.alloc(65_536)]));
    const zst = join(folder, `${minor}.db.zst`);
    spawnSync(program('zstd'), ['-q', file, '-o', zst]);
    const twice = join(folder, `${minor}-twice.zst`);
    const half = Math.floor(readFileSync(file).length / 2);
    for (const [part, bytes] of [readFileSync(file).subarray(0, half), readFileSync(file).subarray(half)].entries())
      writeFileSync(`${twice}.${part}`, bytes);
    const parts = [0, 1].map((part) => spawnSync(program('zstd'), ['-q', '-c', `${twice}.${part}`], { maxBuffer: 1e9 }).stdout);
    writeFileSync(twice, Buffer.concat(parts));
    for (const path of [file, bare, zst, twice]) {
      const { code, json } = await call(['get', path, '/a/b', '--json']);
      expect({ path, code, json }).toMatchObject({
        code: 0,
        json: { value: 'two', version: '2', snapshot: { name: path, store: null, indexed: false } },
      });
    }
    expect((await call(['history', zst, '/a/b', '--json'])).json['history']).toMatchObject([
      { version: '1', before: null },
      { version: '2' },
    ]);
    expect((await call(['diff', file, zst, '--json'])).json).toMatchObject({ changes: [], counts: { same: 301 } });
  });

  test('files that are none are named for what they are', async () => {
    const make = (name: string, bytes: Buffer | string): string => {
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    };
    const cases: readonly (readonly [string, number, RegExp])[] = [
      [join(folder, 'not-there.db'), 10, /there is no file/u],
      [folder, 2, /is a folder/u],
      [make('empty.db', ''), 13, /is empty/u],
      [make('a.db', Buffer.from([0x1f, 0x8b, 8, 0])), 13, /a gzip file/u],
      [make('v2.snap', Buffer.from('\x08\x01\x12\x20\n\x1e{"Root":{"Path":"/"}}', 'latin1')), 13, /etcd 2/u],
      [make('text.db', 'hello '.repeat(1000)), 13, /is not a snapshot of etcd/u],
      [make('cut.db.zst', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0])), 13, /frame 0/u],
    ];
    for (const [path, code, sentence] of cases) {
      const ran = await call(['keys', path]);
      expect({ path, code: ran.code }).toMatchObject({ code });
      expect(ran.err).toMatch(sentence);
    }
  });
});

test('a reader that goes away ends a long list quietly', async () => {
  const file = join(folder, 'many.db');
  await cluster.fill({ keys: 20_000, valueBytes: 10, prefix: '/many/' });
  await cluster.etcdctl(['snapshot', 'save', file]);
  const script = `'${process.execPath}' '${join(import.meta.dirname, '../../../bin/etcd-warden')}' keys '${file}' | head -2; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = spawnSync('/bin/bash', ['-c', script], { encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: folder } });
  expect(stdout.trim().split('\n')).toHaveLength(3);
  expect(stdout.trim().split('\n').at(-1)).toBe('141');
  expect(stderr).toBe('');
  copyFileSync(file, join(folder, 'copy.db'));
  const named = await runWarden(['keys', './copy.db', '/many/', '--limit', '1', '--quiet'], { cwd: folder, env: { NO_COLOR: '1' } });
  expect(named.stdout.split('\n')).toHaveLength(3);
});
