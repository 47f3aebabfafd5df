import { describe, expect, test } from 'vitest';
import { surveyResult } from '../../test/support/daemon-fakes.ts';
import { readiness, statusText } from './health.ts';
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

  test('systemctl shows it in one line', () => {
    const clusters = [status(12 * 60_000), status(undefined, { cluster: 'test', leadership: { role: 'standby', leader: 'x' } })];
    expect(statusText(clusters, readiness(clusters, FINE), NOW)).toBe(
      'NOT READY (no-backup); prod: newest 12 min old; test: no backup, standby',
    );
  });
});
