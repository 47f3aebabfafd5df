import { describe, expect, test } from 'vitest';
import { clusterConfig, fakeClock, fakeJobs, recordingLogger, settle, surveyResult } from '../../test/support/daemon-fakes.ts';
import { WardenError } from '../errors.ts';
import type { DrillSurvey, SurveyedDrill, SurveyResult } from '../jobs/types.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createBoard } from './board.ts';
import type { DrillMemory, DrillMemoryFile } from './drill-memory.ts';
import { failedDrill } from '../jobs/drill-survey.ts';
import { Drills, overdueMs } from './drills.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Sunday, 04:00. */
const SLOT = Date.parse('2026-11-22T04:00:00.000Z');

function config(stores: readonly string[] = ['local', 's3']) {
  const { drill } = clusterConfig();
  return clusterConfig({
    drill: { ...drill, schedule: { cron: '0 4 * * 0', timeZone: 'UTC', jitterMs: 0 }, maxAgeMs: 15 * DAY },
    backup: { stores },
  });
}

function survey(drills: readonly DrillSurvey[] = [], part: Partial<SurveyResult> = {}): SurveyResult {
  const stores = ['local', 's3'].map((store) => ({ store, newestVerifiedMs: SLOT - HOUR, missing: 0 }));
  return surveyResult(SLOT - HOUR, { stores, drills, ...part });
}

function known(store: string, part: Partial<DrillSurvey> = {}): DrillSurvey {
  return { store, firstMs: undefined, last: undefined, sound: undefined, failed: undefined, ...part };
}

const drilled = (atMs: number, part: Partial<SurveyedDrill> = {}): SurveyedDrill => ({
  atMs,
  id: 'x',
  outcome: 'ok',
  level: 'started',
  ...part,
});

function memoryFile(start: DrillMemory = new Map(), rebuilt?: string): DrillMemoryFile & { written: DrillMemory[] } {
  const written: DrillMemory[] = [];
  return {
    written,
    read: () => Promise.resolve({ memory: start, rebuilt }),
    write: (memory) => Promise.resolve(void written.push(new Map(memory))),
  };
}

async function drills(of = config(), memory = memoryFile()) {
  const clock = fakeClock(SLOT);
  const jobs = fakeJobs();
  const metrics = createMetrics();
  const { logger, lines, said } = recordingLogger();
  const board = createBoard(jobs.run, clock, metrics);
  let wakes = 0;
  const it = new Drills(of, { board, clock, logger, metrics, memory, wake: () => (wakes += 1) });
  await it.open();
  return { it, clock, jobs, metrics, memory, lines, said, wakes: () => wakes, asked: () => jobs.started.map(({ job }) => job.request) };
}

const ok = (store: string, part: object = {}): object[] => [{ store, id: 'x', outcome: 'ok', level: 'started', recoveryMs: 1500, ...part }];

describe('rehearsing restores on a schedule', () => {
  test('each store is a job of its own, one after the other; what came out is shown, measured and kept', async () => {
    const { it, clock, jobs, asked, metrics, memory, wakes, lines } = await drills();
    expect(it.tick(SLOT, true, survey())).toBe(SLOT + 7 * DAY);
    await settle();
    expect(asked()).toEqual([{ cluster: 'prod', stores: ['local'] }]);
    expect(it.status()).toMatchObject({ enabled: true, running: 'local', nextMs: SLOT + 7 * DAY });
    await clock.advance(2000);
    jobs.started[0]!.resolve(ok('local'));
    await settle();
    expect(asked()[1]).toEqual({ cluster: 'prod', stores: ['s3'] });
    jobs.started[1]!.resolve(ok('s3', { level: 'offline', reason: 'there is no etcd' }));
    await settle();
    expect(wakes()).toBe(1);
    const text = await metrics.text();
    expect(text).toContain('etcd_warden_drills_total{cluster="prod",store="local",outcome="ok"} 1');
    expect(text).toContain(
      `etcd_warden_drill_last_success_timestamp_seconds{cluster="prod",store="local",level="started"} ${SLOT / 1000 + 2}`,
    );
    expect(text).toContain('etcd_warden_drill_last_success_timestamp_seconds{cluster="prod",store="s3",level="offline"}');
    expect(text).toContain('etcd_warden_drill_recovery_seconds{cluster="prod",store="local"} 1.5');
    expect(text).toContain('etcd_warden_drill_duration_seconds{cluster="prod",store="local"} 2');
    expect(text).toContain('etcd_warden_drill_overdue{cluster="prod",store="s3"} 0');
    expect(text).toContain('etcd_warden_drill_failed{cluster="prod",store="local"} 0');
    expect(memory.written.at(-1)?.get('local')?.sound).toMatchObject({ atMs: SLOT + 2000, recoveryMs: 1500 });
    expect(it.status().stores.map(({ sound }) => sound?.level)).toEqual(['started', 'offline']);
    // What proves less is worth a warning.
    expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([{ fields: { store: 's3', reason: 'there is no etcd' } }]);
    it.tick(SLOT + HOUR, true, survey());
    await settle();
    expect(asked()).toHaveLength(2);
  });

  test.each<[string, Parameters<Drills['tick']>]>([
    ['before the stores were listed', [SLOT, true, undefined]],
    ['while another daemon works', [SLOT, false, survey()]],
    [
      'when all were rehearsed since the slot',
      [SLOT + HOUR, true, survey(['local', 's3'].map((store) => known(store, { last: drilled(SLOT + 1) })))],
    ],
    [
      'while no store holds a verified backup',
      [SLOT, true, survey([], { stores: [{ store: 'local', newestVerifiedMs: undefined, missing: 0 }] })],
    ],
    [
      'of a store that cannot be listed',
      [SLOT, true, survey([], { stores: [{ store: 'local', newestVerifiedMs: 1, missing: 0, error: { code: 'x', message: 'x' } }] })],
    ],
    [
      'for a slot before the first backup',
      [SLOT + HOUR, true, survey(['local', 's3'].map((store) => known(store, { firstMs: SLOT + 1 })))],
    ],
    ['while the clock is not set', [HOUR * 10, true, survey()]],
  ])('not %s', async (_when, call) => {
    const { it, asked } = await drills();
    it.tick(...call);
    await settle();
    expect(asked()).toEqual([]);
  });

  test('never without a schedule, and then nothing is overdue', async () => {
    const { it, metrics } = await drills(clusterConfig());
    expect(it.tick(SLOT, true, survey([known('local', { firstMs: 1 })]))).toBe(Infinity);
    expect(await metrics.text()).not.toContain('etcd_warden_drill_overdue{');
    expect(it.status()).toMatchObject({ enabled: false, nextMs: undefined });
    it.configure(config());
    expect(it.tick(SLOT - HOUR, true, undefined)).toBe(SLOT);
  });

  test('a slot that was missed is caught up once, and only where nobody was quicker', async () => {
    const { it, jobs, asked } = await drills();
    it.tick(SLOT + 3 * DAY, true, survey([known('s3', { last: drilled(SLOT + DAY) }), known('local', { last: drilled(SLOT - DAY) })]));
    await settle();
    jobs.started[0]!.resolve(ok('local'));
    await settle();
    expect(asked()).toEqual([{ cluster: 'prod', stores: ['local'] }]);
  });

  test('a drill dated in the future, by a clock that was wrong once, serves no slot of the present', async () => {
    const { it, asked } = await drills(config(['local']));
    it.tick(SLOT + HOUR, true, survey([known('local', { last: drilled(SLOT + 2 * HOUR) })]));
    await settle();
    expect(asked()).toHaveLength(1);
  });

  test('one that was not done counts as not done, and waits for the next slot', async () => {
    const { it, jobs, asked, metrics, lines } = await drills(config(['local']));
    it.tick(SLOT, true, survey());
    await settle();
    jobs.started[0]!.resolve(ok('local', { outcome: 'inconclusive', level: undefined, reason: 'no identity' }));
    await settle();
    const text = await metrics.text();
    expect(text).toContain('{cluster="prod",store="local",outcome="inconclusive"} 1');
    expect(text).not.toContain('etcd_warden_drill_last_success_timestamp_seconds{');
    expect(lines.some(({ level, fields }) => level === 'warn' && fields['reason'] === 'no identity')).toBe(true);
    it.tick(SLOT + DAY, true, survey());
    await settle();
    expect(asked()).toHaveLength(1);
    it.tick(SLOT + 7 * DAY, true, survey());
    await settle();
    expect(asked()).toHaveLength(2);
  });

  test('a job that crashed and an answer of another version count as not done too', async () => {
    const { it, jobs, lines } = await drills();
    it.tick(SLOT, true, survey());
    await settle();
    jobs.started[0]!.reject(new WardenError('job-crashed', 'gone'));
    await settle();
    // What it restored is taken away at once.
    expect(jobs.verbs()).toEqual(['drill', 'sweep']);
    jobs.started[1]!.resolve({});
    await settle();
    jobs.started[2]!.resolve([{ store: 's3', outcome: 'dreamt' }]);
    await settle();
    expect(lines.map(({ fields }) => fields['reason'])).toEqual(['gone', 'the answer is not understood']);
    expect(it.status().stores.map(({ last }) => last?.outcome)).toEqual(['inconclusive', 'inconclusive']);
  });

  test('a failure is an error in the log, and stands until a drill succeeds: one that is not done does not clear it', async () => {
    const { it, jobs, metrics, lines } = await drills(config(['local']));
    it.tick(SLOT, true, survey());
    await settle();
    jobs.started[0]!.resolve(ok('local', { outcome: 'failed', reason: 'HashKV is 1', code: 'verification-failed' }));
    await settle();
    expect(lines.filter(({ level }) => level === 'error')).toMatchObject([{ fields: { store: 'local', reason: 'HashKV is 1' } }]);
    expect(await metrics.text()).toContain('etcd_warden_drill_failed{cluster="prod",store="local"} 1');
    it.tick(SLOT + HOUR, true, survey([known('local', { last: drilled(SLOT + HOUR, { outcome: 'inconclusive' }) })]));
    expect(await metrics.text()).toContain('etcd_warden_drill_failed{cluster="prod",store="local"} 1');
    const later = drilled(SLOT + 2 * HOUR);
    it.tick(SLOT + 3 * HOUR, true, survey([known('local', { last: later, sound: later })]));
    expect(await metrics.text()).toContain('etcd_warden_drill_failed{cluster="prod",store="local"} 0');
  });

  test('what was known is kept when retention removes the backup that was rehearsed, over a restart too', async () => {
    const sound = drilled(SLOT - DAY);
    const first = await drills(config(['local']));
    first.it.tick(SLOT - HOUR, true, survey([known('local', { firstMs: SLOT - 30 * DAY, last: sound, sound })]));
    first.it.tick(SLOT - HOUR, true, survey([known('local', { firstMs: SLOT - DAY })]));
    await first.it.close();
    const again = await drills(config(['local']), memoryFile(first.memory.written.at(-1)));
    expect(again.it.status().stores).toEqual([known('local', { firstMs: SLOT - 30 * DAY, last: sound, sound })]);
  });

  test('a memory that cannot be read is said and rebuilt; one that cannot be written is said', async () => {
    const memory = {
      read: () => Promise.resolve({ memory: new Map(), rebuilt: 'torn' }),
      write: () => Promise.reject(new Error('full')),
      written: [],
    };
    const { it, said } = await drills(config(['local']), memory);
    it.tick(SLOT - HOUR, true, survey([known('local', { firstMs: 1 })]));
    await settle();
    expect(said('the memory of drills is rebuilt')).toBe(true);
    expect(said('the memory of drills cannot be written')).toBe(true);
  });

  test('a stop ends it after the store that is being rehearsed, which counts as not tried', async () => {
    const { it, jobs, asked, wakes } = await drills();
    it.tick(SLOT, true, survey());
    await settle();
    const closed = it.close();
    jobs.started[0]!.reject(new WardenError('interrupted', 'the daemon stops'));
    await closed;
    expect(asked()).toHaveLength(1);
    expect(wakes()).toBe(0);
    expect(it.status().stores[0]?.last).toBeUndefined();
  });
});

describe('being overdue', () => {
  test.each<[string, Partial<DrillSurvey>, boolean]>([
    ['nothing was ever backed up', {}, false],
    ['a new installation, until it had its chance', { firstMs: SLOT - 15 * DAY }, false],
    ['no drill since the first backup', { firstMs: SLOT - 15 * DAY - 1 }, true],
    ['a drill that is young enough', { firstMs: 1, sound: drilled(SLOT - 15 * DAY) }, false],
    ['a drill that is too old', { firstMs: 1, sound: drilled(SLOT - 15 * DAY - 1) }, true],
    ['only drills that came to nothing', { firstMs: 1, last: drilled(SLOT, { outcome: 'inconclusive' }) }, true],
  ])('%s', (_what, part, late) => {
    expect(overdueMs(known('local', part), 15 * DAY, SLOT) !== undefined).toBe(late);
  });

  test('is measured', async () => {
    const { it, metrics } = await drills(config(['local']));
    it.tick(SLOT - HOUR, true, survey([known('local', { firstMs: 1 })]));
    expect(await metrics.text()).toContain('etcd_warden_drill_overdue{cluster="prod",store="local"} 1');
    it.configure(clusterConfig());
    expect(await metrics.text()).not.toContain('etcd_warden_drill_overdue{');
  });
});

test('a failure counts until a later success', () => {
  const failed = drilled(2, { outcome: 'failed' });
  expect(failedDrill(known('local', { failed }))).toBe(failed);
  expect(failedDrill(known('local', { failed, sound: drilled(1) }))).toBe(failed);
  expect(failedDrill(known('local', { failed, sound: drilled(3) }))).toBeUndefined();
  expect(failedDrill(known('local'))).toBeUndefined();
});
