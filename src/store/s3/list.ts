/** Listing, with nothing believed: pages that come twice or out of order would otherwise look like backups that are there twice, or gone. */
import { ListObjectsV2Command, type ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { WardenError } from '../../errors.ts';
import { compareKeys, validPrefix } from '../keys.ts';
import type { CallOptions, ObjectInfo } from '../types.ts';
import type { Bucket } from './bucket.ts';
import type { Calls } from './calls.ts';

/** How often a page that came twice is asked for again. */
const MAX_REPEATS = 3;

/**
 * Objects in the order of their keys, each once. A page out of order is sorted; one that was given before is asked for again;
 * what then still goes backwards is an error, because an object may be missing.
 */
export async function* listObjects(
  calls: Calls,
  bucket: Bucket,
  prefix: string,
  options: CallOptions & { readonly startAfter?: string },
): AsyncGenerator<ObjectInfo> {
  const fullPrefix = bucket.prefix + validPrefix(prefix);
  let token: string | undefined;
  const after = options.startAfter === undefined || options.startAfter === '' ? '' : bucket.prefix + options.startAfter;
  let last = after;
  let repeats = 0;
  for (;;) {
    const input = {
      Bucket: bucket.Bucket,
      Prefix: fullPrefix,
      ...(token === undefined ? (after === '' ? {} : { StartAfter: after }) : { ContinuationToken: token }),
    };
    // oxlint-disable-next-line no-await-in-loop -- page after page
    const page = await calls.call('LIST', (client, abortSignal) => client.send(new ListObjectsV2Command(input), { abortSignal }), {
      signal: options.signal,
    });
    // Servers that do not know StartAfter begin at the beginning.
    const objects = sorted(page, bucket, fullPrefix).filter(({ full }) => compareKeys(full, after) > 0);
    const fresh = objects.filter(({ full }) => compareKeys(full, last) > 0);
    const went = fresh.length < objects.length;
    const again = page.IsTruncated === true && page.NextContinuationToken === token && token !== undefined;
    if (went || again) {
      if (++repeats > MAX_REPEATS)
        throw new WardenError(
          'store-misbehaves',
          `${calls.location}: LIST goes backwards: a page ends before ${JSON.stringify(last)}, which was listed already`,
        );
      continue; // asked again with the same token
    }
    for (const { info } of fresh) yield info;
    last = fresh.at(-1)?.full ?? last;
    if (page.IsTruncated !== true) return;
    token = page.NextContinuationToken;
    if (token === undefined) throw new WardenError('store-misbehaves', `${calls.location}: LIST is cut without saying where to go on`);
  }
}

/** The store's prefix is taken off; a key that is nothing but the prefix is a folder marker of some tool. */
function sorted(page: ListObjectsV2CommandOutput, bucket: Bucket, fullPrefix: string): { full: string; info: ObjectInfo }[] {
  const objects = new Map<string, ObjectInfo>();
  for (const object of page.Contents ?? []) {
    const full = object.Key ?? '';
    const key = full.slice(bucket.prefix.length);
    if (!full.startsWith(fullPrefix) || key === '' || full.endsWith('/')) continue;
    objects.set(full, { key, size: object.Size ?? 0, modified: object.LastModified ?? new Date(0) });
  }
  return [...objects].map(([full, info]) => ({ full, info })).sort((a, b) => compareKeys(a.full, b.full));
}
