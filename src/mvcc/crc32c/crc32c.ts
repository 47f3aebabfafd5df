/** CRC32C of bytes, in pieces of any length. */
import { CAPACITY, createUpdate, type Update } from './program.ts';

export { combineCrc32c } from './tables.ts';

let compiled: Update | undefined;

/**
 * The CRC32C of what came before and `bytes` after it.
 * @param before CRC32C so far, 0 at the beginning; unsigned, as is what comes out
 */
export function updateCrc32c(before: number, bytes: Uint8Array): number {
  compiled ??= createUpdate();
  let state = ~before;
  for (let at = 0; at < bytes.length; at += CAPACITY) {
    state = compiled(state, at === 0 && bytes.length <= CAPACITY ? bytes : bytes.subarray(at, at + CAPACITY));
  }
  return ~state >>> 0;
}
