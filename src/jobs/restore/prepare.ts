/** Everything of a restore that is decided before a byte is written: what it starts from, what it makes, and whatever speaks against it. */
import { readdir } from 'node:fs/promises';
import { TRAILER_LENGTH } from '../../archive/intake.ts';
import type { Backup, Catalog } from '../../catalog/types.ts';
import { WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import type { ClusterAccess } from '../../etcd/types.ts';
import { openCopies } from '../../inspect/copies.ts';
import { requireKnownSchema } from '../../mvcc/schema.ts';
import { requireRevision } from '../../mvcc/state.ts';
import { chooseBuilder } from '../../restore/builder/choose.ts';
import { checkTargets } from '../../restore/directory/check.ts';
import { deriveToken, newCluster } from '../../restore/identity.ts';
import { refuseLiveCluster } from '../../restore/live.ts';
import { isOfThisMachine } from '../../restore/live-ask.ts';
import { detectPlatform, type DetectedPlatform } from '../../restore/plan/platform.ts';
import type { Builder, BuildRequest, BuildTarget, Content, Platform, RestoreSource } from '../../restore/types.ts';
import type { Store } from '../../store/types.ts';
import { databaseOf } from '../plain-pass.ts';
import { scratchFolder } from '../scratch-folder.ts';
import type { JobContext } from '../types.ts';
import { madeBefore } from './before.ts';
import { chooseBackup, type Chosen, type SourceWish } from './choose.ts';
import { glimpse, type Glimpse } from './glimpse.ts';
import { installedEtcd, ownerOf } from './programs.ts';
import { sourceOfBackup, sourceOfFile } from './source.ts';
import { PLACEHOLDER, resolveMembers, resolveTargets, type MembersWish, type ResolvedMembers } from './targets.ts';
import { chooseMinor, type ChosenMinor } from './versions.ts';

/** A restore as somebody asked for it. */
export interface RestoreOrder {
  /** The path of a plain file, or what is wanted of the catalogue. */
  readonly source: { readonly file: string; readonly revision: bigint | undefined } | SourceWish;
  /** Name of the only store to read from. */
  readonly store: string | undefined;
  readonly members: MembersWish;
  /** `--initial-cluster-token`. */
  readonly token: string | undefined;
  /** From 1. */
  readonly attempt: number;
  /** With `{member}` for the name; undefined = where etcdutl or the platform has it. */
  readonly dataDir: string | undefined;
  readonly walDir: string | undefined;
  /** Paths are relative to it. */
  readonly folder: string;
  /** The revision is decided with the source. */
  readonly content: Omit<Content, 'revision'>;
  readonly etcdVersion: string | undefined;
  readonly builder: 'auto' | Builder;
  readonly etcdutl: string | undefined;
  readonly platform: 'auto' | Platform;
  readonly replace: boolean;
  /** `USER[:GROUP]`. */
  readonly owner: string | undefined;
  readonly acceptSuspect: boolean;
}

/** What it may be read from and asked. */
export interface RestoreInputs {
  /** Empty, and no catalogue, for a file. */
  readonly stores: readonly Store[];
  readonly catalog: Catalog | undefined;
  readonly identities: readonly string[] | undefined;
  /** Of what runs now. */
  readonly access: ClusterAccess | undefined;
}

export interface PreparedRestore {
  readonly request: BuildRequest;
  readonly chosen: Chosen | undefined;
  /** Undefined when the backup could not be looked into before it is read. */
  readonly seen: Glimpse | undefined;
  readonly minor: ChosenMinor;
  /** As it will be chosen, as far as that is known. */
  readonly builder: { readonly name: Builder; readonly reason: string };
  readonly platform: DetectedPlatform;
  /** Of every member, on whatever machine. */
  readonly everyTarget: readonly PlannedTarget[];
  /** Sentences for people. */
  readonly notes: readonly string[];
  /** What stands in its way as things are now: each of these ends a restore before anything is touched. */
  readonly refusals: readonly WardenError[];
  close(): Promise<void>;
}

/** `occupied`: something stands there; undefined on other machines. */
export type PlannedTarget = BuildTarget & { readonly here: boolean; readonly occupied: boolean | undefined };

const KUBEADM_DATA_DIR = '/var/lib/etcd';

/** Names are looked up so long. */
const LOOKUP_MS = 2_000;

/** Whoever gets it closes it. @throws WardenError for what can be wrong with the order itself, and when nothing answers it */
export async function prepareRestore(order: RestoreOrder, inputs: RestoreInputs, context: JobContext): Promise<PreparedRestore> {
  const { signal } = context;
  const members = resolveMembers(order.members);
  // It takes a program's start, in which the backup can be looked into.
  const asked = installedEtcd(signal);
  asked.catch(() => undefined); // told where it is waited for, unless something else ends this first
  const [platform, owner] = await Promise.all([
    order.platform === 'auto' ? detectPlatform(signal) : named(order.platform),
    order.owner === undefined ? undefined : ownerOf(order.owner, signal),
  ]);
  const dataDir = order.dataDir ?? usualDataDir(platform, order.members.planOnly);
  const targets = resolveTargets(members.names, dataDir, order.walDir, order.folder);
  const opened = await openSource(order, inputs, context);
  const { source, chosen, seen } = opened;
  try {
    requireKnownSchema(seen?.head ?? source.backup?.manifest ?? {}, 'a data directory');
    const installed = await asked;
    const minor = chooseMinor({ asked: order.etcdVersion, backup: source.backup?.manifest.etcdVersion, head: seen?.head, installed });
    const content: Content = { ...order.content, revision: opened.revision };
    const { initialCluster } = members;
    const token = order.token ?? deriveToken({ identity: source.identity, initialCluster, attempt: order.attempt, content });
    const cluster = newCluster(initialCluster, token);
    context.progress({ step: 'look', message: 'looking who answers at the peer URLs' });
    // Where nobody insists on etcdutl, too little room for the file that it reads is a reason to build natively.
    const plainFile = order.builder === 'etcdutl';
    // A plan says `--replace` where it is needed.
    const replace = order.replace || order.members.planOnly;
    const space = { neededBytes: source.databaseBytes, replace, owner, plainFile, signal };
    const [alive, builder, everywhere, room] = await Promise.all([
      attempt(() => refuseLiveCluster({ cluster, targets: members.names, access: inputs.access, signal }), { notes: [], running: false }),
      chooseBuilder(
        { builder: order.builder, etcdutl: order.etcdutl, minor: minor.minor, content, ...needs(content, source, seen) },
        signal,
      ),
      everyTarget(order, members, dataDir, signal),
      attempt(() => checkTargets(targets, space), undefined),
    ]);
    const before = madeBefore(inputs.catalog ?? { backups: [], acceptances: [] }, {
      clusterId: hex(cluster.clusterId),
      attempt: order.attempt,
      // What is refused for what runs need not be refused twice.
      running: alive.value.running || alive.refusal !== undefined,
      tokenGiven: order.token !== undefined,
      now: context.now(),
    });
    const distrust = order.acceptSuspect ? undefined : whyDistrusted(source, seen);
    const foreign = order.members.planOnly || order.dataDir !== undefined ? undefined : whyNotHere(platform.platform);
    const assumed = order.members.planOnly && order.dataDir === undefined ? assumedPlaces(platform) : [];
    return {
      request: {
        source,
        cluster,
        targets,
        content,
        minor: minor.minor,
        builder: order.builder,
        etcdutl: order.etcdutl,
        replace: order.replace,
        owner,
        acceptSuspect: order.acceptSuspect,
        attempt: order.attempt,
        scratchFolder: scratchFolder(context.config),
      },
      chosen,
      seen,
      minor,
      builder,
      platform,
      everyTarget: everywhere,
      notes: [...(chosen?.notes ?? []), ...assumed, ...opened.notes, ...minor.notes, ...before.notes, ...alive.value.notes],
      refusals: [distrust, foreign, alive.refusal, before.refusal, room.refusal].filter((each) => each !== undefined),
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function named(platform: Platform): DetectedPlatform {
  return { platform, reason: 'it was named' };
}

/** A restore without `--data-dir` writes where etcdutl would; only a plan, which writes nothing, speaks of the directory that a unit names. */
function usualDataDir({ platform, dataDir }: DetectedPlatform, planOnly: boolean): string {
  if (platform === 'kubeadm') return dataDir ?? KUBEADM_DATA_DIR;
  return (planOnly ? dataDir : undefined) ?? `${PLACEHOLDER}.etcd`;
}

/** An etcd that is started on another directory than the one that was restored serves what it had before. */
function assumedPlaces({ platform, dataDir }: DetectedPlatform): string[] {
  if (dataDir !== undefined || (platform !== 'systemd' && platform !== 'plain')) return [];
  return [
    'nothing tells where the members have their data: the plan puts each into NAME.etcd in this folder; say --data-dir, and --wal-dir where etcd has one',
  ];
}

/** What was refused, beside everything else that may be: a plan shows all of it. */
async function attempt<Value>(
  look: () => Promise<Value>,
  otherwise: Value,
): Promise<{ readonly value: Value; readonly refusal: WardenError | undefined }> {
  try {
    return { value: await look(), refusal: undefined };
  } catch (error) {
    if (!(error instanceof WardenError) || error.code === 'interrupted') throw error;
    return { value: otherwise, refusal: error };
  }
}

function needs(content: Content, source: RestoreSource, seen: Glimpse | undefined): { readonly bump: boolean; readonly alarms: boolean } {
  return {
    bump: typeof content.bump === 'object' || (content.bump === 'auto' && source.kubernetes === true),
    alarms: seen !== undefined && seen.head.alarms.length > 0,
  };
}

function whyDistrusted({ backup, name }: RestoreSource, seen: Glimpse | undefined): WardenError | undefined {
  const corrupt = seen?.head.alarms.some(({ type }) => type === 'CORRUPT') === true;
  const why = backup?.suspect ?? (corrupt ? 'the alarm CORRUPT was armed in the cluster that it is of' : undefined);
  if (why === undefined) return undefined;
  return new WardenError('refused', `${name} is suspect: ${why}`, {
    hint: 'another backup may be sound (`etcd-warden list`); --accept-suspect restores this one all the same',
  });
}

/** Their servers make their own data directories; one that is named is meant. */
function whyNotHere(platform: Platform): WardenError | undefined {
  if (platform !== 'rke2' && platform !== 'k3s') return undefined;
  return new WardenError(
    'refused',
    `on ${platform} a backup is restored by its own cluster-reset, not by a data directory that is made here`,
    {
      hint: '`--plan` prints the steps; --data-dir makes a directory all the same, for a plain etcd',
    },
  );
}

interface OpenedSource {
  readonly source: RestoreSource;
  readonly chosen: Chosen | undefined;
  readonly seen: Glimpse | undefined;
  readonly revision: bigint | undefined;
  readonly notes: readonly string[];
}

async function openSource(order: RestoreOrder, inputs: RestoreInputs, context: JobContext): Promise<OpenedSource> {
  const { stores, catalog, identities } = inputs;
  if ('file' in order.source) {
    const { file, revision } = order.source;
    const source = await sourceOfFile(file, identities, context);
    const held = source.seen.head;
    const notes = source.trailer
      ? []
      : [
          `${file} has no trailer, so nothing tells whether its bytes are those that etcd wrote: every page and record is looked at all the same`,
        ];
    try {
      if (revision !== undefined) requireRevision(held, revision);
    } catch (error) {
      await source.close();
      throw error;
    }
    return { source, chosen: undefined, seen: source.seen, revision: revision === held.revision ? undefined : revision, notes };
  }
  if (catalog === undefined) throw new WardenError('usage', 'no store is named to look for a backup in', { hint: 'name one with --from' });
  const chosen = chooseBackup(order.store === undefined ? catalog : onStore(catalog, order.store), order.source, context.now());
  const { backup } = chosen;
  const { seen, notes } = await lookInto(backup, order, inputs, context);
  const source = sourceOfBackup(backup, stores, identities, context, { store: order.store, kubernetes: seen?.kubernetes });
  return { source, chosen, seen, revision: chosen.revision, notes };
}

/** What there is when only one store is read from. */
function onStore(catalog: Catalog, store: string): Catalog {
  const backups = catalog.backups
    .map((backup) => ({ ...backup, copies: backup.copies.filter((copy) => copy.store === store) }))
    .filter(({ copies }) => copies.length > 0);
  return { ...catalog, backups, unreachable: catalog.unreachable.filter((each) => each.store === store) };
}

/** A few pages of it. A copy that cannot be read now may be read from another store later on: the pass that builds says what is wrong. */
async function lookInto(
  backup: Backup,
  { store }: RestoreOrder,
  { stores, identities }: RestoreInputs,
  { signal }: JobContext,
): Promise<{ readonly seen: Glimpse | undefined; readonly notes: readonly string[] }> {
  const notes: string[] = [];
  try {
    const snapshot = await openCopies(backup, { stores, identities, signal, store, note: (sentence) => void notes.push(sentence) });
    try {
      const database = databaseOf(snapshot.file, { databaseBytes: snapshot.file.size - TRAILER_LENGTH });
      return { seen: await glimpse(database, signal), notes };
    } finally {
      await snapshot.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof WardenError) || error.code === 'key-missing' || error.code === 'nothing-found') throw error;
    return { seen: undefined, notes: [...notes, `${backup.id} could not be looked into: ${error.message}`] };
  }
}

async function everyTarget(
  { walDir, folder }: RestoreOrder,
  { initialCluster, names }: ResolvedMembers,
  dataDir: string,
  signal: AbortSignal,
): Promise<PlannedTarget[]> {
  return Promise.all(
    [...initialCluster].map(async ([member, urls]) => {
      const [target] = resolveTargets([member], dataDir, walDir, folder);
      // On other machines a relative path would be relative to who knows what; it is shown as it is here.
      const here = names.includes(member) || (await isOfThisMachine(urls[0]!, { signal, patienceMs: LOOKUP_MS }));
      const entries = here ? await readdir(target!.dataDir).catch(() => []) : undefined;
      return { ...target!, here, occupied: entries === undefined ? undefined : entries.length > 0 };
    }),
  );
}
