/** Everything about the places of a restore that can be known before a byte is written. */
import { basename, join } from 'node:path';
import { WardenError } from '../../errors.ts';
import type { BuildTarget } from '../types.ts';
import { whoUses } from './in-use.ts';
import { findLeftovers } from './leftovers.ts';
import { isWithin } from './mounts.ts';
import { checkOwner, ownerOf, type Owner } from './owner.ts';
import { BLOCKER, canWrite, findPlace, occupiedMeanwhile, refused, type Place, type Spot } from './place.ts';
import { checkSpace, type Demand } from './space.ts';
import { WAL_FILE_BYTES } from './wal.ts';

export interface CheckOptions {
  /** Bytes of one database; every target takes as many. */
  readonly neededBytes: number;
  /** What is there may be moved out of the way. */
  readonly replace: boolean;
  readonly owner?: Owner | undefined;
  /** A plain file of the same size is needed beside the first target: etcdutl reads one. */
  readonly plainFile?: boolean;
  readonly signal?: AbortSignal;
}

/** Patience with looking at what other processes have open, ms. */
const LOOK_WITHIN_MS = 30_000;
/** Records, .snap files, folders. */
const SMALL_FILES = 2 ** 20;

/**
 * Looks at every data and WAL directory, and makes nothing.
 * @throws WardenError `refused` when one is in use, not empty (and nothing is to be replaced), or cannot be made; `disk-full`; `usage` for two that are one
 */
export async function checkTargets(targets: readonly BuildTarget[], options: CheckOptions): Promise<void> {
  await checkPlaces(await Promise.all(targets.map(findPlace)), options);
}

export async function checkPlaces(places: readonly Place[], options: CheckOptions): Promise<void> {
  refuseSharedFolders(places);
  for (const place of places) await checkPlace(place, options);
  await checkSpace(places.flatMap((place, index) => demandsOf(place, options, index === 0)));
}

/**
 * A last look before anything is moved: building takes minutes, and in these somebody may have started etcd, whose directory must not be moved away under it.
 * @throws WardenError `refused`
 */
export async function checkUnchanged(places: readonly Place[], signal: AbortSignal): Promise<void> {
  for (const place of places) {
    const now = await findPlace(place.target);
    for (const [before, after] of [
      [place.data, now.data],
      [place.wal, now.wal],
    ] as const)
      if (before !== undefined && (after === undefined || look(before) !== look(after))) throw occupiedMeanwhile(before.folder);
    await refuseUsed(
      place,
      spotsOf(place).filter(({ occupants }) => occupants.length > 0),
      signal,
    );
  }
}

function look({ way, present, occupants }: Spot): string {
  return JSON.stringify([way, present?.dev, present?.ino, occupants.toSorted()]);
}

function spotsOf({ data, wal }: Place): readonly Spot[] {
  return wal === undefined ? [data] : [data, wal];
}

async function refuseUsed({ target }: Place, spots: readonly Spot[], signal: AbortSignal | undefined): Promise<void> {
  if (spots.length === 0) return;
  const folders = spots.map(({ folder }) => folder);
  const patience = AbortSignal.timeout(LOOK_WITHIN_MS);
  const user = await whoUses(folders, signal === undefined ? patience : AbortSignal.any([signal, patience]));
  if (user !== undefined) throw refused(`${folders.join(' and ')} is in use: ${user}`, `stop the etcd of ${target.member} first`);
}

async function checkPlace(place: Place, { replace, owner, signal }: CheckOptions): Promise<void> {
  const { data } = place;
  const leftovers = await findLeftovers(place);
  const spots = spotsOf(place);
  // An unfinished pair of a restore that was killed is removed before the next one is built, as far as it is in the way.
  const inTheWay = spots.filter((spot) => spot.occupants.length > 0 && !isLeftover(spot, place, leftovers));
  if (replace) for (const spot of inTheWay) refuseForeign(spot, spot === data);
  await refuseUsed(place, inTheWay, signal);
  if (!replace) for (const spot of inTheWay) refuseOccupied(spot, spot === data);
  for (const spot of spots) {
    if (!(await canWrite(spot.around)))
      throw refused(
        `${spot.folder} cannot be made: this process, of user ${process.geteuid?.()}, may not write to ${spot.around}`,
        'run it as root, or restore to a folder of your own and move it',
      );
    checkOwner(spot.folder, await ownerOf(spot, owner));
  }
}

function isLeftover(spot: Spot, place: Place, { data, blocked }: Awaited<ReturnType<typeof findLeftovers>>): boolean {
  if (spot === place.wal) return blocked;
  return data !== undefined;
}

function refuseOccupied({ folder, way, occupants }: Spot, isData: boolean): void {
  throw refused(
    `the ${isData ? 'data' : 'WAL'} directory ${folder} is not empty: it holds ${some(occupants)}`,
    occupants.includes(BLOCKER)
      ? 'another restore is making it, was killed less than an hour ago on another machine or in another container, or made it for the data directory that is named in there'
      : way === 'inside'
        ? 'it is a mount point; --replace moves what etcd uses of it to a name with .before-restore- and the time'
        : `--replace moves it to ${basename(folder)}.before-restore-TIME; nothing is ever deleted`,
  );
}

/** Moving away what only seems to be etcd's would break something else. */
function refuseForeign({ folder, occupants }: Spot, isData: boolean): void {
  if (isData ? occupants.includes('member') : occupants.some((name) => name.endsWith('.wal'))) return;
  throw refused(
    `${folder} is no ${isData ? 'data' : 'WAL'} directory of etcd: it holds ${some(occupants)}`,
    isData ? `one holds ${join(folder, 'member')}; move this one away yourself if it can go` : 'move this one away yourself if it can go',
  );
}

function some(names: readonly string[]): string {
  return names.slice(0, 3).join(', ') + (names.length > 3 ? ', ...' : '');
}

function refuseSharedFolders(places: readonly Place[]): void {
  const folders = places.flatMap(({ target, data, wal }) => [
    { member: target.member, folder: data.folder },
    ...(wal === undefined ? [] : [{ member: target.member, folder: wal.folder }]),
  ]);
  for (const [index, a] of folders.entries())
    for (const b of folders.slice(index + 1)) {
      if (a.member === b.member || !(isWithin(a.folder, b.folder) || isWithin(b.folder, a.folder))) continue;
      throw new WardenError('usage', `members ${a.member} and ${b.member} share a directory: ${a.folder} and ${b.folder}`, {
        hint: 'each member has directories of its own',
      });
    }
}

function demandsOf({ data, wal, target }: Place, { neededBytes, plainFile }: CheckOptions, first: boolean): readonly Demand[] {
  return [
    { folder: data.around, bytes: neededBytes + SMALL_FILES, what: `the database of ${target.member}` },
    // etcd fills the whole file with its log, and makes the next one before.
    { folder: wal?.around ?? data.around, bytes: WAL_FILE_BYTES, what: `the WAL of ${target.member}` },
    ...(first && plainFile === true ? [{ folder: data.around, bytes: neededBytes, what: 'the plain file that etcdutl reads' }] : []),
  ];
}
