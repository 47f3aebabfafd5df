import { startGateway } from '../test/support/gateway.ts';
import { startS3FaultProxy } from '../test/support/s3-fault-proxy.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { benchFolder, startWithDatabase } from './databases.ts';
import { measure, MIB, settle, summarize, table, verdict, type Run } from './measure.ts';
import { awsEnvironment, EXECUTABLE, measureBackup } from './warden.ts';

/** What issue and README promise: from the start of the process to its output, and what goes over the wire. */
const LIMITS = { seconds: 1, fetchedMiB: 24 };

export interface GetBenchOptions {
  readonly rounds: number;
  readonly gib: number;
}

/** One key out of a backup in S3, in a bucket that holds this backup alone. */
export async function benchGet({ rounds, gib }: GetBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  await using gateway = await startGateway({ dataRoot: work });
  await gateway.createBucket('bench');
  const keys: string[] = [];
  {
    await using cluster = await startWithDatabase(gib);
    const run = await measureBackup({ endpoint: cluster.endpoints[0]!, to: 's3://bench/ours', gateway, index: true });
    console.log(`backed up in ${run.seconds.toFixed(1)} s, with its key index`);
    const listed = await cluster.etcdctl(['get', '', '--from-key', '--keys-only', '--limit=2000']);
    const found = listed.split('\n').filter((line) => line !== '' && /^[\x20-\x7e]+$/u.test(line));
    for (let i = 0; i < rounds; i += 1) keys.push(found[Math.floor((i * found.length) / rounds)]!);
  }

  function get(key: string, endpoint: string): Promise<Run> {
    const flags = ['--to', 's3://bench/ours', '--s3-endpoint', endpoint, '--s3-region', gateway.region, '--quiet'];
    return measure(process.execPath, [EXECUTABLE, 'get', 'latest', key, '--raw', ...flags], awsEnvironment(gateway));
  }

  await settle();
  const runs: Run[] = [];
  for (const key of keys) runs.push(await get(key, gateway.endpoint));
  const seconds = summarize(runs.map((run) => run.seconds));
  const rss = Math.max(...runs.map((run) => run.peakRssMiB));

  // Once more through a proxy that counts: the size of what is asked for by range.
  await using proxy = await startS3FaultProxy(gateway.endpoint);
  await get(keys[0]!, proxy.url);
  const fetched = proxy.requests.reduce((sum, { verb, headers }) => sum + (verb === 'Get' ? lengthOf(headers.range) : 0), 0);

  /** What is read whole is a manifest or a check, of at most 8 KiB. */
  function lengthOf(range: string | undefined): number {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(range ?? '') ?? [];
    return from === undefined ? 8192 : Number(to) - Number(from) + 1;
  }

  console.log(
    `\n${table(
      ['one key out of S3', ''],
      [
        ['median, s', verdict(seconds.median, LIMITS.seconds)],
        ['min to max, s', `${seconds.min.toFixed(2)} to ${seconds.max.toFixed(2)}`],
        ['CPU s', summarize(runs.map((run) => run.cpuSeconds)).median.toFixed(2)],
        ['requests', String(proxy.requests.length)],
        ['fetched, MiB', verdict(fetched / MIB, LIMITS.fetchedMiB)],
        ['peak RSS, MiB', rss.toFixed(0)],
      ],
    )}`,
  );
  removeFolder(work);
  return seconds.median <= LIMITS.seconds && fetched / MIB <= LIMITS.fetchedMiB;
}
