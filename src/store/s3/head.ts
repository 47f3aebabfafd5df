/** What the bucket says of an object, and whether that is what was sent. */
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { WardenError } from '../../errors.ts';
import { crcHex } from '../follow.ts';
import type { CallOptions, ObjectInfo, StoredObject } from '../types.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, type Calls } from './calls.ts';

export interface Head extends ObjectInfo {
  /** Only when the store holds one over the whole object. */
  readonly crc32: string | undefined;
  readonly lock: { readonly until: Date | undefined; readonly reason: string } | undefined;
}

/** Undefined when absent. */
export async function headObject(calls: Calls, bucket: Bucket, key: string, options: CallOptions): Promise<Head | undefined> {
  const input = {
    Bucket: bucket.Bucket,
    Key: bucket.full(key),
    ...bucket.forReading(),
    ...(bucket.checksums ? { ChecksumMode: 'ENABLED' as const } : {}),
  };
  try {
    const head = await calls.call(`HEAD of ${key}`, (client, abortSignal) => client.send(new HeadObjectCommand(input), { abortSignal }), {
      signal: options.signal,
      expects: ['missing'],
    });
    const locked = head.ObjectLockRetainUntilDate !== undefined && head.ObjectLockMode !== undefined;
    return {
      key,
      size: head.ContentLength ?? 0,
      modified: head.LastModified ?? new Date(0),
      crc32: head.ChecksumType === 'COMPOSITE' ? undefined : fromBase64(head.ChecksumCRC32),
      lock:
        head.ObjectLockLegalHoldStatus === 'ON'
          ? { until: undefined, reason: 'legal hold' }
          : locked
            ? { until: head.ObjectLockRetainUntilDate, reason: `object lock (${head.ObjectLockMode})` }
            : undefined,
    };
  } catch (error) {
    if (error instanceof CallFault) return undefined;
    throw error;
  }
}

/** The object as the store has it now. @throws WardenError `verification-failed` when it is not what was sent */
export async function confirmObject(calls: Calls, bucket: Bucket, sent: Sent, options: CallOptions): Promise<StoredObject> {
  const head = await headObject(calls, bucket, sent.key, options);
  const judged = judge(head, sent);
  if (judged !== undefined) return judged;
  throw new WardenError(
    'verification-failed',
    `${calls.location}: ${sent.key} was sent with ${sent.size} bytes and CRC32 ${sent.crc32}, but the store holds ${describe(head)}`,
  );
}

export interface Sent {
  readonly key: string;
  readonly size: number;
  readonly crc32: string;
}

/** Undefined when the store holds nothing, or something else. */
export function judge(head: Head | undefined, sent: Sent): StoredObject | undefined {
  if (head === undefined || head.size !== sent.size) return undefined;
  if (head.crc32 !== undefined && head.crc32 !== sent.crc32) return undefined;
  return { ...sent, confirmed: head.crc32 === undefined ? 'size' : 'checksum' };
}

/** CRC32 as S3 writes it: base64 of the four bytes, highest first. */
export function toBase64(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString('base64');
}

function fromBase64(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64');
  // A composite checksum ends with "-<parts>": it is not one over the bytes.
  return bytes.length === 4 && !text.includes('-') ? crcHex(bytes.readUInt32BE(0)) : undefined;
}

function describe(head: Head | undefined): string {
  return head === undefined ? 'nothing' : `${head.size} bytes${head.crc32 === undefined ? '' : ` with ${head.crc32}`}`;
}
