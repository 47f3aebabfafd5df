/**
 * Generations: one cluster name may see several histories, because a cluster was restored or replaced. Each has its own lineage, and
 * order goes by time, never by revision: a restored cluster goes back in revision. Pure.
 */
import { IMPORTED_LINEAGE } from '../format/ids.ts';
import type { Acceptance } from '../format/types.ts';
import type { Backup, Catalog, Generation } from './types.ts';

/** The machine of the restore and the one of the backup have clocks of their own; and the last member may be built when the first ones already serve. */
const CLOCKS_APART_MS = 600_000;

/**
 * The generations of these backups (oldest first): before all others what was imported, if anything was, always accepted, since nobody can tell which history it
 * is of; then the cluster's own in order of their first backup. The first needs no acceptance; a later one needs an `accept`, or the
 * record of the restore that it began with. Accepting one accepts those before it: whoever accepts the present has looked at the past.
 */
export function generationsOf(
  backups: readonly Pick<Backup, 'id' | 'timeMs' | 'manifest'>[],
  acceptances: readonly Acceptance[],
): Generation[] {
  const firsts = firstsOf(backups);
  const imported = firsts.find(({ manifest }) => manifest.lineage === IMPORTED_LINEAGE);
  const generations = firsts.filter((each) => each !== imported);
  const announced = new Set(acceptances.flatMap((each) => lineagesOf(each, generations)));
  const lastAnnounced = generations.findLastIndex(({ manifest }) => announced.has(manifest.lineage));
  const described = ({ id, manifest }: (typeof generations)[number], accepted: boolean): Generation => ({
    lineage: manifest.lineage,
    clusterId: manifest.clusterId,
    firstId: id,
    accepted,
    released: acceptances.some(({ kind, lineage }) => kind === 'release' && lineage === manifest.lineage),
  });
  const own = generations.map((first, index) => described(first, index === 0 || index <= lastAnnounced));
  return imported === undefined ? own : [described(imported, true), ...own];
}

/** The history that the cluster is in now, as its own backups show it. */
export function currentGeneration(generations: readonly Generation[]): Generation | undefined {
  const last = generations.at(-1);
  return last?.lineage === IMPORTED_LINEAGE ? undefined : last;
}

export type DetectedGeneration =
  /** No backup yet. */
  | { readonly kind: 'first' }
  /** `parent` is the newest backup of this history. */
  | { readonly kind: 'same'; readonly lineage: string; readonly parent: string }
  /** One sentence for the alarm. `previous` is the history that the catalog ends with. */
  | { readonly kind: 'new'; readonly reason: string; readonly previous: string };

/** What is seen of a cluster before a backup: the highest revision and term of all its members, since one that lags shows lower ones. */
export interface SeenCluster {
  readonly clusterId: string;
  readonly revision: bigint;
  readonly raftTerm: bigint;
}

/** Whether the cluster continues the history that its newest backups belong to. */
export function detectGeneration(catalog: Pick<Catalog, 'backups' | 'generations'>, seen: SeenCluster): DetectedGeneration {
  const current = currentGeneration(catalog.generations);
  if (current === undefined) return { kind: 'first' };
  const { lineage } = current;
  const backups = catalog.backups.filter(({ manifest }) => manifest.lineage === lineage);
  if (seen.clusterId !== current.clusterId) {
    return { kind: 'new', previous: lineage, reason: `the cluster id is ${seen.clusterId}, the last backups are of ${current.clusterId}` };
  }
  // A suspect backup's figures may be as damaged as its data.
  for (const { id, manifest } of backups.filter((backup) => backup.suspect === undefined)) {
    if (seen.revision < BigInt(manifest.revision)) {
      return {
        kind: 'new',
        previous: lineage,
        reason: `history moved back: the cluster is at revision ${seen.revision}, backup ${id} at ${manifest.revision}`,
      };
    }
    // Restored with the same token and raised revisions, a cluster keeps its id and does not go back in revision; its raft term starts again.
    if (seen.raftTerm < BigInt(manifest.raftTerm)) {
      return {
        kind: 'new',
        previous: lineage,
        reason: `history moved back: the raft term is ${seen.raftTerm}, at backup ${id} it was ${manifest.raftTerm}`,
      };
    }
  }
  return { kind: 'same', lineage, parent: backups.at(-1)!.id };
}

/**
 * The record of a restore that announced this cluster id, as long as no history has begun with it since: once one has, a cluster that goes back again under the
 * same id is nobody's restore. The newest when several members of one restore were built one after the other.
 */
export function announcedRestore(
  { backups, acceptances }: Pick<Catalog, 'backups' | 'acceptances'>,
  clusterId: string,
): Acceptance | undefined {
  const announced = acceptances.findLast((each) => each.kind === 'restore' && each.clusterId === clusterId);
  if (announced === undefined) return undefined;
  const begun = firstsOf(backups).some(({ timeMs, manifest }) => timeMs >= Date.parse(announced.time) && manifest.clusterId === clusterId);
  return begun ? undefined : announced;
}

/** The lineages that an acceptance speaks for. */
function lineagesOf({ kind, lineage, clusterId, time }: Acceptance, generations: readonly Pick<Backup, 'timeMs' | 'manifest'>[]): string[] {
  if (kind === 'release') return [];
  if (kind === 'accept') return [lineage];
  // A restore ends before the first backup of what it built, whose lineage it cannot know: the first history of that cluster from then on, and no later
  // one, since the same id may come back with another restore. Nor the history it was made from: nobody said that that one is right.
  const own = generations.filter(({ manifest }) => manifest.clusterId === clusterId);
  const ms = Date.parse(time);
  const begun = own.find(({ timeMs }) => timeMs >= ms) ?? own.findLast(({ timeMs }) => timeMs >= ms - CLOCKS_APART_MS);
  return begun === undefined ? [] : [begun.manifest.lineage];
}

/** The first backup of each history, oldest first. */
function firstsOf<T extends Pick<Backup, 'manifest'>>(backups: readonly T[]): T[] {
  const firsts = new Map<string, T>();
  for (const backup of backups) {
    if (!firsts.has(backup.manifest.lineage)) firsts.set(backup.manifest.lineage, backup);
  }
  return [...firsts.values()];
}
