/** Snapshots going out as etcd's own tools take them, and coming in as other tools leave them. */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import type { Manifest } from '../../../src/format/types.ts';
import { ETCD_MINORS, program, type EtcdMinor } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { run } from '../../support/processes.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { zipFile } from '../../support/zip-file.ts';

let folder: string;
let store: string;
beforeEach(() => {
  folder = temporaryFolder('export-import');
  store = join(folder, 'store');
});
afterEach(() => removeFolder(folder));

/** 3.4 has no etcdutl: its etcdctl does that work. */
function utility(minor: EtcdMinor, ...words: string[]): Promise<string> {
  const command = minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor);
  return run(command, ['snapshot', ...words], { env: { ...process.env, ETCDCTL_API: '3' } });
}

interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  json<T>(): T;
}

/** The command line in this process: most of what a process of its own takes is its start. Without a configuration file: one store, a state folder of its own. */
async function warden(verb: string, ...words: string[]): Promise<Said> {
  const output = recordedOutput();
  const code = await runCli([verb, ...words, '--state-dir', join(folder, 'state')], { env: {}, output });
  const stdout = output.printed.map((text) => `${text}\n`).join('');
  return { code, stdout, stderr: output.said.join('\n'), json: <T>() => JSON.parse(stdout) as T };
}

function manifests(cluster = 'default', from = store): Manifest[] {
  return readdirSync(join(from, cluster))
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => JSON.parse(readFileSync(join(from, cluster, name), 'utf8')) as Manifest);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
}

interface Imported {
  readonly results: readonly { readonly outcome: string; readonly id: string; readonly time: string; readonly keyCount: number }[];
}

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor, members: 1 });
    await cluster.fill({ keys: 60, valueBytes: 2_000, seed: 8 });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  test('takes what was exported: status reads it, restore makes a data directory of it', async () => {
    const taken = await warden('backup', '--endpoints', cluster.endpoints.join(','), '--to', store);
    expect(taken.code).toBe(0);
    const file = join(folder, 'snapshot.db');
    const exported = await warden('export', 'latest', file, '--from', store);
    expect(exported).toMatchObject({ code: 0, stderr: '' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const [manifest] = manifests();
    expect(exported.stdout).toContain(manifest!.plain.sha256);
    expect(JSON.parse(await utility(minor, 'status', file, '--write-out=json'))).toMatchObject({ revision: Number(manifest!.revision) });
    await utility(minor, 'restore', file, '--data-dir', join(folder, 'restored'));
    expect(existsSync(join(folder, 'restored', 'member', 'snap', 'db'))).toBe(true);
    expect((await warden('verify', file)).stdout).toMatch(/ content +ok /);
    expect(await warden('verify', file, '--level', 'proved')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('no level above content') as string,
    });
  });

  test('gives what is imported: its keys are counted, nobody has proved it, and it comes out as it went in', async () => {
    const file = join(folder, 'snapshot.db');
    await cluster.etcdctl(['snapshot', 'save', file]);
    const imported = await warden('import', file, '--to', store, '--json');
    expect(imported.json<Imported>().results).toMatchObject([{ outcome: 'imported', keyCount: 60 }]);
    expect(manifests()[0]).toMatchObject({
      imported: { name: 'snapshot.db', members: 1, sha256: createHash('sha256').update(readFileSync(file)).digest('hex') },
      unproved: { code: 'imported' },
      lineage: '0000000000000000',
      keyCount: 60,
    });
    const verified = await warden('verify', '--from', store, '--json');
    expect(verified.json<{ results: object[] }>().results).toMatchObject([{ level: 'content', outcome: 'ok', code: 'unproved' }]);
    const out = join(folder, 'out.db');
    expect((await warden('export', 'latest', out, '--from', store)).code).toBe(0);
    expect(readFileSync(out).equals(readFileSync(file))).toBe(true);
  });
});

describe('with one cluster', () => {
  let cluster: Cluster;
  let shared: string;
  let saved: string;
  beforeAll(async () => {
    shared = temporaryFolder('export-import-shared');
    cluster = await startCluster({ minor: '3.6', members: 1 });
    await cluster.fill({ keys: 80, valueBytes: 3_000, seed: 9 });
    saved = join(shared, 'snapshot.db');
    await cluster.etcdctl(['snapshot', 'save', saved]);
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
    removeFolder(shared);
  });
  const backup = (): Promise<Said> => warden('backup', '--endpoints', cluster.endpoints.join(','), '--to', store);
  const dataObject = (): string =>
    join(
      store,
      'default',
      readdirSync(join(store, 'default')).find((name) => name.endsWith('.db.zst'))!,
    );

  test('an export replaces nothing unless told, follows no link, and cleans up what a killed one left', async () => {
    await backup();
    const file = join(folder, 'snapshot.db');
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'untouched');
    symlinkSync(victim, `${file}.part`);
    expect((await warden('export', 'latest', file, '--from', store)).code).toBe(0);
    expect(readFileSync(victim, 'utf8')).toBe('untouched');
    const before = readFileSync(file);
    expect(await warden('export', 'latest', file, '--from', store)).toMatchObject({ code: 14, stderr: expect.stringContaining('--force') });
    expect((await warden('export', 'latest', file, '--force', '--from', store)).code).toBe(0);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(await warden('export', 'latest', folder, '--from', store)).toMatchObject({ code: 2 });
    expect(await warden('export', 'latest', join(folder, 'no', 'such'), '--from', store)).toMatchObject({ code: 1 });
    expect(existsSync(`${file}.part`)).toBe(false);
  });

  test('on standard output it is the same bytes, and a damaged one ends with 13 and a word', async () => {
    await backup();
    const file = join(folder, 'snapshot.db');
    await warden('export', 'latest', file, '--from', store);
    const script = `"$1" "$2" export latest - --from "$3" --state-dir "$4" > "$5"`;
    const streamed = join(folder, 'streamed.db');
    const executable = join(import.meta.dirname, '../../../bin/etcd-warden');
    await run('sh', ['-c', script, 'sh', process.execPath, executable, store, join(folder, 'state'), streamed]);
    expect(readFileSync(streamed).equals(readFileSync(file))).toBe(true);
    expect(await warden('export', 'latest', '-', '--json', '--from', store)).toMatchObject({ code: 2 });
    const bytes = readFileSync(dataObject());
    bytes[bytes.length - 20]! ^= 1;
    writeFileSync(dataObject(), bytes);
    const broken = await warden('export', 'latest', '-', '--from', store);
    expect(broken).toMatchObject({ code: 13, stderr: expect.stringContaining('NOT a whole snapshot') });
    const gone = join(folder, 'gone.db');
    expect(await warden('export', 'latest', gone, '--from', store)).toMatchObject({ code: 13 });
    expect(readdirSync(folder).filter((name) => name.startsWith('gone'))).toEqual([]);
  });

  test('a copy that is damaged is passed over for the one on another store', async () => {
    const second = join(folder, 'second');
    const config = join(folder, 'config.yaml');
    const stores = { disk: { type: 'local', path: store }, second: { type: 'local', path: second } };
    writeFileSync(
      config,
      JSON.stringify({ clusters: { default: { endpoints: cluster.endpoints } }, stores, stateDir: join(folder, 'state') }),
    );
    expect((await warden('backup', '--config', config)).code).toBe(0);
    const bytes = readFileSync(dataObject());
    bytes[100]! ^= 1;
    writeFileSync(dataObject(), bytes);
    const file = join(folder, 'snapshot.db');
    const exported = await warden('export', 'latest', file, '--config', config);
    expect(exported).toMatchObject({ code: 0, stdout: expect.stringContaining(' from second: ') });
    expect((await warden('verify', file)).code).toBe(0);
  });

  test('a zip archive as RKE2 and k3s write it is imported with the time in its name', async () => {
    const name = 'etcd-snapshot-node-a-1763805600';
    const zip = join(folder, `${name}.zip`);
    writeFileSync(zip, zipFile([{ name, plain: readFileSync(saved) }]));
    const { results } = (await warden('import', zip, '--to', store, '--json')).json<Imported>();
    expect(results).toMatchObject([{ outcome: 'imported', time: '2025-11-22T10:00:00.000Z', keyCount: 80 }]);
    const out = join(folder, 'out.db');
    await warden('export', results[0]!.id, out, '--from', store);
    expect(readFileSync(out).equals(readFileSync(saved))).toBe(true);
    expect(manifests()[0]!.imported!.sha256).toBe(createHash('sha256').update(readFileSync(zip)).digest('hex'));
    expect(readdirSync(join(folder, 'state', 'scratch'))).toEqual([]);
  });

  test('a copy of member/snap/db, as kubeadm leaves it, gets the trailer that restore asks for', async () => {
    const stopped = await startCluster({ minor: '3.6', members: 1 });
    try {
      await stopped.fill({ keys: 20, valueBytes: 500, seed: 4 });
      const [member] = stopped.members;
      await member!.stop();
      copyFileSync(join(member!.dataDir, 'member', 'snap', 'db'), join(folder, 'db'));
    } finally {
      await stopped.stop();
    }
    const imported = await warden('import', join(folder, 'db'), '--to', store, '--json');
    expect(imported.json<Imported>().results).toMatchObject([{ outcome: 'imported', keyCount: 20 }]);
    const out = join(folder, 'out.db');
    expect((await warden('export', 'latest', out, '--from', store)).code).toBe(0);
    await utility('3.6', 'restore', out, '--data-dir', join(folder, 'restored'));
    expect(await warden('export', join(folder, 'db'), join(folder, 'raw.db'))).toMatchObject({ code: 14 });
  });

  test('imports stand beside the history of the cluster: they open no generation, are nobody’s parent, and latest is none of them', async () => {
    const future = join(folder, 'kept.db');
    copyFileSync(saved, future);
    expect((await warden('import', future, '--to', store)).code).toBe(0);
    expect((await backup()).code).toBe(0);
    // Written after the backup: newer by its time.
    await cluster.etcdctl(['put', 'one', 'more']);
    const later = join(folder, 'later.db');
    await cluster.etcdctl(['snapshot', 'save', later]);
    expect((await warden('import', later, future, '--to', store, '--json')).json<Imported>().results).toMatchObject([
      { outcome: 'imported' },
      { outcome: 'present' },
    ]);
    const second = await backup();
    expect(second).toMatchObject({ code: 0 });
    expect(second.stdout).not.toContain('generation');
    const own = manifests().filter((manifest) => manifest.imported === undefined);
    expect(own).toHaveLength(2);
    expect(own[1]).toMatchObject({ lineage: own[0]!.lineage, parent: own[0]!.id });
    expect((await warden('show', 'latest', '--from', store)).stdout).toContain(own[1]!.id);
    const listed = await warden('list', '--from', store);
    expect(listed.stdout.match(/complete, imported/g)).toHaveLength(2);
    expect(listed.stdout).not.toContain('is not accepted');
  });

  test('files that are not what a tool of etcd left are refused, each with its reason, and nothing of them is anywhere', async () => {
    const bad: [name: string, damage: (snapshot: Buffer) => Buffer, code: string, sentence: RegExp][] = [
      [
        'trailer',
        (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]),
        'snapshot-hash-mismatch',
        /its trailer says/,
      ],
      // In the middle of a value, where neither a page nor a record tells: the layout of the file is another one in each run.
      ['flipped', (bytes) => flipped(bytes, bytes.lastIndexOf('/fill/00000030') + 1_000), 'snapshot-hash-mismatch', /its trailer says/],
      ['cut', (bytes) => bytes.subarray(0, 70_000), 'bolt-damaged', /the file has 70000 bytes/],
      ['longer', (bytes) => Buffer.concat([bytes, Buffer.from('x')]), 'snapshot-wrong-length', /neither a snapshot/],
      ['text', () => Buffer.from('not a database, whatever its name says'), 'not-bolt', /not a snapshot of etcd/],
      ['empty', () => Buffer.alloc(0), 'not-bolt', /empty/],
    ];
    const files = bad.map(([name, damage]) => {
      const file = join(folder, `${name}.db`);
      writeFileSync(file, damage(readFileSync(saved)));
      return file;
    });
    const refused = await warden('import', ...files, '--to', store, '--json');
    expect(refused.code).toBe(1);
    expect(refused.json<Imported>().results).toMatchObject(
      bad.map(([, , code, sentence]) => ({ outcome: 'failed', error: { code, message: expect.stringMatching(sentence) } })),
    );
    const left = existsSync(store) ? readdirSync(store, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()) : [];
    expect(left.map(({ name }) => name).filter((name) => /db|json$/.test(name))).toEqual([]);
    expect(await warden('import', files[0]!, '--to', store)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('its trailer says'),
    });
  });

  test('of several files a bad one is a line of its own; times that cannot be are refused', async () => {
    const bad = join(folder, 'bad.db');
    writeFileSync(bad, 'no');
    const both = await warden('import', saved, bad, '--to', store, '--json');
    expect(both.code).toBe(3);
    expect(both.json<Imported>().results).toMatchObject([{ outcome: 'imported' }, { outcome: 'failed', error: { code: 'not-bolt' } }]);
    expect(await warden('import', saved, bad, '--time', '2026-01-01', '--to', store)).toMatchObject({ code: 2 });
    expect(await warden('import', saved, '--time', '2999-01-01', '--to', store)).toMatchObject({ code: 2 });
    const future = join(folder, 'future.db');
    copyFileSync(saved, future);
    utimesSync(future, 4_000_000_000, 4_000_000_000);
    expect(await warden('import', future, '--to', store)).toMatchObject({ code: 2, stderr: expect.stringContaining('--time') });
    expect(await warden('import', join(folder, 'none.db'), '--to', store)).toMatchObject({ code: 10 });
    mkdirSync(join(folder, 'dir'));
    expect(await warden('import', join(folder, 'dir'), '--to', store)).toMatchObject({ code: 2 });
  });

  test('what is imported is encrypted as every backup is, and comes out again with the identity', async () => {
    const keys = await run(program('age-keygen'), []);
    const identityFile = join(folder, 'identity');
    writeFileSync(identityFile, keys, { mode: 0o600 });
    const recipient = /public key: (\S+)/.exec(keys)![1]!;
    expect((await warden('import', saved, '--to', store, '--recipients', recipient)).code).toBe(0);
    expect(readdirSync(join(store, 'default')).some((name) => name.endsWith('.db.zst.age'))).toBe(true);
    const out = join(folder, 'out.db');
    expect(await warden('export', 'latest', out, '--from', store)).toMatchObject({ code: 12 });
    expect((await warden('export', 'latest', out, '--from', store, '--identity-file', identityFile)).code).toBe(0);
    expect(readFileSync(out).equals(readFileSync(saved))).toBe(true);
    // An encrypted file is taken as it is found.
    const sealed = join(
      store,
      'default',
      readdirSync(join(store, 'default')).find((name) => name.endsWith('.db.zst.age'))!,
    );
    const other = join(folder, 'other');
    expect((await warden('import', sealed, '--to', other, '--identity-file', identityFile)).code).toBe(0);
    expect(manifests('default', other)[0]).toMatchObject({ stored: { encryption: 'none' }, keyCount: 80 });
  });
});
