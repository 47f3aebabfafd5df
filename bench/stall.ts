import { setTimeout as delay } from 'node:timers/promises';
import { hex } from '../src/etcd/ids.ts';
import { MemberClient } from '../src/etcd/member.ts';
import type { MemberStatus } from '../src/etcd/types.ts';
import { askByPlan } from '../src/jobs/proof/ask.ts';
import { planProof } from '../src/jobs/proof/policy.ts';
import { silentLogger } from '../src/telemetry/logger.ts';
import { startCluster, type Cluster } from '../test/support/cluster.ts';
import { summarize, table, verdict } from './measure.ts';
import { feel, grantProbeLease, type Felt } from './probes.ts';

/** What the README promises, seconds: nobody accepts a write, or renews a lease, for no longer than this. */
const LIMIT = 0.25;
const VALUE_BYTES = 10 * 1024;
const GIB = 1024 ** 3;

export interface StallBenchOptions {
  readonly rounds: number;
  readonly gib: number;
}

/** Writes and lease renewals through each of three members while they are asked for their hash: by us, and by etcdctl. */
export async function benchStall({ rounds, gib }: StallBenchOptions): Promise<boolean> {
  await using cluster = await startCluster({ minor: '3.6', members: 3, quotaBackendBytes: 16 * GIB });
  await cluster.fill({ keys: Math.round((gib * GIB) / (3 * 4096)), valueBytes: VALUE_BYTES });
  await grantProbeLease(cluster);
  const { dbSizeInUse } = await cluster.members[0]!.status();
  const contestants: Record<string, () => Promise<unknown>> = {
    'nobody is asked': () => delay(1_000),
    'etcd-warden, one follower': () => ask(cluster, 'follower'),
    'etcd-warden, everybody in turn': () => ask(cluster, 'all'),
    'etcdctl endpoint hashkv --cluster': () => cluster.etcdctl(['endpoint', 'hashkv', '--cluster']),
  };
  const found: Record<string, Gaps[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) (found[name] ??= []).push(gapsOf((await feel(cluster, run)).felt));
  }
  const longest = (gaps: readonly Gaps[], what: keyof Gaps): number => Math.max(...gaps.map((one) => one[what])) / 1000;
  const seconds = (value: number): string => value.toFixed(3);
  console.log(`${(dbSizeInUse / GIB).toFixed(2)} GiB in use, three members of 3.6 on one machine, ${rounds} rounds in turns\n`);
  console.log(
    table(
      ['', 'no write, longest s', 'median s', 'no renewal, longest s', 'median s', 'one endpoint without a write, longest s'],
      Object.entries(found).map(([name, gaps]) => [
        name,
        seconds(longest(gaps, 'write')),
        seconds(summarize(gaps.map(({ write }) => write)).median / 1000),
        seconds(longest(gaps, 'renewal')),
        seconds(summarize(gaps.map(({ renewal }) => renewal)).median / 1000),
        seconds(longest(gaps, 'endpoint')),
      ]),
    ),
  );
  const ours = found['etcd-warden, one follower']!;
  const worst = Math.max(longest(ours, 'write'), longest(ours, 'renewal'));
  console.log(`\none follower: ${verdict(worst, LIMIT, ' s')}`);
  return worst <= LIMIT;
}

/** As a backup asks. */
async function ask(cluster: Cluster, members: 'follower' | 'all'): Promise<void> {
  const access = cluster.access();
  const statuses = await Promise.all(cluster.members.map(({ endpoint, name }) => statusOf(cluster, endpoint, name)));
  const config = { members, allEveryMs: 0, maxStallMs: 60_000 };
  const plan = planProof({ statuses, history: [], sinceMs: undefined, doubted: [], config, nowMs: Date.now(), inWindow: true });
  if (plan.kind !== 'ask') throw new Error(plan.reason);
  const revision = statuses.reduce((least, status) => (status.revision < least ? status.revision : least), statuses[0]!.revision);
  const context = { signal: new AbortController().signal, logger: silentLogger, progress: () => {} };
  const asked = await askByPlan(plan, revision, { access, timeoutMs: 60_000, context });
  if (asked.failures.length > 0) throw new Error(asked.failures[0]!.message);
}

async function statusOf(cluster: Cluster, endpoint: string, name: string): Promise<MemberStatus> {
  const client = new MemberClient(cluster.access(), endpoint);
  try {
    const status = await client.status();
    return { ...status, name: name || hex(status.memberId) };
  } finally {
    client.close();
  }
}

/** Milliseconds. */
interface Gaps {
  readonly write: number;
  readonly renewal: number;
  /** One member, whichever it was, accepted no write. */
  readonly endpoint: number;
}

function gapsOf({ write, renewal, endpoints }: Felt): Gaps {
  return { write, renewal, endpoint: Math.max(...endpoints.values()) };
}
