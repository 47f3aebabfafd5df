import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLogger } from '../telemetry/logger.ts';
import { product } from '../../test/support/product.ts';
import { marksOf, toldByStores } from './told-by-stores.ts';

test('marks of backups and of samples come in one row by time, those of another cluster are left out', () => {
  const stored = [
    { clusterId: 'abcd', timeMs: 20, revision: 5n },
    { clusterId: 'beef', timeMs: 21, revision: 900n },
  ];
  const samples = (clusterId: string) => ({
    clusterId,
    marks: [
      { timeMs: 10, revision: 3n },
      { timeMs: 30, revision: 7n },
    ],
    sizes: [],
  });
  expect(marksOf('abcd', stored, samples('abcd')).map(({ timeMs }) => timeMs)).toEqual([10, 20, 30]);
  expect(marksOf('abcd', stored, samples('beef'))).toEqual([{ timeMs: 20, revision: 5n }]);
});

test('stores that cannot be opened keep nobody from maintaining, and are told', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warden-told-'));
  const subject = product({ folder, cluster: { endpoints: ['http://127.0.0.1:1'] } });
  const context = subject.context({ logger: silentLogger, config: { ...subject.config, stores: {} } });
  const told = await toldByStores(subject.config.clusters['main']!, context);
  expect(told).toEqual({ marks: [], disagreement: undefined, notes: [expect.stringContaining('different data is not known')] });
  const stopped = AbortSignal.abort(new Error('enough'));
  await expect(toldByStores(subject.config.clusters['main']!, { ...context, signal: stopped })).rejects.toThrow('enough');
  rmSync(folder, { recursive: true });
});
