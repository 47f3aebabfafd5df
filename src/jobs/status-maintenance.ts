/** What maintenance knows of a cluster and would do next, for `status`: a look that takes no lock and changes nothing. */
import type { Catalog } from '../catalog/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { forecast, type Forecast, type SizeSample } from '../maintenance/planner/forecast.ts';
import type { Plan } from '../maintenance/planner/types.ts';
import { samplesFile } from '../maintenance/samples.ts';
import type { Samples, Sight } from '../maintenance/types.ts';
import { previewMaintenance } from './maintain.ts';
import type { JobContext } from './types.ts';

export interface MaintenanceReport {
  readonly sight: Sight;
  readonly plan: Plan;
  /** Whether the daemon acts by itself. */
  readonly enabled: boolean;
  /** What a daemon on this machine sampled; empty where none runs. */
  readonly samples: Samples;
}

/** When the quota is reached at today's growth, of the member that reaches it first. */
export interface Outlook {
  readonly member: string;
  /** Negative when it shrinks. */
  readonly bytesPerDay: number;
  /** Undefined = it does not grow. */
  readonly reachedMs: number | undefined;
  /** What it is told from: the daemon's samples, or the sizes of the backups. */
  readonly from: 'samples' | 'backups';
}

/** Nobody waits longer than this for the part of `status` that is about maintenance. */
const LONGEST_MS = 30_000;

/** What the daemon would do now. @throws WardenError when no member answers, or not in time */
export async function reportMaintenance(cluster: ClusterConfig, context: JobContext): Promise<MaintenanceReport> {
  const late = AbortSignal.timeout(LONGEST_MS);
  const signal = AbortSignal.any([context.signal, late]);
  // Its steps are nobody's progress here: the other half of the answer is gathered meanwhile.
  const quiet: JobContext = { ...context, signal, progress: () => undefined };
  try {
    const [{ sight, plan }, samples] = await Promise.all([
      previewMaintenance({ cluster: cluster.name, wish: { kind: 'routine' }, elected: false }, quiet),
      samplesFile(context.config.stateDir, cluster.name).read(),
    ]);
    return { sight, plan, enabled: cluster.maintenance.enabled, samples };
  } catch (error) {
    context.signal.throwIfAborted();
    if (!late.aborted) throw error;
    throw new WardenError('timeout', `no plan was to be had in ${LONGEST_MS / 1000} s`, { cause: error });
  }
}

/** Backups come at most every few minutes, and often once a day: less than this would hardly ever be six of them. */
const BACKUPS_OVER_MS = 30 * 24 * 3_600_000;

/** Undefined when too little is known. @param catalog the backups, whose sizes tell the growth where no daemon samples */
export function outlookOf(
  { sight, samples }: MaintenanceReport,
  catalog: Pick<Catalog, 'backups'> | undefined,
  nowMs: number,
): Outlook | undefined {
  const members = sight.state.members.filter(({ voter, reachable }) => voter && reachable);
  // Samples of another cluster that had this name tell nothing.
  const sizes = samples.clusterId === sight.state.clusterId ? samples.sizes : [];
  const sampled = members.flatMap(({ id, name, quota }) => {
    const own = sizes.filter(({ member }) => member === id || member === name);
    return outlook(name, forecast(own, quota.bytes, nowMs), 'samples');
  });
  if (sampled.length > 0) return soonest(sampled);
  const backups = (catalog?.backups ?? [])
    .filter(({ manifest }) => manifest.clusterId === sight.state.clusterId)
    .map(({ timeMs, manifest }): SizeSample => ({ timeMs, dbSize: manifest.plain.bytes }));
  return soonest(members.flatMap(({ name, quota }) => outlook(name, forecast(backups, quota.bytes, nowMs, BACKUPS_OVER_MS), 'backups')));
}

function outlook(member: string, told: Forecast | undefined, from: Outlook['from']): Outlook[] {
  return told === undefined ? [] : [{ member, bytesPerDay: told.bytesPerDay, reachedMs: told.reachedMs, from }];
}

/** Whoever reaches its quota first; else whoever grows most. */
function soonest(outlooks: readonly Outlook[]): Outlook | undefined {
  return outlooks.toSorted((a, b) => (a.reachedMs ?? Infinity) - (b.reachedMs ?? Infinity) || b.bytesPerDay - a.bytesPerDay)[0];
}
