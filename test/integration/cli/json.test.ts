/** docs/json.md, held to what the verbs print: every field in its tables is really there, and no other. */
import { readdirSync, rmSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { VERBS } from '../../../src/cli/verbs.ts';
import { program } from '../../../tools/programs.ts';
import { seedBackup } from '../../support/backups.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { LINEAGE_TWO } from '../../support/manifests.ts';
import { product } from '../../support/product.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { startDaemon, type Daemon } from '../../support/run-warden.ts';
import { seedFolder } from '../../support/seeded-folder.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

interface Documented {
  readonly path: string;
  /** The text says that it may be absent. */
  readonly optional: boolean;
}

/** Fields by heading. */
function documented(): Map<string, Documented[]> {
  const text = readFileSync(new URL('../../../docs/json.md', import.meta.url), 'utf8');
  return new Map(
    text
      .split(/^## /m)
      .slice(1)
      .map((section) => {
        const rows = section.split('\n').filter((line) => line.startsWith('| `'));
        const fields = rows.flatMap((row) => {
          const [, names = '', meaning = ''] = row.split('|');
          return [...names.matchAll(/`([^`]+)`/g)].map(([, path]) => ({ path: path!, optional: /\babsent\b/.test(meaning) }));
        });
        return [section.split('\n')[0]!, fields];
      }),
  );
}

/** `backups[].copies[].store` and so on; an empty list or map is itself. */
function pathsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [`${path}[]`] : value.flatMap((item: unknown) => pathsOf(item, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, item]) => pathsOf(item, path === '' ? key : `${path}.${key}`));
}

/** `a.*` stands for everything below. */
function covers(documentedPath: string, seen: string): boolean {
  if (!documentedPath.endsWith('.*')) return documentedPath === seen;
  const parent = documentedPath.slice(0, -2);
  return seen === parent || seen.startsWith(`${parent}.`) || seen.startsWith(`${parent}[]`);
}

/** An empty list shows none of its fields. */
function isEmptyListOf(seen: string, documentedPath: string): boolean {
  return seen.endsWith('[]') && documentedPath.startsWith(`${seen}.`);
}

const seen = new Map<string, Set<string>>();

/** Runs the verb in this process and remembers which fields it printed. */
async function call(heading: string, words: readonly string[], wanted: number): Promise<Record<string, unknown>> {
  const output = recordedOutput();
  const code = await runCli([...words, '--json'], { env: {}, output });
  if (code !== wanted) throw new Error(`${words.join(' ')} ended with ${code}: ${[...output.said, ...output.printed].join('\n')}`);
  const document = JSON.parse(output.printed.join('\n')) as Record<string, unknown>;
  const paths = seen.get(heading) ?? seen.set(heading, new Set()).get(heading)!;
  for (const path of pathsOf(document)) paths.add(path);
  return document;
}

let cluster: Cluster;
let folder: string;
let config: string;
let disk: string;
let daemon: Daemon;
beforeAll(async () => {
  folder = temporaryFolder('cli-json');
  cluster = await startCluster({ minor: '3.6', members: 1 });
  ({ configPath: config, disk } = product({
    folder,
    cluster,
    options: {
      stores: { disk: { type: 'local', path: join(folder, 'backups') }, second: { type: 'local', path: join(folder, 'second') } },
    },
  }));
  daemon = await startDaemon({
    // Its slots at the full hour must not hold the lock that the verbs need.
    clusters: { main: { endpoints: cluster.endpoints, coordinate: false } },
    stores: { disk: { type: 'local', path: join(folder, 'idle') } },
  });
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
  removeFolder(folder);
});

/** The data object of one of the backups: a compressed snapshot in a file. */
function dataFile(): string {
  return join(
    disk,
    'main',
    readdirSync(join(disk, 'main')).find((name) => name.endsWith('.db.zst'))!,
  );
}

// One story, in order: each verb needs what those before it have made.
describe('what --json prints', () => {
  const from = (): string[] => ['--config', config];

  test('backup: complete, pruned, and partial', async () => {
    await call('backup', ['backup', ...from(), '--label', 'first', '--prune'], 0);
    // A store that is a file takes nothing.
    const blocked = join(folder, 'second');
    rmSync(blocked, { recursive: true });
    writeFileSync(blocked, '');
    expect(await call('backup', ['backup', ...from()], 3)).toMatchObject({ outcome: 'partial' });
    await call('list', ['list', ...from()], 0);
    expect((await call('prune', ['prune', ...from()], 3))['skipped']).toHaveLength(1);
    rmSync(blocked);
  });

  test('copy, list, show and verify', async () => {
    await call('copy', ['copy', '--missing', ...from()], 0);
    writeFileSync(join(disk, 'main', 'README.txt'), 'not ours');
    await call('verify', ['verify', '--all', ...from()], 0);
    await call('verify', ['verify', '--repair-index', ...from()], 0);
    const plain = join(folder, 'plain.db');
    await call('export', ['export', 'latest', plain, ...from()], 0);
    writeFileSync(join(folder, 'none.db'), 'no snapshot');
    const elsewhere = ['--to', join(folder, 'imported'), '--state-dir', join(folder, 'state')];
    await call('import', ['import', plain, join(folder, 'none.db'), ...elsewhere], 3);
    await call('verify of a file', ['verify', dataFile(), ...from()], 0);
    await call('show', ['show', 'latest', ...from()], 0);
    await call('list', ['list', ...from()], 0);
    await call('status', ['status', ...from()], 0);
  });

  test('keys, get, history and diff', async () => {
    const to = ['--endpoints', cluster.endpoints.join(','), '--to', join(folder, 'looks'), '--cluster', 'main'];
    await cluster.etcdctl(['put', '/looks/a', 'x']);
    await call('backup', ['backup', ...to], 0);
    await cluster.etcdctl(['put', '/looks/a', '{"apiVersion":"v1","kind":"Thing"}']);
    await cluster.etcdctl(['put', '/looks/b', 'y']);
    await call('backup', ['backup', ...to], 0);
    const looks = ['--from', join(folder, 'looks')];
    const [first] = (await call('list', ['list', ...looks], 0))['backups'] as [{ id: string }];
    await call('keys', ['keys', 'latest', ...looks], 0);
    await call('keys', ['keys', 'latest', '/looks/', ...looks], 0);
    await call('keys --summary', ['keys', 'latest', '--summary', ...looks], 0);
    await call('get', ['get', 'latest', '/looks/a', ...looks], 0);
    await call('get', ['get', 'latest', '/looks/b', ...looks], 0);
    await call('error', ['get', 'latest', '/looks/c', ...looks], 10);
    await call('history', ['history', 'latest', '/looks/a', '--all', '--values', ...looks], 0);
    await call('diff', ['diff', first.id, 'latest', ...looks], 0);
    await call('diff', ['diff', 'latest', 'live', '/looks/', '--values', '--endpoints', cluster.endpoints.join(','), ...looks], 0);
  });

  test('restore: planned, built, and checked', async () => {
    const initial = ['--member', 'm1', '--initial-cluster', 'm1=http://127.0.0.1:1,m2=http://127.0.0.1:2'];
    const target = [...initial, '--data-dir', join(folder, 'restored'), '--only', '/k/'];
    await call('restore --plan', ['restore', 'latest', '--plan', ...target, ...from()], 0);
    await call('restore', ['restore', 'latest', ...target, ...from()], 0);
    await call('restore --plan', ['restore', 'latest', '--plan', ...target, ...from()], 0);
    const record = ['--record', join(folder, 'restored.restore.json'), '--timeout', '100ms'];
    await call('restore --check', ['restore', '--check', 'http://127.0.0.1:1', ...record, ...from()], 1);
  });

  test('drill', async () => {
    await call('drill', ['drill', '--store', 'disk', '--etcd', program('etcd', '3.6'), '--shared-disk', ...from()], 0);
  });

  test('hold, prune, release, accept-cluster and delete', async () => {
    const { backups } = (await call('list', ['list', ...from()], 0)) as { backups: { id: string }[] };
    const first = backups[0]!.id;
    await call('hold', ['hold', first, '--reason', 'why', ...from()], 0);
    await call('error', ['delete', first, ...from()], 14);
    await call('prune', ['prune', '--dry-run', ...from()], 0);
    await call('release', ['release', first, ...from()], 0);
    await call('accept-cluster', ['accept-cluster', ...from()], 0);
    await call('delete', ['delete', first, ...from()], 0);
  });

  test('a new generation, which is accepted', async () => {
    await using other = await startCluster({ minor: '3.6', members: 1 });
    const elsewhere = ['--endpoints', other.endpoints.join(','), '--to', join(folder, 'third')];
    const direct = ['--endpoints', cluster.endpoints.join(','), '--to', join(folder, 'third')];
    await call('backup', ['backup', ...direct], 0);
    await call('error', ['backup', ...elsewhere], 14);
    expect(await call('backup', ['backup', ...elsewhere, '--accept-cluster'], 0)).toHaveProperty('newGeneration.reason');
    await call('status', ['status', ...elsewhere], 0);
    const restored = join(folder, 'restored');
    seedFolder(restored, (stores) => {
      seedBackup(stores, { time: '2026-11-01T10:00:00.000Z' });
      seedBackup(stores, { time: '2026-11-02T10:00:00.000Z', lineage: LINEAGE_TWO });
    });
    expect((await call('accept-cluster', ['accept-cluster', '--from', restored], 0))['stores']).toEqual([{ store: 'local', error: null }]);
  });

  test('get --put: looked at, and done', async () => {
    await cluster.etcdctl(['put', '/k/1', 'one']);
    await cluster.etcdctl(['put', '/k/2', 'two']);
    await call('backup', ['backup', ...from()], 0);
    await cluster.etcdctl(['put', '/k/1', 'spoilt']);
    await cluster.etcdctl(['del', '/k/2']);
    await call('get --put', ['get', 'latest', '/k/', '--put-prefix', '--dry-run', ...from()], 0);
    await call('get --put', ['get', 'latest', '/k/', '--put-prefix', '--yes', ...from()], 0);
    await call('get --put', ['get', 'latest', '/k/', '--put-prefix', ...from()], 0);
  });

  test('compact, defrag and disarm, looked at and done', async () => {
    const direct = ['--endpoints', cluster.endpoints.join(','), '--state-dir', join(folder, 'state'), '--settle', '0s'];
    for (let count = 0; count < 5; count++) await cluster.etcdctl(['put', '/k/3', String(count)]);
    await call('compact', ['compact', '--keep', '2', '--dry-run', ...direct], 0);
    await call('compact', ['compact', '--keep', '2', '--yes', ...direct], 0);
    await call('defrag --dry-run', ['defrag', '--dry-run', ...direct], 0);
    await call('defrag --dry-run', ['defrag', '--all', '--dry-run', ...direct], 0);
    await call('error', ['defrag', '--all', ...direct], 14);
    await call('defrag', ['defrag', '--all', '--yes', ...direct], 0);
    await call('disarm', ['disarm', '--dry-run', ...direct], 0);
    await call('disarm', ['disarm', '--yes', ...direct], 0);
    await call('status', ['status', ...direct, '--from', join(folder, 'looks')], 0);
    const [member] = cluster.members;
    await cluster.raiseAlarm('NOSPACE', member!);
    await call('status', ['status', ...direct, '--from', join(folder, 'looks')], 1);
    await cluster.disarmAlarms();
  });

  test('member: listed, added, refused, removed and not replaced', async () => {
    const direct = ['--endpoints', cluster.endpoints.join(',')];
    const addition = ['member', 'add', 'm2', '--peer-urls', 'http://127.0.0.1:1', '--no-wait'];
    await call('member list', ['member', 'list', ...direct], 0);
    await call('member add', [...addition, '--dry-run', ...direct], 0);
    const { member } = (await call('member add', [...addition, ...direct], 0)) as { member: { id: string } };
    await call('member list', ['member', 'list', ...direct], 0);
    await call('member add', ['member', 'promote', member.id, ...direct], 14);
    await call('error', ['member', 'remove', member.id, ...direct], 14);
    await call('member add', ['member', 'remove', member.id, '--yes', ...direct], 0);
    await call('member add', ['member', 'promote', 'm1', ...direct], 0);
    await call('member replace', ['member', 'replace', 'm1', '--dry-run', '--platform', 'plain', ...direct], 14);
    await call('member replace', ['member', 'replace', 'm1', '--platform', 'k3s', ...direct], 14);
    const learner = await cluster.addLearner();
    await learner.kill('SIGKILL');
    await call('member replace', ['member', 'replace', learner.name, '--dry-run', '--platform', 'plain', ...direct], 0);
    await call('member add', ['member', 'remove', learner.name, '--yes', ...direct], 0);
  });

  test('config, healthcheck and failures', async () => {
    await call('config check', ['config', 'check', ...from()], 0);
    await call('config print', ['config', 'print', ...from()], 0);
    await call('config docs', ['config', 'docs'], 0);
    await call('healthcheck', ['healthcheck', '--http-listen', new URL(daemon.url).host], 0);
    writeFileSync(join(folder, 'broken.yaml'), 'clusters: {main: {endpints: [x], backup: {maxAge: 1D}}}\nstores: {}\n');
    await call('error', ['list', '--config', join(folder, 'broken.yaml')], 2);
    await call('error', ['list', '--from', 's3://', '--cluster', 'X Y'], 2);
  });

  test('every documented field was there, but for those that are said to be absent at times', () => {
    for (const [heading, fields] of documented()) {
      // The daemon prints its word when it ends.
      if (heading === 'run') continue;
      const paths = [...(seen.get(heading === 'When something fails' ? 'error' : heading) ?? [])];
      const missing = fields.filter(({ path, optional }) => !optional && !paths.some((one) => covers(path, one)));
      expect({ heading, missing: missing.map(({ path }) => path) }).toEqual({ heading, missing: [] });
    }
  });

  test('nothing was there that is not documented', () => {
    for (const [heading, paths] of seen) {
      const fields = documented().get(heading === 'error' ? 'When something fails' : heading) ?? [];
      const strange = [...paths].filter((path) => !fields.some((field) => covers(field.path, path) || isEmptyListOf(path, field.path)));
      expect({ heading, strange }).toEqual({ heading, strange: [] });
    }
  });

  test('every verb has its table', () => {
    const headings = [...documented().keys()].map((heading) => heading.split(' ')[0]);
    expect(VERBS.filter(({ name }) => !headings.includes(name)).map(({ name }) => name)).toEqual([]);
  });
});
