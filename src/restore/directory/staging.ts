/** The folders in which one member is built, out of sight of etcd, each on the file system on which its directory will lie. */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { diskError } from '../../archive/disk-errors.ts';
import { crashPoint } from '../../crash-points.ts';
import { temporaryName } from '../../store/temporary.ts';
import type { EtcdMinor, NewCluster } from '../types.ts';
import { syncTree, writeNew } from './durable.ts';
import { removeTree } from './leftovers.ts';
import { stagingName, type Place } from './place.ts';
import { encodeSnap, snapFileName } from './snap.ts';
import { encodeWal, WAL_FILE_BYTES, WAL_FILE_NAME } from './wal.ts';

export interface Staging {
  readonly place: Place;
  /** Marks everything of it as ours. */
  readonly writer: string;
  /** Beside (or in) the data directory. */
  readonly folder: string;
  /** The whole data directory, as it will be. */
  readonly data: string;
  /** The database in it. */
  readonly database: string;
  /** What becomes the WAL directory when that is a place of its own: on the file system of that one. */
  readonly wal: { readonly folder: string; readonly file: string } | undefined;
}

/** Name that the only WAL file has as long as etcd must not find it: without its suffix. */
const STAGED_WAL = 'wal-to-be';

/** Makes the folders, 0700 and empty. @throws WardenError `disk-full`, `disk-failed` */
export async function openStaging(place: Place): Promise<Staging> {
  const writer = temporaryName();
  const folder = join(place.data.around, stagingName(place.data.folder, writer));
  const walFolder = place.wal === undefined ? undefined : join(place.wal.around, stagingName(place.wal.folder, writer));
  const data = join(folder, 'data');
  try {
    await mkdir(folder, { mode: 0o700 });
    if (walFolder !== undefined) await mkdir(walFolder, { mode: 0o700 });
    await mkdir(join(data, 'member', 'snap'), { recursive: true, mode: 0o700 });
  } catch (error) {
    await removeTree(folder);
    throw await diskError(error, 'create', folder, 0);
  }
  crashPoint('restore-staged');
  return {
    place,
    writer,
    folder,
    data,
    database: join(data, 'member', 'snap', 'db'),
    wal: walFolder === undefined ? undefined : { folder: walFolder, file: join(walFolder, STAGED_WAL) },
  };
}

/** Also after a publication: then what is left in them is nothing. */
export async function removeStaging({ folder, wal }: Staging): Promise<void> {
  await removeTree(folder);
  if (wal !== undefined) await removeTree(wal.folder);
}

/** Writes the log and the .snap file beside the database. @throws WardenError `disk-full`, `disk-failed` */
export async function writeLogs({ place, data, wal }: Staging, cluster: NewCluster, minor: EtcdMinor): Promise<void> {
  const member = cluster.members.find(({ name }) => name === place.target.member);
  if (member === undefined) throw new Error(`no member ${place.target.member}`); // the builder looked before
  const walFile = wal?.file ?? join(data, place.walInside, WAL_FILE_NAME);
  await mkdir(dirname(walFile), { recursive: true, mode: 0o700 });
  await writeNew(walFile, encodeWal(member, cluster, minor), WAL_FILE_BYTES);
  await writeNew(join(data, 'member', 'snap', snapFileName(cluster)), encodeSnap(cluster, minor));
}

/** Everything that will be renamed is on the disk, and so are the names in it. */
export async function syncStaging({ folder, wal }: Staging): Promise<void> {
  await syncTree(folder);
  if (wal !== undefined) await syncTree(wal.folder);
}
