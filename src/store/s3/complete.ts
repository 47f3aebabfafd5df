/**
 * The one call that makes an object visible. It may take effect although its answer is lost, and it may answer 200 with an
 * error inside; so every doubtful end is settled by looking at the object.
 */
import { CompleteMultipartUploadCommand, type CompletedPart, type CompleteMultipartUploadCommandInput } from '@aws-sdk/client-s3';
import { WardenError } from '../../errors.ts';
import { exists } from '../object-errors.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, type Calls } from './calls.ts';
import { faultError } from './faults.ts';
import { headObject, judge, toBase64, type Sent } from './head.ts';

/** One upload under way. */
export interface Upload {
  readonly key: string;
  readonly id: string;
  readonly parts: CompletedPart[];
}

/** S3 may take minutes to put thousands of parts together. */
const PATIENCE = 3;

/** Completes, once. @throws WardenError `object-exists` when another object was there first */
export async function completeUpload(
  calls: Calls,
  bucket: Bucket,
  upload: Upload,
  sent: Sent,
  crc: number,
  signal: AbortSignal,
): Promise<void> {
  const input: CompleteMultipartUploadCommandInput = {
    Bucket: bucket.Bucket,
    Key: bucket.full(upload.key),
    UploadId: upload.id,
    MultipartUpload: { Parts: upload.parts },
    ...bucket.forReading(),
    ...(bucket.checksums ? { ChecksumCRC32: toBase64(crc), ChecksumType: 'FULL_OBJECT', MpuObjectSize: sent.size, IfNoneMatch: '*' } : {}),
  };
  for (let failures = 0; ;) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      await calls.call(
        `completion of ${upload.key}`,
        (client, abortSignal) => client.send(new CompleteMultipartUploadCommand(input), { abortSignal }),
        {
          signal,
          deadlineMs: PATIENCE * calls.requestTimeoutMs,
          expects: ['transient', 'precondition', 'no-upload', 'missing'],
        },
      );
      return;
    } catch (error) {
      if (!(error instanceof CallFault)) throw error;
      // oxlint-disable-next-line no-await-in-loop -- see above
      if (judge(await headObject(calls, bucket, upload.key, { signal }), sent) !== undefined) return;
      const { fault, message, code } = error.diagnosis;
      if (fault === 'precondition') throw exists(calls.location, upload.key);
      if (fault !== 'transient')
        throw new WardenError(
          'store-misbehaves',
          `${calls.location}: the upload of ${upload.key} is gone before it was completed (${code}: ${message})`,
        );
      failures++;
      if (failures > calls.retries)
        throw faultError(error.diagnosis, `${calls.location}: completion of ${upload.key}`, failures, error.cause);
      // oxlint-disable-next-line no-await-in-loop -- see above
      await calls.pause(failures, signal);
    }
  }
}
