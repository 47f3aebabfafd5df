import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Metadata, Server, ServerCredentials, status as Code } from '@grpc/grpc-js';
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { decode, encode, type Field, type Message } from './wire.ts';

/** Messages of 32 KiB, as etcd sends them (server/etcdserver/api/v3rpc/maintenance.go, snapshotSendBufferSize). */
const BLOB_BYTES = 32 * 1024;
/** That every lease of a fake lasts, whatever was asked for. */
const LEASE_SECONDS = 60;

/** What a Snapshot call answers. Without a fault it is what etcd would send: the database in blobs, then its SHA-256. */
export interface SnapshotScript {
  readonly database: Buffer;
  readonly blobBytes?: number;
  /** Storage version, as 3.6 tells it. */
  readonly version?: string;
  /** Leave the last message out. */
  readonly omitTrailer?: boolean;
  /** Send this instead of the SHA-256. */
  readonly trailer?: Buffer;
  /** Send so many bytes fewer than announced, and the trailer after them; a negative number sends more. */
  readonly dropBytes?: number;
  /** Announce the same number of bytes in each message. */
  readonly constantRemaining?: number;
  /** Messages without bytes, sent before byte `emptyAt` (0 by default); Infinity never stops. */
  readonly emptyBlobs?: number;
  readonly emptyAt?: number;
  /** The stream ends in good order after so many bytes. */
  readonly endAt?: number;
  /** It fails after so many bytes. */
  readonly failAt?: { readonly bytes: number; readonly code?: Code; readonly details?: string };
  /** It falls silent after so many bytes. */
  readonly stallAt?: number;
  /** Milliseconds before each message. */
  readonly delayMs?: number;
}

export interface FakeStatus {
  readonly version: string;
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  readonly leader: bigint;
  readonly raftIndex: bigint;
  readonly raftTerm: bigint;
  readonly raftAppliedIndex: bigint;
  readonly errors: readonly string[];
  readonly isLearner: boolean;
  readonly storageVersion: string;
  readonly dbSizeQuota: number;
}

/** Everything may be changed while it runs. */
export interface FakeMember extends AsyncDisposable {
  readonly endpoint: string;
  clusterId: bigint;
  memberId: bigint;
  name: string;
  revision: bigint;
  status: FakeStatus;
  snapshot: SnapshotScript | undefined;
  /** That a login here gives, and without which nothing is answered; undefined = anybody is answered. */
  token: string | undefined;
  /** What MemberList answers; itself alone by default. */
  members: { readonly id: bigint; readonly name: string; readonly clientUrls: readonly string[]; readonly isLearner?: boolean }[];
  /** Answers in place of the usual one, by method (`etcdserverpb.KV/Range`); throw a GrpcFailure to fail, never resolve to hang. */
  readonly answers: Map<string, (request: Message, metadata: Metadata) => Buffer | Promise<Buffer>>;
  /** Every call so far, in the order of arrival. */
  readonly calls: readonly { readonly method: string; readonly request: Message; readonly metadata: Metadata }[];
  count(method: string): number;
  /** The header that every answer of etcd begins with. */
  header(): Buffer;
  close(): Promise<void>;
}

/** A status that a handler ends with. */
export class GrpcFailure extends Error {
  readonly code: Code;
  constructor(code: Code, details: string) {
    super(details);
    this.code = code;
  }
}

export interface FakeMemberOptions extends Partial<Pick<FakeMember, 'clusterId' | 'memberId' | 'name' | 'revision' | 'snapshot'>> {
  readonly status?: Partial<FakeStatus>;
  readonly tls?: {
    readonly caFile: string;
    readonly serverCertFile: string;
    readonly serverKeyFile: string;
    readonly clientCertRequired?: boolean;
  };
}

/** A gRPC server that plays a member of etcd 3.6, for faults that no real one shows. */
export async function startFakeMember(options: FakeMemberOptions = {}): Promise<FakeMember> {
  const { tls } = options;
  const server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
  const calls: { method: string; request: Message; metadata: Metadata }[] = [];
  const stopping = new AbortController();
  const memberId = options.memberId ?? 0x8e9e05c52164694dn;

  const usual: Record<string, () => Buffer> = {
    'etcdserverpb.Maintenance/Status': () => statusReply(member),
    'etcdserverpb.Maintenance/Alarm': () => encode([1, member.header()]),
    'etcdserverpb.Maintenance/Defragment': () => encode([1, member.header()]),
    'etcdserverpb.Maintenance/MoveLeader': () => encode([1, member.header()]),
    'etcdserverpb.Maintenance/HashKV': () => encode([1, member.header()], [2, 0], [4, member.revision]),
    'etcdserverpb.Cluster/MemberList': () =>
      encode([1, member.header()], ...member.members.map((listed): Field => [2, listedMember(listed)])),
    'etcdserverpb.KV/Range': () => encode([1, member.header()]),
    'etcdserverpb.KV/Put': () => encode([1, member.header()]),
    'etcdserverpb.KV/Txn': () => encode([1, member.header()], [2, true]),
    'etcdserverpb.KV/Compact': () => encode([1, member.header()]),
    'etcdserverpb.Lease/LeaseGrant': () => encode([1, member.header()], [2, 1], [3, LEASE_SECONDS]),
    'etcdserverpb.Lease/LeaseRevoke': () => encode([1, member.header()]),
    'etcdserverpb.Auth/Authenticate': () => encode([1, member.header()], [2, member.token ?? 'token.1']),
  };

  function unary(method: string): (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => void {
    return (call, done) => {
      const request = decode(call.request);
      calls.push({ method, request, metadata: call.metadata });
      const authenticate = method === 'etcdserverpb.Auth/Authenticate';
      if (!authenticate && member.token !== undefined && call.metadata.get('token')[0] !== member.token) {
        done({ code: Code.UNAUTHENTICATED, details: 'etcdserver: invalid auth token' });
        return;
      }
      void answerCall(done, async () => member.answers.get(method)?.(request, call.metadata) ?? usual[method]!());
    };
  }

  async function streamSnapshot(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
    const method = 'etcdserverpb.Maintenance/Snapshot';
    calls.push({ method, request: decode(call.request), metadata: call.metadata });
    await member.answers.get(method)?.(decode(call.request), call.metadata);
    if (member.snapshot === undefined) throw new GrpcFailure(Code.UNIMPLEMENTED, 'this fake has no snapshot');
    await playSnapshot(call, member.snapshot, stopping.signal);
  }

  /** Every lease lives as long as this member. */
  function keepAlive(call: ServerDuplexStream<Buffer, Buffer>): void {
    call.on('data', (bytes: Buffer) => {
      calls.push({ method: 'etcdserverpb.Lease/LeaseKeepAlive', request: decode(bytes), metadata: call.metadata });
      call.write(encode([1, member.header()], [2, 1], [3, LEASE_SECONDS]));
    });
    call.on('end', () => call.end());
    call.on('error', () => undefined);
  }

  const bytes = { requestSerialize: identity, requestDeserialize: identity, responseSerialize: identity, responseDeserialize: identity };
  for (const service of new Set(Object.keys(usual).map((method) => method.split('/')[0]!))) {
    const methods = Object.keys(usual).filter((method) => method.startsWith(`${service}/`));
    const definition = methods.map((path) => [path, { path: `/${path}`, requestStream: false, responseStream: false, ...bytes }]);
    const handlers = methods.map((path) => [path, unary(path)]);
    if (service === 'etcdserverpb.Maintenance') {
      definition.push(['Snapshot', { path: `/${service}/Snapshot`, requestStream: false, responseStream: true, ...bytes }]);
      handlers.push([
        'Snapshot',
        (call: ServerWritableStream<Buffer, Buffer>): void => void answerStream(call, streamSnapshot(call)),
      ] as never);
    }
    if (service === 'etcdserverpb.Lease') {
      definition.push(['LeaseKeepAlive', { path: `/${service}/LeaseKeepAlive`, requestStream: true, responseStream: true, ...bytes }]);
      handlers.push(['LeaseKeepAlive', keepAlive as never]);
    }
    server.addService(Object.fromEntries(definition) as never, Object.fromEntries(handlers) as never);
  }
  const secure = tls === undefined ? ServerCredentials.createInsecure() : tlsCredentials(tls);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', secure, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  const endpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;

  function close(): Promise<void> {
    stopping.abort();
    server.forceShutdown();
    return Promise.resolve();
  }
  const name = options.name ?? 'fake';
  const member: FakeMember = {
    endpoint,
    clusterId: options.clusterId ?? 0xcdf818194e3a8c32n,
    memberId,
    name,
    revision: options.revision ?? 1n,
    snapshot: options.snapshot,
    status: {
      version: '3.6.16',
      dbSize: options.snapshot?.database.length ?? 20_480,
      dbSizeInUse: options.snapshot?.database.length ?? 16_384,
      leader: memberId,
      raftIndex: 10n,
      raftTerm: 2n,
      raftAppliedIndex: 10n,
      errors: [],
      isLearner: false,
      storageVersion: '3.6.0',
      dbSizeQuota: 2 * 1024 ** 3,
      ...options.status,
    },
    token: undefined,
    members: [{ id: memberId, name, clientUrls: [endpoint] }],
    answers: new Map(),
    calls,
    count: (method) => calls.filter((call) => call.method === method).length,
    header: () => encode([1, member.clusterId], [2, member.memberId], [3, member.revision], [4, member.status.raftTerm]),
    close,
    [Symbol.asyncDispose]: close,
  };
  return member;
}

async function playSnapshot(call: ServerWritableStream<Buffer, Buffer>, script: SnapshotScript, signal: AbortSignal): Promise<void> {
  const {
    database,
    blobBytes = BLOB_BYTES,
    version,
    dropBytes = 0,
    emptyBlobs = 0,
    emptyAt = 0,
    endAt,
    failAt,
    stallAt,
    delayMs = 0,
  } = script;
  const sent =
    dropBytes < 0 ? Buffer.concat([database, Buffer.alloc(-dropBytes, 0xee)]) : database.subarray(0, database.length - dropBytes);

  async function send(blob: Buffer, remaining: number): Promise<void> {
    if (delayMs > 0) await delay(delayMs, undefined, { signal });
    const fields: Field[] = [[2, script.constantRemaining ?? Math.max(0, remaining)]];
    if (blob.length > 0) fields.push([3, blob]);
    if (version !== undefined) fields.push([4, version]);
    if (!call.write(encode(...fields)) && !call.cancelled) await room(call);
    if (call.cancelled) throw new GrpcFailure(Code.CANCELLED, 'the client has gone');
  }

  // Where something happens: blobs are cut there.
  const stops = [endAt, failAt?.bytes, stallAt, emptyBlobs > 0 ? emptyAt : undefined].filter((stop) => stop !== undefined);
  for (let at = 0; ;) {
    if (emptyBlobs > 0 && at === emptyAt)
      for (let count = 0; count < emptyBlobs; count++) await send(Buffer.alloc(0), database.length - at);
    if (at === endAt) return;
    if (at === failAt?.bytes) throw new GrpcFailure(failAt.code ?? Code.UNAVAILABLE, failAt.details ?? 'the member is stopping');
    if (at === stallAt) await gone(call, signal);
    if (at >= sent.length) break;
    const to = Math.min(sent.length, at + blobBytes, ...stops.filter((stop) => stop > at));
    await send(sent.subarray(at, to), database.length - to);
    at = to;
  }
  if (script.omitTrailer !== true) await send(script.trailer ?? createHash('sha256').update(database).digest(), 0);
}

async function answerCall(done: sendUnaryData<Buffer>, answer: () => Promise<Buffer>): Promise<void> {
  try {
    done(null, await answer());
  } catch (error) {
    done({ code: error instanceof GrpcFailure ? error.code : Code.UNKNOWN, details: (error as Error).message });
  }
}

async function answerStream(call: ServerWritableStream<Buffer, Buffer>, streaming: Promise<void>): Promise<void> {
  try {
    await streaming;
    call.end();
  } catch (error) {
    // Not `destroy`: grpc-js would send no status.
    call.emit('error', { code: error instanceof GrpcFailure ? error.code : Code.UNKNOWN, details: (error as Error).message });
  }
}

/** Resolves when the client takes more, or is gone. */
function room(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
  return new Promise((resolve) => {
    function done(): void {
      for (const event of ['drain', 'cancelled', 'close']) call.off(event, done);
      resolve();
    }
    for (const event of ['drain', 'cancelled', 'close']) call.on(event, done);
  });
}

function gone(call: ServerWritableStream<Buffer, Buffer>, signal: AbortSignal): Promise<void> {
  return new Promise((_resolve, reject) => {
    const end = (): void => reject(new GrpcFailure(Code.CANCELLED, 'the client has gone'));
    call.once('cancelled', end);
    signal.addEventListener('abort', end, { once: true });
  });
}

/** Field numbers of StatusResponse in rpc.proto of etcd 3.6. */
function statusReply(member: FakeMember): Buffer {
  const { status } = member;
  return encode(
    [1, member.header()],
    [2, status.version],
    [3, status.dbSize],
    [4, status.leader],
    [5, status.raftIndex],
    [6, status.raftTerm],
    [7, status.raftAppliedIndex],
    ...status.errors.map((error): Field => [8, error]),
    [9, status.dbSizeInUse],
    [10, status.isLearner],
    [11, status.storageVersion],
    [12, status.dbSizeQuota],
  );
}

function listedMember({ id, name, clientUrls, isLearner = false }: FakeMember['members'][number]): Buffer {
  return encode([1, id], [2, name], [3, 'http://127.0.0.1:1'], ...clientUrls.map((url): Field => [4, url]), [5, isLearner]);
}

function tlsCredentials(tls: NonNullable<FakeMemberOptions['tls']>): ServerCredentials {
  const pair = { cert_chain: readFileSync(tls.serverCertFile), private_key: readFileSync(tls.serverKeyFile) };
  return ServerCredentials.createSsl(readFileSync(tls.caFile), [pair], tls.clientCertRequired ?? false);
}

function identity(bytes: Buffer): Buffer {
  return bytes;
}
