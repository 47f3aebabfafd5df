/**
 * One look at a cluster: everything that the planner must know and that can be observed, read anew each time. It changes nothing, and it ends: each
 * call has a deadline of at most two seconds, since a member that is frozen must show as slow, not hold up the look at the others.
 */
import type { ClusterConfig } from '../../config/types.ts';
import { windowAt } from '../../config/window.ts';
import { asError } from '../../errors.ts';
import { interruption } from '../../etcd/call-errors.ts';
import { observeCluster } from '../../etcd/cluster.ts';
import { hex } from '../../etcd/ids.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { Alarm, ClusterAccess, ClusterView } from '../../etcd/types.ts';
import type { Upkeep } from '../../etcd/upkeep.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { AlarmState, ClusterState, Past, RevisionMark } from '../planner/types.ts';
import type { Sight } from '../types.ts';
import { everybody } from './everybody.ts';
import { lookAtMember } from './member.ts';
import { metricsAccessOf, openMetrics } from './metrics.ts';

export interface LookOptions {
  readonly cluster: ClusterConfig;
  readonly access: ClusterAccess;
  readonly upkeep: Upkeep;
  readonly past: () => Past;
  readonly marks: () => readonly RevisionMark[];
  readonly ownReads: () => readonly string[];
  readonly disagreement: () => ClusterState['disagreement'];
  readonly lock: () => ClusterState['lock'];
  readonly now: () => Date;
  readonly logger: Logger;
}

export interface Look {
  /** @throws WardenError when nobody answers, or the answers are of several clusters; `timeout`, `interrupted` */
  look(signal: AbortSignal): Promise<Sight>;
  /** Ends the looks that are under way. */
  close(): void;
}

/** Of each call; the configured one counts when it is shorter. */
const CALL_MS = 2_000;
/** The whole look: a few rounds of calls, one after the other. */
const LOOK_MS = 20_000;
/** Kubernetes coordinates its compactions by it (storage/etcd3/compact.go), and so does Calico. */
const KUBERNETES_KEY = 'compact_rev_key';

/** By the access that they were made from: a login belongs to an access, and costs the members a password check. */
const hasty = new WeakMap<ClusterAccess, ClusterAccess>();

export function openLook(options: LookOptions): Look {
  const access = hastyAccess(options.access);
  const metrics = openMetrics(access, metricsAccessOf(options.cluster));
  const closed = new AbortController();

  async function look(signal: AbortSignal): Promise<Sight> {
    const stop = AbortSignal.any([signal, closed.signal, AbortSignal.timeout(LOOK_MS)]);
    try {
      return await lookOnce(stop);
    } catch (error) {
      if (stop.aborted) throw interruption(stop, `the look at ${access.name}`);
      throw error;
    }
  }

  async function lookOnce(signal: AbortSignal): Promise<Sight> {
    const { cluster, logger } = options;
    const view = await observeCluster(access, { signal, logger });
    const notes = [...view.notes];
    const past = options.past();
    const setting = { access, metrics, past, configuredQuota: cluster.maintenance.quota };
    const [members, alarms, compactRevision, kubernetes] = await Promise.all([
      Promise.all(everybody(view).map((one) => lookAtMember(one, setting, signal))),
      alarmsOf(access, view, signal),
      view.quorum ? options.upkeep.compactRevision(signal) : undefined,
      view.quorum ? isKubernetes(options.upkeep, notes, signal) : true,
    ]);
    const states = members.map(({ state }) => state);
    for (const { name, gaugesError } of states)
      if (gaugesError !== undefined) notes.push(`the metrics of ${name} cannot be read: ${gaugesError}`);
    const nowMs = options.now().getTime();
    const { window } = cluster.maintenance;
    const { open, nextMs } = windowAt(window, nowMs);
    const state: ClusterState = {
      nowMs,
      clusterId: hex(view.clusterId),
      members: states,
      alarms,
      revision: states.reduce((newest, { revision }) => (revision > newest ? revision : newest), 0n),
      // The newest that any member has applied: what one of them has compacted is compacted everywhere.
      compactRevision: compactRevision ?? newest(members.map((one) => one.compactRevision)),
      kubernetes,
      marks: options.marks(),
      ownReads: options.ownReads(),
      disagreement: options.disagreement(),
      window: { configured: window !== undefined, open, nextMs },
      lock: options.lock(),
      past,
    };
    return { state, notes };
  }

  return { look, close: () => closed.abort() };
}

function hastyAccess(access: ClusterAccess): ClusterAccess {
  let made = hasty.get(access);
  if (made === undefined) {
    const { requestTimeoutMs, dialTimeoutMs } = access;
    made = { ...access, requestTimeoutMs: Math.min(requestTimeoutMs, CALL_MS), dialTimeoutMs: Math.min(dialTimeoutMs, CALL_MS) };
    hasty.set(access, made);
  }
  return made;
}

/** From raft when there is a quorum, the leader's answer first; else, and where that is refused, whatever the members tell in their statuses. */
async function alarmsOf(access: ClusterAccess, view: ClusterView, signal: AbortSignal): Promise<AlarmState[]> {
  const statuses = view.members.flatMap((one) => (one.reachable && one.status.clusterId === view.clusterId ? [one.status] : []));
  const voters = statuses
    .filter(({ role }) => role !== 'learner')
    .sort((a, b) => Number(b.role === 'leader') - Number(a.role === 'leader'));
  // Two: a member that hangs, and one that does not.
  for (const { endpoint } of view.quorum ? voters.slice(0, 2) : []) {
    const client = new MemberClient(access, endpoint);
    try {
      return alarmStates(await client.alarms(signal));
    } catch (error) {
      if (signal.aborted) throw error;
    } finally {
      client.close();
    }
  }
  return alarmStates(statuses.flatMap(({ alarms }) => alarms));
}

function alarmStates(alarms: readonly Alarm[]): AlarmState[] {
  return [...new Map(alarms.map(({ type, memberId }) => [`${type} ${hex(memberId)}`, { type, memberId: hex(memberId) }])).values()];
}

/** Where it cannot be told, it is taken for one: then its history is left alone, and the cure of NOSPACE compacts in either case. */
async function isKubernetes(upkeep: Upkeep, notes: string[], signal: AbortSignal): Promise<boolean> {
  try {
    return await upkeep.exists(KUBERNETES_KEY, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    notes.push(`whether Kubernetes compacts this cluster by itself cannot be told: ${asError(error).message}`);
    return true;
  }
}

function newest(revisions: readonly (bigint | undefined)[]): bigint | undefined {
  return revisions.reduce((most, one) => (one !== undefined && (most === undefined || one > most) ? one : most), undefined);
}
