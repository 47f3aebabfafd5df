import { connect as connectHttp2, constants, createServer as createHttp2Server } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { reset } from './reset.ts';

/** What is done to each call of one method. Steps in the order in which they come; whatever is left out passes as it is. */
export interface Interception {
  /** The member gets the request when this has resolved. */
  readonly before?: () => Promise<unknown> | void;
  /** The client gets this, and the member nothing. */
  readonly instead?: { readonly code: number; readonly message: string };
  /** The client gets the answer when this has resolved, counted from when the member has given it. */
  readonly after?: () => Promise<unknown> | void;
  /** The member has gone without an answer. */
  readonly lost?: () => void;
  /** The client has gone before the answer; what the member does it goes on doing. */
  readonly abandoned?: () => void;
  /** The client's connection is reset instead of the answer, as when a load balancer gives up. */
  readonly cut?: boolean;
}

/** Between clients and one member's client address, without TLS: gRPC calls can be held, refused and counted, and /metrics closed. */
export interface GrpcProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** Calls of a method (`etcdserverpb.Maintenance/Defragment`) that clients have made so far. */
  calls(method: string): number;
  /** From now on, until `heal`. */
  intercept(method: string, interception: Interception): void;
  /** The answers of this method wait for `release`; what comes later passes at once. */
  hold(method: string): HeldAnswers;
  /** HTTP/1 is reset from now on, until `heal`: a member whose client address serves gRPC only. */
  closeMetrics(): void;
  heal(): void;
  close(): Promise<void>;
}

export interface HeldAnswers {
  /** The member has answered the first call. */
  readonly answered: Promise<void>;
  release(): void;
}

/** What belongs to one hop only. */
const OF_THE_CONNECTION = new Set(['connection', 'host', 'keep-alive', 'transfer-encoding', 'proxy-connection', 'upgrade']);

export async function startGrpcProxy(target: string): Promise<GrpcProxy> {
  const url = new URL(target);
  const sockets = new Set<Socket>();
  /** Those that speak HTTP/1. */
  const plain = new Set<Socket>();
  const counts = new Map<string, number>();
  const interceptions = new Map<string, Interception>();
  let metricsClosed = false;

  const http2 = createHttp2Server();
  http2.on('sessionError', () => undefined);

  /** Each client's connection has one of its own to the member, so that the end of one is the end of the other. */
  function passCalls(client: Socket, member: Socket): void {
    const upstream = connectHttp2(target, { createConnection: () => member });
    upstream.on('error', () => undefined);
    http2.once('session', (session) => {
      session.on('error', () => undefined);
      session.on('stream', (stream, headers) => void pass(upstream, stream, headers).catch(() => stream.destroyed || reset(client)));
    });
    http2.emit('connection', client);
  }

  async function pass(upstream: ClientHttp2Session, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const method = String(headers[':path']).slice(1);
    counts.set(method, (counts.get(method) ?? 0) + 1);
    const interception = interceptions.get(method);
    stream.on('error', () => undefined);
    await interception?.before?.();
    if (stream.destroyed || upstream.destroyed) return void stream.destroy();
    if (interception?.instead !== undefined) return refuse(stream, interception.instead);

    const request = upstream.request(forwarded(headers));
    request.on('error', () => undefined);
    stream.on('close', () => request.destroy());
    stream.pipe(request);
    let trailers: IncomingHttpHeaders = {};
    request.on('trailers', (received) => (trailers = received));
    const [answer, ended] = await responseOf(request).catch((error: unknown) => {
      if (stream.destroyed) interception?.abandoned?.();
      else interception?.lost?.();
      throw error;
    });
    await interception?.after?.();
    if (interception?.cut === true) stream.session?.destroy();
    if (stream.destroyed) return;
    if (ended) {
      // An answer of trailers alone, as gRPC gives errors.
      stream.respond(forwarded(answer), { endStream: true });
      return;
    }
    stream.respond(forwarded(answer), { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(forwarded(trailers)));
    request.pipe(stream);
    request.on('close', () => {
      if (!request.readableEnded && !stream.destroyed) stream.session?.destroy();
    });
  }

  const server = createServer({ pauseOnConnect: true }, (client) => {
    // A member that is gone refuses, and so do we.
    const member = connect({ port: Number(url.port), host: url.hostname });
    for (const [socket, other] of [
      [client, member],
      [member, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true).on('error', () => undefined);
      socket.on('close', (failed) => {
        sockets.delete(socket);
        if (failed) reset(other);
        else other.destroy();
      });
    }
    member.once('connect', () => {
      client.once('readable', () => tell(client, member));
      client.resume().pause();
    });
  });

  /** The first bytes tell which protocol it is. */
  function tell(client: Socket, member: Socket): void {
    const first = client.read() as Buffer | null;
    if (first === null) return;
    client.unshift(first);
    if (first.subarray(0, 3).toString('latin1') === 'PRI') return passCalls(client, member);
    if (metricsClosed) return reset(client);
    plain.add(client);
    client.on('close', () => plain.delete(client));
    client.pipe(member).pipe(client);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  async function close(): Promise<void> {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
  return {
    endpoint: `http://127.0.0.1:${port}`,
    calls: (method) => counts.get(method) ?? 0,
    intercept: (method, interception) => void interceptions.set(method, interception),
    hold(method) {
      const answered = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      const after = async (): Promise<void> => {
        answered.resolve();
        await released.promise;
      };
      interceptions.set(method, { after });
      return { answered: answered.promise, release: released.resolve };
    },
    closeMetrics() {
      metricsClosed = true;
      for (const socket of plain) reset(socket);
    },
    heal() {
      metricsClosed = false;
      interceptions.clear();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** @returns the headers of the answer, and whether nothing follows them */
function responseOf(request: ReturnType<ClientHttp2Session['request']>): Promise<[IncomingHttpHeaders, boolean]> {
  return new Promise((resolve, reject) => {
    request.once('response', (headers, flags) => resolve([headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0]));
    request.once('close', () => reject(new Error('the member is gone')));
  });
}

function refuse(stream: ServerHttp2Stream, { code, message }: { readonly code: number; readonly message: string }): void {
  // As grpc-js decodes it.
  const status = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(code), 'grpc-message': encodeURI(message) };
  stream.respond(status, { endStream: true });
}

function forwarded(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_THE_CONNECTION.has(name)));
}
