/**
 * The one table of error codes: what each means and which exit code a verb that ends with it returns.
 * Codes are stable: scripts, alerts and the documentation match on them.
 */
export const ERRORS = {
  failed: { exit: 1, meaning: 'something failed that has no better name; the cause is in the sentence' },
  usage: { exit: 2, meaning: 'the command line is wrong' },
  'config-invalid': { exit: 2, meaning: 'the configuration has errors; all of them are listed' },
  partial: { exit: 3, meaning: 'the backup is complete on some of the intended stores, not on all' },
  'nothing-found': { exit: 10, meaning: 'no backup answers the description' },
  locked: { exit: 11, meaning: 'another process holds the lock of this cluster' },
  'key-missing': { exit: 12, meaning: 'an encrypted object cannot be read: identity missing or wrong' },
  'verification-failed': { exit: 13, meaning: 'what is stored is not what was written' },
  refused: { exit: 14, meaning: 'unsafe: refused' },
  interrupted: { exit: 130, meaning: 'stopped by a signal or by the caller' },
  timeout: { exit: 1, meaning: 'a deadline passed, or a stream made no progress' },
} as const satisfies Record<string, { exit: number; meaning: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** Every error that a user can meet: a stable code, one sentence in lower case with the values that matter, and a hint. */
export class WardenError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, sentence: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(sentence, { cause: options.cause });
    this.name = 'WardenError';
    this.code = code;
    this.hint = options.hint;
  }

  /** The exit code of a verb that ends with this error. */
  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** Whatever was thrown, as an error whose message can be shown. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
