/**
 * What maintenance asks of a cluster as a whole, whichever member answers. Calls that may come out the same when they are repeated go to the next
 * endpoint after an unclear failure; Compact does not: it is sent to one member that has just shown that it takes part in the quorum.
 */
import { asError, WardenError } from '../errors.ts';
import { abortable } from './call-errors.ts';
import { type Attempt, CoordinationClient } from './coordination-client.ts';
import { credentialsOf } from './credentials.ts';
import { MemberClient } from './member.ts';
import type { ClusterAccess } from './types.ts';

export interface Upkeep {
  /**
   * Compacts the history below a revision, in a few steps, and waits until the member that answers has deleted it and counts it as free; {@link MemberClient.compact} with the same revision
   * waits for any other one.
   * @returns `already` when it was compacted that far before
   * @throws WardenError `revision-future`, `permission-denied`, `no-quorum`, `timeout` (it goes on in the members)
   */
  compact(
    revision: bigint,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<'compacted' | 'already'>;
  /** The revision below which there is no history; 0n = all of it is there, undefined = it could not be learned. @throws WardenError `interrupted` */
  compactRevision(signal?: AbortSignal): Promise<bigint | undefined>;
  /** A linearizable read. @throws WardenError `permission-denied` and what any call may say */
  exists(key: string, signal?: AbortSignal): Promise<boolean>;
  /** Puts a key and deletes it: what shows that the cluster takes writes again. @throws WardenError `no-space`, `permission-denied` and so on */
  provePut(key: string, signal?: AbortSignal): Promise<void>;
  /** A linearizable read; undefined = there is no such key. @throws WardenError */
  readKey(key: string, signal?: AbortSignal): Promise<string | undefined>;
  /** @throws WardenError `no-space`, `permission-denied` and so on */
  writeKey(key: string, value: string, signal?: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * Compactions that come after the first, one revision further each, with nothing left to delete. Pages count as free, in Status too, only two or three commits
 * after the one that freed them, and where nobody writes (NOSPACE, an idle cluster) no commit comes: measured, 3.4.23 and 3.6.16 tell the size from before for
 * ever. A compaction is a commit in every member, which NOSPACE does not refuse. 3.4 needs both.
 */
const MORE_COMMITS = 2;
/** Of a read, at one member: one that is frozen must not hold up a look at the others. */
const READ_MS = 2_000;

/** Of whoever was asked for something that the others were asked for too. */
const SAYS_LITTLE = new Set<WardenError['code']>(['unreachable', 'learner', 'cluster-ids-disagree']);

export interface UpkeepOptions {
  /** Of a caller that has looked already; else the endpoints vote. */
  readonly clusterId?: bigint | undefined;
  /** Of our own keys: where a user without the root role may read. Default `/etcd-warden`. */
  readonly keyPrefix?: string | undefined;
}

/** @throws WardenError `config-invalid` when an endpoint cannot be used. Nothing is asked yet. */
export function openUpkeep(access: ClusterAccess, { keyPrefix = '/etcd-warden', clusterId }: UpkeepOptions = {}): Upkeep {
  const client = new CoordinationClient(access, { clusterId });
  /** Not written by anybody, so that a watch on it brings no events. */
  const unwritten = Buffer.from(`${keyPrefix.replace(/\/+$/, '')}/compacted`);

  async function onKey<T>(
    what: 'read' | 'write',
    key: string,
    signal: AbortSignal | undefined,
    operation: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    try {
      return await client.run(`${what === 'read' ? 'reading' : 'writing'} ${key}`, signal, operation, {
        timeoutMs: what === 'read' ? READ_MS : undefined,
      });
    } catch (error) {
      if (!(error instanceof WardenError && error.code === 'permission-denied')) throw error;
      const user = access.user ?? 'of the client certificate';
      // The clients' own sentence names the root role, which keys do not need.
      throw new WardenError('permission-denied', `user ${user} may not ${what} ${key}`, {
        hint: `etcdctl role grant-permission ROLE ${what === 'read' ? 'read' : 'readwrite'} ${key}`,
        cause: error,
      });
    }
  }

  return {
    compact: async (revision, options) => {
      const member = await quorate(access, client, options.signal);
      try {
        for (let step = MORE_COMMITS; step > 0; step--) if (revision > BigInt(step)) await member.compact(revision - BigInt(step), options);
        return await member.compact(revision, options);
      } finally {
        member.close();
      }
    },
    compactRevision: async (signal) => {
      try {
        return await client.run('asking for the compact revision', signal, (attempt) => compactRevision(attempt, unwritten), {
          timeoutMs: READ_MS,
        });
      } catch (error) {
        if (signal?.aborted) throw error;
        return undefined;
      }
    },
    exists: (key, signal) =>
      onKey('read', key, signal, async ({ client: etcd, options }) => {
        const { count } = await etcd.kv.range({ key: Buffer.from(key), count_only: true }, options);
        return count !== '0';
      }),
    provePut: (key, signal) =>
      onKey('write', key, signal, async ({ client: etcd, options }) => {
        await etcd.put(key).value(new Date().toISOString()).options(options).exec();
        await etcd.delete().key(key).options(options).exec();
      }),
    readKey: (key, signal) =>
      onKey('read', key, signal, async ({ client: etcd, options }) => (await etcd.get(key).options(options).string()) ?? undefined),
    writeKey: (key, value, signal) =>
      onKey('write', key, signal, async ({ client: etcd, options }) => {
        await etcd.put(key).value(value).options(options).exec();
      }),
    close: () => client.close(),
  };
}

/** The endpoint that is first to answer a linearizable read: a call that may take minutes must not go to one that hangs. */
async function quorate(access: ClusterAccess, client: CoordinationClient, signal: AbortSignal | undefined): Promise<MemberClient> {
  const members = credentialsOf(access).endpoints.map(({ url }) => new MemberClient(access, url));
  const stop = new AbortController();
  const failures: WardenError[] = [];
  let first: MemberClient | undefined;
  try {
    const tries = members.map(async (member) => {
      try {
        // A member that is a cluster of its own agrees with itself at once.
        await client.admit(member.endpoint, stop.signal);
        await member.linearizableRead(stop.signal);
        return member;
      } catch (error) {
        if (error instanceof WardenError && !stop.signal.aborted) failures.push(error);
        throw error;
      }
    });
    first = await abortable(Promise.any(tries), signal, 'looking for a member that answers');
    return first;
  } catch (error) {
    if (error instanceof WardenError) throw error;
    throw failures.find(({ code }) => !SAYS_LITTLE.has(code)) ?? failures[0] ?? error;
  } finally {
    stop.abort();
    for (const member of members) if (member !== first) member.close();
  }
}

/**
 * The only call that tells it to a user without the root role: a watch that begins below it is ended with it. One that does not begin below it is never
 * answered, so whether anything was compacted is asked first: a read at revision 1 is refused exactly then. That read is linearizable, so that the
 * watch, which the member answers from what it has applied, cannot be older.
 */
async function compactRevision({ client, options }: Attempt, key: Buffer): Promise<bigint> {
  try {
    await client.kv.range({ key, revision: 1, keys_only: true }, options);
    return 0n;
  } catch (error) {
    if (!asError(error).message.includes('required revision has been compacted')) throw error;
  }
  const stream = await client.watchClient.watch(options);
  try {
    return await new Promise<bigint>((resolve, reject) => {
      stream.on('data', (reply) => {
        if (BigInt(reply.compact_revision) > 0n) resolve(BigInt(reply.compact_revision));
        else if (reply.canceled) reject(new Error(reply.cancel_reason));
      });
      stream.on('error', reject);
      stream.on('end', () => reject(new Error('the watch ended without an answer')));
      stream.write({ create_request: { key, start_revision: 1 } });
    });
  } finally {
    stream.on('error', () => {});
    stream.cancel();
  }
}
