import { setTimeout as delay } from 'node:timers/promises';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { hex } from '../src/etcd/ids.ts';
import { MemberClient } from '../src/etcd/member.ts';
import type { MemberStatus } from '../src/etcd/types.ts';
import { askByPlan } from '../src/jobs/proof/ask.ts';
import { planProof } from '../src/jobs/proof/policy.ts';
import { silentLogger } from '../src/telemetry/logger.ts';
import { startCluster, type Cluster } from '../test/support/cluster.ts';
import { decode, encode, integer, messages } from '../test/support/wire.ts';
import { summarize, table, verdict } from './measure.ts';

/** What the README promises, seconds: nobody accepts a write, or renews a lease, for no longer than this. */
const LIMIT = 0.25;
const VALUE_BYTES = 10 * 1024;
const GIB = 1024 ** 3;
/** Between two probes through the same member. */
const PAUSE_MS = 2;
/** What is frozen comes back within this after the last answer. */
const AFTER_MS = 300;
const LEASE_ID = 0x5741n;

export interface StallBenchOptions {
  readonly rounds: number;
  readonly gib: number;
}

/** Writes and lease renewals through each of three members while they are asked for their hash: by us, and by etcdctl. */
export async function benchStall({ rounds, gib }: StallBenchOptions): Promise<boolean> {
  await using cluster = await startCluster({ minor: '3.6', members: 3, quotaBackendBytes: 16 * GIB });
  await cluster.fill({ keys: Math.round((gib * GIB) / (3 * 4096)), valueBytes: VALUE_BYTES });
  await cluster.members[0]!.rpc.call('etcdserverpb.Lease/LeaseGrant', encode([1, 600], [2, LEASE_ID]));
  const { dbSizeInUse } = await cluster.members[0]!.status();
  const contestants: Record<string, () => Promise<unknown>> = {
    'nobody is asked': () => delay(1_000),
    'etcd-warden, one follower': () => ask(cluster, 'follower'),
    'etcd-warden, everybody in turn': () => ask(cluster, 'all'),
    'etcdctl endpoint hashkv --cluster': () => cluster.etcdctl(['endpoint', 'hashkv', '--cluster']),
  };
  const found: Record<string, Gaps[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) (found[name] ??= []).push(await gapsDuring(cluster, run));
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
  /** No member accepted a write. */
  readonly write: number;
  /** No member renewed a lease. */
  readonly renewal: number;
  /** One member, whichever it was, accepted no write: what an API server feels that talks to its own member only. */
  readonly endpoint: number;
}

async function gapsDuring(cluster: Cluster, run: () => Promise<unknown>): Promise<Gaps> {
  const stop = new AbortController();
  const writes = gapMeter();
  const renewals = gapMeter();
  const each = cluster.members.map(() => gapMeter());
  const probing = cluster.members.flatMap((member, index) => [
    probe(stop.signal, async () => {
      await member.rpc.call('etcdserverpb.KV/Put', encode([1, `/probe/${index}`], [2, 'x']));
      writes.note();
      each[index]!.note();
    }),
    keepAlive(member.endpoint, stop.signal, () => renewals.note()),
  ]);
  await delay(AFTER_MS);
  for (const meter of [writes, renewals, ...each]) meter.begin();
  await run();
  await delay(AFTER_MS);
  const gaps = { write: writes.longest(), renewal: renewals.longest(), endpoint: Math.max(...each.map((meter) => meter.longest())) };
  stop.abort();
  await Promise.all(probing);
  return gaps;
}

interface GapMeter {
  begin(): void;
  note(): void;
  longest(): number;
}

/** The longest time between two notes, the one that lasts yet included. */
function gapMeter(): GapMeter {
  let last = performance.now();
  let longest = 0;
  return {
    begin() {
      last = performance.now();
      longest = 0;
    },
    note() {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    },
    longest: () => Math.max(longest, performance.now() - last),
  };
}

async function probe(signal: AbortSignal, once: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await once();
    await delay(PAUSE_MS);
  }
}

/** Renews over one stream, as clients do; a follower passes it on to the leader. */
async function keepAlive(endpoint: string, signal: AbortSignal, renewed: () => void): Promise<void> {
  const client = new Client(new URL(endpoint).host, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest('/etcdserverpb.Lease/LeaseKeepAlive', (bytes: Buffer) => bytes, decode, new Metadata());
  const request = encode([1, LEASE_ID]);
  stream.on('data', (reply: ReturnType<typeof decode>) => {
    if (integer(reply, 3) === 0n || messages(reply, 1).length === 0) return;
    renewed();
    setTimeout(() => {
      if (!signal.aborted) stream.write(request);
    }, PAUSE_MS);
  });
  stream.on('error', () => {}); // the end of the measurement cancels it
  stream.write(request);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  stream.cancel();
  client.close();
}
