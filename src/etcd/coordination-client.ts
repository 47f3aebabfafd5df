/**
 * etcd3, tamed, for the few keys with which daemons coordinate. What is taken from it are its messages, its transactions and its leases.
 * What is kept away from it, all reproduced with 1.1.2 (dependencies.md 2.3):
 * - its retries, which repeat calls on another host without asking: no-op policies, and one instance per endpoint, so that we choose;
 * - its login, which recurses without end on a refused token: the token comes from our shared login through an interceptor;
 * - its TLS, which reads the files once and knows no server name: its channels are made by us.
 */
import { Channel as GrpcChannel, credentials as grpcCredentials, InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import type { Etcd3, IOptions } from 'etcd3';
import type { SecureContext } from 'node:tls';
import { asError, WardenError } from '../errors.ts';
import { abortable, explainCall, interruption, tokenRefused } from './call-errors.ts';
import { COMMON_OPTIONS } from './channel.ts';
import { type Credentials, credentialsOf } from './credentials.ts';
import { type Endpoint, hostAndPort } from './endpoint.ts';
import type { ClusterAccess } from './types.ts';

export interface Attempt {
  readonly client: Etcd3;
  /** For every call: etcd3 has no deadlines of its own. */
  readonly options: { readonly deadline: number };
}

interface Connected {
  readonly client: Etcd3;
  readonly context: SecureContext | undefined;
}

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/** Failures after which another endpoint may answer. */
const MOVE_ON = new Set(['unreachable', 'timeout', 'no-quorum', 'tls-failed', 'etcd-failed', 'learner']);

export class CoordinationClient {
  readonly #access: ClusterAccess;
  readonly #credentials: Credentials;
  readonly #maxReplyBytes: number;
  readonly #connected = new Map<string, Connected>();
  /** The endpoint that answered last is asked first. */
  #order: readonly Endpoint[];

  /** @param maxReplyBytes the longest reply that is taken; gRPC's own bound of 4 MiB is plenty for what daemons agree on, not for values */
  constructor(access: ClusterAccess, maxReplyBytes = 4 * 1024 * 1024) {
    this.#access = access;
    this.#maxReplyBytes = maxReplyBytes;
    this.#credentials = credentialsOf(access);
    this.#order = this.#credentials.endpoints;
  }

  /**
   * Carries out an operation at the first endpoint that can, within twice the request timeout. The operation may be repeated after an unclear
   * failure, so it must come out the same when it had been carried out before.
   * @param timeoutMs of one attempt; the request timeout unless it is shorter
   * @throws WardenError what the last endpoint said
   */
  async run<T>(
    what: string,
    signal: AbortSignal | undefined,
    operation: (attempt: Attempt) => Promise<T>,
    timeoutMs: number = Number.POSITIVE_INFINITY,
  ): Promise<T> {
    const attemptMs = Math.min(timeoutMs, this.#access.requestTimeoutMs);
    const end = Date.now() + 2 * this.#access.requestTimeoutMs;
    let failure: WardenError | undefined;
    for (const endpoint of this.#order) {
      const left = end - Date.now();
      if (left <= 0) break;
      try {
        const result = await this.#at(endpoint, what, Math.min(left, attemptMs), signal, operation);
        this.#order = [endpoint, ...this.#order.filter((one) => one !== endpoint)];
        return result;
      } catch (error) {
        failure =
          error instanceof WardenError ? error : new WardenError('etcd-failed', `${what}: ${asError(error).message}`, { cause: error });
        if (!MOVE_ON.has(failure.code)) break;
        // So that a silent endpoint is not what the next call waits for first.
        this.#order = [...this.#order.filter((one) => one !== endpoint), endpoint];
        // Nobody waits any more, and the others have not been asked: to count it against them as well would leave the silent one first.
        if (signal?.aborted === true) break;
      }
    }
    throw failure ?? new WardenError('timeout', `${what} did not end within ${2 * this.#access.requestTimeoutMs} ms`);
  }

  close(): void {
    for (const { client } of this.#connected.values()) client.close();
    this.#connected.clear();
  }

  async #at<T>(
    endpoint: Endpoint,
    what: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    operation: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const mayLogIn = this.#credentials.mayLogInAt(endpoint);
    let token = mayLogIn ? await this.#credentials.token(signal) : undefined;
    for (let renewed = false; ; renewed = true) {
      try {
        if (signal?.aborted) throw interruption(signal, what);
        const client = await this.#client(endpoint);
        // etcd3 takes no signal: the caller stops waiting, the call itself ends with its deadline.
        return await abortable(operation({ client, options: { deadline: Date.now() + timeoutMs } }), signal, what);
      } catch (error) {
        const refused = tokenRefused(error);
        if (!refused || renewed || !mayLogIn) throw this.#explain(error, endpoint, what, timeoutMs, signal);
        token = await this.#credentials.renewedToken(token, signal);
      }
    }
  }

  async #client(endpoint: Endpoint): Promise<Etcd3> {
    const context = endpoint.secure ? this.#credentials.tls.context() : undefined;
    const known = this.#connected.get(endpoint.url);
    if (known !== undefined && known.context === context) return known.client;
    known?.client.close();
    // Loaded late: with its proto files it costs more memory than everything else here, and one-shot runs without coordination never need it.
    const { Etcd3 } = await import('etcd3');
    const secured =
      context === undefined
        ? grpcCredentials.createInsecure()
        : grpcCredentials.createFromSecureContext(context, this.#credentials.tls.verification(endpoint));
    const client = new Etcd3({
      // http, so that etcd3 builds no TLS credentials; the channel below is what counts.
      hosts: [`http://${hostAndPort(endpoint)}`],
      faultHandling: { global: NO_POLICY, host: () => NO_POLICY },
      defaultCallOptions: (call) => (call.isStream ? {} : { deadline: Date.now() + this.#access.requestTimeoutMs }),
      grpcOptions: {
        channelFactoryOverride: (address: string) =>
          new GrpcChannel(address, secured, {
            ...COMMON_OPTIONS,
            'grpc.max_receive_message_length': this.#maxReplyBytes,
            ...(endpoint.secure ? this.#credentials.tls.channelOptions(endpoint) : {}),
          }),
        interceptors: [this.#interceptor(endpoint)],
      },
    });
    this.#connected.set(endpoint.url, { client, context });
    return client;
  }

  /** Adds the token, and keeps the one error text from etcd3 on which it would recurse without end. */
  #interceptor(endpoint: Endpoint): Interceptor {
    const mayLogIn = this.#credentials.mayLogInAt(endpoint);
    return (options, nextCall) =>
      new InterceptingCall(nextCall(options), {
        start: (metadata, _listener, next) => {
          const token = mayLogIn ? this.#credentials.currentToken : undefined;
          if (token !== undefined) metadata.set('token', token);
          next(metadata, {
            onReceiveStatus: (status, forward) =>
              forward(
                tokenRefused(new Error(status.details)) ? { ...status, details: status.details.replace('etcdserver:', 'auth:') } : status,
              ),
          });
        },
      });
  }

  #explain(thrown: unknown, endpoint: Endpoint, method: string, deadlineMs: number, signal: AbortSignal | undefined): WardenError {
    return explainCall(thrown, { endpoint: endpoint.url, method, user: this.#access.user, signal, deadlineMs });
  }
}

/** Calls through, once. */
const NO_POLICY: Policy = {
  _altReturn: undefined as never,
  onSuccess: () => ({ dispose: () => {} }),
  onFailure: () => ({ dispose: () => {} }),
  execute: async (call, signal) => call({ signal: signal ?? new AbortController().signal }),
};
