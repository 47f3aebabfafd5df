/** Deleting one object. Not DeleteObjects: some servers want a Content-MD5 for it that the SDK no longer sends (aws-sdk-js-v3#6819). */
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import type { CallOptions, DeleteResult } from '../types.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, type Calls } from './calls.ts';
import { faultError } from './faults.ts';
import { headObject } from './head.ts';

const LOCKED = /\b(?:WORM|lock(?:ed)?|retention|legal hold)\b/i;

/**
 * A locked object is left alone: in a bucket with versions a plain delete would succeed, hide the object behind a marker, free nothing, and
 * make a backup unreadable that somebody locked to keep it readable. In buckets with versions but without lock the delete leaves a marker;
 * how long old versions stay is the owner's lifecycle rule.
 */
export async function deleteObject(calls: Calls, bucket: Bucket, key: string, options: CallOptions): Promise<DeleteResult> {
  const head = await headObject(calls, bucket, key, options);
  if (head === undefined) return { outcome: 'absent' };
  const lock = head.lock;
  if (lock !== undefined && (lock.until === undefined || lock.until.getTime() > Date.now())) {
    return { outcome: 'kept', until: lock.until, reason: lock.reason };
  }
  try {
    await remove(calls, bucket, key, options.signal);
    return { outcome: 'deleted' };
  } catch (error) {
    if (!(error instanceof CallFault)) throw error;
    const { fault, code, message } = error.diagnosis;
    if (fault === 'missing') return { outcome: 'absent' };
    // AWS and VersityGW say AccessDenied; MinIO says InvalidRequest, "Object is WORM protected and cannot be overwritten".
    if (code === 'AccessDenied' || LOCKED.test(message))
      return { outcome: 'kept', until: lock?.until, reason: `the store denies it: ${message}` };
    throw faultError(error.diagnosis, `${calls.location}: DELETE of ${key}`, 1, error.cause);
  }
}

/** For our own half-done work; the first error is the one to show, and the janitor comes later. */
export async function deleteQuietly(calls: Calls, bucket: Bucket, key: string): Promise<void> {
  await remove(calls, bucket, key, AbortSignal.timeout(calls.tuning.abandonMs)).catch(() => {});
}

async function remove(calls: Calls, bucket: Bucket, key: string, signal: AbortSignal): Promise<void> {
  const input = { Bucket: bucket.Bucket, Key: bucket.full(key) };
  await calls.call(`DELETE of ${key}`, (client, abortSignal) => client.send(new DeleteObjectCommand(input), { abortSignal }), {
    signal,
    expects: ['missing', 'denied', 'permanent'],
  });
}
