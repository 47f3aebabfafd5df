import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startCluster, type Cluster } from '../test/support/cluster.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { fillLive, fragment } from './garbage.ts';
import { others, quiet } from './machine.ts';
import { measure, summarize, table, verdict } from './measure.ts';
import { feel, grantProbeLease, type Felt } from './probes.ts';
import { EXECUTABLE } from './warden.ts';

/** What the README promises. Seconds, and shares of one. */
const LIMITS = { renewal: 0.25, renewalShare: 0.1, write: 0.25, prediction: 0.2 };
const GIB = 1024 ** 3;
/** Between two contestants, so that none pays for the one before; and for a moment without other work on the machine at most so long. */
const REST_MS = 2_000;
const QUIET_LIMIT_MS = 120_000;
const OURS = 'etcd-warden defrag --all --yes';
const ETCDCTL = 'etcdctl defrag --cluster';
const NOTHING = 'nothing is defragmented';

export interface DefragBenchOptions {
  readonly rounds: number;
  readonly gib: number;
}

/** One run of a contestant. */
interface Turn {
  readonly felt: Felt;
  readonly seconds: number;
  /** What other programs took of the machine meanwhile, 0 to 1. */
  readonly others: number;
  /** Of ours, in the order of the members: what was said before, and what happened. */
  readonly freezes: readonly Freeze[];
}

interface Freeze {
  readonly round: number;
  readonly member: string;
  readonly predictedMs: number;
  readonly stallMs: number;
}

/** Writes and lease renewals through each of three members while all of them are defragmented: by us, and by etcdctl. */
export async function benchDefrag({ rounds, gib }: DefragBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench-defrag');
  // A raft log of 10 000 entries of a mebibyte each would not fit beside three databases in memory.
  await using cluster = await startCluster({ minor: '3.6', members: 3, quotaBackendBytes: 16 * GIB, flags: ['--snapshot-count=1000'] });
  const config = writeConfig(work, cluster);
  await fillLive(cluster, gib);
  await grantProbeLease(cluster);
  const turns: Record<string, Turn[]> = {};
  let seed = 1;
  for (let round = 1; round <= rounds; round++) {
    await fragment(cluster, gib, ++seed);
    (turns[NOTHING] ??= []).push(await turn(cluster, () => delay(3_000)));
    (turns[OURS] ??= []).push(await ourTurn(cluster, config, round));
    await fragment(cluster, gib, ++seed);
    (turns[ETCDCTL] ??= []).push(
      await turn(cluster, () => cluster.etcdctl(['--command-timeout=120s', 'defrag', '--cluster'], { timeoutMs: 180_000 })),
    );
  }
  removeFolder(work);
  return report(turns, rounds, gib);
}

async function turn(cluster: Cluster, run: () => Promise<unknown>): Promise<Turn> {
  await delay(REST_MS);
  await quiet(QUIET_LIMIT_MS);
  const started = performance.now();
  const foreign = others(cluster.members.map(({ pid }) => pid));
  const { felt } = await feel(cluster, run);
  return { felt, seconds: (performance.now() - started) / 1000, others: foreign(0), freezes: [] };
}

async function ourTurn(cluster: Cluster, config: string, round: number): Promise<Turn> {
  await delay(REST_MS);
  await quiet(QUIET_LIMIT_MS);
  const foreign = others(cluster.members.map(({ pid }) => pid));
  const { felt, result } = await feel(cluster, () =>
    measure(process.execPath, [EXECUTABLE, 'defrag', '--all', '--yes', '--config', config, '--json', '--quiet']),
  );
  const share = foreign(result.cpuSeconds);
  const { outcome, actions } = JSON.parse(result.stdout) as {
    outcome: string;
    actions: readonly { action: string; member?: string; predictedMs?: number }[];
  };
  const freezes = actions.flatMap(({ action, member = '', predictedMs = 0 }) =>
    action === 'defrag' ? [{ round, member, predictedMs, stallMs: felt.endpoints.get(member) ?? 0 }] : [],
  );
  if (outcome !== 'done' || freezes.length !== cluster.members.length) throw new Error(`the round is ${outcome}:\n${result.stdout}`);
  return { felt, seconds: result.seconds, others: share, freezes };
}

/** The state folder stays from round to round: what a member needed before is what is predicted. */
function writeConfig(work: string, cluster: Cluster): string {
  mkdirSync(join(work, 'store'), { mode: 0o700 });
  const config = {
    clusters: { bench: { endpoints: cluster.endpoints, maintenance: { settle: '1s' } } },
    stores: { disk: { type: 'local', path: join(work, 'store') } },
    stateDir: join(work, 'state'),
  };
  const path = join(work, 'config.yaml');
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

function report(turns: Readonly<Record<string, readonly Turn[]>>, rounds: number, gib: number): boolean {
  const row = (name: string, of: (turn: Turn) => number): string => {
    const { median, min, max } = summarize(turns[name]!.map(of));
    return `${median.toFixed(3)} (${min.toFixed(3)} to ${max.toFixed(3)})`;
  };
  const sum = (name: string, of: (felt: Felt) => number): number => turns[name]!.reduce((total, { felt }) => total + of(felt), 0);
  console.log(`${gib} GiB each, four tenths of it free, three members of 3.6 on one machine, ${rounds} rounds in turns\n`);
  console.log(
    table(
      [
        'seconds: median (min to max)',
        'no renewal',
        'no write',
        'one endpoint without a write',
        'slowest write',
        'all of it',
        'other programs, of the machine',
      ],
      Object.keys(turns).map((name) => [
        name,
        row(name, ({ felt }) => felt.renewal / 1000),
        row(name, ({ felt }) => felt.write / 1000),
        row(name, ({ felt }) => longestEndpoint(felt) / 1000),
        row(name, ({ felt }) => felt.slowestWrite / 1000),
        row(name, ({ seconds }) => seconds),
        row(name, (one) => one.others),
      ]),
    ),
  );
  console.log(
    `\n${table(
      ['clients that know all endpoints', 'writes', 'single attempts that failed', 'errors'],
      Object.keys(turns).map((name) => [
        name,
        String(sum(name, ({ clientWrites }) => clientWrites)),
        String(sum(name, ({ failedAttempts }) => failedAttempts)),
        String(sum(name, ({ clientErrors }) => clientErrors)),
      ]),
    )}`,
  );
  const freezes = turns[OURS]!.flatMap((one) => one.freezes);
  console.log(
    `\n${table(
      ['round', 'member', 'predicted s', 'its endpoint without a write, s', 'off by'],
      freezes.map((freeze) => [
        freeze.round === 1 ? '1, nothing learned yet' : String(freeze.round),
        freeze.member,
        (freeze.predictedMs / 1000).toFixed(2),
        (freeze.stallMs / 1000).toFixed(2),
        `${(offBy(freeze) * 100).toFixed(0)} %`,
      ]),
    )}`,
  );
  const longest = (name: string, of: (felt: Felt) => number): number => Math.max(...turns[name]!.map(({ felt }) => of(felt))) / 1000;
  const renewal = longest(OURS, (felt) => felt.renewal);
  const share = renewal / longest(ETCDCTL, (felt) => felt.renewal);
  const write = longest(OURS, (felt) => felt.write);
  const errors = sum(OURS, ({ clientErrors }) => clientErrors);
  const learned = freezes.filter(({ round }) => round > 1).map((freeze) => Math.abs(offBy(freeze)));
  const off = summarize(learned.length === 0 ? [Infinity] : learned);
  console.log(
    `\n${table(
      ['of ours', ''],
      [
        ['longest time without a renewal', verdict(renewal, LIMITS.renewal, ' s')],
        ["the same : etcdctl's", verdict(share, LIMITS.renewalShare)],
        ['longest time without a write', verdict(write, LIMITS.write, ' s')],
        ['errors of clients that know all endpoints', verdict(errors, 0)],
        ['stall off the predicted one, median of members and rounds', verdict(off.median, LIMITS.prediction)],
        ['the same, worst', off.max.toFixed(2)],
      ],
    )}`,
  );
  return (
    renewal <= LIMITS.renewal && share <= LIMITS.renewalShare && write <= LIMITS.write && errors === 0 && off.median <= LIMITS.prediction
  );
}

function longestEndpoint({ endpoints }: Felt): number {
  return Math.max(...endpoints.values());
}

/** Positive when it took longer than predicted. */
function offBy({ predictedMs, stallMs }: Freeze): number {
  return stallMs / predictedMs - 1;
}
