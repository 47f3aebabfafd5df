import { describe, expect, test } from 'vitest';
import { clusterConfig, fakeClock, fakeJobs, maintenanceConfig, recordingLogger, settle } from '../../test/support/daemon-fakes.ts';
import type { MaintenanceConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createBoard } from './board.ts';
import type { LeadershipState } from './leadership.ts';
import { Maintenance, type Signs } from './maintenance.ts';

const MINUTE = 60_000;
/** Slots every ten minutes. */
const START = Date.parse('2026-11-22T12:00:30Z');
const OFF = { cron: undefined, timeZone: 'UTC', jitterMs: 0 };
const QUIET: Signs = { noSpace: false, corrupt: false, crossed: [], reachable: ['a', 'b', 'c'] };
const FULL: Signs = { ...QUIET, crossed: ['quota m1'] };
const NO_SPACE: Signs = { ...FULL, noSpace: true };

function round(part: Record<string, unknown> = {}, plan: Record<string, unknown> = {}): unknown {
  return {
    cluster: 'prod',
    outcome: 'nothing',
    actions: [],
    plan: { refusals: [], complete: true, noSpace: false, gates: [], steps: [], ...plan },
    ...part,
  };
}
const refusal = (rule: string, part: object = {}): object => ({ rule, member: 'm1', message: `because of ${rule}`, ...part });
const refused = (rule: string, plan: Record<string, unknown> = {}): unknown =>
  round({ outcome: 'refused' }, { complete: false, refusals: [refusal(rule)], ...plan });

function maintenance(part: Partial<MaintenanceConfig> = {}, options: { startMs?: number; coordinate?: boolean } = {}) {
  const { startMs = START, coordinate = true } = options;
  const clock = fakeClock(startMs);
  const jobs = fakeJobs();
  const metrics = createMetrics();
  const { logger, lines, said } = recordingLogger();
  const board = createBoard(jobs.run, clock, metrics);
  let observed = 0;
  let woken = 0;
  const make = (changes: Partial<MaintenanceConfig>) =>
    clusterConfig({ coordinate, maintenance: maintenanceConfig({ enabled: true, ...part, ...changes }) });
  const it = new Maintenance(make({}), {
    board,
    clock,
    logger,
    metrics,
    random: () => 0.5,
    observe: () => (observed += 1),
    wake: () => (woken += 1),
  });
  let role: LeadershipState | undefined = { role: 'leader' };
  const tick = async (): Promise<number> => {
    const at = it.tick(clock.now(), role);
    await settle();
    return at;
  };
  /** As the scheduler does: looks, and sleeps half a minute at the most. */
  const pass = async (minutes: number): Promise<void> => {
    const end = clock.monotonicMs() + minutes * MINUTE;
    while (clock.monotonicMs() < end) {
      const at = await tick();
      await clock.advance(Math.min(30_000, Math.max(10, at - clock.now()), end - clock.monotonicMs()));
    }
    await tick();
  };
  const end = async (answer: unknown = round()): Promise<void> => {
    if (answer instanceof Error) jobs.started.at(-1)!.reject(answer);
    else jobs.started.at(-1)!.resolve(answer);
    await settle();
  };
  return {
    it,
    clock,
    jobs,
    board,
    lines,
    said,
    tick,
    pass,
    end,
    make,
    lead: (state: LeadershipState | undefined) => (role = state),
    count: () => jobs.started.length,
    observed: () => observed,
    woken: () => woken,
    metric: async (start: string) => (await metrics.text()).split('\n').filter((line) => line.startsWith(start)),
  };
}

describe('when a round of maintenance is asked for', () => {
  test('at each slot of the schedule, as the elected daemon, and not at the start', async () => {
    const { pass, jobs, end, tick } = maintenance();
    expect(await tick()).toBe(Date.parse('2026-11-22T12:10:00Z'));
    await pass(9);
    expect(jobs.started).toEqual([]);
    await pass(1);
    expect(jobs.started.map(({ job }) => job)).toEqual([
      { verb: 'maintain', request: { cluster: 'prod', wish: { kind: 'routine' }, elected: true } },
    ]);
    await end();
    await pass(10);
    expect(jobs.started).toHaveLength(2);
  });

  test('not again while one runs: its slots pass', async () => {
    const { pass, count, end } = maintenance();
    await pass(35);
    expect(count()).toBe(1);
    await end();
    await pass(4);
    expect(count()).toBe(1);
    await pass(2);
    expect(count()).toBe(2);
  });

  test('at once when a threshold is crossed, once for each that is new', async () => {
    const { it, tick, pass, count, end, woken } = maintenance({ schedule: OFF });
    it.observed(QUIET);
    await pass(30);
    expect([count(), woken()]).toEqual([0, 0]);
    it.observed(FULL);
    expect(woken()).toBe(1);
    await tick();
    expect(count()).toBe(1);
    await end(refused('nothing-to-gain'));
    it.observed(FULL);
    await pass(30);
    expect(count()).toBe(1);
    it.observed({ ...FULL, crossed: ['quota m1', 'free m2'] });
    await tick();
    expect(count()).toBe(2);
    await end(refused('cooldown'));
    it.observed(QUIET);
    it.observed(FULL);
    await tick();
    expect(count()).toBe(3);
  });

  test('when a member comes back while something is to be done', async () => {
    const { it, tick, count, end } = maintenance({ schedule: OFF });
    it.observed({ ...FULL, reachable: ['a', 'b'] });
    await tick();
    await end(refused('member-down'));
    it.observed({ ...FULL, reachable: ['a', 'b'] });
    await tick();
    expect(count()).toBe(1);
    it.observed(FULL);
    await tick();
    expect(count()).toBe(2);
  });

  test('when the plan says that its reasons may have gone, and no sooner', async () => {
    const { it, tick, pass, count, end } = maintenance({ schedule: OFF });
    it.observed(FULL);
    await tick();
    await end(refused('cooldown', { againMs: START + 7 * MINUTE }));
    await pass(6);
    expect(count()).toBe(1);
    await pass(2);
    expect(count()).toBe(2);
    await end(refused('cooldown', { againMs: START }));
    await tick();
    expect(count()).toBe(2);
    await pass(1);
    expect(count()).toBe(3);
  });

  test('a round that came to no plan is tried again with growing delays while something is to be done, and else left to the schedule', async () => {
    const { it, tick, pass, count, end, lines } = maintenance({ schedule: OFF });
    it.observed(FULL);
    await tick();
    const at: number[] = [];
    for (let attempt = 0; attempt < 4; attempt += 1) {
      await end(new WardenError('locked', 'another process holds the lock'));
      const before = count();
      let minutes = 0;
      while (count() === before) {
        await pass(0.5);
        minutes += 0.5;
      }
      at.push(minutes);
    }
    expect(at).toEqual([0.5, 1, 2, 4]);
    expect(lines.filter(({ level, message }) => level === 'warn' && message.includes('could not be done'))).toHaveLength(1);
    it.observed(QUIET);
    await end(new WardenError('unreachable', 'nobody answers'));
    await pass(60);
    expect(count()).toBe(5);
  });

  test('what stands against it only for a while is asked about again with growing delays, what stays is not', async () => {
    const { it, tick, pass, count, end } = maintenance({ schedule: OFF });
    it.observed(FULL);
    await tick();
    await end(refused('foreign-snapshot'));
    await pass(0.5);
    expect(count()).toBe(2);
    await end(refused('member-lagging'));
    await pass(0.5);
    expect(count()).toBe(2);
    await pass(0.5);
    expect(count()).toBe(3);
    await end(refused('single-member'));
    await pass(60);
    expect(count()).toBe(3);
  });

  test('after a surprise the planner is asked soon how long to leave it alone', async () => {
    const { it, tick, pass, count, end, lines } = maintenance({ schedule: OFF });
    it.observed(FULL);
    await tick();
    await end(round({ outcome: 'failed', failure: { code: 'timeout', message: 'm2 did not come back' } }));
    expect(lines.find(({ level }) => level === 'error')?.fields).toMatchObject({ error: { code: 'timeout' } });
    await pass(1);
    expect(count()).toBe(2);
    await end(refused('backing-off', { againMs: START + 20 * MINUTE }));
    await pass(18);
    expect(count()).toBe(2);
    await pass(2);
    expect(count()).toBe(3);
  });

  test('a stop is no failure and nothing is tried after it', async () => {
    const { it, tick, pass, count, end, lines, observed } = maintenance();
    it.observed(FULL);
    await tick();
    const closed = it.close();
    await end(new WardenError('interrupted', 'the daemon stops'));
    await closed;
    await pass(30);
    expect([count(), observed(), it.status().error]).toEqual([1, 0, undefined]);
    expect(lines.filter(({ level }) => level !== 'info' && level !== 'debug')).toEqual([]);
  });

  test('a job that somebody ended alone is no failure either, and is asked for again', async () => {
    const { it, tick, pass, count, end } = maintenance({ schedule: OFF });
    it.observed(FULL);
    await tick();
    await end(new WardenError('interrupted', 'stopped by SIGTERM'));
    expect(it.status().error).toBeUndefined();
    await pass(0.5);
    expect(count()).toBe(2);
  });

  test('an answer of another version of the job is an error with a hint', async () => {
    const { it, tick, end } = maintenance();
    it.observed(FULL);
    await tick();
    await end({ outcome: 'splendid' });
    expect(it.status().error).toMatchObject({ code: 'failed', hint: 'restart the daemon after an upgrade' });
  });
});

describe('who asks for a round', () => {
  test('a standby does nothing, and acts on what it sees when it takes over', async () => {
    const { it, lead, pass, tick, count } = maintenance();
    lead({ role: 'standby', leader: 'x' });
    it.observed(NO_SPACE);
    await pass(30);
    expect(count()).toBe(0);
    lead({ role: 'leader' });
    await tick();
    expect(count()).toBe(1);
  });

  test('nobody before the election has told', async () => {
    const { it, lead, pass, count } = maintenance();
    lead(undefined);
    it.observed(FULL);
    await pass(30);
    expect(count()).toBe(0);
  });

  test('H25: without an election, as under NOSPACE, it acts all the same, says that it is not elected, and waits a moment of chance before', async () => {
    const { it, lead, tick, clock, jobs } = maintenance();
    lead({ role: 'alone', reason: 'NOSPACE is armed' });
    it.observed(NO_SPACE);
    expect(await tick()).toBe(START + 2_500);
    expect(jobs.started).toEqual([]);
    await clock.advance(2_500);
    await tick();
    expect(jobs.started.map(({ job }) => job.request)).toMatchObject([{ elected: false }]);
  });

  test('with coordination switched off there is nobody to wait for', async () => {
    const { it, lead, tick, count } = maintenance({}, { coordinate: false });
    lead({ role: 'alone', reason: 'coordination is off' });
    it.observed(FULL);
    await tick();
    expect(count()).toBe(1);
  });

  test('an elected daemon that another one takes over from starts nothing that waited for its moment', async () => {
    const { it, lead, tick, clock, count } = maintenance();
    lead({ role: 'alone', reason: 'no quorum' });
    it.observed(FULL);
    await tick();
    lead({ role: 'standby', leader: 'x' });
    await clock.advance(5_000);
    await tick();
    expect(count()).toBe(0);
  });

  test('nobody where it is switched off, which a reload may change; what was seen before counts then', async () => {
    const { it, make, pass, tick, count } = maintenance({ enabled: false });
    it.observed(FULL);
    await pass(30);
    expect([count(), it.status()]).toMatchObject([0, { enabled: false, nextMs: undefined, signs: FULL }]);
    it.configure(make({ enabled: true }));
    await tick();
    expect(count()).toBe(1);
  });

  test('other thresholds are looked at at once; the same configuration again is no news', async () => {
    const { it, make, pass, tick, count, end } = maintenance({ schedule: OFF });
    it.observed(FULL);
    await tick();
    await end(refused('freeze-too-long'));
    it.configure(make({}));
    await pass(30);
    expect(count()).toBe(1);
    it.configure(make({ maxFreezeMs: 60_000 }));
    await tick();
    expect(count()).toBe(2);
  });
});

describe('NOSPACE', () => {
  test('H25: is acted upon at once and goes before a backup that waits', async () => {
    const { it, tick, board, jobs, said } = maintenance();
    const backup = (cluster: string) =>
      ({ verb: 'backup', request: { cluster, prune: false, acceptCluster: false, onNewGeneration: 'open' } }) as const;
    board.submit(backup('other'));
    board.submit(backup('prod'));
    it.observed(NO_SPACE);
    await tick();
    expect(jobs.verbs()).toEqual(['backup', 'maintain']);
    expect(said('NOSPACE is armed')).toBe(true);
  });

  test('is asked about every ten minutes while it stays, whatever the schedule, and even on a machine whose clock was never set', async () => {
    const { it, tick, pass, count, end } = maintenance({ schedule: OFF }, { startMs: 3_600_000 });
    it.observed(FULL);
    await tick();
    expect(count()).toBe(0);
    it.observed(NO_SPACE);
    await tick();
    expect(count()).toBe(1);
    await end(refused('member-down', { noSpace: true }));
    it.observed(NO_SPACE);
    await pass(9);
    expect(count()).toBe(1);
    await pass(1);
    expect(count()).toBe(2);
  });

  test('CORRUPT is shouted each time that it appears', () => {
    const { it, lines } = maintenance();
    const shouts = (): number => lines.filter(({ level, message }) => level === 'error' && message.startsWith('CORRUPT')).length;
    it.observed({ ...QUIET, corrupt: true });
    it.observed({ ...QUIET, corrupt: true });
    expect(shouts()).toBe(1);
    it.observed(QUIET);
    it.observed({ ...QUIET, corrupt: true });
    expect(shouts()).toBe(2);
  });
});

describe('clocks', () => {
  test('one that jumps ahead makes one slot due, and one that is put back blocks none', async () => {
    const { pass, tick, clock, count, end } = maintenance();
    await tick();
    clock.jump(24 * 60 * MINUTE);
    await tick();
    expect(count()).toBe(1);
    await end();
    await tick();
    clock.jump(-24 * 60 * MINUTE);
    await tick();
    expect(count()).toBe(1);
    await pass(10);
    expect(count()).toBe(2);
  });
});

describe('what is told of it', () => {
  const DONE = round(
    {
      outcome: 'done',
      actions: [
        { action: 'compact', tookMs: 20, revision: '900', message: 'compacted' },
        { action: 'defrag', member: 'm2', tookMs: 1500, predictedMs: 1200, beforeBytes: 900, afterBytes: 300, message: 'm2' },
        { action: 'defrag', member: 'm3', tookMs: 500, predictedMs: 700, beforeBytes: 900, afterBytes: 1000, message: 'm3' },
        { action: 'explode', member: 'm3', tookMs: 1, message: 'of another version' },
      ],
    },
    { refusals: [refusal('nothing-to-gain'), refusal('cooldown'), refusal('of-another-version')] },
  );

  test('metrics count rounds, steps and refusals, measure freezes and what was given back, and know no other words', async () => {
    const { it, tick, end, metric } = maintenance();
    it.observed(FULL);
    await tick();
    expect(await metric('etcd_warden_maintenance_running{')).toEqual(['etcd_warden_maintenance_running{cluster="prod"} 1']);
    await end(DONE);
    expect(await metric('etcd_warden_maintenance_r')).toEqual([
      'etcd_warden_maintenance_rounds_total{cluster="prod",outcome="done"} 1',
      'etcd_warden_maintenance_refusals_total{cluster="prod",rule="nothing-to-gain"} 1',
      'etcd_warden_maintenance_refusals_total{cluster="prod",rule="cooldown"} 1',
      'etcd_warden_maintenance_refused{cluster="prod",rule="nothing-to-gain"} 1',
      'etcd_warden_maintenance_refused{cluster="prod",rule="cooldown"} 1',
      'etcd_warden_maintenance_running{cluster="prod"} 0',
    ]);
    expect(await metric('etcd_warden_maintenance_actions')).toEqual([
      'etcd_warden_maintenance_actions_total{cluster="prod",action="compact"} 1',
      'etcd_warden_maintenance_actions_total{cluster="prod",action="defrag"} 2',
    ]);
    const values = async (name: string): Promise<number> => Number((await metric(`${name}{`))[0]?.split(' ').at(-1));
    expect(await values('etcd_warden_defrag_reclaimed_bytes_total')).toBe(600);
    expect(await values('etcd_warden_defrag_last_seconds')).toBe(0.5);
    expect(await values('etcd_warden_defrag_predicted_seconds')).toBe(0.7);
    expect(await values('etcd_warden_defrag_seconds_count')).toBe(2);
    expect(await metric('etcd_warden_maintenance_last_timestamp_seconds{')).toHaveLength(2);
    it.observed({ ...FULL, crossed: ['free m1'] });
    await tick();
    // Nothing is refused where everything is done.
    await end(refused('cooldown', { refusals: [refusal('cooldown'), refusal('done')] }));
    expect(await metric('etcd_warden_maintenance_refused{')).toEqual(['etcd_warden_maintenance_refused{cluster="prod",rule="cooldown"} 1']);
  });

  test('when something was last done is told by the record, whoever did it, and survives a start of the daemon', async () => {
    const { it, tick, end, metric } = maintenance();
    it.observed(FULL);
    await tick();
    await end(round({ last: { compact: START - 60_000, defrag: START - 7_200_000 } }));
    expect(await metric('etcd_warden_maintenance_last_timestamp_seconds{')).toEqual([
      `etcd_warden_maintenance_last_timestamp_seconds{cluster="prod",action="compact"} ${(START - 60_000) / 1000}`,
      `etcd_warden_maintenance_last_timestamp_seconds{cluster="prod",action="defrag"} ${(START - 7_200_000) / 1000}`,
    ]);
  });

  test('rounds without a plan count by the code of their error', async () => {
    const { it, tick, end, metric } = maintenance();
    it.observed(FULL);
    await tick();
    await end(new WardenError('locked', 'another process'));
    expect(await metric('etcd_warden_maintenance_rounds_total')).toEqual([
      'etcd_warden_maintenance_rounds_total{cluster="prod",outcome="error"} 1',
    ]);
    expect(await metric('etcd_warden_maintenance_failures_total')).toEqual([
      'etcd_warden_maintenance_failures_total{cluster="prod",code="locked"} 1',
    ]);
  });

  test('the status tells what runs, what the last round did and why it did no more, and when the next look is', async () => {
    const { it, tick, end } = maintenance();
    expect(it.status()).toEqual({
      enabled: true,
      signs: undefined,
      running: undefined,
      nextMs: undefined,
      last: undefined,
      error: undefined,
    });
    it.observed(FULL);
    await tick();
    expect(it.status().running).toMatchObject({ sinceMs: START, cause: 'threshold' });
    await end(DONE);
    expect(it.status()).toMatchObject({
      running: undefined,
      nextMs: Date.parse('2026-11-22T12:10:00Z'),
      last: { outcome: 'done', atMs: START, cause: 'threshold', refusals: [{ rule: 'nothing-to-gain' }, { rule: 'cooldown' }] },
    });
    expect(it.status().last?.actions).toHaveLength(3);
  });

  test('H2: a member that takes far longer than predicted is a metric of its own until it is back', async () => {
    const { it, tick, end, metric, jobs } = maintenance();
    const overdue = (): Promise<string[]> => metric('etcd_warden_defrag_overdue{');
    it.observed(FULL);
    await tick();
    jobs.started[0]!.progress({ step: 'defrag', subject: 'm2' });
    await tick();
    expect(await overdue()).toEqual(['etcd_warden_defrag_overdue{cluster="prod"} 0']);
    jobs.started[0]!.progress({ step: 'defrag', subject: 'm2', overdue: true });
    await tick();
    expect(await overdue()).toEqual(['etcd_warden_defrag_overdue{cluster="prod"} 1']);
    expect(it.status().running).toMatchObject({ step: 'defrag', subject: 'm2' });
    await end();
    expect(await overdue()).toEqual(['etcd_warden_defrag_overdue{cluster="prod"} 0']);
  });

  test('the members are looked at anew after each round', async () => {
    const { it, tick, end, observed } = maintenance();
    it.observed(FULL);
    await tick();
    expect(observed()).toBe(0);
    await end();
    expect(observed()).toBe(1);
  });

  test('the same refusal again is said once', async () => {
    const { it, pass, tick, end, lines } = maintenance();
    it.observed(FULL);
    await tick();
    await end(refused('member-down'));
    await pass(10);
    await end(refused('member-down'));
    await pass(10);
    await end(refused('member-lagging'));
    const said = lines.filter(({ level, message }) => level === 'warn' && message === 'maintenance is refused');
    expect(said).toMatchObject([
      { fields: { refusals: [{ rule: 'member-down' }] } },
      { fields: { refusals: [{ rule: 'member-lagging' }] } },
    ]);
  });
});
