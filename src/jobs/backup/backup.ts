/**
 * The backup job: lock, choose, stream, check, publish. The order of these steps is the promise that nothing half-written is ever
 * visible: data objects first and only after the trailer was right, the acceptance of a new generation next, the manifest last.
 */
import { randomBytes } from 'node:crypto';
import { readCatalog } from '../../catalog/read.ts';
import { writeAcceptance } from '../../catalog/facts.ts';
import type { Catalog } from '../../catalog/types.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { accessOf } from '../../etcd/access.ts';
import { chooseMembers } from '../../etcd/choose.ts';
import { observeCluster } from '../../etcd/cluster.ts';
import { openCoordination, type Coordination } from '../../etcd/coordination.ts';
import { hex } from '../../etcd/ids.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { Candidate, ClusterAccess, ClusterView } from '../../etcd/types.ts';
import { newId } from '../../format/ids.ts';
import { dataKey } from '../../format/keys.ts';
import type { Manifest } from '../../format/types.ts';
import { temporaryName } from '../../store/temporary.ts';
import type { Store } from '../../store/types.ts';
import { toolName } from '../../version.ts';
import { clusterOf, withStores } from '../stores.ts';
import type { BackupRequest, BackupResult, JobContext, StoreResult } from '../types.ts';
import { attemptBackup, StreamFailed, type AttemptResult } from './attempt.ts';
import { confirmStored } from './confirm.ts';
import { exclude } from './exclusion.ts';
import { belongsTo, seenOf, type Belonging } from './generation.ts';
import { composeManifest } from './manifest.ts';
import { publish } from './publish.ts';
import { sharedDeviceWarning } from './shared-device.ts';
import { neededBytes } from './space.ts';
import { spoolFolder } from './spool-folder.ts';

type Warning = BackupResult['warnings'][number];

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
      return await new BackupRun(request, cluster, access, stores, coordination, { ...context, signal }).run();
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
  readonly #coordination: Coordination | undefined;
  readonly #context: JobContext;
  readonly #warnings: Warning[] = [];
  readonly #startedAt: Date;
  readonly #started = performance.now();

  constructor(
    request: BackupRequest,
    cluster: ClusterConfig,
    access: ClusterAccess,
    stores: readonly Store[],
    coordination: Coordination | undefined,
    context: JobContext,
  ) {
    this.#request = request;
    this.#cluster = cluster;
    this.#access = access;
    this.#stores = stores;
    this.#coordination = coordination;
    this.#context = context;
    this.#startedAt = context.now();
  }

  async run(): Promise<BackupResult> {
    const { signal, logger } = this.#context;
    this.#progress('choose', 'asking the members');
    // The view and the catalogue do not need each other: one waits on etcd, the other on the stores.
    const [view, catalog] = await settleBoth(
      observeCluster(this.#access, { signal, logger }),
      readCatalog(this.#stores, this.#cluster.name, { signal }),
    );
    for (const note of view.notes) this.#warn('cluster', note);
    const usable = this.#usableStores(catalog);
    const belonging = belongsTo(catalog, view, this.#request, randomBytes);
    if (belonging.doubt !== undefined) this.#warn('history-unclear', belonging.doubt);
    const candidates = chooseMembers(view, this.#cluster.member);
    const exclusion = await exclude(this.#coordination, { purpose: `backup of ${this.#cluster.name}`, signal, logger });
    try {
      this.#warnings.push(...exclusion.warnings);
      if (await this.#slotServed()) return this.#skipped();
      const inner: JobContext = { ...this.#context, signal: AbortSignal.any([signal, exclusion.signal]) };
      return await this.#take(inner, view, candidates, usable, belonging);
    } finally {
      await exclusion
        .release()
        .catch((error: unknown) => logger.warn({ err: asError(error) }, 'the lock was not released; it ends with its lease'));
    }
  }

  async #take(
    context: JobContext,
    view: ClusterView,
    candidates: readonly Candidate[],
    stores: readonly Store[],
    belonging: Belonging,
  ): Promise<BackupResult> {
    const id = newId(this.#startedAt, randomBytes);
    const folder = await spoolFolder(stores, context.config.stateDir);
    const shared = await sharedDeviceWarning(folder, this.#cluster.dataDir);
    if (shared !== undefined) this.#warn('shared-device', shared);
    const ready = await this.#checkStores(stores, candidates, belonging);
    const { candidate, attempt, mark, clusterIdAtEnd, markAfter } = await this.#stream(context, candidates, {
      id,
      folder,
      stores: ready,
      belonging,
    });
    try {
      this.#checkRevision(attempt, candidate, view, belonging);
      context.logger.info(
        { revision: String(attempt.head.revision), bytes: attempt.sealed.plainBytes, streamMs: Math.round(attempt.streamMs) },
        'snapshot checked',
      );
      const results = await confirmStored(attempt.stores, {
        ...attempt.sealed,
        key: this.#key(id),
        stores: ready,
        signal: context.signal,
        onWarning: (message) => this.#warn('store', message),
      });
      if (!results.some((result) => result.outcome === 'stored')) throw this.#noStoreHasIt([...results, ...this.#failedEarly(ready)]);
      if (clusterIdAtEnd !== candidate.status.clusterId)
        this.#warn(
          'cluster-id-changed',
          `the cluster id changed during the stream, from ${hex(candidate.status.clusterId)} to ${hex(clusterIdAtEnd)}`,
        );
      const manifest = composeManifest({
        id,
        cluster: this.#cluster.name,
        startedAt: this.#startedAt,
        label: this.#request.label ?? this.#cluster.backup.label,
        belonging,
        candidate,
        clusterIdAtEnd,
        marks: [mark, markAfter],
        sealed: attempt.sealed,
        head: attempt.head,
        storageVersion: attempt.storageVersion,
        streamMs: attempt.streamMs,
        totalMs: performance.now() - this.#started,
        stores: this.#cluster.backup.stores,
        warnings: this.#warnings,
        suspect: suspicion(candidate, attempt),
      });
      return await this.#publish(context, manifest, [...results, ...this.#failedEarly(ready)], candidate, belonging);
    } finally {
      await attempt.dispose();
    }
  }

  /** Tries the members in order; a failed stream goes on with the next, everything else ends the run. */
  async #stream(
    context: JobContext,
    candidates: readonly Candidate[],
    plan: { id: string; folder: string; stores: readonly Store[]; belonging: Belonging },
  ) {
    const failures: string[] = [];
    for (const [index, candidate] of candidates.entries()) {
      const client = new MemberClient(this.#access, candidate.status.endpoint);
      try {
        const mark = { time: context.now().toISOString(), revision: String(candidate.status.revision) };
        for (const reason of candidate.secondRate) this.#warn('second-rate-member', reason);
        if (candidate.status.alarms.some((alarm) => alarm.type === 'NOSPACE'))
          this.#warn('nospace-armed', 'a NOSPACE alarm is armed: the cluster refuses writes');
        context.logger.info(
          { member: candidate.status.name, endpoint: candidate.status.endpoint, role: candidate.status.role, revision: mark.revision },
          'member chosen',
        );
        const attempt = await attemptBackup({
          client,
          member: candidate.status.name || candidate.status.endpoint,
          key: this.#key(plan.id),
          spoolFolder: plan.folder,
          spoolName: temporaryName(),
          stores: plan.stores,
          recipients: this.#cluster.encryption.recipients,
          expectedBytes: candidate.status.dbSize,
          maxRate: this.#cluster.backup.maxRate,
          onTotal: async (bytes) => this.#checkRoom(bytes, plan.stores, plan.belonging),
          onProgress: context.progress,
          logger: context.logger,
          signal: context.signal,
        });
        const after = await client.status(context.signal).catch((error: unknown) => {
          // The stream was whole, so the backup stands; only the second mark is poorer for it.
          this.#warn('member-gone', `${candidate.status.endpoint} did not answer after the stream: ${asError(error).message}`);
          return candidate.status;
        });
        return {
          candidate,
          attempt,
          mark,
          clusterIdAtEnd: after.clusterId,
          markAfter: { time: context.now().toISOString(), revision: String(after.revision) },
        };
      } catch (error) {
        if (!(error instanceof StreamFailed)) throw error;
        failures.push(`${candidate.status.endpoint}: ${error.message}`);
        this.#warn('member-failed', `${candidate.status.name || candidate.status.endpoint} failed during the stream: ${error.message}`);
        if (index === candidates.length - 1) {
          throw new WardenError(
            error.cause instanceof WardenError ? error.cause.code : 'failed',
            `no member delivered a whole snapshot: ${failures.join('; ')}`,
            {
              hint: error.cause instanceof WardenError ? error.cause.hint : 'see `etcd-warden status`; nothing of this run is visible',
              cause: error.cause,
            },
          );
        }
      } finally {
        client.close();
      }
    }
    throw new WardenError('failed', `no member of ${this.#cluster.name} can be asked for a snapshot`, { hint: 'see `etcd-warden status`' });
  }

  async #publish(
    context: JobContext,
    manifest: Manifest,
    results: readonly StoreResult[],
    candidate: Candidate,
    belonging: Belonging,
  ): Promise<BackupResult> {
    const { signal, logger } = context;
    if (belonging.opens !== undefined && this.#request.acceptCluster) {
      // Before the manifest: a crash in between leaves an acceptance of a lineage without backups, which means nothing.
      await writeAcceptance(
        this.#stores,
        this.#cluster.name,
        { kind: 'accept', lineage: manifest.lineage, clusterId: manifest.clusterId, reason: belonging.opens },
        { tool: toolName, now: context.now(), random: randomBytes, signal },
      );
    }
    this.#progress('publish', 'writing the manifest');
    const published = await publish(manifest, this.#stores, results, { signal, logger });
    const stored = published.filter((result) => result.outcome === 'stored').length;
    if (stored === 0) throw this.#noStoreHasIt(published);
    if (this.#request.slot !== undefined) await this.#recordSlot(this.#request.slot, manifest.id);
    const result: BackupResult = {
      outcome: stored === this.#cluster.backup.stores.length ? 'complete' : 'partial',
      id: manifest.id,
      cluster: manifest.cluster,
      revision: manifest.revision,
      compactRevision: manifest.compactRevision,
      plainBytes: manifest.plain.bytes,
      storedBytes: manifest.stored.bytes,
      durationMs: Math.round(performance.now() - this.#started),
      member: candidate.status.name || candidate.status.endpoint,
      role: candidate.status.role,
      stores: inOrder(published, this.#cluster.backup.stores),
      warnings: this.#warnings,
      ...(manifest.suspect === undefined ? {} : { suspect: manifest.suspect }),
      ...(belonging.opens === undefined ? {} : { newGeneration: { lineage: manifest.lineage, reason: belonging.opens } }),
    };
    logger.info(
      { id: result.id, revision: result.revision, outcome: result.outcome, storedBytes: result.storedBytes, durationMs: result.durationMs },
      'backup published',
    );
    return result;
  }

  /** Stores that answered; those that did not are results of their own, and the backup goes on without them. */
  #usableStores(catalog: Catalog): readonly Store[] {
    const unreachable = new Map(catalog.unreachable.map((entry) => [entry.store, entry.error]));
    const usable = this.#stores.filter((store) => !unreachable.has(store.name));
    for (const [store, error] of unreachable) this.#early.set(store, error);
    if (usable.length === 0) throw this.#noStoreHasIt(this.#failedEarly([]));
    return usable;
  }

  readonly #early = new Map<string, Error>();

  async #checkStores(stores: readonly Store[], candidates: readonly Candidate[], belonging: Belonging): Promise<readonly Store[]> {
    const bytes = neededBytes(Math.max(0, ...candidates.map((candidate) => candidate.status.dbSize)), lastSizes(belonging));
    const ready: Store[] = [];
    for (const store of stores) {
      try {
        await store.check(bytes, { signal: this.#context.signal });
        ready.push(store);
      } catch (error) {
        this.#context.signal.throwIfAborted();
        this.#early.set(store.name, asError(error));
        this.#context.logger.error({ store: store.name, err: asError(error) }, 'the store cannot take a backup');
      }
    }
    if (ready.length === 0) throw this.#noStoreHasIt(this.#failedEarly([]));
    return ready;
  }

  /** The first message has told the exact size: the last moment to stop before anything was written. */
  async #checkRoom(plainBytes: number, stores: readonly Store[], belonging: Belonging): Promise<void> {
    const bytes = neededBytes(plainBytes, lastSizes(belonging));
    for (const store of stores) if (store.kind === 'local') await store.check(bytes, { signal: this.#context.signal });
  }

  #failedEarly(ready: readonly Store[]): StoreResult[] {
    return [...this.#early]
      .filter(([name]) => !ready.some((store) => store.name === name))
      .map(([store, error]) => ({
        store,
        outcome: 'failed',
        error: {
          code: error instanceof WardenError ? error.code : 'failed',
          message: error.message,
          ...(error instanceof WardenError ? { hint: error.hint } : {}),
        },
      }));
  }

  #noStoreHasIt(results: readonly StoreResult[]): WardenError {
    const first = results.find((result) => result.error !== undefined)?.error;
    const sentence = results.map((result) => `${result.store}: ${result.error?.message ?? 'failed'}`).join('; ');
    const early = [...this.#early.values()].find((error) => error instanceof WardenError);
    const code = early instanceof WardenError ? early.code : 'failed';
    return new WardenError(code, `no store took the backup: ${sentence}`, {
      hint: first?.hint ?? 'nothing of this run is visible; the next run tries again',
    });
  }

  /** A member that lags serves an old snapshot without a word (hazards 6.3): seen here, where the true revision is known. */
  #checkRevision(attempt: AttemptResult, candidate: Candidate, view: ClusterView, belonging: Belonging): void {
    const { revision } = attempt.head;
    if (revision < candidate.status.revision) {
      throw new WardenError(
        'verification-failed',
        `the snapshot of ${candidate.status.endpoint} holds revision ${revision}, but the member had shown ${candidate.status.revision} before`,
        {
          hint: 'the member went back in time or its database is damaged; back up another one with --member',
        },
      );
    }
    const highest = seenOf(view).revision;
    if (revision < highest)
      this.#warn('lagging-member', `the snapshot holds revision ${revision}, another member had shown ${highest} before`);
    const parent = belonging.parent;
    if (parent !== undefined && revision < BigInt(parent.manifest.revision)) {
      this.#warn('older-than-last', `revision ${revision} is below ${parent.manifest.revision} of the last backup ${parent.id}`);
    }
  }

  async #slotServed(): Promise<boolean> {
    const { slot } = this.#request;
    if (slot === undefined || this.#coordination === undefined) return false;
    return this.#coordination.slotServed(slot, this.#context.signal).catch((error: unknown) => {
      // Without quorum nobody can tell: a second backup is better than none.
      this.#warn('slot-unknown', `whether another daemon served this slot is not known: ${asError(error).message}`);
      return false;
    });
  }

  async #recordSlot(slot: string, id: string): Promise<void> {
    await this.#coordination
      ?.recordSlot(slot, id, this.#context.signal)
      .catch((error: unknown) => this.#context.logger.warn({ err: asError(error) }, 'the slot was not recorded in etcd'));
  }

  #skipped(): BackupResult {
    return {
      outcome: 'skipped',
      id: '',
      cluster: this.#cluster.name,
      revision: '',
      compactRevision: '',
      plainBytes: 0,
      storedBytes: 0,
      durationMs: 0,
      member: '',
      role: '',
      stores: [],
      warnings: this.#warnings,
    };
  }

  #key(id: string): string {
    return dataKey(this.#cluster.name, id, this.#cluster.encryption.recipients.length > 0 ? 'age' : 'none');
  }

  #progress(step: string, message: string): void {
    this.#context.progress({ step, message });
  }

  #warn(code: string, message: string): void {
    this.#warnings.push({ code, message });
    this.#context.logger.warn({ code }, message);
  }
}

function lastSizes(belonging: Belonging): { plainBytes: number; storedBytes: number } | undefined {
  const last = belonging.parent?.manifest;
  return last === undefined ? undefined : { plainBytes: last.plain.bytes, storedBytes: last.stored.bytes };
}

/** CORRUPT armed for the member, or inside the file: the backup is kept and named suspect; retention protects the last one that is not. */
function suspicion(candidate: Candidate, attempt: AttemptResult): string | undefined {
  if (candidate.suspect !== undefined) return candidate.suspect;
  return attempt.head.alarms.some((alarm) => alarm.type === 'CORRUPT') ? 'the CORRUPT alarm is armed in the snapshot itself' : undefined;
}

function inOrder(results: readonly StoreResult[], names: readonly string[]): StoreResult[] {
  return [...results].sort((a, b) => names.indexOf(a.store) - names.indexOf(b.store));
}

/** Both, or the first failure once the other has ended too, so that nothing goes on behind a caller's back. */
async function settleBoth<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}
