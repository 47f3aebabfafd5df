/** `restore` as people type it, with real etcd before and after. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import type { Acceptance, Manifest, RestoreRecord } from '../../../src/format/types.ts';
import { encodeRevision } from '../../../src/mvcc/revision.ts';
import type { RestorePlan } from '../../../src/restore/plan/types.ts';
import { program } from '../../../tools/programs.ts';
import { boltFile } from '../../support/bolt-file.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startGateway } from '../../support/gateway.ts';
import { run, until } from '../../support/processes.ts';
import { product } from '../../support/product.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { initialClusterOf, newSites, startRestored, type Site } from '../../support/restored.ts';
import { runWarden, startWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { encode } from '../../support/wire.ts';

const MINOR = '3.6';

let folder: string;
let store: string;
let cluster: Cluster;
beforeAll(async () => {
  folder = temporaryFolder('cli-restore');
  store = join(folder, 'store');
  cluster = await startCluster({ minor: MINOR });
  await cluster.fill({ keys: 80, valueBytes: 500 });
  await takeBackup();
  await cluster.fill({ keys: 20, valueBytes: 500, seed: 2 });
  await takeBackup();
});
afterAll(async () => {
  await cluster.stop();
  removeFolder(folder);
});

async function takeBackup(): Promise<void> {
  const said = await warden('backup', '--endpoints', cluster.endpoints[0]!, '--to', store);
  if (said.code !== 0) throw new Error(said.stderr);
}

let place: string;
let places = 0;
beforeEach(() => {
  place = join(folder, `place-${++places}`);
  mkdirSync(place);
});

interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  json<T = Restored>(): T;
}

interface Restored {
  readonly outcome: string;
  readonly clusterId: string;
  readonly token: string;
  readonly revision: string;
  readonly keyCount: number;
  readonly hash: number;
  readonly source: { readonly name: string; readonly store: string | null };
  readonly members: readonly { readonly id: string; readonly name: string }[];
  readonly targets: readonly {
    readonly member: string;
    readonly dataDir: string;
    readonly kept: readonly string[];
    readonly record: string;
  }[];
  readonly steps: readonly { readonly name: string; readonly member?: string }[];
  readonly announced: readonly string[];
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
  readonly refusals: readonly { readonly code: string; readonly message: string }[];
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string };
}

/** In this process, without a file: one store, a state folder of its own. Nothing runs at the endpoint that is asked unless a test names one. */
async function warden(verb: string, ...words: string[]): Promise<Said> {
  const output = recordedOutput();
  const quiet = words.includes('--endpoints') ? [] : ['--endpoints', 'http://127.0.0.1:1'];
  const code = await runCli([verb, ...words, ...quiet, '--state-dir', join(folder, 'state')], {
    env: { PATH: process.env['PATH'] },
    output,
  });
  const stdout = output.printed.map((text) => `${text}\n`).join('');
  return { code, stdout, stderr: output.said.join('\n'), json: <T>() => JSON.parse(stdout) as T };
}

/** Ports are chosen long before etcd listens on them: somebody may take one meanwhile. The body gets a folder of its own. */
function onFreePorts(body: (place: string) => Promise<void>): () => Promise<void> {
  return async () => {
    for (let attempt = 1; ; attempt++) {
      const own = join(place, `attempt-${attempt}`);
      mkdirSync(own);
      try {
        return await body(own);
      } catch (error) {
        if (attempt === 3 || !(error as Error).message.includes('address already in use')) throw error;
      }
    }
  };
}

function restore(...words: string[]): Promise<Said> {
  return warden('restore', ...words, '--from', store, '--json');
}

function manifests(of = store): Manifest[] {
  return readdirSync(join(of, 'default'))
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => JSON.parse(readFileSync(join(of, 'default', name), 'utf8')) as Manifest);
}

/** The same backups in a store of their own, so that a test may damage them. */
async function copyOfStore(where = place): Promise<string> {
  const copy = join(where, 'copied');
  await run('cp', ['-a', store, copy]);
  removeFolder(join(copy, 'default', 'checks', 'generations'));
  return copy;
}

function damage(of: string, { id }: Manifest): void {
  const path = join(
    of,
    'default',
    readdirSync(join(of, 'default')).find((name) => name.startsWith(id) && name.endsWith('.db.zst'))!,
  );
  const bytes = readFileSync(path);
  bytes[Math.floor(bytes.length / 2)]! ^= 1;
  writeFileSync(path, bytes);
}

function words(site: Site, sites: readonly Site[]): string[] {
  return ['--member', site.name, '--data-dir', site.dataDir, '--initial-cluster', initialClusterOf(sites)];
}

test(
  'three separate invocations make one cluster, the last one while the other two serve already',
  onFreePorts(async (place) => {
    const sites = await newSites(3, place);
    const [newest] = manifests().toReversed();
    const environment = { env: { PATH: process.env['PATH'] ?? '' } };
    const invoke = async (site: Site): Promise<Restored> => {
      const quiet = ['--endpoints', 'http://127.0.0.1:1', '--state-dir', join(folder, 'state')];
      const said = await runWarden(['restore', newest!.id, '--from', store, ...words(site, sites), '--json', ...quiet], environment);
      expect(said).toMatchObject({ code: 0 });
      return said.json<Restored>();
    };
    const first = await invoke(sites[0]!);
    const second = await invoke(sites[1]!);
    // These two are a quorum, and serve; the third joins them as what it is in their eyes, a member that was away from the beginning.
    await using early = await startRestored({ minor: MINOR, sites: sites.slice(0, 2), token: first.token });
    await early.etcdctl(['put', 'written', 'early']);
    const third = await invoke(sites[2]!);
    for (const each of [second, third])
      expect(each).toMatchObject({ clusterId: first.clusterId, token: first.token, members: first.members, hash: first.hash });
    // What the others need is told where they are restored, and their places are known.
    expect(new Set(third.steps.flatMap(({ member }) => member ?? []))).toEqual(new Set(['m3']));
    await using late = await startRestored({ minor: MINOR, sites: sites.slice(2), token: first.token });
    expect(await late.etcdctl(['get', 'written', '--print-value-only'])).toBe('early\n');
    const counted = await late.etcdctl(['get', '', '--prefix', '--count-only', '--write-out=fields']);
    expect(counted).toContain(`"Count" : ${first.keyCount + 1}`);

    // Once it was started, its log is more than the backup: another restore of it is refused while the others run.
    await late.stop();
    removeFolder(sites[2]!.dataDir);
    const again = await restore(newest!.id, ...words(sites[2]!, sites));
    expect(again).toMatchObject({ code: 14 });
    expect(again.json().error).toMatchObject({
      message: expect.stringContaining('m3 has been started in cluster') as string,
      hint: expect.stringContaining('etcd-warden member replace m3') as string,
    });

    // Another attempt never talks to the first.
    const other = await restore(newest!.id, '--plan', ...words(sites[0]!, sites), '--attempt', '2');
    expect(other.json().clusterId).not.toBe(first.clusterId);
    // And while two of these three answer with another id, it is refused.
    const beside = await restore(newest!.id, ...words({ ...sites[0]!, dataDir: join(place, 'beside') }, sites), '--attempt', '2');
    expect(beside).toMatchObject({ code: 14 });
    expect(beside.json().error.message).toContain('2 of 3 members run already');
    expect(beside.json().error.hint).toContain('etcd-warden member replace m1');
    expect(existsSync(join(place, 'beside'))).toBe(false);
  }),
);

test(
  'several members on one machine come out of one reading, and the store is told',
  onFreePorts(async (place) => {
    const sites = await newSites(3, place);
    const own = await copyOfStore(place);
    const said = await warden(
      'restore',
      '--latest',
      '--from',
      own,
      '--member',
      'all',
      '--data-dir',
      join(place, '{member}'),
      '--initial-cluster',
      initialClusterOf(sites),
      '--json',
    );
    expect(said).toMatchObject({ code: 0 });
    const { targets, announced, token, clusterId } = said.json();
    expect(targets.map(({ member, dataDir }) => [member, dataDir])).toEqual(sites.map(({ name, dataDir }) => [name, dataDir]));
    expect(announced).toEqual(['local']);
    const told = readdirSync(join(own, 'default', 'checks', 'generations'));
    expect(told).toHaveLength(1);
    const acceptance = JSON.parse(readFileSync(join(own, 'default', 'checks', 'generations', told[0]!), 'utf8')) as Acceptance;
    expect(acceptance).toMatchObject({ kind: 'restore', clusterId, restore: { token } });
    const records = targets.map(({ record }) => JSON.parse(readFileSync(record, 'utf8')) as RestoreRecord);
    expect(records[1]).toEqual(records[0]);
    await using restored = await startRestored({ minor: MINOR, sites, token });
    expect(restored.members).toHaveLength(3);
  }),
);

describe('what it starts from', () => {
  test('without a flag of etcdutl it makes what etcdutl would: one member named default', async () => {
    const said = await restore('latest', '--data-dir', join(place, 'data'));
    expect(said).toMatchObject({ code: 0 });
    expect(said.json()).toMatchObject({
      outcome: 'built',
      members: [{ name: 'default' }],
      source: { name: manifests().at(-1)!.id, store: 'local' },
    });
    const status = await run(program('etcdutl', MINOR), [
      'snapshot',
      'status',
      join(place, 'data', 'member', 'snap', 'db'),
      '--write-out=json',
    ]);
    expect(JSON.parse(status)).toMatchObject({ revision: Number(said.json().revision) });
  });

  test('an older revision out of a backup, or of whichever holds it', async () => {
    const [older, newer] = manifests();
    const revision = String(BigInt(older!.revision) - 1n);
    const named = await restore(older!.id, '--revision', revision, '--data-dir', join(place, 'named'));
    expect(named).toMatchObject({ code: 0 });
    expect(named.json()).toMatchObject({ revision, source: { name: older!.id } });
    const found = await restore('--revision', revision, '--data-dir', join(place, 'found'));
    expect(found.json()).toMatchObject({ revision, source: { name: newer!.id }, keyCount: named.json().keyCount });
    const none = await restore('--revision', '99999999', '--data-dir', join(place, 'none'));
    expect(none).toMatchObject({ code: 10 });
    expect(none.json().error).toMatchObject({ code: 'revision-future', hint: `they hold 1 to ${newer!.revision}` });
  });

  test('a time picks the backup, and the gap is said', async () => {
    const older = manifests()[0]!;
    const said = await warden('restore', '--at', older.time, '--from', store, '--data-dir', join(place, 'data'));
    expect(said).toMatchObject({ code: 0 });
    expect(said.stdout).toContain(`from ${older.id} on local, every byte compared with its SHA-256`);
    expect(said.stdout).toContain('NOT RESTORED YET');
    expect(said.stderr).toContain(`note: ${older.id} was begun 0s before ${older.time}`);
    expect((await restore('--at', '2020-01-01', '--data-dir', join(place, 'none'))).code).toBe(10);
  });

  test('a file in any wrapping makes one and the same cluster', async () => {
    const plain = join(place, 'snapshot.db');
    expect((await warden('export', 'latest', plain, '--from', store)).code).toBe(0);
    const bare = join(place, 'bare.db');
    writeFileSync(bare, readFileSync(plain).subarray(0, -32));
    await run(program('zstd'), ['-q', plain, '-o', join(place, 'snapshot.db.zst')]);
    const identity = await generateIdentity();
    writeFileSync(join(place, 'key'), identity);
    await run(program('age'), ['-r', await identityToRecipient(identity), '-o', join(place, 'snapshot.db.age'), plain]);
    const made = [];
    for (const file of ['snapshot.db', 'bare.db', 'snapshot.db.zst', 'snapshot.db.age']) {
      const said = await warden(
        'restore',
        join(place, file),
        '--data-dir',
        join(place, `data-${file}`),
        '--identity-file',
        join(place, 'key'),
        '--etcd-version',
        MINOR,
        '--json',
      );
      expect(said, file).toMatchObject({ code: 0 });
      made.push(said.json());
    }
    for (const each of made)
      expect(each).toMatchObject({ token: made[0]!.token, clusterId: made[0]!.clusterId, hash: made[0]!.hash, announced: [] });
    expect(made[1]!.notes).toEqual([expect.stringContaining('has no trailer')]);
    const torn = join(place, 'torn.db');
    const bytes = readFileSync(plain);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(torn, bytes);
    const bad = await warden('restore', torn, '--data-dir', join(place, 'torn'), '--etcd-version', MINOR, '--json');
    expect(bad.json().error.code).toBe('snapshot-hash-mismatch');
    expect(existsSync(join(place, 'torn'))).toBe(false);
  });

  test('regression: an empty store is no success', async () => {
    const empty = join(place, 'empty');
    mkdirSync(empty);
    const said = await warden('restore', '--latest', '--from', empty, '--data-dir', join(place, 'data'), '--json');
    expect(said.code).toBe(10);
    expect(readdirSync(place)).toEqual(['empty']);
  });

  test('regression: a corrupt newest backup fails with the names of older ones, and nothing is left; another store steps in', async () => {
    const [older, newer] = manifests();
    const bad = await copyOfStore();
    damage(bad, newer!);
    const said = await warden('restore', '--latest', '--from', bad, '--data-dir', join(place, 'data'), '--json');
    expect(said.code).toBe(13);
    expect(said.json().error).toMatchObject({
      code: 'verification-failed',
      hint: expect.stringContaining(`etcd-warden restore ${older!.id}`) as string,
    });
    expect(readdirSync(place)).toEqual(['copied']);
    const both = await warden('restore', '--latest', '--from', bad, '--from', store, '--data-dir', join(place, 'data'), '--json');
    expect(both).toMatchObject({ code: 0 });
    expect(both.json().source).toMatchObject({ name: newer!.id });
  });
});

describe('what it refuses', () => {
  test('fault 72: a directory that is not empty, the wrong member, peer URLs that contradict each other', async () => {
    const data = join(place, 'data');
    mkdirSync(join(data, 'member'), { recursive: true });
    writeFileSync(join(data, 'member', 'mine'), 'x');
    const full = await restore('latest', '--data-dir', data);
    expect(full).toMatchObject({ code: 14 });
    expect(readdirSync(join(data, 'member'))).toEqual(['mine']);
    const sites = await newSites(2, join(place, 'sites'));
    const pair = ['--initial-cluster', initialClusterOf(sites), '--data-dir', join(place, 'other')];
    expect((await restore('latest', ...pair)).json().error.hint).toContain('one of m1, m2');
    expect((await restore('latest', '--member', 'm7', ...pair)).json().error).toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('it has m1, m2') as string,
    });
    expect((await restore('latest', '--name', 'm1', '--initial-advertise-peer-urls', sites[1]!.peer, ...pair)).code).toBe(2);
    expect(existsSync(join(place, 'other'))).toBe(false);
    const replaced = await restore('latest', '--data-dir', data, '--replace');
    expect(replaced).toMatchObject({ code: 0 });
    const [kept] = replaced.json().targets[0]!.kept;
    expect(kept).toMatch(/data\.before-restore-/);
    expect(readdirSync(join(kept!, 'member'))).toEqual(['mine']);
  });

  test('fault 72: a cluster that runs on these peer URLs, and its directory', async () => {
    const [member] = cluster.members;
    const initial = ['--initial-cluster', `m1=${member!.peer}`];
    const said = await restore('latest', ...initial, '--data-dir', join(place, 'data'), '--endpoints', member!.endpoint);
    expect(said).toMatchObject({ code: 14 });
    expect(said.json().error.message).toContain('the member runs already');
    const own = await restore('latest', '--data-dir', member!.dataDir, '--replace');
    expect(own).toMatchObject({ code: 14 });
    expect(member!.running()).toBe(true);
    const plan = await restore('latest', ...initial, '--data-dir', join(place, 'data'), '--plan');
    expect(plan).toMatchObject({ code: 0 });
    expect(plan.json().refusals).toMatchObject([
      { code: 'refused', message: expect.stringContaining('the member runs already') as string },
    ]);
    expect(existsSync(join(place, 'data'))).toBe(false);
  });

  test('a release that does not start on it', async () => {
    for (const [version, code] of [
      ['3.4', 14],
      ['3.5', 14],
      ['3.9', 2],
    ] as const)
      expect((await restore('latest', '--etcd-version', version, '--data-dir', join(place, 'data'))).code).toBe(code);
    expect((await restore('latest', '--etcd-version', '3.7', '--data-dir', join(place, 'data'))).code).toBe(0);
  });

  test('a backup with CORRUPT armed, unless it is accepted; the alarm is left out then', async () => {
    const suspicious = join(place, 'suspicious');
    await using corrupt = await startCluster({ minor: MINOR });
    await corrupt.fill({ keys: 5, valueBytes: 10 });
    await corrupt.raiseAlarm('CORRUPT', corrupt.members[0]!);
    expect((await warden('backup', '--endpoints', corrupt.endpoints[0]!, '--to', suspicious)).code).toBe(13);
    const [{ id }] = manifests(suspicious) as [Manifest];
    const from = ['--from', suspicious, '--data-dir', join(place, 'data'), '--json'];
    expect((await warden('restore', '--latest', ...from)).json().error.hint).toContain(id);
    const refused = await warden('restore', id, ...from);
    expect(refused).toMatchObject({ code: 14 });
    expect(refused.json().error.hint).toContain('--accept-suspect');
    const accepted = await warden('restore', id, ...from, '--accept-suspect');
    expect(accepted).toMatchObject({ code: 0 });
    expect(accepted.json<{ droppedAlarms: number }>().droppedAlarms).toBe(1);
  });

  test('fault 75: an encrypted backup without its key, or with another one', async () => {
    const sealed = join(place, 'sealed');
    const identity = await generateIdentity();
    writeFileSync(join(place, 'key'), identity);
    writeFileSync(join(place, 'other-key'), await generateIdentity());
    const recipients = ['--recipients', await identityToRecipient(identity)];
    expect((await warden('backup', '--endpoints', cluster.endpoints[0]!, '--to', sealed, ...recipients)).code).toBe(0);
    const from = ['--from', sealed, '--data-dir', join(place, 'data'), '--json'];
    for (const key of [[], ['--identity-file', join(place, 'other-key')]]) {
      const said = await warden('restore', '--latest', ...from, ...key);
      expect(said.code).toBe(12);
      expect(existsSync(join(place, 'data'))).toBe(false);
    }
    expect((await warden('restore', '--latest', ...from, '--identity-file', join(place, 'key'))).code).toBe(0);
  });

  test('flags that contradict each other', async () => {
    const [plain] = manifests();
    for (const words of [
      ['--mark-compacted'],
      ['--no-bump', '--bump-revision', '5'],
      ['--bump-revision', '0'],
      ['--only', ''],
      ['--attempt', '0'],
      ['--attempt', '2', '--initial-cluster-token', 'mine'],
      ['--builder', 'best'],
      ['--owner', 'nobody-of-that-name'],
      ['--record', 'x.json'],
      ['--latest'],
      ['--store', 'elsewhere'],
    ])
      expect((await restore(plain!.id, ...words, '--data-dir', join(place, 'data'))).code, words.join(' ')).toBe(2);
    expect(readdirSync(place)).toEqual([]);
  });
});

test('keys by prefix, raised revisions and an owner, as they were asked for', async () => {
  const said = await restore(
    'latest',
    '--only',
    '/fill/0000000',
    '--without',
    '/fill/00000001',
    '--bump-revision',
    '1000',
    '--mark-compacted',
    '--owner',
    '12345:54321',
    '--data-dir',
    join(place, 'data'),
  );
  expect(said).toMatchObject({ code: 0 });
  const raised = BigInt(manifests().at(-1)!.revision) + 1000n;
  expect(said.json()).toMatchObject({
    revision: String(raised),
    compactRevision: String(raised),
    raisedFrom: manifests().at(-1)!.revision,
    keyCount: 9,
  });
  expect(await run('stat', ['-c', '%u:%g', join(place, 'data')])).toBe('12345:54321\n');
});

test('a store that takes no record is a warning, with what to do about it', async () => {
  const own = await copyOfStore();
  mkdirSync(join(own, 'default', 'checks'), { recursive: true });
  writeFileSync(join(own, 'default', 'checks', 'generations'), 'in the way');
  const said = await warden('restore', 'latest', '--from', own, '--data-dir', join(place, 'data'), '--json');
  expect(said).toMatchObject({ code: 0 });
  expect(said.json().warnings).toEqual([expect.stringContaining('etcd-warden accept-cluster')]);
});

test('it asks before something is replaced, where somebody is there to answer', async () => {
  const data = join(place, 'data');
  mkdirSync(join(data, 'member'), { recursive: true });
  writeFileSync(join(data, 'member', 'mine'), 'x');
  const questions: string[] = [];
  const call = async (answer: boolean): Promise<number> =>
    runCli(
      [
        'restore',
        'latest',
        '--from',
        store,
        '--data-dir',
        data,
        '--replace',
        '--endpoints',
        'http://127.0.0.1:1',
        '--state-dir',
        join(folder, 'state'),
      ],
      {
        env: { PATH: process.env['PATH'] },
        output: recordedOutput(),
        ask: (question) => {
          questions.push(question);
          return Promise.resolve(answer);
        },
      },
    );
  expect(await call(false)).toBe(14);
  expect(questions).toEqual([expect.stringContaining(`replace ${data} by `)]);
  expect(readdirSync(join(data, 'member'))).toEqual(['mine']);
  expect(await call(true)).toBe(0);
});

test(
  'the commands of a plan, pasted as they stand: a configuration file, an encrypted backup in S3, keys of Kubernetes',
  onFreePorts(async (place) => {
    await using gateway = await startGateway();
    await gateway.createBucket('backups');
    const sites = await newSites(2, join(place, 'sites'));
    const identity = await generateIdentity();
    writeFileSync(join(place, 'key'), identity, { mode: 0o600 });
    await using source = await startCluster({ minor: MINOR });
    await source.etcdctl(['put', '/registry/pods/default/a', 'x']);
    await source.etcdctl(['put', '/registry/pods/default/a', 'y']);
    const made = product({
      folder: join(place, 'product'),
      cluster: source,
      noDisk: true,
      s3: { gateway, bucket: 'backups' },
      clusterOptions: {
        encryption: { recipients: [await identityToRecipient(identity)], identityFile: join(place, 'key') },
        restore: {
          initialCluster: initialClusterOf(sites),
          dataDir: join(place, 'sites', '{member}'),
          platform: 'plain',
          builder: 'native',
        },
      },
    });
    expect((await made.backup()).outcome).toBe('complete');
    await source.stop();

    const call = async (command: string): Promise<Said> => {
      const output = recordedOutput();
      // As a shell takes it apart.
      const [program = '', ...words] = (await run('sh', ['-c', `printf '%s\\n' ${command}`])).trimEnd().split('\n');
      expect(program).toBe('etcd-warden');
      const code = await runCli([...words, '--json'], { env: { PATH: process.env['PATH'] }, output });
      const stdout = output.printed.join('\n');
      return { code, stdout, stderr: output.said.join('\n'), json: <T>() => JSON.parse(stdout) as T };
    };
    const planned = await call(`etcd-warden restore --latest --plan --config ${made.configPath}`);
    expect(planned).toMatchObject({ code: 0 });
    const { steps, token, members } = planned.json<RestorePlan>();
    expect(members.map(({ here }) => here)).toEqual([true, true]);
    // Both are on this machine: one command, and the backup is read once.
    const [restoring] = steps.filter(({ name }) => name === 'restore');
    expect(restoring!.commands).toHaveLength(1);
    const restored = await call(restoring!.commands[0]!);
    expect(restored.code, restored.stdout).toBe(0);
    expect(restored.json()).toMatchObject({
      token,
      kubernetes: true,
      source: { store: 's3' },
      announced: ['s3'],
    });

    const { revision, raisedFrom } = restored.json<{ revision: string; raisedFrom: string }>();
    expect(BigInt(revision) - BigInt(raisedFrom)).toBe(1_000_000_000n);

    await using running = await startRestored({ minor: MINOR, sites, token });
    expect(await running.etcdctl(['get', '/registry/pods/default/a', '--print-value-only'])).toBe('y\n');
    // Client URLs are assumed in the plan; these members listen elsewhere.
    const assumed = members.flatMap(({ clientUrls }) => clientUrls).join(',');
    const checking = steps.find(({ name }) => name === 'check')!.commands[0]!;
    expect(checking).toContain(assumed);
    const checked = await call(checking.replace(assumed, sites.map(({ client }) => client).join(',')));
    expect(checked).toMatchObject({ code: 0 });
  }),
);

/** A snapshot that takes a moment to read, without an etcd that has to be filled first. */
function heavySnapshot(path: string): void {
  const value = Buffer.alloc(2 ** 20, 'x');
  const key = Array.from({ length: 100 }, (_, index) => {
    const main = BigInt(index + 2);
    const record = encode([1, `/heavy/${index}`], [2, main], [3, main], [4, 1n], [5, value]);
    return [encodeRevision({ main, sub: 0n, tombstone: false }), record] as const;
  });
  const { bytes } = boltFile({ key, meta: [['storageVersion', '3.6.0']], members: [], alarm: [] });
  writeFileSync(path, Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]));
}

test('Ctrl-C in the middle leaves nothing behind', async () => {
  const file = join(place, 'heavy.db');
  heavySnapshot(file);
  const targets = join(place, 'targets');
  mkdirSync(targets);
  const quiet = ['--endpoints', 'http://127.0.0.1:1', '--state-dir', join(folder, 'state'), '--builder', 'native'];
  const running = startWarden(['restore', file, '--data-dir', join(targets, 'data'), ...quiet]);
  await until(
    () => Promise.resolve(readdirSync(targets).length > 0),
    () => `nothing was begun: ${running.stderr()}`,
    { everyMs: 2 },
  );
  running.kill('SIGINT');
  expect(await running.done).toMatchObject({ code: 130 });
  expect(readdirSync(targets)).toEqual([]);
});
