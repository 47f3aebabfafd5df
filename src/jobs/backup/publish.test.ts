import { describe, expect, test } from 'vitest';
import { WardenError } from '../../errors.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import { sampleManifest } from '../../../test/support/manifests.ts';
import { memoryStore } from '../../../test/support/memory-store.ts';
import { confirmStored, type Expected } from './confirm.ts';
import { publish } from './publish.ts';

const signal = new AbortController().signal;

describe('publishing', () => {
  test('the manifest goes to every store that holds the data, and to no other', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    const manifest = sampleManifest({ stores: ['a', 'b'] });
    const results = await publish(
      manifest,
      [a, b],
      [
        { store: 'a', outcome: 'stored' },
        { store: 'b', outcome: 'failed', error: { code: 'failed', message: 'down' } },
      ],
      { signal, logger: silentLogger },
    );
    expect([...a.objects.keys()]).toEqual([`prod/${manifest.id}.r41.json`]);
    expect(b.objects.size).toBe(0);
    expect(results.map((result) => result.outcome)).toEqual(['stored', 'failed']);
  });

  test('a store that does not take the manifest counts as failed, with its reason; the others go on', async () => {
    const [a, b] = [memoryStore('a'), memoryStore('b')];
    b.fail('put', new WardenError('disk-full', 'no room', { hint: 'make some' }));
    const stored = [a, b].map(({ name }) => ({ store: name, outcome: 'stored' as const }));
    const results = await publish(sampleManifest({ stores: ['a', 'b'] }), [a, b], stored, { signal, logger: silentLogger });
    expect(results[0]).toEqual({ store: 'a', outcome: 'stored' });
    expect(results[1]).toMatchObject({ outcome: 'failed', error: { code: 'disk-full', message: 'no room', hint: 'make some' } });
  });
});

describe('confirming what a store holds', () => {
  const object = { key: 'k', size: 5, crc32: '0123abcd', confirmed: 'checksum' as const };
  const expected = (changes: Partial<Expected> = {}): Expected => ({
    key: 'k',
    storedBytes: 5,
    storedSha256: 'c'.repeat(64),
    storedCrc32: '0123abcd',
    stores: [],
    signal,
    onWarning: () => {},
    ...changes,
  });

  test('size and checksum as sealed are enough where the store vouches for them', async () => {
    expect(await confirmStored([{ store: 'a', outcome: 'stored', object }], expected())).toEqual([{ store: 'a', outcome: 'stored' }]);
  });

  test.each([
    ['size', { ...object, size: 4 }],
    ['checksum', { ...object, crc32: '00000000' }],
  ])('another %s is a failure of that store', async (_what, found) => {
    const warnings: string[] = [];
    const [result] = await confirmStored(
      [{ store: 'a', outcome: 'stored', object: found }],
      expected({ onWarning: (message) => warnings.push(message) }),
    );
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'verification-failed' } });
    expect(warnings).toHaveLength(1);
  });

  test('a store without checksums of its own is read back', async () => {
    const store = memoryStore('a');
    store.objects.set('k', { body: Buffer.from('other'), modified: new Date(0) });
    const [result] = await confirmStored(
      [{ store: 'a', outcome: 'stored', object: { ...object, confirmed: 'size' } }],
      expected({ stores: [store] }),
    );
    expect(result).toMatchObject({ outcome: 'failed', error: { message: expect.stringContaining('SHA-256') } });
    expect(store.calls).toContain('stream k');
  });

  test('a store that failed before stays failed', async () => {
    const failed = { store: 'a', outcome: 'failed' as const, error: { code: 'x', message: 'y' } };
    expect(await confirmStored([failed], expected())).toEqual([failed]);
  });
});
