import { describe, expect, test } from 'vitest';
import type { MemberStatus } from '../../etcd/types.ts';
import { learnedRate, planProof, type PastProof, type ProofCircumstances } from './policy.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = 1_000 * DAY;
const GB = 1e9;

function member(name: string, changes: Partial<MemberStatus> = {}): MemberStatus {
  return {
    endpoint: `http://${name}:2379`,
    clusterId: 1n,
    memberId: BigInt(name.charCodeAt(1)),
    name,
    role: 'follower',
    leader: 1n,
    version: '3.6.16',
    storageVersion: '3.6.0',
    dbSize: GB,
    dbSizeInUse: GB,
    dbSizeQuota: undefined,
    raftIndex: 10n,
    raftAppliedIndex: 10n,
    raftTerm: 2n,
    revision: 100n,
    alarms: [],
    latencyMs: 1,
    ...changes,
  };
}

const leader = member('m1', { role: 'leader' });
const three = [leader, member('m2'), member('m3')];

function proved(hoursAgo: number, members: readonly string[], took?: { tookMs: number; bytes: number }): PastProof {
  return { timeMs: NOW - hoursAgo * HOUR, members, tookMs: took?.tookMs, bytes: took?.bytes };
}

function plan(changes: Partial<ProofCircumstances> = {}): { order: string[]; due: string[]; predictedMs: number } {
  const made = planProof({
    statuses: three,
    history: [],
    sinceMs: undefined,
    doubted: [],
    config: { members: 'follower', allEveryMs: DAY, maxStallMs: 2_000 },
    nowMs: NOW,
    inWindow: false,
    ...changes,
  });
  if (made.kind === 'refused') throw new Error(made.code);
  return { order: made.order.map(({ label }) => label), due: [...made.due], predictedMs: made.predictedMs };
}

describe('whom to ask', () => {
  test('a follower first, the leader only when nobody else answers', () => {
    expect(plan()).toEqual({ order: ['m2', 'm3', 'm1'], due: [], predictedMs: 500 });
  });

  test('the follower that was asked longest ago, or never', () => {
    const history = [proved(3, ['m2']), proved(2, ['m3'])];
    expect(plan({ history, sinceMs: NOW - 3 * HOUR }).order).toEqual(['m2', 'm3', 'm1']);
    expect(plan({ history: [proved(2, ['m2'])], sinceMs: NOW - 2 * HOUR }).order).toEqual(['m3', 'm2', 'm1']);
  });

  test('everybody who was not asked for a day is due, the leader last', () => {
    const history = [proved(30, ['m3']), proved(25, ['m2']), proved(1, ['m3'])];
    expect(plan({ history, sinceMs: NOW - 30 * HOUR })).toMatchObject({ order: ['m2', 'm3', 'm1'], due: ['m2', 'm1'] });
    expect(plan({ history, sinceMs: NOW - 30 * HOUR, config: { members: 'follower', allEveryMs: 0, maxStallMs: 2_000 } }).due).toEqual([]);
  });

  test('a first backup knows of nobody when it was last asked, so nobody is due; a day later it is', () => {
    expect(plan({ sinceMs: undefined }).due).toEqual([]);
    expect(plan({ sinceMs: NOW - DAY + 1 }).due).toEqual([]);
    expect(plan({ sinceMs: NOW - DAY }).due).toEqual(['m2', 'm3', 'm1']);
  });

  test('all of them each time when that is configured, and those that disagreed until they agree', () => {
    expect(plan({ config: { members: 'all', allEveryMs: 0, maxStallMs: 2_000 } }).due).toEqual(['m2', 'm3', 'm1']);
    expect(plan({ doubted: ['m1'] })).toMatchObject({ order: ['m2', 'm3', 'm1'], due: ['m1'] });
  });

  test('a member for which CORRUPT is armed after the others', () => {
    const statuses = [leader, member('m2', { alarms: [{ type: 'CORRUPT', memberId: BigInt('m2'.charCodeAt(1)) }] }), member('m3')];
    expect(plan({ statuses }).order).toEqual(['m3', 'm2', 'm1']);
  });

  test('no learner; of a single member itself; a member without a name by its id', () => {
    expect(plan({ statuses: [leader, member('m2', { role: 'learner' })] }).order).toEqual(['m1']);
    expect(plan({ statuses: [member('m1', { role: 'leader', name: '', memberId: 255n })] }).order).toEqual(['ff']);
    expect(() => plan({ statuses: [member('m2', { role: 'learner' })] })).toThrow('no-voter');
  });
});

describe('the price', () => {
  test('is what the members have in use, at the rate of earlier answers', () => {
    expect(plan({ history: [proved(1, ['m3'], { tookMs: 1_000, bytes: GB })] }).predictedMs).toBe(1_000);
  });

  test('is that of the dearest of those that will be asked', () => {
    const statuses = [leader, member('m2'), member('m3', { dbSizeInUse: 3 * GB })];
    expect(plan({ statuses }).predictedMs).toBe(500);
    expect(plan({ statuses, doubted: ['m3'] }).predictedMs).toBe(1_500);
  });

  test('above the limit nobody is asked, unless the window is open', () => {
    const statuses = three.map((status) => ({ ...status, dbSizeInUse: 5 * GB }));
    expect(() => plan({ statuses })).toThrow('stall-too-long');
    expect(plan({ statuses, inWindow: true })).toMatchObject({ order: ['m2', 'm3', 'm1'], predictedMs: 2_500 });
    const refused = planProof({
      statuses,
      history: [],
      sinceMs: undefined,
      doubted: [],
      config: { members: 'follower', allEveryMs: DAY, maxStallMs: 2_000 },
      nowMs: NOW,
      inWindow: false,
    });
    expect(refused).toMatchObject({ kind: 'refused', predictedMs: 2_500, reason: expect.stringContaining('proof.maxStall') as string });
  });

  test('a member that alone would stall too long is left out', () => {
    expect(plan({ statuses: [leader, member('m2', { dbSizeInUse: 5 * GB }), member('m3')] }).order).toEqual(['m3', 'm1']);
  });

  test('one cold answer forbids nothing, small or old ones say nothing', () => {
    const answers = [1, 1, 30, 1, 1].map((factor, index) => proved(5 - index, ['m2'], { tookMs: 500 * factor, bytes: GB }));
    expect(learnedRate(answers, NOW)).toBe(2e9);
    expect(learnedRate([proved(1, ['m2'], { tookMs: 10_000, bytes: 1_000 })], NOW)).toBe(2e9);
    expect(learnedRate([proved(8 * 24, ['m2'], { tookMs: 10_000, bytes: GB })], NOW)).toBe(2e9);
    expect(learnedRate([proved(2, ['m2'], { tookMs: 500, bytes: GB }), proved(1, ['m2'], { tookMs: 1_000, bytes: GB })], NOW)).toBe(1e9);
  });
});
