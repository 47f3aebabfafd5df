/** After the upload: what the store says that it holds must be what was sealed. A store without checksums of its own is read back. */
import { hashStored } from '../../archive/decode.ts';
import { WardenError } from '../../errors.ts';
import type { Manifest } from '../../format/types.ts';
import type { Store, StoredObject } from '../../store/types.ts';
import type { ProgressEvent } from '../types.ts';

/** @throws WardenError `verification-failed` when it holds something else, and what reading it back throws */
export async function confirmStored(
  object: StoredObject,
  key: string,
  sealed: Manifest['stored'],
  store: Store,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: (event: ProgressEvent) => void },
): Promise<void> {
  if (object.size !== sealed.bytes) throw differs(key, `${object.size} bytes`, `${sealed.bytes} bytes`);
  if (object.crc32 !== sealed.crc32) throw differs(key, `CRC32 ${object.crc32}`, `CRC32 ${sealed.crc32}`);
  if (object.confirmed === 'checksum') return;
  const message = `reading back what ${store.name} has stored`;
  const read = await hashStored(store, key, {
    signal,
    onProgress: (bytes) => progress({ step: 'read', message, bytes, totalBytes: sealed.bytes, subject: store.name }),
  });
  if (read.storedSha256 !== sealed.sha256) throw differs(key, `SHA-256 ${read.storedSha256}`, `SHA-256 ${sealed.sha256}`);
}

function differs(key: string, found: string, written: string): WardenError {
  return new WardenError('verification-failed', `${key} holds ${found}, ${written} were written`, {
    hint: 'the store changes what it is given; the object stays without a manifest and is swept later',
  });
}
