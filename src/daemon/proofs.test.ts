/** What the daemon makes of proofs: asked for later, alarmed about, measured. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { backupResult, clusterConfig, fakeClock, fakeJobs, recordingLogger, surveyResult } from '../../test/support/daemon-fakes.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { JobRequest, ProveResult } from '../jobs/types.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createBoard } from './board.ts';
import { readiness } from './health.ts';
import { Protection } from './protection.ts';
import { recordBackup } from './record.ts';
import { stateFile } from './state.ts';

const START = Date.parse('2026-11-22T12:00:30Z');
const MINUTE = 60_000;
const proof = { revision: '42', compactRevision: '1', hash: 7, members: ['m2'], tookMs: 470, bytes: 1_000 };
const disagreement = { members: ['m3'], reason: 'm3 has other data than m2 at revisions 42 and 43' };

let folder = '';
const closing: (() => Promise<void>)[] = [];
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'proofs-'))));
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  rmSync(folder, { recursive: true });
});

/** A protection whose stores hold one backup that serves the present slot and has no proof, for this reason. */
async function protect(code: string, lines: ProveResult['lines'], proofConfig: Partial<ClusterConfig['proof']> = {}) {
  const clock = fakeClock(START);
  const { logger, said } = recordingLogger();
  const metrics = createMetrics();
  const wanting = { newestProvedMs: undefined, wanting: [{ id: 'x', code }], disagreement: undefined };
  const jobs = fakeJobs((job: JobRequest) => {
    if (job.verb === 'survey') return surveyResult(START - 10_000, { proof: wanting });
    return job.verb === 'prove' ? { cluster: 'prod', lines } : {};
  });
  const config = clusterConfig({ proof: { ...clusterConfig().proof, ...proofConfig }, backup: { schedule: NO_SCHEDULE } });
  const wake = (): void => {};
  const board = createBoard(jobs.run, clock, metrics);
  const protection = new Protection(config, {
    board,
    clock,
    logger,
    metrics,
    state: stateFile(folder, 'prod'),
    random: () => 0.5,
    wake,
    noSpace: () => {},
  });
  await protection.open();
  protection.setLeadership({ role: 'leader' });
  closing.push(() => protection.close());
  const pass = async (minutes: number): Promise<void> => {
    for (let done = 0; done < minutes; done++) {
      protection.tick();
      await clock.advance(MINUTE);
    }
  };
  const proves = (): number => jobs.verbs().filter((verb) => verb === 'prove').length;
  return { protection, metrics, said, pass, proves };
}

const NO_SCHEDULE = { cron: undefined, timeZone: 'UTC', jitterMs: 0 };

describe('proofs that were not to be had', () => {
  test('are asked for after each look at the stores, until a member confirms them', async () => {
    const { pass, proves, metrics } = await protect('unreachable', [{ id: 'x', outcome: 'proved', proof }]);
    await pass(3);
    expect(proves()).toBe(1);
    await pass(60);
    expect(proves()).toBe(2);
    expect(await metrics.text()).toMatch(/etcd_warden_proofs_total\{cluster="prod",outcome="proved"\} 2/);
  });

  test('are given up when the cluster has compacted past them', async () => {
    const { pass, proves, metrics } = await protect('unreachable', [{ id: 'x', outcome: 'waiting', code: 'revision-compacted' }]);
    await pass(130);
    expect(proves()).toBe(1);
    expect(await metrics.text()).not.toMatch(/etcd_warden_proofs_total\{/);
  });

  test('wait for the window when the stall was too long, and are asked for when it opens', async () => {
    const window = { cron: '0 13 * * *', timeZone: 'UTC', lengthMs: 30 * MINUTE };
    const { pass, proves } = await protect('stall-too-long', [{ id: 'x', outcome: 'waiting' }], { window });
    await pass(58);
    expect(proves()).toBe(0);
    await pass(4);
    expect(proves()).toBe(1);
  });

  test('are never asked for where proofs are switched off', async () => {
    const { pass, proves } = await protect('unreachable', [], { enabled: false });
    await pass(3);
    expect(proves()).toBe(0);
  });
});

describe('members that disagree', () => {
  test('found beside an earlier backup they make the daemon not ready, although no manifest tells of it', async () => {
    const { protection, pass, metrics } = await protect('unreachable', [{ id: 'x', outcome: 'suspect', reason: 'why', disagreement }]);
    await pass(3);
    expect(protection.status().disagreement).toEqual(disagreement);
    expect(await metrics.text()).toMatch(/etcd_warden_members_disagree\{cluster="prod"\} 1/);
    const report = readiness([protection.status()], { nowMs: START, sinceTickMs: 0, stopping: false });
    expect(report.reasons).toMatchObject([{ code: 'members-disagree', message: expect.stringContaining('m3 has other data') as string }]);
  });

  test('a suspect newest backup is a reason of its own', async () => {
    const { protection } = await protect('disabled', []);
    const newest = { id: 'x', timeMs: START, revision: '1', plainBytes: 1, storedBytes: 1, suspect: 'it differs from m1' };
    const report = readiness([{ ...protection.status(), newest, newestComplete: newest }], {
      nowMs: START,
      sinceTickMs: 0,
      stopping: false,
    });
    expect(report.reasons).toMatchObject([{ code: 'newest-suspect', message: expect.stringContaining('it differs from m1') as string }]);
  });

  test('the metrics tell what came of each proof, what it cost, and whether members disagree', async () => {
    const metrics = createMetrics();
    const record = (part: Parameters<typeof backupResult>[0]): void => recordBackup(metrics, 'prod', backupResult(part));
    record({ proof, disagreement, stall: { predictedMs: 500, longestMs: 470 } });
    expect(await metrics.text()).toMatch(/etcd_warden_members_disagree\{cluster="prod"\} 1/);
    for (const code of ['differs', 'inconclusive', 'stall-too-long', 'disabled']) record({ unproved: { code, reason: 'why' } });
    const unclear = await metrics.text();
    expect(unclear).toMatch(/etcd_warden_members_disagree\{cluster="prod"\} 1/);
    for (const outcome of ['proved', 'differs', 'inconclusive', 'unproved'])
      expect(unclear).toContain(`etcd_warden_proofs_total{cluster="prod",outcome="${outcome}"} 1`);
    expect(unclear).toMatch(/etcd_warden_proof_stall_predicted_seconds\{cluster="prod"\} 0.5/);
    expect(unclear).toMatch(/etcd_warden_proof_stall_seconds\{cluster="prod"\} 0.47/);
    record({ proof });
    expect(await metrics.text()).toMatch(/etcd_warden_members_disagree\{cluster="prod"\} 0/);
  });
});
