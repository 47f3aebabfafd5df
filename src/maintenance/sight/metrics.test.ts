import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { ClusterAccess } from '../../etcd/types.ts';
import { metricsUrl, type MetricsReader, openMetrics } from './metrics.ts';
import { metricsParser } from './parse.ts';

/** Cut out of what a 3.6.16 answers. */
const PAGE = `# HELP etcd_server_quota_backend_bytes Current backend storage quota size in bytes.
# TYPE etcd_server_quota_backend_bytes gauge
etcd_server_quota_backend_bytes 2.147483648e+09
etcd_mvcc_db_open_read_transactions 2
etcd_disk_defrag_inflight 0
etcd_disk_backend_commit_duration_seconds_bucket{le="0.001"} 5
etcd_server_id{server_id="ec561e7b3fdd94d2"} 1
etcd_server_snapshot_apply_in_progress_total 0
etcd_network_snapshot_send_inflights_total{To="a b}c"} 1
etcd_network_snapshot_send_inflights_total{To="d"} 2
etcd_debugging_mvcc_compact_revision -1
etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count 4
etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count 3
grpc_server_started_total{grpc_method="Snapshot",grpc_service="etcdserverpb.Maintenance",grpc_type="server_stream"} 5
grpc_server_handled_total{grpc_code="OK",grpc_method="Snapshot",grpc_service="etcdserverpb.Maintenance",grpc_type="server_stream"} 3
grpc_server_handled_total{grpc_code="Canceled",grpc_method="Snapshot",grpc_service="etcdserverpb.Maintenance",grpc_type="server_stream"} 1
grpc_server_started_total{grpc_method="Defragment",grpc_service="etcdserverpb.Maintenance",grpc_type="unary"} 1
grpc_server_started_total{grpc_method="Hash",grpc_service="etcdserverpb.Maintenance",grpc_type="unary"} 4
grpc_server_started_total{grpc_method="HashKV",grpc_service="etcdserverpb.Maintenance",grpc_type="unary"} 7
grpc_server_handled_total{grpc_code="OK",grpc_method="HashKV",grpc_service="etcdserverpb.Maintenance",grpc_type="unary"} 6
grpc_server_handled_total{grpc_code="OK",grpc_method="Hash",grpc_service="etcdserverpb.Maintenance",grpc_type="unary"} 3
process_start_time_seconds 1.79538706871e+09
`;
const READING = {
  memberId: 'ec561e7b3fdd94d2',
  quotaBytes: 2 * 1024 ** 3,
  openReads: 2,
  snapshotCalls: 1,
  hashCalls: 2,
  defragmentCalls: 1,
  defragInflight: 0,
  snapshotsApplied: 0,
  snapshotsSent: 3,
  snapshotsReceived: undefined,
  startedSeconds: 1_795_387_068.71,
  compactionsBegun: 4,
  compactionsEnded: 3,
  compactRevision: -1,
};

describe('reading a page of metrics', () => {
  test('the series that count are read, wherever the page is cut', () => {
    for (const size of [1, 7, 100, PAGE.length]) {
      const parser = metricsParser();
      for (let at = 0; at < PAGE.length; at += size) parser.push(PAGE.slice(at, at + size));
      expect(parser.end()).toEqual(READING);
    }
  });

  test('the last line counts without its end, and a value that is no number does not', () => {
    const parser = metricsParser();
    parser.push('etcd_mvcc_db_open_read_transactions NaN\netcd_server_quota_backend_bytes 5 1700000000000');
    expect(parser.end()).toMatchObject({ openReads: undefined, quotaBytes: 5 });
  });

  test('more answers than calls, as after a wrap, are none under way', () => {
    const parser = metricsParser();
    parser.push(`${PAGE}grpc_server_handled_total{grpc_code="Unknown",grpc_method="Snapshot"} 9\n`);
    expect(parser.end()?.snapshotCalls).toBe(0);
  });

  test('what is no page of an etcd is none, and a line without end is refused', () => {
    const parser = metricsParser();
    parser.push('process_start_time_seconds 1\ngo_goroutines 7\n');
    expect(parser.end()).toBeUndefined();
    expect(() => parser.push('x'.repeat(70_000))).toThrow(/a line of more than/);
  });
});

describe('the address of the metrics', () => {
  test('is the client address of the member, or made by the template', () => {
    expect(metricsUrl('https://etcd-0.example:2379', undefined).href).toBe('https://etcd-0.example:2379/metrics');
    expect(metricsUrl('https://10.0.0.1:2379', 'http://{host}:2381/metrics').href).toBe('http://10.0.0.1:2381/metrics');
    expect(metricsUrl('http://[fd00::1]:2379', 'http://{host}:2381/m/{host}').href).toBe('http://[fd00::1]:2381/m/[fd00::1]');
  });

  test.each(['{host}:2381', 'file:///{host}', 'not an address'])('is refused when it is none: %s', (template) => {
    expect(() => metricsUrl('http://a:1', template)).toThrow(expect.objectContaining({ code: 'config-invalid' }));
  });

  test('a password in the template is refused and never repeated: addresses of metrics stand in logs', () => {
    const tried = (): URL => metricsUrl('http://a:1', 'http://me:hunter2@{host}:2381/metrics');
    expect(tried).toThrow(expect.objectContaining({ code: 'config-invalid', message: expect.not.stringContaining('hunter2') as string }));
  });
});

describe('asking a member for its metrics', () => {
  const servers: Server[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  async function serve(listener: RequestListener): Promise<{ endpoint: string; reader: MetricsReader }> {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const access: ClusterAccess = {
      name: 'test',
      endpoints: [endpoint],
      user: 'somebody',
      password: () => 'secret',
      requestTimeoutMs: 1_000,
      dialTimeoutMs: 1_000,
      streamIdleTimeoutMs: 1_000,
      discover: false,
    };
    return { endpoint, reader: openMetrics(access, { urlTemplate: undefined, tls: undefined }) };
  }

  test('no credentials are sent', async () => {
    let sent: Readonly<Record<string, unknown>> = {};
    const { endpoint, reader } = await serve((request, response) => {
      sent = { url: request.url, ...request.headers };
      response.end(PAGE);
    });
    expect(await reader.read(endpoint)).toEqual(READING);
    expect(sent).toEqual({
      url: '/metrics',
      accept: 'text/plain; version=0.0.4',
      connection: 'close',
      host: endpoint.replace('http://', ''),
    });
  });

  test('a redirection is an error and not followed', async () => {
    let asked = 0;
    const { endpoint, reader } = await serve((_, response) => {
      asked++;
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    await expect(reader.read(endpoint)).rejects.toMatchObject({ code: 'etcd-failed', message: `${endpoint}/metrics answers 302 Found` });
    expect(asked).toBe(1);
  });

  test.each([
    ['something else', 'hello\n', /not the metrics of an etcd/],
    ['a page without end', '# comment\n'.repeat(900_000), /answers more than 8388608 bytes/],
    ['a line without end', 'x'.repeat(70_000), /a line of more than 65536 characters/],
  ])('%s is refused', async (_, body, message) => {
    const { endpoint, reader } = await serve((_request, response) => response.end(body));
    await expect(reader.read(endpoint)).rejects.toMatchObject({ code: 'etcd-failed', message: expect.stringMatching(message) as string });
  });

  test('a member that begins and never ends its answer is given up after the deadline, and when the caller gives up', async () => {
    const { endpoint, reader } = await serve((_, response) => response.write(PAGE));
    await expect(reader.read(endpoint, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'timeout',
      message: `${endpoint}/metrics did not answer within 50 ms`,
    });
    const stop = new AbortController();
    const reading = reader.read(endpoint, { signal: stop.signal });
    stop.abort();
    await expect(reading).rejects.toMatchObject({ code: 'interrupted' });
  });

  test('an answer that is cut off, and a port where nobody listens, are unreachable', async () => {
    const { endpoint, reader } = await serve((_, response) => {
      response.write(PAGE, () => response.destroy());
    });
    await expect(reader.read(endpoint)).rejects.toMatchObject({ code: 'unreachable' });
    const [server] = servers.splice(0);
    server!.closeAllConnections();
    await new Promise((resolve) => server!.close(resolve));
    await expect(reader.read(endpoint)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });
});
