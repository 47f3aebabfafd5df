import { describe, expect, test } from 'vitest';
import type { MemberStatus } from '../etcd/types.ts';
import type { GuardedStatus } from './guarded.ts';
import { statusJson } from './views.ts';

const NOW = Date.parse('2026-11-22T12:00:00Z');

function guarded(part: Partial<GuardedStatus> = {}): GuardedStatus {
  return {
    cluster: 'prod',
    leadership: { role: 'leader' },
    maxAgeMs: 1,
    nextSlotMs: undefined,
    running: undefined,
    newest: undefined,
    newestComplete: undefined,
    survey: undefined,
    unaccepted: undefined,
    disagreement: undefined,
    consecutiveFailures: 0,
    lastError: undefined,
    maintenance: { enabled: true, signs: undefined, running: undefined, nextMs: undefined, last: undefined, error: undefined },
    drills: { enabled: true, maxAgeMs: 3_600_000, nextMs: undefined, running: undefined, stores: [] },
    seen: undefined,
    outlook: undefined,
    ...part,
  };
}

function shown(status: GuardedStatus): Record<string, unknown> {
  const parts = { version: '1', configLoadedMs: NOW, ready: { ready: true, reasons: [], clusters: {} }, clusters: [status], jobs: [] };
  return (JSON.parse(JSON.stringify(statusJson(parts))) as { clusters: { prod: Record<string, unknown> } }).clusters.prod;
}

describe('what the API shows of a cluster', () => {
  test('before anything was seen and done, says so', () => {
    expect(shown(guarded())).toMatchObject({
      maintenance: { enabled: true, running: null, next: null, last: null, error: null },
      etcd: null,
    });
  });

  test('drills: the last of each store, the last that went well, and the last that failed', () => {
    const sound = {
      atMs: NOW,
      id: 'a',
      outcome: 'ok',
      level: 'started',
      recoveryMs: 1500,
      keyCount: 9,
      sampled: 3,
      etcd: '3.6.16',
    } as const;
    const failed = { atMs: NOW - 1000, id: 'b', outcome: 'failed', reason: 'page 7' } as const;
    const stores = [{ store: 'local', firstMs: NOW, last: sound, sound, failed }];
    const drills = { enabled: true, maxAgeMs: 3_600_000, nextMs: NOW, running: 'local', stores };
    const nothing = { level: null, recoveryMs: null, keyCount: null, sampled: null, etcd: null };
    const success = { time: '2026-11-22T12:00:00.000Z', id: 'a', outcome: 'ok', reason: null };
    const figures = { level: 'started', recoveryMs: 1500, keyCount: 9, sampled: 3, etcd: '3.6.16' };
    expect(shown(guarded({ drills }))['drills']).toEqual({
      enabled: true,
      running: 'local',
      next: '2026-11-22T12:00:00.000Z',
      maxAgeSeconds: 3600,
      stores: [
        {
          store: 'local',
          last: { ...success, ...figures },
          lastSuccess: { ...success, ...figures },
          lastFailure: { time: '2026-11-22T11:59:59.000Z', id: 'b', outcome: 'failed', reason: 'page 7', ...nothing },
        },
      ],
    });
    expect(shown(guarded())['drills']).toMatchObject({ running: null, next: null });
  });

  test('maintenance: what runs, what the last round did and why it did no more', () => {
    const maintenance: GuardedStatus['maintenance'] = {
      enabled: true,
      signs: undefined,
      running: { sinceMs: NOW, cause: 'no-space', step: 'defrag', subject: 'm2' },
      nextMs: NOW + 60_000,
      last: {
        atMs: NOW,
        cause: 'threshold',
        outcome: 'refused',
        actions: [{ action: 'compact', member: undefined, tookMs: 7, revision: '18446744073709551615', message: 'compacted' }],
        refusals: [{ rule: 'cooldown', member: undefined, message: 'an hour ago' }],
        failure: undefined,
        next: 'defrag',
        noSpace: false,
        againMs: undefined,
        last: {},
      },
      error: { atMs: NOW, code: 'locked', message: 'another process', hint: undefined },
    };
    expect(shown(guarded({ maintenance }))['maintenance']).toEqual({
      enabled: true,
      running: { cause: 'no-space', since: '2026-11-22T12:00:00.000Z', step: 'defrag', subject: 'm2' },
      next: '2026-11-22T12:01:00.000Z',
      last: {
        time: '2026-11-22T12:00:00.000Z',
        cause: 'threshold',
        outcome: 'refused',
        actions: [{ action: 'compact', tookMs: 7, revision: '18446744073709551615', message: 'compacted' }],
        next: 'defrag',
        refusals: [{ rule: 'cooldown', member: null, message: 'an hour ago', hint: null }],
        failure: null,
      },
      error: { time: '2026-11-22T12:00:00.000Z', code: 'locked', message: 'another process', hint: null },
    });
  });

  test('members with their quotas, alarms by the names of members, and when the quota is reached', () => {
    const status: MemberStatus = {
      endpoint: 'http://m1:2379',
      clusterId: 0xabcn,
      memberId: 0xf00dn,
      name: 'm1',
      role: 'leader',
      leader: 0xf00dn,
      version: '3.6.16',
      storageVersion: '3.6.0',
      dbSize: 300,
      dbSizeInUse: 200,
      dbSizeQuota: 1000,
      raftIndex: 1n,
      raftAppliedIndex: 1n,
      raftTerm: 1n,
      revision: 2n ** 62n,
      alarms: [],
      latencyMs: 1,
    };
    const seen: GuardedStatus['seen'] = {
      view: {
        clusterId: 0xabcn,
        quorum: true,
        notes: [],
        members: [
          { reachable: true, endpoint: status.endpoint, status },
          { reachable: false, endpoint: 'http://m2:2379', name: 'm2', error: new Error('refused') },
        ],
      },
      members: [{ status, quota: { bytes: 1000, source: 'status' } }],
      alarms: [
        { type: 'NOSPACE', memberId: 'f00d' },
        { type: 'CORRUPT', memberId: '0' },
      ],
      crossings: [{ what: 'no-space', member: undefined, message: 'NOSPACE is armed' }],
    };
    const outlook = { member: 'f00d', bytesPerDay: 100, reachedMs: NOW + 7 * 86_400_000 };
    expect(shown(guarded({ seen, outlook }))['etcd']).toEqual({
      clusterId: 'abc',
      quorum: true,
      alarms: [
        { type: 'NOSPACE', id: 'f00d', name: 'm1' },
        { type: 'CORRUPT', id: '0', name: null },
      ],
      crossed: [{ what: 'no-space', member: null, message: 'NOSPACE is armed' }],
      forecast: { id: 'f00d', name: 'm1', bytesPerDay: 100, quotaReached: '2026-11-29T12:00:00.000Z' },
      members: [
        {
          endpoint: 'http://m1:2379',
          name: 'm1',
          id: 'f00d',
          role: 'leader',
          version: '3.6.16',
          dbSize: 300,
          dbSizeInUse: 200,
          quota: 1000,
          quotaSource: 'status',
          revision: '4611686018427387904',
          error: null,
        },
        { endpoint: 'http://m2:2379', name: 'm2', error: 'refused' },
      ],
    });
  });
});
