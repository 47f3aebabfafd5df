/**
 * A key that exists while its holder lives: created only if absent, bound to a lease that must be renewed. Lock and election are both this.
 * The lease's id is chosen here and the key carries a holder that nobody else uses, so that a call repeated after an unclear failure finds its own
 * earlier success instead of a stranger.
 */
import { randomBytes } from 'node:crypto';
import { asError, WardenError } from '../errors.ts';
import type { Attempt, CoordinationClient } from './coordination-client.ts';
import { within } from './time-limit.ts';

/** What stands in the key. Small and readable with etcdctl, since somebody looks at it when things are stuck. */
export interface Holder {
  /** Host, process and a random part. */
  readonly holder: string;
  readonly purpose: string;
  /** RFC 3339. */
  readonly since: string;
}

export type Acquired =
  | { readonly outcome: 'held' }
  | { readonly outcome: 'held-by-other'; readonly holder: Holder }
  /** etcd cannot say, or cannot grant it. */
  | { readonly outcome: 'unavailable'; readonly error: WardenError };

/** The key changed under our hands. */
const UNKNOWN: Holder = { holder: 'somebody', purpose: '', since: '' };

export class LeasedKey {
  readonly #client: CoordinationClient;
  readonly #key: string;
  readonly #value: Holder;
  readonly #ttlSeconds: number;
  #lease = '0';
  /** Where it was acquired: in another cluster it would keep nobody off. */
  #clusterId: bigint | undefined;
  /** performance.now() until which etcd certainly keeps the lease: counted from before the request, so that the error is on our side. */
  #until = 0;

  constructor(client: CoordinationClient, key: string, value: Holder, ttlSeconds: number) {
    this.#client = client;
    this.#key = key;
    this.#value = value;
    this.#ttlSeconds = ttlSeconds;
  }

  /** Of the cluster in which it was held last; undefined = it never was. */
  get clusterId(): bigint | undefined {
    return this.#clusterId;
  }

  /** Whether the lease may still be alive as far as our clock tells. */
  get alive(): boolean {
    return performance.now() < this.#until;
  }

  /** Only in the cluster where it was held before, if it was; see {@link leave}. */
  async acquire(signal: AbortSignal | undefined): Promise<Acquired> {
    try {
      // Read first: a lease that is granted only to be revoked again costs two writes for every attempt of a waiting daemon.
      const stranger = await this.stranger(signal);
      if (stranger !== undefined) return { outcome: 'held-by-other', holder: stranger };
      const lease = newLeaseId();
      const asked = performance.now();
      const ttlSeconds = this.#ttlSeconds;
      const { found, clusterId } = await this.#run(`taking ${this.#key}`, signal, async (attempt) => {
        await grant(attempt, lease, ttlSeconds);
        return { found: await this.#create(attempt, lease), clusterId: attempt.clusterId };
      });
      if (found !== undefined && found.holder !== this.#value.holder) {
        await this.#revoke(lease, signal).catch(() => {}); // it ends by itself
        return { outcome: 'held-by-other', holder: found };
      }
      this.#lease = lease;
      this.#clusterId = clusterId;
      this.#until = asked + ttlSeconds * 1000;
      return { outcome: 'held' };
    } catch (error) {
      const known = error instanceof WardenError ? error : new WardenError('etcd-failed', asError(error).message, { cause: error });
      if (known.code === 'interrupted') throw known;
      return { outcome: 'unavailable', error: known };
    }
  }

  /** Who holds it now. @throws WardenError when etcd cannot tell. */
  async read(signal: AbortSignal | undefined): Promise<Holder | undefined> {
    const value = await this.#run(`reading ${this.#key}`, signal, ({ client, options }) => client.get(this.#key).options(options).string());
    return value === null ? undefined : parseHolder(value);
  }

  /** Who else holds it now. @throws WardenError when etcd cannot tell. */
  async stranger(signal: AbortSignal | undefined): Promise<Holder | undefined> {
    const present = await this.read(signal);
    return present?.holder === this.#value.holder ? undefined : present;
  }

  /** `lost` is certain: etcd said so, or whoever answers is of another cluster than that which knows the lease. `unclear` leaves the matter to {@link alive}. */
  async renew(signal: AbortSignal | undefined): Promise<'renewed' | 'lost' | 'unclear'> {
    const asked = performance.now();
    // The next renewal is due by then, and half of it is left for another endpoint: a member that is frozen, as by a defragmentation, takes the call and
    // does not answer, for longer than any lease may last.
    const periodMs = Math.ceil((this.#ttlSeconds * 1000) / 3);
    try {
      const ttl = await within(periodMs, signal, (inTime) =>
        this.#run(`renewing ${this.#key}`, inTime, (attempt) => keepAliveOnce(attempt, this.#lease), periodMs / 2),
      );
      if (ttl <= 0) {
        this.#until = 0;
        return 'lost';
      }
      this.#until = asked + ttl * 1000;
      return 'renewed';
    } catch (error) {
      if (error instanceof WardenError && error.code === 'interrupted') throw error;
      if (!elsewhere(error)) return 'unclear';
      this.#until = 0;
      return 'lost';
    }
  }

  /** Gives up the cluster in which it was held, for one that most endpoints are of by now. The lease there ends by itself. */
  leave(): void {
    this.#until = 0;
    this.#lease = '0';
    this.#clusterId = undefined;
    this.#client.chooseAgain();
  }

  /** Removes the key, when it is ours, by revoking its lease: a revoke works even while NOSPACE is armed. */
  async release(signal?: AbortSignal): Promise<void> {
    this.#until = 0;
    if (this.#lease === '0') return;
    const lease = this.#lease;
    this.#lease = '0';
    await this.#revoke(lease, signal);
  }

  /** Undefined when the key is ours now, else who has it. */
  async #create({ client, options }: Attempt, lease: string): Promise<Holder | undefined> {
    const result = await client
      .if(this.#key, 'Create', '==', 0)
      .then(client.put(this.#key).value(JSON.stringify(this.#value)).lease(lease))
      .else(client.get(this.#key))
      .options(options)
      .commit();
    if (result.succeeded) return undefined;
    const found = result.responses[0]?.response_range.kvs[0];
    if (found === undefined) return UNKNOWN;
    const present = parseHolder(found.value.toString('utf8'));
    if (present.holder !== this.#value.holder || found.lease === lease) return present;
    // Ours, but bound to the lease before: a renewal came to nothing and the old lease still runs. Without this the key would end with it.
    const moved = await client
      .if(this.#key, 'Mod', '==', found.mod_revision)
      .then(client.put(this.#key).value(JSON.stringify(this.#value)).lease(lease))
      .options(options)
      .commit();
    return moved.succeeded ? undefined : UNKNOWN;
  }

  #run<T>(what: string, signal: AbortSignal | undefined, operation: (attempt: Attempt) => Promise<T>, timeoutMs?: number): Promise<T> {
    return this.#client.run(what, signal, operation, { timeoutMs, clusterId: this.#clusterId });
  }

  async #revoke(lease: string, signal: AbortSignal | undefined): Promise<void> {
    await this.#run(`releasing ${this.#key}`, signal, async ({ client, options }) => {
      try {
        await client.leaseClient.leaseRevoke({ ID: lease }, options);
      } catch (error) {
        // Gone already: it had expired.
        if (!asError(error).message.includes('lease not found')) throw error;
      }
    });
  }
}

/** Whether a call failed because whoever answers belongs to another cluster, or to no one that has a majority. */
export function elsewhere(error: unknown): boolean {
  return error instanceof WardenError && error.code === 'cluster-ids-disagree';
}

async function grant({ client, options }: Attempt, lease: string, ttlSeconds: number): Promise<void> {
  try {
    await client.leaseClient.leaseGrant({ ID: lease, TTL: ttlSeconds }, options);
  } catch (error) {
    // By us, a moment ago, with the answer lost.
    if (!asError(error).message.includes('lease already exists')) throw error;
  }
}

/** etcd renews over a stream; one message each way is enough and leaves nothing open between the renewals. @returns seconds left, 0 = gone. */
async function keepAliveOnce({ client, options }: Attempt, lease: string): Promise<number> {
  const stream = await client.leaseClient.leaseKeepAlive(options);
  try {
    return await new Promise<number>((resolve, reject) => {
      stream.on('data', (reply) => resolve(Number(reply.TTL)));
      stream.on('error', reject);
      stream.on('end', () => reject(new Error('the renewal ended without an answer')));
      stream.write({ ID: lease });
    });
  } finally {
    stream.on('error', () => {});
    stream.end();
  }
}

/** 62 random bits, so that it is positive; never 0, which means "choose one". */
function newLeaseId(): string {
  return String((randomBytes(8).readBigUInt64BE() & 0x3fff_ffff_ffff_ffffn) | 1n);
}

function parseHolder(text: string): Holder {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'holder' in value && typeof value.holder === 'string') {
      const { purpose, since } = value as { purpose?: unknown; since?: unknown };
      return { holder: value.holder, purpose: typeof purpose === 'string' ? purpose : '', since: typeof since === 'string' ? since : '' };
    }
  } catch {
    // Not ours; named as it stands.
  }
  return { holder: text.slice(0, 100) || 'somebody', purpose: '', since: '' };
}

/** For the sentence: `host pid 12 (backup of a) since 2026-…`. */
export function describeHolder({ holder, purpose, since }: Holder): string {
  return `${holder}${purpose === '' ? '' : ` (${purpose})`}${since === '' ? '' : ` since ${since}`}`;
}
