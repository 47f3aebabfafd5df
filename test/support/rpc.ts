import { readFileSync } from 'node:fs';
import { Client, credentials, Metadata, type ChannelOptions } from '@grpc/grpc-js';
import { decode, encode, text, type Message } from './wire.ts';

export interface TlsFiles {
  readonly caFile: string;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/** A valid token; `fresh` when the last one was refused. Members take each other's tokens, which matters for learners: they let nobody log in. */
export type TokenSource = (fresh: boolean) => Promise<string>;

/** One connection to one member, for the tests' own calls. */
export interface Rpc {
  /** `method` as in `etcdserverpb.KV/Put`. Nothing is retried. */
  call(method: string, request: Buffer, options?: { timeoutMs?: number | undefined }): Promise<Message>;
  /** Resolves when it is connected, whatever pauses earlier failures have brought. */
  ready(timeoutMs?: number): Promise<void>;
  close(): void;
}

const OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.enable_retries': 0,
  // Each its own sockets, so that a test that cuts one connection cuts no other.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
};

export function connect(endpoint: string, access: { tls?: TlsFiles | undefined; token?: TokenSource | undefined } = {}): Rpc {
  const url = new URL(endpoint);
  const { tls, token } = access;
  const read = (file: string | undefined): Buffer | null => (file === undefined ? null : readFileSync(file));
  const secure =
    tls === undefined ? credentials.createInsecure() : credentials.createSsl(read(tls.caFile), read(tls.keyFile), read(tls.certFile));
  // The certificates hold this name as well, and TLS sends none for an address.
  const client = new Client(url.host, secure, tls === undefined ? OPTIONS : { ...OPTIONS, 'grpc.ssl_target_name_override': 'localhost' });

  async function call(method: string, request: Buffer, { timeoutMs = 10_000 }: { timeoutMs?: number | undefined } = {}): Promise<Message> {
    if (token === undefined) return send(method, request, new Metadata(), timeoutMs);
    async function withToken(fresh: boolean): Promise<Message> {
      const metadata = new Metadata();
      metadata.set('token', await token!(fresh));
      return send(method, request, metadata, timeoutMs);
    }
    // A member forgets its tokens when it starts again.
    return withToken(false).catch((error: Error) =>
      error.message.includes('invalid auth token') ? withToken(true) : Promise.reject(error),
    );
  }

  function send(method: string, request: Buffer, metadata: Metadata, timeoutMs: number): Promise<Message> {
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${method}`,
        (message: Buffer) => message,
        decode,
        request,
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, reply) => (reply === undefined ? reject(error ?? new Error('no reply')) : resolve(reply)),
      );
    });
  }

  function ready(timeoutMs = 10_000): Promise<void> {
    return new Promise((resolve, reject) => {
      client.waitForReady(Date.now() + timeoutMs, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  return { call, ready, close: () => client.close() };
}

/** Logs in at one member. */
export async function authenticate(rpc: Rpc, user: string, password: string): Promise<string> {
  return text(await rpc.call('etcdserverpb.Auth/Authenticate', encode([1, user], [2, password])), 2);
}
