import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { startS3FaultProxy, type S3FaultProxy } from '../../support/s3-fault-proxy.ts';

const BUCKET = 'faults';
let gateway: Gateway;
let proxy: S3FaultProxy;
let client: S3Client;

beforeAll(async () => {
  gateway = await startGateway();
  await gateway.createBucket(BUCKET);
  proxy = await startS3FaultProxy(gateway.endpoint);
  client = new S3Client({
    endpoint: proxy.url,
    region: gateway.region,
    forcePathStyle: true,
    credentials: { accessKeyId: gateway.accessKey, secretAccessKey: gateway.secretKey },
    maxAttempts: 1,
    // What arrives spoilt is to be seen here, not refused.
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
});
afterEach(() => proxy.clear());
afterAll(async () => {
  client.destroy();
  await proxy.close();
  await gateway.stop();
});

async function put(key: string, body = Buffer.alloc(100_000, 'x')): Promise<void> {
  await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }));
}
async function get(key: string): Promise<Buffer> {
  const reply = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
  return Buffer.from(await reply.Body!.transformToByteArray());
}
async function exists(key: string): Promise<boolean> {
  return gateway.client.send(new HeadObjectCommand({ Bucket: BUCKET, Key: key })).then(
    () => true,
    () => false,
  );
}

describe('the S3 fault proxy', () => {
  test('passes signed requests of every kind on unchanged', async () => {
    await put('plain/a b+ü%.txt', Buffer.from('whole'));
    expect(await get('plain/a b+ü%.txt')).toEqual(Buffer.from('whole'));
    const large = Buffer.alloc(6 * 1024 * 1024, 'large');
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key: 'plain/parts' }));
    const part = await client.send(new UploadPartCommand({ Bucket: BUCKET, Key: 'plain/parts', UploadId, PartNumber: 1, Body: large }));
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: part.ETag }] };
    await client.send(new CompleteMultipartUploadCommand({ Bucket: BUCKET, Key: 'plain/parts', UploadId, MultipartUpload }));
    expect((await get('plain/parts')).equals(large)).toBe(true);
    expect(proxy.requests.map(({ verb, status }) => [verb, status])).toEqual([
      ['PutObject', 200],
      ['Get', 200],
      ['Create', 200],
      ['UploadPart', 200],
      ['Complete', 200],
      ['Get', 200],
    ]);
    expect(proxy.concurrent('Get')).toBe(1);
  });

  test('lets exactly the calls from the n-th on fail, and counts them', async () => {
    const rule = proxy.fail({ verb: 'PutObject', nth: 2, times: 2, action: { status: 503, code: 'SlowDown' } });
    const outcomes: string[] = [];
    for (let call = 1; call <= 4; call++) {
      outcomes.push(
        await put(`nth/${call}`).then(
          () => 'ok',
          (error: Error) => error.name,
        ),
      );
    }
    expect(outcomes).toEqual(['ok', 'SlowDown', 'SlowDown', 'ok']);
    expect(rule.hits).toBe(2);
    expect(await exists('nth/2')).toBe(false);
  });

  test('resets before the server saw a request, and after it acted', async () => {
    proxy.fail({ verb: 'PutObject', action: 'reset-before' });
    await expect(put('reset/before')).rejects.toThrow(/ECONNRESET|socket hang up/);
    proxy.clear();
    proxy.fail({ verb: 'PutObject', action: 'reset-after' });
    await expect(put('reset/after')).rejects.toThrow(/ECONNRESET|socket hang up/);
    expect([await exists('reset/before'), await exists('reset/after')]).toEqual([false, true]);
  });

  test('answers 200 with an error in the body, or with an error although the server acted', async () => {
    proxy.fail({ verb: 'PutObject', action: { status: 500, code: 'InternalError', after: true } });
    await expect(put('acted')).rejects.toThrow('injected by the fault proxy');
    expect(await exists('acted')).toBe(true);
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key: 'late-error' }));
    proxy.fail({ verb: 'Complete', action: { errorBody200: 'InternalError' } });
    const complete = client.send(new CompleteMultipartUploadCommand({ Bucket: BUCKET, Key: 'late-error', UploadId }));
    await expect(complete).rejects.toThrow('injected by the fault proxy');
  });

  test('stalls a request until the caller gives up, before or after the server acted', async () => {
    for (const action of ['stall', 'stall-after'] as const) {
      proxy.fail({ verb: 'PutObject', action });
      const giveUp = AbortSignal.timeout(300);
      const call = client.send(new PutObjectCommand({ Bucket: BUCKET, Key: action, Body: Buffer.from('x') }), { abortSignal: giveUp });
      await expect(call).rejects.toThrow(/abort/i);
      proxy.clear();
    }
    expect([await exists('stall'), await exists('stall-after')]).toEqual([false, true]);
  });

  test('cuts a download short, by a reset, by a lying length or by silence', async () => {
    await put('short');
    proxy.fail({ verb: 'Get', action: { shortRead: 1000 } });
    await expect(get('short')).rejects.toThrow(/aborted|ECONNRESET|reset/);
    proxy.clear();
    proxy.fail({ verb: 'Get', action: { shortBody: 1000 } });
    expect(await get('short')).toHaveLength(1000);
    proxy.clear();
    proxy.fail({ verb: 'Get', action: { stallAt: 1000 } });
    const reply = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'short' }));
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of reply.Body as AsyncIterable<Buffer>) bytes += chunk.length;
    })();
    const waiting = new Promise((resolve) => setTimeout(resolve, 300, 'still waiting'));
    expect(await Promise.race([reading, waiting])).toBe('still waiting');
    expect(bytes).toBe(1000);
    proxy.clear();
    await expect(reading).rejects.toThrow(/aborted|ECONNRESET|reset/);
  });

  test('flips one bit of a download, and of an upload, which the server then refuses', async () => {
    await put('flip');
    proxy.fail({ verb: 'Get', action: 'flip-byte' });
    const spoilt = await get('flip');
    expect(spoilt.filter((byte) => byte !== 0x78)).toEqual(Buffer.of(0x78 ^ 0x10));
    proxy.fail({ verb: 'PutObject', action: 'flip-byte' });
    await expect(put('flipped')).rejects.toThrow(/does not match what was computed/);
    expect(await exists('flipped')).toBe(false);
  });

  test('repeats a page of a list, and turns one round', async () => {
    for (const key of ['1', '2', '3', '4']) await put(`page/${key}`, Buffer.from(key));
    async function page(token?: string): Promise<{ keys: string[]; next: string | undefined }> {
      const reply = await client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'page/', MaxKeys: 2, ContinuationToken: token }));
      return { keys: reply.Contents!.map((entry) => entry.Key!), next: reply.NextContinuationToken };
    }
    const first = await page();
    proxy.fail({ verb: 'List', action: 'repeat-page' });
    expect((await page(first.next)).keys).toEqual(['page/1', 'page/2']);
    proxy.clear();
    proxy.fail({ verb: 'List', action: 'unsorted-page' });
    expect((await page(first.next)).keys).toEqual(['page/4', 'page/3']);
  });

  test('drips, so that a download takes as long as its rate says', async () => {
    await put('drip', Buffer.alloc(20_000));
    proxy.fail({ verb: 'Get', action: { drip: 40_000 } });
    const start = performance.now();
    expect(await get('drip')).toHaveLength(20_000);
    expect(performance.now() - start).toBeGreaterThan(400);
  });
});
