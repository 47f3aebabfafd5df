import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { GrowingFile } from '../../../src/store/types.ts';

/** A spool whose writer is the test. */
export interface TestSpool {
  readonly source: GrowingFile;
  write(bytes: Buffer): void;
  finish(): void;
  fail(error: Error): void;
}

export function createSpool(path: string, maxLength: number): TestSpool {
  const fd = openSync(path, 'wx', 0o600);
  const sha256 = createHash('sha256');
  const finished = Promise.withResolvers<{ length: number; sha256: string; crc32: string }>();
  finished.promise.catch(() => {});
  const waiting = new Set<() => void>();
  let available = 0;
  let crc = 0;
  let end: 'no' | 'finished' | Error = 'no';

  function wake(): void {
    for (const check of waiting) check();
  }

  function close(how: 'finished' | Error): void {
    closeSync(fd);
    end = how;
    if (how === 'finished') finished.resolve({ length: available, sha256: sha256.digest('hex'), crc32: crc.toString(16).padStart(8, '0') });
    else finished.reject(how);
    wake();
  }

  return {
    source: {
      path,
      maxLength,
      get available() {
        return available;
      },
      finished: finished.promise,
      waitBeyond(length, signal) {
        return new Promise((resolve, reject) => {
          const settle = (): void => {
            if (signal.aborted) reject(signal.reason as Error);
            else if (end instanceof Error) reject(end);
            else if (available > length || end === 'finished') resolve();
            else return;
            waiting.delete(settle);
            signal.removeEventListener('abort', settle);
          };
          waiting.add(settle);
          signal.addEventListener('abort', settle);
          settle();
        });
      },
    },
    write(bytes) {
      writeSync(fd, bytes);
      sha256.update(bytes);
      crc = crc32(bytes, crc);
      available += bytes.length;
      wake();
    },
    finish: () => close('finished'),
    fail: (error) => close(error),
  };
}

/** A spool that is whole already. */
export function wholeSpool(path: string, content: Buffer): GrowingFile {
  const spool = createSpool(path, content.length);
  spool.write(content);
  spool.finish();
  return spool.source;
}
