import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { observeCluster } from '../src/etcd/cluster.ts';
import { maintain } from '../src/jobs/maintain.ts';
import { startCluster, type Cluster } from '../test/support/cluster.ts';
import { product } from '../test/support/product.ts';
import { startDaemon } from '../test/support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { processUsage, summarize, table, verdict } from './measure.ts';
import { EXECUTABLE } from './warden.ts';

/** What all members together may spend on being watched, of one core. */
const LIMIT_PERCENT = 0.1;
/** How often the daemon does each by itself, and here, so that its cost stands out of what members do anyway. A second each. */
const OBSERVATIONS = { usual: 1 / 60, here: 5 };
const LOOKS = { usual: 1 / 600, here: 0.5 };
/** Elections, the first survey of the stores. */
const WARM_UP_MS = 15_000;

export interface SamplingBenchOptions {
  readonly rounds: number;
  /** Of each contestant in each round. */
  readonly seconds: number;
}

/**
 * Processor time of three members, in turns: left alone; observed, and looked at by maintenance, far more often than usual, which gives what one
 * costs; and beside the real daemon. What the daemon costs by itself is too little to be told from chance.
 */
export async function benchSampling({ rounds, seconds }: SamplingBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench-sampling');
  await using cluster = await startCluster({ minor: '3.6', members: 3 });
  await cluster.fill({ keys: 20_000, valueBytes: 1_000 });
  const subject = product({ folder: work, cluster });
  const contestants: Record<string, () => Promise<number>> = {
    'left alone': () => percentDuring(cluster, () => delay(seconds * 1000)),
    'left alone again': () => percentDuring(cluster, () => delay(seconds * 1000)),
    [`observed ${OBSERVATIONS.here} times a second`]: () =>
      percentDuring(cluster, () => repeat(OBSERVATIONS.here, seconds, () => observeCluster(cluster.access()))),
    [`looked at by maintenance every ${1 / LOOKS.here} s`]: () =>
      percentDuring(cluster, () =>
        repeat(LOOKS.here, seconds, async () => {
          const { outcome } = await maintain({ cluster: 'main', wish: { kind: 'routine' }, elected: false }, subject.context());
          // Anything else than looking would be measured too.
          if (outcome !== 'nothing') throw new Error(`there was something to be done: ${outcome}`);
        }),
      ),
    'beside the daemon': () => besideDaemon(cluster, seconds),
  };
  const found: Record<string, number[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) (found[name] ??= []).push(await run());
  }
  removeFolder(work);
  const medians = Object.values(found).map((values) => summarize(values).median) as [number, number, number, number, number];
  const [first, second, observed, looked, daemon] = medians;
  const alone = (first + second) / 2;
  const observation = (observed - alone) / OBSERVATIONS.here;
  const look = (looked - alone) / LOOKS.here;
  const cost = observation * OBSERVATIONS.usual + look * LOOKS.usual;
  const percent = (value: number): string => `${value.toFixed(3)} %`;
  console.log(`${seconds} s each, ${rounds} rounds in turns, three members of 3.6\n`);
  console.log(
    table(
      ['processor time of all members, of one core', 'median', 'min', 'max'],
      Object.entries(found).map(([name, values]) => {
        const { median, min, max } = summarize(values);
        return [name, percent(median), percent(min), percent(max)];
      }),
    ),
  );
  console.log(
    `\n${table(
      ['', ''],
      [
        ['one observation, ms of a core', (observation * 10).toFixed(1)],
        ['one look by maintenance, ms of a core', (look * 10).toFixed(1)],
        ['an observation a minute and a look every ten', verdict(cost, LIMIT_PERCENT, ' %')],
        ['beside the daemon, over left alone', percent(daemon - alone)],
        ['left alone again, over left alone: what chance does', percent(second - first)],
      ],
    )}`,
  );
  return cost <= LIMIT_PERCENT;
}

/** So many times a second, for so long. @throws Error when the machine cannot keep up: the cost of one would be wrong */
async function repeat(perSecond: number, seconds: number, once: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  const times = Math.round(perSecond * seconds);
  for (let time = 0; time < times; time++) {
    await delay(Math.max(0, started + (time / perSecond) * 1000 - performance.now()));
    await once();
  }
  const late = (performance.now() - started) / 1000 - seconds;
  if (late > seconds / 10) throw new Error(`${times} times took ${late.toFixed(1)} s longer than ${seconds} s`);
  await delay(Math.max(0, -late * 1000));
}

async function besideDaemon(cluster: Cluster, seconds: number): Promise<number> {
  const work = temporaryFolder('bench-daemon');
  mkdirSync(join(work, 'store'), { mode: 0o700 });
  await using daemon = await startDaemon(
    {
      // A backup is no sampling: none falls into the measurement.
      clusters: { bench: { endpoints: cluster.endpoints, backup: { schedule: '0 0 1 1 *' } } },
      stores: { disk: { type: 'local', path: join(work, 'store') } },
    },
    { executable: EXECUTABLE },
  );
  await delay(WARM_UP_MS);
  const percent = await percentDuring(cluster, () => delay(seconds * 1000));
  await daemon.stop();
  removeFolder(work);
  return percent;
}

/** Of all members together, in percent of one core. */
async function percentDuring(cluster: Cluster, run: () => Promise<unknown>): Promise<number> {
  const spent = (): number => cluster.members.reduce((sum, { pid }) => sum + processUsage(pid)!.cpuSeconds, 0);
  const started = performance.now();
  const before = spent();
  await run();
  return ((spent() - before) / ((performance.now() - started) / 1000)) * 100;
}
