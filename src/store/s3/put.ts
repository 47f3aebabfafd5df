/** Small objects in one request. */
import { PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3';
import { crc32 } from 'node:zlib';
import { WardenError } from '../../errors.ts';
import { crcHex } from '../follow.ts';
import { exists } from '../object-errors.ts';
import type { CallOptions, StoredObject } from '../types.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, type Calls } from './calls.ts';
import { deleteQuietly } from './delete.ts';
import { confirmObject, headObject, judge, toBase64 } from './head.ts';

/**
 * Writes `body` if the key is free. The body is a Buffer with its length, never a stream: the SDK would send streams in chunks
 * with trailers, which some servers store as part of the object.
 */
export async function putObject(calls: Calls, bucket: Bucket, key: string, body: Buffer, options: CallOptions): Promise<StoredObject> {
  const crc = crc32(body);
  const sent = { key, size: body.length, crc32: crcHex(crc) };
  // With If-None-Match the server refuses by itself.
  if (!bucket.checksums) await refuseExisting(calls, bucket, key, options);
  const input: PutObjectCommandInput = {
    Bucket: bucket.Bucket,
    Key: bucket.full(key),
    Body: body,
    ContentLength: body.length,
    ...bucket.forWriting(),
    ...(bucket.storageClass === undefined
      ? {}
      : { StorageClass: bucket.storageClass as NonNullable<PutObjectCommandInput['StorageClass']> }),
    ...(bucket.checksums ? { ChecksumCRC32: toBase64(crc), IfNoneMatch: '*' } : {}),
  };
  let attempts = 0;
  try {
    await calls.call(
      `PUT of ${key}`,
      (client, abortSignal) => {
        attempts++;
        return client.send(new PutObjectCommand(input), { abortSignal });
      },
      {
        signal: options.signal,
        deadlineMs: calls.requestTimeoutMs + (body.length / calls.tuning.minRate) * 1000,
        expects: ['precondition'],
      },
    );
  } catch (error) {
    if (!(error instanceof CallFault)) throw error;
    // "Exists" to a second attempt may mean that the first one had arrived after all.
    if (attempts === 1 || judge(await headObject(calls, bucket, key, options), sent) === undefined) throw exists(calls.location, key);
  }
  return confirmOrRemove(calls, bucket, sent, options);
}

/** Before any work, and the only guard on servers that do not know If-None-Match. */
export async function refuseExisting(calls: Calls, bucket: Bucket, key: string, options: CallOptions): Promise<void> {
  if ((await headObject(calls, bucket, key, options)) !== undefined) throw exists(calls.location, key);
}

/** A fresh object that is not what was sent would only be in the way of the next attempt: it goes. */
export async function confirmOrRemove(
  calls: Calls,
  bucket: Bucket,
  sent: { key: string; size: number; crc32: string },
  options: CallOptions,
): Promise<StoredObject> {
  try {
    return await confirmObject(calls, bucket, sent, options);
  } catch (error) {
    if (error instanceof WardenError && error.code === 'verification-failed') await deleteQuietly(calls, bucket, sent.key);
    throw error;
  }
}
