/** Several stores' shares become one catalog: what each backup is worth on each store, and over all. Pure. */
import { dataKey } from '../format/keys.ts';
import { timeOfId } from '../format/ids.ts';
import type { Acceptance, Check, Manifest, Proof } from '../format/types.ts';
import { generationsOf } from './generations.ts';
import type { FoundCheck, StoreScan } from './scan.ts';
import type { Backup, Catalog, Copy, Oddity } from './types.ts';

const DEPTH = { stored: 1, content: 2, proved: 3 } as const satisfies Record<NonNullable<Check['level']>, number>;

const LEVELS = ['stored', 'content', 'proved'] as const;

export function assembleCatalog(cluster: string, scans: readonly StoreScan[], unreachable: Catalog['unreachable']): Catalog {
  const oddities = scans.flatMap((scan) => [...scan.oddities, ...dataWithoutManifest(scan)]);
  const facts = Map.groupBy(
    scans.flatMap(({ checks }) => checks),
    ({ id }) => id,
  );
  const ids = [...new Set(scans.flatMap(({ manifests }) => [...manifests.keys()]))].sort();
  const backups = ids.flatMap((id) => {
    const found = assembleBackup(id, scans, facts.get(id) ?? [], unreachable);
    oddities.push(...(found?.oddities ?? []));
    return found === undefined ? [] : [found.backup];
  });
  const acceptances = distinct(scans.flatMap((scan) => scan.acceptances)).sort((a, b) => a.time.localeCompare(b.time));
  return { cluster, backups, generations: generationsOf(backups, acceptances), acceptances, oddities, unreachable };
}

function assembleBackup(
  id: string,
  scans: readonly StoreScan[],
  facts: readonly FoundCheck[],
  unreachable: Catalog['unreachable'],
): { readonly backup: Backup; readonly oddities: readonly Oddity[] } | undefined {
  const chosen = scans.map((scan) => scan.manifests.get(id)?.manifest).find((each) => each !== undefined);
  if (chosen === undefined) return undefined;
  const oddities = scans.flatMap((scan) => differing(id, scan, chosen));
  const suspect = chosen.suspect ?? suspicion(facts);
  const copies = scans.flatMap((scan): Copy[] => {
    const found = scan.manifests.get(id);
    const data = dataOf(scan, chosen);
    if (found === undefined && data === 'missing' && !chosen.stores.includes(scan.store)) return [];
    const check = verdict(facts, scan.store);
    const failed = check === 'failed' || check?.outcome === 'failed';
    const manifest = found === undefined ? 'missing' : found.status;
    // Where stores tell different stories of one backup, nobody can say which is true: none of its copies may justify the removal of another backup.
    const verified =
      manifest === 'present' &&
      data === 'present' &&
      !failed &&
      suspect === undefined &&
      oddities.length === 0 &&
      wasOpened(chosen, facts, scan.store);
    const soundMs = lastSound(facts, scan.store);
    return [{ store: scan.store, manifest, data, check: check === 'failed' ? undefined : check, soundMs, verified }];
  });
  const whole = new Set(copies.filter((copy) => isWhole(copy, facts)).map(({ store }) => store));
  const known = new Set([...scans, ...unreachable].map(({ store }) => store));
  const meant = chosen.stores.filter((store) => known.has(store));
  const state = whole.size === 0 ? 'damaged' : oddities.length === 0 && meant.every((store) => whole.has(store)) ? 'complete' : 'partial';
  return {
    backup: {
      id,
      cluster: chosen.cluster,
      timeMs: timeOfId(id)!,
      manifest: chosen,
      copies,
      state,
      unasked: chosen.stores.filter((store) => !known.has(store)),
      held: heldBy(facts),
      suspect,
      proof: chosen.proof ?? laterProof(facts),
      drills: drillsOf(facts),
    },
    oddities,
  };
}

/**
 * Proved as it was taken, or opened and found sound: then (the number of keys is written by whoever has read them all, from the very bytes that went to the
 * stores) or later, on this store, at `content` or better. Members that give no proof, for want of a role or of quorum, must not stop retention for ever.
 */
function wasOpened({ proof, keyCount }: Manifest, facts: readonly FoundCheck[], store: string): boolean {
  if (proof !== undefined || keyCount !== undefined) return true;
  return facts.some(
    ({ kind, check }) => kind === 'verify' && check?.store === store && check.outcome === 'ok' && DEPTH[check.level!] >= DEPTH.content,
  );
}

function lastSound(facts: readonly FoundCheck[], store: string): Copy['soundMs'] {
  const sound = facts.filter(({ kind, check }) => kind === 'verify' && check?.store === store && check.outcome === 'ok');
  return Object.fromEntries(
    LEVELS.flatMap((level) => {
      const times = sound.filter(({ check }) => DEPTH[check!.level!] >= DEPTH[level]).map(({ timeMs }) => timeMs);
      return times.length === 0 ? [] : [[level, Math.max(...times)]];
    }),
  );
}

function laterProof(facts: readonly FoundCheck[]): Proof | undefined {
  const proofs = facts.filter(({ check }) => check?.outcome === 'ok' && check.proof !== undefined);
  return proofs.sort(newestFirst)[0]?.check?.proof;
}

/** A drill is told to every store of the cluster: the same one counts once. */
function drillsOf(facts: readonly FoundCheck[]): readonly Check[] {
  const drills = facts.filter(({ kind }) => kind === 'drill').sort(newestFirst);
  return [...new Map(drills.flatMap(({ check }) => (check === undefined ? [] : [[JSON.stringify(check), check]]))).values()];
}

/** Everything is there in the right size, and no check says that it is bad. */
function isWhole({ store, manifest, data }: Copy, facts: readonly FoundCheck[]): boolean {
  const check = verdict(facts, store);
  return manifest === 'present' && data === 'present' && check !== 'failed' && check?.outcome !== 'failed';
}

/**
 * The verify check of a store that counts: the newest with a result, but one that looked less deep does not clear what failed deeper. `failed` when a
 * check cannot be read: its author may have found the copy bad.
 */
function verdict(facts: readonly FoundCheck[], store: string): Check | 'failed' | undefined {
  const verifies = facts.filter(({ kind, check }) => kind === 'verify' && (check === undefined || check.store === store)).sort(newestFirst);
  let cleared = 0;
  for (const { check } of verifies) {
    if (check === undefined) {
      if (cleared === 0) return 'failed';
    } else if (check.outcome === 'ok') cleared = Math.max(cleared, DEPTH[check.level!]);
    else if (check.outcome === 'failed' && DEPTH[check.level!] > cleared) return check;
  }
  return (verifies.find(({ check }) => check?.outcome === 'ok') ?? verifies[0])?.check;
}

/** The reason of the newest hold, unless a release is newer. Of a hold that cannot be read the name still says that it is one. */
function heldBy(facts: readonly FoundCheck[]): string | undefined {
  const newest = facts.filter(({ kind }) => kind === 'hold' || kind === 'release').sort(newestFirst)[0];
  if (newest?.kind !== 'hold') return undefined;
  return newest.check?.reason ?? (newest.check === undefined ? `${newest.key} cannot be read` : 'no reason given');
}

function suspicion(facts: readonly FoundCheck[]): string | undefined {
  const newest = facts.filter(({ kind }) => kind === 'suspect').sort(newestFirst)[0];
  return newest && (newest.check?.reason ?? `${newest.key} gives no reason`);
}

/** Newest first; of the same millisecond the one that promises less (a failure, a hold) first. */
function newestFirst(a: FoundCheck, b: FoundCheck): number {
  return b.timeMs - a.timeMs || caution(b) - caution(a);
}

function caution({ kind, check }: FoundCheck): number {
  return kind === 'hold' || check === undefined || check.outcome === 'failed' ? 1 : 0;
}

function dataOf(scan: StoreScan, manifest: Manifest): Copy['data'] {
  // The copy is measured by its own manifest where it has one.
  const { cluster, id, stored } = scan.manifests.get(manifest.id)?.manifest ?? manifest;
  const object = scan.data.get(dataKey(cluster, id, stored.encryption));
  if (object === undefined) return 'missing';
  return object.size === stored.bytes ? 'present' : 'wrong-size';
}

function differing(id: string, scan: StoreScan, chosen: Manifest): Oddity[] {
  const found = scan.manifests.get(id);
  // Decoded manifests have their fields in one order, so equal ones have equal JSON.
  if (found?.manifest === undefined || JSON.stringify(found.manifest) === JSON.stringify(chosen)) return [];
  const { key, modified } = found.info;
  return [
    { store: scan.store, key, kind: 'manifests-differ', detail: 'another store holds another manifest of the same backup', modified },
  ];
}

function dataWithoutManifest(scan: StoreScan): Oddity[] {
  const kept = new Set(Array.from(scan.manifests.keys()));
  return Array.from(scan.data.values())
    .filter(({ key }) => !kept.has(idOfData(key)))
    .map(({ key, modified, size }) => ({
      store: scan.store,
      key,
      kind: 'data-without-manifest',
      detail: `${size} bytes of a backup that was never finished, or of one that is being removed`,
      modified,
    }));
}

/** Data objects were let in by their name: `<cluster>/<id>.…`. */
function idOfData(key: string): string {
  return key.slice(key.indexOf('/') + 1, key.indexOf('.'));
}

/** The same fact may lie on several stores. */
function distinct(acceptances: readonly Acceptance[]): Acceptance[] {
  return [...new Map(acceptances.map((each) => [JSON.stringify(each), each])).values()];
}
