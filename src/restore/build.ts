/**
 * A restore carried out: one or several members of a new cluster on this machine. The backup is read once; every member is built out of sight, and only when all of
 * them are complete and on the disk does the first come into its place.
 */
import { constants } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { diskError } from '../archive/disk-errors.ts';
import { crashPoint } from '../crash-points.ts';
import { asError, WardenError } from '../errors.ts';
import { hex } from '../etcd/ids.ts';
import { encodeRestoreRecord, RESTORE_RECORD_SCHEMA, type RestoreRecord } from '../format/restore-record.ts';
import { toolName } from '../version.ts';
import { chooseBuilder, type ChosenBuilder } from './builder/choose.ts';
import { buildByTool, cannotBuild } from './builder/run.ts';
import { buildDatabase } from './database/build.ts';
import { checkPlaces, checkUnchanged } from './directory/check.ts';
import { findLeftovers, removeLeftovers } from './directory/leftovers.ts';
import { findPlace, type Place } from './directory/place.ts';
import { dress, publish, type Published } from './directory/publish.ts';
import { openStaging, removeStaging, syncStaging, writeLogs, type Staging } from './directory/staging.ts';
import type { Builder, BuildRequest, BuildResult, BuiltDatabase, RestoreContext } from './types.ts';

/**
 * @throws WardenError `usage` for a member that the cluster does not have, `refused` and `disk-full` before anything is written (checkTargets), and whatever reading,
 * building and writing throw: then all places are as they were, and nothing else is left
 */
export async function buildMembers(request: BuildRequest, context: RestoreContext): Promise<BuildResult> {
  const { targets, owner } = request;
  requireMembers(request);
  const wish = await chooseBuilder({ ...request, ...foreseen(request) }, context.signal);
  const places = await clearPlaces(request, context);
  const chosen = await checkRoom(places, wish, request, context.signal);
  const stagings: Staging[] = [];
  try {
    for (const place of places) stagings.push(await openStaging(place));
    const { database, builder } = await buildFirst(request, chosen, stagings[0]!, context);
    crashPoint('restore-database');
    await copyDatabase(stagings, database.bytes, context);
    for (const staging of stagings) {
      await writeLogs(staging, request.cluster, request.minor);
      await dress(staging, owner, context.signal);
      await syncStaging(staging);
    }
    const record = recordOf(request, database, context.now());
    crashPoint('restore-built');
    context.signal.throwIfAborted();
    await checkUnchanged(places, context.signal);
    const published = await publishAll(stagings, encodeRestoreRecord(record), context);
    crashPoint('restore-published');
    return {
      database,
      builder,
      record,
      targets: targets.map((target, index) => ({
        ...target,
        kept: published[index]?.kept ?? [],
        record: places[index]?.recordPath ?? '',
      })),
    };
  } finally {
    for (const staging of stagings)
      // What came of the restore counts, and the next one to the same place removes it.
      await removeStaging(staging).catch((error: unknown) => {
        context.logger.warn({ err: error, path: staging.folder }, 'what was built in could not be removed');
      });
  }
}

function requireMembers({ targets, cluster }: BuildRequest): void {
  if (targets.length === 0) throw new WardenError('usage', 'no member is to be made', { hint: 'name one with --member' });
  const names = cluster.members.map(({ name }) => name);
  for (const [index, { member }] of targets.entries()) {
    if (!names.includes(member))
      throw new WardenError('usage', `the initial cluster has no member ${JSON.stringify(member)}`, { hint: `it has ${names.join(', ')}` });
    if (targets.findIndex((other) => other.member === member) !== index)
      throw new WardenError('usage', `member ${member} is to be made twice`, {
        hint: 'two directories of one member must never be started',
      });
  }
}

/** What is known of the content before it is read; what is not, the read itself tells. */
function foreseen({ source, content }: BuildRequest): { readonly bump: boolean; readonly alarms: boolean } {
  return { bump: typeof content.bump === 'object' || (content.bump === 'auto' && source.kubernetes === true), alarms: false };
}

/** Without what a killed restore left there. */
async function clearPlaces({ targets }: BuildRequest, { logger }: RestoreContext): Promise<readonly Place[]> {
  const places: Place[] = [];
  for (const target of targets) {
    const place = await findPlace(target);
    const leftovers = await findLeftovers(place);
    await removeLeftovers(place, leftovers);
    const removed = [...leftovers.staging, ...(leftovers.data === undefined ? [] : [leftovers.data])];
    if (removed.length > 0) logger.info({ paths: removed }, 'removed what a restore left that was killed');
    places.push(leftovers.blocked ? await findPlace(target) : place);
  }
  return places;
}

/** etcdutl reads a plain file that needs as much room again as the database: where only that is missing, it is done without. */
async function checkRoom(
  places: readonly Place[],
  wish: ChosenBuilder,
  { source, replace, owner, builder }: BuildRequest,
  signal: AbortSignal,
): Promise<ChosenBuilder> {
  const options = { neededBytes: source.databaseBytes, replace, owner, signal };
  try {
    await checkPlaces(places, { ...options, plainFile: wish.name === 'etcdutl' });
    return wish;
  } catch (error) {
    const full = error instanceof WardenError && error.code === 'disk-full';
    if (!full || wish.name === 'native' || builder === 'etcdutl') throw error;
    await checkPlaces(places, options);
    return { name: 'native', reason: 'there is no room for the plain file that etcdutl reads', program: undefined };
  }
}

interface Built {
  readonly database: BuiltDatabase;
  readonly builder: { readonly name: Builder; readonly reason: string };
}

async function buildFirst(request: BuildRequest, chosen: ChosenBuilder, staging: Staging, context: RestoreContext): Promise<Built> {
  const builder = { name: chosen.name, reason: chosen.reason };
  if (chosen.program === undefined) return { database: await native(request, staging, context), builder };
  const made = await byTool(request, chosen.program, staging, context);
  if (!('unfit' in made)) return { database: made, builder };
  if (request.builder === 'etcdutl') throw cannotBuild(made.unfit);
  context.logger.info({ reason: made.unfit }, 'the database is built natively');
  return { database: await native(request, staging, context), builder: { name: 'native', reason: made.unfit } };
}

/** Where nobody insisted on the tool, that it fails is a reason to do without it: a backup that is bad fails natively too. */
async function byTool(
  request: BuildRequest,
  program: string,
  staging: Staging,
  context: RestoreContext,
): Promise<BuiltDatabase | { readonly unfit: string }> {
  try {
    return await buildByTool(request, program, staging, context);
  } catch (error) {
    const ofTool = error instanceof WardenError && (error.code === 'failed' || error.code === 'timeout');
    if (request.builder === 'etcdutl' || !ofTool || context.signal.aborted) throw error;
    return { unfit: error.message };
  }
}

function native(request: BuildRequest, staging: Staging, context: RestoreContext): Promise<BuiltDatabase> {
  const { source, cluster, content, minor, acceptSuspect, scratchFolder } = request;
  return buildDatabase({ source, path: staging.database, cluster, content, minor, acceptSuspect, scratchFolder }, context);
}

/** All members start from the same bytes. Where the file system can share them, they take no room until they differ. */
async function copyDatabase([first, ...others]: readonly Staging[], bytes: number, { signal, progress }: RestoreContext): Promise<void> {
  if (first === undefined) return;
  for (const { database, place } of others) {
    signal.throwIfAborted();
    progress({ step: 'copy', subject: place.target.member, totalBytes: bytes });
    try {
      await copyFile(first.database, database, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    } catch (error) {
      throw await diskError(error, 'copy the database to', database, bytes);
    }
  }
}

/** Not interrupted any more: it takes a few renames, and half of them are worth nothing. */
async function publishAll(stagings: readonly Staging[], record: Buffer, { now }: RestoreContext): Promise<readonly Published[]> {
  const time = now();
  const published: Published[] = [];
  try {
    for (const staging of stagings) published.push(await publish(staging, { record, time }));
  } catch (error) {
    await undoAll(published, error);
    throw error;
  }
  for (const each of published) await each.finish();
  return published;
}

async function undoAll(published: readonly Published[], thrown: unknown): Promise<void> {
  for (const each of published.toReversed()) {
    try {
      await each.undo();
    } catch (error) {
      throw new WardenError('disk-failed', `${asError(thrown).message}; and not everything could be put back: ${asError(error).message}`, {
        hint: `remove what this restore made before any etcd is started; what stood there is in ${each.kept.join(', ')}`,
        cause: thrown,
      });
    }
  }
}

function recordOf({ source, cluster, attempt, content, minor }: BuildRequest, database: BuiltDatabase, time: Date): RestoreRecord {
  const manifest = source.backup?.manifest;
  const filtered = content.revision !== undefined || content.only.length > 0 || content.without.length > 0;
  return {
    schema: RESTORE_RECORD_SCHEMA,
    tool: toolName,
    time: time.toISOString(),
    source: {
      ...(manifest === undefined ? {} : { backup: manifest.id, cluster: manifest.cluster, lineage: manifest.lineage }),
      databaseSha256: database.source.databaseSha256,
    },
    attempt,
    token: cluster.token,
    clusterId: hex(cluster.clusterId),
    members: cluster.members.map(({ id, name, peerUrls }) => ({ id: hex(id), name, peerUrls })),
    revision: String(database.revision),
    compactRevision: String(database.compactRevision),
    hash: database.hash,
    keyCount: database.keyCount,
    ...(database.raisedFrom === undefined ? {} : { raisedFrom: String(database.raisedFrom) }),
    ...(filtered ? { filtered: true as const } : {}),
    builder: database.builder,
    etcd: minor,
  };
}
