import { Agent, createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { reset } from './reset.ts';

/** A proxy before a real S3 server that misbehaves on demand. Requests pass unchanged, Host included, because it is signed. */
export interface S3FaultProxy extends AsyncDisposable {
  readonly url: string;
  /** Every request so far, in the order of arrival. */
  readonly requests: readonly S3Request[];
  /** Lets calls fail from now on; several rules may stand, the first that fits is used. */
  fail(rule: FaultRule): AppliedRule;
  /** Takes all rules back; stalled requests are reset. */
  clear(): void;
  count(verb: S3Verb): number;
  /** The most calls of a verb that were under way at one time. */
  concurrent(verb: S3Verb): number;
  close(): Promise<void>;
}

export type S3Verb =
  | 'PutObject'
  | 'Copy'
  | 'Create'
  | 'UploadPart'
  | 'Complete'
  | 'Abort'
  | 'ListParts'
  | 'ListUploads'
  | 'Get'
  | 'Head'
  | 'List'
  | 'Delete'
  | 'DeleteMany'
  | 'Other';

export interface S3Request {
  readonly verb: S3Verb;
  readonly method: string;
  /** Bucket, key and query, as sent. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** What was answered; undefined = nothing yet, or no answer at all. */
  readonly status: number | undefined;
  /** The fault that it met. */
  readonly fault: FaultAction | undefined;
}

export interface FaultRule {
  readonly verb: S3Verb;
  /** The first call that fails, counted from now on; 1 by default. */
  readonly nth?: number;
  /** How many calls fail from then on; 1 by default. */
  readonly times?: number;
  /** Only calls whose decoded path contains this. */
  readonly path?: string;
  readonly action: FaultAction;
}

export interface AppliedRule {
  /** How many calls have failed by it. */
  readonly hits: number;
}

export type FaultAction =
  /** Answered by the proxy; the server sees the request only with `after`. */
  | {
      readonly status: number;
      readonly code: string;
      readonly message?: string;
      readonly headers?: Record<string, string>;
      readonly after?: boolean;
    }
  /** 200 with an Error document, as S3 does when something fails after it has sent the status. */
  | { readonly errorBody200: string }
  /** Connection reset: the server never saw it. */
  | 'reset-before'
  /** Connection reset when the server had answered: whether it acted is unknown to the client. */
  | 'reset-after'
  /** No answer, and the server never saw it. */
  | 'stall'
  /** No answer although the server acted. */
  | 'stall-after'
  /** Bytes per second, both ways. */
  | { readonly drip: number }
  /** Milliseconds before the request goes on. */
  | { readonly delayMs: number }
  /** The body breaks off after so many bytes: connection reset. */
  | { readonly shortRead: number }
  /** The body ends after so many bytes, and Content-Length says that this is all. */
  | { readonly shortBody: number }
  /** The body stops after so many bytes, and the connection stays open. */
  | { readonly stallAt: number }
  /** One bit differs in the middle: of the request's body for uploads, else of the answer's. */
  | 'flip-byte'
  /** The page before this one once more; the page itself when it is the first. */
  | 'repeat-page'
  /** The entries of the page in the opposite order. */
  | 'unsorted-page';

type Seen = { -readonly [Field in keyof S3Request]: S3Request[Field] };

export async function startS3FaultProxy(target: string): Promise<S3FaultProxy> {
  const upstream = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const requests: Seen[] = [];
  const rules: (FaultRule & { calls: number; hits: number })[] = [];
  const running = new Map<S3Verb, { now: number; most: number }>();
  const stalled = new Set<IncomingMessage>();
  let lastPage: Buffer | undefined;

  function faultFor(verb: S3Verb, path: string): FaultAction | undefined {
    for (const rule of rules) {
      if (rule.verb !== verb || (rule.path !== undefined && !decodeURIComponent(path).includes(rule.path))) continue;
      rule.calls++;
      const first = rule.nth ?? 1;
      if (rule.calls >= first && rule.calls < first + (rule.times ?? 1)) {
        rule.hits++;
        return rule.action;
      }
    }
    return undefined;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const verb = verbOf(request.method ?? 'GET', path, request.headers);
    const fault = faultFor(verb, path);
    const seen: Seen = { verb, method: request.method ?? 'GET', path, headers: request.headers, status: undefined, fault };
    requests.push(seen);
    const load = running.get(verb) ?? { now: 0, most: 0 };
    running.set(verb, { now: load.now + 1, most: Math.max(load.most, load.now + 1) });
    response.once('close', () => {
      const { now, most } = running.get(verb)!;
      running.set(verb, { now: now - 1, most });
    });
    response.once('finish', () => (seen.status = response.statusCode));

    if (fault === 'reset-before') {
      reset(request.socket);
    } else if (fault === 'stall') {
      stall(request);
      request.resume();
    } else if (typeof fault === 'object' && 'status' in fault && fault.after !== true) {
      await drain(request);
      answer(response, fault.status, errorDocument(fault.code, fault.message), fault.headers);
    } else if (typeof fault === 'object' && 'errorBody200' in fault) {
      await drain(request);
      answer(response, 200, errorDocument(fault.errorBody200));
    } else {
      if (typeof fault === 'object' && 'delayMs' in fault) await delay(fault.delayMs);
      await forward(request, response, fault, verb);
    }
  }

  function stall(request: IncomingMessage): void {
    stalled.add(request);
    request.once('close', () => stalled.delete(request));
  }

  async function forward(request: IncomingMessage, response: ServerResponse, fault: FaultAction | undefined, verb: S3Verb): Promise<void> {
    const { expect: _, ...headers } = request.headers;
    const outgoing = httpRequest({
      agent,
      host: upstream.hostname,
      port: upstream.port,
      method: request.method,
      path: request.url,
      headers,
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => outgoing.once('response', resolve).once('error', reject));
    // Attached at once: the error may come while the body is still being sent.
    answered.catch(() => undefined);
    response.once('close', () => outgoing.destroy());
    const uploading = verb === 'PutObject' || verb === 'UploadPart';
    const spoilt = uploading ? spoilers(fault, Number(request.headers['content-length'] ?? 0)) : [];
    await pipeline([request, ...spoilt, outgoing]).catch(() => undefined);
    const reply = await answered;

    if (fault === 'reset-after' || fault === 'stall-after' || (typeof fault === 'object' && 'status' in fault)) {
      await drain(reply);
      if (fault === 'reset-after') reset(request.socket);
      else if (fault === 'stall-after') stall(request);
      else answer(response, fault.status, errorDocument(fault.code, fault.message), fault.headers);
    } else if (verb === 'List') {
      await answerPage(reply, response, fault);
    } else {
      await answerBody(reply, response, uploading ? undefined : fault, request);
    }
  }

  async function answerPage(reply: IncomingMessage, response: ServerResponse, fault: FaultAction | undefined): Promise<void> {
    const page = await drain(reply);
    let shown = page;
    if (fault === 'repeat-page' && lastPage !== undefined) shown = lastPage;
    if (fault === 'unsorted-page') shown = reversed(page);
    lastPage = page;
    answer(response, reply.statusCode ?? 200, shown);
  }

  async function answerBody(
    reply: IncomingMessage,
    response: ServerResponse,
    fault: FaultAction | undefined,
    request: IncomingMessage,
  ): Promise<void> {
    const headers = { ...reply.headers };
    const length = Number(headers['content-length'] ?? 0);
    if (typeof fault === 'object' && 'shortBody' in fault) headers['content-length'] = String(Math.min(length, fault.shortBody));
    response.writeHead(reply.statusCode ?? 200, headers);
    // Silence in the middle ends when the rules are taken back.
    if (typeof fault === 'object' && 'stallAt' in fault) stall(request);
    try {
      await pipeline([reply, ...spoilers(fault, length), response]);
    } catch {
      // Cut on purpose, or one of the two sides is gone: the other must learn of it.
      reset(request.socket);
    }
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => reset(request.socket));
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  function clear(): void {
    rules.length = 0;
    for (const request of stalled) reset(request.socket);
  }
  async function close(): Promise<void> {
    clear();
    agent.destroy();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    fail(rule) {
      const applied = { ...rule, calls: 0, hits: 0 };
      rules.push(applied);
      return applied;
    },
    clear,
    count: (verb) => requests.filter((request) => request.verb === verb).length,
    concurrent: (verb) => running.get(verb)?.most ?? 0,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Path style only: /bucket/key. https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html */
function verbOf(method: string, path: string, headers: IncomingMessage['headers']): S3Verb {
  const url = new URL(path, 'http://s3');
  const query = url.searchParams;
  const key = url.pathname.split('/').slice(2).join('/');
  if (key === '') {
    if (method === 'GET' && query.has('uploads')) return 'ListUploads';
    if (method === 'GET' && (query.has('list-type') || query.has('prefix') || query.size === 0) && url.pathname !== '/') return 'List';
    return method === 'POST' && query.has('delete') ? 'DeleteMany' : 'Other';
  }
  if (query.has('uploads') && method === 'POST') return 'Create';
  if (query.has('uploadId')) {
    const verbs: Record<string, S3Verb> = { PUT: 'UploadPart', POST: 'Complete', DELETE: 'Abort', GET: 'ListParts' };
    return verbs[method] ?? 'Other';
  }
  for (const subresource of ['retention', 'legal-hold', 'tagging', 'acl', 'attributes']) if (query.has(subresource)) return 'Other';
  if (method === 'PUT' && headers['x-amz-copy-source'] !== undefined) return 'Copy';
  const verbs: Record<string, S3Verb> = { PUT: 'PutObject', GET: 'Get', HEAD: 'Head', DELETE: 'Delete' };
  return verbs[method] ?? 'Other';
}

/** What a body goes through on its way to suffer the fault. */
function spoilers(fault: FaultAction | undefined, length: number): Transform[] {
  if (fault === 'flip-byte') return [flip(Math.floor(length / 2))];
  if (typeof fault !== 'object') return [];
  if ('drip' in fault) return [drip(fault.drip)];
  if ('shortRead' in fault) return [cut(fault.shortRead, 'error')];
  if ('stallAt' in fault) return [cut(fault.stallAt, 'silence')];
  if ('shortBody' in fault) return [cut(fault.shortBody, 'end')];
  return [];
}

function flip(at: number): Transform {
  let position = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const offset = at - position;
      position += chunk.length;
      if (offset < 0 || offset >= chunk.length) {
        done(null, chunk);
        return;
      }
      const spoilt = Buffer.from(chunk);
      spoilt[offset]! ^= 0x10;
      done(null, spoilt);
    },
  });
}

function drip(bytesPerSecond: number): Transform {
  return new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      const step = Math.max(1, Math.floor(bytesPerSecond / 20));
      for (let at = 0; at < chunk.length && !this.destroyed; at += step) {
        this.push(chunk.subarray(at, at + step));
        await delay(50);
      }
      done();
    },
  });
}

/** Passes so many bytes on; what comes after is an error, makes it wait for ever, or is swallowed. */
function cut(bytes: number, after: 'error' | 'silence' | 'end'): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const passed = chunk.subarray(0, left);
      left -= passed.length;
      if (passed.length > 0) this.push(passed);
      if (passed.length === chunk.length || after === 'end') done();
      // The bytes before the cut must reach the client first.
      else if (after === 'error') setTimeout(() => done(new Error('cut')), 20);
    },
  });
}

async function drain(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function answer(response: ServerResponse, status: number, body: Buffer | string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body), ...headers });
  // HEAD has no body, whatever its length.
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

function errorDocument(code: string, message = 'injected by the fault proxy'): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>0</RequestId></Error>`;
}

function reversed(page: Buffer): Buffer {
  const text = page.toString();
  const entries = text.match(/<Contents>.*?<\/Contents>/gs) ?? [];
  if (entries.length < 2) return page;
  const start = text.indexOf(entries[0]!);
  const end = text.lastIndexOf('</Contents>') + '</Contents>'.length;
  return Buffer.from(text.slice(0, start) + entries.reverse().join('') + text.slice(end));
}
