/**
 * Rehearses the restore of the newest backup of each store, reading it from that store alone: in a scratch etcd where there is one, else offline. What came out is told
 * to every store of the cluster.
 *
 * `failed` says that a restore would not hold what the backup promises. What could not be rehearsed is `inconclusive` and counts as not done: it says nothing about the
 * backup, but nobody has seen it restored either.
 */
import { randomBytes } from 'node:crypto';
import { openObject } from '../archive/open.ts';
import { writeCheck } from '../catalog/facts.ts';
import { findBackup } from '../catalog/find.ts';
import type { Backup } from '../catalog/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import { formatDuration } from '../config/units.ts';
import { asError, errorDetails, WardenError } from '../errors.ts';
import { dataKey } from '../format/keys.ts';
import { findEtcd, type EtcdProgram } from '../restore/drill/program.ts';
import { sweepDrills } from '../restore/drill/folder.ts';
import { rehearse, type Rehearsed } from '../restore/drill/rehearse.ts';
import type { EtcdMinor } from '../restore/types.ts';
import type { Store } from '../store/types.ts';
import { toolName } from '../version.ts';
import { dataDirBeside } from './backup/shared-device.ts';
import { loadCatalog } from './catalog.ts';
import { identityFor } from './identity.ts';
import { chooseBackup } from './restore/choose.ts';
import { sourceOfBackup } from './restore/source.ts';
import { chooseMinor } from './restore/versions.ts';
import { clusterOf, withStores } from './stores.ts';
import type { DrillLine, DrillRequest, JobContext } from './types.ts';
import { provesDamage } from './verify.ts';

/**
 * One line for each store, in their order.
 * @throws WardenError `usage` for a store or cluster that is not configured; `ambiguous`, `nothing-found` for an id that no store holds; the signal's reason
 */
export async function drill(request: DrillRequest, context: JobContext): Promise<readonly DrillLine[]> {
  const settings = clusterOf(context.config, request.cluster);
  return withStores(context.config, settings.backup.stores, context.logger, (stores) =>
    drillStores(stores, { cluster: settings.name, settings, stores: request.stores, id: request.id }, context),
  );
}

export interface DrillSubject {
  /** Whose backups; where no file configures it, the settings are those of the call. */
  readonly cluster: string;
  readonly settings: Pick<ClusterConfig, 'drill' | 'dataDir' | 'endpoints' | 'encryption'>;
  /** Names; all when undefined. */
  readonly stores?: readonly string[] | undefined;
  /** Instead of the newest backup of each store. */
  readonly id?: string | undefined;
}

/** As {@link drill}. @param stores all of the cluster: each is told what came out */
export async function drillStores(stores: readonly Store[], subject: DrillSubject, context: JobContext): Promise<readonly DrillLine[]> {
  const { cluster, settings, id } = subject;
  const { signal, config, logger } = context;
  const unknown = subject.stores?.find((name) => !stores.some((store) => store.name === name));
  if (unknown !== undefined)
    throw new WardenError('usage', `${unknown} is no store of cluster ${cluster}`, {
      hint: `its stores are: ${stores.map(({ name }) => name).join(', ')}`,
    });
  // A slip of the pen is told once, and not as a drill of each store that came to nothing.
  const found = id === undefined ? undefined : findBackup(await loadCatalog(stores, cluster, signal), id).id;
  await sweepDrills(folderOf(settings, context), { olderThanMs: config.daemon.sweepAgeMs, now: context.now(), signal });
  const lines: DrillLine[] = [];
  for (const store of stores) {
    if (subject.stores?.includes(store.name) === false) continue;
    const line = await drillStore(store, stores, { subject: { ...subject, id: found }, context });
    lines.push(line);
    const { outcome, ...fields } = line;
    if (outcome === 'failed') logger.error({ ...fields }, 'the drill failed: what was restored is not what the backup promises');
    else if (outcome === 'inconclusive') logger.warn({ ...fields }, 'no drill was done');
    else logger.info({ ...fields }, 'the drill went well');
  }
  return lines;
}

interface Drilling {
  readonly subject: DrillSubject;
  readonly context: JobContext;
}

function folderOf({ drill: { folder } }: DrillSubject['settings'], { config }: Pick<JobContext, 'config'>): string {
  return folder ?? config.stateDir;
}

async function drillStore(store: Store, stores: readonly Store[], drilling: Drilling): Promise<DrillLine> {
  const { subject, context } = drilling;
  const { cluster, id: wanted } = subject;
  const { timeoutMs } = subject.settings.drill;
  const limit = AbortSignal.timeout(timeoutMs);
  const own = { ...context, signal: AbortSignal.any([context.signal, limit]) };
  let backup: Backup | undefined;
  let line: DrillLine;
  try {
    const catalog = await loadCatalog([store], cluster, own.signal);
    backup = wanted === undefined ? chooseBackup(catalog, { latest: true }, context.now()).backup : findBackup(catalog, wanted);
    context.progress({ step: 'drill', message: `rehearsing the restore of ${backup.id} from ${store.name}`, subject: store.name });
    line = await rehearseBackup(backup, store, { ...drilling, context: own });
  } catch (thrown) {
    context.signal.throwIfAborted();
    const late = new WardenError('timeout', `it was not done within ${formatDuration(timeoutMs)}`, { hint: 'drill.timeout' });
    const error = limit.aborted ? late : asError(thrown);
    const { code, message } = errorDetails(error);
    context.logger.debug({ store: store.name, id: backup?.id, err: error }, 'the drill ended with an error');
    const outcome = provesDamage(code) ? 'failed' : 'inconclusive';
    const level = error instanceof DrillError ? { level: error.level } : {};
    const id = backup === undefined ? {} : { id: backup.id };
    line = { store: store.name, ...id, outcome, ...level, reason: reasonOf(error, message), code };
  }
  if (backup !== undefined) await record(line, backup, stores, context);
  return line;
}

/** What helps is worth a word where the error alone is shown: in check objects, in /readyz. */
function reasonOf(error: Error, message: string): string {
  return error instanceof WardenError && error.code === 'refused' && error.hint !== undefined ? `${message} (${error.hint})` : message;
}

/** Carries how far the rehearsal could have gone. */
class DrillError extends WardenError {
  readonly level: NonNullable<DrillLine['level']>;

  constructor(level: NonNullable<DrillLine['level']>, cause: Error) {
    const { code, hint } = cause instanceof WardenError ? cause : { code: 'failed' as const, hint: undefined };
    super(code, cause.message, { hint, cause });
    this.level = level;
  }
}

async function rehearseBackup(backup: Backup, store: Store, { subject, context }: Drilling): Promise<DrillLine> {
  const { settings } = subject;
  const { manifest } = backup;
  const parent = folderOf(settings, context);
  const identities = await identityFor(settings);
  if (manifest.stored.encryption === 'age' && identities === undefined)
    throw new WardenError('key-missing', `${backup.id} is encrypted and no identity is configured: nobody can restore it from here`, {
      hint: 'encryption.identity; or run the drill on the machine that holds it',
    });
  if (!settings.drill.sharedDisk) await refuseSharedDisk(parent, settings);
  const { etcd, minor, why } = await serverFor(manifest.etcdVersion, settings.drill.etcd, context.signal);
  const source = sourceOfBackup(backup, [store], identities, context, { store: store.name });
  const key = dataKey(backup.cluster, backup.id, manifest.stored.encryption);
  const level = etcd === undefined ? 'offline' : 'started';
  try {
    const request = { source, etcd, minor, parent, sample: settings.drill.sample };
    const done = await rehearse({ ...request, open: () => openObject(store, key, { signal: context.signal, identities }) }, context);
    const reason = why === undefined ? {} : { reason: `${why}: the restored data directory was checked offline, which proves less` };
    return { store: store.name, id: backup.id, outcome: 'ok', level, ...reason, ...figuresOf(done) };
  } catch (thrown) {
    throw new DrillError(level, asError(thrown));
  } finally {
    await source.close();
  }
}

function figuresOf({ etcd, ...figures }: Rehearsed): Pick<DrillLine, 'recoveryMs' | 'revision' | 'keyCount' | 'sampled' | 'etcd'> {
  return { ...figures, ...(etcd === undefined ? {} : { etcd }) };
}

interface ScratchServer {
  readonly etcd: EtcdProgram | undefined;
  readonly minor: EtcdMinor;
  readonly why: string | undefined;
}

/**
 * An etcd that may start on it, and where none was named, why there is none.
 * @throws WardenError `refused` when the one that was named cannot be started on it; `usage`, `refused` when nothing can be built for its release either
 */
async function serverFor(from: string, configured: string | undefined, signal: AbortSignal): Promise<ScratchServer> {
  const backup = from === '' ? undefined : from;
  const found = await findEtcd(configured, signal);
  let why: string;
  if (typeof found === 'string') why = found;
  else {
    try {
      const { minor } = chooseMinor({ asked: found.minor, backup, head: undefined, installed: undefined });
      return { etcd: found, minor, why: undefined };
    } catch (error) {
      if (!(error instanceof WardenError)) throw error;
      why = error.message;
    }
  }
  // Whoever names one wants to see it start: less than that, silently, would be a drill that was never done.
  if (configured !== undefined)
    throw new WardenError('refused', `the etcd of this drill cannot be started: ${why}`, {
      hint: 'name another one with drill.etcd (--etcd); with none named and none on the PATH the files are checked offline, which proves less',
    });
  return { etcd: undefined, minor: chooseMinor({ asked: undefined, backup, head: undefined, installed: undefined }).minor, why };
}

/** Writes of a drill would stand in the way of the fsync of an etcd beside it, which can cost elections. */
async function refuseSharedDisk(folder: string, { dataDir, endpoints }: DrillSubject['settings']): Promise<void> {
  const beside = await dataDirBeside(folder, dataDir, endpoints);
  if (beside === undefined) return;
  throw new WardenError('refused', `${folder} is on the disk that holds etcd's data directory ${beside}`, {
    hint: 'name a folder on another disk with drill.folder, or allow it with drill.sharedDisk (--shared-disk)',
  });
}

async function record(line: DrillLine, { id, cluster }: Backup, stores: readonly Store[], context: JobContext): Promise<void> {
  const { store, outcome, reason, id: _, code: _code, level, ...figures } = line;
  const drill = level === undefined ? {} : { drill: { level, ...figures } };
  try {
    await writeCheck(
      stores,
      cluster,
      { kind: 'drill', id, store, outcome, ...drill, ...(reason === undefined ? {} : { reason }) },
      { tool: toolName, now: context.now(), random: randomBytes, signal: context.signal },
    );
  } catch (error) {
    context.signal.throwIfAborted();
    context.logger.warn({ id, store, err: asError(error) }, 'the drill was not recorded');
  }
}
