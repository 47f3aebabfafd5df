/**
 * The backup job: lock, choose, stream, check, prove, publish. The order of these steps is the promise that nothing half-written is ever
 * visible: data objects first and only after the trailer was right, the acceptance of a new generation next, the manifest last.
 */
import { randomBytes } from 'node:crypto';
import { writeAcceptance } from '../../catalog/facts.ts';
import { readCatalog } from '../../catalog/read.ts';
import { isImported, type Catalog } from '../../catalog/types.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { accessOf } from '../../etcd/access.ts';
import { chooseMembers } from '../../etcd/choose.ts';
import { observeCluster } from '../../etcd/cluster.ts';
import { openCoordination, type Coordination } from '../../etcd/coordination.ts';
import { hex } from '../../etcd/ids.ts';
import { collectAll } from '../../archive/young-garbage.ts';
import type { Candidate, ClusterAccess, ClusterView } from '../../etcd/types.ts';
import { newId } from '../../format/ids.ts';
import { dataKey } from '../../format/keys.ts';
import type { Manifest } from '../../format/types.ts';
import type { Head } from '../../mvcc/head.ts';
import type { Store } from '../../store/types.ts';
import { toolName } from '../../version.ts';
import { clusterOf, withStores } from '../stores.ts';
import type { BackupRequest, BackupResult, JobContext, StoreResult } from '../types.ts';
import type { AttemptResult } from './attempt.ts';
import { Destinations } from './destinations.ts';
import { exclude, sameCluster, type Exclusion } from './exclusion.ts';
import { belongsTo, seenOf, type Belonging } from './generation.ts';
import { composeManifest } from './manifest.ts';
import { streamFromMembers, type Streamed } from './members.ts';
import { BackupProof, type BackupVerdict } from './proof.ts';
import { publishEach } from './publish.ts';
import { sharedDeviceWarning } from './shared-device.ts';
import { neededBytes } from './space.ts';
import { checkSpool, spoolFolder } from './spool-folder.ts';

type Warning = BackupResult['warnings'][number];

/** What there is to publish. */
interface Taken {
  readonly streamed: Streamed;
  readonly belonging: Belonging;
  readonly verdict: BackupVerdict;
}

/**
 * Takes one backup of one cluster to all stores it is meant for.
 * @throws WardenError when no store has it; a result with `outcome: partial` when some have
 */
export async function runBackup(request: BackupRequest, context: JobContext): Promise<BackupResult> {
  const cluster = clusterOf(context.config, request.cluster);
  const deadline = AbortSignal.timeout(cluster.backup.timeoutMs);
  const signal = AbortSignal.any([context.signal, deadline]);
  return withStores(context.config, cluster.backup.stores, context.logger, async (stores) => {
    const access = accessOf(cluster);
    const coordination = cluster.coordinate
      ? openCoordination(access, { keyPrefix: cluster.keyPrefix, logger: context.logger })
      : undefined;
    try {
      return await new BackupRun(request, cluster, access, stores, coordination, { ...context, signal }, context.signal).run();
    } catch (error) {
      if (deadline.aborted && !context.signal.aborted) {
        throw new WardenError('timeout', `the backup of ${cluster.name} was not done after ${cluster.backup.timeoutMs / 1000} s`, {
          hint: 'raise backup.timeout, or look for what is slow in the log',
          cause: error,
        });
      }
      throw error;
    } finally {
      await coordination?.close();
    }
  });
}

/** State of one run; lives as long as it. */
class BackupRun {
  readonly #request: BackupRequest;
  readonly #cluster: ClusterConfig;
  readonly #access: ClusterAccess;
  readonly #stores: readonly Store[];
  readonly #destinations: Destinations;
  readonly #coordination: Coordination | undefined;
  /** Its signal is the caller's or the deadline, whichever comes first. */
  readonly #context: JobContext;
  readonly #told: AbortSignal;
  readonly #warnings: Warning[] = [];
  #exclusion: Exclusion | undefined;
  readonly #startedAt: Date;
  readonly #started = performance.now();

  constructor(
    request: BackupRequest,
    cluster: ClusterConfig,
    access: ClusterAccess,
    stores: readonly Store[],
    coordination: Coordination | undefined,
    context: JobContext,
    told: AbortSignal,
  ) {
    this.#request = request;
    this.#cluster = cluster;
    this.#access = access;
    this.#stores = stores;
    this.#destinations = new Destinations(stores, context.logger);
    this.#coordination = coordination;
    this.#context = context;
    this.#told = told;
    this.#startedAt = context.now();
  }

  async run(): Promise<BackupResult> {
    const { signal, logger } = this.#context;
    this.#progress('choose', 'asking the members');
    // The view and the lock do not need each other.
    const [view, exclusion] = await settleBoth(
      observeCluster(this.#access, { signal, logger }),
      exclude(this.#coordination, { purpose: `backup of ${this.#cluster.name}`, keyPrefix: this.#cluster.keyPrefix, signal, logger }),
      (held) => this.#release(held),
    );
    this.#exclusion = exclusion;
    try {
      sameCluster(exclusion, view.clusterId);
      for (const note of view.notes) this.#warn('cluster', note);
      this.#warnings.push(...exclusion.warnings);
      // Read under the lock: two first backups one after the other must see each other, or they would begin two histories.
      const catalog = await readCatalog(this.#stores, this.#cluster.name, { signal });
      this.#destinations.dropUnreachable(catalog);
      const belonging = belongsTo(catalog, view, this.#request, randomBytes);
      if (belonging.doubt !== undefined) this.#warn('history-unclear', belonging.doubt);
      if (await this.#slotServed(catalog)) return this.#skipped();
      return await this.#take({ ...this.#context, signal: AbortSignal.any([signal, exclusion.signal]) }, view, catalog, belonging);
    } finally {
      await this.#unlock();
    }
  }

  /** As soon as the members are left alone: others may want them while the index is built. */
  async #unlock(): Promise<void> {
    const exclusion = this.#exclusion;
    this.#exclusion = undefined;
    if (exclusion !== undefined) await this.#release(exclusion);
  }

  async #release(exclusion: Exclusion): Promise<void> {
    await exclusion
      .release()
      .catch((error: unknown) => this.#context.logger.warn({ err: asError(error) }, 'the lock was not released; it ends with its lease'));
  }

  async #take(context: JobContext, view: ClusterView, catalog: Catalog, belonging: Belonging): Promise<BackupResult> {
    const id = newId(this.#startedAt, randomBytes);
    const { recipients } = this.#cluster.encryption;
    const key = dataKey(this.#cluster.name, id, recipients.length > 0 ? 'age' : 'none');
    const candidates = chooseMembers(view, this.#cluster.member);
    const largest = Math.max(0, ...candidates.map((candidate) => candidate.status.dbSize));
    await this.#destinations.check(neededBytes(largest, lastSizes(belonging)), context.signal);
    const stores = this.#destinations.ready;
    const folder = await spoolFolder(stores, context.config.stateDir);
    await checkSpool(folder, neededBytes(largest, lastSizes(belonging)));
    const shared = await sharedDeviceWarning(
      folder,
      this.#cluster.dataDir,
      view.members.map((member) => member.endpoint),
    );
    if (shared !== undefined) this.#warn('shared-device', shared);
    const proof = new BackupProof({
      cluster: this.#cluster,
      access: this.#access,
      view,
      catalog,
      lineage: belonging.lineage,
      folder,
      coordination: this.#coordination,
      context,
    });
    let streamed: Streamed | undefined;
    try {
      streamed = await streamFromMembers(
        candidates,
        {
          cluster: this.#cluster.name,
          access: this.#access,
          key,
          spoolFolder: folder,
          stores,
          recipients,
          maxRate: this.#cluster.backup.maxRate,
          // The first message tells the exact size: the last moment to stop before anything was written.
          onTotal: (bytes) => checkSpool(folder, neededBytes(bytes, lastSizes(belonging))),
          judge: (head, candidate) => this.#checkRevision(head, candidate, view, belonging),
          onHead: (head) => proof.begin(head),
          settled: () => proof.settled(),
          warn: (code, message) => this.#warn(code, message),
        },
        context,
      );
      const verdict = await proof.finish(streamed.attempt);
      for (const { code, message } of verdict.warnings) this.#warn(code, message);
      return await this.#publish(context, id, key, { streamed, belonging, verdict });
    } finally {
      proof.close();
      await streamed?.attempt.dispose();
    }
  }

  async #publish(context: JobContext, id: string, key: string, taken: Taken): Promise<BackupResult> {
    const { signal, logger } = context;
    const { streamed, belonging } = taken;
    const manifest = this.#manifest(id, taken);
    if (belonging.accepts !== undefined) {
      // Before the manifest: a crash in between leaves an acceptance of a lineage without backups, which means nothing.
      await writeAcceptance(
        this.#stores,
        this.#cluster.name,
        { kind: 'accept', lineage: manifest.lineage, clusterId: manifest.clusterId, reason: belonging.accepts },
        { tool: toolName, now: context.now(), random: randomBytes, signal },
      );
    }
    this.#progress('publish', 'waiting for the stores');
    const published = await publishEach(streamed.attempt.uploads, {
      manifest,
      key,
      stores: this.#stores,
      logger,
      signal,
      progress: context.progress,
    });
    // Told to stop: what is published stays, and a later copy completes the rest; but this run did not do what it was asked. After the
    // deadline it did so for the stores that were quick enough, and says which.
    this.#told.throwIfAborted();
    const stores = this.#destinations.results(published);
    if (this.#request.slot !== undefined) await this.#recordSlot(this.#request.slot, manifest.id);
    const result = this.#result(manifest, stores, taken);
    const { revision, outcome, storedBytes, durationMs } = result;
    const provedBy = manifest.proof?.members;
    logger.info({ id, revision, outcome, storedBytes, durationMs, ...(provedBy === undefined ? {} : { provedBy }) }, 'backup published');
    await this.#unlock();
    await this.#index(manifest, streamed.attempt, stores);
    return result;
  }

  /** Out of the spool, where it is still open: a host that holds recipients only can never read the backup again. */
  async #index(manifest: Manifest, attempt: AttemptResult, results: readonly StoreResult[]): Promise<void> {
    const { encryption, index } = this.#cluster;
    const onlyNow = encryption.recipients.length > 0 && encryption.identity === undefined;
    if (!index.enabled || 'failure' in attempt.examined || (this.#request.index === 'later' && !onlyNow)) return;
    const { indexedApart, indexPublished } = await import('../index.ts');
    const facts = { plainBytes: manifest.plain.bytes, stores: results };
    if (this.#request.index === 'apart' && indexedApart(facts, this.#cluster, this.#context.config)) return;
    const holding = this.#stores.filter(({ name }) => results.some(({ store, outcome }) => store === name && outcome === 'stored'));
    // Nobody asks for a hash any more, and the sort needs the room.
    await attempt.forget();
    collectAll();
    for (const { store, error } of await indexPublished(manifest, attempt.file, holding, encryption.recipients, this.#context)) {
      if (error !== undefined) this.#warn('no-index', `${store} has no key index of this backup: ${error.message}`);
    }
  }

  #manifest(id: string, { streamed, belonging, verdict }: Taken): Manifest {
    const { attempt, candidate, marks, clusterIdAtEnd } = streamed;
    const suspect = suspicion(candidate, attempt) ?? verdict.suspect;
    if (suspect !== undefined) this.#context.logger.error({ id, reason: suspect }, 'the backup is suspect');
    const { clusterId } = candidate.status;
    if (clusterIdAtEnd !== clusterId)
      this.#warn('cluster-id-changed', `the cluster id changed during the stream, from ${hex(clusterId)} to ${hex(clusterIdAtEnd)}`);
    this.#context.logger.info(
      { revision: String(attempt.head.revision), bytes: attempt.sealed.plainBytes, streamMs: Math.round(attempt.streamMs) },
      'snapshot checked',
    );
    return composeManifest({
      id,
      cluster: this.#cluster.name,
      startedAt: this.#startedAt,
      label: this.#request.label ?? this.#cluster.backup.label,
      belonging,
      candidate,
      clusterIdAtEnd,
      marks,
      sealed: attempt.sealed,
      head: attempt.head,
      keyCount: 'failure' in attempt.examined ? undefined : attempt.examined.keyCount,
      storageVersion: attempt.storageVersion,
      streamMs: attempt.streamMs,
      totalMs: performance.now() - this.#started,
      stores: this.#cluster.backup.stores,
      warnings: this.#warnings,
      suspect,
      verdict,
    });
  }

  #result(manifest: Manifest, stores: readonly StoreResult[], { streamed, belonging, verdict }: Taken): BackupResult {
    const { candidate } = streamed;
    const { keyCount, proof, unproved, disagreement } = manifest;
    return {
      outcome: stores.every((store) => store.outcome === 'stored') ? 'complete' : 'partial',
      id: manifest.id,
      cluster: manifest.cluster,
      revision: manifest.revision,
      compactRevision: manifest.compactRevision,
      plainBytes: manifest.plain.bytes,
      storedBytes: manifest.stored.bytes,
      durationMs: Math.round(performance.now() - this.#started),
      member: candidate.status.name || candidate.status.endpoint,
      role: candidate.status.role,
      stores,
      warnings: this.#warnings,
      ...(manifest.suspect === undefined ? {} : { suspect: manifest.suspect }),
      ...(keyCount === undefined ? {} : { keyCount }),
      ...(proof === undefined ? {} : { proof }),
      ...(unproved === undefined ? {} : { unproved }),
      ...(disagreement === undefined ? {} : { disagreement }),
      ...(verdict.stall === undefined ? {} : { stall: verdict.stall }),
      ...(belonging.opens === undefined
        ? {}
        : {
            newGeneration: {
              lineage: manifest.lineage,
              reason: belonging.opens,
              accepted: belonging.announced || belonging.accepts !== undefined,
            },
          }),
    };
  }

  /** A member that lags serves an old snapshot without a word: seen here, where the true revision is known. */
  #checkRevision({ revision }: Head, { status }: Candidate, view: ClusterView, { parent }: Belonging): void {
    if (revision < status.revision) {
      throw new WardenError(
        'verification-failed',
        `the snapshot of ${status.endpoint} holds revision ${revision}, but the member had shown ${status.revision} before`,
        {
          hint: 'the member went back in time or its database is damaged; back up another one with --member',
        },
      );
    }
    const highest = seenOf(view).revision;
    if (revision < highest)
      this.#warn('lagging-member', `the snapshot holds revision ${revision}, another member had shown ${highest} before`);
    if (parent !== undefined && revision < BigInt(parent.manifest.revision)) {
      this.#warn('older-than-last', `revision ${revision} is below ${parent.manifest.revision} of the last backup ${parent.id}`);
    }
  }

  /** By a backup in the stores, or by etcd's record where the stores do not show it (yet). */
  async #slotServed(catalog: Catalog): Promise<boolean> {
    const { slot } = this.#request;
    if (slot === undefined) return false;
    const [slotMs, nowMs] = [Date.parse(slot), this.#context.now().getTime()];
    // A crash between publishing and recording leaves no record. A backup dated in the future says nothing about this slot.
    const own = catalog.backups.filter((backup) => !isImported(backup));
    if (own.some(({ timeMs, state }) => state !== 'damaged' && timeMs >= slotMs && timeMs <= nowMs)) return true;
    if (this.#coordination === undefined) return false;
    return this.#coordination.slotServed(slot, this.#context.signal).catch((error: unknown) => {
      // Without quorum nobody can tell: a second backup is better than none.
      this.#warn('slot-unknown', `whether another daemon served this slot is not known: ${asError(error).message}`);
      return false;
    });
  }

  async #recordSlot(slot: string, id: string): Promise<void> {
    await this.#coordination
      ?.recordSlot(slot, id, this.#told)
      .catch((error: unknown) => this.#context.logger.warn({ err: asError(error) }, 'the slot was not recorded in etcd'));
  }

  #skipped(): BackupResult {
    const none = {
      id: '',
      revision: '',
      compactRevision: '',
      plainBytes: 0,
      storedBytes: 0,
      durationMs: 0,
      member: '',
      role: '',
      stores: [],
    };
    return { outcome: 'skipped', cluster: this.#cluster.name, ...none, warnings: this.#warnings };
  }

  #progress(step: string, message: string): void {
    this.#context.progress({ step, message });
  }

  #warn(code: string, message: string): void {
    this.#warnings.push({ code, message });
    this.#context.logger.warn({ code }, message);
  }
}

function lastSizes({ parent }: Belonging): { plainBytes: number; storedBytes: number } | undefined {
  return parent === undefined ? undefined : { plainBytes: parent.manifest.plain.bytes, storedBytes: parent.manifest.stored.bytes };
}

/**
 * CORRUPT armed for the member, or for it inside the file: the backup is kept and named suspect; retention protects the last one that is not.
 * Every member's file lists the alarms of all, and one that names another member says nothing against this one's data.
 */
function suspicion({ status, suspect }: Candidate, { head }: AttemptResult): string | undefined {
  if (suspect !== undefined) return suspect;
  const armed = head.alarms.some(({ type, memberId }) => type === 'CORRUPT' && (memberId === 0n || memberId === status.memberId));
  return armed ? 'the CORRUPT alarm is armed in the snapshot itself' : undefined;
}

/** Both, or the first failure once the other has ended too, so that nothing goes on behind a caller's back; what `b` got is then given up. */
async function settleBoth<A, B>(a: Promise<A>, b: Promise<B>, giveUp: (b: B) => Promise<void>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b]);
  if (first.status === 'rejected') {
    if (second.status === 'fulfilled') await giveUp(second.value);
    throw first.reason;
  }
  return [first.value, await b];
}
