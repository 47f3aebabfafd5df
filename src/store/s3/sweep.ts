/** Multipart uploads that a crash left behind: nobody sees them, and everybody pays for them. */
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { parseKey } from '../../format/keys.ts';
import type { SweepOptions, SweepReport } from '../types.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, type Calls } from './calls.ts';

/** Ends those under our prefix that carry a name of ours and began long enough ago. */
export async function sweepUploads(calls: Calls, bucket: Bucket, options: SweepOptions): Promise<SweepReport> {
  const ours = options.ours ?? ((key: string): boolean => parseKey(key) !== undefined);
  const removed: { what: 'multipart-upload'; name: string }[] = [];
  for (const { key, id, initiated } of await allUploads(calls, bucket, options.signal)) {
    const name = key.slice(bucket.prefix.length);
    if (!key.startsWith(bucket.prefix) || !ours(name)) continue;
    if (initiated === undefined || options.now.getTime() - initiated.getTime() <= options.olderThanMs) continue;
    try {
      const input = { Bucket: bucket.Bucket, Key: key, UploadId: id };
      // oxlint-disable-next-line no-await-in-loop -- a handful
      await calls.call(
        `end of the upload of ${name}`,
        (client, abortSignal) => client.send(new AbortMultipartUploadCommand(input), { abortSignal }),
        {
          signal: options.signal,
          expects: ['no-upload', 'missing'],
        },
      );
      removed.push({ what: 'multipart-upload', name });
    } catch (error) {
      if (!(error instanceof CallFault)) throw error; // it ended by itself meanwhile
    }
  }
  return { removed };
}

interface Pending {
  readonly key: string;
  readonly id: string;
  readonly initiated: Date | undefined;
}

/** All of them first, since aborting while paging could move the pages. */
async function allUploads(calls: Calls, bucket: Bucket, signal: AbortSignal): Promise<Pending[]> {
  const pending: Pending[] = [];
  let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (;;) {
    const input = { Bucket: bucket.Bucket, Prefix: bucket.prefix, ...marker };
    // oxlint-disable-next-line no-await-in-loop -- page after page
    const page = await calls.call(
      'LIST of multipart uploads',
      (client, abortSignal) => client.send(new ListMultipartUploadsCommand(input), { abortSignal }),
      { signal },
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key !== undefined && UploadId !== undefined) pending.push({ key: Key, id: UploadId, initiated: Initiated });
    }
    if (page.IsTruncated !== true || page.NextKeyMarker === undefined || page.NextKeyMarker === marker.KeyMarker) return pending;
    marker = {
      KeyMarker: page.NextKeyMarker,
      ...(page.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: page.NextUploadIdMarker }),
    };
  }
}
