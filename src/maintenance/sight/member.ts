/** One look at one member: its status, a linearizable read through it, its metrics, and what only two looks tell. */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess, MemberStatus } from '../../etcd/types.ts';
import { rateOf } from '../planner/rate.ts';
import type { MemberState, Past } from '../planner/types.ts';
import type { Somebody } from './everybody.ts';
import { compactionRuns, gaugesOf, wantsAnother } from './gauges.ts';
import type { MetricsReader, MetricsReading } from './metrics.ts';
import { quotaOf } from './quota.ts';

export interface MemberSetting {
  readonly access: ClusterAccess;
  readonly metrics: MetricsReader;
  readonly past: Past;
  /** `maintenance.quota`, bytes. */
  readonly configuredQuota: number | undefined;
}

/** A state, and what else its metrics told that counts for the whole cluster. */
export interface SeenMember {
  readonly state: MemberState;
  readonly compactRevision: bigint | undefined;
}

/** etcd commits, and so counts its transactions, every 100 ms at the latest while somebody writes. */
const BETWEEN_MS = 250;
/** A snapshot of any size outlives this, most reads do not. */
const MAX_READINGS = 4;
/**
 * In-use bytes go up and down by some pages with every commit. A compaction frees a thousand revisions every 10 ms at most, each some hundred bytes
 * with the least of values.
 */
const FALLING_BYTES = 256 * 1024;

/** @throws only when the caller gave up */
export async function lookAtMember(somebody: Somebody, setting: MemberSetting, signal: AbortSignal): Promise<SeenMember> {
  if (somebody.status === undefined) return lookAtSilence(somebody, setting, signal);
  const client = new MemberClient(setting.access, somebody.status.endpoint);
  try {
    const [read, metrics] = await Promise.all([readThrough(client, somebody, signal), readingsOf(somebody, setting, signal)]);
    const compacting = await isCompacting(client, read.status, metrics.readings.at(-1), signal);
    signal.throwIfAborted();
    return seen(somebody, { ...read, ...metrics, compacting }, setting);
  } finally {
    client.close();
  }
}

/** A member that is being defragmented answers no Status, but its metrics, and they say why it is silent. */
async function lookAtSilence(somebody: Somebody, setting: MemberSetting, signal: AbortSignal): Promise<SeenMember> {
  const { readings } = await readingsOf(somebody, setting, signal);
  signal.throwIfAborted();
  const gauges = readings.length === 0 ? undefined : gaugesOf(readings);
  return { state: { ...absent(somebody, setting, readings.at(-1)), gauges }, compactRevision: undefined };
}

interface Read {
  readonly status: MemberStatus;
  readonly readMs: number | undefined;
  readonly error: string | undefined;
}

/** Status first, on the same connection, so that the time of the read is not that of dialling. */
async function readThrough(client: MemberClient, { status: before, voter, name }: Somebody, signal: AbortSignal): Promise<Read> {
  let status = before!;
  try {
    status = { ...(await client.status(signal)), name };
    if (!voter) return { status, readMs: undefined, error: undefined };
    return { status, readMs: await client.linearizableRead(signal), error: undefined };
  } catch (error) {
    return { status, readMs: undefined, error: asError(error).message };
  }
}

interface Readings {
  readonly readings: readonly MetricsReading[];
  readonly gaugesError: string | undefined;
}

async function readingsOf({ id, address, status }: Somebody, { metrics, access }: MemberSetting, signal: AbortSignal): Promise<Readings> {
  const readings: MetricsReading[] = [];
  if (address === undefined) return { readings, gaugesError: undefined };
  // Whoever is silent has had a deadline already.
  const timeoutMs = status === undefined ? access.requestTimeoutMs : undefined;
  try {
    do {
      if (readings.length > 0) await sleep(BETWEEN_MS, undefined, { signal });
      const reading = await metrics.read(address, { signal, timeoutMs });
      // A template without {host}, or an address that is balanced, leads to somebody else.
      if (reading.memberId !== undefined && reading.memberId !== id)
        return { readings: [], gaugesError: `the metrics there are those of member ${reading.memberId}` };
      readings.push(reading);
    } while (wantsAnother(readings) && readings.length < MAX_READINGS);
    return { readings, gaugesError: undefined };
  } catch (error) {
    // What was read before still tells the most.
    return { readings, gaugesError: readings.length > 0 ? undefined : asError(error).message };
  }
}

/** By its counters, else by its size in two looks. The first second of a large compaction, in which etcd works on its index, shows in neither. */
async function isCompacting(
  client: MemberClient,
  before: MemberStatus,
  reading: MetricsReading | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const counted = reading === undefined ? undefined : compactionRuns(reading);
  if (counted !== undefined) return counted;
  try {
    await sleep(BETWEEN_MS, undefined, { signal });
    const after = await client.status(signal);
    return before.dbSizeInUse - after.dbSizeInUse > FALLING_BYTES;
  } catch {
    // It answered a moment ago; the error is told by the linearizable read, or by the next look.
    return false;
  }
}

function seen(
  { id, name, voter }: Somebody,
  { status, readMs, error, readings, gaugesError, compacting }: Read & Readings & { readonly compacting: boolean },
  { past, configuredQuota }: MemberSetting,
): SeenMember {
  const reading = readings.at(-1);
  const { compactRevision } = reading ?? {};
  return {
    state: {
      id,
      name,
      endpoint: status.endpoint,
      voter,
      reachable: true,
      error,
      silent: false,
      version: status.version,
      storageVersion: status.storageVersion,
      dbSize: status.dbSize,
      dbSizeInUse: status.dbSizeInUse,
      quota: quotaOf(status, reading, configuredQuota),
      leader: status.leader === 0n ? '' : hex(status.leader),
      raftIndex: status.raftIndex,
      raftAppliedIndex: status.raftAppliedIndex,
      raftTerm: status.raftTerm,
      revision: status.revision,
      readMs,
      gauges: reading === undefined ? undefined : gaugesOf(readings),
      gaugesError,
      compacting,
      rate: rateOf(past, id),
    },
    // -1 before the first compaction.
    compactRevision: compactRevision === undefined ? undefined : BigInt(Math.max(0, compactRevision)),
  };
}

function absent(
  { id, name, voter, error, silent }: Somebody,
  { past, configuredQuota }: MemberSetting,
  reading: MetricsReading | undefined,
): MemberState {
  return {
    id,
    name,
    endpoint: '',
    voter,
    reachable: false,
    error,
    silent,
    version: '',
    storageVersion: undefined,
    dbSize: 0,
    dbSizeInUse: 0,
    quota: quotaOf(undefined, reading, configuredQuota),
    leader: '',
    raftIndex: 0n,
    raftAppliedIndex: 0n,
    raftTerm: 0n,
    revision: 0n,
    readMs: undefined,
    gauges: undefined,
    gaugesError: undefined,
    compacting: false,
    rate: rateOf(past, id),
  };
}
