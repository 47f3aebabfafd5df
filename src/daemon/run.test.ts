import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  backupResult,
  clusterConfig,
  daemonConfig,
  fakeClock,
  fakeJobs,
  maintenanceConfig,
  NEVER,
  recordingLogger,
  settle,
  surveyResult,
} from '../../test/support/daemon-fakes.ts';
import type { Config } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import type { MemberStatus, MemberView } from '../etcd/types.ts';
import type { JobRequest } from '../jobs/types.ts';
import type { LeadershipState } from './leadership.ts';
import { runDaemon } from './run.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const START = Date.parse('2026-11-22T11:59:30Z');

describe('the daemon', () => {
  let folder = '';
  const stopping: (() => Promise<void>)[] = [];
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'daemon-'))));
  afterEach(async () => {
    for (const stop of stopping.splice(0)) await stop();
    rmSync(folder, { recursive: true });
  });

  async function start(
    options: { config?: Config; answer?: (job: JobRequest) => unknown; watchdogMs?: number; members?: () => readonly MemberView[] } = {},
  ) {
    const clock = fakeClock(START);
    const { logger, lines, said } = recordingLogger();
    const jobs = fakeJobs((job) => {
      const answer = options.answer?.(job);
      if (answer !== undefined) return answer;
      return job.verb === 'survey' ? surveyResult(START - 20 * MINUTE) : job.verb === 'backup' ? NEVER : {};
    });
    const stop = new AbortController();
    const notices: string[] = [];
    const campaigns: string[] = [];
    let hangup = (): void => {};
    let next: () => Config = () => daemonConfig(folder);
    const ready = Promise.withResolvers<string>();
    let ended = false;
    const daemon = runDaemon({
      config: options.config ?? daemonConfig(folder),
      reload: async () => Promise.resolve(next()),
      logger,
      signal: stop.signal,
      version: '1.2.3',
      onReady: ({ probes }) => ready.resolve(`http://${probes}`),
      ports: {
        clock,
        random: () => 0.5,
        runner: () => (job, hooks) => jobs.run(job, hooks),
        leadership: (cluster, _logger, onChange) => {
          campaigns.push(`+${cluster.name}`);
          const state: LeadershipState = { role: 'leader' };
          queueMicrotask(() => onChange(state));
          return { state, stop: async () => Promise.resolve(void campaigns.push(`-${cluster.name}`)) };
        },
        observe: async () =>
          Promise.resolve({
            clusterId: 1n,
            quorum: true,
            notes: [],
            members: options.members?.() ?? [{ reachable: false, endpoint: 'http://a', name: undefined, error: new Error('down') }],
          }),
        notifier: { active: true, watchdogMs: options.watchdogMs, send: async (...words) => Promise.resolve(void notices.push(...words)) },
        onHangup: (reload) => {
          hangup = reload;
          return () => {};
        },
      },
    }).finally(() => (ended = true));
    daemon.catch((error: unknown) => ready.reject(error as Error));
    const url = await ready.promise;
    stopping.push(async () => {
      stop.abort();
      for (const { reject } of jobs.started) reject(new WardenError('interrupted', 'test over'));
      await clock.advance(MINUTE);
      await daemon;
    });
    await settle();
    return {
      clock,
      jobs,
      lines,
      said,
      notices,
      campaigns,
      url,
      stop,
      daemon,
      ended: () => ended,
      reload: async (make: () => Config) => {
        next = make;
        const outcomes = (): number => lines.filter(({ message }) => /is reloaded|is refused/.test(message)).length;
        const before = outcomes();
        hangup();
        while (outcomes() === before) await settle(); // it touches the disk and the network, which no fake clock moves
        await settle();
      },
    };
  }

  test('runs, is ready, shows its metrics, and stops when told', async () => {
    const { url, clock, stop, daemon, notices, campaigns } = await start();
    expect(notices).toContain('READY=1');
    expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({
      ready: true,
      clusters: { prod: { role: 'leader', ageSeconds: 1200 } },
    });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/etcd_warden_build_info\{version="1.2.3",node="[\d.]+"\} 1/);
    expect(metrics).toContain('etcd_warden_etcd_members{cluster="prod",state="unreachable"} 1');
    expect(metrics).toContain('etcd_warden_ready 1');
    stop.abort();
    await clock.advance(1);
    await daemon;
    expect(notices).toContain('STOPPING=1');
    expect(campaigns).toEqual(['+prod', '-prod']);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
  });

  test('a stale backup, an unaccepted generation and a failed attempt make it not ready, with the reason; never not alive', async () => {
    const { url, clock } = await start({
      answer: (job) =>
        job.verb === 'survey'
          ? surveyResult(START - 9 * HOUR, { unaccepted: { lineage: 'abc', clusterId: 'f00' } })
          : job.verb === 'backup'
            ? fail('unreachable')
            : undefined,
    });
    await clock.advance(MINUTE);
    const answer = await fetch(`${url}/readyz`);
    const body = (await answer.json()) as { reasons: { code: string; message: string }[] };
    expect(answer.status).toBe(503);
    expect(body.reasons.map(({ code }) => code)).toEqual(['too-old', 'generation-unaccepted']);
    expect(body.reasons[0]!.message).toMatch(
      /the newest complete backup is \d+ s old, the limit is 10800 s; the last attempt failed: .*unreachable/,
    );
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test('one heavy job at a time: the second cluster waits its turn', async () => {
    const config = daemonConfig(folder, [clusterConfig({ name: 'a' }), clusterConfig({ name: 'b' })]);
    const { clock, jobs } = await start({ config });
    await clock.advance(MINUTE);
    expect(jobs.backups()).toHaveLength(1);
    jobs.backups()[0]!.resolve(backupResult());
    await settle();
    expect(jobs.backups().map(({ job }) => job.request.cluster)).toEqual(['a', 'b']);
  });

  test('NOSPACE that a member tells of starts a round at once, is a reason not to be ready, and none any more when it is cured', async () => {
    let armed = true;
    const members = (): readonly MemberView[] => [{ reachable: true, endpoint: 'http://a', status: memberStatus(armed) }];
    const config = daemonConfig(folder, [clusterConfig({ maintenance: maintenanceConfig({ enabled: true }) })]);
    const { jobs, url, clock, notices } = await start({
      config,
      members,
      watchdogMs: 60_000,
      answer: (job) => (job.verb === 'maintain' ? NEVER : undefined),
    });
    const rounds = (): typeof jobs.started => jobs.started.filter(({ job }) => job.verb === 'maintain');
    await expect
      .poll(() => rounds().map(({ job }) => job.request))
      .toMatchObject([{ cluster: 'prod', wish: { kind: 'routine' }, elected: true }]);
    const ready = async (): Promise<{ reasons: { code: string }[] }> => (await (await fetch(`${url}/readyz`)).json()) as never;
    expect((await ready()).reasons).toMatchObject([{ cluster: 'prod', code: 'no-space' }]);
    rounds()[0]!.progress({ step: 'defrag', subject: 'm1' });
    await clock.advance(MINUTE);
    expect(notices.join('\n')).toContain('defragmenting m1');
    armed = false;
    rounds()[0]!.resolve({ outcome: 'done', actions: [], plan: { refusals: [], steps: [], noSpace: false } });
    await expect.poll(async () => (await ready()).reasons).toEqual([]);
    expect(rounds()).toHaveLength(1);
  });

  test('SIGHUP takes over clusters that came, went and changed, without touching what runs', async () => {
    const { clock, jobs, campaigns, reload, url, said, notices } = await start({
      config: daemonConfig(folder, [clusterConfig({ name: 'goes' }), clusterConfig({ name: 'stays' })]),
    });
    await clock.advance(MINUTE);
    const running = jobs.backups()[0]!;
    await reload(() =>
      daemonConfig(folder, [
        clusterConfig({ name: 'stays', backup: { schedule: { cron: '*/10 * * * *', timeZone: 'UTC', jitterMs: 0 } } }),
        clusterConfig({ name: 'comes' }),
      ]),
    );
    expect(said('the configuration is reloaded')).toBe(true);
    expect(notices).toContain('RELOADING=1');
    expect(campaigns).toEqual(['+goes', '+stays', '-goes', '+comes']);
    expect(running.signal.aborted).toBe(false);
    running.resolve(backupResult());
    await clock.advance(15 * MINUTE);
    expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ clusters: { stays: {}, comes: {} } });
    expect(await (await fetch(`${url}/metrics`)).text()).not.toContain('cluster="goes"');
  });

  test('other credentials or endpoints mean a new election', async () => {
    const { campaigns, reload } = await start();
    await reload(() => daemonConfig(folder, [clusterConfig({ endpoints: ['http://127.0.0.1:9999'] })]));
    expect(campaigns).toEqual(['+prod', '-prod', '+prod']);
  });

  test('a configuration that is bad is refused with all its problems, and the old one stays in force', async () => {
    const { clock, jobs, campaigns, reload, lines, url } = await start();
    await reload(() => {
      throw Object.assign(new WardenError('config-invalid', '2 errors in the configuration'), {
        problems: [{ path: 'clusters.x' }, { path: 'stores.y' }],
      });
    });
    const refusal = lines.find(({ message }) => message.includes('refused'));
    expect(refusal?.fields).toMatchObject({ error: { code: 'config-invalid' }, problems: [{ path: 'clusters.x' }, { path: 'stores.y' }] });
    expect(campaigns).toEqual(['+prod']);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('etcd_warden_config_reload_failed 1');
    await clock.advance(MINUTE);
    expect(jobs.backups()).toHaveLength(1);
    await reload(() => daemonConfig(folder));
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('etcd_warden_config_reload_failed 0');
  });

  test('a reload that would open the API to the network is refused; listeners that cannot open give way to the old ones', async () => {
    const { reload, said, url } = await start();
    const token = { origin: 'test', read: () => 'x' };
    await reload(() =>
      daemonConfig(folder, undefined, { api: { listen: '0.0.0.0:0', token, certFile: undefined, keyFile: undefined, hosts: [] } }),
    );
    expect(said('refused')).toBe(true);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test('stopping, a job that ends within half of the grace period may finish', async () => {
    const { clock, jobs, stop, daemon, ended } = await start();
    await clock.advance(MINUTE);
    stop.abort();
    await clock.advance(4_000);
    expect({ aborted: jobs.backups()[0]!.signal.aborted, ended: ended() }).toEqual({ aborted: false, ended: false });
    jobs.backups()[0]!.resolve(backupResult());
    await clock.advance(10);
    await daemon;
    expect(jobs.verbs().at(-1)).toBe('backup');
  });

  test('stopping, a job that does not end in time is told to stop, and its slot is taken again after the restart', async () => {
    const first = await start();
    await first.clock.advance(MINUTE);
    first.stop.abort();
    await first.clock.advance(5_100);
    expect(first.jobs.backups()[0]!.signal.aborted).toBe(true);
    first.jobs.backups()[0]!.reject(new WardenError('interrupted', 'stopped'));
    await first.clock.advance(10);
    await first.daemon;
    const second = await start();
    await second.clock.advance(MINUTE);
    expect(second.jobs.backups()).toHaveLength(1);
  });

  test('systemd is fed only while the scheduler moves, and reads in one line how things are', async () => {
    const { clock, notices } = await start({ watchdogMs: 60_000 });
    await clock.advance(2 * MINUTE);
    const fed = notices.filter((line) => line === 'WATCHDOG=1').length;
    expect(fed).toBeGreaterThanOrEqual(6);
    expect(notices.find((line) => line.startsWith('STATUS=protected; prod: newest'))).toBeDefined();
    expect(notices.find((line) => line.includes('backing up'))).toBeDefined();
  });

  test('an address that is taken ends the start with one clear error, before anything runs', async () => {
    const { url } = await start();
    const config = daemonConfig(folder, undefined, { http: { listen: url.replace('http://', '') } });
    await expect(start({ config })).rejects.toMatchObject({ code: 'address-unusable' });
  });

  test('the API starts a backup, shows its job and the status, and refuses during the stop', async () => {
    const token = { origin: 'test', read: () => 'let-me-in' };
    const port = await freePort();
    const config = daemonConfig(folder, undefined, {
      api: { listen: `127.0.0.1:${port}`, token, certFile: undefined, keyFile: undefined, hosts: [] },
    });
    const { jobs, stop, clock, daemon } = await start({ config });
    const call = async (method: string, path: string) =>
      fetch(`http://127.0.0.1:${port}/api/v1${path}`, { method, headers: { authorization: 'Bearer let-me-in' } });
    const answer = await call('POST', '/clusters/prod/backup');
    const { job } = (await answer.json()) as { job: string };
    expect(answer.status).toBe(202);
    expect(await (await call('GET', `/jobs/${job}`)).json()).toMatchObject({ id: job, verb: 'backup', state: 'running', error: null });
    jobs.backups()[0]!.resolve(backupResult());
    await settle();
    expect(await (await call('GET', `/jobs/${job}`)).json()).toMatchObject({ state: 'done', result: { outcome: 'complete' } });
    expect(await (await call('GET', '/status')).json()).toMatchObject({
      version: '1.2.3',
      clusters: { prod: { role: 'leader', newest: { revision: '42' } } },
    });
    await call('POST', '/clusters/prod/backup');
    stop.abort();
    await settle();
    expect((await call('POST', '/clusters/prod/backup')).status).toBe(503);
    jobs.backups()[1]!.resolve(backupResult());
    await clock.advance(1);
    await daemon;
  });
});

function memberStatus(noSpace: boolean): MemberStatus {
  return {
    endpoint: 'http://a',
    clusterId: 1n,
    memberId: 7n,
    name: 'm1',
    role: 'leader',
    leader: 7n,
    version: '3.6.16',
    storageVersion: '3.6.0',
    dbSize: 1000,
    dbSizeInUse: 900,
    dbSizeQuota: 1000,
    raftIndex: 1n,
    raftAppliedIndex: 1n,
    raftTerm: 1n,
    revision: 1n,
    alarms: noSpace ? [{ type: 'NOSPACE', memberId: 7n }] : [],
    latencyMs: 1,
  };
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function fail(code: ConstructorParameters<typeof WardenError>[0]): never {
  throw new WardenError(code, `fails with ${code}`);
}
