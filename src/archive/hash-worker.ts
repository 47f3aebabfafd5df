/** The thread of hash-thread.ts. Never started by hand. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import type { HashInput, HashOutput } from './hash-thread.ts';

const port = parentPort!;
const sha256 = createHash('sha256');

port.on('message', (input: HashInput) => {
  if (input === undefined) {
    port.postMessage(sha256.digest('hex') satisfies HashOutput);
    port.close();
    return;
  }
  sha256.update(input);
  input.buffer.transfer(0); // the collector of this thread has no reason to run
  port.postMessage(undefined satisfies HashOutput);
});
