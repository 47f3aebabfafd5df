/**
 * Reading and conditionally writing single keys of a live cluster. Nothing is sent twice without a look in between: a transaction whose answer was
 * lost may have been carried out, and its condition alone does not tell (a key that was put and deleted by somebody else is absent again).
 */
import { asError, WardenError } from '../errors.ts';
import { tokenRefused } from './call-errors.ts';
import { CoordinationClient } from './coordination-client.ts';
import type { ClusterAccess } from './types.ts';

/** What a key holds now. */
export interface LiveKey {
  readonly modRevision: bigint;
  readonly value: Buffer;
  /** 0n = none. */
  readonly lease: bigint;
}

export interface ConditionalPut {
  readonly key: Buffer;
  readonly value: Buffer;
  /** The put counts only while this is the key's mod revision; 0n = while it is absent. */
  readonly modRevision: bigint;
  /** The lease to bind it to; 0n = none, `keep` = the one that the present key has. */
  readonly lease: bigint | 'keep';
}

/** `changed`: a condition did not hold, so nothing was written. `unclear`: the answer was lost; read before anything else. */
export type PutOutcome = { readonly outcome: 'put' | 'changed' } | { readonly outcome: 'unclear'; readonly error: WardenError };

/** Keys as texts that are equal exactly when their bytes are. */
export function keyText(key: Buffer): string {
  return key.toString('latin1');
}

/**
 * Keys in one read: replies are bounded by values only, so 16 of the usual 1.5 MiB at most make 24 MiB. A reply above MAX_REPLY (etcd with a raised
 * --max-request-bytes) is asked for again in halves.
 */
const KEYS_PER_READ = 16;
const MAX_REPLY = 64 * 1024 * 1024;
/** --max-txn-ops is 128 by default and counts conditions and operations apart. */
const KEYS_PER_PROBE = 100;

const REPLY_TOO_LONG = /Received message larger than max|RESOURCE_EXHAUSTED/;
const UNCLEAR = new Set<WardenError['code']>(['unreachable', 'timeout', 'no-quorum', 'tls-failed', 'etcd-failed']);
/** etcd says so before it proposes anything. */
const REFUSED = /request is too large|too many operations|duplicate key|requested lease not found|trying to send message larger/;

export class KeysClient {
  readonly #access: ClusterAccess;
  readonly #client: CoordinationClient;
  #clusterId: bigint | undefined;

  constructor(access: ClusterAccess) {
    this.#access = access;
    this.#client = new CoordinationClient(access, { maxReplyBytes: MAX_REPLY });
  }

  /**
   * Those of the keys that exist, by {@link keyText}, each from one linearizable read; a few at a time, so not all of the same revision.
   * @throws WardenError `permission-denied`, or why no endpoint answers
   */
  async read(keys: readonly Buffer[], signal: AbortSignal | undefined): Promise<Map<string, LiveKey>> {
    const found = new Map<string, LiveKey>();
    for (let at = 0; at < keys.length; at += KEYS_PER_READ) await this.#read(keys.slice(at, at + KEYS_PER_READ), found, signal);
    return found;
  }

  async #read(keys: readonly Buffer[], into: Map<string, LiveKey>, signal: AbortSignal | undefined): Promise<void> {
    try {
      const reply = await this.#client.run(`reading ${count(keys.length, 'key')}`, signal, ({ client, options }) =>
        client.kv.txn({ success: keys.map((key) => ({ request_range: { key } })) }, options),
      );
      this.#clusterId = BigInt(reply.header.cluster_id);
      for (const { response_range } of reply.responses) {
        for (const kv of response_range.kvs)
          into.set(keyText(kv.key), { modRevision: BigInt(kv.mod_revision), value: kv.value, lease: BigInt(kv.lease) });
      }
    } catch (error) {
      if (keys.length > 1 && REPLY_TOO_LONG.test(asError(error).message)) {
        const half = keys.length >> 1;
        await this.#read(keys.slice(0, half), into, signal);
        await this.#read(keys.slice(half), into, signal);
        return;
      }
      throw this.#explain(error, 'read');
    }
  }

  /**
   * Asks etcd whether all of these could be written, without writing: permissions are checked for every operation of a transaction before its
   * condition, and this condition never holds (no version is negative). NOSPACE and a lost quorum come to light as well.
   * @throws WardenError `permission-denied`, `no-space`, `no-quorum` and so on
   */
  async probe(keys: readonly Buffer[], signal: AbortSignal | undefined): Promise<void> {
    const [first] = keys;
    if (first === undefined) return;
    for (let at = 0; at < keys.length; at += KEYS_PER_PROBE) {
      const some = keys.slice(at, at + KEYS_PER_PROBE);
      try {
        await this.#client.run('asking whether the keys may be written', signal, ({ client, options }) =>
          client.kv.txn(
            {
              compare: [{ key: some[0] ?? first, target: 'Version', result: 'Less', version: '0' }],
              success: some.map((key) => ({ request_put: { key, value: Buffer.alloc(0) } })),
            },
            options,
          ),
        );
      } catch (error) {
        throw this.#explain(error, 'write');
      }
    }
  }

  /**
   * All of them in one transaction, or none. Sent to one endpoint, once.
   * @throws WardenError when it was refused for a permission or its size, and nothing was written; `no-space`, when it may have been all the same
   */
  async put(puts: readonly ConditionalPut[], signal: AbortSignal | undefined): Promise<PutOutcome> {
    let sent = false;
    try {
      const reply = await this.#client.run(`putting ${count(puts.length, 'key')}`, signal, async ({ client, options }) => {
        // The client goes on to the next endpoint after an unclear failure; here that must wait for a look.
        if (sent) return undefined;
        sent = true;
        try {
          return await client.kv.txn(
            {
              compare: puts.map(({ key, modRevision }) => ({ key, target: 'Mod', result: 'Equal', mod_revision: String(modRevision) })),
              success: puts.map(({ key, value, lease }) => ({
                request_put: { key, value, ...(lease === 'keep' ? { ignore_lease: true } : { lease: String(lease) }) },
              })),
            },
            options,
          );
        } catch (error) {
          // Refused before it was looked at: the same endpoint is asked again with a fresh token.
          if (tokenRefused(error)) sent = false;
          throw error;
        }
      });
      if (reply === undefined) return { outcome: 'unclear', error: new WardenError('timeout', 'the answer to a transaction was lost') };
      return { outcome: reply.succeeded ? 'put' : 'changed' };
    } catch (error) {
      const known = this.#explain(error, 'write');
      if (UNCLEAR.has(known.code) && !REFUSED.test(known.message)) return { outcome: 'unclear', error: known };
      throw known;
    }
  }

  /** Of the cluster that the last read went to; undefined before. */
  clusterId(): bigint | undefined {
    return this.#clusterId;
  }

  /** Whether a lease is still granted. */
  async leaseLives(lease: bigint, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      const reply = await this.#client.run(`asking for lease ${lease.toString(16)}`, signal, ({ client, options }) =>
        client.leaseClient.leaseTimeToLive({ ID: String(lease) }, options),
      );
      return Number(reply.TTL) > 0;
    } catch (error) {
      if (asError(error).message.includes('lease not found')) return false;
      throw this.#explain(error, 'read');
    }
  }

  close(): void {
    this.#client.close();
  }

  /** The clients' own sentence names the root role, which keys do not need. */
  #explain(thrown: unknown, what: 'read' | 'write'): WardenError {
    const error = thrown instanceof WardenError ? thrown : new WardenError('etcd-failed', asError(thrown).message, { cause: thrown });
    if (error.code !== 'permission-denied') return error;
    const user = this.#access.user ?? 'of the client certificate';
    return new WardenError('permission-denied', `user ${user} may not ${what} all of these keys`, {
      hint: `etcdctl role grant-permission ROLE ${what === 'read' ? 'read' : 'readwrite'} --prefix=true PREFIX, or use another user`,
      cause: error,
    });
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
