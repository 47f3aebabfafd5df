/**
 * One rehearsal: a restore of one member as `restore` makes it, an etcd that starts on it, and what that etcd answers. Nothing of it is left behind.
 *
 * Built natively, whatever builders there are: etcdutl is a program of the machine that is restored to, and what a drill proves must not depend on which machine
 * happens to hold it. Revisions are raised where a restore would raise them, so that what is rehearsed is what will be done.
 */
import { WardenError } from '../../errors.ts';
import type { RestoreRecord } from '../../format/restore-record.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { buildMembers } from '../build.ts';
import { newCluster, parseInitialCluster } from '../identity.ts';
import type { EtcdMinor, RestoreContext, RestoreSource } from '../types.ts';
import { Comparison } from './compare.ts';
import { makeDrillFolder } from './folder.ts';
import { checkOffline } from './offline.ts';
import type { EtcdProgram } from './program.ts';
import { sampleRecords } from './sample.ts';
import { startServer, type DrillServer } from './server.ts';

export interface RehearsalRequest {
  readonly source: RestoreSource;
  /** What to start, or undefined: then the files are checked offline. */
  readonly etcd: EtcdProgram | undefined;
  /** Release that is built for where no etcd is started. */
  readonly minor: EtcdMinor;
  /** Where the drill makes its folder. */
  readonly parent: string;
  /** Keys to compare. */
  readonly sample: number;
  /** Opens the backup for reads anywhere, past everything that restores. */
  readonly open: () => Promise<RandomAccess & { close(): Promise<void> }>;
}

export interface Rehearsed {
  readonly recoveryMs: number;
  readonly revision: string;
  readonly keyCount: number;
  readonly sampled: number;
  /** Release that was started. */
  readonly etcd: string | undefined;
}

/** Of a member that never meets another one; only ids follow from it. */
const INITIAL_CLUSTER = 'drill=https://127.0.0.1:2380';
/** The daemon ends a job that is silent for long, and HashKV of gigabytes is. */
const ALIVE_EVERY_MS = 30_000;

/**
 * @throws WardenError `verification-failed` and what else says that a backup is bad; `disk-full`, `key-missing`, `refused` and others when it could not be
 *   rehearsed; the signal's reason
 */
export async function rehearse(request: RehearsalRequest, context: RestoreContext): Promise<Rehearsed> {
  const { source, parent } = request;
  const folder = await makeDrillFolder(parent, source.databaseBytes);
  let said = 'restoring into a scratch folder';
  const alive = setInterval(() => context.progress({ step: 'drill', message: said }), ALIVE_EVERY_MS);
  try {
    return await inFolder(folder.path, request, context, (message) => {
      said = message;
      context.progress({ step: 'drill', message });
    });
  } finally {
    clearInterval(alive);
    await folder.remove();
  }
}

type Say = (message: string) => void;

async function inFolder(folder: string, request: RehearsalRequest, context: RestoreContext, say: Say): Promise<Rehearsed> {
  const { source, etcd } = request;
  const { signal } = context;
  const cluster = newCluster(parseInitialCluster(INITIAL_CLUSTER), `drill-${randomUUID()}`);
  const dataDir = join(folder, 'data');
  const startedMs = performance.now();
  say(`restoring ${source.name} into ${folder}`);
  const { record } = await buildMembers(
    {
      source,
      cluster,
      targets: [{ member: 'drill', dataDir, walDir: undefined }],
      content: { revision: undefined, only: [], without: [], defragmented: false, bump: 'auto' },
      minor: etcd?.minor ?? request.minor,
      builder: 'native',
      etcdutl: undefined,
      replace: false,
      owner: undefined,
      acceptSuspect: false,
      attempt: 1,
      scratchFolder: folder,
    },
    context,
  );
  compareWithManifest(record, source);
  const figures = { revision: record.revision, keyCount: record.keyCount };
  if (etcd === undefined) {
    say('checking the restored data directory');
    const options = { dataDir, cluster, minor: request.minor, record, scratchFolder: folder, encrypted: source.encrypted, signal };
    await checkOffline({ ...options, alive: () => {} });
    return { ...figures, recoveryMs: since(startedMs), sampled: 0, etcd: undefined };
  }
  say(`starting etcd ${etcd.version} on it`);
  const [member] = cluster.members;
  const server = await startServer({
    program: etcd,
    folder,
    dataDir,
    member: member!,
    databaseBytes: source.databaseBytes,
    signal,
    alive: () => {},
  });
  try {
    return { ...figures, ...(await ask(server, record, { request, startedMs, signal, say, progress: context.progress })) };
  } finally {
    await server.stop();
  }
}

interface Asking {
  readonly request: RehearsalRequest;
  readonly startedMs: number;
  readonly signal: AbortSignal;
  readonly say: Say;
  readonly progress: RestoreContext['progress'];
}

async function ask(
  server: DrillServer,
  record: RestoreRecord,
  asking: Asking,
): Promise<Pick<Rehearsed, 'recoveryMs' | 'sampled' | 'etcd'>> {
  const { request, startedMs, signal, say, progress } = asking;
  const comparison = new Comparison(server.access, record, { signal, progress });
  const answers = async (): Promise<Pick<Rehearsed, 'recoveryMs' | 'sampled' | 'etcd'>> => {
    say('comparing its answers with the restore record');
    const etcd = await comparison.record();
    await comparison.count();
    // This is where clients would be let in.
    const recoveryMs = since(startedMs);
    say('comparing values with the backup');
    const sampled = await compareValues(comparison, request, signal);
    await comparison.write();
    return { recoveryMs, sampled, etcd };
  };
  const asked = answers();
  try {
    return await Promise.race([asked, server.died]);
  } finally {
    // Calls that are under way end with the connection.
    comparison.close();
    await asked.catch(() => {});
  }
}

async function compareValues(comparison: Comparison, { open, sample }: RehearsalRequest, signal: AbortSignal): Promise<number> {
  if (sample === 0) return 0;
  const file = await open();
  let compared = 0;
  try {
    for await (const record of sampleRecords(file, sample, signal)) if (await comparison.value(record)) compared += 1;
  } finally {
    await file.close();
  }
  return compared;
}

/** The record was computed from what was built; the manifest was written when the backup was taken. */
function compareWithManifest(record: RestoreRecord, { backup, proof }: RestoreSource): void {
  const { manifest } = backup ?? {};
  if (manifest === undefined) return;
  const revision = record.raisedFrom ?? record.revision;
  if (revision !== manifest.revision) throw differs(`revision ${revision}, its manifest says ${manifest.revision}`);
  if (manifest.keyCount !== undefined && record.keyCount !== manifest.keyCount)
    throw differs(`${record.keyCount} keys, its manifest says ${manifest.keyCount}`);
  const comparable = proof !== undefined && record.raisedFrom === undefined && proof.compactRevision === record.compactRevision;
  if (comparable && proof.revision === record.revision && proof.hash !== record.hash)
    throw differs(`HashKV ${record.hash}, members answered ${proof.hash}`);
}

function differs(sentence: string): WardenError {
  return new WardenError('verification-failed', `what was restored has ${sentence}`, {
    hint: 'restore from another backup, and keep this one for whoever finds out why',
  });
}

function since(ms: number): number {
  return Math.round(performance.now() - ms);
}
