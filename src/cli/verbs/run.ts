import { loadConfig } from '../../config/load.ts';
import { runDaemon } from '../../daemon/run.ts';
import { version } from '../../version.ts';
import type { Answer, Invocation } from '../verb.ts';

/** Runs until SIGTERM or SIGINT; being told to stop is success. */
export async function run({ loaded, options, context }: Invocation): Promise<Answer> {
  await runDaemon({
    config: loaded.config,
    // The same flags and environment over the file as it is now.
    reload: async () => loadConfig({ flags: options, env: process.env }).config,
    logger: context.logger,
    signal: context.signal,
    version,
  });
  return { json: { outcome: 'stopped' }, text: 'stopped' };
}
