/** Hostile and mistaken input, met where users meet it: through the verbs. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openBolt } from '../../../src/boltdb/bolt.ts';
import { check } from '../../../src/boltdb/check.ts';
import type { RandomAccess } from '../../../src/boltdb/random-access.ts';
import { runCli } from '../../../src/cli/run.ts';
import { WardenError } from '../../../src/errors.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import type { BackupResult } from '../../../src/jobs/types.ts';
import { readHead } from '../../../src/mvcc/head.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startFakeMember } from '../../support/fake-member.ts';
import { until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import { seeded } from '../../support/random.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { encode } from '../../support/wire.ts';

interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line, in this process. */
async function warden(...words: readonly string[]): Promise<Called> {
  const output = recordedOutput();
  const code = await runCli(words, { env: {}, output });
  return { code, stdout: output.printed.join('\n'), stderr: output.said.join('\n') };
}

/** Two X25519 identities and their recipients, made for these tests alone. */
const OURS = { identity: '', recipient: '' };
const STRANGER = { identity: '', recipient: '' };

let folder: string;
let cluster: Cluster;
/** Unencrypted and encrypted backups of the same cluster. */
let plain: Product;
let sealed: Product;
let first: BackupResult;
let second: BackupResult;
let secret: BackupResult;
/** What a store held before a test spoilt it. */
let kept: Map<string, Buffer>;

const LARGE = Buffer.alloc(1.5 * 1024 * 1024 - 64, 'L');
const VERSION_36 = 'storageVersion3.6.0';
const BINARY_KEY = Buffer.from([0xff, 0xfe, 0x00, 0x80]);

beforeAll(async () => {
  const age = await import('age-encryption');
  for (const pair of [OURS, STRANGER]) {
    pair.identity = await age.generateIdentity();
    pair.recipient = await age.identityToRecipient(pair.identity);
  }
  folder = temporaryFolder('inspect-faults');
  cluster = await startCluster({ minor: '3.6' });
  // etcd writes the version of its schema some seconds after the start.
  const client = new MemberClient(cluster.access(), cluster.endpoints[0]!);
  await until(async () => (await client.status()).storageVersion !== undefined, 'no storage version');
  client.close();
  const put = (key: string | Buffer, value: string | Buffer): Promise<unknown> =>
    cluster.members[0]!.rpc.call('etcdserverpb.KV/Put', encode([1, key], [2, value]));
  for (let at = 0; at < 40; at++) await put(`/app/${at % 20}`, `value ${at}`);
  await put('/empty', '');
  await put(BINARY_KEY, Buffer.from([0, 0xff, 0x1b]));
  await put('/large', LARGE);
  const identityFile = join(folder, 'identity');
  writeFileSync(identityFile, `${OURS.identity}\n`, { mode: 0o600 });
  writeFileSync(join(folder, 'stranger'), `${STRANGER.identity}\n`, { mode: 0o600 });
  // Noise, so that the sealed objects have several chunks.
  const random = seeded(3);
  for (let at = 0; at < 4; at++) await put(`/noise/${at}`, random.fill(Buffer.alloc(100_000)));
  plain = product({ folder: join(folder, 'plain'), cluster, clusterOptions: { coordinate: false } });
  sealed = product({
    folder: join(folder, 'sealed'),
    cluster,
    clusterOptions: { coordinate: false, encryption: { recipients: [OURS.recipient], identityFile } },
  });
  first = await plain.backup();
  secret = await sealed.backup();
  await put('/app/1', 'changed later');
  second = await plain.backup();
}, 120_000);
afterAll(async () => {
  await cluster?.stop();
  removeFolder(folder);
});

beforeEach(() => {
  kept = new Map([plain, sealed].flatMap(({ disk }) => files(disk).map((path) => [path, readFileSync(path)] as const)));
});
afterEach(() => {
  for (const { disk } of [plain, sealed]) for (const path of files(disk)) if (!kept.has(path)) rmSync(path);
  for (const [path, bytes] of kept) writeFileSync(path, bytes);
});

function files(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function dataOf({ disk }: Product, { id }: Pick<BackupResult, 'id'>): string {
  return files(disk).find((path) => path.includes(`${id}.db.zst`))!;
}

function indexOf({ disk }: Product, { id }: Pick<BackupResult, 'id'>): string | undefined {
  return files(disk).find((path) => path.includes(`${id}.index.zst`));
}

function manifestOf({ disk }: Product, { id, revision }: Pick<BackupResult, 'id' | 'revision'>): string {
  return join(disk, 'main', `${id}.r${revision}.json`);
}

/** The plain bytes of a backup, with the trailer. */
function snapshotBytes(): Buffer {
  const stored = readFileSync(dataOf(plain, first));
  return execFileSync('zstd', ['-dc'], { input: stored, maxBuffer: 2 ** 30 });
}

function on({ configPath }: Product): string[] {
  return ['--config', configPath];
}

/** Ends with the code; standard output holds nothing that looks like an answer. */
function expectRefused({ code, stdout, stderr }: Called, wanted: number | readonly number[], words: RegExp): void {
  expect([wanted].flat(), `${stdout}\n${stderr}`).toContain(code);
  expect(`${stdout}\n${stderr}`).toMatch(words);
  expect(stdout).not.toContain('value 2');
}

describe('the cluster as it was', () => {
  test('fault 17: empty values, 1.5 MiB and keys that are no UTF-8 through verify at proved, keys, get and export', async () => {
    const verified = await warden('verify', first.id, '--level', 'proved', '--json', ...on(plain));
    expect(verified.code, verified.stdout + verified.stderr).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({ results: [{ level: 'proved', outcome: 'ok', keyCount: 27 }] });

    const keys = await warden('keys', first.id, '--json', ...on(plain));
    expect(keys.code, keys.stderr).toBe(0);
    expect(keys.stdout).toContain(BINARY_KEY.toString('base64'));
    expect((await warden('keys', first.id, ...on(plain))).stdout).toContain('\\xff\\xfe\\x00\\x80');

    const empty = await warden('get', first.id, '/empty', '--json', ...on(plain));
    expect(JSON.parse(empty.stdout)).toMatchObject({ valueBytes: 0, value: '' });
    const large = await warden('get', first.id, '/large', '--raw', ...on(plain));
    expect(large.stdout === LARGE.toString()).toBe(true);
    const binary = await warden('get', first.id, BINARY_KEY.toString('base64'), '--base64-key', ...on(plain));
    expect(binary.code, binary.stderr).toBe(0);
    // eslint-disable-next-line no-control-regex
    expect(/[\u0000-\u0009\u000b-\u001f]/.test(binary.stdout)).toBe(false);

    const path = join(folder, 'exported.db');
    expect((await warden('export', first.id, path, ...on(plain))).code).toBe(0);
    expect(readFileSync(path).equals(snapshotBytes())).toBe(true);
    const file = await warden('verify', path, '--json');
    expect(file.code, file.stdout).toBe(0);
    expect(JSON.parse(file.stdout)).toMatchObject({
      level: 'content',
      outcome: 'ok',
      keyCount: 27,
      revision: first.revision,
      trailer: true,
    });
  });

  test('fault 17: an empty cluster is proved, has no keys, and its export is sound', async () => {
    await using nothing = await startCluster({ minor: '3.6' });
    const empty = product({ folder: join(folder, 'empty'), cluster: nothing });
    const { id } = await empty.backup();
    const verified = await warden('verify', id, '--level', 'proved', ...on(empty));
    expect(verified.code, verified.stdout + verified.stderr).toBe(0);
    const keys = await warden('keys', id, '--json', ...on(empty));
    expect(keys.code, keys.stderr).toBe(0);
    expectRefused(await warden('get', id, '/app/1', ...on(empty)), 10, /holds no key/);
    const path = join(folder, 'empty.db');
    expect((await warden('export', id, path, ...on(empty))).code).toBe(0);
    expect((await warden('verify', path)).code).toBe(0);
  });
});

describe('objects that are not what their names say', () => {
  test('a manifest of another backup under the name of this one is not believed, by verify as by get', async () => {
    writeFileSync(manifestOf(plain, first), readFileSync(manifestOf(plain, second)));
    expectRefused(await warden('verify', first.id, ...on(plain)), [10, 13], /./);
    expectRefused(await warden('get', first.id, '/app/1', ...on(plain)), [10, 13], /./);
    // And the other one is what it was.
    expect((await warden('verify', second.id, ...on(plain))).code).toBe(0);
  });

  test('fault 36: data of another backup is no answer, of the same length or not, with the index or without', async () => {
    const index = indexOf(plain, first);
    writeFileSync(dataOf(plain, first), readFileSync(dataOf(plain, second)));
    expectRefused(await warden('verify', first.id, ...on(plain)), 13, /stored bytes of/);
    for (const there of [true, false]) {
      if (!there && index !== undefined) rmSync(index);
      const got = await warden('get', first.id, '/app/1', ...on(plain));
      expect(got.stdout).not.toContain('changed later');
      expectRefused(await warden('export', first.id, '-', ...on(plain)), [10, 13], /./);
    }
  });

  test('an index of another backup, and one that is cut short, cost time but never the answer', async () => {
    const [index, other] = [indexOf(plain, first), indexOf(plain, second)];
    expect(index).toBeDefined();
    const whole = readFileSync(index!);
    for (const bytes of [
      readFileSync(other!),
      whole.subarray(0, whole.length >> 1),
      whole.subarray(0, whole.length - 1),
      Buffer.alloc(0),
    ]) {
      writeFileSync(index!, bytes);
      const got = await warden('get', first.id, '/app/1', ...on(plain));
      expect(got.code, got.stderr).toBe(0);
      expect(got.stdout).toContain('value 21');
      expect(got.stderr).toMatch(/index.*reading the whole file instead/);
    }
    const repaired = await warden('verify', first.id, '--repair-index', ...on(plain));
    expect(repaired.code, repaired.stdout + repaired.stderr).toBe(0);
    expect((await warden('get', first.id, '/app/1', ...on(plain))).stderr).not.toContain('index');
  });

  test('a seek table that lies is found by verify, and no lie comes out of get', async () => {
    const path = dataOf(plain, first);
    const bytes = readFileSync(path);
    // The first two entries of the table, eight bytes each behind its header, change places.
    const table = bytes.length - (8 + bytes.readUInt32LE(bytes.length - 9) * 8 + 9) + 8;
    const lying = Buffer.from(bytes);
    bytes.copy(lying, table, table + 8, table + 16);
    bytes.copy(lying, table + 8, table, table + 8);
    writeFileSync(path, lying);
    expectRefused(await warden('verify', first.id, ...on(plain)), 13, /./);
    expectRefused(await warden('get', first.id, '/app/1', ...on(plain)), [1, 13], /./);
    // The stored length of one frame is right, its plain length is not.
    const longer = Buffer.from(bytes);
    longer.writeUInt32LE(longer.readUInt32LE(table + 4) - 512, table + 4);
    writeFileSync(path, longer);
    expectRefused(await warden('get', first.id, '/app/1', ...on(plain)), [1, 13], /./);
  });
});

describe('files that are no snapshot', () => {
  const cases: readonly (readonly [string, () => Buffer | string, RegExp])[] = [
    ['an empty file', () => '', /empty/],
    ['noise', () => seeded(5).fill(Buffer.alloc(300_000)), /not a (snapshot|bbolt database)|no valid meta/],
    ['a frame that claims 8 GiB', () => frameOf(8 * 2 ** 30), /128 MiB|8(\.0)? GiB|8589934592/],
    ['a data folder of etcd 2', () => `\x08\x12\x10\x34{"Root":{"Path":"/","CreatedIndex":0}}`, /etcd 2/],
    ['a JSON export', () => '{"header":{},"kvs":[]}', /JSON/],
    ['a gzip file', () => Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), /gzip/],
  ];

  test.each(cases)(
    '%s is called what it is by verify, keys, get and export, and import takes nothing of it',
    async (_what, content, words) => {
      const path = join(folder, 'strange');
      writeFileSync(path, content());
      const before = process.memoryUsage().rss;
      for (const verb of [
        ['verify', path],
        ['keys', path],
        ['get', path, '/app/1'],
        ['export', path, '-'],
      ])
        expectRefused(await warden(...verb), 13, words);
      const stored = files(plain.disk).length;
      expectRefused(await warden('import', path, ...on(plain)), [1, 3, 13], words);
      expect(files(plain.disk).length).toBe(stored);
      expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
    },
  );

  test('a snapshot that was cut, or has something added, is refused with both lengths', async () => {
    const bytes = snapshotBytes();
    const path = join(folder, 'cut.db');
    for (const [what, length] of [
      ['cut', bytes.length - 1000],
      ['added', bytes.length + 7],
    ] as const) {
      writeFileSync(path, bytes);
      const file = openSync(path, 'r+');
      ftruncateSync(file, length);
      closeSync(file);
      const { code, stdout, stderr } = await warden('verify', path);
      expect(code, what + stdout + stderr).toBe(13);
    }
  });

  test('a flipped bit anywhere in a file with its trailer is found; without it the file is called sound only with the remark that values were not looked at', async () => {
    const bytes = snapshotBytes();
    const path = join(folder, 'flipped.db');
    const random = seeded(11);
    for (let round = 0; round < 25; round++) {
      const flipped = Buffer.from(bytes);
      flipped[random.below(flipped.length)]! ^= 1 << random.below(8);
      writeFileSync(path, flipped);
      expect((await warden('verify', path)).code).toBe(13);
      writeFileSync(path, flipped.subarray(0, flipped.length - 32));
      const bare = await warden('verify', path, '--json');
      expect([0, 13]).toContain(bare.code);
      if (bare.code === 0)
        expect(JSON.parse(bare.stdout)).toMatchObject({ level: 'content', reason: expect.stringContaining('no trailer') as string });
      for (const verb of [['keys', path] as const, ['get', path, '/app/1'] as const]) {
        const called = await warden(...verb);
        expect([0, 10, 13], called.stderr).toContain(called.code);
      }
    }
  });

  test('a file of a newer schema: keys can be read, and neither verify nor import calls it sound', async () => {
    const bytes = snapshotBytes();
    // Free pages hold older copies of the same leaf.
    for (let at = bytes.indexOf(VERSION_36); at >= 0; at = bytes.indexOf(VERSION_36, at + 1)) bytes.write('storageVersion4.0.0', at);
    const database = bytes.subarray(0, bytes.length - 32);
    const path = join(folder, 'newer.db');
    writeFileSync(path, Buffer.concat([database, createHash('sha256').update(database).digest()]));
    const got = await warden('get', path, '/app/1');
    expect(got.code, got.stderr).toBe(0);
    expect(got.stdout).toContain('value 21');
    for (const called of [got, await warden('keys', path)])
      expect(called.stderr).toMatch(/^note: .*newer\.db may hold more than is shown: it was written by etcd 4\.0/m);
    expectRefused(await warden('verify', path), 14, /written by etcd 4\.0, and this version knows/);
    expectRefused(await warden('import', path, ...on(plain)), [1, 3, 14], /written by etcd 4\.0/);
  });
});

describe('a member whose database is damaged inside', () => {
  test('fault 9: a snapshot with the right SHA-256 and a damaged page is kept, called suspect with page and reason, and counts for nothing', async () => {
    await using member = await startFakeMember({ memberId: 1n, name: 'm1', snapshot: { database: await damagedInside() } });
    const subject = product({
      folder: join(folder, 'damaged'),
      cluster: { endpoints: [member.endpoint] },
      clusterOptions: { coordinate: false, discover: false },
    });
    const taken = await warden('backup', '--json', ...on(subject));
    expect(taken.code, taken.stderr).toBe(13);
    const { id, suspect } = JSON.parse(taken.stdout) as { id: string; suspect: string };
    expect(suspect).toMatch(/page \d+/);
    const verified = await warden('verify', id, '--json', ...on(subject));
    expect(verified.code).toBe(13);
    expect(JSON.parse(verified.stdout)).toMatchObject({
      results: [{ outcome: 'failed', reason: expect.stringMatching(/page \d+/) as string }],
    });
    expect((await warden('show', id, ...on(subject))).stdout).toMatch(/suspect/);
    // Nothing is protected by it.
    expect((await warden('list', ...on(subject))).stdout).toMatch(/damaged, suspect.*FAILED/);
    // What can still be read is read, or told to be damaged.
    for (const words of [
      ['get', id, '/app/1'],
      ['keys', id],
    ])
      expect([0, 13]).toContain((await warden(...words, ...on(subject))).code);
  });
});

/** A real database in which a page is damaged that the head of its history does not need. */
async function damagedInside(): Promise<Buffer> {
  const bytes = snapshotBytes();
  const database = bytes.subarray(0, bytes.length - 32);
  const random = seeded(23);
  for (;;) {
    const damaged = Buffer.from(database);
    damaged[random.below(damaged.length / 4096) * 4096 + random.below(64)]! ^= 0xff;
    const file: RandomAccess = {
      size: damaged.length,
      async read(offset, length) {
        if (offset + length > damaged.length) throw new WardenError('bolt-damaged', 'outside');
        return damaged.subarray(offset, offset + length);
      },
    };
    const sound = await check(file, { snapshot: true }).then(
      () => true,
      () => false,
    );
    const head = await openBolt(file)
      .then((db) => readHead(db))
      .catch(() => undefined);
    if (!sound && head?.revision === BigInt(first.revision)) return damaged;
  }
}

describe('encrypted backups', () => {
  const VERBS = (id: string): readonly (readonly string[])[] => [
    ['verify', id, '--level', 'proved'],
    ['keys', id],
    ['get', id, '/app/1'],
    ['export', id, '-'],
  ];

  test('fault 75: without an identity, and with one of somebody else, every verb ends with 12 and says so', async () => {
    const elsewhere = ['--from', sealed.disk];
    for (const words of VERBS(secret.id)) {
      expectRefused(await warden(...words, ...elsewhere), 12, /identity|identities/);
      expectRefused(await warden(...words, ...elsewhere, '--identity-file', join(folder, 'stranger')), 12, /identity|identities/);
      const right = await warden(...words, ...elsewhere, '--identity-file', join(folder, 'identity'));
      expect(right.code, `${words[0]} ${right.stderr} ${right.stdout}`).toBe(0);
    }
    expect((await warden('verify', secret.id, '--level', 'stored', ...elsewhere)).code).toBe(0);
  });

  test('fault 75: a truncated tag, swapped chunks and a chunk from another file are found by verify and never answer', async () => {
    const path = dataOf(sealed, secret);
    const whole = readFileSync(path);
    const other = readFileSync(dataOf(sealed, await sealed.backup()));
    const [payload, otherPayload] = [startOfChunks(whole), startOfChunks(other)];
    const chunk = 64 * 1024 + 16;
    const swapped = Buffer.from(whole);
    whole.copy(swapped, payload, payload + chunk, payload + 2 * chunk);
    whole.copy(swapped, payload + chunk, payload, payload + chunk);
    const foreign = Buffer.from(whole);
    other.copy(foreign, payload, otherPayload, otherPayload + chunk);
    for (const [what, bytes] of [
      ['truncated tag', whole.subarray(0, whole.length - 3)],
      ['swapped chunks', swapped],
      ['foreign chunk', foreign],
    ] as const) {
      writeFileSync(path, bytes);
      for (const words of VERBS(secret.id)) {
        const called = await warden(...words, ...on(sealed));
        // With an intact index `keys` asks nothing of the data.
        if (called.code === 0 && words[0] === 'keys') continue;
        expectRefused(called, [1, 10, 13], /./);
        expect(called.code, `${what} ${words[0]}`).not.toBe(0);
      }
    }
  });
});

/** Behind the header of an age file, its MAC and the nonce of 16 bytes. */
function startOfChunks(file: Buffer): number {
  const mac = file.indexOf('\n---', 0, 'latin1');
  return file.indexOf('\n', mac + 1) + 1 + 16;
}

describe('a store that changes under its reader', () => {
  test('what was read before and after never passes as one', async () => {
    const path = dataOf(plain, first);
    const other = join(folder, 'other');
    writeFileSync(other, readFileSync(dataOf(plain, second)));
    const output = recordedOutput();
    // Replaced as a sync does it: by renaming another file over it, while the pass is under way or just behind it.
    const words = ['verify', first.id, '--json', ...on(plain)];
    const running = runCli(words, { env: {}, output });
    await new Promise((resolve) => setImmediate(resolve));
    renameSync(other, path);
    const code = await running;
    const said = output.printed.join('\n') + output.said.join('\n');
    if (code === 0) {
      // The whole pass was served by the file that was there at its start.
      expect(said).toContain('"proved"');
    } else {
      expect([1, 13]).toContain(code);
    }
    expectRefused(await warden('verify', first.id, ...on(plain)), 13, /./);
  });
});

/** A zstd frame of one block whose header declares a content of so many bytes (RFC 8878, 3.1.1.1). */
function frameOf(contentBytes: number): Buffer {
  const small = zstdCompressSync(Buffer.from('x'), { params: { [constants.ZSTD_c_checksumFlag]: 0 } });
  expect(zstdDecompressSync(small).toString()).toBe('x');
  const header = Buffer.alloc(13);
  header.writeUInt32LE(0xfd2fb528, 0);
  header.writeUInt8(0xe0, 4); // eight bytes of content size, a single segment
  header.writeBigUInt64LE(BigInt(contentBytes), 5);
  const block = Buffer.from([0x0b, 0x00, 0x00, 0x78]); // the last one: a run of one byte
  return Buffer.concat([header, block]);
}
