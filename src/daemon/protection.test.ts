import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  backupResult,
  clusterConfig,
  fakeClock,
  fakeJobs,
  NEVER,
  recordingLogger,
  settle,
  surveyResult,
  type FakeClock,
} from '../../test/support/daemon-fakes.ts';
import { WardenError } from '../errors.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { JobRequest } from '../jobs/types.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createBoard } from './board.ts';
import { Protection } from './protection.ts';
import { stateFile } from './state.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const START = Date.parse('2026-11-22T11:59:30Z');

describe('the protection of a cluster', () => {
  let folder = '';
  const closing: (() => Promise<void>)[] = [];
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'protection-'))));
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
    rmSync(folder, { recursive: true });
  });

  /** A protection with a scheduler around it, as the daemon has one. Surveys, prunes and sweeps succeed by themselves. */
  async function protect(
    options: {
      answer?: (job: JobRequest, clock: FakeClock) => unknown;
      config?: ClusterConfig;
      newestMs?: number;
      elected?: boolean;
      startMs?: number;
    } = {},
  ) {
    const clock = fakeClock(options.startMs ?? START);
    const { logger, lines, said } = recordingLogger();
    const metrics = createMetrics();
    const jobs = fakeJobs((job) => {
      const answer = options.answer?.(job, clock);
      if (answer !== undefined) return answer;
      if (job.verb === 'survey') return surveyResult(options.newestMs ?? START - 30 * MINUTE);
      return job.verb === 'backup' ? undefined : {};
    });
    const board = createBoard(jobs.run, clock, metrics);
    const refused = { count: 0 };
    const stop = new AbortController();
    let wake = new AbortController();
    const config = options.config ?? clusterConfig();
    const protection = new Protection(config, {
      board,
      clock,
      logger,
      metrics,
      state: stateFile(folder, config.name),
      random: () => 0.5,
      wake: () => wake.abort(),
      noSpace: () => void (refused.count += 1),
    });
    await protection.open();
    if (options.elected !== false) protection.setLeadership({ role: 'leader' });
    const loop = (async (): Promise<void> => {
      while (!stop.signal.aborted) {
        wake = new AbortController();
        const at = Math.min(protection.tick(), clock.now() + 30_000);
        await clock.sleep(Math.max(10, at - clock.now()), AbortSignal.any([stop.signal, wake.signal]));
      }
    })();
    closing.push(async () => {
      stop.abort();
      for (const { reject } of jobs.started) reject(new WardenError('interrupted', 'test over'));
      await Promise.all([board.close(), protection.close(), loop]);
    });
    const metric = async (name: string, labels = ''): Promise<number | undefined> => {
      const line = (await metrics.text()).split('\n').find((one) => one.startsWith(`${name}{`) && one.includes(labels));
      return line === undefined ? undefined : Number(line.split(' ').at(-1));
    };
    await settle();
    return { clock, jobs, protection, lines, said, metric, board, refused };
  }

  const slotsOf = (jobs: ReturnType<typeof fakeJobs>): (string | undefined)[] =>
    jobs.backups().map(({ job }) => (job.verb === 'backup' ? job.request.slot?.slice(11, 16) : undefined));

  test('a slot runs as a backup, then prune, then a look at the stores; nothing is swept but once', async () => {
    const { clock, jobs, metric } = await protect();
    expect(jobs.verbs()).toEqual(['survey', 'sweep']);
    await clock.advance(MINUTE);
    expect(jobs.verbs().slice(2)).toEqual(['backup']);
    jobs.backups()[0]!.resolve(backupResult());
    await settle();
    expect(jobs.verbs().slice(2)).toEqual(['backup', 'prune', 'survey']);
    expect(await metric('etcd_warden_backups_total', 'outcome="complete"')).toBe(1);
    await clock.advance(HOUR);
    expect(slotsOf(jobs)).toEqual(['12:00', '13:00']);
    expect(jobs.verbs().filter((verb) => verb === 'sweep')).toHaveLength(1);
  });

  test('a backup that met NOSPACE, or was refused for it, has the cluster looked at before the next look is due', async () => {
    const { clock, jobs, refused } = await protect();
    await clock.advance(MINUTE);
    jobs.backups()[0]!.resolve(backupResult({ warnings: [{ code: 'no-lock', message: 'no quorum' }] }));
    await settle();
    expect(refused.count).toBe(0);
    await clock.advance(HOUR);
    jobs.backups()[1]!.resolve(backupResult({ warnings: [{ code: 'nospace-armed', message: 'refused' }] }));
    await settle();
    expect(refused.count).toBe(1);
    await clock.advance(HOUR);
    jobs.backups()[2]!.reject(new WardenError('no-space', 'refused'));
    await settle();
    expect(refused.count).toBe(2);
  });

  test('a request of the daemon opens new generations, prunes in a job of its own and names its slot', async () => {
    const { clock, jobs } = await protect();
    await clock.advance(MINUTE);
    expect(jobs.backups()[0]!.job).toEqual({
      verb: 'backup',
      request: {
        cluster: 'prod',
        label: undefined,
        prune: false,
        acceptCluster: false,
        onNewGeneration: 'open',
        slot: '2026-11-22T12:00:00.000Z',
        index: 'later',
      },
    });
  });

  test('the key index comes after each backup, and is tried again until it is there or can never be', async () => {
    const failure = (code: string): unknown => [{ id: 'x', store: 'local', outcome: 'failed', bytes: 0, error: { code, message: 'no' } }];
    const answers = [failure('disk-full'), [{ id: 'x', store: 'local', outcome: 'built', bytes: 7 }], failure('key-missing')];
    const { clock, jobs, said } = await protect({
      config: clusterConfig({ index: { enabled: true } }),
      answer: (job) => (job.verb === 'backup' ? backupResult() : job.verb === 'index' ? answers.shift() : undefined),
    });
    const tried = (): number => jobs.verbs().filter((verb) => verb === 'index').length;
    await clock.advance(10_000);
    expect(tried()).toBe(1); // before the first slot: the disk is full
    expect(said('a backup has no key index')).toBe(true);
    await clock.advance(MINUTE);
    expect(jobs.verbs().slice(-3)).toEqual(['prune', 'survey', 'index']); // after the backup of 12:00
    await clock.advance(HOUR);
    expect(tried()).toBe(3); // after that of 13:00: without an identity it can never be
    jobs.started.length = 0;
    await clock.advance(30 * MINUTE);
    expect(tried()).toBe(0);
  });

  test('a failed backup is tried again inside its slot, with growing delays, and then given up', async () => {
    const at: number[] = [];
    const { clock, jobs, metric, said } = await protect({
      answer: (job, clock) => {
        if (job.verb !== 'backup') return undefined;
        at.push(clock.now());
        throw new WardenError('snapshot-cut', 'the stream broke off');
      },
    });
    await clock.advance(30 * MINUTE);
    expect(at.map((ms) => (ms - at[0]!) / MINUTE)).toEqual([0, 1, 3]);
    expect(said('all attempts failed')).toBe(true);
    expect(jobs.verbs()).not.toContain('prune');
    expect(await metric('etcd_warden_backup_consecutive_failures')).toBe(3);
    expect(await metric('etcd_warden_backup_failures_total', 'code="snapshot-cut"')).toBe(3);
  });

  test('retries end when the next slot comes first', async () => {
    const config = clusterConfig({ backup: { retries: 50, retryDelayMs: 20 * MINUTE } });
    const { clock, jobs } = await protect({ config, answer: (job) => (job.verb === 'backup' ? fail('unreachable') : undefined) });
    await clock.advance(65 * MINUTE);
    expect(slotsOf(jobs)).toEqual(['12:00', '12:00', '12:00', '13:00']);
  });

  test('what no retry can mend is not tried again', async () => {
    const { clock, jobs } = await protect({ answer: (job) => (job.verb === 'backup' ? fail('permission-denied') : undefined) });
    await clock.advance(30 * MINUTE);
    expect(jobs.backups()).toHaveLength(1);
  });

  test('a crash of the job is a failed backup with its reason, and the next slot comes as ever', async () => {
    const { clock, jobs, protection } = await protect({
      config: clusterConfig({ backup: { retries: 0 } }),
      answer: (job) => (job.verb === 'backup' ? fail('job-crashed') : undefined),
    });
    await clock.advance(MINUTE);
    expect(protection.status()).toMatchObject({ consecutiveFailures: 1, lastError: { code: 'job-crashed' } });
    await clock.advance(HOUR);
    expect(slotsOf(jobs)).toEqual(['12:00', '13:00']);
  });

  test('fault 60: while a run is not finished the next slots are skipped and counted, not queued', async () => {
    const { clock, jobs, metric } = await protect();
    await clock.advance(2 * HOUR + MINUTE);
    expect(slotsOf(jobs)).toEqual(['12:00']);
    expect(await metric('etcd_warden_backup_slots_total', 'outcome="skipped"')).toBe(2);
    jobs.backups()[0]!.resolve(backupResult());
    await clock.advance(MINUTE);
    expect(jobs.backups()).toHaveLength(1);
    await clock.advance(HOUR);
    expect(slotsOf(jobs)).toEqual(['12:00', '15:00']);
  });

  test('fault 20: a full disk is shown as disk_full until a backup succeeds', async () => {
    const { clock, jobs, metric } = await protect({ config: clusterConfig({ backup: { retries: 0 } }) });
    await clock.advance(MINUTE);
    jobs.backups()[0]!.reject(new WardenError('disk-full', '/var/backups: no space'));
    await settle();
    expect(await metric('etcd_warden_disk_full')).toBe(1);
    await clock.advance(HOUR);
    jobs.backups()[1]!.resolve(backupResult());
    await settle();
    expect(await metric('etcd_warden_disk_full')).toBe(0);
    expect(await metric('etcd_warden_backup_consecutive_failures')).toBe(0);
  });

  test('a slot missed while the daemon was down is caught up once; the stores say that it was missed', async () => {
    const late = Date.parse('2026-11-22T12:40:00Z');
    const { clock, jobs, metric } = await protect({ startMs: late, newestMs: late - 100 * MINUTE });
    await clock.advance(10 * MINUTE);
    expect(slotsOf(jobs)).toEqual(['12:00']);
    expect(await metric('etcd_warden_backup_slots_total', 'caught_up')).toBe(1);
  });

  test('with the state folder thrown away nothing runs twice: the newest backup in the stores serves its slot', async () => {
    const late = Date.parse('2026-11-22T12:40:00Z');
    const { clock, jobs } = await protect({ startMs: late, newestMs: late - 35 * MINUTE });
    await clock.advance(10 * MINUTE);
    expect(jobs.backups()).toHaveLength(0);
  });

  test('stores that cannot be listed hold no backup up', async () => {
    const { clock, jobs } = await protect({ answer: (job) => (job.verb === 'survey' ? fail('store-unavailable') : undefined) });
    await clock.advance(MINUTE);
    // 11:00 was never seen served, so it is caught up as well.
    expect(jobs.backups().length).toBeGreaterThan(0);
  });

  test('a listing that hangs holds the first slot up for a minute at most', async () => {
    const { clock, jobs } = await protect({
      startMs: START + 35_000,
      answer: (job) => (job.verb === 'survey' ? NEVER : undefined),
    });
    await clock.advance(50_000);
    expect(jobs.backups()).toHaveLength(0);
    await clock.advance(15_000);
    expect(slotsOf(jobs)).toEqual(['12:00']);
  });

  test('fault 62: a standby takes no backup and says so; elected, it looks at the stores first and takes over', async () => {
    const { clock, jobs, protection, said, metric } = await protect({ elected: false });
    protection.setLeadership({ role: 'standby', leader: 'other host' });
    await clock.advance(5 * MINUTE);
    expect(said('standby: another daemon takes the backups')).toBe(true);
    expect(jobs.verbs()).toEqual(['survey']);
    expect(await metric('etcd_warden_leader')).toBe(0);
    protection.setLeadership({ role: 'leader' });
    await clock.advance(1000);
    expect(jobs.verbs().slice(1, 2)).toEqual(['survey']);
    expect(slotsOf(jobs)).toEqual(['12:00']);
    expect(await metric('etcd_warden_leader')).toBe(1);
  });

  test('elected again while a copy takes hours, it takes the next slot all the same', async () => {
    const missing = { stores: [{ store: 's3', newestVerifiedMs: undefined, missing: 1 }] };
    const { clock, jobs, protection } = await protect({
      answer: (job) => (job.verb === 'survey' ? surveyResult(START, missing) : job.verb === 'copy' ? NEVER : undefined),
    });
    expect(jobs.verbs()).toEqual(['survey', 'sweep', 'copy']);
    protection.setLeadership({ role: 'standby', leader: 'other host' });
    await clock.advance(1000);
    protection.setLeadership({ role: 'leader' });
    await clock.advance(3 * MINUTE);
    expect(slotsOf(jobs)).toEqual(['12:00']);
  });

  test("a standby looks at the stores often enough not to call the leader's backups too old", async () => {
    const config = clusterConfig({ backup: { maxAgeMs: 20 * MINUTE } });
    const { clock, protection } = await protect({
      elected: false,
      config,
      answer: (job, clock) => (job.verb === 'survey' ? surveyResult(clock.now() - MINUTE) : undefined),
    });
    protection.setLeadership({ role: 'standby', leader: 'other host' });
    for (let round = 0; round < 12; round += 1) {
      await clock.advance(5 * MINUTE);
      expect(clock.now() - protection.status().newestComplete!.timeMs).toBeLessThan(20 * MINUTE);
    }
  });

  test('a sweep that failed is tried again, and what becomes old later is swept a day later', async () => {
    let failing = true;
    const { clock, jobs } = await protect({
      answer: (job) => {
        if (job.verb === 'sweep') return failing ? fail('store-unavailable') : {};
        return job.verb === 'backup' ? backupResult() : undefined;
      },
    });
    const sweeps = (): number => jobs.verbs().filter((verb) => verb === 'sweep').length;
    expect(sweeps()).toBe(1);
    failing = false;
    await clock.advance(HOUR);
    expect(sweeps()).toBe(2);
    await clock.advance(2 * HOUR);
    expect(sweeps()).toBe(2);
    const { monotonicMs } = clock;
    clock.monotonicMs = () => monotonicMs() + 24 * HOUR;
    await clock.advance(HOUR);
    expect(sweeps()).toBe(3);
  });

  test('after a job that crashed the leftovers are swept, because they take the room that the next attempt needs', async () => {
    const { clock, jobs } = await protect({
      config: clusterConfig({ backup: { retries: 0 } }),
      answer: (job) => (job.verb === 'backup' ? fail('job-crashed') : undefined),
    });
    await clock.advance(MINUTE);
    expect(jobs.verbs()).toEqual(['survey', 'sweep', 'backup', 'survey', 'sweep']);
  });

  test('a backup dated in the future serves no slot: a failed attempt is tried again beside it', async () => {
    const { clock, jobs } = await protect({
      newestMs: START + 1000 * HOUR,
      answer: (job) => (job.verb === 'backup' ? fail('unreachable') : undefined),
    });
    await clock.advance(30 * MINUTE);
    expect(slotsOf(jobs).filter((slot) => slot === '12:00')).toHaveLength(3);
  });

  test('without quorum nobody is elected, and the backups go on', async () => {
    const { clock, jobs, protection, metric } = await protect();
    protection.setLeadership({ role: 'alone', reason: 'no quorum' });
    await clock.advance(MINUTE);
    expect(slotsOf(jobs)).toEqual(['12:00']);
    expect(await metric('etcd_warden_coordinated')).toBe(0);
  });

  test('a slot that another daemon served is no failure and prunes nothing', async () => {
    const { clock, jobs, protection } = await protect({
      answer: (job) => (job.verb === 'backup' ? backupResult({ outcome: 'skipped' }) : undefined),
    });
    await clock.advance(MINUTE);
    expect(protection.status().consecutiveFailures).toBe(0);
    expect(jobs.verbs()).not.toContain('prune');
    expect(jobs.verbs().slice(2)).toEqual(['backup', 'survey']);
  });

  test('missing copies are completed after the backup, and looked at again', async () => {
    const missing = { stores: [{ store: 's3', newestVerifiedMs: undefined, missing: 2 }] };
    const { clock, jobs } = await protect({
      answer: (job) =>
        job.verb === 'survey'
          ? surveyResult(START, missing)
          : job.verb === 'backup'
            ? backupResult({ outcome: 'partial', stores: [{ store: 's3', outcome: 'failed' }] })
            : undefined,
    });
    expect(jobs.verbs()).toEqual(['survey', 'sweep', 'copy', 'survey']);
    await clock.advance(MINUTE);
    expect(jobs.verbs().slice(4)).toEqual(['backup', 'prune', 'survey', 'copy', 'survey']);
  });

  test('a prune that removed nothing because a store is away is said and counted: the disk fills up meanwhile', async () => {
    const { clock, lines, metric } = await protect({
      answer: (job) => {
        if (job.verb === 'prune') return { lines: [], skipped: [{ store: 's3', message: 'no route' }] };
        return job.verb === 'backup' ? backupResult() : undefined;
      },
    });
    await clock.advance(MINUTE);
    expect(lines.find(({ message }) => message.includes('nothing was pruned'))?.fields).toMatchObject({ store: 's3', reason: 'no route' });
    expect(await metric('etcd_warden_retention_failures_total', 'store-unavailable')).toBe(1);
  });

  test('a copy that cannot be completed is said, with the store and the reason', async () => {
    const { lines } = await protect({
      answer: (job) => {
        if (job.verb === 'survey') return surveyResult(START, { stores: [{ store: 's3', newestVerifiedMs: undefined, missing: 1 }] });
        return job.verb === 'copy' ? [{ id: 'x', to: 's3', outcome: 'failed', error: { code: 'store-denied', message: 'no' } }] : undefined;
      },
    });
    expect(lines.find(({ message }) => message.includes('could not be completed'))?.fields).toMatchObject({
      id: 'x',
      to: 's3',
      error: { code: 'store-denied' },
    });
  });

  test('a request for a backup joins the one that runs, and is measured once', async () => {
    const { clock, jobs, protection, metric } = await protect();
    const first = protection.backupNow();
    await settle();
    expect(protection.backupNow()).toMatchObject({ joined: true, job: { id: first.job.id } });
    await clock.advance(MINUTE);
    expect(jobs.backups()).toHaveLength(1);
    jobs.backups()[0]!.resolve(backupResult());
    await settle();
    expect(await metric('etcd_warden_backups_total', 'outcome="complete"')).toBe(1);
    expect(protection.backupNow().joined).toBe(false);
  });

  test('a new generation alarms until somebody accepts it', async () => {
    let unaccepted: { lineage: string; clusterId: string } | undefined;
    const { clock, protection, metric, said } = await protect({
      answer: (job) => {
        if (job.verb === 'survey') return surveyResult(START, { unaccepted });
        if (job.verb !== 'backup') return undefined;
        unaccepted = { lineage: 'abc', clusterId: 'f00' };
        return backupResult({ newGeneration: { lineage: 'abc', reason: 'another cluster id', accepted: false } });
      },
    });
    await clock.advance(MINUTE);
    expect(said('accept-cluster')).toBe(true);
    expect(protection.status().unaccepted).toEqual(unaccepted);
    expect(await metric('etcd_warden_generation_unaccepted')).toBe(1);
  });

  test('a new generation that a restore had announced alarms nobody', async () => {
    const { clock, protection, metric, said } = await protect({
      answer: (job) =>
        job.verb === 'backup'
          ? backupResult({ newGeneration: { lineage: 'abc', reason: 'another cluster id; it was restored', accepted: true } })
          : undefined,
    });
    await clock.advance(MINUTE);
    expect(said('which a restore had announced')).toBe(true);
    expect(said('accept-cluster')).toBe(false);
    expect(protection.status().unaccepted).toBeUndefined();
    expect(await metric('etcd_warden_generation_unaccepted')).toBe(0);
  });

  test('fault 26: a daemon killed during a run catches the slot up after its restart', async () => {
    const first = await protect({ newestMs: START - 50 * MINUTE });
    await first.clock.advance(2 * MINUTE);
    expect(slotsOf(first.jobs)).toEqual(['12:00']);
    const again = await protect({ startMs: START + 3 * MINUTE, newestMs: START - 50 * MINUTE });
    await again.clock.advance(MINUTE);
    expect(slotsOf(again.jobs)).toEqual(['12:00']);
  });

  test('an answer that this version does not understand is a failed backup, not a success', async () => {
    const { clock, protection } = await protect({
      config: clusterConfig({ backup: { retries: 0 } }),
      answer: (job) => (job.verb === 'backup' ? { outcome: 'splendid' } : undefined),
    });
    await clock.advance(MINUTE);
    expect(protection.status().lastError?.message).toContain('does not understand');
  });
});

function fail(code: ConstructorParameters<typeof WardenError>[0]): never {
  throw new WardenError(code, `fails with ${code}`);
}
