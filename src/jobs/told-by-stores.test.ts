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
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: unknown, message: string) => warnings.push(message) };
  const context = subject.context({ logger, config: { ...subject.config, stores: {} } });
  expect(await toldByStores(subject.config.clusters['main']!, context)).toEqual({ marks: [], disagreement: undefined });
  expect(warnings).toEqual(['what the backups tell of this cluster is left out of account']);
  const stopped = AbortSignal.abort(new Error('enough'));
  await expect(toldByStores(subject.config.clusters['main']!, { ...context, signal: stopped })).rejects.toThrow('enough');
  rmSync(folder, { recursive: true });
});
