/** One round of maintenance of a cluster, for the daemon and for the verbs. */
import type { ClusterConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { accessOf } from '../etcd/access.ts';
import { openCoordination } from '../etcd/coordination.ts';
import { MemberClient } from '../etcd/member.ts';
import { openUpkeep, type Upkeep } from '../etcd/upkeep.ts';
import type { ClusterAccess } from '../etcd/types.ts';
import { openOwnership, type Ownership } from '../maintenance/ownership.ts';
import { plan } from '../maintenance/planner/plan.ts';
import { predictedFreezeMs } from '../maintenance/planner/rate.ts';
import type { ClusterState, Plan, Wish } from '../maintenance/planner/types.ts';
import { policyOf } from '../maintenance/policy.ts';
import { lastOf } from '../maintenance/record/entries.ts';
import { openRecord, type MaintenanceRecordStore } from '../maintenance/record/record.ts';
import { runRound } from '../maintenance/round.ts';
import { samplesFile } from '../maintenance/samples.ts';
import { openLook } from '../maintenance/sight/look.ts';
import { PACE, type Pace } from '../maintenance/steps/setting.ts';
import type { RoundResult, Sight } from '../maintenance/types.ts';
import { clusterOf } from './stores.ts';
import { marksOf, toldByStores } from './told-by-stores.ts';
import type { JobContext, MaintainRequest } from './types.ts';

/** Seconds that a dead process keeps the lock, when nothing is to be frozen for long. */
const LOCK_TTL_SECONDS = 30;
/** Of the longest predicted freeze; the lease must outlive it threefold, and a frozen leader renews none. */
const TTL_FACTOR = 4;

export interface Timing {
  readonly pace: Pace;
  /** The least that the lock's lease lasts without renewal. */
  readonly leaseSeconds: number;
}

/**
 * Carries out what is due, or what was asked for by hand, as far as the rules allow.
 * @throws WardenError `usage` for a member that does not exist, `locked`, `interrupted`, and what kept the cluster from being looked at or locked; all
 *   later failures are in the result
 * @param timing how long is waited for what; tests set it
 */
export async function maintain(request: MaintainRequest, context: JobContext, timing: Partial<Timing> = {}): Promise<RoundResult> {
  const { pace = PACE, leaseSeconds = LOCK_TTL_SECONDS } = timing;
  return withScene(request, context, async (scene) => {
    const { cluster } = scene;
    const { sight, wish, plan: foreseen } = await preview(request, context, scene);
    for (const note of sight.notes) context.logger.warn({ cluster: cluster.name }, note);
    if (foreseen.action === undefined) {
      // Nobody is kept out for nothing. The other verdicts are those of a round without actions.
      const outcome = foreseen.complete ? 'nothing' : 'refused';
      return { cluster: cluster.name, outcome, actions: [], plan: foreseen, last: lastOf(scene.record.current()), failure: undefined };
    }
    const result = await withLock(scene, { state: sight.state, leaseSeconds }, request, context, async () =>
      runRound({
        cluster: cluster.name,
        wish,
        policy: policyOf(cluster.maintenance),
        ownership: scene.ownership(),
        record: scene.record,
        settleMs: cluster.maintenance.settleMs,
        setting: {
          look: scene.look,
          open: (endpoint) => new MemberClient(scene.access, endpoint),
          upkeep: scene.upkeep,
          keyPrefix: cluster.keyPrefix.replace(/\/+$/, ''),
          maxLag: policyOf(cluster.maintenance).maxLag,
          events: { logger: context.logger, progress: context.progress },
          signal: context.signal,
          now: context.now,
          pace,
        },
      }),
    );
    return { ...result, last: lastOf(scene.record.current()) };
  });
}

/**
 * What would be done and why not more: takes no lock and changes nothing.
 * @throws WardenError `usage` for a member that does not exist, and what kept the cluster from being looked at
 */
export async function previewMaintenance(request: MaintainRequest, context: JobContext): Promise<{ sight: Sight; plan: Plan }> {
  return withScene(request, context, async (scene) => {
    const { sight, plan: made } = await preview(request, context, scene);
    return { sight, plan: made };
  });
}

/** Everything that a round works with; open as long as it. */
interface Scene {
  readonly cluster: ClusterConfig;
  readonly access: ClusterAccess;
  readonly upkeep: Upkeep;
  readonly record: MaintenanceRecordStore;
  readonly look: (signal: AbortSignal) => Promise<Sight>;
  ownership(): Ownership;
  own(ownership: Ownership): void;
}

async function withScene<T>(request: MaintainRequest, context: JobContext, work: (scene: Scene) => Promise<T>): Promise<T> {
  const { config, logger, signal, now } = context;
  const cluster = clusterOf(config, request.cluster);
  const access = accessOf(cluster);
  const upkeep = openUpkeep(access, { keyPrefix: cluster.keyPrefix });
  const { name, keyPrefix } = cluster;
  const record = openRecord({ name, stateDir: config.stateDir, keyPrefix, access, logger, now });
  const elected = request.elected;
  let ownership: Ownership | undefined;
  try {
    const [told, samples] = await Promise.all([
      toldByStores(cluster, context),
      samplesFile(config.stateDir, name).read(),
      record.read(signal),
    ]);
    const eyes = openLook({
      cluster,
      access,
      upkeep,
      past: () => record.current(),
      marks: () => [],
      // Snapshots and proofs of this cluster hold the lock that this round needs; whoever holds it, no other reads of ours run.
      ownReads: () => [],
      disagreement: () => told.disagreement,
      lock: () => ownership?.state() ?? { state: 'unasked', detail: undefined, elected },
      now,
      logger,
    });
    // Marks of another cluster say nothing, and which one this is the look tells.
    const look = async (inner: AbortSignal): Promise<Sight> => {
      const sight = await eyes.look(inner);
      const marks = marksOf(sight.state.clusterId, told.marks, samples);
      return { notes: [...sight.notes, ...told.notes], state: { ...sight.state, marks } };
    };
    try {
      return await work({
        cluster,
        access,
        upkeep,
        record,
        look,
        ownership: () => {
          if (ownership === undefined) throw new Error('nobody asked for the lock yet');
          return ownership;
        },
        own: (one) => {
          ownership = one;
        },
      });
    } finally {
      eyes.close();
    }
  } finally {
    record.close();
    upkeep.close();
  }
}

async function preview(request: MaintainRequest, context: JobContext, scene: Scene): Promise<{ sight: Sight; wish: Wish; plan: Plan }> {
  context.progress({ step: 'look', message: 'asking the members' });
  const since = context.now().getTime();
  const sight = await scene.look(context.signal);
  const wish = wishOf(request, scene.cluster, sight.state, since);
  return { sight, wish, plan: plan(sight.state, policyOf(scene.cluster.maintenance), wish) };
}

/** Runs `work` as the owner of the cluster. @throws WardenError `locked`, or why no lock can be had */
async function withLock<T>(
  scene: Scene,
  { state, leaseSeconds }: { readonly state: ClusterState; readonly leaseSeconds: number },
  request: MaintainRequest,
  context: JobContext,
  work: () => Promise<T>,
): Promise<T> {
  const { cluster, access } = scene;
  const { keyPrefix } = cluster;
  const { logger, signal } = context;
  // Of the cluster that was looked at: whatever is done is done to its members.
  const clusterId = BigInt(`0x${state.clusterId}`);
  const coordination = cluster.coordinate ? openCoordination(access, { keyPrefix, clusterId, logger }) : undefined;
  try {
    const longestMs = Math.max(0, ...state.members.filter(({ reachable }) => reachable).map(predictedFreezeMs));
    const ownership = openOwnership({
      coordination,
      purpose: `maintenance of ${cluster.name}`,
      elected: request.elected,
      ttlSeconds: Math.max(leaseSeconds, Math.ceil((TTL_FACTOR * longestMs) / 1000)),
      keyPrefix,
      logger,
    });
    scene.own(ownership);
    await ownership.take(signal);
    try {
      return await work();
    } finally {
      await ownership.release();
    }
  } finally {
    await coordination?.close();
  }
}

function wishOf({ wish }: MaintainRequest, cluster: ClusterConfig, state: ClusterState, since: number): Wish {
  switch (wish.kind) {
    case 'routine':
      return { kind: 'routine', since };
    case 'defrag':
      return { ...wish, since, members: wish.members === 'all' ? 'all' : wish.members.map((given) => idOf(given, state)) };
    case 'compact':
      return { kind: 'compact', since, keep: wish.keep ?? cluster.maintenance.keep, yes: wish.yes };
    case 'disarm':
      return { ...wish, since };
  }
}

/** A name, an id or an endpoint, as `status` shows them. */
function idOf(given: string, { members }: ClusterState): string {
  const wanted = given.replace(/\/+$/, '');
  const found = members.filter(
    ({ id, name, endpoint }) =>
      id === wanted.toLowerCase() ||
      name === wanted ||
      (endpoint !== '' && endpoint.replace(/^\w+:\/\//, '') === wanted.replace(/^\w+:\/\//, '')),
  );
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only.id;
  const names = members.map(({ id, name }) => (name === id ? id : `${name} (${id})`)).join(', ');
  throw new WardenError('usage', only === undefined ? `there is no member ${given}` : `${given} is the name of several members`, {
    hint: `members are: ${names}`,
  });
}
