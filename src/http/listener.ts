/**
 * A listener that stands up to what lies on a network: many idle connections, slow or huge requests, methods and paths that nobody serves.
 * Answers are small and made in memory; a request body is read by nobody but the handler that wants one, up to a limit.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { asError, WardenError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Address } from './address.ts';

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Request {
  readonly method: string;
  /** Percent-encoding not decoded: nobody serves a path that needs it. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

export type Handler = (request: Request) => Answer | Promise<Answer>;

export interface ListenerOptions {
  readonly address: Address;
  /** For errors and logs: `http.listen`. */
  readonly option: string;
  readonly handler: Handler;
  readonly logger: Logger;
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  readonly maxConnections?: number;
  readonly headersTimeoutMs?: number;
}

export interface Listener {
  /** As bound: the port is the real one when 0 was asked for. */
  readonly address: Address;
  /** A new certificate, for connections from now on. */
  setTls(tls: { readonly cert: string; readonly key: string }): void;
  /** Ends idle connections and lets requests finish for a moment. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const CLOSE_MS = 1_000;
const CLIENT_ERRORS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** @throws WardenError `address-unusable` when the address is taken or not of this machine */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const headersTimeout = options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS;
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout,
    requestTimeout: headersTimeout * 2,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: Math.min(5_000, headersTimeout),
    requireHostHeader: true,
  };
  const serve = (request: IncomingMessage, response: ServerResponse): void => void respond(request, response, options);
  // Not imported: an import reads every export of node:http, and some of them load undici, the whole of fetch, for as long as the daemon lives.
  const http = process.getBuiltinModule('node:http');
  const https = process.getBuiltinModule('node:https');
  const tlsServer =
    options.tls === undefined ? undefined : https.createServer({ ...limits, ...options.tls, handshakeTimeout: headersTimeout }, serve);
  const server: Server = tlsServer ?? http.createServer(limits, serve);
  evictOldestIdle(server, options.maxConnections ?? MAX_CONNECTIONS);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const status = CLIENT_ERRORS[error.code ?? ''] ?? '400 Bad Request';
    if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    else socket.destroy();
  });
  server.on('checkContinue', serve);
  server.on('checkExpectation', (_request, response) => end(response, { status: 417, body: '' }));
  server.on('upgrade', (_request, socket) => socket.destroy());
  server.on('connect', (_request, socket) => socket.destroy());
  await bind(server, options);
  server.on('error', (error) => options.logger.warn({ error, listener: options.option }, 'listener error'));
  const bound = server.address() as AddressInfo;
  return {
    address: { host: bound.address, port: bound.port },
    setTls: (tls) => tlsServer?.setSecureContext(tls),
    close: () => close(server),
  };
}

async function bind(server: Server, { address, option }: ListenerOptions): Promise<void> {
  const shown = `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why: Record<string, readonly [string, string]> = {
        EADDRINUSE: ['another process listens there', 'perhaps another etcd-warden; `ss -ltnp` shows who it is'],
        EADDRNOTAVAIL: ['this machine has no such address', `set ${option} to an address of this machine`],
        EACCES: ['a port below 1024 needs a capability', 'choose a port from 1024 on'],
        ENOTFOUND: ['the name does not resolve', `set ${option} to an address`],
      };
      const [sentence, hint] = why[error.code ?? ''] ?? [error.message, undefined];
      reject(new WardenError('address-unusable', `${option}: cannot listen on ${shown}: ${sentence}`, { hint, cause: error }));
    });
    server.listen({ ...(address.host === '' ? {} : { host: address.host }), port: address.port, backlog: 512 }, resolve);
  });
  server.removeAllListeners('error');
}

/**
 * Node's own limit refuses the newest connection, so that whoever holds the places open shuts probes out. Here the one that has been idle
 * longest goes instead: a probe that connects now is always served.
 */
function evictOldestIdle(server: Server, limit: number): void {
  const open = new Set<Socket>(); // insertion order = order of last use
  const busy = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      busy.delete(socket);
    });
    if (open.size <= limit) return;
    for (const oldest of open) {
      if (busy.has(oldest)) continue;
      open.delete(oldest);
      oldest.destroy();
      break;
    }
  });
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    // Behind TLS the request's socket is not the one that connected; then every connection counts as idle, and the oldest goes.
    const { socket } = request;
    busy.add(socket);
    response.once('close', () => {
      busy.delete(socket);
      if (open.delete(socket)) open.add(socket);
    });
  });
}

async function respond(request: IncomingMessage, response: ServerResponse, options: ListenerOptions): Promise<void> {
  try {
    const length = Number(request.headers['content-length'] ?? 0);
    if (length > MAX_BODY_BYTES) {
      end(response, { status: 413, body: 'the body is longer than 64 KiB\n' });
      return;
    }
    drain(request);
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    end(response, await options.handler({ method: request.method ?? 'GET', path, headers: request.headers }));
  } catch (thrown) {
    options.logger.error({ error: asError(thrown), listener: options.option }, 'a request could not be answered');
    end(response, { status: 500, body: '' });
  }
}

/** Nobody wants a body. It is thrown away as it comes, and the connection with it when it is longer than any body may be. */
function drain(request: IncomingMessage): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) request.destroy();
  });
}

function end(response: ServerResponse, answer: Answer): void {
  if (response.headersSent || response.destroyed) return;
  const keep = answer.status < 400;
  response.writeHead(answer.status, {
    'Content-Type': answer.contentType ?? 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(answer.body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...(keep ? {} : { Connection: 'close' }),
    ...answer.headers,
  });
  response.end(answer.body);
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const insist = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await closed;
  clearTimeout(insist);
}
