/**
 * SHA-256 in a thread of its own: of all that is done with the plain bytes of a backup on the way, the dearest, and nothing waits for it. Buffers are
 * handed over, not copied, and their memory is given back there as soon as it was read.
 */
import { once } from 'node:events';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { asError } from '../errors.ts';

/** Buffers that may wait for the thread: what the decoder may run ahead of it. */
const AHEAD = 6;

/** Runs from a checkout (.ts) and from dist (.js) alike. */
const WORKER = new URL(`./hash-worker${extname(import.meta.url)}`, import.meta.url);

export interface HashThread {
  /** Takes the buffer away, which must be alone in its memory. What it returns is to be awaited before the next call. */
  update(bytes: Buffer<ArrayBuffer>): void | Promise<void>;
  /** Of all bytes, hex. Ends the thread. */
  digest(): Promise<string>;
  /** Ends the thread at any time. */
  close(): Promise<void>;
}

/** What goes to the thread: bytes, or undefined for the end. */
export type HashInput = Uint8Array<ArrayBuffer> | undefined;
/** What comes back: undefined for each buffer that was read, then the digest. */
export type HashOutput = string | undefined;

export function createHashThread(): HashThread {
  // No room for objects is needed there: the usual young generation alone would cost 10 MiB.
  const worker = new Worker(WORKER, { resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 } });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  promise.catch(() => undefined); // told to whoever calls next
  let failure: Error | undefined;
  let waiting = 0;
  let wake: (() => void) | undefined;
  worker.on('message', (output: HashOutput) => {
    if (output !== undefined) resolve(output);
    else waiting -= 1;
    wake?.();
  });
  worker.on('error', (error) => {
    failure = asError(error);
    reject(failure);
    wake?.();
  });
  return {
    update(bytes) {
      if (failure !== undefined) throw failure;
      worker.postMessage(bytes satisfies HashInput, [bytes.buffer]);
      waiting += 1;
      if (waiting < AHEAD) return;
      return new Promise((resolveWait) => {
        wake = () => {
          wake = undefined;
          resolveWait();
        };
      });
    },
    async digest() {
      worker.postMessage(undefined satisfies HashInput);
      const digest = await promise;
      if (worker.threadId !== -1) await once(worker, 'exit');
      return digest;
    },
    async close() {
      await worker.terminate();
    },
  };
}
