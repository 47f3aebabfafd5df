/** Ctrl-C once stops cleanly, twice at once. SIGTERM counts as the first; the daemon has its own rules. */
import { WardenError } from '../errors.ts';

/**
 * @param announce told once, on the first signal
 * @returns a signal that aborts on SIGINT or SIGTERM, and the removal of the handlers
 */
export function stopOnSignals(
  announce: (name: string) => void,
  exit: (code: number) => void = (code) => process.exit(code),
): { signal: AbortSignal; remove: () => void } {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      exit(130);
      return;
    }
    announce(name);
    controller.abort(
      new WardenError('interrupted', `stopped by ${name}`, { hint: 'nothing half-written is visible; the next run sweeps what is left' }),
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    signal: controller.signal,
    remove: () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}
