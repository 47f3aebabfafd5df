import { expect, test } from 'vitest';
import { seedBackup, seedCheck } from '../../test/support/backups.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { readCatalog } from '../catalog/read.ts';
import { drillsOn, failedDrill } from './drill-survey.ts';
import { protectionOf } from './status.ts';

const at = (hour: number): string => `2026-11-22T${String(hour).padStart(2, '0')}:00:00.000Z`;

test('the last drill of each store, the last that went well and the last that failed, each told once however many stores know of it', async () => {
  const stores = [memoryStore('a'), memoryStore('b')];
  const [older, newer] = [seedBackup(stores, { time: at(8) }), seedBackup(stores, { time: at(9) })];
  const drill = { level: 'started', recoveryMs: 1500, revision: '7', keyCount: 3, sampled: 2, etcd: '3.6.16' } as const;
  const told = (id: string, store: string, hour: number, more: object): string =>
    seedCheck(stores, { kind: 'drill', id, store, time: at(hour), ...more });
  told(older.id, 'a', 10, { outcome: 'ok', drill });
  told(newer.id, 'a', 11, { outcome: 'failed', reason: 'HashKV' });
  told(newer.id, 'a', 12, { outcome: 'inconclusive', reason: 'no identity' });
  told(older.id, 'b', 10, { outcome: 'failed' });
  told(newer.id, 'b', 13, { outcome: 'ok', drill: { level: 'offline' } });
  const catalog = await readCatalog(stores, 'prod', { signal: new AbortController().signal });
  expect(catalog.backups.map(({ drills }) => drills.length)).toEqual([2, 3]);
  const a = drillsOn(catalog, 'a');
  expect(a).toMatchObject({
    store: 'a',
    firstMs: Date.parse(at(8)),
    last: { atMs: Date.parse(at(12)), outcome: 'inconclusive', reason: 'no identity' },
    sound: { atMs: Date.parse(at(10)), id: older.id, ...drill },
    failed: { atMs: Date.parse(at(11)), id: newer.id },
  });
  expect(failedDrill(a)).toBe(a.failed);
  const b = drillsOn(catalog, 'b');
  expect(b).toMatchObject({ last: { outcome: 'ok', level: 'offline' }, failed: { id: older.id } });
  expect(failedDrill(b)).toBeUndefined();
  expect(drillsOn(catalog, 'c')).toEqual({ store: 'c', firstMs: undefined, last: undefined, sound: undefined, failed: undefined });
  expect(protectionOf(catalog).drills).toMatchObject([
    { store: 'a', last: { time: at(12) }, success: { time: at(10), recoveryMs: 1500 }, failure: { time: at(11), reason: 'HashKV' } },
    { store: 'b', success: { level: 'offline' }, failure: undefined },
  ]);
});
