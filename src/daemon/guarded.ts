/** Everything that the daemon has of one cluster: its backups, its drills, its maintenance, what is seen of it, and who works for it. */
import type { ClusterConfig } from '../config/types.ts';
import { samplesFile } from '../maintenance/samples.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Board, Submitted } from './board.ts';
import type { Clock } from './clock.ts';
import { drillMemoryFile } from './drill-memory.ts';
import { Drills, type DrillStatus } from './drills.ts';
import { worksHere, type Leadership, type LeadershipState, type StartLeadership } from './leadership.ts';
import { Maintenance, type MaintenanceStatus } from './maintenance.ts';
import type { Observe } from './observe.ts';
import { Protection, type ProtectionStatus } from './protection.ts';
import type { ReadQuota } from './quotas.ts';
import { stateFile } from './state.ts';
import { Watch, type Outlook, type Seen } from './watch.ts';

export interface GuardedPorts {
  readonly board: Board;
  readonly clock: Clock;
  /** Bound to the cluster. */
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly startLeadership: StartLeadership;
  readonly observe: Observe;
  readonly readQuota: ReadQuota;
  /** Something changed: the scheduler is to look again now. */
  readonly wake: () => void;
  /** Aborted when the daemon has ended: looks at the cluster are given up. */
  readonly ended: AbortSignal;
}

/** What readiness, the API and `systemctl status` tell of a cluster. */
export interface GuardedStatus extends ProtectionStatus {
  readonly maintenance: MaintenanceStatus;
  readonly drills: DrillStatus;
  readonly seen: Seen | undefined;
  readonly outlook: Outlook | undefined;
}

export class Guarded {
  readonly #ports: GuardedPorts;
  readonly #protection: Protection;
  readonly #maintenance: Maintenance;
  readonly #drills: Drills;
  readonly #watch: Watch;
  #config: ClusterConfig;
  #leadership: Leadership | undefined;
  #state: LeadershipState | undefined;

  constructor(config: ClusterConfig, stateDir: string, ports: GuardedPorts) {
    const { board, clock, logger, metrics, random, wake, observe, readQuota } = ports;
    this.#ports = ports;
    this.#config = config;
    this.#protection = new Protection(config, {
      board,
      clock,
      logger,
      metrics,
      state: stateFile(stateDir, config.name),
      random,
      wake,
      noSpace: () => void this.observe(),
    });
    this.#maintenance = new Maintenance(config, {
      board,
      clock,
      logger,
      metrics,
      random,
      wake,
      // A sample each time: what a round compacted or gave back is where a trend begins anew.
      observe: () => void this.#watch.look(ports.ended, true),
    });
    this.#drills = new Drills(config, { board, clock, logger, metrics, memory: drillMemoryFile(stateDir, config.name), wake });
    this.#watch = new Watch(config, {
      observe,
      readQuota,
      samples: samplesFile(stateDir, config.name),
      clock,
      logger,
      metrics,
      seen: (signs) => this.#maintenance.observed(signs),
    });
  }

  get config(): ClusterConfig {
    return this.#config;
  }

  /** To be awaited before the first tick. */
  async open(): Promise<void> {
    await this.#protection.open();
    await this.#drills.open();
    this.#campaign();
  }

  /** A reload: what runs goes on with what it started with. @param elsewhere other endpoints or credentials: another election, perhaps another cluster */
  async configure(config: ClusterConfig, elsewhere: boolean): Promise<void> {
    if (elsewhere) await this.#leadership?.stop();
    this.#config = config;
    this.#protection.configure(config);
    this.#maintenance.configure(config);
    this.#drills.configure(config);
    this.#watch.configure(config);
    if (elsewhere) this.#campaign();
  }

  /** Looks at the clock and starts what is due. @returns when to look again at the latest */
  tick(): number {
    const nowMs = this.#ports.clock.now();
    const protectedMs = this.#protection.tick();
    const drillMs = this.#drills.tick(nowMs, worksHere(this.#state), this.#protection.survey);
    return Math.min(protectedMs, drillMs, this.#maintenance.tick(nowMs, this.#state));
  }

  /** Never rejects. */
  observe(): Promise<void> {
    return this.#watch.look(this.#ports.ended);
  }

  backupNow(): { joined: boolean; job: Submitted } {
    return this.#protection.backupNow();
  }

  status(): GuardedStatus {
    return {
      ...this.#protection.status(),
      maintenance: this.#maintenance.status(),
      drills: this.#drills.status(),
      seen: this.#watch.seen,
      outlook: this.#watch.outlook,
    };
  }

  /** Resigns, so that a standby takes over at once. */
  async resign(): Promise<void> {
    await this.#leadership?.stop();
  }

  /** Starts nothing any more, and resolves when what runs has ended. */
  async close(): Promise<void> {
    await Promise.all([this.#protection.close(), this.#maintenance.close(), this.#drills.close()]);
  }

  #campaign(): void {
    const { startLeadership, logger } = this.#ports;
    this.#leadership = startLeadership(this.#config, logger, (state) => {
      this.#state = state;
      this.#protection.setLeadership(state);
      // NOSPACE is a reason why nobody can be elected, and whoever takes over wants to know what there is to be done.
      void this.observe();
    });
  }
}
