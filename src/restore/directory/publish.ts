/**
 * Puts what was built in its place, so that a crash at any step leaves nothing in the target directory or the whole, and the old one under one name or the other.
 *
 * One directory is one rename. Where the WAL has a directory of its own there are two, and etcd would start on either alone: on data without a WAL as a new cluster, of
 * which members that are added later never get the data; on a WAL without its data as one that lost whatever was restored before. So first of all the WAL directory gets
 * a file that has the suffix of a WAL and not the name of one. Beside a log etcd passes it over; where it is the only one, etcd of every release takes it for a WAL that
 * it cannot open, and ends. Then an old log goes (from its first file on, so that what is left of it is of no use without the rest), the old data, the new data comes,
 * and last the new log, by one rename: before that etcd starts on neither, after it on both.
 */
import { lstat, mkdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { diskError } from '../../archive/disk-errors.ts';
import { crashPoint } from '../../crash-points.ts';
import { syncFolder } from '../../store/local/folders.ts';
import { temporaryName } from '../../store/temporary.ts';
import { writeNew } from './durable.ts';
import type { Blocker } from './leftovers.ts';
import { giveTo, labelLike, ownerOf, type Owner } from './owner.ts';
import { BLOCKER, KEPT, RECORD, stagingName, type Place, type Spot } from './place.ts';
import type { Staging } from './staging.ts';
import { freeName, Steps } from './steps.ts';
import { WAL_FILE_NAME } from './wal.ts';

export interface Published {
  /** Where what stood there is now: data directory, WAL directory. */
  readonly kept: readonly string[];
  /** Takes away what kept etcd from starting on one half alone. Nothing can be undone any more. */
  finish(): Promise<void>;
  /** Puts everything back as it was: another member, or a later step, failed. */
  undo(): Promise<void>;
}

export interface PublishOptions {
  /** What the record says, encoded. */
  readonly record: Buffer;
  /** Goes into the names of what is moved away. */
  readonly time: Date;
}

/** In its staging folder: what becomes the WAL directory where there is none yet. */
const WAL_FOLDER = 'wal';

/** Owner, mode and label as they shall be, and the pair's mark; synced afterwards by the caller. @throws WardenError `disk-failed`, `refused` */
export async function dress(staging: Staging, owner: Owner | undefined, signal: AbortSignal): Promise<void> {
  const { place, data, wal, folder } = staging;
  const unit = dataUnit(staging);
  const dataOwner = await ownerOf(place.data, owner);
  if (wal !== undefined && place.wal !== undefined) {
    const { dev, ino } = await stat(unit.from, { bigint: true });
    const blocker: Blocker = { writer: staging.writer, data: { path: unit.to, dev: String(dev), ino: String(ino) } };
    const inner = join(wal.folder, WAL_FOLDER);
    await mkdir(inner, { mode: 0o700 });
    await writeNew(join(inner, BLOCKER), Buffer.from(`${JSON.stringify(blocker)}\n`));
    await giveTo(wal.folder, await ownerOf(place.wal, owner), undefined);
    if (place.wal.present !== undefined) await labelLike(place.wal.folder, wal.folder, signal);
  }
  // The staging folder itself stays ours alone until it is gone.
  await giveTo(data, dataOwner, place.data.way === 'beside' ? place.data.present : undefined);
  if (place.data.present !== undefined) await labelLike(place.data.folder, folder, signal);
}

/** @throws WardenError `disk-failed`, `refused` when something came to lie there meanwhile; everything is as before then */
export async function publish(staging: Staging, { record, time }: PublishOptions): Promise<Published> {
  const { place, wal } = staging;
  const steps = new Steps();
  const suffix = `${KEPT}${stampOf(time)}`;
  const unit = dataUnit(staging);
  try {
    await putRecord(place, record, suffix, steps);
    crashPoint('restore-recorded');
    if (place.wal !== undefined && wal !== undefined) {
      await block(place.wal, join(wal.folder, WAL_FOLDER), steps);
      crashPoint('restore-wal-blocked');
      await setLogAside(place.wal, suffix, steps);
      crashPoint('restore-old-wal-aside');
    }
    if (place.data.occupants.length > 0) await steps.setAside(unit.to, `${unit.to}${suffix}`);
    crashPoint('restore-old-data-aside');
    await steps.put(unit.from, unit.to, place.data.way === 'beside' ? place.data : undefined);
    crashPoint('restore-data-put');
    if (place.wal !== undefined && wal !== undefined) {
      await steps.put(wal.file, join(place.wal.folder, WAL_FILE_NAME), undefined);
      crashPoint('restore-wal-put');
    }
  } catch (error) {
    throw await steps.undoAfter(error);
  }
  return {
    kept: steps.kept,
    finish: async () => {
      if (place.wal === undefined) return;
      await rm(join(place.wal.folder, BLOCKER), { force: true });
      await syncFolder(place.wal.folder);
    },
    undo: () => steps.undo(),
  };
}

/** What one rename puts in its place. */
function dataUnit({ place, data }: Staging): { readonly from: string; readonly to: string } {
  if (place.data.way === 'beside') return { from: data, to: place.data.folder };
  return { from: join(data, 'member'), to: join(place.data.folder, 'member') };
}

/** Before the directory that it describes, so that none is without. */
async function putRecord({ recordPath, data, target }: Place, record: Buffer, suffix: string, steps: Steps): Promise<void> {
  // One that is left of a directory that is gone is of no use to anybody.
  const old = data.occupants.length > 0 ? await lstat(recordPath).catch(() => undefined) : undefined;
  if (old !== undefined) await steps.setAside(recordPath, `${recordPath.slice(0, -RECORD.length)}${suffix}${RECORD}`, false);
  const temporary = join(dirname(recordPath), stagingName(data.folder, temporaryName()));
  try {
    await writeNew(temporary, record);
    await rename(temporary, recordPath);
    steps.onUndo(() => rm(recordPath, { force: true }));
    await syncFolder(dirname(recordPath));
  } catch (error) {
    await rm(temporary, { force: true });
    throw await diskError(error, `record the restore of ${target.member} in`, recordPath, record.length);
  }
}

/** From here on etcd ends at once where it would have started on half of a member. */
async function block(spot: Spot, staged: string, steps: Steps): Promise<void> {
  if (spot.present === undefined) return steps.put(staged, spot.folder, spot);
  const path = join(spot.folder, BLOCKER);
  await rm(path, { force: true }); // of a restore that was killed after its log had come: it says nothing any more
  return steps.put(join(staged, BLOCKER), path, undefined);
}

/** Its files only: the directory itself stays, with what keeps etcd from starting in it. */
async function setLogAside({ folder, way, present, occupants }: Spot, suffix: string, steps: Steps): Promise<void> {
  const old = occupants.filter((name) => name !== BLOCKER);
  if (old.length === 0 || present === undefined) return;
  const kept = await freeName(way === 'beside' ? `${folder}${suffix}` : join(folder, `${basename(folder)}${suffix}`));
  try {
    await mkdir(kept, { mode: 0o700 });
    steps.onUndo(() => rmdir(kept));
    await syncFolder(dirname(kept));
  } catch (error) {
    throw await diskError(error, 'create', kept, 0);
  }
  await giveTo(kept, present, present);
  // The first one first, and each for good before the next: the end of a log alone is of no use to etcd, its beginning alone is an older state.
  const logs = old.filter((name) => name.endsWith('.wal')).sort();
  const others = old.filter((name) => !name.endsWith('.wal'));
  for (const name of [...logs, ...others]) await steps.carryOver(join(folder, name), join(kept, name));
  steps.kept.push(kept);
}

/** As in file names of backups: no colons, sorts by time. */
function stampOf(time: Date): string {
  return time.toISOString().replace(/[-:]|\.\d+/g, '');
}
