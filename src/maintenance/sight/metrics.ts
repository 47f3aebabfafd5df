/** One member's /metrics over HTTP: bounded in time and length, without credentials, and redirected nowhere. */
import { status as Code } from '@grpc/grpc-js';
import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { explainCall } from '../../etcd/call-errors.ts';
import { credentialsOf } from '../../etcd/credentials.ts';
import { parseEndpoint } from '../../etcd/endpoint.ts';
import { TlsMaterial } from '../../etcd/tls.ts';
import type { ClusterAccess } from '../../etcd/types.ts';
import type { MetricsAccess } from '../types.ts';
import { metricsParser, type MetricsReading } from './parse.ts';

export type { MetricsReading } from './parse.ts';

const TIMEOUT_MS = 5_000;
/** etcd's own is 100 to 200 KiB; one series more for each peer and each method. */
const MAX_LENGTH = 8 * 1024 * 1024;

export interface MetricsOptions {
  readonly signal?: AbortSignal | undefined;
  /** Of the whole answer; 5 s by default. */
  readonly timeoutMs?: number | undefined;
}

export interface MetricsReader {
  /**
   * @param endpoint client address of the member, in our own spelling
   * @throws WardenError `unreachable`, `timeout`, `tls-failed`, `etcd-failed` when something else than an etcd's metrics came, `config-invalid`, `interrupted`
   */
  read(endpoint: string, options?: MetricsOptions): Promise<MetricsReading>;
}

/** Where the metrics of a configured cluster's members are. */
export function metricsAccessOf(cluster: ClusterConfig): MetricsAccess {
  const { url, caFile, certFile, keyFile } = cluster.maintenance.metrics;
  const own = caFile !== undefined || certFile !== undefined || keyFile !== undefined;
  return {
    urlTemplate: url,
    tls: own
      ? {
          caFile: caFile ?? cluster.tls?.caFile,
          certFile: certFile ?? cluster.tls?.certFile,
          keyFile: keyFile ?? cluster.tls?.keyFile,
          insecureSkipVerify: cluster.tls?.insecureSkipVerify ?? false,
        }
      : undefined,
  };
}

/** The address of the metrics of the member at a client address. @throws WardenError `config-invalid` */
export function metricsUrl(endpoint: string, template: string | undefined): URL {
  const { url, host } = parseEndpoint(endpoint, false);
  if (template === undefined) return new URL(`${url}/metrics`);
  const text = template.replaceAll('{host}', isIPv6(host) ? `[${host}]` : host);
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  // It stands in errors, notes and logs.
  if (parsed !== undefined && (parsed.username !== '' || parsed.password !== ''))
    throw new WardenError('config-invalid', `maintenance.metricsUrl has a user or a password in it, for ${parsed.host}`, {
      hint: "etcd's metrics need none; where only some may read them, use a client certificate (`maintenance.metricsCertFile`)",
    });
  if (parsed?.protocol === 'http:' || parsed?.protocol === 'https:') return parsed;
  throw new WardenError('config-invalid', `maintenance.metricsUrl makes ${JSON.stringify(text)}, which is no http or https address`, {
    hint: "for example 'http://{host}:2381/metrics'",
  });
}

export function openMetrics(access: ClusterAccess, metrics: MetricsAccess): MetricsReader {
  const tls =
    metrics.tls === undefined ? credentialsOf(access).tls : new TlsMaterial({ ...metrics.tls, serverName: access.tls?.serverName });
  return {
    async read(endpoint, { signal, timeoutMs = TIMEOUT_MS } = {}) {
      const url = metricsUrl(endpoint, metrics.urlTemplate);
      const deadline = AbortSignal.timeout(timeoutMs);
      const stop = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
      try {
        return await readMetrics(url, tls, stop);
      } catch (error) {
        throw explain(error, url, { signal, deadline, timeoutMs });
      }
    },
  };
}

/** @throws whatever goes wrong */
export async function readMetrics(url: URL, tls: TlsMaterial, signal: AbortSignal): Promise<MetricsReading> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const options = { agent: false, signal, headers: { accept: 'text/plain; version=0.0.4' } } as const;
  const secure = url.protocol === 'https:';
  // Not imported: an import reads every export of node:http, and some of them load undici, the whole of fetch, when they are read: 70 ms.
  const { request: send } = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  const request = send(url, secure ? { ...options, ...tls.connectOptions(parseEndpoint(url.origin, true)) } : options, resolve);
  request.on('error', reject).end();
  try {
    const response = await promise;
    if (response.statusCode !== 200)
      throw new WardenError('etcd-failed', `${url.href} answers ${response.statusCode} ${response.statusMessage ?? ''}`.trimEnd());
    return await parse(url, response);
  } finally {
    request.destroy();
  }
}

async function parse(url: URL, response: IncomingMessage): Promise<MetricsReading> {
  const parser = metricsParser();
  let length = 0;
  // Label values may be any UTF-8, but nothing that counts here is beyond ASCII.
  for await (const chunk of response.setEncoding('latin1') as AsyncIterable<string>) {
    length += chunk.length;
    if (length > MAX_LENGTH) throw new WardenError('etcd-failed', `${url.href} answers more than ${MAX_LENGTH} bytes`);
    try {
      parser.push(chunk);
    } catch (error) {
      throw new WardenError('etcd-failed', `${url.href} answers with ${asError(error).message}`, { cause: error });
    }
  }
  const reading = parser.end();
  if (reading === undefined) throw new WardenError('etcd-failed', `what ${url.href} answers are not the metrics of an etcd`);
  return reading;
}

interface Limits {
  readonly signal: AbortSignal | undefined;
  readonly deadline: AbortSignal;
  readonly timeoutMs: number;
}

function explain(thrown: unknown, url: URL, { signal, deadline, timeoutMs }: Limits): WardenError {
  if (thrown instanceof WardenError) return thrown;
  const call = { endpoint: url.origin, method: `GET ${url.pathname}`, user: undefined, signal };
  if (deadline.aborted && !signal?.aborted)
    return new WardenError('timeout', `${url.href} did not answer within ${timeoutMs} ms`, { cause: thrown });
  // In gRPC's words, so that a broken TLS or a refused connection is told in the same sentences.
  const error = asError(thrown);
  const refused = Object.assign(new Error(error.message, { cause: error }), { code: Code.UNAVAILABLE, details: error.message });
  return explainCall(refused, { ...call, deadlineMs: undefined });
}
