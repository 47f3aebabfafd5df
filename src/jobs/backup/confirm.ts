/** After the upload: what each store says that it holds must be what was sealed. A store without checksums of its own is read back. */
import { hashStored } from '../../archive/decode.ts';
import { asError, WardenError } from '../../errors.ts';
import type { Store, StoredObject } from '../../store/types.ts';
import type { StoreResult } from '../types.ts';

export interface Expected {
  readonly key: string;
  readonly storedBytes: number;
  readonly storedSha256: string;
  readonly storedCrc32: string;
  readonly stores: readonly Store[];
  readonly signal: AbortSignal;
  readonly onWarning: (message: string) => void;
}

/** @returns the results, with stores that hold something else turned into failures */
export async function confirmStored(
  results: readonly (StoreResult & { readonly object?: StoredObject })[],
  expected: Expected,
): Promise<StoreResult[]> {
  return Promise.all(
    results.map(async ({ object, ...result }): Promise<StoreResult> => {
      if (object === undefined) return result;
      try {
        await confirm(
          object,
          expected,
          expected.stores.find((store) => store.name === result.store),
        );
        return result;
      } catch (thrown) {
        expected.signal.throwIfAborted();
        const error = asError(thrown);
        expected.onWarning(`${result.store}: ${error.message}`);
        return {
          store: result.store,
          outcome: 'failed',
          error: { code: error instanceof WardenError ? error.code : 'failed', message: error.message },
        };
      }
    }),
  );
}

async function confirm(object: StoredObject, expected: Expected, store: Store | undefined): Promise<void> {
  if (object.size !== expected.storedBytes) throw differs(object.key, `${object.size} bytes`, `${expected.storedBytes} bytes`);
  if (object.crc32 !== expected.storedCrc32) throw differs(object.key, `CRC32 ${object.crc32}`, `CRC32 ${expected.storedCrc32}`);
  if (object.confirmed === 'checksum' || store === undefined) return;
  const read = await hashStored(store, object.key, { signal: expected.signal });
  if (read.storedSha256 !== expected.storedSha256)
    throw differs(object.key, `SHA-256 ${read.storedSha256}`, `SHA-256 ${expected.storedSha256}`);
}

function differs(key: string, found: string, written: string): WardenError {
  return new WardenError('verification-failed', `${key} holds ${found}, ${written} were written`, {
    hint: 'the store changes what it is given; the object stays without a manifest and is swept later',
  });
}
