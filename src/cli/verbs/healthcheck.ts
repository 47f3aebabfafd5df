import { WardenError } from '../../errors.ts';
import type { Answer, Invocation } from '../verb.ts';

const TIMEOUT_MS = 5000;

/** Asks /healthz over loopback, whatever address the daemon listens on. */
export async function run({ loaded, context }: Invocation): Promise<Answer> {
  const { listen } = loaded.config.http;
  if (listen === undefined) throw new WardenError('usage', 'http.listen is off, so there is nothing to ask', { hint: 'set http.listen' });
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(listen) ?? [];
  const address = host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '[::]' ? '[::1]' : host;
  const response = await fetch(`http://${address}:${port}/healthz`, {
    signal: AbortSignal.any([context.signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  return { exitCode: response.ok ? 0 : 1, json: { status: response.status }, text: response.ok ? 'alive' : `answered ${response.status}` };
}
