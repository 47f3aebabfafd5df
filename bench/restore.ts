import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Gateway, startGateway } from '../test/support/gateway.ts';
import { startS3FaultProxy } from '../test/support/s3-fault-proxy.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { program } from '../tools/programs.ts';
import { benchFolder, bytesUnder, type Kind, KINDS, startWithKind } from './databases.ts';
import { measure, MIB, settle, summarize, table, verdict, type Run } from './measure.ts';
import { awsEnvironment, EXECUTABLE, measureBackup } from './warden.ts';

const LIMITS = { toTool: 1.0, rewritingToTool: 1.6, fromS3ToChain: 0.6, rssMiB: 200, readings: 1.05 };

const FROM_S3: Kind = 'large values';

const THREE = ['m1=http://10.0.0.1:2380', 'm2=http://10.0.0.2:2380', 'm3=http://10.0.0.3:2380'].join(',');

export interface RestoreBenchOptions {
  readonly rounds: number;
  readonly kinds?: readonly Kind[];
  /** Only from a folder, or only from S3 (which the large values alone are restored from). */
  readonly only?: 'disk' | 's3' | undefined;
  /** Takes the backups that an earlier run with it has left, and leaves its own. */
  readonly keep?: boolean | undefined;
}

/** What is restored: a store with one backup, and the snapshot that `etcdctl` takes of the same database. */
interface Restored {
  readonly store: string;
  readonly plain: string;
}

/**
 * A compressed backup, proved in the same pass, to a directory that etcd starts on, by the native builder: copied, and written anew; against `etcdutl snapshot
 * restore` of the plain file, in turns. From S3 against download, decompression and etcdutl.
 */
export async function benchRestore({ rounds, kinds = KINDS, only, keep = false }: RestoreBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  const out = join(work, 'out');
  const rows: string[][] = [];
  let kept = true;
  try {
    for (const kind of only === 's3' ? kinds.filter((one) => one === FROM_S3) : kinds) {
      const { store, plain } = await restored(kind, keep ? join(benchFolder(), `restore-${kind.replace(' ', '-')}`) : join(work, kind));
      const contestants: readonly Contestant[] = [
        { name: 'etcdutl snapshot restore', run: () => byTool(plain, out) },
        { name: 'restore', limit: LIMITS.toTool, run: () => restore(store, out) },
        { name: 'restore --defragmented', limit: LIMITS.rewritingToTool, run: () => restore(store, out, ['--defragmented']) },
        { name: 'restore --only', limit: LIMITS.rewritingToTool, run: () => restore(store, out, ['--only', '/fill/']) },
      ];
      if (only !== 's3') kept = (await takeTurns(kind, contestants, { rounds, out, rows })) && kept;
      if (kind === FROM_S3 && only !== 'disk') kept = (await fromS3(work, { store, rounds, out, rows })) && kept;
      removeFolder(join(work, kind));
    }
  } finally {
    removeFolder(work);
  }
  console.log(`\n${table(['database', '', 'median s', 'min s', 'max s', 'CPU s', 'ratio of medians', 'peak RSS MiB'], rows)}`);
  return kept;
}

async function restored(kind: Kind, folder: string): Promise<Restored> {
  const found = { store: join(folder, 'store'), plain: join(folder, 'plain.db') };
  if (existsSync(folder)) return found;
  const making = `${folder}.making`;
  removeFolder(making);
  mkdirSync(join(making, 'store'), { recursive: true });
  {
    await using cluster = await startWithKind(kind);
    const endpoint = cluster.endpoints[0]!;
    await measureBackup({ endpoint, to: join(making, 'store') });
    await measure(program('etcdctl', '3.6'), [`--endpoints=${endpoint}`, 'snapshot', 'save', join(making, 'plain.db')]);
  }
  renameSync(making, folder);
  return found;
}

interface Contestant {
  readonly name: string;
  /** Of its median to that of the first one; absent for that. */
  readonly limit?: number;
  readonly run: () => Promise<Run>;
}

interface Turns {
  readonly rounds: number;
  readonly out: string;
  readonly rows: string[][];
}

/** @returns whether all limits were kept */
async function takeTurns(kind: string, contestants: readonly Contestant[], { rounds, out, rows }: Turns): Promise<boolean> {
  const runs = contestants.map((): Run[] => []);
  for (let round = 1; round <= rounds; round++) {
    for (const [i, { name, run }] of contestants.entries()) {
      removeFolder(out);
      mkdirSync(out);
      await settle();
      runs[i]!.push(await run());
      console.log(`${kind}, round ${round} of ${rounds}  ${name}: ${runs[i]!.at(-1)!.seconds.toFixed(2)} s`);
    }
  }
  removeFolder(out);
  const first = summarize(runs[0]!.map(({ seconds }) => seconds)).median;
  let kept = true;
  for (const [i, { name, limit }] of contestants.entries()) {
    const seconds = summarize(runs[i]!.map((run) => run.seconds));
    const rss = Math.max(...runs[i]!.map((run) => run.peakRssMiB));
    const ratio = seconds.median / first;
    if (limit !== undefined) kept &&= ratio <= limit && rss <= LIMITS.rssMiB;
    rows.push([
      kind,
      name,
      ...[seconds.median, seconds.min, seconds.max].map((value) => value.toFixed(2)),
      summarize(runs[i]!.map((run) => run.cpuSeconds)).median.toFixed(1),
      limit === undefined ? '' : verdict(ratio, limit),
      limit === undefined ? rss.toFixed(0) : verdict(rss, LIMITS.rssMiB),
    ]);
  }
  return kept;
}

function byTool(file: string, out: string): Promise<Run> {
  return measure(program('etcdutl', '3.6'), ['snapshot', 'restore', file, '--data-dir', join(out, 'theirs')]);
}

function restore(
  store: string,
  out: string,
  flags: readonly string[] = [],
  gateway?: Pick<Gateway, 'endpoint'> & Partial<Gateway>,
): Promise<Run> {
  const to = ['--to', store, ...(gateway === undefined ? [] : ['--s3-endpoint', gateway.endpoint, '--s3-region', gateway.region ?? ''])];
  const args = ['restore', 'latest', ...to, '--data-dir', join(out, 'ours'), '--builder', 'native', '--json', '--quiet', ...flags];
  return measure(process.execPath, [EXECUTABLE, ...args], gateway === undefined ? {} : awsEnvironment(gateway as Gateway));
}

async function fromS3(work: string, { store, rounds, out, rows }: Turns & { readonly store: string }): Promise<boolean> {
  await using gateway = await startGateway({ dataRoot: work });
  await gateway.createBucket('bench');
  const environment = { ...awsEnvironment(gateway), HOME: work };
  const aws = ['--endpoint-url', gateway.endpoint, 's3', 'cp', '--no-progress'];
  await measure(program('aws'), [...aws, '--recursive', store, 's3://bench/ours'], environment);
  const object = readdirSync(store, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('.zst'))!;
  const stored = statSync(join(store, object)).size;
  const file = join(work, 'fetched.db');

  async function chain(): Promise<Run> {
    removeFolder(file);
    const steps = [
      await measure(program('aws'), [...aws, `s3://bench/ours/${object}`, `${file}.zst`], environment),
      await measure(program('zstd'), ['-d', '-q', '-f', '--rm', `${file}.zst`]),
      await byTool(file, out),
    ];
    const sum = (of: (step: Run) => number): number => steps.reduce((total, step) => total + of(step), 0);
    return {
      seconds: sum((step) => step.seconds),
      cpuSeconds: sum((step) => step.cpuSeconds),
      peakRssMiB: Math.max(...steps.map((step) => step.peakRssMiB)),
      stdout: '',
    };
  }

  const kept = await takeTurns(
    `${FROM_S3}, S3`,
    [
      { name: 'aws s3 cp, zstd -d, etcdutl', run: chain },
      { name: 'restore', limit: LIMITS.fromS3ToChain, run: () => restore('s3://bench/ours', out, [], gateway) },
    ],
    { rounds, out, rows },
  );

  // Three members on this machine, through a proxy that counts what is fetched.
  await using proxy = await startS3FaultProxy(gateway.endpoint);
  mkdirSync(out);
  const flags = ['--initial-cluster', THREE, '--member', 'all', '--data-dir', join(out, '{member}')];
  const run = await restore('s3://bench/ours', out, flags, { ...gateway, endpoint: proxy.url });
  const fetched = proxy.requests.reduce((sum, { verb, path, headers }) => {
    if (verb !== 'Get' || !decodeURIComponent(path).includes(object)) return sum;
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? '') ?? [];
    return sum + (from === undefined ? stored : Number(to) - Number(from) + 1);
  }, 0);
  console.log(
    `\nthree members from S3: ${run.seconds.toFixed(2)} s, the backup of ${(stored / MIB).toFixed(0)} MiB read ${verdict(fetched / stored, LIMITS.readings)} times, ${(bytesUnder(out) / MIB).toFixed(0)} MiB made`,
  );
  removeFolder(out);
  return kept && fetched / stored <= LIMITS.readings;
}
