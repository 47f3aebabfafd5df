import { describe, expect, test } from 'vitest';
import { fakeClock, fakeJobs, settle } from '../../test/support/daemon-fakes.ts';
import { WardenError } from '../errors.ts';
import type { JobRequest } from '../jobs/types.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createBoard } from './board.ts';

function board() {
  const clock = fakeClock(1_000_000);
  const jobs = fakeJobs();
  const metrics = createMetrics();
  return { clock, jobs, metrics, board: createBoard(jobs.run, clock, metrics) };
}

const backup = (cluster: string): JobRequest => ({
  verb: 'backup',
  request: { cluster, prune: false, acceptCluster: false, onNewGeneration: 'open' },
});
const light = (verb: 'survey' | 'sweep', cluster: string): JobRequest => ({ verb, request: { cluster } });
const prune = (cluster: string): JobRequest => ({ verb: 'prune', request: { cluster, dryRun: false } });
const maintain = (cluster: string): JobRequest => ({ verb: 'maintain', request: { cluster, wish: { kind: 'routine' }, elected: true } });
const copy = (cluster: string): JobRequest => ({ verb: 'copy', request: { cluster, missing: true } });

describe('the board of jobs', () => {
  test('heavy jobs run one at a time, the others wait and are shown', async () => {
    const { board: b, jobs, metrics } = board();
    b.submit(backup('a'));
    b.submit(backup('b'));
    expect(b.list().map(({ cluster, state }) => [cluster, state])).toEqual([
      ['a', 'running'],
      ['b', 'queued'],
    ]);
    expect(await metrics.text()).toMatch(/etcd_warden_jobs_queued 1/);
    jobs.started[0]!.resolve('done');
    await settle();
    expect(b.list().map(({ cluster, state }) => [cluster, state])).toEqual([
      ['b', 'running'],
      ['a', 'done'],
    ]);
  });

  test('as many at a time as configured, also when that changes', () => {
    const { board: b, jobs } = board();
    for (const name of ['a', 'b', 'c']) b.submit(backup(name));
    b.setHeavyLimit(2);
    expect(jobs.started.map(({ job }) => job.request.cluster)).toEqual(['a', 'b']);
  });

  test('a long copy makes no backup late, and a listing waits for neither', () => {
    const { board: b, jobs } = board();
    b.submit(copy('a'));
    b.submit(backup('a'));
    b.submit(light('survey', 'a'));
    expect(jobs.verbs()).toEqual(['copy', 'backup', 'survey']);
  });

  test('what only tidies waits for what informs', async () => {
    const { board: b, jobs } = board();
    b.submit(light('sweep', 'a'));
    b.submit(light('sweep', 'b'));
    b.submit(prune('a'));
    b.submit(light('survey', 'a'));
    for (const index of [0, 1, 2]) {
      jobs.started[index]!.resolve({});
      await settle();
    }
    expect(jobs.verbs()).toEqual(['sweep', 'survey', 'prune', 'sweep']);
  });

  test('a failed job is an outcome with a code of the table, and never a rejection', async () => {
    const { board: b, jobs } = board();
    const [first, second] = [b.submit(backup('a')), b.submit(backup('b'))];
    jobs.started[0]!.reject(new WardenError('disk-full', 'no space'));
    expect(await first.done).toMatchObject({ ok: false, error: { code: 'disk-full' } });
    await settle();
    jobs.started[1]!.reject(Object.assign(new Error('x'), { code: 'EWHATEVER' }));
    expect(await second.done).toMatchObject({ ok: false, error: { code: 'failed', message: 'x' } });
    expect(b.get(first.id)).toMatchObject({ state: 'failed' });
  });

  test('closed, it drops what waits, lets what runs go on, and resolves when nothing runs', async () => {
    const { board: b, jobs } = board();
    const running = b.submit(backup('a'));
    const waiting = b.submit(backup('b'));
    let closed = false;
    const closing = b.close().then(() => (closed = true));
    expect(await waiting.done).toMatchObject({ ok: false, error: { code: 'interrupted' } });
    expect(await b.submit(backup('c')).done).toMatchObject({ ok: false, error: { code: 'interrupted' } });
    expect({ closed, aborted: jobs.started[0]!.signal.aborted }).toEqual({ closed: false, aborted: false });
    b.stop('test');
    expect(await running.done).toMatchObject({ ok: false });
    await closing;
    expect(jobs.started).toHaveLength(1);
  });

  test('the last hundred are remembered, not more', async () => {
    const { board: b, jobs } = board();
    const ids: string[] = [];
    for (let i = 0; i < 130; i += 1) {
      ids.push(b.submit(light('survey', 'a')).id);
      jobs.started.at(-1)!.resolve({});
      await settle();
    }
    expect(b.list()).toHaveLength(100);
    expect([b.get(ids[0]!), b.get(ids.at(-1)!)?.state]).toEqual([undefined, 'done']);
  });

  test('silence is measured from the last sign of life of the most silent job', async () => {
    const { board: b, clock } = board();
    expect(b.longestSilenceMs()).toBe(0);
    b.submit(backup('a'));
    await clock.advance(5000);
    expect(b.longestSilenceMs()).toBe(5000);
  });

  describe('maintenance', () => {
    const prove: JobRequest = { verb: 'prove', request: { cluster: 'a' } };

    test.each<[string, JobRequest]>([
      ['backup', backup('a')],
      ['proof', prove],
    ])('never runs beside a %s of the same cluster, whichever came first, and beside everything of others', async (_, reads) => {
      const first = board();
      first.board.submit(reads);
      first.board.submit(maintain('a'), { urgent: true });
      first.board.submit(maintain('b'));
      expect(first.jobs.verbs()).toEqual([reads.verb, 'maintain']);
      expect(first.jobs.started[1]!.job.request.cluster).toBe('b');
      first.jobs.started[0]!.resolve({});
      await settle();
      expect(first.jobs.started[2]!.job.request.cluster).toBe('a');

      const second = board();
      second.board.submit(maintain('a'));
      second.board.submit(reads);
      second.board.submit(backup('b'));
      expect(second.jobs.started.map(({ job }) => `${job.verb} ${job.request.cluster}`)).toEqual(['maintain a', 'backup b']);
      second.jobs.started[0]!.resolve({});
      second.jobs.started[1]!.resolve({});
      await settle();
      expect(second.jobs.verbs()[2]).toBe(reads.verb);
    });

    test('waits for a backup that waits, unless it is urgent', async () => {
      const { board: b, jobs } = board();
      b.submit(backup('b'));
      b.submit(backup('a'));
      b.submit(maintain('a'));
      expect(jobs.verbs()).toEqual(['backup']);
      b.submit(maintain('a'), { urgent: true });
      expect(jobs.verbs()).toEqual(['backup', 'maintain']);
      jobs.started[0]!.resolve({});
      jobs.started[1]!.resolve({});
      await settle();
      expect(jobs.started.slice(2).map(({ job }) => job)).toEqual([backup('a')]);
    });

    test('urgent rounds overtake a backup twice and not again: it does not starve', async () => {
      const { board: b, jobs } = board();
      b.submit(backup('b'));
      b.submit(backup('a'));
      for (const round of [1, 2]) {
        b.submit(maintain('a'), { urgent: true });
        expect(jobs.verbs()[round]).toBe('maintain');
        jobs.started[round]!.resolve({});
        await settle();
      }
      b.submit(maintain('a'), { urgent: true });
      expect(jobs.started).toHaveLength(3);
      jobs.started[0]!.resolve({});
      await settle();
      expect(jobs.verbs().slice(3)).toEqual(['backup']);
      jobs.started[3]!.resolve({});
      await settle();
      expect(jobs.verbs().slice(4)).toEqual(['maintain']);
    });

    test('of one cluster is one at a time, of all clusters two; an urgent one waits for no other cluster', () => {
      const { board: b, jobs } = board();
      for (const cluster of ['a', 'a', 'b', 'c']) b.submit(maintain(cluster));
      expect(jobs.started.map(({ job }) => job.request.cluster)).toEqual(['a', 'b']);
      b.submit(maintain('a'), { urgent: true });
      b.submit(maintain('d'), { urgent: true });
      expect(jobs.started.map(({ job }) => job.request.cluster)).toEqual(['a', 'b', 'd']);
    });
  });
});
