/**
 * The calls to one particular member. Each has a deadline and a signal, none is repeated, but for two cases: a token that the member refuses
 * is replaced once, because tokens expire, and a restarted member forgets them; and what only reads is asked again while an election refuses it.
 */
import { WardenError } from '../errors.ts';
import { authenticated, ownTokenAt, renewable, tokenAt } from './authenticated.ts';
import { explainCall } from './call-errors.ts';
import { Channel, type Codec } from './channel.ts';
import {
  ALARM,
  COMPACT,
  DEFRAGMENT,
  HASH_KV,
  MEMBER_ADD,
  MEMBER_LIST,
  MEMBER_PROMOTE,
  MEMBER_REMOVE,
  MOVE_LEADER,
  RANGE,
  STATUS,
} from './codecs.ts';
import { type Credentials, credentialsOf } from './credentials.ts';
import { throughElections } from './elections.ts';
import type { Endpoint } from './endpoint.ts';
import { hex } from './ids.ts';
import type { Member, StatusResponse } from './proto/rpc_pb.ts';
import { callSnapshot, SNAPSHOT_METHOD } from './snapshot-call.ts';
import { snapshotBatches } from './snapshot-stream.ts';
import type { Alarm, ClusterAccess, ListedMember, MemberHash, MemberList, MemberStatus, SnapshotMessage } from './types.ts';

/** Member lists and statuses are small; this only keeps a broken server from filling the memory. */
const MAX_REPLY = 64 * 1024 * 1024;

/** Of AlarmRequest. */
const DEACTIVATE = 2;
const NOSPACE = 1;

export interface SnapshotOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes per second; 0 or absent = as fast as it comes. */
  readonly maxRate?: number | undefined;
}

export class MemberClient {
  readonly endpoint: string;
  readonly #access: ClusterAccess;
  readonly #address: Endpoint;
  readonly #credentials: Credentials;
  readonly #calls: Channel;

  /** @param endpoint configured or discovered. @throws WardenError `config-invalid` */
  constructor(access: ClusterAccess, endpoint: string) {
    this.#access = access;
    this.#credentials = credentialsOf(access);
    this.#address = this.#credentials.parse(endpoint);
    this.endpoint = this.#address.url;
    this.#calls = new Channel(this.#address, this.#credentials.tls, { 'grpc.max_receive_message_length': MAX_REPLY });
  }

  /** What this member knows of itself: a local read that is answered without quorum, by learners too. */
  async status(signal?: AbortSignal): Promise<MemberStatus> {
    const started = performance.now();
    const reply = await this.#call(STATUS, {}, signal);
    return statusOf(this.endpoint, reply, performance.now() - started);
  }

  /** From the member's own memory, or agreed by quorum when `linearizable` (3.5+; 3.4 always answers from memory). Learners refuse. */
  async memberList(options: { readonly linearizable?: boolean; readonly signal?: AbortSignal | undefined } = {}): Promise<MemberList> {
    const reply = await this.#read(MEMBER_LIST, { linearizable: options.linearizable ?? false }, options.signal);
    return { clusterId: reply.header?.clusterId ?? 0n, members: reply.members.map(listed) };
  }

  /**
   * Adds a member to the list, through raft. One request: after an answer that was lost it may have happened, which only the member list can tell
   * ({@link changedNothing} of membership-errors.ts).
   * @throws WardenError `peers-not-connected` (passes by itself), `too-few-started`, `too-many-learners`, `member-exists`, `permission-denied` (without the root
   *   role); and, leaving it open, `timeout`, `no-quorum`, `unreachable`, `interrupted`
   */
  async memberAdd(options: {
    readonly peerUrls: readonly string[];
    readonly learner: boolean;
    readonly signal?: AbortSignal | undefined;
  }): Promise<{ readonly member: ListedMember; readonly members: readonly ListedMember[] }> {
    const reply = await this.#call(MEMBER_ADD, { peerUrls: [...options.peerUrls], isLearner: options.learner }, options.signal);
    if (reply.member === undefined)
      throw new WardenError('etcd-failed', `Cluster/MemberAdd at ${this.endpoint}: an answer without a member`);
    return { member: listed(reply.member), members: reply.members.map(listed) };
  }

  /**
   * Takes a member off the list, for ever: its id never comes back, and its process ends by itself when it hears of it. One request, as {@link memberAdd}.
   * @throws WardenError `member-missing`, `peers-not-connected`, `too-few-started`, `permission-denied`; and what leaves it open
   */
  async memberRemove(memberId: bigint, signal?: AbortSignal): Promise<readonly ListedMember[]> {
    return (await this.#call(MEMBER_REMOVE, { id: memberId }, signal)).members.map(listed);
  }

  /**
   * Makes a voter of a learner that has caught up. Ask the leader: it alone knows how far the learner is, and the others only pass the question on.
   * @throws WardenError `learner-behind` (passes by itself), `not-learner`, `member-missing`, `too-few-started`, `permission-denied`; and what leaves it open
   */
  async memberPromote(memberId: bigint, signal?: AbortSignal): Promise<readonly ListedMember[]> {
    return (await this.#call(MEMBER_PROMOTE, { id: memberId }, signal)).members.map(listed);
  }

  /** Through raft, so it needs quorum; {@link status} tells the alarms without. */
  async alarms(signal?: AbortSignal): Promise<Alarm[]> {
    const reply = await this.#read(ALARM, { action: 0, memberId: 0n, alarm: 0 }, signal);
    return reply.alarms.flatMap((one): Alarm[] => {
      const type = one.alarm === 1 ? 'NOSPACE' : one.alarm === 2 ? 'CORRUPT' : undefined;
      return type === undefined ? [] : [{ type, memberId: one.memberId }];
    });
  }

  /**
   * Milliseconds of a linearizable read: what tells that this member takes part in the quorum, as Status does not.
   * A user that may not read the key has been answered all the same.
   */
  async linearizableRead(signal?: AbortSignal): Promise<number> {
    const started = performance.now();
    try {
      await this.#read(RANGE, { key: Buffer.from('health'), limit: 1n, keysOnly: true }, signal);
    } catch (error) {
      if (!(error instanceof WardenError && error.code === 'permission-denied')) throw error;
    }
    return performance.now() - started;
  }

  /**
   * HashKV at a revision: a local scan of the whole bucket, for which the member holds the lock that its writes need (hazard H24), so it applies none meanwhile.
   * Giving up here does not end the scan there: 3.4 to 3.7 do not look at the call's end.
   * @param options.timeoutMs the scan takes minutes on gigabytes that are not in memory
   * @throws WardenError `revision-compacted`, `revision-future` (the member lags), `learner`, `permission-denied` (without the root role), `timeout`
   */
  async hashKv(revision: bigint, options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined }): Promise<MemberHash> {
    const started = performance.now();
    const reply = await this.#call(HASH_KV, { revision }, options.signal, options.timeoutMs);
    return {
      clusterId: reply.header?.clusterId ?? 0n,
      memberId: reply.header?.memberId ?? 0n,
      hash: reply.hash,
      compactRevision: reply.compactRevision,
      currentRevision: reply.header?.revision ?? 0n,
      hashRevision: reply.hashRevision > 0n ? reply.hashRevision : undefined,
      tookMs: performance.now() - started,
    };
  }

  /**
   * Rewrites the member's database without its free pages. The member applies and answers nothing meanwhile (hazard H1), for as long as it takes: its handler looks
   * neither at a deadline nor at the call's end, so there is none, and the caller watches the member by other calls. One request on a channel of its own, never
   * sent again: not after a lost answer, which leaves open whether the member is still frozen, and not after a refused token either, which is why a new one is
   * taken first, and shown to the member.
   * @param options.signal ends the waiting, not the defragmentation
   * @param options.onSent called when the request is on its way
   * @param options.memberId who must be at the other end of this very connection; behind a load balancer it may be another one than a moment ago
   * @throws WardenError `learner`, `permission-denied` (without the root role), `unreachable` when the connection broke (then it may go on), `interrupted`,
   *   `refused` when somebody else is there: then nothing was asked
   */
  async defragment(
    options: { readonly signal?: AbortSignal | undefined; readonly memberId?: bigint; readonly onSent?: () => void } = {},
  ): Promise<void> {
    const { signal, memberId, onSent } = options;
    const before = await tokenAt(this.#credentials, this.#address, { signal, optional: false });
    const token = before === undefined ? undefined : await this.#newTokenHere(before, signal);
    const channel = new Channel(this.#address, this.#credentials.tls, {});
    const { dialTimeoutMs, requestTimeoutMs } = this.#access;
    try {
      if (memberId !== undefined) {
        const { header } = await channel.unary(STATUS, {}, { token, signal, timeoutMs: requestTimeoutMs, dialTimeoutMs });
        if (header?.memberId !== memberId)
          throw new WardenError('refused', `${this.endpoint} leads to another member than ${hex(memberId)}: it was not asked`);
      }
      const answer = channel.unary(DEFRAGMENT, {}, { token, signal, timeoutMs: undefined, dialTimeoutMs });
      onSent?.();
      await answer;
    } catch (error) {
      throw this.#explain(error, DEFRAGMENT.path, signal, undefined);
    } finally {
      channel.close();
    }
  }

  /**
   * A login goes through raft, and a member that lags refuses its token until it has applied it. A linearizable read waits for just that, and where the token is
   * refused all the same it is replaced.
   */
  async #newTokenHere(before: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    await this.#credentials.renewedToken(before, signal, this.#address);
    await this.linearizableRead(signal);
    return await this.#credentials.token(signal, this.#address);
  }

  /**
   * Hands the leadership over. The answer comes when this member follows the other, or after an election timeout without.
   * @param memberId a voter
   * @throws WardenError `refused` when this member does not lead (any more), `permission-denied` (without the root role), `no-quorum`, `timeout`
   */
  async moveLeader(memberId: bigint, signal?: AbortSignal): Promise<void> {
    try {
      await this.#call(MOVE_LEADER, { targetId: memberId }, signal);
    } catch (error) {
      if (!(error instanceof WardenError && /etcdserver: not leader/.test(error.message))) throw error;
      throw new WardenError('refused', `${this.endpoint} does not lead, so it cannot hand over to ${hex(memberId)}`, { cause: error });
    }
  }

  /**
   * Disarms NOSPACE of one member, through raft; nothing happens when it is not armed. Never CORRUPT.
   * @param memberId not 0n: that names nobody, and CORRUPT may carry it
   * @throws WardenError `permission-denied` (without the root role), `no-quorum`, `refused` for 0n
   */
  async disarmNoSpace(memberId: bigint, signal?: AbortSignal): Promise<void> {
    if (memberId === 0n) throw new WardenError('refused', 'an alarm of nobody (member id 0) is never disarmed');
    await this.#call(ALARM, { action: DEACTIVATE, memberId, alarm: NOSPACE }, signal);
  }

  /**
   * Compacts the cluster's history below a revision, and waits until this member has deleted it: the others go on by themselves. Asked for a revision that is
   * compacted already, it waits until a compaction that still runs on this member has ended: etcd queues a barrier behind it (updateCompactRev in mvcc/kvstore.go).
   * @param options.timeoutMs the deletion takes minutes on millions of revisions
   * @throws WardenError `revision-future`, `permission-denied`, `no-quorum`, `timeout` (it goes on)
   */
  async compact(
    revision: bigint,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<'compacted' | 'already'> {
    try {
      await this.#call(COMPACT, { revision, physical: true }, options.signal, options.timeoutMs);
      return 'compacted';
    } catch (error) {
      if (error instanceof WardenError && error.code === 'revision-compacted') return 'already';
      throw error;
    }
  }

  /**
   * The whole database as this member has it, needing no quorum, in batches of messages. The end of the iteration is the end of the stream, not
   * a proof: compare the trailer. Stop iterating to end the read transaction on the member.
   */
  async *snapshot(options: SnapshotOptions = {}): AsyncGenerator<readonly SnapshotMessage[], void, undefined> {
    if (options.signal?.aborted) throw this.#explain(options.signal.reason, SNAPSHOT_METHOD, options.signal, undefined);
    const { signal } = options;
    let token = await tokenAt(this.#credentials, this.#address, { signal, optional: false });
    for (let attempt = 1; ; attempt += 1) {
      let started = false;
      let refusal: unknown;
      try {
        for await (const batch of this.#snapshotWith(token, options)) {
          started = true;
          yield batch;
        }
        return;
      } catch (error) {
        // Only a refusal at the start may be answered by another try: later the database has moved on and the bytes would not fit together.
        if (started || attempt === 3 || !renewable(this.#credentials, this.#address, error)) throw error;
        refusal = error;
      }
      token = await (attempt === 1
        ? this.#credentials.renewedToken(token, signal, this.#address)
        : ownTokenAt(this.#credentials, this.#address, { refused: token, signal, refusal }));
    }
  }

  close(): void {
    this.#calls.close();
  }

  #snapshotWith(token: string | undefined, options: SnapshotOptions): AsyncGenerator<readonly SnapshotMessage[], void, undefined> {
    const { dialTimeoutMs, streamIdleTimeoutMs } = this.#access;
    const explain = (thrown: unknown): WardenError => this.#explain(thrown, SNAPSHOT_METHOD, options.signal, undefined);
    return snapshotBatches((sink) => callSnapshot(this.#address, this.#credentials.tls, { token, dialTimeoutMs }, sink), {
      endpoint: this.endpoint,
      idleTimeoutMs: streamIdleTimeoutMs,
      maxRate: options.maxRate ?? 0,
      signal: options.signal,
      explain,
    });
  }

  /** Of what comes through raft or the leader, and changes nothing: within the one deadline it is asked again while an election is under way. */
  #read<Request, Reply>(codec: Codec<Request, Reply>, request: Request, signal: AbortSignal | undefined): Promise<Reply> {
    const { requestTimeoutMs: timeoutMs } = this.#access;
    return throughElections({ timeoutMs, signal }, (leftMs) => this.#call(codec, request, signal, leftMs));
  }

  async #call<Request, Reply>(
    codec: Codec<Request, Reply>,
    request: Request,
    signal: AbortSignal | undefined,
    timeoutMs: number = this.#access.requestTimeoutMs,
  ): Promise<Reply> {
    // Older releases answer Status to anybody, so it is asked even when a login was impossible for want of a quorum.
    const options = { signal, optional: codec.path === STATUS.path };
    return await authenticated(this.#credentials, this.#address, options, (token) =>
      this.#attempt(codec, request, { signal, token, timeoutMs }),
    );
  }

  async #attempt<Request, Reply>(
    codec: Codec<Request, Reply>,
    request: Request,
    limits: { readonly signal: AbortSignal | undefined; readonly token: string | undefined; readonly timeoutMs: number },
  ): Promise<Reply> {
    try {
      return await this.#calls.unary(codec, request, { ...limits, dialTimeoutMs: this.#access.dialTimeoutMs });
    } catch (error) {
      throw this.#explain(error, codec.path, limits.signal, limits.timeoutMs);
    }
  }

  #explain(thrown: unknown, path: string, signal: AbortSignal | undefined, deadlineMs: number | undefined): WardenError {
    const method = path.replace(/^\/etcdserverpb\./, '');
    return explainCall(thrown, { endpoint: this.endpoint, method, user: this.#access.user, signal, deadlineMs });
  }
}

function listed(member: Member): ListedMember {
  return { id: member.id, name: member.name, peerUrls: member.peerUrls, clientUrls: member.clientUrls, learner: member.isLearner };
}

function statusOf(endpoint: string, reply: StatusResponse, latencyMs: number): MemberStatus {
  const memberId = reply.header?.memberId ?? 0n;
  return {
    endpoint,
    clusterId: reply.header?.clusterId ?? 0n,
    memberId,
    name: '',
    role: reply.isLearner ? 'learner' : reply.leader === memberId ? 'leader' : 'follower',
    leader: reply.leader,
    version: reply.version,
    storageVersion: reply.storageVersion || undefined,
    dbSize: Number(reply.dbSize),
    dbSizeInUse: Number(reply.dbSizeInUse),
    dbSizeQuota: quotaOf(reply),
    raftIndex: reply.raftIndex,
    raftAppliedIndex: reply.raftAppliedIndex,
    raftTerm: reply.raftTerm,
    revision: reply.header?.revision ?? 0n,
    alarms: reply.errors.flatMap(alarmIn),
    latencyMs,
  };
}

/** The field came with 3.6.0 but was wrong until 3.6.6. Negative as --quota-backend-bytes was given; zero is told as the default. */
function quotaOf(reply: StatusResponse): number | undefined {
  if (reply.dbSizeQuota === 0n || /^3\.6\.[0-5]\b/.test(reply.version)) return undefined;
  return Number(reply.dbSizeQuota);
}

/** Status lists alarms as text, for example `memberID:4025405850709594487 alarm:NOSPACE `, which works without quorum. */
function alarmIn(text: string): Alarm[] {
  const type = /alarm:(NOSPACE|CORRUPT)/.exec(text)?.[1];
  if (type !== 'NOSPACE' && type !== 'CORRUPT') return [];
  // The id is left out when it is zero, as CORRUPT's may be since 3.5.7 and 3.4.23.
  return [{ type, memberId: BigInt(/memberID:(\d+)/.exec(text)?.[1] ?? 0) }];
}
