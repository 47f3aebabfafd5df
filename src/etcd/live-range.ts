/**
 * The keys of a live cluster as they were at one revision, in order, a page at a time, linearizable. Pages bring no values: what is compared by revision needs
 * none, and a page's length would depend on them.
 */
import { asError, WardenError } from '../errors.ts';
import { CoordinationClient } from './coordination-client.ts';
import type { ClusterAccess } from './types.ts';

export interface LiveRangeKey {
  readonly key: Buffer;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  readonly version: bigint;
  /** 0n = none. */
  readonly lease: bigint;
}

/** Where a range begins and ends: from the first key that is wanted to the first that is not. */
export interface LiveRangeBounds {
  readonly from?: Buffer | undefined;
  readonly to?: Buffer | undefined;
}

/** Keys without values are some 100 bytes each. */
const PAGE_KEYS = 1000;
const MAX_REPLY = 64 * 1024 * 1024;

/** etcd's way to say "the least key" and "no end" (api/etcdserverpb, RangeRequest). */
const NUL = Buffer.alloc(1);

export class LiveRange {
  readonly #client: CoordinationClient;
  readonly #user: string;
  #pinned: { readonly clusterId: bigint; readonly revision: bigint } | undefined;

  constructor(access: ClusterAccess) {
    this.#client = new CoordinationClient(access, { maxReplyBytes: MAX_REPLY });
    this.#user = access.user ?? 'of the client certificate';
  }

  /**
   * Settles on the revision that counts from now on, by a first look at the range.
   * @throws WardenError `permission-denied`, or why no endpoint answers
   */
  async pin(bounds: LiveRangeBounds, signal: AbortSignal): Promise<{ readonly clusterId: bigint; readonly revision: bigint }> {
    if (this.#pinned !== undefined) return this.#pinned;
    const { header } = await this.#range({ ...spanOf(bounds), limit: 1, keys_only: true }, signal);
    this.#pinned = { clusterId: BigInt(header.cluster_id), revision: BigInt(header.revision) };
    return this.#pinned;
  }

  /** Keys in ascending order. @throws WardenError `revision-compacted` when the cluster compacts past the revision meanwhile */
  async *keys(bounds: LiveRangeBounds, signal: AbortSignal): AsyncGenerator<LiveRangeKey, void, undefined> {
    const { revision } = await this.pin(bounds, signal);
    const span = spanOf(bounds);
    for (let key = span.key; ;) {
      const page = await this.#range({ ...span, key, revision: String(revision), limit: PAGE_KEYS, keys_only: true }, signal);
      for (const kv of page.kvs) {
        yield {
          key: kv.key,
          createRevision: BigInt(kv.create_revision),
          modRevision: BigInt(kv.mod_revision),
          version: BigInt(kv.version),
          lease: BigInt.asUintN(64, BigInt(kv.lease)),
        };
      }
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return;
      key = Buffer.concat([last.key, NUL]);
    }
  }

  /** The value of a key at the revision; undefined when it did not live then. */
  async value(key: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
    const { revision } = await this.pin({ from: key, to: Buffer.concat([key, NUL]) }, signal);
    const { kvs } = await this.#range({ key, revision: String(revision) }, signal);
    return kvs[0]?.value;
  }

  close(): void {
    this.#client.close();
  }

  async #range(request: RangeRequest, signal: AbortSignal): Promise<RangeReply> {
    try {
      // Reading twice does no harm, so the next endpoint may be asked.
      return await this.#client.run('reading keys', signal, ({ client, options }) =>
        client.kv.range({ ...request, serializable: false }, options),
      );
    } catch (thrown) {
      const error = asError(thrown);
      if (!(error instanceof WardenError)) throw error;
      if (error.code === 'permission-denied')
        throw new WardenError('permission-denied', `user ${this.#user} may not read all of these keys`, {
          hint: 'etcdctl role grant-permission ROLE read --prefix=true PREFIX, or name a prefix that the user may read',
          cause: error,
        });
      if (error.code === 'revision-compacted')
        throw new WardenError('revision-compacted', `the cluster compacted revision ${this.#pinned?.revision ?? '?'} while it was read`, {
          hint: 'begin again; a prefix makes it shorter',
          cause: error,
        });
      throw error;
    }
  }
}

interface RangeRequest {
  readonly key: Buffer;
  readonly range_end?: Buffer;
  readonly revision?: string;
  readonly limit?: number;
  readonly keys_only?: boolean;
}

/** The part of etcd3's answer that counts; its 64-bit numbers are decimal text. */
interface RangeReply {
  readonly header: { readonly cluster_id: string; readonly revision: string };
  readonly kvs: readonly {
    readonly key: Buffer;
    readonly value: Buffer;
    readonly create_revision: string;
    readonly mod_revision: string;
    readonly version: string;
    readonly lease: string;
  }[];
  readonly more: boolean;
}

function spanOf({ from, to }: LiveRangeBounds): { readonly key: Buffer; readonly range_end: Buffer } {
  return { key: from === undefined || from.length === 0 ? NUL : from, range_end: to ?? NUL };
}
