/**
 * The last step: the manifest, which makes the backup visible. Each store gets it as soon as its own data is whole and confirmed: a store
 * that takes hours, or never ends, must not keep the others from having their backup.
 */
import { crashPoint } from '../../crash-points.ts';
import { asError, errorDetails } from '../../errors.ts';
import { manifestKey } from '../../format/keys.ts';
import { encodeManifest } from '../../format/manifest.ts';
import type { Manifest } from '../../format/types.ts';
import type { Store } from '../../store/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { ProgressEvent, StoreResult } from '../types.ts';
import type { UploadResult } from './attempt.ts';
import { confirmStored } from './confirm.ts';

export interface Publishing {
  readonly manifest: Manifest;
  /** Key of the data object. */
  readonly key: string;
  readonly stores: readonly Store[];
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly progress: (event: ProgressEvent) => void;
}

/**
 * Waits for each upload, compares what the store holds with what was sealed, writes the manifest there. Failures are results: data without a
 * manifest is completed by `copy --missing`, or swept after the grace period.
 */
export async function publishEach(uploads: readonly Promise<UploadResult>[], publishing: Publishing): Promise<StoreResult[]> {
  const body = encodeManifest(publishing.manifest);
  const published = await Promise.all(uploads.map(async (upload) => publishOne(await upload, body, publishing)));
  crashPoint('after-manifest');
  return published;
}

async function publishOne(
  { object, ...result }: UploadResult,
  body: Buffer,
  { manifest, key, stores, logger, signal, progress }: Publishing,
): Promise<StoreResult> {
  const store = stores.find((candidate) => candidate.name === result.store);
  if (object === undefined || store === undefined) return result;
  try {
    await confirmStored(object, key, manifest.stored, store, { signal, progress });
    crashPoint('before-manifest');
    await store.put(manifestKey(manifest.cluster, manifest.id, manifest.revision), body, { signal });
    return result;
  } catch (thrown) {
    const error = errorDetails(thrown);
    logger.error({ store: store.name, code: error.code, err: asError(thrown) }, 'the backup was not published');
    return { store: result.store, outcome: 'failed', error };
  }
}
