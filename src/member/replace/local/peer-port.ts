/** Whether anybody listens where the other members look for a member. Connects and says nothing: no handshake, no request. */
import { connect } from 'node:net';
import type { ProcessSight } from '../types.ts';

const PATIENCE_MS = 2_000;

/** Of several addresses: `open` when one is, `silent` when all refuse. @throws the signal's reason */
export async function probePeers(urls: readonly string[], signal: AbortSignal): Promise<ProcessSight['peerPort']> {
  const answers = await Promise.all(urls.map((url) => probe(new URL(url), signal)));
  signal.throwIfAborted();
  if (answers.includes('open')) return 'open';
  return answers.length === 0 || answers.includes('unknown') ? 'unknown' : 'silent';
}

function probe(url: URL, signal: AbortSignal): Promise<ProcessSight['peerPort']> {
  const { promise, resolve } = Promise.withResolvers<ProcessSight['peerPort']>();
  // URL drops the default ports of http and https.
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port });
  const timer = setTimeout(() => resolve('unknown'), PATIENCE_MS);
  const stop = (): void => resolve('unknown');
  signal.addEventListener('abort', stop, { once: true });
  socket.once('connect', () => resolve('open'));
  // A machine that is off or a firewall that drops is no proof that nobody runs there.
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' ? 'silent' : 'unknown'));
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    socket.destroy();
  });
}
