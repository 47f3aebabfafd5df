import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seedBackup, seedCheck } from '../../test/support/backups.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Backup, Catalog, Copy } from '../catalog/types.ts';
import { IMPORTED_LINEAGE } from '../format/ids.ts';
import { sampleManifest } from '../../test/support/manifests.ts';
import { surveyVerification } from './verification-plan.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-11-22T03:30:00.000Z');
const daily = { everyMs: 30 * DAY, intervalMs: DAY };
const { signal } = new AbortController();

/** One copy on the store `local`, taken and looked at so many days ago. */
function held(takenDays: number, lookedDays?: number, outcome: 'ok' | 'failed' = 'ok'): Backup {
  const taken = new Date(NOW - takenDays * DAY);
  const manifest = sampleManifest({ time: taken.toISOString() });
  const time = new Date(NOW - (lookedDays ?? 0) * DAY).toISOString();
  const check: Copy['check'] =
    lookedDays === undefined
      ? undefined
      : { schema: 1, kind: 'verify', id: manifest.id, time, tool: 'x', store: 'local', level: 'proved', outcome };
  const copy: Copy = { store: 'local', manifest: 'present', data: 'present', check, soundMs: {}, verified: true };
  const { id, cluster } = manifest;
  const more = { unasked: [], held: undefined, suspect: undefined, proof: undefined, drills: [] } as const;
  return { id, cluster, timeMs: taken.getTime(), manifest, copies: [copy], state: 'complete', ...more };
}

function catalogOf(backups: readonly Backup[]): Catalog {
  const sorted = backups.toSorted((a, b) => a.timeMs - b.timeMs);
  return { cluster: 'prod', backups: sorted, generations: [], acceptances: [], oddities: [], unreachable: [] };
}

const due = (backups: readonly Backup[], policy = daily): string[] =>
  surveyVerification(catalogOf(backups), ['local'], policy, NOW).due.map(({ id }) => id);

describe('which copies are read again', () => {
  test('the newest each time, others when half their time is over, those first that waited longest', () => {
    const [newest, young, old, older] = [held(0.1), held(3), held(100, 20), held(101, 25)];
    const many = Array.from({ length: 20 }, (_, index) => held(5 + index / 24));
    expect(due([newest, young, old, older])).toEqual([newest.id, older.id]);
    // Twenty-four copies in thirty days: two a run.
    expect(due([...many, newest, young, old, older])).toEqual([newest.id, older.id, old.id]);
  });

  test('what was never looked at counts from when it was taken; what failed is not looked at again, unless it is the newest', () => {
    const [newest, never, failed] = [held(1, 1, 'failed'), held(16), held(40, 30, 'failed')];
    expect(due([newest, never, failed])).toEqual([newest.id, never.id]);
    expect(surveyVerification(catalogOf([newest, never, failed]), ['local'], daily, NOW).failed).toEqual([
      { id: newest.id, store: 'local', reason: 'the check gives no reason' },
    ]);
  });

  test('nothing without a schedule, without copies, or of a store that has none', () => {
    expect(surveyVerification(catalogOf([held(1)]), ['local'], undefined, NOW).due).toEqual([]);
    expect(surveyVerification(catalogOf([]), ['local'], daily, NOW)).toEqual({ due: [], sound: [], lastMs: undefined, failed: [] });
    expect(surveyVerification(catalogOf([held(1)]), ['s3'], daily, NOW).due).toEqual([]);
    const { copies, ...rest } = held(1);
    expect(due([{ ...rest, copies: [{ ...copies[0]!, data: 'missing' }] }])).toEqual([]);
  });

  test('property: whatever there is, every copy has its turn in time', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 2, max: 40 }),
        (ages, every) => {
          const policy = { everyMs: every * DAY, intervalMs: DAY };
          let backups = ages.map((age, index) => held(age + index / 1000, age));
          // After a first turn through all of them nothing waits longer than promised.
          for (let day = 0; day < 2 * every + 2; day += 1) {
            const nowMs = NOW + day * DAY;
            const catalog = catalogOf(backups);
            const chosen = new Set(surveyVerification(catalog, ['local'], policy, nowMs).due.map(({ id }) => id));
            expect(chosen.size).toBeLessThanOrEqual(1 + Math.ceil((2 * backups.length) / every));
            backups = backups.map((backup) => {
              const copy = backup.copies[0]!;
              const time = chosen.has(backup.id) ? new Date(nowMs).toISOString() : copy.check!.time;
              if (day >= every) expect(nowMs - Date.parse(time)).toBeLessThanOrEqual(policy.everyMs);
              return { ...backup, copies: [{ ...copy, check: { ...copy.check!, time } }] };
            });
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('how stored backups were looked at', () => {
  test('the newest sound look of each level and store; a deeper one counts for the others', async () => {
    const [local, s3] = [memoryStore('local'), memoryStore('s3')];
    const first = seedBackup([local, s3], { time: '2026-11-20T10:00:00.000Z' });
    const second = seedBackup([local, s3], { time: '2026-11-21T10:00:00.000Z' });
    const check = (
      store: string,
      id: string,
      time: string,
      level: 'stored' | 'content' | 'proved',
      outcome: 'ok' | 'failed' = 'ok',
    ): string => seedCheck([local], { id, kind: 'verify', store, time, level, outcome });
    check('local', first.id, '2026-11-21T03:00:00.000Z', 'proved');
    check('local', second.id, '2026-11-21T04:00:00.000Z', 'stored');
    check('s3', second.id, '2026-11-21T05:00:00.000Z', 'content', 'failed');
    const survey = surveyVerification(await readCatalog([local, s3], 'prod', { signal }), ['local', 's3'], daily, NOW);
    expect(survey.sound).toEqual([
      { store: 'local', level: 'stored', atMs: Date.parse('2026-11-21T04:00:00.000Z') },
      { store: 'local', level: 'content', atMs: Date.parse('2026-11-21T03:00:00.000Z') },
      { store: 'local', level: 'proved', atMs: Date.parse('2026-11-21T03:00:00.000Z') },
    ]);
    expect(survey.lastMs).toBe(Date.parse('2026-11-21T04:00:00.000Z'));
    expect(survey.failed).toMatchObject([{ id: second.id, store: 's3' }]);
  });

  test('the newest is one of the cluster, not one that was imported', async () => {
    const local = memoryStore('local');
    const own = seedBackup([local], { time: '2026-11-21T10:00:00.000Z' });
    seedBackup([local], { time: '2026-11-21T11:00:00.000Z', lineage: IMPORTED_LINEAGE });
    const survey = surveyVerification(await readCatalog([local], 'prod', { signal }), ['local'], daily, NOW);
    expect(survey).toMatchObject({ due: [{ id: own.id }], lastMs: undefined });
  });
});
