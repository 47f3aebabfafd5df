import { describe, expect, test } from 'vitest';
import { surveyResult } from '../../test/support/daemon-fakes.ts';
import type { DrillSurvey } from '../jobs/types.ts';
import type { DrillStatus } from './drills.ts';
import { readiness, statusText } from './health.ts';
import type { MaintenanceStatus, Signs } from './maintenance.ts';
import type { ProtectionStatus } from './protection.ts';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const HOUR = 3_600_000;
const FINE = { nowMs: NOW, sinceTickMs: 1000, stopping: false };

function status(ageMs: number | undefined, part: Partial<ProtectionStatus> = {}): ProtectionStatus {
  const newest =
    ageMs === undefined ? undefined : { id: 'x', timeMs: NOW - ageMs, revision: '1', plainBytes: 1, storedBytes: 1, suspect: undefined };
  return {
    cluster: 'prod',
    leadership: { role: 'leader' },
    maxAgeMs: 3 * HOUR,
    nextSlotMs: NOW + HOUR,
    running: undefined,
    newest,
    newestComplete: newest,
    survey: surveyResult(),
    unaccepted: undefined,
    disagreement: undefined,
    consecutiveFailures: 0,
    lastError: undefined,
    ...part,
  };
}

const codes = (...given: Parameters<typeof readiness>): string[] => readiness(...given).reasons.map(({ code }) => code);

describe('readiness by drills', () => {
  const DAY = 24 * HOUR;
  const nothing = { store: 'disk', firstMs: NOW - 20 * DAY, last: undefined, sound: undefined, failed: undefined };
  const drills = (part: Partial<DrillSurvey>, enabled = true): DrillStatus => ({
    enabled,
    maxAgeMs: 15 * DAY,
    nextMs: undefined,
    running: undefined,
    stores: [{ ...nothing, ...part }],
  });
  const reasons = (status_: DrillStatus): unknown => readiness([{ ...status(HOUR), drills: status_ }], FINE).reasons;

  test('one that failed is a reason, schedule or not, until one succeeds', () => {
    const failed = { atMs: NOW - DAY, id: 'b1', outcome: 'failed', reason: 'HashKV is 7' } as const;
    const message = 'a restore from disk would not hold what b1 promises: HashKV is 7';
    expect(reasons(drills({ failed }))).toEqual([{ cluster: 'prod', code: 'drill-failed', message }]);
    expect(reasons(drills({ failed }, false))).toHaveLength(1);
    expect(reasons(drills({ failed, sound: { atMs: NOW, outcome: 'ok' } }))).toEqual([]);
    expect(JSON.stringify(reasons(drills({ failed: { atMs: NOW, outcome: 'failed' } })))).toContain(
      'its newest backup promises: the drill gives no reason',
    );
  });

  test('none for too long is a reason, with why the last one was not done; never without a schedule', () => {
    const last = { atMs: NOW - DAY, outcome: 'inconclusive', reason: 'no identity' } as const;
    expect(reasons(drills({ last }))).toEqual([
      {
        cluster: 'prod',
        code: 'drill-overdue',
        message: 'disk: no restore from it was ever rehearsed, the limit is 15d; the last one was not done: no identity',
      },
    ]);
    const sound = { atMs: NOW - 16 * DAY, outcome: 'ok' } as const;
    expect(JSON.stringify(reasons(drills({ last: { atMs: NOW, outcome: 'inconclusive' }, sound })))).toContain(
      'the last drill that succeeded is 16.0 days old, the limit is 15d; the last one was not done: it gives no reason',
    );
    expect(reasons(drills({ last }, false))).toEqual([]);
    expect(reasons(drills({ sound: { atMs: NOW - DAY, outcome: 'ok' } }))).toEqual([]);
  });
});

describe('readiness', () => {
  test('a young backup and a scheduler that moves make it ready; a standby is ready by the same rule', () => {
    expect(codes([status(HOUR), status(2 * HOUR, { leadership: { role: 'standby', leader: 'x' } })], FINE)).toEqual([]);
  });

  test('exactly the limit is still young', () => {
    expect(codes([status(3 * HOUR)], FINE)).toEqual([]);
    expect(codes([status(3 * HOUR + 1)], FINE)).toEqual(['too-old']);
  });

  test('one bad cluster among good ones is named', () => {
    const report = readiness([status(HOUR), status(undefined, { cluster: 'new' })], FINE);
    expect(report.ready).toBe(false);
    expect(report.reasons).toEqual([{ cluster: 'new', code: 'no-backup', message: 'there is no complete backup' }]);
  });

  test('newer partial backups do not count, and the store that lacks copies is named', () => {
    const partial = status(9 * HOUR, {
      newest: { id: 'y', timeMs: NOW - HOUR, revision: '1', plainBytes: 1, storedBytes: 1, suspect: undefined },
      survey: surveyResult(NOW, { stores: [{ store: 's3', newestVerifiedMs: undefined, missing: 8 }] }),
    });
    expect(readiness([partial], FINE).reasons[0]?.message).toBe(
      'the newest complete backup is 32400 s old, the limit is 10800 s (newer ones are partial: s3 lacks copies)',
    );
  });

  test('a store that cannot be listed is the reason given when nothing is known', () => {
    const blind = status(undefined, {
      survey: surveyResult(undefined, {
        stores: [{ store: 's3', newestVerifiedMs: undefined, missing: 0, error: { code: 'store-unavailable', message: 'refused' } }],
      }),
    });
    expect(readiness([blind], FINE).reasons[0]?.message).toContain('store s3 cannot be listed: refused');
  });

  test('a scheduler that stands still, a clock that was never set and a stop each have their own reason', () => {
    expect(codes([status(HOUR)], { ...FINE, sinceTickMs: 91_000 })).toEqual(['scheduler-stuck']);
    expect(codes([status(HOUR)], { ...FINE, stopping: true })).toEqual(['stopping']);
    expect(codes([], { ...FINE, nowMs: 5 })).toEqual(['clock-not-set']);
  });

  test('a newest backup whose verification failed is a reason, with its place', () => {
    const survey = surveyResult(NOW - 1000);
    const failed = [{ id: 'x', store: 's3', reason: 'page 7 of bucket key: it lies below itself' }];
    const report = readiness([status(1000, { survey: { ...survey, verification: { ...survey.verification, failed } } })], FINE);
    expect(report).toMatchObject({ ready: false, reasons: [{ code: 'verification-failed', message: expect.stringContaining('page 7') }] });
  });

  test('a backup from the future is no proof of anything', () => {
    expect(codes([status(-HOUR)], FINE)).toEqual(['future-backup']);
    expect(codes([status(-1000)], FINE)).toEqual([]);
  });

  const maintenance = (part: Partial<MaintenanceStatus> = {}, signs: Partial<Signs> = {}): MaintenanceStatus => ({
    enabled: true,
    signs: { noSpace: false, corrupt: false, crossed: [], reachable: ['1'], ...signs },
    running: undefined,
    nextMs: undefined,
    last: undefined,
    error: undefined,
    ...part,
  });
  const refusedLately = (noSpace: boolean): NonNullable<MaintenanceStatus['last']> => ({
    outcome: 'refused',
    actions: [],
    refusals: [{ rule: 'member-down', member: 'm3', message: 'm3 does not answer' }],
    last: {},
    failure: undefined,
    next: undefined,
    noSpace,
    againMs: undefined,
    atMs: NOW,
    cause: 'no-space',
  });

  test('H12: a CORRUPT alarm is a reason, crossed thresholds and a cluster that was not seen yet are none', () => {
    expect(codes([{ ...status(HOUR), maintenance: maintenance({}, { corrupt: true }) }], FINE)).toEqual(['corrupt-alarm']);
    expect(codes([{ ...status(HOUR), maintenance: maintenance({}, { crossed: ['near-quota m1'] }) }], FINE)).toEqual([]);
    expect(codes([{ ...status(HOUR), maintenance: maintenance({ signs: undefined }) }], FINE)).toEqual([]);
  });

  test.each<[string, MaintenanceStatus, string]>([
    ['while nothing was tried yet', maintenance({}, { noSpace: true }), 'NOSPACE is armed: etcd accepts no writes'],
    [
      'with the rule that stands against the cure',
      maintenance({ last: refusedLately(true) }, { noSpace: true }),
      '; not cured yet: m3 does not answer',
    ],
    ['without that of a round before it', maintenance({ last: refusedLately(false) }, { noSpace: true }), 'accepts no writes'],
    [
      'with the error of the attempt',
      maintenance({ error: { atMs: NOW, code: 'locked', message: 'another process holds the lock', hint: undefined } }, { noSpace: true }),
      '; not cured yet: another process holds the lock',
    ],
    ['with the word that nobody cures it', maintenance({ enabled: false }, { noSpace: true }), '; maintenance is switched off'],
  ])('NOSPACE is a reason, %s', (_, is, end) => {
    const { reasons } = readiness([{ ...status(HOUR), maintenance: is }], FINE);
    expect(reasons.map(({ code }) => code)).toEqual(['no-space']);
    expect(reasons[0]!.message.endsWith(end)).toBe(true);
  });

  test('systemctl shows which member is defragmented, and no step that nobody notices', () => {
    const line = (step: string, subject?: string): string => {
      const running = { sinceMs: NOW, cause: 'threshold', step, subject };
      const clusters = [{ ...status(12 * 60_000), maintenance: maintenance({ running }) }];
      return statusText(clusters, readiness(clusters, FINE), NOW);
    };
    expect(line('defrag', 'm2')).toBe('protected; prod: newest 12 min old, defragmenting m2');
    expect(line('move-leader', 'm3')).toBe('protected; prod: newest 12 min old, moving the leader to m3');
    expect(line('compact')).toBe('protected; prod: newest 12 min old, compacting');
    expect(line('look')).toBe('protected; prod: newest 12 min old');
  });

  test('systemctl shows it in one line', () => {
    const clusters = [status(12 * 60_000), status(undefined, { cluster: 'test', leadership: { role: 'standby', leader: 'x' } })];
    expect(statusText(clusters, readiness(clusters, FINE), NOW)).toBe(
      'NOT READY (no-backup); prod: newest 12 min old; test: no backup, standby',
    );
  });
});
