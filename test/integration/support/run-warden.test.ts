import { afterAll, describe, expect, test } from 'vitest';
import { startCluster } from '../../support/cluster.ts';
import { runWarden, startDaemon, startWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const store = temporaryFolder('store');
afterAll(() => removeFolder(store));

describe('running etcd-warden', () => {
  test("takes nothing from the caller's environment, and tells code, output and JSON apart", async () => {
    process.env['ETCDCTL_ENDPOINTS'] = 'http://127.0.0.1:1';
    await using cluster = await startCluster({ minor: '3.6' });
    const backup = await runWarden(['backup', '--json', '--to', store], { env: { ETCDCTL_ENDPOINTS: cluster.endpoints[0]! } });
    delete process.env['ETCDCTL_ENDPOINTS'];
    expect([backup.code, backup.signal]).toEqual([0, null]);
    expect(backup.json()).toMatchObject({ outcome: 'complete' });
    const wrong = await runWarden(['no-such-verb']);
    expect(wrong.code).toBe(2);
    expect(() => wrong.json()).toThrow('no JSON (exit code 2)');
  });

  test('ends a command that takes too long', async () => {
    const running = startWarden(['status', '--endpoints', 'http://127.0.0.1:1', '--to', store], { timeoutMs: 10 });
    expect((await running.done).signal).toBe('SIGKILL');
  });

  test('starts a daemon, reads its probes, metrics and log, and stops it', async () => {
    await using cluster = await startCluster({ minor: '3.6' });
    const config = {
      clusters: { one: { endpoints: [cluster.endpoints[0]], backup: { stores: ['disk'] } } },
      stores: { disk: { type: 'local', path: store } },
    };
    await using daemon = await startDaemon(config);
    expect(JSON.parse((await daemon.get('/readyz')).body)).toMatchObject({ ready: false });
    expect(await daemon.metric('process_resident_memory_bytes')).toBeGreaterThan(1e6);
    expect(daemon.log()[0]).toMatchObject({ clusters: ['one'] });
    expect((await daemon.stop()).code).toBe(0);
  });

  test('shows why a daemon did not start', async () => {
    await expect(startDaemon({ clusters: { one: {} } })).rejects.toThrow(/the daemon ended with 2:[^]*endpoints/);
  });
});
