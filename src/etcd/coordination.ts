/**
 * What several daemons with the same configuration agree on through etcd itself, in a few small keys:
 *
 *   <prefix>/lock           the lock of this etcd cluster, whatever name it is configured under: snapshot and defragmentation exclude each other
 *   <prefix>/leader/<name>  which daemon serves the schedule of the cluster configured as <name>
 *   <prefix>/slots/<name>   the last slot of that schedule that was served, by whom, with which backup
 *   <prefix>/advance        written only when members disagree in a cluster that nobody writes to
 *
 * Beside them lie, written by maintenance: <prefix>/maintenance/<name>, what was done when; and for a moment <prefix>/probe, a put that proves writes.
 *
 * All of it lies in one cluster, that of most endpoints who answer: what is agreed with a stray keeps nobody off ({@link CoordinationClient}).
 *
 * Want of it may not cost a backup: without quorum, or while NOSPACE refuses every lease and every put, the answer is `unavailable` and why. Only where it cannot
 * be told which cluster is meant (`cluster-ids-disagree`) none is taken, as none would be without a lock.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { WardenError } from '../errors.ts';
import { silentLogger, type Logger } from '../telemetry/logger.ts';
import { CoordinationClient } from './coordination-client.ts';
import { type Campaign, runCampaign } from './election.ts';
import { describeHolder, type Holder, LeasedKey } from './leased-key.ts';
import { holdLock, type Lock } from './lock.ts';
import { readSlot, recordSlot, served } from './slots.ts';
import type { ClusterAccess } from './types.ts';

export type { Campaign } from './election.ts';
export type { Lock } from './lock.ts';

export type LockResult =
  | { readonly outcome: 'held'; readonly lock: Lock }
  | { readonly outcome: 'held-by-other'; readonly holder: string }
  /** No lock can be had, and as far as could be read nobody else has it. */
  | { readonly outcome: 'unavailable'; readonly reason: string; readonly code: WardenError['code'] };

export interface Coordination {
  /** One attempt. @param ttlSeconds before a Defragment more than three times the predicted freeze, since a frozen leader renews no lease. */
  lock(purpose: string, signal?: AbortSignal, options?: { readonly ttlSeconds?: number }): Promise<LockResult>;
  /** Who leads the daemons of this cluster now; undefined = nobody. @throws WardenError when etcd cannot tell. */
  elected(signal?: AbortSignal): Promise<string | undefined>;
  /** @param slot RFC 3339. @throws WardenError when etcd cannot tell. */
  slotServed(slot: string, signal?: AbortSignal): Promise<boolean>;
  /** Never takes the record back to an older slot. @throws WardenError */
  recordSlot(slot: string, id: string, signal?: AbortSignal): Promise<void>;
  /** Writes a key of ours that means nothing, so that the cluster has a revision it did not have before. @throws WardenError */
  advance(signal?: AbortSignal): Promise<void>;
  /** Runs for the leadership until it resigns. */
  campaign(purpose: string): Campaign;
  close(): Promise<void>;
}

export interface CoordinationOptions {
  /** Of our keys, without a slash at the end. */
  readonly keyPrefix: string;
  /** Of a caller that has looked already; else that of most endpoints who answer. */
  readonly clusterId?: bigint | undefined;
  readonly logger?: Logger | undefined;
  /** Seconds that a dead process keeps the lock. Default 30. */
  readonly lockTtlSeconds?: number | undefined;
  /** Seconds that a dead daemon keeps the leadership. Default 15. */
  readonly leaderTtlSeconds?: number | undefined;
  /** Who we are; default host name, process id and a random part. */
  readonly holder?: string | undefined;
}

/** @throws WardenError `config-invalid` when an endpoint cannot be used. Nothing is asked yet. */
export function openCoordination(access: ClusterAccess, options: CoordinationOptions): Coordination {
  const { lockTtlSeconds = 30, leaderTtlSeconds = 15 } = options;
  const holder = options.holder ?? `${hostname()} pid ${process.pid} ${randomBytes(3).toString('hex')}`;
  const prefix = options.keyPrefix.replace(/\/+$/, '');
  const logger = (options.logger ?? silentLogger).child({ cluster: access.name });
  const client = new CoordinationClient(access, { clusterId: options.clusterId, logger });
  const held = new Set<Lock>();
  const campaigns = new Set<Campaign>();
  const slotKey = `${prefix}/slots/${access.name}`;
  const value = (purpose: string): Holder => ({ holder, purpose, since: new Date().toISOString() });

  async function lock(
    purpose: string,
    signal?: AbortSignal,
    { ttlSeconds = lockTtlSeconds }: { readonly ttlSeconds?: number } = {},
  ): Promise<LockResult> {
    const key = new LeasedKey(
      client,
      `${prefix}/lock`,
      { ...value(purpose), holder: `${holder} ${randomBytes(3).toString('hex')}` },
      ttlSeconds,
    );
    const acquired = await key.acquire(signal);
    if (acquired.outcome === 'held-by-other') return { outcome: 'held-by-other', holder: describeHolder(acquired.holder) };
    if (acquired.outcome === 'unavailable') return await unavailable(acquired.error, signal);
    const lock = holdLock(key, ttlSeconds, logger);
    held.add(lock);
    return { outcome: 'held', lock };
  }

  /** {@link LeasedKey.acquire} has read the lock key before it failed to create it, when it could be read at all; so only the leader is left to name. */
  async function unavailable(refusal: WardenError, signal: AbortSignal | undefined): Promise<LockResult> {
    if (refusal.code !== 'no-space') return { outcome: 'unavailable', reason: refusal.message, code: refusal.code };
    const found = await elected(signal).catch(() => undefined);
    const who = found === undefined ? 'no daemon is elected' : `elected is ${found}`;
    return {
      outcome: 'unavailable',
      reason: `NOSPACE is armed, so etcd grants no lease; nobody holds the lock, ${who}`,
      code: refusal.code,
    };
  }

  async function elected(signal?: AbortSignal): Promise<string | undefined> {
    const leader = await new LeasedKey(client, leaderKey(), value(''), leaderTtlSeconds).read(signal);
    return leader === undefined ? undefined : describeHolder(leader);
  }

  function leaderKey(): string {
    return `${prefix}/leader/${access.name}`;
  }

  return {
    lock,
    elected,
    slotServed: async (slot, signal) => served(await readSlot(client, slotKey, signal), slot, Date.now()),
    recordSlot: (slot, id, signal) => recordSlot(client, slotKey, { slot, id, by: holder, at: new Date().toISOString() }, signal),
    advance: async (signal) => {
      const key = `${prefix}/advance`;
      await client.run(`writing ${key}`, signal, ({ client: etcd, options }) =>
        etcd.put(key).value(new Date().toISOString()).options(options).exec(),
      );
    },
    campaign: (purpose) => {
      const campaign = runCampaign(new LeasedKey(client, leaderKey(), value(purpose), leaderTtlSeconds), leaderTtlSeconds, logger);
      campaigns.add(campaign);
      return campaign;
    },
    close: async () => {
      // What cannot be given up now (no quorum) ends with its lease.
      await Promise.allSettled([...[...held].map((one) => one.release()), ...[...campaigns].map((one) => one.resign())]);
      client.close();
    },
  };
}
