/** A member that is run by something on this machine, ways to break it, and what a replacement has to come to. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { parse } from 'yaml';
import { program } from '../../tools/programs.ts';
import { openReplace, type ReplaceRequest, type ReplaceTask } from '../../src/jobs/member-replace.ts';
import type { JobContext } from '../../src/jobs/types.ts';
import { compareHashes } from '../../src/member/hashes.ts';
import type { Replaced } from '../../src/member/replace/run.ts';
import { lookAtMembers } from '../../src/member/sight.ts';
import type { Cluster } from './cluster.ts';
import type { Member } from './member.ts';
import { run, until } from './processes.ts';
import type { Product } from './product.ts';

/** As the cluster's own start has them, for a member that is started again with another initial cluster. */
export function joinFlags(
  cluster: Cluster,
  environment: Readonly<Record<string, string | undefined>>,
  more: readonly string[] = [],
): string[] {
  return [
    `--initial-cluster=${environment['ETCD_INITIAL_CLUSTER']}`,
    `--initial-cluster-state=${environment['ETCD_INITIAL_CLUSTER_STATE'] ?? 'new'}`,
    '--initial-cluster-token=etcd-warden-test',
    ...(cluster.minor === '3.4' ? [] : ['--unsafe-no-fsync']),
    ...more,
  ];
}

export const initialClusterOf = (cluster: Cluster): string => cluster.members.map(({ name, peer }) => `${name}=${peer}`).join(',');

/** The settings in an answer for the operator, as he would paste them. */
export function environmentIn(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/^\s*(ETCD_\w+)="(.*)"$/gm)].map(([, name, value]) => [name!, value!]));
}

export interface FakeUnit {
  readonly unit: string;
  readonly environmentFile: string;
}

export interface FakeSystemd extends AsyncDisposable {
  /** To be put in front of PATH. */
  readonly bin: string;
  /** Makes a unit of a member; its settings come from an environment file as an operator writes it. */
  unit(cluster: Cluster, member: Member, flags?: readonly string[]): FakeUnit;
  /** Words of each call. */
  calls(): readonly string[];
}

/** A `systemctl` and a `journalctl` that stop, start and show real etcds. The real ones need a running systemd, which containers do not have. */
export async function fakeSystemd(folder: string): Promise<FakeSystemd> {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const units = new Map<string, (words: readonly string[]) => Promise<Reply>>();
  const calls: string[] = [];
  const server = await listening(async (words) => {
    calls.push(words.join(' '));
    const answer = [...units].find(([name]) => words.includes(name))?.[1];
    return answer === undefined ? { code: 4, out: 'LoadState=not-found\n' } : answer(words);
  });
  const { port } = server.address() as { port: number };
  for (const name of ['systemctl', 'journalctl']) {
    writeFileSync(
      join(bin, name),
      `#!${process.execPath}\nconst reply = await fetch('http://127.0.0.1:${port}', { method: 'POST', body: JSON.stringify(['${name}', ...process.argv.slice(2)]) });\nconst { code, out } = await reply.json();\nprocess.stdout.write(out);\nprocess.exitCode = code;\n`,
    );
    chmodSync(join(bin, name), 0o755);
  }
  // An executable without an extension counts as a module only where a package says so.
  writeFileSync(join(bin, 'package.json'), '{"type":"module"}');
  return {
    bin,
    calls: () => calls,
    unit(cluster, member, flags = []) {
      const unit = `etcd-${units.size + 1}.service`;
      const environmentFile = join(folder, `${unit}.env`);
      writeFileSync(
        environmentFile,
        `# etcd\nETCD_NAME="${member.name}"\nETCD_INITIAL_CLUSTER="${initialClusterOf(cluster)}"\n# joins only with existing\nETCD_INITIAL_CLUSTER_STATE="new"\nETCD_HEARTBEAT_INTERVAL=100\n`,
      );
      units.set(unit, (words) => act(words, environmentFile, cluster, member, flags));
      return { unit, environmentFile };
    },
    [Symbol.asyncDispose]: async () => closed(server),
  };
}

interface Reply {
  readonly code: number;
  readonly out: string;
}

async function act(
  [called, verb]: readonly string[],
  environmentFile: string,
  cluster: Cluster,
  member: Member,
  flags: readonly string[],
): Promise<Reply> {
  const running = member.running();
  switch (called === 'journalctl' ? 'log' : verb) {
    case 'log':
      return { code: 0, out: member.output() };
    case 'is-active':
      return running ? { code: 0, out: 'active\n' } : { code: 3, out: 'inactive\n' };
    case 'stop':
      if (running) await member.kill('SIGTERM');
      return { code: 0, out: '' };
    case 'start': {
      const environment = Object.fromEntries(
        [...readFileSync(environmentFile, 'utf8').matchAll(/^(ETCD_\w+)="?([^"\n]*)"?$/gm)].map(([, name, value]) => [name!, value!]),
      );
      await member.restart({ flags: joinFlags(cluster, environment, flags), wait: false });
      return { code: 0, out: '' };
    }
    case 'show':
      return {
        code: 0,
        out: `LoadState=loaded\nExecStart={ path=/usr/bin/etcd ; argv[]=/usr/bin/etcd --data-dir=${member.dataDir} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\nEnvironment=ETCD_LOG_LEVEL=info\nEnvironmentFiles=${environmentFile} (ignore_errors=no)\n`,
      };
    default:
      return { code: 0, out: '' };
  }
}

async function listening(answer: (words: readonly string[]) => Promise<Reply>): Promise<Server> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      answer(JSON.parse(body) as string[]).then(
        (reply) => response.end(JSON.stringify(reply)),
        (error: Error) => response.end(JSON.stringify({ code: 1, out: error.message })),
      );
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

export interface FakeKubelet extends AsyncDisposable {
  readonly manifest: string;
}

/** Runs the etcd of a manifest for as long as that lies in the folder, with the flags that it has, as the kubelet does. */
export function fakeKubelet(folder: string, member: Member, manifest: string): FakeKubelet {
  const manifests = join(folder, 'manifests');
  const path = join(manifests, 'etcd.yaml');
  mkdirSync(manifests, { recursive: true });
  writeFileSync(path, manifest);
  let busy: Promise<void> | undefined;
  const turn = async (): Promise<void> => {
    const present = existsSync(path);
    if (!present && member.running()) await member.kill('SIGTERM');
    if (!present || member.running()) return;
    const pod = parse(readFileSync(path, 'utf8')) as { spec: { containers: { command: string[] }[] } };
    const flags = pod.spec.containers[0]!.command.filter((word) =>
      /^--(initial-cluster|initial-cluster-state|initial-cluster-token|unsafe-no-fsync)\b/.test(word),
    );
    await member.restart({ flags, wait: false });
  };
  const timer = setInterval(() => {
    busy ??= turn().finally(() => (busy = undefined));
  }, 50);
  return {
    manifest: path,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await busy;
    },
  };
}

/** What may happen to a member; each leaves it as an operator would find it. */
export const BREAKS: Readonly<Record<string, (member: Member, cluster: Cluster, folder: string) => Promise<void>>> = {
  'its disk is gone': async (member) => {
    await member.kill('SIGKILL');
    rmSync(member.dataDir, { recursive: true });
    mkdirSync(member.dataDir, { mode: 0o700 });
  },
  'the database of its raft snapshot is missing': async (member, cluster, folder) => {
    await member.stop();
    copyFileSync(join(member.dataDir, 'member/snap/db'), join(folder, 'older.db'));
    await member.restart();
    const snapshots = (): number => readdirSync(join(member.dataDir, 'member/snap')).filter((name) => name.endsWith('.snap')).length;
    const before = snapshots();
    for (let turn = 0; turn < 400 && snapshots() === before; turn++) await cluster.fill({ keys: 5, valueBytes: 10, seed: turn });
    await until(() => snapshots() > before, 'no raft snapshot was made');
    await member.stop();
    copyFileSync(join(folder, 'older.db'), join(member.dataDir, 'member/snap/db'));
    await startBroken(member);
  },
  'its write-ahead log is damaged': async (member) => {
    await member.stop();
    const folder = join(member.dataDir, 'member/wal');
    const last = readdirSync(folder)
      .filter((name) => name.endsWith('.wal'))
      .toSorted()
      .at(-1)!;
    const bytes = readFileSync(join(folder, last));
    // Behind the records that the file begins with, so that it is still known whose it is.
    bytes.fill(0x5a, 400, 480);
    writeFileSync(join(folder, last), bytes);
    await startBroken(member);
  },
  'its database is damaged': async (member) => {
    await member.stop();
    const path = join(member.dataDir, 'member/snap/db');
    const bytes = readFileSync(path);
    bytes.fill(0, 0, 2 * 4096);
    writeFileSync(path, bytes);
    await startBroken(member);
  },
  'it was started as a new cluster': async (member, cluster) => {
    await member.kill('SIGKILL');
    rmSync(member.dataDir, { recursive: true });
    await member.restart({ flags: joinFlags(cluster, { ETCD_INITIAL_CLUSTER: `${member.name}=${member.peer}` }) });
  },
  'it was restored alone from a backup': async (member, cluster, folder) => {
    const file = join(folder, 'alone.db');
    await cluster.etcdctl(['snapshot', 'save', file], { endpoints: [(await cluster.leader()).direct] });
    await member.kill('SIGKILL');
    rmSync(member.dataDir, { recursive: true });
    const old = cluster.minor === '3.4';
    await run(program(old ? 'etcdctl' : 'etcdutl', cluster.minor), [
      'snapshot',
      'restore',
      file,
      `--name=${member.name}`,
      `--data-dir=${member.dataDir}`,
      `--initial-cluster=${initialClusterOf(cluster)}`,
      `--initial-advertise-peer-urls=${member.peer}`,
      '--initial-cluster-token=another-token',
    ]);
    rmSync(file);
    await member.restart({ flags: joinFlags(cluster, { ETCD_INITIAL_CLUSTER: initialClusterOf(cluster) }), wait: false });
    // The others hear of it, and refuse.
    await until(
      () => /cluster ID mismatch/i.test(member.output()),
      () => member.output().slice(-2_000),
    );
  },
  'its data is not that of the others and CORRUPT is armed': async (member, cluster) => {
    const needle = 'needle-in-the-database';
    await cluster.etcdctl(['put', '/needle', needle]);
    await member.stop();
    // A byte of a value, as a disk that lies would change it: bbolt has no checksum there.
    const path = join(member.dataDir, 'member/snap/db');
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + 1)) bytes[at] = bytes[at]! ^ 1;
    writeFileSync(path, bytes);
    await member.restart();
    // Whoever finds it may be the wrong one to name.
    await cluster.raiseAlarm('CORRUPT', member);
  },
};

/** It tries, and ends. */
async function startBroken(member: Member): Promise<void> {
  await member.restart({ wait: false });
  await until(
    () => !member.running(),
    () => `it runs all the same:\n${member.output().slice(-2_000)}`,
  );
}

/** Three voters, one history, and nobody of the old life among them. */
export async function expectWhole(cluster: Cluster, gone: bigint): Promise<void> {
  const access = cluster.access();
  const { signal } = new AbortController();
  const sight = await lookAtMembers({ access, signal });
  const seen = sight.members.map(
    ({ name, learner, readMs }) => `${name} ${learner ? 'learner' : 'voter'} ${readMs === undefined ? 'silent' : 'answers'}`,
  );
  expect(seen.toSorted()).toEqual(['m1', 'm2', 'm3'].map((name) => `${name} voter answers`));
  expect(sight.members.map(({ id }) => id)).not.toContain(gone);
  const hashes = await compareHashes(sight, { access, context: { signal, progress: () => {} } });
  expect(hashes.verdict, hashes.message).toBe('agree');
  expect(hashes.members).toHaveLength(3);
}

/** Where the data of a member's former lives is. */
export function oldData(member: Member): string[] {
  const folder = dirname(member.dataDir);
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${member.name}.replaced-`))
    .map((name) => join(folder, name));
}

export interface Replacing {
  readonly product: Pick<Product, 'context'>;
  readonly member: string;
  readonly request?: Partial<ReplaceRequest>;
  readonly tell?: (text: string) => void;
  readonly ask?: (question: string) => Promise<boolean>;
  readonly context?: Partial<JobContext>;
}

export function opened({ product, member, request = {}, context = {} }: Replacing): Promise<ReplaceTask> {
  return openReplace(
    {
      cluster: 'main',
      member,
      peerUrls: undefined,
      place: undefined,
      managedBy: undefined,
      healthy: false,
      degraded: false,
      dataMoved: false,
      waitMs: 60_000,
      platform: undefined,
      ...request,
    },
    product.context(context),
    { pace: { pollMs: 100 }, root: '/nonexistent' },
  );
}

export async function replaced(replacing: Replacing): Promise<{ readonly task: ReplaceTask; readonly result: Replaced }> {
  const task = await opened(replacing);
  try {
    const result = await task.run({ tell: replacing.tell ?? (() => {}), ask: replacing.ask, onStep: () => {} });
    return { task, result };
  } finally {
    await task.close();
  }
}
