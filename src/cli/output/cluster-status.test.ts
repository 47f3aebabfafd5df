import { describe, expect, test } from 'vitest';
import { defragOf, memberState, NOW_MS, planOf, sightOf } from '../../../test/support/plans.ts';
import type { MaintenanceReport } from '../../jobs/status-maintenance.ts';
import type { ClusterReport, MemberReport } from '../../jobs/status.ts';
import type { ClusterState } from '../../maintenance/planner/types.ts';
import { clusterText, maintenanceJson, maintenanceText, memberJson } from './cluster-status.ts';

const HOUR = 3_600_000;

function member(name: string, fields: Partial<MemberReport> = {}): MemberReport {
  return {
    endpoint: `http://10.0.0.${name.slice(1)}:2379`,
    name,
    id: `${name.slice(1)}a`,
    role: name === 'm1' ? 'leader' : 'follower',
    version: '3.6.16',
    dbSize: 943_718_400,
    dbSizeInUse: 314_572_800,
    quota: 2_147_483_648,
    revision: '5000',
    raftTerm: '5',
    raftLag: '0',
    readLatencyMs: 2.4,
    alarms: [],
    error: undefined,
    ...fields,
  };
}

function report(
  members: readonly MemberReport[] = [member('m1'), member('m2'), member('m3')],
  notes: readonly string[] = [],
): ClusterReport {
  const alarms = members.flatMap(({ id, alarms: types }) => types.map((type) => ({ type, memberId: id ?? '0' })));
  return { cluster: 'prod', clusterId: 'abcd', quorum: true, members, alarms, notes };
}

function maintenance(fields: Partial<MaintenanceReport> = {}, state: Partial<ClusterState> = {}): MaintenanceReport {
  return {
    sight: sightOf(['m1', 'm2', 'm3'], state),
    plan: planOf([]),
    enabled: true,
    samples: { clusterId: 'abcd', marks: [], sizes: [] },
    ...fields,
  };
}

const past = {
  compaction: { atMs: NOW_MS - 2 * HOUR, revision: 4000n },
  defrags: { '2a': { atMs: NOW_MS - 5 * HOUR, tookMs: 1500, beforeBytes: 900, afterBytes: 300, inUseBytes: 300 } },
  disarmedMs: undefined,
  failure: { atMs: NOW_MS - HOUR, count: 2, rule: 'member-slow', reason: 'm3 did not come back' },
};

describe('the members', () => {
  test('leader and term once, sizes with quota and share, and where the quota is known from', () => {
    expect(clusterText(report(), maintenance({}, { past }), 'prod', NOW_MS, Infinity)).toEqual([
      'cluster prod (abcd): has quorum, leader m1, term 5, etcd 3.6.16',
      [
        'MEMBER  ENDPOINT              ROLE         SIZE   IN USE     FREE     QUOTA  USED  REVISION  LAG  READ  DEFRAG  ALARMS',
        'm1      http://10.0.0.1:2379  leader    900 MiB  300 MiB  600 MiB  2.00 GiB   44%      5000    0   2ms       -  -',
        'm2      http://10.0.0.2:2379  follower  900 MiB  300 MiB  600 MiB  2.00 GiB   44%      5000    0   2ms  5h ago  -',
        'm3      http://10.0.0.3:2379  follower  900 MiB  300 MiB  600 MiB  2.00 GiB   44%      5000    0   2ms       -  -',
      ].join('\n'),
      'quota: as the members tell',
    ]);
  });

  test.each([100, 120])('fits into %i columns with what matters', (width) => {
    const lines = clusterText(report(), maintenance({}, { past }), 'prod', NOW_MS, width).join('\n').split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    for (const title of ['ROLE', 'SIZE', 'QUOTA', 'USED', 'READ', 'ALARMS']) expect(lines[1]).toContain(title);
  });

  test('fault 77: nothing is wider than 40 columns', () => {
    const lines = [
      ...clusterText(
        report([member('m1', { alarms: ['CORRUPT'] }), member('m2')], ['a note that says a good deal']),
        maintenance(),
        'prod',
        NOW_MS,
        40,
      ),
      ...maintenanceText(maintenance({ plan: planOf([defragOf('m2')]) }, { past }), undefined, NOW_MS, 40),
    ];
    expect(
      lines
        .join('\n')
        .split('\n')
        .filter((line) => line.length > 40),
    ).toEqual([]);
  });

  test('quotas from different places are named by member; one that has none says so', () => {
    const sight = sightOf(['m1', 'm2', 'm3', 'm4']);
    const sources = ['metrics', 'configured', 'default', 'status'] as const;
    const members = sight.state.members.map((one, index) => ({
      ...one,
      quota: { bytes: index === 1 ? undefined : 1024 ** 3, source: sources[index]! },
    }));
    const text = clusterText(
      report(['m1', 'm2', 'm3', 'm4'].map((name) => member(name, { quota: undefined }))),
      maintenance({ sight: { ...sight, state: { ...sight.state, members } } }),
      'prod',
      NOW_MS,
      Infinity,
    ).join('\n');
    expect(text).toContain("quota of m1: as the members' metrics tell\nquota of m2: as configured, since no member tells\n");
    expect(text).toContain("quota of m3: etcd's default, since no member tells (maintenance.quota)\nquota of m4: as the members tell");
    expect(text).toMatch(/^m2 .* none +-/m);
  });

  test('H12: CORRUPT is shouted on a line of its own, first', () => {
    const [first] = clusterText(report([member('m1'), member('m2', { alarms: ['CORRUPT'] })]), maintenance(), 'prod', NOW_MS, Infinity);
    expect(first).toBe('CORRUPT: etcd found members with different data (m2); maintenance does nothing until somebody has looked');
  });

  test('NOSPACE is said first, also when it is armed for a member that is down, or gone', () => {
    const alarms = [
      { type: 'NOSPACE', memberId: '2a' },
      { type: 'NOSPACE', memberId: 'dead' },
    ];
    const down = member('m2', { role: 'unreachable', id: undefined, error: 'connection refused' });
    const full = { ...report([member('m1'), down, member('m3')]), alarms };
    const told = 'NOSPACE: out of space, the cluster accepts no writes';
    expect(clusterText(full, maintenance(), 'prod', NOW_MS, Infinity)[0]).toBe(`${told} (m2, member id dead)`);
    expect(clusterText(full, new Error('x'), 'prod', NOW_MS, Infinity)[0]).toBe(`${told} (member id 2a, member id dead)`);
  });

  test('a failed look of maintenance leaves the table as the members tell it; different terms get a column', () => {
    const members = [
      member('m1', { raftTerm: '6', version: '3.5.35' }),
      member('m2', { error: 'read failed' }),
      member('m3', {
        role: 'unreachable',
        id: undefined,
        version: undefined,
        dbSize: undefined,
        dbSizeInUse: undefined,
        quota: undefined,
        revision: undefined,
        raftTerm: undefined,
        raftLag: undefined,
        readLatencyMs: undefined,
        error: 'connection refused',
      }),
    ];
    const text = clusterText(report(members, ['m3: connection refused']), new Error('x'), 'prod', NOW_MS, Infinity).join('\n');
    expect(text).toMatch(/ VERSION .* TERM /);
    expect(text).toMatch(/^m1 .* 2\.00 GiB +44% /m);
    expect(text).toMatch(/^m3 +http:\S+ +unreachable +- +- +- +- +- +- /m);
    expect(text).toContain('m2 (http://10.0.0.2:2379): read failed\nquota: as the members tell\nnote: m3: connection refused');
    expect(text.match(/connection refused/g)).toHaveLength(1);
  });
});

describe('maintenance', () => {
  const lines = (...given: Parameters<typeof maintenance>): string[] => maintenanceText(maintenance(...given), undefined, NOW_MS, Infinity);

  test('nothing is due', () => {
    expect(lines({}, { compactRevision: 0n })[0]).toBe('compacted: never');
    expect(lines()).toEqual(['compacted: to revision 100 of 5000', 'next: nothing is due', 'forecast: too little is known of the growth']);
  });

  test('the next steps, and what is left out and why', () => {
    const plan = planOf([defragOf('m2'), defragOf('m3')], {
      refusals: [{ rule: 'cooldown', member: 'm1', message: 'defragmented 2 h ago', hint: 'wait' }],
    });
    expect(lines({ plan }, { past, kubernetes: true, compactRevision: undefined })).toEqual([
      'compacted: nobody can tell; last by etcd-warden 2h ago, to 4000; Kubernetes compacts by itself',
      'next: defrag m2, then defrag m3 (m2 frozen for about 1.6s)',
      'not now (cooldown): m1: defragmented 2 h ago',
      'hint: wait',
      'last round failed 1h ago (member-slow): m3 did not come back',
      'forecast: too little is known of the growth',
    ]);
    expect(lines({ plan, enabled: false })[1]).toBe(
      'next: defrag m2, then defrag m3 (m2 frozen for about 1.6s); by hand: maintenance.enabled is off',
    );
  });

  test('a freeze that was never seen before is called a guess', () => {
    const sight = sightOf(['m1', 'm2', 'm3']);
    const members = sight.state.members.map((one) => memberState(one.name, { rate: { bytesPerSecond: 200e6, learned: false } }));
    expect(lines({ plan: planOf([defragOf('m2')]), sight: { ...sight, state: { ...sight.state, members } } })[1]).toBe(
      'next: defrag m2 (m2 frozen for about 1.6s, a guess)',
    );
  });

  test('why not now, and when again', () => {
    const plan = planOf([], {
      complete: false,
      refusals: [{ rule: 'freeze-too-long', member: 'm1', message: 'it would be frozen for 40 s' }],
      againMs: NOW_MS + 2 * HOUR,
    });
    expect(lines({ plan }).slice(1, 4)).toEqual([
      'next: NOTHING IS DONE although something is due',
      'not now (freeze-too-long): m1: it would be frozen for 40 s',
      'again: in 2h',
    ]);
  });

  test('the forecast, and what it rests on', () => {
    const forecast = (fields: object): string =>
      maintenanceText(
        maintenance(),
        { member: 'm1', bytesPerDay: 104_857_600, reachedMs: NOW_MS + 288 * HOUR, from: 'samples', ...fields },
        NOW_MS,
        Infinity,
      ).at(-1)!;
    expect(forecast({})).toBe('forecast: at 100 MiB a day m1 reaches its quota in 12d');
    expect(forecast({ from: 'backups' })).toBe('forecast: at 100 MiB a day m1 reaches its quota in 12d, by the sizes of the backups');
    expect(forecast({ reachedMs: undefined, bytesPerDay: -1_048_576 })).toBe(
      'forecast: the quota is not reached at the present growth (-1.00 MiB a day)',
    );
  });

  test('a look that failed is one line', () => {
    expect(maintenanceText(new Error('no leader'), undefined, NOW_MS, 80)).toEqual(['maintenance: could not look: no leader']);
    expect(maintenanceJson(new Error('no leader'), undefined)).toEqual({ error: 'no leader' });
  });

  test('as JSON: times in RFC 3339, revisions as text', () => {
    expect(
      maintenanceJson(maintenance({ plan: planOf([defragOf('m2')]) }, { past }), {
        member: 'm1',
        bytesPerDay: 5,
        reachedMs: NOW_MS,
        from: 'samples',
      }),
    ).toMatchObject({
      next: { action: 'defrag', members: ['m2'] },
      compactRevision: '100',
      compaction: { time: '2026-11-22T10:00:00.000Z', revision: '4000' },
      failure: { time: '2026-11-22T11:00:00.000Z', count: 2, rule: 'member-slow', reason: 'm3 did not come back' },
      forecast: { quotaReached: '2026-11-22T12:00:00.000Z' },
    });
    expect(memberJson(member('m2', { quota: undefined }), maintenance({}, { past }))).toMatchObject({
      quota: 2_147_483_648,
      quotaSource: 'status',
      used: 943_718_400 / 2_147_483_648,
      lastDefrag: { time: '2026-11-22T07:00:00.000Z', tookMs: 1500, beforeBytes: 900, afterBytes: 300 },
    });
  });
});
