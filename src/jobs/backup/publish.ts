/** The last step: the manifest, which makes the backup visible, on every store that holds the data. */
import { crashPoint } from '../../crash-points.ts';
import { asError, WardenError } from '../../errors.ts';
import { manifestKey } from '../../format/keys.ts';
import { encodeManifest } from '../../format/manifest.ts';
import type { Manifest } from '../../format/types.ts';
import type { Store } from '../../store/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { StoreResult } from '../types.ts';

/**
 * Writes the same manifest to each store whose data object is whole. A store that fails here counts as failed: its data without a
 * manifest is completed by `copy --missing`, or swept after the grace period.
 * @returns the results with these failures in them
 */
export async function publish(
  manifest: Manifest,
  stores: readonly Store[],
  results: readonly StoreResult[],
  options: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<StoreResult[]> {
  const body = encodeManifest(manifest);
  const key = manifestKey(manifest.cluster, manifest.id, manifest.revision);
  crashPoint('before-manifest');
  const published = await Promise.all(
    results.map(async (result): Promise<StoreResult> => {
      const store = stores.find((candidate) => candidate.name === result.store);
      if (result.outcome === 'failed' || store === undefined) return result;
      try {
        await store.put(key, body, { signal: options.signal });
        return { store: result.store, outcome: 'stored' };
      } catch (thrown) {
        const error = asError(thrown);
        const code = error instanceof WardenError ? error.code : 'failed';
        options.logger.error({ store: store.name, code, err: error }, 'the manifest was not written');
        return {
          store: result.store,
          outcome: 'failed',
          error: { code, message: error.message, ...(error instanceof WardenError ? { hint: error.hint } : {}) },
        };
      }
    }),
  );
  crashPoint('after-manifest');
  return published;
}
