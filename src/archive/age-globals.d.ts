/** Names of the browser's library that age-encryption's declarations use; this project compiles without that library. */
import type { webcrypto } from 'node:crypto';

declare global {
  interface CryptoKey extends webcrypto.CryptoKey {}
  interface AuthenticationExtensionsPRFValues {
    first: BufferSource;
    second?: BufferSource;
  }
  type BufferSource = ArrayBufferView | ArrayBuffer;
}
