/** What tests of maintenance do to a cluster besides maintaining it, and how it must be afterwards. */
import { watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { maintain } from '../../src/jobs/maintain.ts';
import type { JobContext, MaintainRequest } from '../../src/jobs/types.ts';
import { PACE, type Pace } from '../../src/maintenance/steps/setting.ts';
import type { RoundResult } from '../../src/maintenance/types.ts';
import type { Cluster } from './cluster.ts';
import { patiently } from './elections.ts';
import type { Member, Status } from './member.ts';
import { until } from './processes.ts';
import { product, type Product } from './product.ts';
import { connect } from './rpc.ts';
import { encode, integer, messages } from './wire.ts';

const EMPTY = Buffer.alloc(0);
const DEFRAGMENT = 'etcdserverpb.Maintenance/Defragment';

/** Small files, no waiting, and thresholds that little data crosses. */
const MAINTENANCE = {
  settle: '0s',
  freeShare: '30%',
  minFree: '1MiB',
  minGain: '256KiB',
  emergencyKeepRevisions: 5,
  compaction: 'off',
  restartQuiet: '0s',
};

/** Moments instead of minutes, for members that are dead. */
const QUICK: Partial<Pace> = { pollMs: 100, tellMs: 1_000, deadMs: 1_500, leaderMs: 4_000, recoverMs: 10_000, patienceMs: 3_000 };

export interface MaintainedOptions {
  readonly folder: string;
  readonly cluster: Pick<Cluster, 'endpoints'>;
  /** Further keys of `maintenance` and of the cluster. */
  readonly maintenance?: Readonly<Record<string, unknown>>;
  readonly clusterOptions?: Readonly<Record<string, unknown>>;
}

export interface Maintained extends Product {
  maintain(
    wish: MaintainRequest['wish'],
    changes?: Partial<JobContext> & { readonly elected?: boolean; readonly pace?: Partial<Pace>; readonly leaseSeconds?: number },
  ): Promise<RoundResult>;
}

export const ROUTINE = { kind: 'routine' } as const;
/** As `defrag --all --yes` asks. */
export const ALL = { kind: 'defrag', members: 'all', worthwhile: false, degraded: false, yes: true } as const;

export function maintained({ maintenance, clusterOptions, ...options }: MaintainedOptions): Maintained {
  const subject = product({
    ...options,
    clusterOptions: { requestTimeout: '2s', dialTimeout: '2s', ...clusterOptions, maintenance: { ...MAINTENANCE, ...maintenance } },
  });
  return {
    ...subject,
    maintain: (wish, { elected = false, pace, leaseSeconds, ...changes } = {}) =>
      maintain({ cluster: 'main', wish, elected }, subject.context(changes), {
        pace: { ...PACE, ...QUICK, ...pace },
        ...(leaseSeconds === undefined ? {} : { leaseSeconds }),
      }),
  };
}

/** A clock that is off by so much, and goes on from there. */
export function clockOff(ms: number): { now: () => Date } {
  return { now: () => new Date(Date.now() + ms) };
}

export interface Frozen {
  readonly member: string;
  /** It led when it was asked. */
  readonly led: boolean;
  /** Another member had not answered its own Defragment yet. */
  readonly overlapped: boolean;
}

export interface DefragWatch {
  /** Every Defragment that a member got, in order. */
  readonly frozen: Frozen[];
  /** Called when the member has been recorded and before it is asked; and when it has answered and before the client knows. */
  before: ((member: Member) => Promise<unknown> | void) | undefined;
  after: ((member: Member) => Promise<unknown> | void) | undefined;
}

/** Watches every Defragment of a cluster with `proxies`, from now on. */
export function watchDefrags(cluster: Cluster): DefragWatch {
  const watching: DefragWatch = { frozen: [], before: undefined, after: undefined };
  const inflight = new Map<Member, number>();
  for (const member of cluster.members) {
    const count = (change: number): void => void inflight.set(member, (inflight.get(member) ?? 0) + change);
    cluster.proxyOf(member).intercept(DEFRAGMENT, {
      before: async () => {
        const overlapped = [...inflight].some(([other, calls]) => other !== member && calls > 0);
        count(1);
        // Nothing is known of one that is frozen already.
        const led = await member.status().then(
          ({ leader, memberId }) => leader === memberId,
          () => false,
        );
        watching.frozen.push({ member: member.name, led, overlapped });
        await watching.before?.(member);
      },
      after: async () => {
        await watching.after?.(member);
        count(-1);
      },
      lost: () => count(-1),
      // A process that is killed leaves the member as it is.
      abandoned: () => void thawed(member).then(() => count(-1)),
    });
  }
  return watching;
}

/** Once it answers a linearizable read; a call that has just come has begun by then. */
async function thawed(member: Member): Promise<void> {
  await delay(50);
  await member.rpc.call('etcdserverpb.KV/Range', encode([1, 'thawed']), { timeoutMs: 60_000 }).catch(() => undefined);
}

/** What every round owes, whatever else happens: one at a time, and no leader. */
export function expectCareful({ frozen }: DefragWatch): void {
  expect(frozen.filter(({ led, overlapped }) => led || overlapped)).toEqual([]);
}

export interface Garbage {
  /** What stays in use, and what is written and deleted besides. */
  readonly keptMib?: number;
  readonly freedMib?: number;
  /** So that a second heap of it does not reuse the pages of the first. */
  readonly seed?: number;
}

/** Writes, deletes and compacts, so that each member's file has free pages; returns when all members have freed them. */
export async function makeGarbage(cluster: Cluster, { keptMib = 4, freedMib = 12, seed = 1 }: Garbage = {}): Promise<void> {
  const keys = (mib: number): number => mib * 100;
  const fill = { valueBytes: 10_000, compressible: false, seed };
  await cluster.fill({ ...fill, keys: keys(keptMib), prefix: '/kept/' });
  await cluster.fill({ ...fill, keys: keys(freedMib), prefix: '/freed/' });
  await cluster.etcdctl(['del', '/freed/', '--prefix']);
  const { revision } = await (await cluster.leader()).status();
  await cluster.etcdctl(['compact', '--physical', String(revision)]);
  await until(
    async () => {
      // Freed pages are counted at the commit after the one that freed them, and an idle etcd commits nothing.
      await patiently(() => cluster.members[0]!.rpc.call('etcdserverpb.KV/Put', encode([1, '/kept/tick'], [2, 'x'])));
      return (await Promise.all(running(cluster).map(freeShare))).every((share) => share > 0.5);
    },
    'a member has not freed what was deleted',
    { everyMs: 100 },
  );
}

/** What was done so far is forgotten: cooldowns and backoffs of an earlier test. */
export async function forget(cluster: Cluster): Promise<void> {
  await cluster.etcdctl(['del', '/etcd-warden/maintenance/', '--prefix']);
}

async function freeShare(member: Member): Promise<number> {
  const { dbSize, dbSizeInUse } = await member.status();
  return 1 - dbSizeInUse / dbSize;
}

/**
 * Acts as soon as the member copies its database: etcd writes the copy to `db.tmp.<number>` beside it (server/storage/backend/backend.go, defrag).
 * @returns resolves when `act` has; never, when the member is not defragmented before the end of the test
 */
export function whileFrozen(member: Member, act: () => Promise<unknown> | void): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(join(member.dataDir, 'member/snap'), (_event, name) => {
      if (name?.startsWith('db.tmp') !== true) return;
      watcher.close();
      Promise.resolve(act()).then(() => resolve(), reject);
    });
    // The folder goes with its cluster.
    watcher.on('error', () => watcher.close());
    onTestFinished(() => watcher.close());
  });
}

/** Holds a snapshot stream of a member open without reading on, as a stalled client does. Resolves when the stream has begun. */
export async function stalledSnapshot(member: Member): Promise<{ close(): void }> {
  const { connect: dial } = await import('node:http2');
  const session = dial(member.direct);
  session.on('error', () => undefined);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/etcdserverpb.Maintenance/Snapshot',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => undefined);
  // One empty message: its flag and its length.
  stream.end(Buffer.alloc(5));
  await new Promise<void>((resolve, reject) => {
    stream.once('readable', resolve);
    stream.once('close', () => reject(new Error('no snapshot stream')));
  });
  return { close: () => session.destroy() };
}

/**
 * The cluster is as it was before: nobody is missing, one leader, no alarm, a put through every member, and the same data in each.
 * Alarms that the test armed itself and that must stay are to be disarmed before.
 */
export async function expectHealthy(cluster: Cluster): Promise<void> {
  for (const member of cluster.members) expect(member.running(), `${member.name} runs`).toBe(true);
  await Promise.all(cluster.members.map((member) => member.waitHealthy()));
  expect(await cluster.alarms()).toEqual([]);
  for (const member of cluster.members)
    await patiently(() => member.rpc.call('etcdserverpb.KV/Put', encode([1, `/healthy/${member.name}`], [2, member.name])));
  let statuses: Status[] = [];
  await until(
    async () => {
      statuses = await Promise.all(cluster.members.map((member) => member.status()));
      return new Set(statuses.map(({ leader }) => leader)).size === 1 && statuses[0]!.leader !== 0n;
    },
    () => `the members do not agree who leads: ${statuses.map(({ leader }) => leader.toString(16)).join(', ')}`,
  );
  const revision = statuses.map((status) => status.revision).reduce((a, b) => (a < b ? a : b));
  let hashes: string[] = [];
  // A compaction that one member has finished and another has not makes a difference that is none.
  await until(
    async () => {
      hashes = await Promise.all(cluster.members.map((member) => hashOf(member, revision)));
      return new Set(hashes).size === 1;
    },
    () => `the members have different data: ${hashes.join(', ')}`,
    { everyMs: 200 },
  );
}

/** Hash and compact revision, at a revision. */
async function hashOf(member: Member, revision: bigint): Promise<string> {
  const reply = await member.rpc.call('etcdserverpb.Maintenance/HashKV', encode([1, revision]));
  return `${integer(reply, 2).toString(16)} after ${integer(reply, 3)}`;
}

/** Whether the member takes a put: not while NOSPACE is armed. */
export async function takesPuts(member: Member): Promise<boolean> {
  const rpc = connect(member.direct);
  try {
    await patiently(() => rpc.call('etcdserverpb.KV/Put', encode([1, '/takes-puts'], [2, 'x'])));
    return true;
  } catch (error) {
    if (!(error as Error).message.includes('database space exceeded')) throw error;
    return false;
  } finally {
    rpc.close();
  }
}

/** Ids in the member list, as hex. */
export async function memberIds(cluster: Cluster): Promise<string[]> {
  const reply = await patiently(async () => (await cluster.leader()).rpc.call('etcdserverpb.Cluster/MemberList', EMPTY));
  return messages(reply, 2).map((member) => integer(member, 1).toString(16));
}

function running(cluster: Cluster): Member[] {
  return cluster.members.filter((member) => member.running());
}

/** Rewrites the same megabyte until etcd arms NOSPACE: nearly all of the file is history. */
export async function exhaustByHistory(cluster: Cluster): Promise<void> {
  const fill = { keys: 100, valueBytes: 10_000, compressible: false, prefix: '/history/' };
  for (let seed = 1, full = false; !full; seed++) {
    full = await cluster.fill({ ...fill, seed }).then(
      () => false,
      (error: Error) => {
        if (!error.message.includes('database space exceeded')) throw error;
        return true;
      },
    );
  }
  await until(async () => (await cluster.alarms()).length > 0, 'NOSPACE was not raised');
}

/** With everything that the round says of itself in the message. */
export function expectOutcome(round: RoundResult, ...outcomes: readonly RoundResult['outcome'][]): void {
  const said = [
    ...round.actions.map(({ message }) => message),
    ...round.plan.refusals.map(({ rule, member, message }) => `${rule} (${member ?? 'cluster'}): ${message}`),
    round.failure === undefined ? '' : `${round.failure.code}: ${round.failure.message}`,
  ];
  expect(outcomes, said.join('\n')).toContain(round.outcome);
}
