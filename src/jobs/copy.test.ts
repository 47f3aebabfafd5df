import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { readCatalog } from '../catalog/read.ts';
import { silentLogger } from '../telemetry/logger.ts';
import { keyOfData, keyOfManifest, seedBackup } from '../../test/support/backups.ts';
import { clusterConfig, daemonConfig } from '../../test/support/daemon-fakes.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { WardenError } from '../errors.ts';
import { copyBackup, missingOn } from './copy.ts';
import { sweepStores } from './sweep.ts';
import type { ProgressEvent } from './types.ts';

let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'copy-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const events: ProgressEvent[] = [];
const context = () => ({
  config: daemonConfig(folder, [clusterConfig()]),
  signal: new AbortController().signal,
  logger: silentLogger,
  progress: (event: ProgressEvent) => void events.push(event),
  now: () => new Date('2026-11-22T12:00:00.000Z'),
});

const data = Buffer.alloc(5, 1);
const stored = {
  bytes: data.length,
  sha256: createHash('sha256').update(data).digest('hex'),
  crc32: crc32(data).toString(16).padStart(8, '0'),
  compression: 'zstd-seekable',
  encryption: 'none',
} as const;

describe('completing a copy', () => {
  test('data and manifest come over with the same bytes, and nothing is missing then', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    const manifest = seedBackup([a], { stores: ['a', 'b'], stored });
    const before = await readCatalog([a, b], 'prod', context());
    expect(await copyBackup(before.backups[0]!, [a, b], b, context())).toMatchObject({ from: 'a', to: 'b', outcome: 'copied', bytes: 5 });
    for (const key of [keyOfData(manifest), keyOfManifest(manifest)]) expect(b.objects.get(key)!.body).toEqual(a.objects.get(key)!.body);
    expect(missingOn(await readCatalog([a, b], 'prod', context()), 'b')).toEqual([]);
  });

  test('a manifest that is there and is another one is no copy: it is named, and stays', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    const manifest = seedBackup([a], { stores: ['a', 'b'], stored });
    b.objects.set(keyOfManifest(manifest), { body: Buffer.from('{'), modified: b.now });
    const { backups } = await readCatalog([a, b], 'prod', context());
    await expect(copyBackup(backups[0]!, [a, b], b, context())).rejects.toMatchObject({
      code: 'verification-failed',
      message: expect.stringContaining(keyOfManifest(manifest)),
    });
    expect(b.objects.get(keyOfManifest(manifest))!.body.toString()).toBe('{');
  });
});

test('a sweep asks a store that cannot be listed only once: a single backup waits for it', async () => {
  const [a, b] = [memoryStore('a'), memoryStore('b')];
  b.fail('list', new WardenError('store-unavailable', 'no route'));
  const result = await sweepStores([a, b], 'prod', context());
  expect(result).toEqual({ removed: [], failed: [{ store: 'b', message: 'no route' }] });
  expect(b.calls).toHaveLength(1);
});
