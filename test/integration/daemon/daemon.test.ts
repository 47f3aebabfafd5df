import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { freePorts, until } from '../../support/processes.ts';
import { runWarden, startDaemon, type Daemon } from '../../support/run-warden.ts';
import { temporaryFolder, removeFolder } from '../../support/watchdog.ts';

let cluster: Cluster;
let folder: string;
beforeAll(async () => {
  cluster = await startCluster({ minor: '3.6', members: 1 });
  await cluster.fill({ keys: 200, valueBytes: 1000, seed: 3 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** A slot every second; one that comes while a run is not finished is skipped. Backups go into a folder of the test's own. */
function config(part: Record<string, unknown> = {}, backup: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    clusters: {
      main: {
        endpoints: cluster.endpoints,
        backup: { schedule: '* * * * * *', stores: ['local'], jitter: '0s', ...backup },
        retention: { keepLast: 2 },
      },
    },
    stores: { local: { type: 'local', path: join(folder, 'store') } },
    ...part,
  };
}

async function backups(daemon: Daemon, atLeast: number): Promise<void> {
  await until(
    async () => ((await daemon.metric('etcd_warden_backups_total', { outcome: 'complete' })) ?? 0) >= atLeast,
    () => `fewer than ${atLeast} backups:\n${daemon.output()}`,
  );
}

const manifests = (): string[] => readdirSync(join(folder, 'store', 'main')).filter((name) => name.endsWith('.json'));

describe('the daemon, with a real etcd', () => {
  beforeAll(() => (folder = temporaryFolder('daemon-test')));
  afterAll(() => removeFolder(folder));

  test('backs up on schedule, prunes after each backup, becomes ready, and ends cleanly at SIGTERM', async () => {
    await using daemon = await startDaemon(config());
    await backups(daemon, 4);
    await until(
      async () => manifests().length <= 2 + 1,
      () => `not pruned: ${manifests().join(' ')}\n${daemon.output()}`,
    );
    const ready = await daemon.get('/readyz');
    expect({ status: ready.status, body: JSON.parse(ready.body) }).toMatchObject({
      status: 200,
      body: { ready: true, clusters: { main: { role: 'leader' } } },
    });
    await until(
      async () => (await daemon.metric('etcd_warden_etcd_members', { state: 'reachable' })) === 1,
      () => daemon.output(),
    );
    expect(await daemon.metric('etcd_warden_backup_last_revision')).toBeGreaterThan(1);
    const result = await daemon.stop();
    expect({ code: result.code, signal: result.signal }).toEqual({ code: 0, signal: null });
    const listed = await runWarden(['list', '--from', join(folder, 'store'), '--json']);
    expect(listed.code).toBe(0);
  });

  test('with its state folder thrown away, or full of rubbish, it starts and goes on (fault 26)', async () => {
    const stateDir = join(folder, 'state');
    {
      await using daemon = await startDaemon(config({ stateDir }));
      await backups(daemon, 1);
      await daemon.stop();
    }
    expect(readdirSync(join(stateDir, 'schedule'))).toEqual(['main.json']);
    for (const spoil of [
      () => writeFileSync(join(stateDir, 'schedule', 'main.json'), '{"schema":99}'),
      () => rmSync(stateDir, { recursive: true }),
    ]) {
      spoil();
      await using daemon = await startDaemon(config({ stateDir }));
      await backups(daemon, 1);
      expect((await daemon.stop()).code).toBe(0);
    }
  });

  test('fault 62: of two daemons exactly one takes the backups, the other says that it stands by and takes over in time', async () => {
    await using first = await startDaemon(config());
    await backups(first, 1);
    await using second = await startDaemon(config());
    await until(
      () => Promise.resolve(second.output().includes('standby: another daemon takes the backups')),
      () => second.output(),
    );
    await backups(first, 3);
    expect((await second.metric('etcd_warden_backups_total')) ?? 0).toBe(0);
    expect(await second.metric('etcd_warden_leader', { cluster: 'main' })).toBe(0);
    expect(JSON.parse((await second.get('/readyz')).body)).toMatchObject({ clusters: { main: { role: 'standby' } } });
    await first.stop();
    await backups(second, 1);
    expect(await second.metric('etcd_warden_leader', { cluster: 'main' })).toBe(1);
    await second.stop();
    const slots = [...first.log(), ...second.log()].filter((line) => line['message'] === 'backup complete').map((line) => line['id']);
    expect(new Set(slots).size).toBe(slots.length);
  });

  test('SIGHUP takes over a good configuration and keeps the old one when the new is bad, saying all that is wrong', async () => {
    await using daemon = await startDaemon(config({}, { schedule: '0 0 1 1 *' }));
    await backups(daemon, 0);
    daemon.reload({ ...config(), clusters: { main: { endpoints: [], backupp: {} } } });
    await until(
      () => Promise.resolve(daemon.output().includes('the old one stays in force')),
      () => daemon.output(),
    );
    expect(daemon.output()).toMatch(/backupp/);
    expect(await daemon.metric('etcd_warden_config_reload_failed')).toBe(1);
    expect((await daemon.get('/healthz')).status).toBe(200);
    daemon.reload(config());
    await backups(daemon, 2);
    expect(await daemon.metric('etcd_warden_config_reload_failed')).toBe(0);
    await daemon.stop();
  });

  test('the API starts a backup with the token and shows how it ended; the token stands in no log and no process list', async () => {
    const token = 'a-long-and-random-token-of-this-test';
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
    const [port] = await freePorts(1);
    await using daemon = await startDaemon(
      config({ api: { listen: `127.0.0.1:${port}`, tokenFile } }, { schedule: '0 0 1 1 *', catchUp: '0s' }),
    );
    const call = async (method: string, path: string): Promise<{ status: number; body: Record<string, unknown> }> => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, { method, headers: { authorization: `Bearer ${token}` } });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    };
    let started = await call('POST', '/clusters/main/backup');
    // The probes answer a moment before the clusters are there.
    for (; started.status === 503; started = await call('POST', '/clusters/main/backup'))
      expect(started.body).toMatchObject({ error: { code: 'starting' } });
    expect(started.status).toBe(202);
    const job = String(started.body['job']);
    await until(
      async () => (await call('GET', `/jobs/${job}`)).body['state'] === 'done',
      () => daemon.output(),
    );
    expect((await call('GET', `/jobs/${job}`)).body).toMatchObject({ verb: 'backup', result: { outcome: 'complete' }, error: null });
    expect((await call('GET', '/status')).body).toMatchObject({ clusters: { main: { role: 'leader' } } });
    const processes = execFileSync('ps', ['-eo', 'args']).toString();
    expect(processes + daemon.output()).not.toContain(token);
    await daemon.stop();
    expect(daemon.output()).not.toContain(token);
  });

  test('a cluster that is down fails its backups with the reason, is tried again, and ends nothing', async () => {
    const [port] = await freePorts(1);
    const down = {
      endpoints: [`http://127.0.0.1:${port}`],
      backup: { schedule: '* * * * * *', stores: ['local'], retries: 1, retryDelay: '1s', jitter: '0s' },
    };
    const both = config();
    await using daemon = await startDaemon({ ...both, clusters: { ...(both['clusters'] as object), down } });
    await backups(daemon, 2);
    await until(
      async () => ((await daemon.metric('etcd_warden_backup_failures_total', { cluster: 'down' })) ?? 0) >= 2,
      () => daemon.output(),
    );
    const ready = await daemon.get('/readyz');
    expect(ready.status).toBe(503);
    expect(JSON.parse(ready.body)).toMatchObject({ reasons: [{ cluster: 'down', code: 'no-backup' }] });
    expect((await daemon.get('/healthz')).status).toBe(200);
    await daemon.stop();
  });

  test('a job killed from outside is a failed backup that is tried again, and the daemon lives', async () => {
    await using daemon = await startDaemon(config({}, { retries: 3, retryDelay: '1s' }));
    await until(
      () => {
        for (const child of childrenOf(daemon.pid)) process.kill(child, 'SIGKILL');
        return Promise.resolve(daemon.output().includes('SIGKILL'));
      },
      () => daemon.output(),
    );
    const before = (await daemon.metric('etcd_warden_backups_total', { outcome: 'complete' })) ?? 0;
    await backups(daemon, before + 1);
    await daemon.stop();
  });

  test('a daemon killed with SIGKILL leaves no job behind it', async () => {
    await using daemon = await startDaemon(config());
    let children: number[] = [];
    await until(
      () => {
        children = childrenOf(daemon.pid);
        return Promise.resolve(children.length > 0);
      },
      () => daemon.output(),
    );
    daemon.kill('SIGKILL');
    await daemon.done;
    await until(
      () => Promise.resolve(children.every((pid) => !alive(pid))),
      () => `jobs ${children.join(', ')} still run`,
    );
  });

  test('fault 66: a daemon evicted in the middle of a backup leaves nothing visible, and the one that overlaps it takes the slot', async () => {
    rmSync(join(folder, 'store'), { recursive: true, force: true });
    const slow = config({}, { maxRate: '5KiB' }); // 200 kB take forty seconds: longer than a pod is given, and than another daemon takes to start
    const quick = config();
    await using leaving = await startDaemon(slow);
    await until(
      () => Promise.resolve(leaving.output().includes('member chosen')),
      () => leaving.output(),
    );
    await using coming = await startDaemon(quick);
    leaving.kill('SIGTERM');
    await until(
      () => Promise.resolve(leaving.output().includes('"message":"stopping"')),
      () => leaving.output(),
    );
    const refused = await leaving.get('/readyz');
    expect(JSON.parse(refused.body)).toMatchObject({
      ready: false,
      reasons: expect.arrayContaining([expect.objectContaining({ code: 'stopping' })]) as unknown,
    });
    await new Promise((resolve) => setTimeout(resolve, 2_000)); // what is left of the pod's time, by the kubelet's clock and not ours
    leaving.kill('SIGKILL');
    await leaving.done;
    const visible = existsSync(join(folder, 'store', 'main')) ? manifests() : [];
    expect(visible).toEqual([]);
    await backups(coming, 1);
    const { backups: listed } = (await runWarden(['list', '--from', join(folder, 'store'), '--json'])).json<{
      backups: { state: string }[];
    }>();
    expect(listed.every(({ state }) => state === 'complete')).toBe(true);
    expect(listed.length).toBeGreaterThan(0);
    await coming.stop();
  });

  test('a port that is taken, and an API open to the network, end the start with code and sentence', async () => {
    await using daemon = await startDaemon(config());
    const taken = join(folder, 'taken.yaml');
    writeFileSync(
      taken,
      JSON.stringify({ ...config({ stateDir: join(folder, 'state-2') }), http: { listen: daemon.url.replace('http://', '') } }),
    );
    const second = await runWarden(['run', '--config', taken]);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/http\.listen: cannot listen on .*: another process listens there/);
    await daemon.stop();
  });
});

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
