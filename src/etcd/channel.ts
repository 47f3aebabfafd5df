/**
 * One gRPC channel to one endpoint. Nothing here retries: a call that was answered late may have been carried out, and which calls may be
 * asked again is known only to the caller.
 */
import { type ChannelOptions, Client, connectivityState, credentials, Metadata } from '@grpc/grpc-js';
import type { SecureContext } from 'node:tls';
import { WardenError } from '../errors.ts';
import { type Endpoint, hostAndPort } from './endpoint.ts';
import type { TlsMaterial } from './tls.ts';

/** What every channel to etcd is made with. */
export const COMMON_OPTIONS: ChannelOptions = {
  'grpc.enable_retries': 0,
  // HTTPS_PROXY is meant for object stores; etcd's own client dials directly too.
  'grpc.enable_http_proxy': 0,
  // Otherwise a member that was down is called unreachable for up to two minutes after it came back.
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // etcd answers pings closer than 5 s, or without a call, with GOAWAY too_many_pings.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 0,
  // Channels to the same address must not share a connection: a snapshot would starve the status calls beside it.
  'grpc.use_local_subchannel_pool': 1,
};

export interface Codec<Request, Reply> {
  /** As in `/etcdserverpb.Maintenance/Status`. */
  readonly path: string;
  encode(request: Request): Buffer;
  decode(bytes: Buffer): Reply;
}

export interface CallLimits {
  readonly token: string | undefined;
  readonly dialTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

export interface UnaryLimits extends CallLimits {
  /** Undefined = the answer is waited for as long as the signal allows. */
  readonly timeoutMs: number | undefined;
}

export class Channel {
  readonly #endpoint: Endpoint;
  readonly #tls: TlsMaterial;
  readonly #options: ChannelOptions;
  #client: Client | undefined;
  #context: SecureContext | undefined;

  constructor(endpoint: Endpoint, tls: TlsMaterial, options: ChannelOptions) {
    this.#endpoint = endpoint;
    this.#tls = tls;
    this.#options = options;
  }

  /** As {@link callUnary}. */
  unary<Request, Reply>(codec: Codec<Request, Reply>, request: Request, limits: UnaryLimits): Promise<Reply> {
    return callUnary(this.#connected(), this.#endpoint, codec, request, limits);
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** The client for the present TLS files. Calls still running on the former one go on to their end: closing a channel does not cut them. */
  #connected(): Client {
    if (!this.#endpoint.secure) {
      this.#client ??= new Client(hostAndPort(this.#endpoint), credentials.createInsecure(), { ...COMMON_OPTIONS, ...this.#options });
      return this.#client;
    }
    const context = this.#tls.context();
    if (this.#client === undefined || context !== this.#context) {
      this.#client?.close();
      this.#context = context;
      const secured = credentials.createFromSecureContext(context, this.#tls.verification(this.#endpoint));
      this.#client = new Client(hostAndPort(this.#endpoint), secured, {
        ...COMMON_OPTIONS,
        ...this.#options,
        ...this.#tls.channelOptions(this.#endpoint),
      });
    }
    return this.#client;
  }
}

/** One answer of whoever that client is connected to, or the error as gRPC gives it. */
export function callUnary<Request, Reply>(
  client: Client,
  endpoint: Endpoint,
  codec: Codec<Request, Reply>,
  request: Request,
  limits: UnaryLimits,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (limits.signal?.aborted) {
      reject(new Error('stopped before it was sent'));
      return;
    }
    let unwatch = (): void => {};
    const call = client.makeUnaryRequest(
      codec.path,
      (value: Request) => codec.encode(value),
      (bytes: Buffer) => codec.decode(bytes),
      request,
      metadata(limits.token),
      limits.timeoutMs === undefined ? {} : { deadline: Date.now() + limits.timeoutMs },
      (error, reply) => {
        unwatch();
        if (error !== null) reject(error);
        else if (reply === undefined) reject(new Error('an empty answer'));
        else resolve(reply);
      },
    );
    unwatch = watch(client, endpoint, limits, (error) => {
      reject(error);
      call.cancel();
    });
  });
}

/** Ends the call when the caller gives up, or when there is no connection after the dial timeout, which gRPC itself does not know. */
function watch(client: Client, endpoint: Endpoint, { signal, dialTimeoutMs }: CallLimits, stop: (error: Error) => void): () => void {
  const onAbort = (): void => stop(new Error('stopped', { cause: signal?.reason }));
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    if (client.getChannel().getConnectivityState(false) === connectivityState.READY) return;
    stop(new WardenError('unreachable', `no connection to ${endpoint.url} within ${dialTimeoutMs} ms`));
  }, dialTimeoutMs);
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
}

function metadata(token: string | undefined): Metadata {
  const result = new Metadata();
  if (token !== undefined) result.set('token', token);
  return result;
}
