import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CrashPoint } from '../../../src/crash-points.ts';
import { newId } from '../../../src/format/ids.ts';
import { dataKey } from '../../../src/format/keys.ts';
import { openS3Store } from '../../../src/store/s3/store.ts';
import type { Store } from '../../../src/store/types.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { carryOutHere, contentOf, type Order } from './child.ts';
import { crashAt } from './run-child.ts';

const BUCKET = 'crashes';
const { signal } = new AbortController();
let gateway: Gateway;
let store: Store;
let spoolFolder: string;

beforeAll(async () => {
  gateway = await startGateway();
  await gateway.createBucket(BUCKET);
  store = openS3Store(gateway.storeConfig(BUCKET), { logger: silentLogger });
  spoolFolder = mkdtempSync(join(tmpdir(), 'spool-'));
});
afterAll(async () => {
  await store?.close();
  await gateway?.stop();
  rmSync(spoolFolder, { recursive: true, force: true });
});

async function unfinished(): Promise<number> {
  const { Uploads } = await gateway.client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }));
  return Uploads?.length ?? 0;
}

describe('fault 31: an upload to S3 whose process is killed', () => {
  const MULTIPART = 17 * 1024 * 1024;
  const points: readonly [CrashPoint, number, { visible: boolean; left: number }][] = [
    ['first-byte', MULTIPART, { visible: false, left: 0 }],
    ['after-create', MULTIPART, { visible: false, left: 1 }],
    ['mid', MULTIPART, { visible: false, left: 1 }],
    ['before-complete', MULTIPART, { visible: false, left: 1 }],
    ['after-complete', MULTIPART, { visible: true, left: 0 }],
    ['before-complete', 1000, { visible: false, left: 0 }],
    ['after-complete', 1000, { visible: true, left: 0 }],
  ];

  test.each(points)(
    'at %s of %i bytes: the whole object or none, and the sweep takes the rest',
    async (point, bytes, { visible, left }) => {
      const key = dataKey('prod', newId(new Date(), randomBytes), 'none');
      const order: Order = {
        store: gateway.storeConfig(BUCKET),
        accessKey: gateway.accessKey,
        secretKey: gateway.secretKey,
        how: 'upload',
        key,
        bytes,
        spoolFolder,
      };
      expect(crashAt(point, order)).toBe(true);
      expect((await store.head(key, { signal })) !== undefined).toBe(visible);
      expect(await unfinished()).toBe(left);
      expect((await store.sweep({ signal, olderThanMs: 60_000, now: new Date() })).removed).toEqual([]);
      const { removed } = await store.sweep({ signal, olderThanMs: 60_000, now: new Date(Date.now() + 120_000) });
      expect(removed).toHaveLength(left);
      expect(await unfinished()).toBe(0);
      expect(await carryOutHere(order)).toMatchObject(visible ? { ok: false, code: 'object-exists' } : { ok: true });
      expect((await store.get(key, { signal })).equals(contentOf(bytes))).toBe(true);
      await store.delete(key, { signal });
    },
  );
});
