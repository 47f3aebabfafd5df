/** Multipart uploads that a crash left behind: nobody sees them, and everybody pays for them. */
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { parseKey } from '../../format/keys.ts';
import type { SweepOptions, SweepReport } from '../types.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, type Calls } from './calls.ts';

/**
 * Ends every upload to `key` but `except`, without complaint. Keys are unique, so whatever goes to this one is ours: an upload that was begun by a
 * request whose answer was lost, and whose id nobody knows.
 */
export async function abandonUploads(calls: Calls, bucket: Bucket, key: string, except: string | undefined): Promise<void> {
  const signal = AbortSignal.timeout(calls.tuning.abandonMs);
  try {
    for (const { key: full, id } of await allUploads(calls, bucket, bucket.full(key), signal)) {
      // oxlint-disable-next-line no-await-in-loop -- one or two
      if (full === bucket.full(key) && id !== except) await abort(calls, bucket, full, id, signal);
    }
  } catch {
    // Out of reach: the sweep looks again later.
  }
}

/** Ends those under our prefix that carry a name of ours and began long enough ago. */
export async function sweepUploads(calls: Calls, bucket: Bucket, options: SweepOptions): Promise<SweepReport> {
  const ours = options.ours ?? ((key: string): boolean => parseKey(key) !== undefined);
  const removed: { what: 'multipart-upload'; name: string }[] = [];
  for (const { key, id, initiated } of await allUploads(calls, bucket, bucket.prefix, options.signal)) {
    const name = key.slice(bucket.prefix.length);
    if (!key.startsWith(bucket.prefix) || !ours(name)) continue;
    if (initiated === undefined || options.now.getTime() - initiated.getTime() <= options.olderThanMs) continue;
    // oxlint-disable-next-line no-await-in-loop -- a handful
    if (await abort(calls, bucket, key, id, options.signal)) removed.push({ what: 'multipart-upload', name });
  }
  return { removed };
}

/** False when it had ended by itself meanwhile. */
async function abort(calls: Calls, bucket: Bucket, full: string, id: string, signal: AbortSignal): Promise<boolean> {
  const input = { Bucket: bucket.Bucket, Key: full, UploadId: id };
  try {
    await calls.call(
      `end of the upload of ${full}`,
      (client, abortSignal) => client.send(new AbortMultipartUploadCommand(input), { abortSignal }),
      {
        signal,
        expects: ['no-upload', 'missing'],
      },
    );
    return true;
  } catch (error) {
    if (error instanceof CallFault) return false;
    throw error;
  }
}

interface Pending {
  readonly key: string;
  readonly id: string;
  readonly initiated: Date | undefined;
}

/** All of them first, since aborting while paging could move the pages. */
async function allUploads(calls: Calls, bucket: Bucket, prefix: string, signal: AbortSignal): Promise<Pending[]> {
  const pending: Pending[] = [];
  let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (;;) {
    const input = { Bucket: bucket.Bucket, Prefix: prefix, ...marker };
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
