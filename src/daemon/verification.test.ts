import { describe, expect, test } from 'vitest';
import { clusterConfig, fakeClock, fakeJobs, recordingLogger, settle, surveyResult } from '../../test/support/daemon-fakes.ts';
import { WardenError } from '../errors.ts';
import type { SurveyResult } from '../jobs/types.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createBoard } from './board.ts';
import { Verification } from './verification.ts';

const HOUR = 3_600_000;
/** Slots at 03:30. */
const config = clusterConfig({
  verify: { schedule: { cron: '30 3 * * *', timeZone: 'UTC', jitterMs: 0 }, level: 'proved', everyMs: HOUR },
});
const SLOT = Date.parse('2026-11-22T03:30:00.000Z');
const DUE = [
  { id: 'newest', store: 'local' },
  { id: 'older', store: 's3' },
];

function survey(verification: Partial<SurveyResult['verification']> = {}): SurveyResult {
  return surveyResult(SLOT, { verification: { due: DUE, sound: [], lastMs: undefined, failed: [], ...verification } });
}

function verification(of = config) {
  const clock = fakeClock(SLOT);
  const jobs = fakeJobs();
  const metrics = createMetrics();
  const { logger, lines } = recordingLogger();
  const board = createBoard(jobs.run, clock, metrics);
  let changes = 0;
  const it = new Verification(of, { board, logger, metrics, changed: () => (changes += 1) });
  return { it, jobs, metrics, lines, changes: () => changes, asked: () => jobs.started.map(({ job }) => job.request) };
}

const answer = (id: string, store: string, part: object = {}): object[] => [
  { id, store, level: 'proved', outcome: 'ok', bytes: 1, ...part },
];

describe('reading stored backups again', () => {
  test('each copy that is due is a job of its own, one after the other, and the stores are looked at when all are done', async () => {
    const { it, jobs, asked, changes, metrics } = verification();
    expect(it.tick(SLOT, true, survey())).toBe(SLOT + 24 * HOUR);
    await settle();
    expect(asked()).toEqual([{ cluster: 'prod', which: ['newest'], store: 'local', level: 'proved' }]);
    expect(changes()).toBe(0);
    jobs.started[0]!.resolve(answer('newest', 'local'));
    await settle();
    expect(asked()[1]).toEqual({ cluster: 'prod', which: ['older'], store: 's3', level: 'proved' });
    jobs.started[1]!.resolve(answer('older', 's3', { level: 'stored', reason: 'no identity' }));
    await settle();
    expect(changes()).toBe(1);
    const text = await metrics.text();
    expect(text).toContain('etcd_warden_verifications_total{cluster="prod",store="local",level="proved",outcome="ok"} 1');
    // Never counted as deeper than it was.
    expect(text).toContain('etcd_warden_verifications_total{cluster="prod",store="s3",level="stored",outcome="ok"} 1');
    it.tick(SLOT + HOUR, true, survey());
    await settle();
    expect(asked()).toHaveLength(2);
  });

  test.each<[string, Parameters<Verification['tick']>]>([
    ['before the stores were listed', [SLOT, true, undefined]],
    ['while another daemon works', [SLOT, false, survey()]],
    ['when all were looked at since the slot', [SLOT + HOUR, true, survey({ lastMs: SLOT + 1 })]],
    ['when nothing is there to be read', [SLOT, true, survey({ due: [] })]],
    ['while the clock is not set', [HOUR * 10, true, survey()]],
  ])('not %s', async (_when, call) => {
    const { it, asked } = verification();
    it.tick(...call);
    await settle();
    expect(asked()).toEqual([]);
  });

  test('never without a schedule', () => {
    const { it } = verification(clusterConfig());
    expect(it.tick(SLOT, true, survey())).toBe(Infinity);
    it.configure(config);
    expect(it.tick(SLOT - HOUR, true, undefined)).toBe(SLOT);
  });

  test('a slot that was missed is caught up once; checks dated in the future do not count', async () => {
    const { it, asked } = verification();
    it.tick(SLOT + 10 * HOUR, true, survey({ lastMs: SLOT - 20 * HOUR }));
    await settle();
    expect(asked()).toHaveLength(1);
    const other = verification();
    other.it.tick(SLOT + HOUR, true, survey({ lastMs: SLOT + 2 * HOUR }));
    await settle();
    expect(other.asked()).toHaveLength(1);
  });

  test('a copy that is not sound is an error in the log and counted; a job that failed is no result, and the next copy has its turn', async () => {
    const { it, jobs, lines, metrics, asked } = verification();
    it.tick(SLOT, true, survey());
    await settle();
    jobs.started[0]!.resolve(answer('newest', 'local', { outcome: 'failed', code: 'bolt-damaged', reason: 'page 7' }));
    await settle();
    jobs.started[1]!.reject(new WardenError('job-crashed', 'gone'));
    await settle();
    expect(lines.filter(({ level }) => level === 'error')).toMatchObject([
      { fields: { id: 'newest', code: 'bolt-damaged', reason: 'page 7' } },
    ]);
    const text = await metrics.text();
    expect(text).toContain('{cluster="prod",store="local",level="proved",outcome="failed"} 1');
    expect(text).toContain('{cluster="prod",store="s3",level="proved",outcome="inconclusive"} 1');
    expect(asked()).toHaveLength(2);
  });

  test('answers of another version become no labels', async () => {
    const { it, jobs, metrics } = verification();
    it.tick(SLOT, true, survey());
    await settle();
    jobs.started[0]!.resolve([{ id: 'newest', store: 'local', level: 'deepest', outcome: 'ok' }, 'x', { id: 1 }]);
    await settle();
    expect(await metrics.text()).not.toContain('deepest');
  });

  test('a stop ends it after the copy that is being read', async () => {
    const { it, jobs, asked, changes } = verification();
    it.tick(SLOT, true, survey());
    await settle();
    const closed = it.close();
    jobs.started[0]!.reject(new WardenError('interrupted', 'the daemon stops'));
    await closed;
    expect(asked()).toHaveLength(1);
    expect(changes()).toBe(0);
  });
});
