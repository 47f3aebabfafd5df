/**
 * What the daemon sees of one etcd cluster once a minute: members, sizes and quotas, alarms, thresholds; and every ten minutes a sample of it for the
 * forecast and for history that is kept by time. Nothing is done here: maintenance is asked when something shows, and looks at everything anew.
 */
import type { ClusterConfig } from '../config/types.ts';
import { asError } from '../errors.ts';
import type { ClusterView, MemberStatus } from '../etcd/types.ts';
import { crossed, type Crossing } from '../maintenance/planner/crossed.ts';
import { forecast } from '../maintenance/planner/forecast.ts';
import type { AlarmState, Quota } from '../maintenance/planner/types.ts';
import { policyOf } from '../maintenance/policy.ts';
import type { SamplesFile } from '../maintenance/samples.ts';
import type { Samples } from '../maintenance/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Clock } from './clock.ts';
import type { Signs } from './maintenance.ts';
import { observeOnce, type Observe } from './observe.ts';
import { openQuotas, type Quotas, type ReadQuota } from './quotas.ts';

export interface WatchPorts {
  readonly observe: Observe;
  readonly readQuota: ReadQuota;
  readonly samples: SamplesFile;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Told after each look. */
  readonly seen: (signs: Signs) => void;
}

export interface SeenMember {
  readonly status: MemberStatus;
  readonly quota: Quota;
}

/** When the first member reaches its quota if it goes on growing as it did lately. */
export interface Outlook {
  /** Its id. */
  readonly member: string;
  /** Negative when it shrinks. */
  readonly bytesPerDay: number;
  /** Undefined = not at this growth. */
  readonly reachedMs: number | undefined;
}

/** One look. */
export interface Seen {
  readonly view: ClusterView;
  /** Those that answer. */
  readonly members: readonly SeenMember[];
  readonly alarms: readonly AlarmState[];
  readonly crossings: readonly Crossing[];
}

const SAMPLE_EVERY_MS = 10 * 60_000;

export class Watch {
  readonly #ports: WatchPorts;
  readonly #quotas: Quotas;
  #config: ClusterConfig;
  #looking: Promise<void> | undefined;
  #again = false;
  #seen: Seen | undefined;
  #outlook: Outlook | undefined;
  #signs: Signs | undefined;
  /** Monotonic. */
  #sampledMs = -Infinity;
  #complained = false;

  constructor(config: ClusterConfig, ports: WatchPorts) {
    this.#ports = ports;
    this.#config = config;
    this.#quotas = openQuotas(ports.readQuota, ports.logger);
  }

  configure(config: ClusterConfig): void {
    this.#config = config;
  }

  /** The last look; undefined when there was none to be had. */
  get seen(): Seen | undefined {
    return this.#seen;
  }

  get outlook(): Outlook | undefined {
    return this.#outlook;
  }

  /** One at a time; asked for again while it lasts, it is done again. Never rejects. @param sample whether or not it is time for one */
  look(signal: AbortSignal, sample = false): Promise<void> {
    if (sample) this.#sampledMs = -Infinity;
    this.#again = this.#looking !== undefined;
    this.#looking ??= this.#lookOn(signal).finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async #lookOn(signal: AbortSignal): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#lookOnce(signal);
      } catch (error) {
        this.#ports.logger.error({ error: asError(error) }, 'a look at the cluster ended unexpectedly');
      }
      // Set by a call of look() meanwhile, which the analysis of types cannot see.
    } while (this.#again as boolean);
  }

  async #lookOnce(signal: AbortSignal): Promise<void> {
    const { observe, metrics, logger, seen } = this.#ports;
    const config = this.#config;
    const view = await observeOnce(config, observe, metrics, logger, signal);
    if (signal.aborted) return;
    if (view === undefined) {
      this.#seen = undefined;
      // Alarms stay armed while nobody can be asked about them.
      if (this.#signs !== undefined) seen((this.#signs = { ...this.#signs, reachable: [] }));
      return;
    }
    const statuses = view.members.flatMap((member) =>
      member.reachable && member.status.clusterId === view.clusterId ? [member.status] : [],
    );
    const monotonicMs = this.#ports.clock.monotonicMs();
    const members = await Promise.all(
      statuses.map(async (status) => ({ status, quota: await this.#quotas.of(config, status, monotonicMs, signal) })),
    );
    const alarms = alarmsOf(statuses);
    const sizes = members.map(({ status, quota }) => ({
      id: status.memberId.toString(16),
      name: status.name,
      voter: status.role !== 'learner',
      dbSize: status.dbSize,
      dbSizeInUse: status.dbSizeInUse,
      quotaBytes: quota.bytes,
    }));
    const crossings = crossed(sizes, alarms, policyOf(config.maintenance));
    this.#seen = { view, members, alarms, crossings };
    recordQuota(metrics, config.name, members);
    await this.#sample(view, members);
    this.#signs = {
      noSpace: alarms.some(({ type }) => type === 'NOSPACE'),
      corrupt: alarms.some(({ type }) => type === 'CORRUPT'),
      crossed: crossings.flatMap(({ what, member }) => (member === undefined ? [] : [`${what} ${member}`])),
      reachable: sizes.map(({ id }) => id),
    };
    seen(this.#signs);
  }

  async #sample(view: ClusterView, members: readonly SeenMember[]): Promise<void> {
    const { clock, samples, logger, metrics } = this.#ports;
    const monotonicMs = clock.monotonicMs();
    if (members.length === 0 || monotonicMs - this.#sampledMs < SAMPLE_EVERY_MS) return;
    this.#sampledMs = monotonicMs;
    const timeMs = clock.now();
    try {
      const all = await samples.add({
        timeMs,
        clusterId: view.clusterId.toString(16),
        revision: members.reduce((newest, { status }) => (status.revision > newest ? status.revision : newest), 0n),
        sizes: members.map(({ status, quota }) => ({
          member: status.memberId.toString(16),
          dbSize: status.dbSize,
          dbSizeInUse: status.dbSizeInUse,
          quota,
        })),
      });
      this.#complained = false;
      this.#outlook = outlookOf(all, members, timeMs);
      recordOutlook(metrics, this.#config.name, this.#outlook);
    } catch (error) {
      if (!this.#complained)
        logger.warn({ error: asError(error) }, 'samples cannot be written: history cannot be kept by time, and there is no forecast');
      this.#complained = true;
    }
  }
}

/** Whoever reaches its quota first, else whoever grows most. */
export function outlookOf(samples: Samples, members: readonly SeenMember[], nowMs: number): Outlook | undefined {
  const told = members
    .filter(({ status }) => status.role !== 'learner')
    .flatMap(({ status, quota }): Outlook[] => {
      const id = status.memberId.toString(16);
      const trend = forecast(
        samples.sizes.filter(({ member }) => member === id),
        quota.bytes,
        nowMs,
      );
      return trend === undefined ? [] : [{ member: id, bytesPerDay: trend.bytesPerDay, reachedMs: trend.reachedMs }];
    });
  return told.sort((a, b) => (a.reachedMs ?? Infinity) - (b.reachedMs ?? Infinity) || b.bytesPerDay - a.bytesPerDay)[0];
}

/** Every member tells all alarms that it knows. */
function alarmsOf(statuses: readonly MemberStatus[]): readonly AlarmState[] {
  const all = statuses.flatMap(({ alarms }) => alarms.map(({ type, memberId }): AlarmState => ({ type, memberId: memberId.toString(16) })));
  return [...new Map(all.map((alarm) => [`${alarm.type} ${alarm.memberId}`, alarm])).values()];
}

function recordQuota(metrics: Metrics, cluster: string, members: readonly SeenMember[]): void {
  const shares = members.flatMap(({ status, quota }) =>
    quota.bytes === undefined ? [] : [{ bytes: quota.bytes, source: quota.source, share: status.dbSize / Math.max(1, quota.bytes) }],
  );
  const nearest = shares.sort((a, b) => b.share - a.share)[0];
  for (const source of ['status', 'metrics', 'configured', 'default'] as const)
    if (source !== nearest?.source) metrics.remove('etcd_warden_etcd_quota_bytes', { cluster, source });
  if (nearest === undefined) {
    metrics.remove('etcd_warden_etcd_quota_share', { cluster });
    return;
  }
  metrics.set('etcd_warden_etcd_quota_bytes', { cluster, source: nearest.source }, nearest.bytes);
  metrics.set('etcd_warden_etcd_quota_share', { cluster }, nearest.share);
}

function recordOutlook(metrics: Metrics, cluster: string, outlook: Outlook | undefined): void {
  if (outlook?.reachedMs === undefined) metrics.remove('etcd_warden_etcd_quota_reached_timestamp_seconds', { cluster });
  else metrics.set('etcd_warden_etcd_quota_reached_timestamp_seconds', { cluster }, outlook.reachedMs / 1000);
}
