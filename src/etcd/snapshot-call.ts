/**
 * The Snapshot call on node:http2 itself. Every other call goes through grpc-js; this one carries gigabytes, and grpc-js copies each message and
 * passes it through five layers: 1.7 s of processor time for 500 MB against 0.7 s here, on a machine that compresses at the same time
 * (docs/decisions/0005). What gRPC asks of a client is little: headers, five bytes before each message, a status in the trailers.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2';
import { status as Code } from '@grpc/grpc-js';
import { asError } from '../errors.ts';
import { type Endpoint, hostAndPort } from './endpoint.ts';
import { createSnapshotParser } from './snapshot-parser.ts';
import type { TlsMaterial } from './tls.ts';
import type { SnapshotMessage } from './types.ts';

export const SNAPSHOT_METHOD = 'Maintenance/Snapshot';

/** Loopback is content with 1 MiB; a link of 10 Gbit/s and 5 ms needs 6 MiB. */
const WINDOW = 8 * 1024 * 1024;
/** etcd answers pings closer than 5 s with GOAWAY too_many_pings. */
const PING_EVERY_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;
/** A member that hangs takes no reset either. */
const CANCEL_TIMEOUT_MS = 1_000;
/** SnapshotRequest is empty: not compressed, no bytes. */
const REQUEST = Buffer.alloc(5);

export interface SnapshotSink {
  piece(piece: SnapshotMessage): void;
  /** The member said that all is well. */
  end(): void;
  /** Once, instead of `end`; with `code` and `details` as gRPC has them. */
  failed(error: Error): void;
}

export interface SnapshotCall {
  pause(): void;
  resume(): void;
  /** Tells the member to end its read transaction; nothing reaches the sink afterwards. */
  cancel(): void;
}

export interface SnapshotCallLimits {
  readonly token: string | undefined;
  readonly dialTimeoutMs: number;
}

/** Opens a connection of its own, so that the TLS files count as they are now and no other call waits behind the stream. */
export function callSnapshot(endpoint: Endpoint, tls: TlsMaterial, limits: SnapshotCallLimits, sink: SnapshotSink): SnapshotCall {
  let done = false;
  let trailers: IncomingHttpHeaders | undefined;
  const session = openSession(endpoint, tls);
  const request = session.request(headersOf(endpoint, limits.token));
  const parser = createSnapshotParser((piece) => sink.piece(piece));

  function finish(error: Error | undefined): void {
    if (done) return;
    done = true;
    stopTimers();
    if (error === undefined) sink.end();
    else sink.failed(error);
    session.destroy();
  }

  const dial = setTimeout(() => finish(failure(Code.UNAVAILABLE, `no connection within ${limits.dialTimeoutMs} ms`)), limits.dialTimeoutMs);
  const stopPinging = keepAlive(session, () => finish(failure(Code.UNAVAILABLE, `no answer to a ping within ${PING_TIMEOUT_MS} ms`)));
  function stopTimers(): void {
    clearTimeout(dial);
    stopPinging();
  }

  // Only the settings of the other side show that something there speaks HTTP/2: a TCP connection alone may lead into the void.
  session.once('remoteSettings', () => {
    clearTimeout(dial);
    if (!session.destroyed) session.setLocalWindowSize(WINDOW);
  });
  session.on('error', (error) => finish(failure(Code.UNAVAILABLE, asError(error).message)));
  session.on('close', () => finish(failure(Code.UNAVAILABLE, 'the connection was closed')));

  request.on('response', (headers) => {
    // An error before the first message: the status comes with the headers and no trailers follow.
    if (headers['grpc-status'] !== undefined) trailers = headers;
    else if (headers[':status'] !== 200) finish(failure(Code.UNKNOWN, `HTTP status ${headers[':status']}`));
  });
  request.on('trailers', (headers) => {
    trailers = headers;
  });
  request.on('data', (chunk: Buffer) => {
    if (done) return;
    try {
      parser.write(chunk);
    } catch (error) {
      finish(failure(Code.INTERNAL, asError(error).message));
    }
  });
  request.on('end', () => finish(outcome(trailers, request, parser.atBoundary)));
  request.on('error', (error) => finish(failure(Code.UNAVAILABLE, asError(error).message)));
  request.on('close', () => finish(failure(Code.UNAVAILABLE, 'the stream was closed')));
  request.end(REQUEST);

  return {
    pause: () => request.pause(),
    resume: () => request.resume(),
    cancel: () => {
      if (done) return;
      done = true;
      stopTimers();
      request.on('error', () => {});
      // The session goes only after the reset is written, else the member would have to notice the broken connection.
      if (session.connecting) {
        session.destroy();
        return;
      }
      request.close(constants.NGHTTP2_CANCEL, () => session.destroy());
      setTimeout(() => session.destroy(), CANCEL_TIMEOUT_MS).unref();
    },
  };
}

function openSession(endpoint: Endpoint, tls: TlsMaterial): ClientHttp2Session {
  const options: SecureClientSessionOptions = {
    settings: { initialWindowSize: WINDOW, enablePush: false },
    // In MB. At its limit Node resets streams; what may wait is bounded by the window.
    maxSessionMemory: 1024,
    ...(endpoint.secure ? tls.connectOptions(endpoint) : {}),
  };
  return connect(endpoint.url, options);
}

function headersOf(endpoint: Endpoint, token: string | undefined): Record<string, string> {
  return {
    ':method': 'POST',
    ':path': `/etcdserverpb.${SNAPSHOT_METHOD}`,
    ':authority': hostAndPort(endpoint),
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'etcd-warden',
    ...(token === undefined ? {} : { token }),
  };
}

/** Undefined when the member ended the stream in good order. */
function outcome(trailers: IncomingHttpHeaders | undefined, request: ClientHttp2Stream, atBoundary: boolean): Error | undefined {
  const status = trailers?.['grpc-status'];
  if (trailers === undefined || status === undefined) {
    const reset = request.rstCode === constants.NGHTTP2_NO_ERROR ? '' : `, HTTP/2 code ${request.rstCode}`;
    return failure(Code.UNAVAILABLE, `the stream ended without a status${reset}`);
  }
  const code = Number(status);
  if (code !== 0) return failure(code, decode(String(trailers['grpc-message'] ?? `status ${code}`)));
  return atBoundary ? undefined : failure(Code.INTERNAL, 'the stream ended inside a message');
}

/** gRPC percent-encodes the message. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function keepAlive(session: ClientHttp2Session, dead: () => void): () => void {
  let waiting: NodeJS.Timeout | undefined;
  const every = setInterval(() => {
    if (session.destroyed || session.closed || waiting !== undefined) return;
    waiting = setTimeout(dead, PING_TIMEOUT_MS);
    session.ping(() => {
      clearTimeout(waiting);
      waiting = undefined;
    });
  }, PING_EVERY_MS);
  return () => {
    clearInterval(every);
    clearTimeout(waiting);
  };
}

function failure(code: number, details: string): Error {
  return Object.assign(new Error(details), { code, details });
}
