/** Retries of a failed backup inside its slot. */
import type { ErrorCode, WardenError } from '../errors.ts';

/** Trying again cannot help: somebody has to change something first, or the daemon stops. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['config-invalid', 'usage', 'refused', 'interrupted', 'permission-denied']);
const LONGEST_MS = 30 * 60_000;

export function mayRetry(error: WardenError): boolean {
  return !FINAL.has(error.code);
}

/** Doubles from attempt to attempt; a fifth of it is left to chance, so that clusters that failed together do not come back together. */
export function retryDelayMs(firstMs: number, attempt: number, random: () => number): number {
  const full = Math.min(LONGEST_MS, firstMs * 2 ** Math.min(attempt - 1, 20));
  return Math.floor(full * (0.9 + 0.2 * random()));
}
