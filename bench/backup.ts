import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { program } from '../tools/programs.ts';
import { startGateway } from '../test/support/gateway.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { benchFolder, bytesUnder, startWithDatabase } from './databases.ts';
import { measure, MIB, settle, summarize, table, verdict, type Run } from './measure.ts';
import { awsEnvironment, measureBackup } from './warden.ts';

/** What the README promises. */
const LIMITS = { localToEtcdctl: 1.0, localToDrain: 1.2, s3ToChain: 0.5 };

export interface BackupBenchOptions {
  readonly rounds: number;
  readonly gib: number;
}

/** A backup to disk and to S3 against what people do by hand, in turns, so that a busy minute meets all of them. */
export async function benchBackup({ rounds, gib }: BackupBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  await using cluster = await startWithDatabase(gib);
  await using gateway = await startGateway({ dataRoot: work });
  await gateway.createBucket('bench');
  const endpoint = cluster.endpoints[0]!;
  const etcdctl = program('etcdctl', '3.6');
  const aws = program('aws');
  const file = join(work, 'by-hand.db');
  const store = join(work, 'store');

  function drain(): Promise<Run> {
    return measure(process.execPath, [join(import.meta.dirname, 'drain.ts'), endpoint]);
  }
  function save(): Promise<Run> {
    return measure(etcdctl, [`--endpoints=${endpoint}`, 'snapshot', 'save', file]);
  }
  async function chain(): Promise<Run> {
    const steps = [
      await save(),
      await measure('sha256sum', [file]),
      await measure(program('zstd'), ['-1', '-T2', '-q', '-f', file]),
      await measure(aws, ['--endpoint-url', gateway.endpoint, 's3', 'cp', '--no-progress', `${file}.zst`, 's3://bench/by-hand/db.zst'], {
        ...awsEnvironment(gateway),
        HOME: work,
      }),
    ];
    const sum = (of: (step: Run) => number): number => steps.reduce((total, step) => total + of(step), 0);
    return {
      seconds: sum((step) => step.seconds),
      cpuSeconds: sum((step) => step.cpuSeconds),
      peakRssMiB: Math.max(...steps.map((step) => step.peakRssMiB)),
      stdout: '',
    };
  }

  const candidates = {
    'etcd-warden, to disk': () => measureBackup({ endpoint, to: store }),
    'etcdctl snapshot save': save,
    'our client, to nothing': drain,
    'etcd-warden, to S3': () => measureBackup({ endpoint, to: 's3://bench/ours', gateway }),
    'etcdctl, sha256sum, zstd -1 -T2, aws s3 cp': chain,
  };
  type Name = keyof typeof candidates;
  const names = Object.keys(candidates) as Name[];
  const runs = Object.fromEntries(names.map((name) => [name, [] as Run[]])) as Record<Name, Run[]>;

  // The database comes from the page cache in every round, the first too.
  const streamed = Number((await drain()).stdout);
  let stored = 0;
  for (let round = 1; round <= rounds; round++) {
    for (const name of names) {
      for (const left of [store, join(gateway.root, 'bench/ours'), join(gateway.root, 'bench/by-hand'), file, `${file}.zst`])
        removeFolder(left);
      mkdirSync(store);
      await settle();
      const run = await candidates[name]();
      runs[name].push(run);
      if (name === 'etcd-warden, to disk') stored = bytesUnder(store);
      console.log(`round ${round} of ${rounds}  ${name}: ${run.seconds.toFixed(2)} s`);
    }
  }

  const seconds = Object.fromEntries(names.map((name) => [name, summarize(runs[name].map((run) => run.seconds))])) as Record<
    Name,
    ReturnType<typeof summarize>
  >;
  console.log(
    `\n${(streamed / MIB).toFixed(0)} MiB streamed, ${(stored / MIB).toFixed(0)} MiB stored: 1 : ${(streamed / stored).toFixed(1)}\n`,
  );
  const rows = names.map((name) => {
    const { median, min, max } = seconds[name];
    const rss = Math.max(...runs[name].map((run) => run.peakRssMiB));
    const cpu = summarize(runs[name].map((run) => run.cpuSeconds)).median;
    return [name, median.toFixed(2), min.toFixed(2), max.toFixed(2), (streamed / MIB / median).toFixed(0), cpu.toFixed(1), rss.toFixed(0)];
  });
  console.log(table(['', 'median s', 'min s', 'max s', 'MiB/s', 'CPU s', 'peak RSS MiB'], rows));

  const ratio = (ours: Name, anchor: Name): number => seconds[ours].median / seconds[anchor].median;
  const checks: [string, number, number][] = [
    ['to disk : etcdctl snapshot save', ratio('etcd-warden, to disk', 'etcdctl snapshot save'), LIMITS.localToEtcdctl],
    ['to disk : our client, to nothing', ratio('etcd-warden, to disk', 'our client, to nothing'), LIMITS.localToDrain],
    ['to S3 : the four commands', ratio('etcd-warden, to S3', 'etcdctl, sha256sum, zstd -1 -T2, aws s3 cp'), LIMITS.s3ToChain],
  ];
  console.log(
    `\n${table(
      ['ratio of medians', 'limit'],
      checks.map(([what, value, limit]) => [what, verdict(value, limit)]),
    )}`,
  );
  removeFolder(work);
  return checks.every(([, value, limit]) => value <= limit);
}
