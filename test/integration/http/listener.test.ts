import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { WardenError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { listen, type Listener, type ListenerOptions } from '../../../src/http/listener.ts';
import { apiRoutes, acceptedHosts, probeRoutes } from '../../../src/http/routes.ts';
import { checkApi } from '../../../src/http/start.ts';
import type { ApiSource, ReadyReport } from '../../../src/http/types.ts';

const open: Listener[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(open.splice(0).map((listener) => listener.close()));
});

let ready: ReadyReport = { ready: true, reasons: [], clusters: {} };
const probes = probeRoutes({
  ready: () => ready,
  metrics: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'x 1\n' }),
});

async function start(part: Partial<ListenerOptions> = {}): Promise<{ url: string; port: number }> {
  const listener = await listen({
    address: { host: '127.0.0.1', port: 0 },
    option: 'http.listen',
    handler: probes,
    logger: silentLogger,
    ...part,
  });
  open.push(listener);
  return { url: `http://127.0.0.1:${listener.address.port}`, port: listener.address.port };
}

/** Bytes as they are, for what no client would send. */
async function raw(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  socket.write(request);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

describe('probes', () => {
  test('healthz says that the process lives, readyz about the backups, metrics in their own format', async () => {
    const { url } = await start();
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ alive: true });
    ready = { ready: false, reasons: [{ cluster: 'prod', code: 'too-old', message: 'the newest is 9 h old' }], clusters: {} };
    const answer = await fetch(`${url}/readyz`);
    expect({ status: answer.status, body: await answer.json() }).toMatchObject({ status: 503, body: { reasons: [{ code: 'too-old' }] } });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    ready = { ready: true, reasons: [], clusters: {} };
    expect((await fetch(`${url}/readyz?verbose`)).status).toBe(200);
    const metrics = await fetch(`${url}/metrics`);
    expect([metrics.headers.get('content-type'), await metrics.text()]).toEqual(['text/plain; version=0.0.4', 'x 1\n']);
    expect((await fetch(`${url}/metrics`, { method: 'HEAD' })).status).toBe(200);
  });

  test('fault 78: healthz answers at once under a thousand idle connections', async () => {
    const { url, port } = await start();
    for (let i = 0; i < 1000; i += 1) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {}); // evicted ones may be reset
      sockets.push(socket);
    }
    await Promise.all(
      sockets.map(
        (socket) => new Promise((resolve) => (socket.connecting ? socket.once('connect', resolve).once('close', resolve) : resolve(0))),
      ),
    );
    const begin = performance.now();
    for (const path of ['/healthz', '/metrics', '/readyz']) expect((await fetch(url + path)).status).toBe(200);
    expect(performance.now() - begin).toBeLessThan(2000);
  });

  test('fault 78: a connection whose headers never end is closed in time', async () => {
    const { port } = await start({ headersTimeoutMs: 300 });
    expect(await raw(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ')).toMatch(/^HTTP\/1.1 408 /);
  });

  test('fault 78: huge headers are refused by their name', async () => {
    const { url, port } = await start();
    expect(await raw(port, `GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: ${'a'.repeat(40_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test.each(['POST', 'PUT', 'DELETE', 'PATCH'])('fault 78: %s to a probe is not allowed, and says what is', async (method) => {
    const { url } = await start();
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      const answer = await fetch(url + path, { method, body: 'x' });
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    }
  });

  test.each([
    '/../../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '//healthz',
    '/healthz/',
    '/healthz%00',
    '/HEALTHZ',
    '/',
    '/etc/passwd',
    '/metrics/../healthz',
    'http://evil/healthz',
    '*',
  ])('fault 78: there is nothing at %s', async (path) => {
    const { port } = await start();
    expect(await raw(port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 404 [^]*"code":"not-found"/,
    );
  });

  test('a body beyond 64 KiB is refused without being read, announced or not', async () => {
    const { port, url } = await start();
    expect(await raw(port, 'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n')).toMatch(/^HTTP\/1.1 413 /);
    const chunk = `10000\r\n${'a'.repeat(0x10000)}\r\n`;
    await raw(port, `POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(40)}`).catch(() => {});
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test('garbage, upgrades and CONNECT end the connection and nothing else', async () => {
    const { url, port } = await start();
    expect(await raw(port, '\u0016\u0003\u0001 this is TLS\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
    await raw(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n').catch(() => {});
    await raw(port, 'CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n').catch(() => {});
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test('fault 78: a port in use is one clear sentence with the option that sets it', async () => {
    const { port } = await start();
    const again = start({ address: { host: '127.0.0.1', port } });
    await expect(again).rejects.toMatchObject({
      code: 'address-unusable',
      message: `http.listen: cannot listen on 127.0.0.1:${port}: another process listens there`,
    });
    await expect(start({ address: { host: '192.0.2.1', port: 0 } })).rejects.toMatchObject({ message: /this machine has no such address/ });
  });

  test('a handler that throws is a 500 without its message', async () => {
    const { url } = await start({
      handler: () => {
        throw new Error('secret detail');
      },
    });
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([500, '']);
  });
});

const JOB = '123e4567-e89b-42d3-a456-426614174000';
const TOKEN = 'correct horse battery staple'.replaceAll(' ', '-');

describe('the API', () => {
  const started: string[] = [];
  let stopping = false;
  const source: ApiSource = {
    get stopping() {
      return stopping;
    },
    startBackup: (cluster) =>
      cluster === 'prod'
        ? { outcome: started.push(cluster) > 1 ? 'joined' : 'started', job: JOB }
        : { outcome: cluster === 'late' ? 'starting' : 'unknown-cluster' },
    job: (id) => (id === JOB ? { id, state: 'running' } : undefined),
    status: () => ({ version: '1' }),
  };
  const api = (token: string | undefined = TOKEN) =>
    start({ handler: apiRoutes({ source, token: () => token, hosts: acceptedHosts('127.0.0.1', ['warden.example']) }) });
  const bearer = { authorization: `Bearer ${TOKEN}` };
  afterEach(() => {
    started.length = 0;
    stopping = false;
  });

  test('a backup is started with the token, answered with its job, and joined the second time', async () => {
    const { url } = await api();
    const first = await fetch(`${url}/api/v1/clusters/prod/backup`, { method: 'POST', headers: bearer });
    expect([first.status, first.headers.get('location'), await first.json()]).toEqual([
      202,
      `/api/v1/jobs/${JOB}`,
      { job: JOB, joined: false },
    ]);
    expect(await (await fetch(`${url}/api/v1/clusters/prod/backup`, { method: 'POST', headers: bearer })).json()).toEqual({
      job: JOB,
      joined: true,
    });
    expect(await (await fetch(`${url}/api/v1/jobs/${JOB}`, { headers: bearer })).json()).toEqual({ id: JOB, state: 'running' });
    expect((await fetch(`${url}/api/v1/status`, { headers: bearer })).status).toBe(200);
  });

  test.each([
    ['none', {}],
    ['a wrong one', { authorization: 'Bearer wrong' }],
    ['a longer one', { authorization: `Bearer ${TOKEN}x` }],
    ['a prefix', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['an empty one', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: `Basic ${TOKEN}` }],
  ])('with %s for a token nothing starts and nothing is shown', async (_, headers) => {
    const { url } = await api();
    for (const [method, path] of [
      ['POST', '/api/v1/clusters/prod/backup'],
      ['GET', '/api/v1/status'],
      ['GET', `/api/v1/jobs/${JOB}`],
      ['GET', '/nothing'],
    ] as const) {
      expect((await fetch(url + path, { method, headers })).status).toBe(401);
    }
    expect(started).toEqual([]);
  });

  test('a token that cannot be read, or is empty, opens nothing', async () => {
    const { url } = await api('');
    expect((await fetch(`${url}/api/v1/status`, { headers: { authorization: 'Bearer ' } })).status).toBe(401);
  });

  test('a Host header of somebody else is refused before anything else: DNS rebinding', async () => {
    const { port } = await api();
    const ask = (host: string): Promise<string> =>
      raw(port, `GET /api/v1/status HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`);
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1@evil', '', 'localhost:80:80'])
      expect(await ask(host)).toMatch(/^HTTP\/1.1 (421|400) /);
    for (const host of ['localhost', 'LOCALHOST:9379', '127.0.0.1:1', '[::1]:5', 'warden.example'])
      expect(await ask(host)).toMatch(/^HTTP\/1.1 200 /);
  });

  test('wrong methods, unknown clusters, jobs and paths have their own answers', async () => {
    const { url } = await api();
    const status = async (method: string, path: string): Promise<number> => (await fetch(url + path, { method, headers: bearer })).status;
    expect(await status('GET', '/api/v1/clusters/prod/backup')).toBe(405);
    expect(await status('POST', '/api/v1/clusters/other/backup')).toBe(404);
    expect(await status('POST', '/api/v1/clusters/..%2fprod/backup')).toBe(404);
    expect(await status('GET', '/api/v1/jobs/123e4567-e89b-42d3-a456-426614174999')).toBe(404);
    expect(await status('DELETE', '/api/v1/status')).toBe(405);
    expect(await status('GET', '/')).toBe(404);
  });

  test('a cluster that the daemon has not come to yet is not called unknown', async () => {
    const { url } = await api();
    const answer = await fetch(`${url}/api/v1/clusters/late/backup`, { method: 'POST', headers: bearer });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await answer.json()).toMatchObject({ error: { code: 'starting' } });
  });

  test('during a shutdown every call is answered promptly with 503', async () => {
    const { url } = await api();
    stopping = true;
    const begin = performance.now();
    const answer = await fetch(`${url}/api/v1/clusters/prod/backup`, { method: 'POST', headers: bearer });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '10']);
    expect(performance.now() - begin).toBeLessThan(5_000);
    expect(started).toEqual([]);
  });

  const settings = { listen: '127.0.0.1:9379', token: undefined, certFile: undefined, keyFile: undefined, hosts: [] };
  const token = { origin: 'test', read: () => TOKEN };
  test.each([
    ['without a token', settings, /needs a token/],
    ['open to the network without TLS', { ...settings, token, listen: '0.0.0.0:9379' }, /open to the network, which needs TLS/],
    ['open to every address without TLS', { ...settings, token, listen: ':9379' }, /every address is open to the network/],
    ['on a name that only begins like loopback', { ...settings, token, listen: '127.evil.example:9379' }, /needs TLS/],
    ['with a certificate and no key', { ...settings, token, certFile: 'x' }, /belong together/],
    ['on what is no address', { ...settings, token, listen: 'localhost' }, /is not host:port/],
  ])('an API %s is a configuration error', (_, api, message) => {
    expect(() => checkApi(api)).toThrow(message);
    expect(() => checkApi(api)).toThrow(WardenError);
  });

  test('loopback with a token, and the network with TLS and a token, are allowed', () => {
    checkApi({ ...settings, token });
    checkApi({ ...settings, token, listen: '[::1]:1' });
    checkApi({ ...settings, token, listen: '0.0.0.0:9379', certFile: 'a', keyFile: 'b' });
    checkApi({ ...settings, listen: undefined });
  });
});
