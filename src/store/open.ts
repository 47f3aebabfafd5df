/** From configuration to store. The S3 client costs some 35 MB of memory, so it is loaded only for a bucket. */
import type { StoreConfig } from '../config/types.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Store } from './types.ts';

/** Opens nothing by itself: the first call on the store does. @throws WardenError `config-invalid` */
export async function openStore(config: StoreConfig, tools: { readonly logger: Logger }): Promise<Store> {
  if (config.type === 'local') {
    const { openLocalStore } = await import('./local/store.ts');
    return openLocalStore(config);
  }
  const { openS3Store } = await import('./s3/store.ts');
  return openS3Store(config, tools);
}
