import { asError, WardenError } from '../../errors.ts';
import type { Answer, Invocation } from '../verb.ts';

const TIMEOUT_MS = 5000;

/** Asks /healthz over loopback, whatever address the daemon listens on. */
export async function run({ loaded, context }: Invocation): Promise<Answer> {
  const { listen } = loaded.config.http;
  if (listen === undefined) throw new WardenError('usage', 'http.listen is off, so there is nothing to ask', { hint: 'set http.listen' });
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(listen) ?? [];
  const address = host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '[::]' ? '[::1]' : host;
  const url = `http://${address}:${port}/healthz`;
  const response = await fetch(url, { signal: AbortSignal.any([context.signal, AbortSignal.timeout(TIMEOUT_MS)]) }).catch(
    (cause: unknown) => {
      context.signal.throwIfAborted();
      throw new WardenError('unreachable', `the daemon does not answer at ${url}`, {
        hint: 'is `etcd-warden run` up?',
        // fetch itself says no more than "fetch failed".
        cause: asError(cause).cause ?? cause,
      });
    },
  );
  return { exitCode: response.ok ? 0 : 1, json: { status: response.status }, text: response.ok ? 'alive' : `answered ${response.status}` };
}
