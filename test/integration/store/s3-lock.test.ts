import { PutObjectLegalHoldCommand, PutObjectRetentionCommand, type ObjectLockRetentionMode } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openS3Store } from '../../../src/store/s3/store.ts';
import type { Store } from '../../../src/store/types.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';

const BUCKET = 'locked';
const { signal } = new AbortController();
let gateway: Gateway;
let store: Store;

beforeAll(async () => {
  gateway = await startGateway({ versioning: true });
  await gateway.createBucket(BUCKET, { objectLock: true });
  store = openS3Store(gateway.storeConfig(BUCKET), { logger: silentLogger });
});
afterAll(async () => {
  await store?.close();
  await gateway?.stop();
});

async function lock(key: string, mode: ObjectLockRetentionMode, until: Date): Promise<void> {
  await gateway.client.send(
    new PutObjectRetentionCommand({ Bucket: BUCKET, Key: `backups/${key}`, Retention: { Mode: mode, RetainUntilDate: until } }),
  );
}

describe('fault 38: a bucket with object lock', () => {
  test.each(['COMPLIANCE', 'GOVERNANCE'] as const)(
    'under %s an object is kept until its date, and stays listed and readable',
    async (mode) => {
      const key = `prod/${mode}`;
      const until = new Date(Math.floor(Date.now() / 1000 + 3600) * 1000);
      await store.put(key, Buffer.from('worm'), { signal });
      await lock(key, mode, until);
      for (const _ of [1, 2]) {
        // oxlint-disable-next-line no-await-in-loop -- the second answer is the same: no error loop
        expect(await store.delete(key, { signal })).toEqual({ outcome: 'kept', until, reason: `object lock (${mode})` });
      }
      expect((await store.get(key, { signal })).toString()).toBe('worm');
      const keys: string[] = [];
      for await (const object of store.list('prod/', { signal })) keys.push(object.key);
      expect(keys).toContain(key);
    },
  );

  test('a legal hold keeps it without a date', async () => {
    await store.put('prod/hold', Buffer.from('hold'), { signal });
    await gateway.client.send(new PutObjectLegalHoldCommand({ Bucket: BUCKET, Key: 'backups/prod/hold', LegalHold: { Status: 'ON' } }));
    expect(await store.delete('prod/hold', { signal })).toEqual({ outcome: 'kept', until: undefined, reason: 'legal hold' });
  });

  test('when the date has passed it is deleted', async () => {
    await store.put('prod/short', Buffer.from('short'), { signal });
    const until = new Date(Date.now() + 4_000);
    await lock('prod/short', 'COMPLIANCE', until);
    expect(await store.delete('prod/short', { signal })).toMatchObject({ outcome: 'kept' });
    // The only thing to wait for is the date itself.
    await new Promise((resolve) => setTimeout(resolve, until.getTime() - Date.now() + 1_100));
    expect(await store.delete('prod/short', { signal })).toEqual({ outcome: 'deleted' });
    expect(await store.head('prod/short', { signal })).toBeUndefined();
    expect(await store.delete('prod/short', { signal })).toEqual({ outcome: 'absent' });
  });

  test('an object without a lock is deleted as anywhere', async () => {
    await store.put('prod/free', Buffer.from('free'), { signal });
    expect(await store.delete('prod/free', { signal })).toEqual({ outcome: 'deleted' });
    expect(await store.delete('prod/free', { signal })).toEqual({ outcome: 'absent' });
  });
});
