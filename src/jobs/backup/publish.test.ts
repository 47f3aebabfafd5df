import { describe, expect, test } from 'vitest';
import { WardenError } from '../../errors.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import { sampleManifest } from '../../../test/support/manifests.ts';
import { memoryStore, type MemoryStore } from '../../../test/support/memory-store.ts';
import type { ProgressEvent } from '../types.ts';
import type { UploadResult } from './attempt.ts';
import { Destinations } from './destinations.ts';
import { publishEach, type Publishing } from './publish.ts';

const signal = new AbortController().signal;
const manifest = sampleManifest({ stores: ['a', 'b'] });
const sealed = { key: 'k', size: manifest.stored.bytes, crc32: manifest.stored.crc32, confirmed: 'checksum' as const };

function publishing(stores: readonly MemoryStore[]): Publishing {
  return { manifest, key: 'k', stores, logger: silentLogger, signal, progress: (event) => void events.push(event) };
}

const events: ProgressEvent[] = [];

function stored(store: string, changes: Partial<typeof sealed> | { confirmed: 'size' } = {}): Promise<UploadResult> {
  return Promise.resolve({ store, outcome: 'stored', object: { ...sealed, ...changes } });
}

describe('publishing', () => {
  test('the manifest goes to every store that holds the data, and to no other', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    const failed: UploadResult = { store: 'b', outcome: 'failed', error: { code: 'failed', message: 'down' } };
    const results = await publishEach([stored('a'), Promise.resolve(failed)], publishing([a, b]));
    expect([...a.objects.keys()]).toEqual([`prod/${manifest.id}.r41.json`]);
    expect(b.objects.size).toBe(0);
    expect(results).toEqual([{ store: 'a', outcome: 'stored' }, failed]);
  });

  test('a store that is done is published while another is still uploading', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    const slow = Promise.withResolvers<UploadResult>();
    const all = publishEach([stored('a'), slow.promise], publishing([a, b]));
    while (a.objects.size === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(b.objects.size).toBe(0);
    slow.resolve(await stored('b'));
    await all;
    expect(b.objects.size).toBe(1);
  });

  test('a store that does not take the manifest counts as failed, with its reason; the others go on', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    b.fail('put', new WardenError('disk-full', 'no room', { hint: 'make some' }));
    const results = await publishEach([stored('a'), stored('b')], publishing([a, b]));
    expect(results[0]).toEqual({ store: 'a', outcome: 'stored' });
    expect(results[1]).toMatchObject({ outcome: 'failed', error: { code: 'disk-full', message: 'no room', hint: 'make some' } });
  });

  test.each([
    ['size', { size: 4 }],
    ['checksum', { crc32: '00000000' }],
  ])('data of another %s than was sealed is a failure of that store', async (_what, changes) => {
    const a = memoryStore('a');
    const [result] = await publishEach([stored('a', changes)], publishing([a]));
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'verification-failed' } });
    expect(a.objects.size).toBe(0);
  });

  test('a store without checksums of its own is read back before anything is visible there', async () => {
    const a = memoryStore('a');
    a.objects.set('k', { body: Buffer.from('other'), modified: new Date(0) });
    const [result] = await publishEach([stored('a', { confirmed: 'size' })], publishing([a]));
    expect(result).toMatchObject({ outcome: 'failed', error: { message: expect.stringContaining('SHA-256') } });
    expect(a.calls).toEqual(['stream k']);
    // Told as it goes: a job that reads for long and says nothing would be taken for stalled.
    expect(events).toContainEqual(expect.objectContaining({ step: 'read', bytes: 5, subject: 'a' }));
  });
});

describe('the stores of a backup', () => {
  test('one that cannot take it is a result of its own, and the others go on in their order', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    a.fail('check', new WardenError('disk-full', 'no room'));
    const destinations = new Destinations([a, b], silentLogger);
    await destinations.check(1, signal);
    expect(destinations.ready.map(({ name }) => name)).toEqual(['b']);
    expect(destinations.results([{ store: 'b', outcome: 'stored' }])).toMatchObject([
      { store: 'a', outcome: 'failed', error: { code: 'disk-full' } },
      { store: 'b', outcome: 'stored' },
    ]);
  });

  test('when none is left the run ends with the reasons of all and the code of the first', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    a.fail('check', new WardenError('disk-full', 'no room'));
    b.fail('check', new Error('boom'));
    await expect(new Destinations([a, b], silentLogger).check(1, signal)).rejects.toMatchObject({
      code: 'disk-full',
      message: 'no store took the backup: a: no room; b: boom',
    });
  });
});
