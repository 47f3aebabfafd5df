/**
 * One endpoint as coordination uses it: one connection, on which the member behind it is asked for its cluster before anything else goes over it, and again
 * when the connection broke meanwhile. Behind an address there may be a stray: a member that was started as a new cluster or restored alone, or an address
 * that somebody else has by now. What was agreed with one of those would bind nobody.
 *
 * etcd3 makes the calls, tamed (all reproduced with 1.1.2, dependencies.md 2.3):
 * - its retries, which repeat calls on another host without asking: no-op policies, and one instance per endpoint, so that we choose;
 * - its login, which recurses without end on a refused token: the token comes from our login through an interceptor;
 * - its TLS, which reads the files once and knows no server name, and its connections, one for each service: the one channel is ours.
 */
import {
  Channel as GrpcChannel,
  Client,
  connectivityState,
  credentials as grpcCredentials,
  InterceptingCall,
  status as Code,
  type Interceptor,
} from '@grpc/grpc-js';
import type { Etcd3, IOptions } from 'etcd3';
import type { SecureContext } from 'node:tls';
import { WardenError } from '../errors.ts';
import { authenticated } from './authenticated.ts';
import { abortable, explainCall, interruption, tokenRefused } from './call-errors.ts';
import { callUnary, COMMON_OPTIONS } from './channel.ts';
import { STATUS } from './codecs.ts';
import { type Credentials, credentialsOf } from './credentials.ts';
import { type Endpoint, hostAndPort } from './endpoint.ts';
import { hex } from './ids.ts';
import type { Identity } from './majority.ts';
import { within } from './time-limit.ts';
import type { ClusterAccess } from './types.ts';

export interface Attempt {
  readonly client: Etcd3;
  /** For every call: etcd3 has no deadlines of its own. */
  readonly options: { readonly deadline: number };
  /** That the member at the other end belongs to. */
  readonly clusterId: bigint;
}

export interface LinkCall {
  /** For sentences. */
  readonly what: string;
  /** Of the attempt, with whatever it takes to connect and to ask who is there. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Nothing is sent to a member of another one. */
  readonly clusterId: bigint;
}

/** A connection, with all that is known of its other end. */
interface Live {
  readonly channel: SharedChannel;
  readonly context: SecureContext | undefined;
  /** Sends over the same channel. */
  readonly raw: Client;
  etcd: Promise<Etcd3> | undefined;
  token: string | undefined;
  /** How often the connection broke. */
  broken: number;
  /** Undefined until it was asked, and again when the connection broke. */
  identity: Identity | undefined;
  /** Who gave an answer although another was there before; that breaks the connection off. */
  foreign: Identity | undefined;
}

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

export class Link {
  readonly endpoint: Endpoint;
  /** Who answered here last, and when (performance.now()), although the connection may have broken since. */
  last: { readonly identity: Identity; readonly atMs: number } | undefined;
  readonly #access: ClusterAccess;
  readonly #credentials: Credentials;
  readonly #maxReplyBytes: number;
  readonly #closed = new AbortController();
  #live: Live | undefined;
  #asking: Promise<Identity> | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(access: ClusterAccess, endpoint: Endpoint, maxReplyBytes: number) {
    this.#access = access;
    this.#credentials = credentialsOf(access);
    this.endpoint = endpoint;
    this.#maxReplyBytes = maxReplyBytes;
  }

  /** Who is at the other end of the connection that stands now. */
  get present(): Identity | undefined {
    return this.#live?.identity;
  }

  /** Milliseconds since the other end was asked for the last time. */
  get sinceAskedMs(): number {
    return performance.now() - this.#askedMs;
  }

  /** Asks who is there, once for all who want to know. @throws WardenError why nobody answers */
  identify(signal: AbortSignal | undefined): Promise<Identity> {
    this.#asking ??= this.#ask()
      .catch((error: unknown) => {
        // Else gRPC would go on trying to connect, every two seconds.
        this.drop();
        throw error;
      })
      .finally(() => {
        this.#asking = undefined;
      });
    return abortable(this.#asking, signal, `asking who is at ${this.endpoint.url}`);
  }

  /**
   * Carries out an operation over this connection.
   * @throws WardenError `cluster-ids-disagree` when somebody else is there, or was by the time of the answer; and whatever calls may say
   */
  async call<T>({ what, timeoutMs, signal, clusterId }: LinkCall, operation: (attempt: Attempt) => Promise<T>): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    const context = { endpoint: this.endpoint.url, method: what, user: this.#access.user, signal, deadlineMs: timeoutMs };
    const attempt = (inTime: AbortSignal): Promise<T> =>
      authenticated(this.#credentials, this.endpoint, { signal: inTime, optional: false }, async (token) => {
        const live = await this.#admit(clusterId, inTime);
        live.token = token;
        try {
          const client = await (live.etcd ??= this.#etcd(live));
          if (signal?.aborted) throw interruption(signal, what);
          // etcd3 takes no signal: the caller stops waiting, the call itself ends with its deadline.
          const result = await abortable(operation({ client, options: { deadline }, clusterId }), signal, what);
          if (live.foreign === undefined) return result;
        } catch (error) {
          if (live.foreign === undefined) throw explainCall(error, context);
        }
        throw strayError(this.#access.name, live.foreign, clusterId);
      });
    try {
      return await within(timeoutMs, signal, attempt);
    } catch (error) {
      // A connection on which nothing came back is not waited for a second time; and TCP may take a quarter of an hour to call a silent one dead.
      if (error instanceof WardenError && BREAKS.has(error.code) && signal?.aborted !== true) this.drop();
      throw error;
    }
  }

  /** The next use connects anew, and asks anew. */
  drop(): void {
    const live = this.#live;
    this.#live = undefined;
    if (live === undefined) return;
    live.raw.close();
    live.etcd?.then(
      (etcd) => etcd.close(),
      () => {}, // was told to whoever wanted it
    );
    live.channel.shut();
  }

  close(): void {
    this.#closed.abort();
    this.drop();
  }

  /** @returns the connection, whose other end is of that cluster */
  async #admit(clusterId: bigint, signal: AbortSignal): Promise<Live> {
    const live = this.#connected();
    // Over a connection that did not break nobody else can answer.
    const identity = live.identity ?? (await this.identify(signal));
    if (identity.clusterId !== clusterId) throw strayError(this.#access.name, identity, clusterId);
    return this.#connected();
  }

  async #ask(): Promise<Identity> {
    const { requestTimeoutMs: timeoutMs, dialTimeoutMs, user } = this.#access;
    const { signal } = this.#closed;
    const { url } = this.endpoint;
    this.#askedMs = performance.now();
    for (let again = false; ; again = true) {
      const live = this.#connected();
      const { broken } = live;
      // Older releases answer it to anybody, so it is asked also when a login was impossible for want of a quorum.
      const { header } = await authenticated(this.#credentials, this.endpoint, { signal, optional: true }, (token) =>
        callUnary(live.raw, this.endpoint, STATUS, {}, { token, timeoutMs, dialTimeoutMs, signal }).catch((error: unknown) => {
          throw explainCall(error, { endpoint: url, method: 'Maintenance/Status', user, signal, deadlineMs: timeoutMs });
        }),
      );
      const identity = { endpoint: url, clusterId: header?.clusterId ?? 0n, memberId: header?.memberId ?? 0n };
      this.#remember(identity);
      if (live.broken === broken) live.identity = identity;
      // Else it broke around the answer: whoever is behind the new one has not been asked.
      if (live === this.#live && live.identity !== undefined) return identity;
      if (again) throw new WardenError('unreachable', `the connection to ${url} breaks again and again`);
    }
  }

  #remember(identity: Identity): void {
    this.last = { identity, atMs: performance.now() };
  }

  #connected(): Live {
    if (this.#closed.signal.aborted) throw new WardenError('interrupted', `the connection to ${this.endpoint.url} was closed`);
    const { secure } = this.endpoint;
    const context = secure ? this.#credentials.tls.context() : undefined;
    if (this.#live !== undefined && this.#live.context === context) return this.#live;
    this.drop();
    const address = hostAndPort(this.endpoint);
    const { tls } = this.#credentials;
    const secured =
      context === undefined
        ? grpcCredentials.createInsecure()
        : grpcCredentials.createFromSecureContext(context, tls.verification(this.endpoint));
    const channel = new SharedChannel(address, secured, {
      ...COMMON_OPTIONS,
      'grpc.max_receive_message_length': this.#maxReplyBytes,
      ...(secure ? tls.channelOptions(this.endpoint) : {}),
    });
    const raw = new Client(address, grpcCredentials.createInsecure(), { channelOverride: channel });
    const live: Live = { channel, context, raw, etcd: undefined, token: undefined, broken: 0, identity: undefined, foreign: undefined };
    onBreak(channel, () => {
      live.broken++;
      live.identity = undefined;
    });
    this.#live = live;
    return live;
  }

  async #etcd(live: Live): Promise<Etcd3> {
    // Loaded late: with its proto files it costs more memory than everything else here, and one-shot runs without coordination never need it.
    const { Etcd3 } = await import('etcd3');
    return new Etcd3({
      // http, so that etcd3 builds no TLS credentials; the channel below is what counts.
      hosts: [`http://${hostAndPort(this.endpoint)}`],
      faultHandling: { global: NO_POLICY, host: () => NO_POLICY },
      defaultCallOptions: (call) => (call.isStream ? {} : { deadline: Date.now() + this.#access.requestTimeoutMs }),
      grpcOptions: { channelFactoryOverride: () => live.channel, interceptors: [this.#interceptor(live)] },
    });
  }

  /** Adds the token, keeps the one error text from etcd3 on which it would recurse without end, and looks who answers. */
  #interceptor(live: Live): Interceptor {
    return (options, nextCall) => {
      const call = nextCall(options);
      return new InterceptingCall(call, {
        start: (metadata, _listener, next) => {
          if (live.token !== undefined) metadata.set('token', live.token);
          next(metadata, {
            onReceiveMessage: (message, forward) => {
              this.#lookAt(message, live);
              forward(message);
            },
            onReceiveStatus: (status, forward) => {
              if (live.foreign !== undefined) forward({ ...status, code: Code.FAILED_PRECONDITION, details: 'somebody else answered' });
              else if (!tokenRefused(new Error(status.details))) forward(status);
              else forward({ ...status, details: status.details.replace('etcdserver:', 'auth:') });
            },
          });
          // It broke since, as between two calls of one operation: gRPC would connect anew, to whoever is there now.
          if (live.identity === undefined) call.cancelWithStatus(Code.UNAVAILABLE, 'the connection broke');
        },
      });
    };
  }

  /** Behind a proxy that passes calls on one by one, or where the connection broke between the question and the call, somebody else may answer. */
  #lookAt(message: unknown, live: Live): void {
    const header = headerOf(message);
    const { identity } = live;
    // Where it broke meanwhile nothing is known, and what was asked before the break counts.
    const expected = identity ?? this.last?.identity;
    if (header === undefined || expected === undefined || header.clusterId === expected.clusterId) return;
    live.foreign = { endpoint: this.endpoint.url, ...header };
    this.#remember(live.foreign);
    if (live === this.#live) this.drop();
  }
}

/** @param name of the cluster as it is configured */
export function strayError(name: string, { endpoint, clusterId }: Identity, expected: bigint): WardenError {
  return new WardenError(
    'cluster-ids-disagree',
    `${endpoint} belongs to cluster ${hex(clusterId)} and not to ${hex(expected)}, as ${name} does`,
    {
      hint: 'remove the endpoints of the other cluster from the configuration, or bring that member back with `etcd-warden member replace`',
    },
  );
}

/** What ends a connection. */
const BREAKS = new Set<WardenError['code']>(['unreachable', 'timeout', 'tls-failed']);

/** etcd3 closes the channels of its services one by one, also after a failure; this one ends when its owner says so. */
class SharedChannel extends GrpcChannel {
  override close(): void {}

  shut(): void {
    super.close();
  }
}

/** Each time that an established connection is lost, until the channel is shut. */
function onBreak(channel: GrpcChannel, listener: () => void): void {
  const state = channel.getConnectivityState(false);
  if (state === connectivityState.SHUTDOWN) return;
  channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => {
    if (state === connectivityState.READY) listener();
    onBreak(channel, listener);
  });
}

/** As etcd3 decodes it: ids are decimal text. */
function headerOf(message: unknown): { readonly clusterId: bigint; readonly memberId: bigint } | undefined {
  if (typeof message !== 'object' || message === null || !('header' in message)) return undefined;
  const header = message.header as { readonly cluster_id?: string; readonly member_id?: string } | null;
  if (header?.cluster_id === undefined || header.cluster_id === '0') return undefined;
  return { clusterId: BigInt(header.cluster_id), memberId: BigInt(header.member_id ?? 0) };
}

/** Calls through, once. */
const NO_POLICY: Policy = {
  _altReturn: undefined as never,
  onSuccess: () => ({ dispose: () => {} }),
  onFailure: () => ({ dispose: () => {} }),
  execute: async (call, signal) => call({ signal: signal ?? new AbortController().signal }),
};
