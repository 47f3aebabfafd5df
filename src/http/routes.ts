/** The paths of both listeners. Every answer is JSON but for metrics. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { hostOf } from './address.ts';
import type { Answer, Handler, Request } from './listener.ts';
import type { ApiSource, ProbeSource } from './types.ts';

/**
 * Probes and metrics. `/healthz` says only that the process lives and its event loop turns: a stale backup is no reason to restart anything.
 * `/readyz` is about the backups. Neither needs or takes a secret.
 */
export function probeRoutes(source: ProbeSource): Handler {
  return async (request) => {
    switch (request.path) {
      case '/healthz':
        return onlyGet(request) ?? json(200, { alive: true });
      case '/readyz': {
        const refused = onlyGet(request);
        if (refused !== undefined) return refused;
        const report = source.ready();
        return json(report.ready ? 200 : 503, report);
      }
      case '/metrics': {
        const refused = onlyGet(request);
        if (refused !== undefined) return refused;
        const { contentType, body } = await source.metrics();
        return { status: 200, contentType, body: request.method === 'HEAD' ? '' : body };
      }
      default:
        return problem(404, 'not-found', 'there are /healthz, /readyz and /metrics');
    }
  };
}

export interface ApiOptions {
  readonly source: ApiSource;
  /** Read for each request, so that a rotated file counts; undefined = calls that change something are refused. */
  readonly token: () => string | undefined;
  /** Lower case, without ports. */
  readonly hosts: ReadonlySet<string>;
}

const BACKUP = /^\/api\/v1\/clusters\/([a-z0-9][a-z0-9-]{0,39})\/backup$/;
const JOB = /^\/api\/v1\/jobs\/([0-9a-f-]{36})$/;

export function apiRoutes(options: ApiOptions): Handler {
  const { source } = options;
  return (request) => {
    // A page in somebody's browser can reach a loopback address under a name of its own (DNS rebinding); it cannot choose the Host header.
    const host = hostOf(request.headers.host);
    if (host === undefined || !options.hosts.has(host))
      return problem(421, 'wrong-host', 'the Host header names no host that this API serves; add it to api.hosts');
    if (source.stopping) return { ...problem(503, 'stopping', 'the daemon stops'), headers: { 'Retry-After': '10' } };
    if (!authorized(request, options.token())) {
      return {
        ...problem(401, 'unauthorized', 'send the token of api.token as `Authorization: Bearer …`'),
        headers: { 'WWW-Authenticate': 'Bearer realm="etcd-warden"' },
      };
    }
    const backup = BACKUP.exec(request.path)?.[1];
    if (backup !== undefined) return request.method === 'POST' ? startBackup(source, backup) : notAllowed('POST');
    const refused = onlyGet(request);
    const job = JOB.exec(request.path)?.[1];
    if (job !== undefined) {
      const view = source.job(job);
      return (
        refused ??
        (view === undefined
          ? problem(404, 'unknown-job', 'no such job; the last hundred are remembered until the daemon stops')
          : json(200, view))
      );
    }
    if (request.path === '/api/v1/status') return refused ?? json(200, source.status());
    return problem(404, 'not-found', 'see docs/api.md');
  };
}

function startBackup(source: ApiSource, cluster: string): Answer {
  const answer = source.startBackup(cluster);
  switch (answer.outcome) {
    case 'started':
    case 'joined':
      return {
        ...json(202, { job: answer.job, joined: answer.outcome === 'joined' }),
        headers: { Location: `/api/v1/jobs/${answer.job}` },
      };
    case 'unknown-cluster':
      return problem(404, 'unknown-cluster', `no cluster named ${cluster} is configured`);
    case 'starting':
      return { ...problem(503, 'starting', 'the daemon starts'), headers: { 'Retry-After': '1' } };
    case 'stopping':
      return problem(503, 'stopping', 'the daemon stops');
  }
}

/** Compares digests, which have one length, in constant time: neither the length nor the first wrong byte of a guess shows. */
function authorized(request: Request, token: string | undefined): boolean {
  if (token === undefined || token === '') return false;
  const given = /^Bearer ([\x21-\x7e]{1,1024})$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function onlyGet(request: Request): Answer | undefined {
  return request.method === 'GET' || request.method === 'HEAD' ? undefined : notAllowed('GET, HEAD');
}

function notAllowed(allow: string): Answer {
  return { ...problem(405, 'method-not-allowed', `allowed: ${allow}`), headers: { Allow: allow } };
}

function problem(status: number, code: string, message: string): Answer {
  return json(status, { error: { code, message } });
}

function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

/** What a Host header may say: the address itself, loopback names when it is one, and the names in the configuration. */
export function acceptedHosts(listenHost: string, configured: readonly string[]): Set<string> {
  const own = listenHost === '' || listenHost === '0.0.0.0' || listenHost === '::' ? [] : [listenHost];
  const local = ['localhost', '127.0.0.1', '::1'];
  return new Set([...own, ...local, ...configured].map((host) => (isIP(host) === 6 ? host : host.split(':')[0]!).toLowerCase()));
}
