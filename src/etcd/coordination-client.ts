/**
 * The calls with which daemons coordinate, and others that any member may answer: to one endpoint after the other until one of them can, but only to members of
 * one cluster, that of most who answer. It is chosen when it is first needed and kept: what was agreed there is worth nothing anywhere else. Endpoints that
 * did not answer then are asked again now and then, so that one that comes back is used, or votes the choice down.
 */
import { asError, WardenError } from '../errors.ts';
import { silentLogger, type Logger } from '../telemetry/logger.ts';
import { interruption } from './call-errors.ts';
import { type Attempt, strayError, Link } from './coordination-link.ts';
import { credentialsOf } from './credentials.ts';
import { refusedForNow, throughElections } from './elections.ts';
import { hex } from './ids.ts';
import { clusterOfMost, distinct, type Identity, majorityOf, nobodyAnswers } from './majority.ts';
import { within } from './time-limit.ts';
import type { ClusterAccess } from './types.ts';

export type { Attempt } from './coordination-link.ts';

export interface CoordinationClientOptions {
  /** The longest reply that is taken; gRPC's own bound of 4 MiB is plenty for what daemons agree on, not for values. */
  readonly maxReplyBytes?: number | undefined;
  /** Of a caller that has looked already; else the endpoints vote. */
  readonly clusterId?: bigint | undefined;
  readonly logger?: Logger | undefined;
}

export interface RunOptions {
  /** Of one attempt, ms; the request timeout unless it is shorter. */
  readonly timeoutMs?: number | undefined;
  /** Where something is held already. */
  readonly clusterId?: bigint | undefined;
}

/** One time around the endpoints. */
interface Round {
  readonly what: string;
  readonly signal: AbortSignal | undefined;
  readonly clusterId: bigint;
  /** ms of each attempt. */
  readonly attemptMs: number;
  /** Of the whole, Date.now(). */
  readonly end: number;
}

/** Failures after which another endpoint may answer. */
const MOVE_ON = new Set(['unreachable', 'timeout', 'no-quorum', 'tls-failed', 'etcd-failed', 'learner', 'cluster-ids-disagree']);
/** Between two tries to learn who is at an endpoint that did not answer. */
const ASK_AGAIN_MS = 5_000;
/** A member that restarts, or is cut off for a moment, still counts in the vote: else a stray beside it would have the majority for as long. */
const REMEMBERED_MS = 5 * 60_000;

export class CoordinationClient {
  readonly #access: ClusterAccess;
  readonly #logger: Logger;
  /** Of a caller that knows: no vote changes it. */
  readonly #given: bigint | undefined;
  #chosen: bigint | undefined;
  /** The endpoint that answered last is asked first. */
  #links: readonly Link[];
  /** Said once. */
  readonly #told = new Set<string>();

  constructor(access: ClusterAccess, options: CoordinationClientOptions = {}) {
    const { maxReplyBytes = 4 * 1024 * 1024, clusterId, logger = silentLogger } = options;
    this.#access = access;
    this.#logger = logger;
    this.#given = clusterId;
    this.#links = credentialsOf(access).endpoints.map((endpoint) => new Link(access, endpoint, maxReplyBytes));
  }

  /**
   * Carries out an operation at the first endpoint that can, within twice the request timeout; while they elect, they are asked again. The operation may be
   * repeated after an unclear failure, so it must come out the same when it had been carried out before.
   * @throws WardenError what the last endpoint said; `cluster-ids-disagree` when the endpoints are of several clusters without a majority, when most are of
   *   another one by now than that which was chosen before, and when nobody of that one is left
   */
  async run<T>(
    what: string,
    signal: AbortSignal | undefined,
    operation: (attempt: Attempt) => Promise<T>,
    { timeoutMs = Number.POSITIVE_INFINITY, clusterId: within }: RunOptions = {},
  ): Promise<T> {
    const attemptMs = Math.min(timeoutMs, this.#access.requestTimeoutMs);
    const end = Date.now() + 2 * this.#access.requestTimeoutMs;
    const clusterId = await this.#cluster(attemptMs, signal);
    if (within !== undefined && within !== clusterId) throw this.#moved(within, clusterId);
    await this.#meet(clusterId, attemptMs, signal);
    this.#askAgain();
    this.#tellStrays(clusterId);
    // Whoever is cut off refuses as whoever elects does: the others come first.
    const patience = { timeoutMs: end - Date.now(), signal };
    return throughElections(patience, () => this.#around({ what, signal, clusterId, attemptMs, end }, operation));
  }

  async #around<T>({ what, signal, clusterId, attemptMs, end }: Round, operation: (attempt: Attempt) => Promise<T>): Promise<T> {
    let failure: WardenError | undefined;
    for (const link of this.#usable(clusterId)) {
      const left = end - Date.now();
      if (left <= 0) break;
      try {
        const result = await link.call({ what, timeoutMs: Math.min(left, attemptMs), signal, clusterId }, operation);
        this.#links = [link, ...this.#links.filter((one) => one !== link)];
        return result;
      } catch (error) {
        const known =
          error instanceof WardenError ? error : new WardenError('etcd-failed', `${what}: ${asError(error).message}`, { cause: error });
        // That somebody else is there says less than why those who are meant do not answer, and that they elect says the most.
        if (failure === undefined || (known.code !== 'cluster-ids-disagree' && !refusedForNow(failure))) failure = known;
        if (!MOVE_ON.has(known.code)) break;
        // So that a silent endpoint is not what the next call waits for first.
        this.#links = [...this.#links.filter((one) => one !== link), link];
        // Nobody waits any more, and the others have not been asked: to count it against them as well would leave the silent one first.
        if (signal?.aborted === true) break;
      }
    }
    throw failure ?? this.#nobodyLeft(clusterId) ?? new WardenError('timeout', `${what} did not end in time`);
  }

  /** Whether that endpoint may be sent what is meant for the cluster. @throws WardenError `cluster-ids-disagree`, or why it does not answer */
  async admit(endpoint: string, signal: AbortSignal | undefined): Promise<void> {
    const clusterId = await this.#cluster(this.#access.requestTimeoutMs, signal);
    const link = this.#links.find((one) => one.endpoint.url === endpoint);
    const identity = link?.present ?? (await link?.identify(signal));
    if (identity === undefined) throw new WardenError('config-invalid', `${endpoint} is no endpoint of ${this.#access.name}`);
    if (identity.clusterId !== clusterId) throw strayError(this.#access.name, identity, clusterId);
  }

  /** For those who hold nothing in the cluster that was chosen: the next call has the endpoints vote anew. */
  chooseAgain(): void {
    this.#chosen = undefined;
  }

  close(): void {
    for (const link of this.#links) link.close();
  }

  /** @throws WardenError when there is none, or the endpoints have voted for another one since */
  async #cluster(timeoutMs: number, signal: AbortSignal | undefined): Promise<bigint> {
    if (this.#given !== undefined) return this.#given;
    if (this.#chosen === undefined) {
      const clusterId = await this.#vote(timeoutMs, signal);
      // Of several who asked at once the first to know decides for all.
      this.#chosen ??= clusterId;
    }
    const now = majorityOf(this.#remembered());
    if (now !== undefined && now !== this.#chosen) throw this.#moved(this.#chosen, now);
    return this.#chosen;
  }

  /** Whoever is silent is waited for only while the others do not decide it. @throws WardenError when nobody answers, or nobody has a majority */
  async #vote(timeoutMs: number, signal: AbortSignal | undefined): Promise<bigint> {
    const failures = await this.#askAll(timeoutMs, signal, () => {
      const answers = distinct(this.#remembered());
      const clusterId = majorityOf(answers);
      // Whatever the others are.
      return answers.filter((one) => one.clusterId === clusterId).length * 2 > this.#links.length;
    });
    const answers = this.#remembered();
    if (answers.length === 0) throw nobodyAnswers(this.#access.name, failures);
    return clusterOfMost(this.#access.name, answers);
  }

  /** Sees to it that there is a connection to at least one member of the cluster. @throws WardenError when nobody of it answers */
  async #meet(clusterId: bigint, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const met = (): boolean => this.#links.some(({ present }) => present?.clusterId === clusterId);
    if (met()) return;
    const failures = await this.#askAll(timeoutMs, signal, met);
    if (!met()) throw this.#nobodyLeft(clusterId) ?? nobodyAnswers(this.#access.name, failures);
  }

  /** All at once who have not answered on the connection that stands, until there is enough. @returns why some do not answer */
  async #askAll(timeoutMs: number, signal: AbortSignal | undefined, enough: () => boolean): Promise<readonly Error[]> {
    const failures: Error[] = [];
    const met = Promise.withResolvers<void>();
    await within(timeoutMs, signal, async (inTime) => {
      const asked = this.#links.map(async (link) => {
        try {
          if (link.present === undefined) await link.identify(inTime);
        } catch (error) {
          failures.push(asError(error));
        }
        if (enough()) met.resolve();
      });
      await Promise.race([met.promise, Promise.all(asked)]);
    });
    if (signal?.aborted === true) throw interruption(signal, `asking the members of ${this.#access.name}`);
    return failures;
  }

  #remembered(): Identity[] {
    const since = performance.now() - REMEMBERED_MS;
    return this.#links.flatMap(({ last, present }) => {
      if (present !== undefined) return present;
      return last !== undefined && last.atMs > since ? last.identity : [];
    });
  }

  /** Those known to belong to it first. */
  #usable(clusterId: bigint): Link[] {
    const known = this.#links.filter(({ present }) => present?.clusterId === clusterId);
    return [...known, ...this.#links.filter(({ present }) => present === undefined)];
  }

  /** In the background: what comes of it counts at the next call. */
  #askAgain(): void {
    for (const link of this.#links) {
      if (link.present !== undefined || link.sinceAskedMs < ASK_AGAIN_MS) continue;
      link.identify(undefined).catch(() => {}); // it goes on being left out
    }
  }

  #tellStrays(clusterId: bigint): void {
    for (const { present } of this.#links) {
      if (present === undefined || present.clusterId === clusterId) continue;
      const endpoint = present.endpoint;
      const fields = { endpoint, clusterId: hex(present.clusterId), instead: hex(clusterId) };
      const key = JSON.stringify(fields);
      if (this.#told.has(key)) continue;
      this.#told.add(key);
      this.#logger.warn(fields, 'an endpoint is left out, since it belongs to another cluster');
    }
  }

  #moved(from: bigint, to: bigint): WardenError {
    return new WardenError(
      'cluster-ids-disagree',
      `most endpoints of ${this.#access.name} belong to cluster ${hex(to)} now, and not to ${hex(from)} as before`,
      { hint: 'run it again when the cluster is the one that is meant; `etcd-warden status` shows who belongs to which' },
    );
  }

  /** Undefined while somebody's cluster is unknown. */
  #nobodyLeft(clusterId: bigint): WardenError | undefined {
    const strays = this.#links.flatMap(({ present }) => (present === undefined || present.clusterId === clusterId ? [] : [present]));
    if (strays.length < this.#links.length) return undefined;
    const who = strays.map((one) => `${one.endpoint} to ${hex(one.clusterId)}`).join(', ');
    return new WardenError('cluster-ids-disagree', `no endpoint of ${this.#access.name} belongs to cluster ${hex(clusterId)}: ${who}`, {
      hint: 'remove the endpoints of the other cluster from the configuration',
    });
  }
}
