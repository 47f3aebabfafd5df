import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { S3StoreConfig } from '../../../src/config/types.ts';
import { openS3Store } from '../../../src/store/s3/store.ts';
import type { Tuning } from '../../../src/store/s3/tuning.ts';
import type { Store } from '../../../src/store/types.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { seeded } from '../../support/random.ts';
import { startS3FaultProxy, type FaultAction, type S3FaultProxy, type S3Verb } from '../../support/s3-fault-proxy.ts';
import { createSpool, wholeSpool } from './growing.ts';

const BUCKET = 'faults';
const PART = 5 * 1024 * 1024;
/** Two parts. */
const LARGE = PART + 1_000_000;
const { signal } = new AbortController();
const content = seeded(7).fill(Buffer.alloc(LARGE));
const small = seeded(8).fill(Buffer.alloc(100_000));

/** For calls that get no answer: nothing else waits for a time-out, and a busy machine may stand still for a second. More attempts for the same reason. */
const HASTY = { requestTimeoutMs: 1_000, retries: 9 };

let gateway: Gateway;
let proxy: S3FaultProxy;
let scratch: string;
let store: Store;
let count = 0;

function open(changes: Partial<S3StoreConfig> = {}, tuning: Partial<Tuning> = {}): Store {
  const config = gateway.storeConfig(BUCKET, 'backups', { endpoint: proxy.url, retries: 3, requestTimeoutMs: 10_000, ...changes });
  return openS3Store(config, {
    logger: silentLogger,
    tuning: { partBytes: PART, firstPauseMs: 1, longestPauseMs: 5, minRate: 1 << 20, abandonMs: 2_000, ...tuning },
  });
}

const spool = (bytes: Buffer = content): ReturnType<typeof wholeSpool> => wholeSpool(join(scratch, `spool-${count++}`), bytes);
const upload = (key: string): Promise<unknown> => store.upload(key, spool(), { signal });
const newKey = (): string => `prod/${count++}`;

async function collect(key: string): Promise<Buffer> {
  const blocks: Buffer[] = [];
  for await (const block of store.stream(key, { signal })) blocks.push(block);
  return Buffer.concat(blocks);
}

async function names(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, { signal })) keys.push(key);
  return keys;
}

async function unfinished(): Promise<number> {
  const { Uploads } = await gateway.client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }));
  return Uploads?.length ?? 0;
}

beforeAll(async () => {
  gateway = await startGateway();
  await gateway.createBucket(BUCKET);
  proxy = await startS3FaultProxy(gateway.endpoint);
  scratch = mkdtempSync(join(tmpdir(), 'spools-'));
  store = open();
  await store.upload('fixed/large', spool(), { signal });
});
afterAll(async () => {
  await store?.close();
  await proxy?.close();
  await gateway?.stop();
  rmSync(scratch, { recursive: true, force: true });
});
beforeEach(() => proxy.clear());

/** What is done so that each verb is used, and that what came of it is right. */
const USES: Partial<Record<S3Verb, () => Promise<void>>> = {
  async PutObject() {
    const key = newKey();
    expect(await store.put(key, small, { signal })).toMatchObject({ confirmed: 'checksum' });
    expect((await collect(key)).equals(small)).toBe(true);
  },
  Create: large,
  UploadPart: large,
  Complete: large,
  async Get() {
    expect((await collect('fixed/large')).equals(content)).toBe(true);
  },
  async Head() {
    expect(await store.head('fixed/large', { signal })).toMatchObject({ size: LARGE });
  },
  async List() {
    expect(await names('fixed/')).toEqual(['fixed/large']);
  },
  async Delete() {
    const key = newKey();
    await store.put(key, small, { signal });
    expect(await store.delete(key, { signal })).toEqual({ outcome: 'deleted' });
    expect(await store.head(key, { signal })).toBeUndefined();
  },
};

async function large(): Promise<void> {
  const key = newKey();
  expect(await upload(key)).toMatchObject({ size: LARGE, confirmed: 'checksum' });
  expect((await collect(key)).equals(content)).toBe(true);
}

const ANSWERS: readonly { status: number; code: string }[] = [
  { status: 500, code: 'InternalError' },
  { status: 502, code: 'BadGateway' },
  { status: 503, code: 'SlowDown' },
  { status: 429, code: 'TooManyRequests' },
  { status: 408, code: 'RequestTimeout' },
  { status: 409, code: 'OperationAborted' },
  { status: 499, code: 'ClientClosedRequest' },
];

describe.each(Object.keys(USES) as S3Verb[])('%s', (verb) => {
  const inFlight = verb === 'UploadPart' ? 2 : 1;

  test.each(ANSWERS)('fault 27: $status $code is tried again, and the result is right', async (action) => {
    const [before, after] = [proxy.fail({ verb, action }), proxy.fail({ verb, action: { ...action, after: true } })];
    await USES[verb]!();
    expect([before.hits, after.hits]).toEqual([1, 1]);
  });

  test.each(['reset-before', 'reset-after', 'stall', 'stall-after'] as const)(
    'fault 30: %s is tried again, and the result is right',
    async (action) => {
      store = open(action.startsWith('stall') ? HASTY : {});
      const rule = proxy.fail({ verb, action });
      await USES[verb]!();
      expect(rule.hits).toBe(1);
      store = open();
    },
  );

  test('fault 33: 403 is not tried again, and named', async () => {
    const rule = proxy.fail({ verb, times: 99, action: { status: 403, code: 'SignatureDoesNotMatch' } });
    await expect(USES[verb]!()).rejects.toMatchObject({ code: 'store-denied' });
    expect(rule.hits).toBeLessThanOrEqual(inFlight);
  });

  test('an outage that does not end is an error that counts the attempts', async () => {
    const rule = proxy.fail({ verb, times: 99, action: { status: 503, code: 'SlowDown', message: 'Please reduce your request rate.' } });
    await expect(USES[verb]!()).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringMatching(/failed 4 times, last with .*503/),
    });
    expect(rule.hits).toBeGreaterThanOrEqual(4);
    expect(rule.hits).toBeLessThanOrEqual(4 * inFlight);
    proxy.clear();
    expect(await unfinished()).toBe(0);
  });
});

describe('completing an upload', () => {
  test('fault 28: 200 with an error inside is a failure, and is tried again', async () => {
    const rule = proxy.fail({ verb: 'Complete', times: 2, action: { errorBody200: 'InternalError' } });
    await large();
    expect(rule.hits).toBe(2);
    expect(await unfinished()).toBe(0);
  });

  test('fault 28: when it never is anything else, nothing is visible and nothing stays', async () => {
    proxy.fail({ verb: 'Complete', times: 99, action: { errorBody200: 'InternalError' } });
    const key = newKey();
    await expect(upload(key)).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(await store.head(key, { signal })).toBeUndefined();
    expect(await unfinished()).toBe(0);
  });

  test.each(['reset-after', 'stall-after'] as const)(
    'an answer that is lost (%s) is settled by looking at the object, without a second try',
    async (action) => {
      proxy.fail({ verb: 'Complete', action });
      store = open(HASTY);
      const before = proxy.count('Complete');
      await large();
      expect(proxy.count('Complete')).toBe(before + 1);
      store = open();
    },
  );

  test('an object that came first is not replaced', async () => {
    const key = newKey();
    const accepted = Promise.withResolvers<void>();
    const done = store.upload(key, spool(), { signal, accepted: accepted.promise });
    done.catch(() => {});
    await store.put(key, small, { signal });
    accepted.resolve();
    await expect(done).rejects.toMatchObject({ code: 'object-exists' });
    expect((await collect(key)).equals(small)).toBe(true);
    expect(await unfinished()).toBe(0);
  });
});

describe('bytes on their way', () => {
  test.each(['UploadPart', 'PutObject'] as const)(
    'a byte flipped on the way up (%s) is noticed by the server and sent again',
    async (verb) => {
      const rule = proxy.fail({ verb, action: 'flip-byte' });
      await USES[verb]!();
      expect(rule.hits).toBe(1);
    },
  );

  test.each([0.01, 0.5, 0.99])('fault 30: a download that breaks off at %d goes on from there', async (share) => {
    store = open(HASTY);
    for (const action of [{ shortRead: Math.floor(LARGE * share) }, { stallAt: Math.floor(LARGE * share) }] as FaultAction[]) {
      const rule = proxy.fail({ verb: 'Get', action });
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      expect((await collect('fixed/large')).equals(content)).toBe(true);
      expect(rule.hits).toBe(1);
      proxy.clear();
    }
    const from = proxy.requests.findLast(({ verb }) => verb === 'Get')?.headers.range;
    expect(Number(/^bytes=(\d+)-/.exec(from ?? '')?.[1])).toBeGreaterThan(0);
    store = open();
  });

  test('fault 30: a download that always breaks off at the same place ends with an error', async () => {
    proxy.fail({ verb: 'Get', times: 99, action: { shortRead: 0 } });
    await expect(collect('fixed/large')).rejects.toMatchObject({ code: 'store-unavailable' });
  });

  test('fault 30: a download of a few bytes per second is a time-out, not a wait for ever', async () => {
    store = open({ requestTimeoutMs: 1_000 });
    proxy.fail({ verb: 'Get', times: 99, action: { drip: 1 } });
    const start = performance.now();
    await expect(collect('fixed/large')).rejects.toMatchObject({ code: 'timeout' });
    expect(performance.now() - start).toBeLessThan(30_000);
    store = open();
  });

  test('fault 30: an upload of a few bytes per second is a time-out, and leaves nothing', async () => {
    store = open({ retries: 1, requestTimeoutMs: 1_000 }, { minRate: 8 << 20 });
    proxy.fail({ verb: 'UploadPart', times: 99, action: { drip: 1 } });
    const key = newKey();
    await expect(upload(key)).rejects.toMatchObject({ code: 'timeout' });
    proxy.clear();
    store = open();
    expect(await store.head(key, { signal })).toBeUndefined();
    expect(await unfinished()).toBe(0);
  });

  test('a reader that is slow itself is not taken for a slow store', async () => {
    store = open(HASTY);
    const blocks: Buffer[] = [];
    for await (const block of store.stream('fixed/large', { signal })) {
      if (blocks.length === 1) await new Promise((resolve) => setTimeout(resolve, 1_500));
      blocks.push(block);
    }
    expect(Buffer.concat(blocks).equals(content)).toBe(true);
    store = open();
  });

  test('fault 36: an object that was cut, replaced while it is read, or is gone, is named', async () => {
    const key = newKey();
    await store.upload(key, spool(), { signal });
    const raw = (Body: Buffer): Promise<unknown> =>
      gateway.client.send(new PutObjectCommand({ Bucket: BUCKET, Key: `backups/${key}`, Body }));
    const range = { offset: LARGE - 10, length: 10 };
    await raw(content.subarray(0, LARGE - 1));
    await expect(store.get(key, { signal, range })).rejects.toMatchObject({ code: 'verification-failed' });
    expect(await store.head(key, { signal })).toMatchObject({ size: LARGE - 1 });
    proxy.fail({ verb: 'Get', action: { shortRead: 1_000_000 } });
    const reader = store.stream(key, { signal })[Symbol.asyncIterator]();
    await reader.next();
    await raw(seeded(9).fill(Buffer.alloc(LARGE - 1)));
    const rest = (async (): Promise<void> => {
      while ((await reader.next()).done !== true);
    })();
    await expect(rest).rejects.toMatchObject({ code: 'verification-failed', message: expect.stringContaining('replaced') });
    await store.delete(key, { signal });
    await expect(store.get(key, { signal })).rejects.toMatchObject({ code: 'object-missing' });
  });
});

describe('an upload that ends early', () => {
  test.each([0, 1, 2])('fault 31: stopped by a signal after %i parts, the multipart upload is aborted', async (parts) => {
    const stop = new AbortController();
    const key = newKey();
    let sent = 0;
    const growing = createSpool(join(scratch, `spool-${count++}`), 10 * PART);
    const done = store.upload(key, growing.source, {
      signal: stop.signal,
      onProgress: () => ++sent === parts && stop.abort(new Error('SIGTERM')),
    });
    growing.write(Buffer.alloc(3 * PART));
    if (parts === 0) stop.abort(new Error('SIGTERM'));
    await expect(done).rejects.toThrow('SIGTERM');
    growing.fail(new Error('stopped'));
    expect(await unfinished()).toBe(0);
    expect(await store.head(key, { signal })).toBeUndefined();
  });

  test('fault 31: when the store does not answer the abort either, giving up is bounded', async () => {
    store = open({}, { abandonMs: 300 });
    proxy.fail({ verb: 'UploadPart', times: 99, action: { status: 403, code: 'AccessDenied' } });
    proxy.fail({ verb: 'Abort', times: 99, action: 'stall' });
    const start = performance.now();
    await expect(upload(newKey())).rejects.toMatchObject({ code: 'store-denied' });
    expect(performance.now() - start).toBeLessThan(9_000);
    proxy.clear();
    store = open();
    expect(await unfinished()).toBe(1);
    await store.sweep({ signal, olderThanMs: -60_000, now: new Date(), ours: () => true });
    expect(await unfinished()).toBe(0);
  });

  test('fault 31: the sweep ends what a crash left, and nothing that is younger, foreign or outside our prefix', async () => {
    const id = '20261122T100000123Z-k3f9qa';
    const keys = [`backups/prod/${id}.db.zst`, 'backups/prod/video.mp4', `backups2/prod/${id}.db.zst`, `${id}.db.zst`];
    const uploads = await Promise.all(
      keys.map(async (Key) => {
        const { UploadId } = await gateway.client.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }));
        await gateway.client.send(new UploadPartCommand({ Bucket: BUCKET, Key, UploadId, PartNumber: 1, Body: Buffer.alloc(10) }));
        return { Key, UploadId };
      }),
    );
    expect(await store.sweep({ signal, olderThanMs: 60_000, now: new Date() })).toEqual({ removed: [] });
    const later = new Date(Date.now() + 120_000);
    expect(await store.sweep({ signal, olderThanMs: 60_000, now: later })).toEqual({
      removed: [{ what: 'multipart-upload', name: `prod/${id}.db.zst` }],
    });
    expect(await unfinished()).toBe(3);
    for (const { Key, UploadId } of uploads.slice(1)) {
      // oxlint-disable-next-line no-await-in-loop -- three
      await gateway.client.send(new AbortMultipartUploadCommand({ Bucket: BUCKET, Key, UploadId }));
    }
  });
});

describe('time and credentials', () => {
  test('fault 32: after a long outage the first call that can succeed does', async () => {
    for (let i = 0; i < 60; i++) {
      proxy.fail({ verb: 'Head', times: 99, action: { status: 503, code: 'SlowDown' } });
      // oxlint-disable-next-line no-await-in-loop -- an outage is a sequence
      await expect(store.head('fixed/large', { signal })).rejects.toMatchObject({ code: 'store-unavailable' });
      proxy.clear();
    }
    // Two more faults: whatever was spent before, retries are there again.
    proxy.fail({ verb: 'Head', times: 2, action: { status: 503, code: 'SlowDown' } });
    expect(await store.head('fixed/large', { signal })).toMatchObject({ size: LARGE });
    await large();
  });

  test('fault 33: a token that expires in the middle of an upload is read anew', async () => {
    let reads = 0;
    const secret = gateway.secretKey;
    store = open({ secretAccessKey: { origin: 'test', read: () => (reads++, secret) } });
    proxy.fail({ verb: 'UploadPart', nth: 2, action: { status: 400, code: 'ExpiredToken' } });
    await large();
    expect(reads).toBe(2);
    const rule = proxy.fail({ verb: 'Head', times: 99, action: { status: 400, code: 'ExpiredToken' } });
    const list = proxy.fail({ verb: 'List', times: 99, action: { status: 400, code: 'ExpiredToken' } });
    await expect(names('')).rejects.toMatchObject({ code: 'store-denied' });
    expect(list.hits).toBe(3);
    expect(rule.hits).toBe(0);
    store = open();
  });

  test('fault 34: a clock that is wrong is called by its name, also where the answer has no body', async () => {
    proxy.fail({ verb: 'List', times: 9, action: { status: 403, code: 'RequestTimeTooSkewed' } });
    await expect(store.check(0, { signal })).rejects.toMatchObject({ code: 'store-denied', message: expect.stringContaining('clock') });
    proxy.fail({ verb: 'Head', times: 9, action: { status: 403, code: 'x', headers: { date: 'Thu, 01 Jan 2026 00:00:00 GMT' } } });
    await expect(store.head('x', { signal })).rejects.toMatchObject({ message: expect.stringContaining('clock') });
  });

  test('a bucket that is not there, and keys that are wrong, are told as that', async () => {
    const config = gateway.storeConfig('no-such-bucket', '', { retries: 3 });
    const absent = openS3Store(config, { logger: silentLogger });
    await expect(absent.check(0, { signal })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('no such bucket'),
    });
    store = open({ secretAccessKey: { origin: 'test', read: () => 'wrong' } });
    await expect(store.check(0, { signal })).rejects.toMatchObject({ code: 'store-denied' });
    store = open();
  });
});

describe('listing', () => {
  const keys = Array.from({ length: 1_050 }, (_, i) => `listed/${String(i).padStart(5, '0')}`);
  beforeAll(async () => {
    for (let i = 0; i < keys.length; i += 50) {
      // oxlint-disable-next-line no-await-in-loop -- fifty at a time
      await Promise.all(keys.slice(i, i + 50).map((key) => store.put(key, Buffer.alloc(1), { signal })));
    }
  });

  test('a page that comes twice is asked for again: every object once', async () => {
    proxy.fail({ verb: 'List', nth: 2, times: 1, action: 'repeat-page' });
    expect(await names('listed/')).toEqual(keys);
  });

  test('a page out of order is put in order', async () => {
    proxy.fail({ verb: 'List', times: 2, action: 'unsorted-page' });
    expect(await names('listed/')).toEqual(keys);
  });
});

describe('older servers', () => {
  test('fault 37: a server that refuses checksums is named, with the setting that helps', async () => {
    proxy.fail({ verb: 'PutObject', times: 9, action: { status: 501, code: 'NotImplemented' } });
    await expect(store.put(newKey(), small, { signal })).rejects.toMatchObject({ hint: expect.stringContaining('checksum: none') });
  });

  test('fault 37: with checksum none no header asks for one, and the size is still confirmed', async () => {
    store = open({ checksum: 'none' });
    const seen = proxy.requests.length;
    const key = newKey();
    expect(await upload(key)).toMatchObject({ confirmed: 'size' });
    expect((await collect(key)).equals(content)).toBe(true);
    const again = newKey();
    expect(await store.put(again, small, { signal })).toMatchObject({ confirmed: 'size' });
    for (const { headers } of proxy.requests.slice(seen)) {
      expect(Object.keys(headers).filter((name) => /checksum|sdk-checksum|trailer|if-none-match/.test(name))).toEqual([]);
      expect(headers['content-encoding']).toBeUndefined();
    }
    await expect(store.put(again, small, { signal })).rejects.toMatchObject({ code: 'object-exists' });
    await expect(upload(key)).rejects.toMatchObject({ code: 'object-exists' });
    proxy.fail({ verb: 'Complete', action: 'reset-after' });
    await upload(newKey());
    store = open();
  });
});

test('memory is a fixed set of part buffers: never more than two parts are under way', async () => {
  await using fresh = await startS3FaultProxy(gateway.endpoint);
  store = open({ endpoint: fresh.url });
  await upload(newKey());
  expect(fresh.concurrent('UploadPart')).toBeLessThanOrEqual(2);
  await store.close();
});
