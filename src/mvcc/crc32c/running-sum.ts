/** The CRC32C of many small pieces one after another, as HashKV and `snapshot status` take it over keys and values. */
import { updateCrc32c } from './crc32c.ts';

/** Of what is gathered: fits into the nearest cache, and larger brings nothing. */
const STAGE_LENGTH = 16 * 2 ** 10;

export interface RunningSum {
  /** `bytes` may be used again when it returns. */
  update(bytes: Uint8Array): void;
  /** The sum of all bytes since the last call, as an unsigned number. Another sum begins. */
  digest(): number;
}

export function createRunningSum(): RunningSum {
  // A record's key has 17 bytes, and each call of the program costs as much as summing a few hundred: pieces are gathered first.
  const stage = new Uint8Array(STAGE_LENGTH);
  let staged = 0;
  let sum = 0;

  function flush(): void {
    if (staged > 0) sum = updateCrc32c(sum, stage.subarray(0, staged));
    staged = 0;
  }

  return {
    update(bytes) {
      if (bytes.length > STAGE_LENGTH - staged) flush();
      if (bytes.length > STAGE_LENGTH) {
        sum = updateCrc32c(sum, bytes);
        return;
      }
      stage.set(bytes, staged);
      staged += bytes.length;
    },
    digest() {
      flush();
      const digest = sum;
      sum = 0;
      return digest;
    },
  };
}
