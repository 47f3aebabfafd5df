import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startCluster, type Cluster } from '../test/support/cluster.ts';
import { startDaemon } from '../test/support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { processUsage, summarize, table, verdict } from './measure.ts';
import { EXECUTABLE } from './warden.ts';

/** What all members together may spend on being watched, of one core. */
const LIMIT_PERCENT = 0.1;
/** At this pace instead of once a minute and every ten minutes, so that what a look costs stands out of what members do anyway. */
const OFTEN = { everySeconds: 2, schedule: '*/2 * * * * *' };
/** The daemon's own: observed once a minute, maintenance looked at every ten. */
const LOOKS_PER_SECOND = { usual: 1 / 600, often: 1 / OFTEN.everySeconds };
/** Elections, the first survey of the stores. */
const WARM_UP_MS = 15_000;

export interface SamplingBenchOptions {
  readonly rounds: number;
  /** Of each contestant in each round. */
  readonly seconds: number;
}

/**
 * Processor time of three members, in turns: left alone, watched by the daemon as it is by default, and by one that looks every two seconds. The
 * second is what is promised, and too little to be told from chance; the third gives what one look costs.
 */
export async function benchSampling({ rounds, seconds }: SamplingBenchOptions): Promise<boolean> {
  await using cluster = await startCluster({ minor: '3.6', members: 3 });
  await cluster.fill({ keys: 20_000, valueBytes: 1_000 });
  const alone: number[] = [];
  const watched: number[] = [];
  const often: number[] = [];
  for (let round = 0; round < rounds; round++) {
    alone.push(await percentDuring(cluster, seconds));
    watched.push(await watchedBy(cluster, undefined, seconds));
    often.push(await watchedBy(cluster, OFTEN.schedule, seconds));
  }
  const median = (values: readonly number[]): number => summarize(values).median;
  const row = (name: string, values: readonly number[]): string[] => {
    const { median: middle, min, max } = summarize(values);
    return [name, `${middle.toFixed(2)} %`, `${min.toFixed(2)} to ${max.toFixed(2)} %`];
  };
  console.log(`${seconds} s each, ${rounds} rounds in turns, three members of 3.6\n`);
  console.log(
    table(
      ['processor time of the members, of one core', 'median', 'min to max'],
      [row('left alone', alone), row('watched by the daemon', watched), row(`watched, and looked at every ${OFTEN.everySeconds} s`, often)],
    ),
  );
  const perLook = (median(often) - median(watched)) / (LOOKS_PER_SECOND.often - LOOKS_PER_SECOND.usual);
  const difference = median(watched) - median(alone);
  console.log(
    `\n${table(
      ['', ''],
      [
        ['one look, milliseconds of a core', (perLook * 10).toFixed(1)],
        ['one look every ten minutes', verdict(perLook * LOOKS_PER_SECOND.usual, LIMIT_PERCENT, ' %')],
        ['watched, over left alone', verdict(difference, LIMIT_PERCENT, ' %')],
        ['left alone, over left alone (what chance does)', `${(Math.max(...alone) - Math.min(...alone)).toFixed(2)} %`],
      ],
    )}`,
  );
  return difference <= LIMIT_PERCENT && perLook * LOOKS_PER_SECOND.usual <= LIMIT_PERCENT;
}

/** @param schedule of maintenance; undefined = by default */
async function watchedBy(cluster: Cluster, schedule: string | undefined, seconds: number): Promise<number> {
  const work = temporaryFolder('bench-sampling');
  mkdirSync(join(work, 'store'), { mode: 0o700 });
  await using daemon = await startDaemon(
    {
      clusters: {
        bench: {
          endpoints: cluster.endpoints,
          // None falls into the measurement: a backup is no sampling.
          backup: { schedule: '0 0 1 1 *' },
          ...(schedule === undefined ? {} : { maintenance: { schedule } }),
        },
      },
      stores: { disk: { type: 'local', path: join(work, 'store') } },
    },
    { executable: EXECUTABLE },
  );
  await delay(WARM_UP_MS);
  const percent = await percentDuring(cluster, seconds);
  await daemon.stop();
  removeFolder(work);
  return percent;
}

/** Of all members together, in percent of one core. */
async function percentDuring(cluster: Cluster, seconds: number): Promise<number> {
  const spent = (): number => cluster.members.reduce((sum, { pid }) => sum + processUsage(pid)!.cpuSeconds, 0);
  const started = performance.now();
  const before = spent();
  await delay(seconds * 1000);
  return ((spent() - before) / ((performance.now() - started) / 1000)) * 100;
}
